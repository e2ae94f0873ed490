"""The server's answers: states, rights, errors in one line, nothing that changes anything."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import aiohttp
import pytest
import yarl

from streamproc.errors import BrokerError
from streamproc.view.bounded import Desk, Gone, NotThere, TooLong
from streamproc.view.past import Query
from streamproc.view.shown import Picture, Shown
from tests.view.material import NOW_MS, frame_record, frame_shown, picture, picture_record
from tests.view.serving import asking, run

TOKEN = "0123456789abcdef-canary"


ALL = Query(camera="gate", kind="notable", label="f", text="t", outcome="partial", from_ms=1, to_ms=2, limit=500)


class Log:
    """Answers as `Past` does."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None
        self.hold: threading.Event | None = None

    def _answer(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.hold is not None:
            self.hold.wait(10)
        if self.error is not None:
            raise self.error

    def events(self, query: Query) -> tuple[list[Shown], bool]:
        self._answer(query)
        return [frame_shown(3)], True

    def event(self, event_id: str, *, camera: str | None, near_ms: int | None) -> dict[str, Any]:
        self._answer(event_id, camera, near_ms)
        return {"id": event_id}

    def picture(self, event_id: str, *, camera: str | None, near_ms: int | None, edges: bool) -> tuple[bytes, str]:
        self._answer(event_id, camera, near_ms, edges)
        return b"PNG", "a line\nof its edges"

    def picture_at(self, camera: str, at_ms: int, kind: str) -> Picture:
        self._answer(camera, at_ms, kind)
        return picture(4, kind=kind)

    def frame_at(self, camera: str, at_ms: int) -> tuple[bytes, bytes]:
        self._answer(camera, at_ms)
        return b"JPEG", b'{"camera":"gate"}'

    def span(self, camera: str) -> tuple[int, int] | None:
        self._answer(camera)
        return None if camera == "none" else (1, 2)


def test_the_state_tells_cameras_and_broker() -> None:
    async def test() -> None:
        async with asking() as (served, client):
            served.state.event(frame_shown(1), frame_record(1))
            served.state.picture(picture(), picture_record())
            async with client.get("/api/state") as answer:
                told = await answer.json()
                assert answer.headers["Cache-Control"] == "no-store"
            assert told["broker"]["ok"] is True
            assert [camera["name"] for camera in told["cameras"]] == ["gate"]
            assert (told["limits"], told["version"]) == ({"events": 1000}, "0.1.0")
            assert served.state.place_of(frame_shown(1).id) == (0, 1)
            async with client.get("/api/series?camera=gate&minutes=1") as answer:
                assert len((await answer.json())["frames"]) == 12

    run(test)


def test_probes_tell_the_truth() -> None:
    async def test() -> None:
        async with asking() as (served, client):
            for path, status, text in (("/healthz", 200, "ok"), ("/readyz", 200, "ready")):
                async with client.get(path) as answer:
                    assert (answer.status, await answer.text()) == (status, text)
            served.state.pulse.failed("topic events does not exist: run streamproc topics create")
            async with client.get("/healthz") as answer:
                assert answer.status == 200
            async with client.get("/readyz") as answer:
                assert (answer.status, "topics create" in await answer.text()) == (503, True)
            async with client.get("/api/events") as answer:  # nobody waits for a broker that is gone
                assert (answer.status, "topics create" in (await answer.json())["told"]) == (503, True)

    run(test)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/events", (Query(),)),
        (
            "/api/events?camera=gate&type=notable&label=f&text=t&outcome=partial&from_ms=1&to_ms=2&limit=500",
            (ALL,),
        ),
        ("/api/events?camera=&type=", (Query(),)),
        ("/api/events/abc", ("abc", None, None)),
        ("/api/events/abc?camera=gate&ms=5", ("abc", "gate", 5)),
        ("/api/events/abc/picture?edges=0", ("abc", None, None, False)),
        ("/api/events/abc/picture", ("abc", None, None, True)),
        ("/api/at?camera=gate&ms=7&kind=edges", ("gate", 7, "edges")),
        ("/api/frame?camera=gate&ms=7", ("gate", 7)),
        ("/api/span?camera=gate", ("gate",)),
    ],
)  # fmt: skip
def test_questions_reach_the_log_as_they_were_asked(path: str, asked: tuple[object, ...]) -> None:
    log = Log()

    async def test() -> None:
        async with asking(log) as (_, client), client.get(path) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]

    run(test)
    assert log.asked == [asked]


