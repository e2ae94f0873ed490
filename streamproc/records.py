"""Where records are read from, whoever keeps them: the log of a broker or an archive of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Final, Protocol, TypeAlias

from streamproc.reader import Record

__all__ = ["NEAR", "Record", "RecordSource", "Spans", "rounds"]

NEAR: Final = 200  # records between two ranges that are read through rather than passed over
Spans: TypeAlias = Mapping[int, tuple[int, int]]
"""Offset ranges (first, one after the last) by partition."""


class RecordSource(Protocol):
    """One topic that can be read from one place to another; `TopicReader` and `ArchiveReader` are such sources."""

    @property
    def topic(self) -> str:
        """Name of the topic, as Kafka has it."""

    def partitions(self) -> list[int]:
        """The topic's partitions, ascending."""

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset kept and the one after the last."""

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        """The first offset whose record timestamp is not before `since_ms`; the end if there is none."""

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """Read offset ranges (first, one after the last) by partition.

        Each partition comes in order, partitions interleaved. Offsets that are no longer kept are passed over.
        """


def rounds(spans: Iterable[Spans], source: RecordSource) -> Iterator[Spans]:
    """Ranges that together hold all that is asked for and still kept, one range of each partition at a time."""
    asked: dict[int, list[tuple[int, int]]] = {}
    for one in spans:
        for partition, span in one.items():
            asked.setdefault(partition, []).append(span)
    merged = {partition: _within(_merged(found), source.bounds(partition)) for partition, found in asked.items()}
    for column in zip_longest(*merged.values()):
        yield {partition: span for partition, span in zip(merged, column, strict=True) if span is not None}


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order; those that overlap or lie near each other are one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + NEAR:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _within(spans: list[tuple[int, int]], bounds: tuple[int, int]) -> list[tuple[int, int]]:
    low, high = bounds
    clipped = ((max(low, start), min(high, end)) for start, end in spans)
    return [(start, end) for start, end in clipped if start < end]
