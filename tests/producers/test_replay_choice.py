"""Frames are chosen whole, by what they say of themselves, and looked for where they can be."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.replay_choice import Choice, by_events, by_offsets, parse_moment, parse_offsets
from producers.replay_records import headers_of
from streamproc.cli.events import parse_time
from streamproc.errors import BrokerError, UsageError
from streamproc.model import FrameKey
from streamproc.reader import Record
from tests.features import tile_header
from tests.producers.replayed import TOPIC, MemorySource, chosen, frames, record, whole

BEYOND = ["9999999d", "30000d", "1969-12-31T23:59:59", "1970-01-01T00:30:00+01:00", "9999-12-31T23:59:59-01:00"]


@given(partition=st.integers(0, 3), first=st.integers(0, 49), length=st.integers(0, 10))
def test_offsets_of_one_partition_give_whole_frames_of_all(partition: int, first: int, length: int) -> None:
    source = MemorySource(frames(50))
    choice = Choice()
    ranges, choice.frames = by_offsets(source, {partition: (first, first + length + 1)}, judge=choice)
    assert sorted(chosen(source, ranges, choice)) == whole(range(first, min(50, first + length + 1)))


def test_offsets_that_hold_nothing_or_do_not_exist_are_refused_with_what_there_is() -> None:
    source = MemorySource(frames(5))
    with pytest.raises(UsageError, match="it holds 1:0-4"):
        by_offsets(source, {1: (100, 200)}, judge=Choice())
    with pytest.raises(UsageError, match="no partition 9: it has 0 to 3"):
        by_offsets(source, {9: (0, 1)}, judge=Choice())


def test_camera_and_run_choose_and_what_was_replayed_before_is_left_out_unless_asked_for() -> None:
    gate = tile_header(camera="gate", run="r1")
    yard = tile_header(camera="yard", run="r2")
    echo = tile_header(camera="gate", run="replay-1")
    records = [record(header, offset=0, timestamp_ms=1) for header in (gate, yard)]
    records.append(
        record(echo, offset=1, timestamp_ms=2, headers=headers_of(records[0], gate, run="replay-1", first=0))
    )

    def take(choice: Choice) -> list[str]:
        return [found.run for one in records if (found := choice.take(one)) is not None]

    assert take(Choice()) == ["r1", "r2"]
    assert take(Choice(cameras=["yard"])) == ["r2"]
    assert take(Choice(replays=True)) == ["r1", "r2", "replay-1"]
    assert take(Choice(runs=["replay-1"])) == ["replay-1"]
    assert take(Choice(frames=frozenset({FrameKey("gate", "replay-1", 0)}))) == ["replay-1"]


def test_records_that_say_nothing_of_themselves_are_counted_and_left() -> None:
    choice = Choice()
    assert choice.take(record(tile_header(), offset=0, timestamp_ms=1, headers=[("x", b"y")])) is None
    assert choice.unreadable == 1


def event(kind: str, identity: str, *, sequence: int, offsets: dict[str, list[int]] | None = None) -> Record:
    """An event record, as far as it matters here."""
    headers = {
        "ce_id": identity,
        "ce_type": f"io.streamproc.{kind}.v1",
        "ce_source": "/cameras/cam",
        "ce_subject": f"run-1/{sequence}",
    }
    data = {"evidence": {"topic": TOPIC, "offsets": offsets or {}}}
    return Record(
        topic="t.events",
        partition=0,
        offset=0,
        timestamp_ms=1,
        key=b"cam",
        value=json.dumps(data).encode(),
        headers=[(name, value.encode()) for name, value in headers.items()],
    )


def test_an_event_or_what_happened_on_its_frame_leads_to_the_frame() -> None:
    tiles = frames(5)
    source = MemorySource(tiles)
    offsets = {str(one.partition): [one.offset, one.offset] for one in tiles if b"/0/" in one.key or b"/1/" in one.key}
    log = [
        event("track", "t1", sequence=4),
        event("frame", "f4", sequence=4, offsets=offsets),
        event("frame", "f9", sequence=9),
    ]
    events = MemorySource([replace(one, offset=number) for number, one in enumerate(log)])
    for identity in ("f4", "t1"):
        choice = Choice()
        ranges, choice.frames = by_events(source, events, [identity])
        assert choice.frames == {FrameKey("cam", "run-1", 4)}
        assert sorted(chosen(source, ranges, choice)) == whole(range(4, 5))
    with pytest.raises(BrokerError, match="nothing: no such event"):
        by_events(source, events, ["nothing"])


@pytest.mark.parametrize(
    ("text", "moment_ns"),
    [
        ("2026-01-31T12:00:00", 1_769_860_800 * 10**9),
        ("2026-01-31T13:00:00.000001+01:00", 1_769_860_800 * 10**9 + 1000),
        ("90s", 910 * 10**9),
        ("1000s", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("9999-12-31", 253_402_214_400 * 10**9),
    ],
)
def test_moments_are_read_to_the_microsecond(text: str, moment_ns: int) -> None:
    assert parse_moment(text, now_s=1000, name="--from") == moment_ns
    assert parse_time(text, now_s=1000, name="--from") == moment_ns // 10**6


@pytest.mark.parametrize("text", ["", "soon", "5x", "2026-13-01"])
def test_any_other_moment_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="--from"):
        parse_moment(text, name="--from")


@pytest.mark.parametrize("text", BEYOND)
def test_a_moment_before_1970_or_after_9999_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match=f"^--to '{re.escape(text)}' is before 1970 or after 9999: name a time between$"
    ):
        parse_moment(text, now_s=1_800_000_000, name="--to")
    with pytest.raises(UsageError, match=f"^--to '{re.escape(text)}' is before 1970 or after 9999"):
        parse_time(text, now_s=1_800_000_000, name="--to")


def test_offsets_are_read_with_their_last_included() -> None:
    assert parse_offsets(["3:10-12", "0:5-5"]) == {3: (10, 13), 0: (5, 6)}


@pytest.mark.parametrize("texts", [["3"], ["3:5"], ["3:9-2"], ["x:1-2"], ["1:1-2", "1:5-6"], ["1:-2-5"]])
def test_any_other_offsets_are_refused_by_name(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--offsets"):
        parse_offsets(texts)
