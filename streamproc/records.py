"""Where records are read from, whoever keeps them: the log of a broker or an archive of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from streamproc.reader import Record

__all__ = ["Record", "RecordSource"]


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