def test_pictures_come_with_their_frame() -> None:
    async def test() -> None:
        async with asking(Log()) as (_, client):
            async with client.get(f"/api/at?camera=gate&ms={NOW_MS}&kind=edges") as answer:
                assert (answer.content_type, await answer.read()) == ("image/png", picture(4).pixels)
                assert json.loads(answer.headers["X-Frame"])["sequence"] == 4
            async with client.get("/api/events/x/picture") as answer:
                assert (answer.content_type, answer.headers["X-Edges"]) == ("image/png", "a line?of its edges")
            async with client.get("/api/span?camera=none") as answer:
                assert await answer.json() == {"from_ms": None, "to_ms": None}

    run(test)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/events?limit=0", "limit"),
        ("/api/events?limit=501", "limit"),
        ("/api/events?limit=many", "limit"),
        ("/api/events?camera=a%20b", "camera"),
        ("/api/events?camera=demo%0a", "camera"),
        ("/api/events?type=Frame!", "type"),
        ("/api/events?outcome=lovely", "outcome"),
        ("/api/events?from_ms=-1", "from_ms"),
        ("/api/events?from_ms=2&to_ms=1", "to_ms"),
        (f"/api/events?text={'x' * 101}", "text"),
        ("/api/events/%3Cscript%3E", "id"),
        ("/api/events/abc?ms=1.5", "ms"),
        ("/api/events/abc/picture?edges=2", "edges"),
        ("/api/at?ms=1", "camera"),
        ("/api/at?camera=gate", "ms"),
        ("/api/at?camera=gate&ms=1&kind=all", "kind"),
        ("/api/at?camera=gate&ms=99999999999999999999", "ms"),
        ("/api/series", "camera"),
        ("/api/series?camera=gate&minutes=61", "minutes"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(path: str, named: str) -> None:
    async def test() -> None:
        async with asking(Log()) as (_, client), client.get(path) as answer:
            assert answer.status == 400
            assert (await answer.json())["told"].startswith(f"{named}: ")

    run(test)


LENIENT = {"Prefer": "handling=lenient"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotThere("it is not there"), 404),
        (Gone("it is gone"), 410),
        (TooLong("too long"), 503),
        (BrokerError("no broker\nanswers"), 503),
        (RuntimeError("canary"), 500),
    ],
)
def test_what_goes_wrong_is_one_line(error: Exception, status: int, caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    log.error = error

    async def test() -> None:
        async with asking(log) as (_, client), client.get("/api/events") as answer:
            assert answer.status == status
            told = (await answer.json())["told"]
            assert "\n" not in told
            assert "canary" not in told
        if status == 500:
            return
        async with asking(log) as (_, client), client.get("/api/events", headers=LENIENT) as answer:
            assert (answer.status, answer.headers["X-Status"]) == (200, str(status))
            assert (await answer.json())["told"] == told

    run(test)
    assert ("canary" in caplog.text) is (status == 500)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/state", 405),
        ("DELETE", "/api/events/x", 405),
        ("PUT", "/", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/static/none.js", 404),
        ("GET", "/static/..%2Frun.py", 404),
        ("GET", "/static/%2Fetc%2Fpasswd", 404),
        ("HEAD", "/api/state", 200),
        ("GET", "/favicon.ico", 204),
    ],
)
def test_nothing_can_be_changed_and_nothing_else_is_served(method: str, path: str, status: int) -> None:
    async def test() -> None:
        async with (
            asking(Log()) as (served, _),
            aiohttp.ClientSession() as client,
            client.request(method, yarl.URL(served.url + path, encoded=True)) as answer,
        ):
            assert answer.status == status

    run(test)


def test_more_questions_than_can_be_asked_at_once_are_turned_away_and_the_others_answered() -> None:
    log = Log()
    log.hold = threading.Event()

    async def test() -> None:
        async with asking(log, desk=Desk(at_once=2, waiting=1)) as (_, client):

            async def ask() -> int:
                async with client.get("/api/span?camera=gate") as answer:
                    return answer.status

            tasks = [asyncio.create_task(ask()) for _ in range(5)]
            done, rest = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < 2:
                more, rest = await asyncio.wait(rest, timeout=5, return_when=asyncio.FIRST_COMPLETED)
                done |= more
            assert [task.result() for task in done] == [503, 503]
            assert len(log.asked) == 2
            log.hold.set()  # type: ignore[union-attr]  # it was set above
            assert [await task for task in rest] == [200, 200, 200]

    run(test)


def test_with_a_token_every_request_needs_it() -> None:
    async def test() -> None:
        async with asking(Log(), token=TOKEN) as (served, client):
            for path in ("/api/state", "/api/live", "/api/events", "/static/main.js", "/nowhere"):
                async with client.get(path) as answer:
                    assert answer.status == 401, path
                    assert "token" in (await answer.json())["told"]
            async with client.get("/") as answer:
                assert (answer.status, answer.content_type) == (401, "text/html")
                assert 'name="token"' in await answer.text()
            async with client.get("/api/state", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                assert answer.status == 200
            served.state.pulse.failed("canary host is away")
            async with client.get("/readyz") as answer:
                assert (answer.status, "canary" in await answer.text()) == (503, False)

    run(test)


def test_a_login_sets_a_cookie_that_scripts_and_other_sites_do_not_get() -> None:
    async def test() -> None:
        async with asking(Log(), token=TOKEN) as (_, client):
            async with client.post("/login", data={"token": "wrong-wrong-wrong"}) as answer:
                assert (answer.status, "not right" in await answer.text()) == (401, True)
                assert "Set-Cookie" not in answer.headers
            async with client.post(
                "/login", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}
            ) as answer:
                assert answer.status == 403
            async with client.post("/login", data={"token": TOKEN}, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (303, "./")
                cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert TOKEN not in cookie
            async with client.get("/api/state") as answer:
                assert answer.status == 200
            async with client.get("/login", allow_redirects=False) as answer:
                assert answer.status == 303
            async with client.post("/login", data={"token": "x" * 100_000}) as answer:
                assert answer.status in {400, 413}

    run(test)


def test_names_and_pages_of_elsewhere_are_refused() -> None:
    async def test() -> None:
        async with asking(Log()) as (_, client):
            async with client.get("/api/state", headers={"Host": "rebound.example"}) as answer:
                assert answer.status == 403
            async with client.get("/api/live", headers={"Origin": "http://evil.example"}) as answer:
                assert answer.status == 403

    run(test)


def test_the_page_and_its_files_are_served_for_browsers_that_ask_again() -> None:
    async def test() -> None:
        async with asking(Log()) as (_, client):
            for path, kind in (("/", "text/html"), ("/static/main.js", "text/javascript")):
                async with client.get(path) as answer:
                    assert (answer.status, answer.content_type, answer.charset) == (200, kind, "utf-8")
                    assert answer.headers["Cache-Control"] == "no-cache"
                    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
                    tag = answer.headers["ETag"]
                async with client.get(path, headers={"If-None-Match": tag}) as answer:
                    assert answer.status == 304

    run(test)
