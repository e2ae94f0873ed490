"""Webhooks: what is sent, which answers are tried again, and what becomes of an event that is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamproc.errors import SinkError, SinkUnavailable, UsageError
from streamproc.sinks import parse_address
from streamproc.sinks.sink import Written
from streamproc.sinks.webhook import WebhookSink, asked_to_wait, sign, signing_key
from tests.event_schema import check_event
from tests.sinks.material import batch, ids_of, log_of, run
from tests.sinks.targets import Webhook, webhook

NOW_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z


MADE: list[WebhookSink] = []


@pytest.fixture(autouse=True)
def _sinks_are_closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def sink_of(server: Webhook, *, url: str = "", **options: Any) -> WebhookSink:
    address = parse_address(url or server.url, visible=False)
    MADE.append(WebhookSink(address, **{"secret": None, "refused": None, "clock": lambda: NOW_S, **options}))
    return MADE[-1]


def test_each_event_is_one_post_with_its_id_as_idempotency_key() -> None:
    with webhook() as server:
        assert sink_of(server).write(batch((0, 0, 3))) == Written(new=3)
    assert [one.headers["idempotency-key"] for one in server.asked] == [event.id for event in batch((0, 0, 3)).events]
    for one in server.asked:
        assert one.headers["content-type"] == "application/cloudevents+json"
        assert one.headers["webhook-id"] == one.headers["idempotency-key"] == json.loads(one.body)["id"]
        assert "webhook-signature" not in one.headers
        check_event(json.loads(one.body))


@pytest.mark.parametrize(
    ("secret", "key"), [("s3cret-ä", "s3cret-ä".encode()), ("whsec_" + base64.b64encode(b"key").decode(), b"key")]
)
def test_requests_are_signed_so_that_the_receiver_can_check_them(secret: str, key: bytes) -> None:
    with webhook() as server:
        sink_of(server, secret=secret).write(batch((0, 0, 1)))
    (one,) = server.asked
    signed = f"{one.headers['webhook-id']}.{one.headers['webhook-timestamp']}.".encode() + one.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert one.headers["webhook-signature"] == f"v1,{expected}"
    assert one.headers["webhook-timestamp"] == str(int(NOW_S))
    assert secret not in str(one.headers)


def test_a_signature_is_that_of_the_standard() -> None:
    # The example of the Standard Webhooks specification's own libraries.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert (
        sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("secret", ["whsec_", "whsec_%%%"])
def test_a_secret_that_is_no_key_is_refused(secret: str) -> None:
    with pytest.raises(UsageError, match="STREAMPROC_SINK_SECRET"):
        signing_key(secret)


@pytest.mark.parametrize("failure", [500, 502, 503, 408, 425, 429, 0])
def test_answers_that_pass_are_tried_again_and_what_was_taken_is_not_sent_again(failure: int) -> None:
    log, lines = log_of(30), list[str]()
    script: list[tuple[int, dict[str, str]]] = [
        (204, {}),
        (failure, {}),
        (200, {}),
        (failure, {}),
        (failure, {}),
        (202, {}),
    ]
    with webhook(*script) as server:
        report = run(log, sink_of(server), lines=lines, first_pause_s=0.001)
        assert sorted(server.taken()) == ids_of(log)
    assert (report.retries, report.written) == (3, 30)
    assert any((str(failure) if failure else "does not answer") in line for line in lines)


def test_what_the_target_asks_to_wait_is_handed_on() -> None:
    with webhook((429, {"retry-after": "7"})) as server, pytest.raises(SinkUnavailable) as refused:
        sink_of(server).write(batch((0, 0, 1)))
    assert refused.value.after_s == 7


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("0", 0), ("12", 12), ("99999999999999999999", 300), ("-3", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30), ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("Fri, 02 Jan 2026 00:00:00 GMT", 300),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_bounded(text: str | None, seconds: float | None) -> None:
    assert asked_to_wait(text, now_s=NOW_S) == seconds


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422, 301, 307])
def test_an_event_that_is_refused_for_good_ends_the_sink_or_goes_to_a_file(status: int, tmp_path: Path) -> None:
    headers = {"location": "http://127.0.0.1:1/elsewhere"} if status < 400 else {}
    with (
        webhook((204, {}), (status, headers)) as server,
        pytest.raises(SinkError, match=f"refuses event .* {status}") as told,
    ):
        sink_of(server).write(batch((0, 0, 3)))
    assert not isinstance(told.value, SinkUnavailable)
    assert len(server.asked) == 2
    file = tmp_path / "refused.jsonl"
    with webhook((204, {}), (status, headers)) as server:
        assert sink_of(server, refused=file).write(batch((0, 0, 3))) == Written(new=2, refused=1)
    (kept,) = (json.loads(line) for line in file.read_text().splitlines())
    assert (kept["status"], kept["event"]["id"]) == (status, batch((0, 0, 3)).events[1].id)
    check_event(kept["event"])


def test_a_file_of_refused_events_that_cannot_be_written_loses_none(tmp_path: Path) -> None:
    with webhook((400, {}), (400, {})) as server:
        sink = sink_of(server, refused=tmp_path / "no" / "refused.jsonl")
        with pytest.raises(SinkUnavailable, match="cannot be written"):
            sink.write(batch((0, 0, 1)))
        (tmp_path / "no").mkdir()
        assert sink.write(batch((0, 0, 1))) == Written(new=0, refused=1)
    assert len((tmp_path / "no" / "refused.jsonl").read_text().splitlines()) == 1


def test_a_user_and_a_password_go_into_a_header_alone() -> None:
    with webhook() as server:
        url = server.url.replace("http://", "http://ann:canary-4471@")
        sink_of(server, url=url).write(batch((0, 0, 1)))
    (one,) = server.asked
    assert base64.b64decode(one.headers["authorization"].removeprefix("Basic ")) == b"ann:canary-4471"
    assert "canary" not in one.headers["host"]


def test_a_target_that_is_away_is_told_without_its_path() -> None:
    with pytest.raises(SinkUnavailable, match=r"http://127\.0\.0\.1:1/\.\.\. does not answer") as told:
        sink_of(Webhook(), url="http://127.0.0.1:1/services/canary-4471?token=canary-4472").write(batch((0, 0, 1)))
    assert "canary" not in str(told.value)


def test_an_answer_without_end_is_left() -> None:
    with webhook((200, {"x": "y" * 30_000})) as server:
        assert sink_of(server).write(batch((0, 0, 2))) == Written(new=2)


def test_a_refusal_in_the_middle_of_a_batch_notes_what_was_taken_before() -> None:
    log = log_of(30)
    with webhook(*[(204, {})] * 20, (302, {})) as server:
        with pytest.raises(SinkError, match=r"refuses event .* 302"):
            run(log, sink_of(server))
        assert sum(log.group.values()) == 20
        assert run(log, sink_of(server)).written == 10
    assert (sorted(server.taken()), len(server.asked)) == (ids_of(log), 31)


def test_a_signal_while_the_target_fails_notes_what_was_taken_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.sinks.driving.STOP_FAILING_S", 0.1)
    log = log_of(30)
    with webhook(*[(204, {})] * 20, *[(503, {})] * 1000) as server:
        report = run(log, sink_of(server), stop=lambda: len(server.asked) > 20)
        assert (report.written, sum(log.group.values())) == (20, 20)
        assert 0 < report.unwritten <= 30 - 20
        assert len(server.taken()) == 20
