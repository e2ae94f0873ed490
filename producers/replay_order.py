"""Records of all partitions in the order of their time, with bounded memory.

A source gives each partition in order and the partitions interleaved as it likes: one may run minutes ahead of
another. So it is read in windows of time. A window is made as long as its records fit into a budget of bytes, and its
records are merged. The *moment* of a record is the latest timestamp of its partition up to it: order within a partition
stays as it is in the log, whatever its timestamps say.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field

from streamproc.model import TileHeader
from streamproc.records import Record, RecordSource

BUDGET_BYTES = 32 * 2**20
_FIRST_MS = 1000
_LONGEST_MS = 2**36  # about two years
_GUESS_BYTES = 200_000.0  # of a record, before any was seen
_RECORD_BYTES = 2048  # of a record that is held, beside its value: a tile that has not changed has none

Take = Callable[[Record], TileHeader | None]
"""The header of a record that is wanted, None for all others."""
Ranges = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Timed:
    """A wanted record: its header, and its moment in milliseconds since 1970."""

    record: Record
    header: TileHeader
    moment_ms: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Wanted records of some time, in order.

    Attributes:
        passed: Offsets that the window covers, of wanted records and others.
        until_ms: Moments of later windows are not before it.
    """

    records: list[Timed]
    passed: int
    until_ms: int


@dataclass(slots=True, eq=False)
class _Walk:
    """How far reading is."""

    left: dict[int, tuple[int, int]]
    start_ms: int
    width_ms: int = _FIRST_MS
    mean_bytes: float = _GUESS_BYTES  # wanted bytes for each offset that is read
    moments: dict[int, int] = field(default_factory=dict)

    def narrow(self, offsets: int, budget_bytes: int) -> None:
        """The window is too long for the budget."""
        fits = int(self.width_ms * 0.8 * budget_bytes / (offsets * self.mean_bytes))
        self.width_ms = max(1, min(self.width_ms - 1, fits))

    def advance(self, ends: Mapping[int, int]) -> None:
        """Everything below these offsets is done."""
        self.left = {number: (ends[number], end) for number, (_, end) in self.left.items() if ends[number] < end}


def in_time_order(
    source: RecordSource,
    ranges: Ranges,
    *,
    take: Take,
    budget_bytes: int = BUDGET_BYTES,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Window]:
    """Read offset ranges, merged by time.

    Args:
        source: Of the records.
        ranges: First offset and the one after the last, by partition.
        take: Which records are wanted.
        budget_bytes: Of records held at once, about; a single record of each partition is always held.
        stop: Asked before each record; once it says so nothing more is given.

    Yields:
        Windows, one after the other in time; moments do not decrease from the first record to the last.
    """
    left = {number: (first, end) for number, (first, end) in ranges.items() if first < end}
    start_ms = max(0, min(first_moments(source, left).values(), default=0))
    walk = _Walk(left, start_ms, moments=dict.fromkeys(left, 0))
    while walk.left and not stop():
        until = {number: source.offset_at(number, since_ms=walk.start_ms + walk.width_ms) for number in walk.left}
        ends = {number: min(end, max(first, until[number])) for number, (first, end) in walk.left.items()}
        offsets = sum(ends[number] - first for number, (first, _) in walk.left.items())
        if not offsets:
            walk.start_ms += walk.width_ms
            walk.width_ms = min(4 * walk.width_ms, _LONGEST_MS)
            continue
        crowded = offsets * walk.mean_bytes > budget_bytes
        if crowded and walk.width_ms > 1:
            walk.narrow(offsets, budget_bytes)
            continue
        if crowded:  # more at one millisecond than fit: some of each partition, and the same millisecond again
            share = max(1, int(budget_bytes / walk.mean_bytes / len(walk.left)))
            ends = {number: min(ends[number], first + share) for number, (first, _) in walk.left.items()}
        found = _read(source, walk, ends, take=take, most_bytes=2 * budget_bytes, stop=stop)
        if found is not None:
            until_ms = walk.start_ms + (0 if crowded else walk.width_ms)
            passed = sum(ends[number] - first for number, (first, _) in walk.left.items())
            yield Window(records=found, passed=passed, until_ms=until_ms)
            walk.advance(ends)
            walk.start_ms = until_ms
            if not crowded and passed * walk.mean_bytes < budget_bytes / 2:
                walk.width_ms = min(2 * walk.width_ms, _LONGEST_MS)


def _read(
    source: RecordSource,
    walk: _Walk,
    ends: Mapping[int, int],
    *,
    take: Take,
    most_bytes: int,
    stop: Callable[[], bool],
) -> list[Timed] | None:
    """The records of a window; None if it was stopped, or, with a better guess of their size, if they are too many."""
    ranges = {number: (first, ends[number]) for number, (first, _) in walk.left.items() if first < ends[number]}
    offsets = sum(end - first for first, end in ranges.values())
    held: dict[int, list[Timed]] = {number: [] for number in ranges}
    moments = {number: walk.moments[number] for number in ranges}
    read = size = 0
    with contextlib.closing(_closable(source.read(ranges))) as records:
        for read, record in enumerate(records, start=1):
            if stop():
                return None
            number = record.partition
            moments[number] = max(moments[number], record.timestamp_ms)
            header = take(record)
            if header is not None:
                held[number].append(Timed(record, header, moments[number]))
                size += len(record.value) + _RECORD_BYTES
            if size > most_bytes and offsets > len(ranges):
                walk.mean_bytes = size / read
                return None
    walk.moments |= moments
    walk.mean_bytes = max(size / max(1, read), walk.mean_bytes / 2, 1.0)
    return list(heapq.merge(*held.values(), key=lambda one: (one.moment_ms, one.record.partition)))


def _closable(records: Iterator[Record]) -> Generator[Record]:  # whatever kind of iterator the source gives
    yield from records


def first_moments(source: RecordSource, ranges: Ranges) -> dict[int, int]:
    """The timestamp of the first record of each range that holds any, in milliseconds, by partition."""
    firsts = {}
    for number, bounds in ranges.items():
        with contextlib.closing(_closable(source.read({number: bounds}))) as records:
            first = next(records, None)
        if first is not None:
            firsts[number] = first.timestamp_ms
    return firsts
