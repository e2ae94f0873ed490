"""Reading a topic from an archive, with the methods of `streamproc.reader.TopicReader`.

Only what is asked for is read: the ends of a few files to find the right ones (their positions grow from file to
file, so they are found by halving), then the chunks that hold the range.

What is damaged is passed over and told: a file whose end cannot be read, a chunk whose checksum is wrong.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from streamproc.archive import envelope
from streamproc.archive.index import FileIndex
from streamproc.archive.mcap_in import Found, Opened, open_file, read_chunk
from streamproc.archive.storage import Storage
from streamproc.errors import ArchiveError, StoreError
from streamproc.reader import Record

log = logging.getLogger(__name__)

_KEPT = 64  # indexes of files
_TOLD = 1000  # lines of damage kept; all are told


class ArchiveReader:
    """One topic of an archive; a `RecordSource`. The files are those that were complete when it was made.

    Use as a context manager or not. Not thread-safe.

    Args:
        url: Where the archive is; or one part of it (`Storage.epochs`), which is read alone.
        topic: Name of the topic in Kafka.
        told: Told in one line of each damage that is passed over; by default it is logged.
        **options: Of fsspec's file system; they override its configuration.

    Attributes:
        damaged: Of each file or chunk that was passed over because it is damaged, a line that was told; at most 1000.

    Raises:
        ArchiveError: The archive cannot be read, or holds nothing of the topic.
    """

    def __init__(
        self, url: str | Storage, topic: str, *, told: Callable[[str], None] = log.warning, **options: Any
    ) -> None:
        self.topic = topic
        self.damaged: list[str] = []
        self._told = told
        self._storage = Storage(url, **options) if isinstance(url, str) else url
        self._files = self._storage.files(topic)
        self._opened: OrderedDict[int, Opened] = OrderedDict()
        self._bad: set[int] = set()
        if isinstance(url, str):
            self._tell_other_epochs()

    def _tell_other_epochs(self) -> None:
        later = [part.url for part in self._storage.epochs(self.topic) if part.epoch > 1]
        if not self._files and not later:
            held = ", ".join(self._storage.topics()) or "nothing"
            raise ArchiveError(f"{self._storage.url} holds no files of topic {self.topic}; it holds {held}")
        if not self._files:
            raise ArchiveError(
                f"{self._storage.url} holds no files of topic {self.topic} any more, which was made anew later: read"
                f" {' or '.join(later)}"
            )
        if later:
            log.warning(
                "%s: topic %s was made anew while it was archived: what came later is in %s",
                *(self._storage.url, self.topic, " and ".join(later)),
                extra={"topic": self.topic, "url": self._storage.url},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._opened.clear()

    def partitions(self) -> list[int]:
        """The topic's partitions."""
        return sorted(self._last().next)

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset archived and the one after the last; equal if nothing is."""
        high = self._last().next.get(partition)
        if high is None:
            raise ArchiveError(f"{self._storage.url}: topic {self.topic} has no partition {partition}")
        return next(opened.index.first[partition] for opened in self._from(0) if partition in opened.index.first), high

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        """The first offset whose record timestamp is not before `since_ms`; the end if there is none."""
        low, high = self.bounds(partition)
        start = self._search(lambda opened: opened.index.high_ms.get(partition, since_ms - 1) >= since_ms)
        for opened in self._from(start):
            for chunk, spans in enumerate(opened.index.chunks):
                if not any(span.partition == partition and span.high_ms >= since_ms for span in spans):
                    continue
                for record in self._records(opened, chunk, {partition: (low, high)}):
                    if record.timestamp_ms >= since_ms:
                        return record.offset
        return high

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """Read offset ranges (first, one after the last) by partition; each in order, partitions interleaved.

        Records of files and chunks that are damaged are left out; each is told in a line and stands in `damaged`.

        Raises:
            StoreError: A file is gone, or the store does not answer; the message names it.
            ArchiveError: A newer program wrote this.
        """
        left = {partition: (first, end) for partition, (first, end) in ranges.items() if first < end}
        if not left:
            return
        starts = [self._holding(partition, first) for partition, (first, _) in left.items()]
        for opened in self._from(min(starts)):
            begun = opened.index.first
            if all(begun.get(partition, 0) >= end for partition, (_, end) in left.items()):
                return
            for chunk, spans in enumerate(opened.index.chunks):
                wanted = [one for one in spans if one.partition in left]
                if any(one.last >= left[one.partition][0] and one.first < left[one.partition][1] for one in wanted):
                    for record in self._records(opened, chunk, left):
                        left[record.partition] = (record.offset + 1, left[record.partition][1])
                        yield record

    def _records(self, opened: Opened, chunk: int, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """Records of a chunk that lie in the ranges as they are when a record is due."""
        for found in self._found(opened, chunk):
            partition = opened.partitions.get(found.channel, -1)
            first, end = ranges.get(partition, (0, 0))
            if first < end and first <= envelope.offset_of(found.data) < end:
                yield envelope.decode(found.data, topic=self.topic, partition=partition)

    def _found(self, opened: Opened, chunk: int) -> Iterator[Found]:
        """The messages of a chunk; none if it is damaged, which is told."""
        try:
            yield from read_chunk(self._storage, opened, chunk)
        except StoreError:
            raise
        except ArchiveError as error:
            lost = ", ".join(f"{span.first} to {span.last} of {span.partition}" for span in opened.index.chunks[chunk])
            self._tell(f"{error}: offsets {lost} (partition) are left out")

    def _tell(self, damage: str) -> None:
        if damage in self.damaged:
            return
        if len(self.damaged) < _TOLD:
            self.damaged.append(damage)
        self._told(f"{damage}; the rest is read. streamproc archive verify tells all that is wrong")

    def _last(self) -> FileIndex:
        for number in range(len(self._files) - 1, -1, -1):
            if (opened := self._open(number)) is not None:
                return opened.index
        raise ArchiveError(
            f"{self._storage.url}: no file of topic {self.topic} can be read, the first: {self.damaged[-1]}"
        )

    def _from(self, number: int) -> Iterator[Opened]:
        """The files from one on that can be read."""
        for at in range(number, len(self._files)):
            if (opened := self._open(at)) is not None:
                yield opened

    def _open(self, number: int) -> Opened | None:
        """A file; None if it is damaged, which is told."""
        if number in self._bad:
            return None
        if number in self._opened:
            self._opened.move_to_end(number)
            return self._opened[number]
        try:
            opened = self._opened[number] = open_file(self._storage, self._files[number])
        except StoreError:
            raise
        except ArchiveError as error:
            self._bad.add(number)
            self._tell(f"{error}: all its records are left out")
            return None
        if len(self._opened) > _KEPT:
            self._opened.popitem(last=False)
        return opened

    def _holding(self, partition: int, offset: int) -> int:
        """The first file that ends behind an offset."""
        return self._search(lambda opened: opened.index.next.get(partition, 0) > offset)

    def _search(self, true: Callable[[Opened], bool]) -> int:
        """The first file of which it is true; it stays so for all later ones. Those that are damaged may be any."""
        low, high = 0, len(self._files)
        while low < high:
            middle = (low + high) // 2
            at = middle
            while at < high and (opened := self._open(at)) is None:
                at += 1
            if at == high or (opened is not None and true(opened)):
                high = middle
            else:
                low = at + 1
        return low
