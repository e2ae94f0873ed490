"""From the log into an archive: a thread for each topic, its own reader, its own files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.archive.index import Gap
from streamproc.archive.storage import Storage, masked
from streamproc.archive.writer import Rules, Start, TopicWriter, Written
from streamproc.errors import ArchiveError
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings

log = logging.getLogger(__name__)

_QUEUE_BYTES = 64 * 2**20  # of all topics together
_LEAST_QUEUE_BYTES = 4 * 2**20
_LOOK_S = 30.0  # between looks for new partitions
_WAIT_S = 0.2


@dataclass(slots=True, eq=False)
class TopicRun:
    """What becomes of one topic; read while it runs, by other threads too.

    Attributes:
        written: What was done so far.
        positions: The next offset of each partition.
        target: Records that stood in the log at the beginning and were not archived.
        error: What ended it early.
    """

    topic: str
    written: Written
    positions: dict[int, int]
    target: int = 0
    error: Exception | None = None


class ArchiveRun:
    """Archives topics until told to stop, or until the end of the log as it was at the beginning.

    Args:
        settings: Where the broker is.
        url: Where the archive is.
        topics: Names in Kafka.
        rules: When files end and go.
        start: For topics of which nothing is archived yet.
        until_end: Stop at the end of the log as it is when reading begins.
        stop: Set it to end the run: open files are completed.
        told: Told in one line what a person should know; from several threads.
        options: Of fsspec's file system.
    """

    def __init__(
        self,
        settings: Settings,
        url: str,
        topics: Sequence[str],
        *,
        rules: Rules,
        start: Start = "beginning",
        until_end: bool = False,
        stop: threading.Event | None = None,
        told: Callable[[str], None] = log.info,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._settings = settings
        self._url = url
        self._rules = rules
        self._start: Start = start
        self._until_end = until_end
        self._stop = stop or threading.Event()
        self._told = told
        self._options = options or {}
        self._queue_bytes = max(_LEAST_QUEUE_BYTES, _QUEUE_BYTES // len(topics))
        self.topics = [TopicRun(topic, Written(), {}) for topic in topics]

    def run(self, *, every: Callable[[], None] = lambda: None) -> None:
        """Archive; returns when all is done.

        Args:
            every: Called a few times a second, on this thread.

        Raises:
            StreamprocError: A topic could not be read or a file not written; what was complete by then stays, and
                the other topics' files were completed.
        """
        Storage(self._url, **self._options)  # so that a wrong URL is refused before anything begins
        threads = [
            threading.Thread(target=self._guarded, args=(one,), name=f"archive-{one.topic}", daemon=True)
            for one in self.topics
        ]
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(_WAIT_S)
            every()
        for one in self.topics:
            if one.error is not None:
                raise one.error

    def _guarded(self, one: TopicRun) -> None:
        try:
            self._archive(one)
        except Exception as error:  # noqa: BLE001 - told and raised by `run`
            one.error = error
            self._stop.set()

    def _archive(self, one: TopicRun) -> None:
        storage = Storage(self._url, **self._options)
        with (
            storage.lock(one.topic),
            TopicReader(self._settings, one.topic, max_queue_bytes=self._queue_bytes) as reader,
        ):
            writer = TopicWriter(storage, one.topic, self._rules, low=lambda partition: reader.bounds(partition)[0])
            bounds = {partition: reader.bounds(partition) for partition in reader.partitions()}
            one.written, one.positions = writer.written, writer.positions
            writer.begin(bounds, start=self._start)
            one.positions = writer.positions
            ends = {partition: high for partition, (_, high) in bounds.items()}
            one.target = sum(high - writer.positions[partition] for partition, high in ends.items())
            try:
                self._tell_gaps(one, 0)
                self._expire(one, writer)
                self._take(one, writer, reader, ends)
            except ArchiveError:
                writer.abandon()
                raise
            except BaseException:
                writer.publish()  # what was read is good
                raise
            self._publish(one, writer)

    def _take(self, one: TopicRun, writer: TopicWriter, reader: TopicReader, ends: dict[int, int]) -> None:
        if self._until_end:
            records: Iterator[Record | None] = reader.read(
                {partition: (writer.positions[partition], end) for partition, end in ends.items()}
            )
            self._feed(one, writer, records)
            return
        while not self._stop.is_set():
            look_s = time.monotonic() + _LOOK_S
            due = lambda: self._stop.is_set() or time.monotonic() > look_s  # noqa: E731, B023 - asked within this turn
            self._feed(one, writer, reader.follow(dict(writer.positions), stop=due))
            self._expire(one, writer)
            partitions = reader.partitions()
            if set(partitions) != set(writer.positions):
                self._told(f"topic {one.topic} has {len(partitions)} partitions now")
                writer.widen({partition: reader.bounds(partition) for partition in partitions})

    def _feed(self, one: TopicRun, writer: TopicWriter, records: Iterator[Record | None]) -> None:
        for record in records:
            now_s = time.monotonic()
            files, gaps = writer.written.files, len(writer.written.gaps)
            if record is not None:
                writer.add(record, now_s)
            if writer.is_due(now_s):
                writer.publish()
            if len(writer.written.gaps) > gaps:
                self._tell_gaps(one, gaps)
            if writer.written.files > files:
                self._expire(one, writer)
            if self._stop.is_set():
                return

    def _publish(self, one: TopicRun, writer: TopicWriter) -> None:
        writer.publish()
        self._expire(one, writer)

    def _expire(self, one: TopicRun, writer: TopicWriter) -> None:
        for file in writer.expire(int(time.time() * 1000)):
            log.info("%s: deleted %s/%s, too old or too much", masked(self._url), one.topic, file.name)

    def _tell_gaps(self, one: TopicRun, seen: int) -> None:
        for gap in one.written.gaps[seen:]:
            self._told(gap_text(one.topic, gap))


def gap_text(topic: str, gap: Gap) -> str:
    """A gap in one line."""
    why = (
        "retention removed them before they were archived"
        if gap.why == "retention"
        else "the log has no records there (compacted, or marks of transactions)"
    )
    return f"gap: {topic}[{gap.partition}] offsets {gap.first} to {gap.last}: {why}"
