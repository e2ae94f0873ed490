"""Records in memory that replays are tested with."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from producers.replay_choice import Choice
from producers.replay_order import in_time_order
from streamproc import wire
from streamproc.model import TileHeader
from streamproc.reader import Record
from streamproc.topics import tile_key, tile_partition
from tests.features import tile_header

TOPIC = "t.tiles"


def record(header: TileHeader, *, offset: int, timestamp_ms: int, partitions: int = 4, **changes: Any) -> Record:
    """A tile as it stands in the log."""
    values: dict[str, Any] = {
        "topic": TOPIC,
        "partition": tile_partition(header.camera, header.index, partitions),
        "offset": offset,
        "timestamp_ms": timestamp_ms,
        "key": tile_key(header),
        "value": b"pixels",
        "headers": wire.tile_headers(header),
    }
    return Record(**{**values, **changes})


def frames(count: int, *, partitions: int = 4, every_ms: int = 40, first: int = 0, **changes: Any) -> list[Record]:
    """Whole frames of 2x2 tiles, as one producer publishes them: offsets count up in each partition."""
    offsets = [0] * partitions
    found = []
    for number in range(count):
        sequence = first + number
        at_ms = 1_000_000 + sequence * every_ms
        for index in range(4):
            header = tile_header(
                **{"index": index, "sequence": sequence, "captured_ns": (at_ms - 5) * 10**6, **changes}
            )
            one = record(header, offset=0, timestamp_ms=at_ms, partitions=partitions)
            found.append(record(header, offset=offsets[one.partition], timestamp_ms=at_ms, partitions=partitions))
            offsets[one.partition] += 1
    return found


def renumbered(records: Sequence[Record]) -> list[Record]:
    """The same as they were appended: with offsets that count up in each partition."""
    offsets: dict[int, int] = {}
    found = []
    for one in records:
        offset = offsets[one.partition] = offsets.get(one.partition, -1) + 1
        found.append(replace(one, offset=offset))
    return found


class MemorySource:
    """A topic in memory; a `RecordSource`.

    Args:
        records: Each partition in the order of offsets.
        seed: Of the way in which partitions are interleaved.
    """

    def __init__(self, records: Iterable[Record], *, partitions: int = 4, seed: int = 0) -> None:
        self.topic = TOPIC
        self._held: dict[int, list[Record]] = {number: [] for number in range(partitions)}
        for one in records:
            self._held[one.partition].append(one)
        self._random = random.Random(seed)

    def partitions(self) -> list[int]:
        return sorted(self._held)

    def bounds(self, partition: int) -> tuple[int, int]:
        held = self._held[partition]
        return (held[0].offset, held[-1].offset + 1) if held else (0, 0)

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        later = (one.offset for one in self._held[partition] if one.timestamp_ms >= since_ms)
        return next(later, self.bounds(partition)[1])

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        waiting = {
            number: [one for one in self._held[number] if first <= one.offset < end]
            for number, (first, end) in ranges.items()
        }
        while waiting := {number: held for number, held in waiting.items() if held}:
            yield waiting[self._random.choice(sorted(waiting))].pop(0)


def chosen(source: MemorySource, ranges: Mapping[int, tuple[int, int]], choice: Choice) -> list[tuple[int, int]]:
    """(sequence, tile index) of what is replayed."""
    windows = in_time_order(source, ranges, take=choice.take)
    return [(one.header.sequence, one.header.index) for window in windows for one in window.records]


def whole(sequences: range) -> list[tuple[int, int]]:
    """The tiles of whole frames."""
    return [(sequence, index) for sequence in sequences for index in range(4)]
