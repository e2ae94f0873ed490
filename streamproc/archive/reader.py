"""Reading a topic from an archive, with the methods of `streamproc.reader.TopicReader`.

Only what is asked for is read: the ends of a few files to find the right ones (their positions grow from file to
file, so they are found by halving), then the chunks that hold the range.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from streamproc.archive import envelope
from streamproc.archive.index import FileIndex
from streamproc.archive.mcap_in import Opened, open_file, read_chunk
from streamproc.archive.storage import Storage
from streamproc.errors import ArchiveError
from streamproc.reader import Record

_KEPT = 64  # indexes of files


class ArchiveReader:
    """One topic of an archive; a `RecordSource`. The files are those that were complete when it was made.

    Use as a context manager or not. Not thread-safe.

    Args:
        url: Where the archive is.
        topic: Name of the topic in Kafka.
        **options: Of fsspec's file system; they override its configuration.

    Raises:
        ArchiveError: The archive cannot be read, or holds nothing of the topic.
    """

    def __init__(self, url: str, topic: str, **options: Any) -> None:
        self.topic = topic
        self._storage = Storage(url, **options)
        self._files = self._storage.files(topic)
        self._opened: OrderedDict[int, Opened] = OrderedDict()
        if not self._files:
            held = ", ".join(self._storage.topics()) or "nothing"
            raise ArchiveError(f"{self._storage.url} holds no files of topic {topic}; it holds {held}")

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
        first = next(number for number in range(len(self._files)) if partition in self._open(number).index.first)
        return self._open(first).index.first[partition], high

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        """The first offset whose record timestamp is not before `since_ms`; the end if there is none."""
        low, high = self.bounds(partition)
        start = self._search(lambda opened: opened.index.high_ms.get(partition, since_ms - 1) >= since_ms)
        for number in range(start, len(self._files)):
            opened = self._open(number)
            for chunk, spans in enumerate(opened.index.chunks):
                if not any(span.partition == partition and span.high_ms >= since_ms for span in spans):
                    continue
                for record in self._records(opened, chunk, {partition: (low, high)}):
                    if record.timestamp_ms >= since_ms:
                        return record.offset
        return high

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """Read offset ranges (first, one after the last) by partition; each in order, partitions interleaved.

        Raises:
            ArchiveError: A file is damaged or gone; the message names it.
        """
        left = {partition: (first, end) for partition, (first, end) in ranges.items() if first < end}
        if not left:
            return
        starts = [self._holding(partition, first) for partition, (first, _) in left.items()]
        for number in range(min(starts), len(self._files)):
            opened = self._open(number)
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
        for found in read_chunk(self._storage, opened, chunk):
            partition = opened.partitions.get(found.channel, -1)
            first, end = ranges.get(partition, (0, 0))
            if first < end and first <= envelope.offset_of(found.data) < end:
                yield envelope.decode(found.data, topic=self.topic, partition=partition)

    def _last(self) -> FileIndex:
        return self._open(len(self._files) - 1).index

    def _open(self, number: int) -> Opened:
        if number in self._opened:
            self._opened.move_to_end(number)
            return self._opened[number]
        opened = self._opened[number] = open_file(self._storage, self._files[number])
        if len(self._opened) > _KEPT:
            self._opened.popitem(last=False)
        return opened

    def _holding(self, partition: int, offset: int) -> int:
        """The first file that ends behind an offset."""
        return self._search(lambda opened: opened.index.next.get(partition, 0) > offset)

    def _search(self, true: Callable[[Opened], bool]) -> int:
        """The first file of which it is true; it stays so for all later ones."""
        low, high = 0, len(self._files)
        while low < high:
            middle = (low + high) // 2
            if true(self._open(middle)):
                high = middle
            else:
                low = middle + 1
        return low
