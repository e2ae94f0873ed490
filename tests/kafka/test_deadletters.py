"""Dead letters on a real broker: seen, shown, sent back; and what their frames come to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from streamproc import wire
from streamproc.deadletters import Place, read_letter_at, redrive
from streamproc.demo import EventLog
from streamproc.errors import DeliveryError, UsageError
from streamproc.letterhead import deadletter_headers
from streamproc.model import TileHeader
from streamproc.provision import wait_for_group
from streamproc.publisher import Publisher
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics, tile_partition
from tests.cli import Done, streamproc
from tests.features import tile_header
from tests.kafka.whole_log import frames_told_of, read_all
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

EDGES = 'name = "edges"\n[[step]]\noperator = "canny"\nname = "edges"\n'


@pytest.fixture
def edges_only(tmp_path: Path) -> Path:
    file = tmp_path / "edges.toml"
    file.write_text(EDGES)
    return file


@contextmanager
def running(settings: Settings, role: str, folder: Path, pipeline: Path, *, members: int) -> Iterator[Workers]:
    """One worker that has joined; `members` are in the group then."""
    with Workers(settings, [WorkerSpec(role=role, pipeline=pipeline)], folder=folder) as workers:
        wait_for_group(settings, members=members, timeout_s=60, check=workers.check)
        yield workers


def tile(sequence: int, index: int, **changes: Any) -> tuple[TileHeader, bytes]:
    """A good tile of a grey raw frame of 64x48."""
    header = tile_header(sequence=sequence, index=index, camera="gate")
    rect = header.rect
    body = np.add.outer(np.arange(rect.height) * 3, np.arange(rect.width) * 5).astype(np.uint8).tobytes()
    signed = msgspec.structs.replace(header, payload_digest=wire.digest_payload(body))
    return msgspec.structs.replace(signed, **changes), body


def send(settings: Settings, *tiles: tuple[TileHeader, bytes]) -> None:
    with Publisher(settings, client_id="test") as publisher:
        for header, body in tiles:
            publisher.send(
                topic=Topics(settings.prefix).tiles,
                partition=tile_partition("gate", header.index, settings.partitions),
                key=b"gate/run-1/0/0",
                value=body,
                headers=wire.tile_headers(header),
            )


def command(settings: Settings, *arguments: str | Path) -> Done:
    return streamproc(
        "deadletters",
        *arguments,
        STREAMPROC_BOOTSTRAP=settings.bootstrap,
        STREAMPROC_PREFIX=settings.prefix,
    )


def letters(settings: Settings, *arguments: str) -> list[dict[str, Any]]:
    """What the list command tells."""
    done = command(settings, "list", "--json", *arguments)
    assert done.code == 0, done.err
    return list(json.loads(done.out)["letters"])


def wait_for_letters(settings: Settings, count: int) -> None:
    deadletters = Topics(settings.prefix).deadletters
    wait_until(lambda: len(read_all(settings, deadletters)) >= count, f"{count} dead letters", timeout_s=60)


def test_a_frame_with_a_corrupted_tile_ends_and_its_letter_is_listed_shown_and_kept(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready(frame_deadline_s=60)
    corrupted = tile(0, 3, payload_digest=b"wrong!!!")
    with (
        running(settings, "all", tmp_path, edges_only, members=1) as workers,
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        send(settings, *(tile(0, index) for index in range(3)), corrupted)
        send(settings, *(tile(1, index, payload_digest=b"wrong!!!") for index in range(4)))
        with Publisher(settings, client_id="test") as publisher:
            publisher.send(
                topic=Topics(settings.prefix).tiles, partition=0, key=None, value=None, headers=[("a", None)]
            )
        assert log.wait_for(2, timeout_s=30)  # told by its dead letters, long before the deadline
        wait_for_letters(settings, 6)
        assert [event["data"]["outcome"] for event in log.events()] == ["partial", "rejected"]
        listed = letters(settings)
        assert sorted(letter["reason"] for letter in listed) == ["checksum"] * 5 + ["envelope"]
        assert len(letters(settings, "--camera", "gate", "--reason", "checksum", "--limit", "2")) == 2
        one = next(letter for letter in listed if letter["sequence"] == 0)
        assert (one["camera"], one["run"], one["tile"], one["attempt"]) == ("gate", "run-1", [1, 1], 1)
        plain = command(settings, "list")
        assert (plain.code, "6 dead letters: checksum 5, envelope 1" in plain.out) == (0, True)
        assert f"{one['id']}  " in plain.out

        _is_shown(settings, one["id"], corrupted, tmp_path)
        kept = command(settings, "redrive", one["id"])
        assert (kept.code, "has its event already (partial)" in kept.out) == (1, True)
        _stranger_fails_again_and_is_kept_at_the_limit(settings, listed)
        workers.check()
        assert [key.sequence for key in frames_told_of(settings)] == [0, 1]


def _is_shown(settings: Settings, letter_id: str, sent: tuple[TileHeader, bytes], folder: Path) -> None:
    shown = command(settings, "show", letter_id, "--out", folder / "tile.png")
    assert shown.code == 0, shown.err
    for words in ("checksum: payload differs", "gate/run-1/0, 64x48 px", "row 1, column 1 of 2x2", "34x34 px raw"):
        assert words in shown.out
    rect = sent[0].rect
    drawn = cv2.imread(str(folder / "tile.png"), cv2.IMREAD_UNCHANGED)
    assert drawn is not None
    assert np.array_equal(drawn, np.frombuffer(sent[1], np.uint8).reshape(rect.height, rect.width))
    raw = command(settings, "show", letter_id, "--out", folder / "tile.bin", "--json")
    assert json.loads(raw.out)["drawable"] is True
    assert (folder / "tile.bin").read_bytes() == sent[1]


def _stranger_fails_again_and_is_kept_at_the_limit(settings: Settings, listed: list[dict[str, Any]]) -> None:
    stranger = next(letter for letter in listed if letter["reason"] == "envelope")
    shown = command(settings, "show", stranger["id"], "--out", "stranger.png")
    assert (shown.code, "cannot be drawn" in shown.error_line, "stranger.bin" in shown.error_line) == (1, True, True)
    dry = command(settings, "redrive", stranger["id"], "--dry-run")
    assert (dry.code, "1 would be sent back" in dry.out) == (0, True)
    for attempt in (2, 3):
        done = command(settings, "redrive", "--all", "--reason", "envelope", "--json")
        assert done.code == 0, done.err
        assert [one["attempt"] for one in json.loads(done.out)["sent"]] == [attempt]
        wait_for_letters(settings, 4 + attempt + 1)
    last = command(settings, "redrive", "--all", "--reason", "envelope")
    assert "it was tried 3 times; the limit is 3 (--max-attempts)" in last.out
    assert "0 sent back and acknowledged, 1 refused, 2 older letters" in last.out
    again = [record for record in read_all(settings, Topics(settings.prefix).deadletters) if not record.value]
    assert [dict(record.headers)["dl_attempt"] for record in again] == [b"1", b"2", b"3"]
    assert all({"key", "value", 0} <= record.nulls for record in again)


def test_a_good_record_sent_back_within_the_deadline_makes_its_frame_complete(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready(frame_deadline_s=120)
    timid = settings.model_copy(update={"max_frame_pixels": 100})
    with (
        running(settings, "aggregate", tmp_path / "aggregate", edges_only, members=1),
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        with running(timid, "extract", tmp_path / "timid", edges_only, members=2):
            send(settings, *(tile(0, index) for index in range(2)))
            wait_for_letters(settings, 2)
        assert {letter["reason"] for letter in letters(settings)} == {"limits"}
        with running(settings, "extract", tmp_path / "bold", edges_only, members=2):
            done = command(settings, "redrive", "--all", "--camera", "gate", "--reason", "limits")
            assert done.code == 0, done.err
            assert "2 sent back and acknowledged, 0 refused" in done.out
            assert "no event changes twice" in done.out
            twice = command(settings, "redrive", "--all", "--json")
            assert len(json.loads(twice.out)["sent"]) == 2
            send(settings, *(tile(0, index) for index in (2, 3)))
            assert log.wait_for(1, timeout_s=60)
            (event,) = log.events()
            assert (event["data"]["outcome"], event["data"]["missing_tiles"]) == ("complete", [])
            late = command(settings, "redrive", "--all")
            assert late.out.count("has its event already (complete)") == 2
            time.sleep(1)  # a second event would come now
    assert [key.sequence for key in frames_told_of(settings)] == [0]
    assert len(read_all(settings, Topics(settings.prefix).deadletters)) == 2


def put(settings: Settings, *, partition: int, origin: tuple[str, int, int], value: bytes = b"x") -> None:
    """A dead letter, as a worker writes it."""
    headers = deadletter_headers([], reason="decode", detail="x", stage="extract", origin=origin, published_ms=1)
    with Publisher(settings, client_id="test") as publisher:
        publisher.send(
            topic=Topics(settings.prefix).deadletters, partition=partition, key=b"k", value=value, headers=headers
        )


def test_letters_that_are_not_there_or_lead_nowhere_are_named(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=2, delivery_timeout_s=5)
    tiles = Topics(settings.prefix).tiles
    nothing = command(settings, "list")
    assert (nothing.code, "no dead letters" in nothing.err) == (0, True)
    put(settings, partition=1, origin=(tiles, 1, 5))
    put(settings, partition=1, origin=(tiles, 1, 5))  # the same record, twice by a worker that was killed
    put(settings, partition=1, origin=("payments", 0, 5))
    put(settings, partition=0, origin=(tiles, 77, 5))
    assert read_letter_at(settings, Place(1, 1)).value == b"x"
    for place in (Place(1, 3), Place(7, 0)):
        with pytest.raises(UsageError, match=f"no dead letter {place}"):
            read_letter_at(settings, place)
    done = redrive(settings, lambda letter: letter.place.partition == 1, max_attempts=3)
    assert (len(done.sent), len(done.refused), done.older) == (1, 1, 1)
    assert "payments" in done.refused[0][1]
    (back,) = read_all(settings, tiles)
    assert (back.partition, back.key, back.value, back.offset) == (1, b"k", b"x", done.sent[0][1])
    assert dict(back.headers) == {"dl_attempt": b"1", "dl_first": f"{tiles}:1:5".encode(), "dl_first_ms": b"1"}
    with pytest.raises(DeliveryError, match="0 of 1 dead letters were sent back"):
        redrive(settings, [Place(0, 0)], max_attempts=3)
