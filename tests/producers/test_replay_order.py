"""Partitions merged by time: complete, in order, and never more in memory than the budget."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from producers.replay_order import in_time_order
from streamproc.model import TileHeader
from streamproc.reader import Record
from tests.features import tile_header
from tests.producers.replayed import TOPIC, MemorySource, frames

HEADER = tile_header()


def take_all(_record: Record) -> TileHeader | None:
    """Everything is wanted."""
    return HEADER


def plain(partition: int, offset: int, timestamp_ms: int, size: int = 1) -> Record:
    """A record of some size."""
    return Record(
        topic=TOPIC,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        key=b"",
        value=bytes(size),
        headers=[],
    )


@st.composite
def logs(draw: st.DrawFn, *, monotone: bool) -> list[Record]:
    """Records of a few partitions with bursts, holes of hours, equal times, deleted offsets, clocks going back."""
    found = []
    gaps = st.one_of(st.just(0), st.integers(0, 50), st.just(7_200_000))
    for partition in range(draw(st.integers(1, 4))):
        offset, timestamp_ms = draw(st.integers(0, 100)), draw(st.integers(0, 100_000))
        for _ in range(draw(st.integers(0, 25))):
            offset += draw(st.sampled_from([1, 1, 1, 3]))
            timestamp_ms += draw(gaps) if monotone else draw(st.one_of(gaps, st.integers(-500, 0)))
            found.append(plain(partition, offset, max(0, timestamp_ms), draw(st.sampled_from([0, 1, 40, 400]))))
    return found


def ranges_of(source: MemorySource) -> dict[int, tuple[int, int]]:
    return {number: source.bounds(number) for number in source.partitions()}


@given(records=logs(monotone=False), seed=st.integers(0, 9), budget=st.sampled_from([1, 100, 1000, 10**6]))
def test_every_record_comes_once_each_partition_in_order_and_moments_never_go_back(
    records: list[Record], seed: int, budget: int
) -> None:
    source = MemorySource(records, seed=seed)
    windows = list(in_time_order(source, ranges_of(source), take=take_all, budget_bytes=budget))
    came = [timed for window in windows for timed in window.records]
    places = [(timed.record.partition, timed.record.offset) for timed in came]
    assert Counter(places) == Counter((one.partition, one.offset) for one in records)
    for partition in source.partitions():
        offsets = [offset for number, offset in places if number == partition]
        assert offsets == sorted(offsets)
    assert all(before.moment_ms <= after.moment_ms for before, after in itertools.pairwise(came))
    assert sum(window.passed for window in windows) == sum(end - first for first, end in ranges_of(source).values())


@given(records=logs(monotone=True), seed=st.integers(0, 9))
def test_where_clocks_never_go_back_the_order_is_that_of_the_timestamps(records: list[Record], seed: int) -> None:
    source = MemorySource(records, seed=seed)
    windows = in_time_order(source, ranges_of(source), take=take_all, budget_bytes=500)
    times = [timed.record.timestamp_ms for window in windows for timed in window.records]
    assert times == sorted(one.timestamp_ms for one in records)


def test_a_window_holds_no_more_than_the_budget_however_the_size_of_records_changes() -> None:
    small = [plain(0, offset, 10 * offset, 10) for offset in range(500)]
    large = [plain(0, 500 + offset, 5_000 + 10 * offset, 1_000) for offset in range(500)]
    source = MemorySource(small + large, partitions=1)
    held = [
        sum(len(timed.record.value) for timed in window.records)
        for window in in_time_order(source, ranges_of(source), take=take_all, budget_bytes=20_000)
    ]
    assert sum(held) == 505_000
    assert max(held) <= 2 * 20_000 + 1_000


def test_a_burst_within_one_millisecond_is_split_too() -> None:
    source = MemorySource([plain(number % 2, number // 2, 77, 1_000) for number in range(200)], partitions=2)
    held = [
        len(window.records) for window in in_time_order(source, ranges_of(source), take=take_all, budget_bytes=10_000)
    ]
    assert sum(held) == 200
    assert max(held) <= 21


def test_what_is_not_wanted_takes_no_room() -> None:
    source = MemorySource(frames(200))
    windows = list(in_time_order(source, ranges_of(source), take=lambda _record: None, budget_bytes=100_000))
    assert all(not window.records for window in windows)
    assert sum(window.passed for window in windows) == 800


def test_nothing_is_read_of_nothing() -> None:
    assert list(in_time_order(MemorySource([]), {0: (5, 5)}, take=take_all)) == []
