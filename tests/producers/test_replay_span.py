"""Where frames of a span of time are looked for, whatever the clocks of their producers did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.replay_choice import Choice
from producers.replay_span import around_captures, begins_ms, everything
from streamproc.reader import Record
from tests.producers.replayed import MemorySource, chosen, frames, renumbered, whole

NS = 10**6
FIRST_MS = 1_000_000
HOUR_MS = 3_600_000


@given(first=st.integers(0, 60), count=st.integers(1, 60))
def test_a_span_of_capture_time_gives_exactly_its_frames_and_all_their_tiles(first: int, count: int) -> None:
    source = MemorySource(frames(60))
    captured = [(FIRST_MS + sequence * 40 - 5) * NS for sequence in range(130)]
    choice = Choice(from_ns=captured[first], to_ns=captured[first + count])
    ranges = around_captures(source, from_ns=choice.from_ns, to_ns=choice.to_ns, slack_s=1)
    assert sorted(chosen(source, ranges, choice)) == whole(range(first, min(60, first + count)))


def test_a_span_is_looked_for_around_its_record_times_alone() -> None:
    source = MemorySource(frames(1000))
    ranges = around_captures(source, from_ns=1_020_000 * NS, to_ns=1_021_000 * NS, slack_s=0.5)
    assert sum(end - first for first, end in ranges.values()) <= 4 * (2_000 // 40 + 1)
    assert around_captures(source, from_ns=None, to_ns=None, slack_s=1) == everything(source)


def test_frames_published_later_than_the_slack_are_not_found() -> None:
    late = [replace(one, timestamp_ms=one.timestamp_ms + 90_000) for one in frames(10)]
    source = MemorySource(late)
    choice = Choice(from_ns=999_000 * NS, to_ns=1_001_000 * NS)
    near = around_captures(source, from_ns=choice.from_ns, to_ns=choice.to_ns, slack_s=60)
    far = around_captures(source, from_ns=choice.from_ns, to_ns=choice.to_ns, slack_s=120)
    assert chosen(source, near, choice) == []
    assert sorted(chosen(source, far, choice)) == whole(range(10))


def _one_ahead(tiles: list[Record], ahead_ms: int) -> list[Record]:
    """Beside them a camera whose producer is ahead for good, and sends a frame for ten of theirs."""
    other = [one for one in frames(600, every_ms=1000, camera="yard") if one.timestamp_ms % 10_000 == 0]
    log = sorted([*tiles, *other], key=lambda one: one.timestamp_ms)
    return [replace(one, timestamp_ms=one.timestamp_ms + ahead_ms) if b"yard" in one.key else one for one in log]


def _set_for_a_while(tiles: list[Record], ahead_ms: int) -> list[Record]:
    """The clock of their own producer is ahead during some frames before those that are wanted."""
    begun_ms, over_ms = FIRST_MS + 200_000, FIRST_MS + 290_000
    return [
        replace(one, timestamp_ms=one.timestamp_ms + ahead_ms) if begun_ms <= one.timestamp_ms < over_ms else one
        for one in tiles
    ]


@pytest.mark.parametrize("log", [_one_ahead, _set_for_a_while])
@pytest.mark.parametrize("ahead_ms", [2 * 60_000, 20 * 60_000, 24 * HOUR_MS])
def test_a_later_timestamp_before_those_that_are_wanted_hides_none_of_them(
    log: Callable[[list[Record], int], list[Record]], ahead_ms: int
) -> None:
    source = MemorySource(renumbered(log(frames(600, every_ms=1000), ahead_ms)))
    choice = Choice(cameras=["cam"], from_ns=(FIRST_MS + 300_000 - 5) * NS, to_ns=(FIRST_MS + 400_000 - 5) * NS)
    ranges = around_captures(source, from_ns=choice.from_ns, to_ns=choice.to_ns, slack_s=60)
    assert sorted(chosen(source, ranges, choice)) == whole(range(300, 400))
    if log is _one_ahead:
        assert sum(end - first for first, end in ranges.values()) < 4 * 600, "not simply all of it"


def test_a_pause_is_no_reason_to_read_what_comes_after_it() -> None:
    before, after = frames(100, every_ms=1000), frames(600, every_ms=1000, first=100)
    log = renumbered([*before, *(replace(one, timestamp_ms=one.timestamp_ms + HOUR_MS) for one in after)])
    source = MemorySource(log)
    ranges = around_captures(source, from_ns=None, to_ns=(FIRST_MS + 10 * 60_000) * NS, slack_s=60)
    assert ranges == dict.fromkeys(range(4), (0, 100))


def test_where_a_log_begins_is_told_if_frames_of_the_span_may_have_stood_before_it() -> None:
    uncut, cut = MemorySource(frames(100)), MemorySource(frames(100)[50:])
    begun_ms = FIRST_MS + 13 * 40  # the first frame of which no partition has lost its tile

    def told(source: MemorySource, from_ms: int | None) -> int | None:
        return begins_ms(source, from_ns=None if from_ms is None else from_ms * NS, slack_s=60)

    assert told(cut, begun_ms) is told(cut, None) is told(uncut, FIRST_MS - 60_000) is None
    assert told(cut, begun_ms - 1) == begun_ms
    assert told(uncut, FIRST_MS - 60_001) == FIRST_MS
    assert told(MemorySource([]), 0) is None
