"""One topic from the log into its files, as long as broker and store do what they are asked.

A topic may be deleted and made anew at any moment, and the client goes on in the new one without a word if it has grown
long enough. So records are held until the broker has said once more that the topic's id is the same; if it is another
one, those that stand in the new log too are left to it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from streamproc.archive.patience import Patience, span_text
from streamproc.archive.same_log import differ
from streamproc.archive.topic_id import TopicIds
from streamproc.archive.writer import Start, TopicWriter, Written
from streamproc.errors import BrokerError
from streamproc.lag import Standing
from streamproc.reader import Record, TopicReader
from streamproc.words import Line

log = logging.getLogger(__name__)

LOOK_S = 30.0  # between looks at the topic: its id, new partitions, what retention took
HELD_S = 1.0  # between questions for the id while records come
HELD_BYTES = 8 * 2**20  # or so many bytes
_BREATH_S = 0.2
_SHOW_S = 0.5
_NAMED = 8  # partitions in a line


@dataclass(slots=True, eq=False)
class TopicRun:
    """What becomes of one topic; read while it runs, by other threads too.

    Attributes:
        written: What was done so far.
        positions: The next offset of each partition.
        ends: Where the log ended at the beginning.
        target: Records that stood in the log at the beginning and were not archived.
        reading: The log is being read: broker and store are there.
        standings: How far each partition is read, as far as known.
        read_s: Timestamp of the record read last of each, Unix time.
        held_bytes: Of records read and not yet written.
        error: What ended it early.
    """

    topic: str
    written: Written = field(default_factory=Written)
    positions: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] | None = None
    target: int = 0
    reading: bool = False
    standings: Mapping[int, Standing] = field(default_factory=dict)
    read_s: dict[int, float] = field(default_factory=dict)
    held_bytes: int = 0
    error: Exception | None = None

    @property
    def behind(self) -> int:
        """Records not yet read, as far as known."""
        return sum(standing.unread for standing in self.standings.values())


class Held:
    """Records of a topic of which it is not certain yet that it is the same as before."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.bytes = 0
        self._since_s = 0.0
        self._next: dict[int, int] = {}

    def add(self, record: Record, now_s: float) -> None:
        """Hold one more."""
        if not self.records:
            self._since_s = now_s
        self.records.append(record)
        self.bytes += len(record.value)
        self._next[record.partition] = record.offset + 1

    def next(self, partition: int) -> int:
        """The offset behind the last one held of a partition; 0 if there is none."""
        return self._next.get(partition, 0)

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to ask."""
        return bool(self.records) and (self.bytes >= HELD_BYTES or now_s - self._since_s >= HELD_S)

    def old(self, reader: TopicReader, bounds: Mapping[int, tuple[int, int]]) -> list[Record]:
        """Those that are not of the log as it is now: in each partition, all before the first that stands there too.

        Args:
            reader: Of the log as it is now.
            bounds: Its bounds by partition.
        """
        first: dict[int, int] = {}
        for one in self.records:
            first.setdefault(one.partition, one.offset)
        ranges = {
            partition: (max(low, first[partition]), min(end, self._next[partition]))
            for partition, (low, end) in bounds.items()
            if partition in first
        }
        there = {(one.partition, one.offset): one for one in reader.read(ranges)}
        begins: dict[int, int] = {}
        for one in self.records:
            if there.get((one.partition, one.offset)) == one:
                begins.setdefault(one.partition, one.offset)
        return [one for one in self.records if one.offset < begins.get(one.partition, one.offset + 1)]


class Session:
    """From here to the next failure.

    Args:
        one: The topic, and what became of it so far.
        writer: Has not begun.
        reader: Of the topic.
        ids: Says whether it is the same topic still.
        patience: Told that all goes well again.
        start: For a topic of which nothing is archived yet.
        until_end: Stop at the end of the log as it was at the beginning.
        stop: Set to end.
        told: Told in one line what a person should know.
    """

    def __init__(
        self,
        one: TopicRun,
        writer: TopicWriter,
        reader: TopicReader,
        ids: TopicIds,
        *,
        patience: Patience,
        start: Start,
        until_end: bool,
        stop: threading.Event,
        told: Callable[[str], None],
    ) -> None:
        self._one = one
        self._writer = writer
        self._reader = reader
        self._ids = ids
        self._patience = patience
        self._start: Start = start
        self._until_end = until_end
        self._stop = stop
        self._told = told
        self._files = self._complete_files = one.written.files
        self._topic_id = ""
        self._held = Held()
        self._firsts: dict[int, int] = {}  # of the oldest record kept, by partition, at the last look
        self._shown_s = 0.0

    def run(self) -> None:
        """Archive until told to stop, or until the end; files are complete then.

        Raises:
            BrokerError: The log could not be read; files are complete.
            ArchiveError: A file could not be written; what stood in it is to be read again.
        """
        self._begin()
        try:
            while self._feed(self._records()):
                self._stop.wait(_BREATH_S)
                self._look()
            if self._held.records:
                self._look()
        except BrokerError:
            self._keep_held()
            raise
        self._writer.publish()
        self._expire()
        self._tell_well(time.monotonic(), records=True, files=True)

    def _begin(self) -> None:
        one, writer = self._one, self._writer
        topic_id, bounds = self._log()
        self._topic_id = topic_id
        why = writer.begin(bounds, start=self._start, topic_id=topic_id)
        one.positions, one.read_s = writer.positions, {}
        self._tell_another_log(why)
        ends = {partition: high for partition, (_, high) in bounds.items()}
        if one.ends is None or why is not None:
            one.ends = ends
            one.target = one.written.taken + sum(ends[number] - at for number, at in writer.positions.items())
        self._patience.began(time.monotonic())
        self._expire()

    def _log(self) -> tuple[str, dict[int, tuple[int, int]]]:
        """Id and bounds of the topic as it is now."""
        topic_id = self._ids.of(self._one.topic)
        bounds = {partition: self._reader.bounds(partition) for partition in self._reader.partitions()}
        self._firsts = {partition: low for partition, (low, _) in bounds.items()}
        return topic_id, bounds

    def _look(self) -> None:
        """What has become of the topic since the last look."""
        topic_id, bounds = self._log()
        self._settle(self._held.old(self._reader, bounds) if differ(self._topic_id, topic_id) else self._held.records)
        self._topic_id = topic_id or self._topic_id
        before = set(self._writer.positions)
        why = self._writer.widen(bounds, topic_id=topic_id)
        self._tell_another_log(why)
        if why is not None:
            self._one.ends = {partition: high for partition, (_, high) in bounds.items()}
        elif set(bounds) != before:
            said = f"topic {self._one.topic} has {len(bounds)} partitions now"
            self._told(Line(said, topic=self._one.topic, partitions=len(bounds)))
        self._expire()

    def _settle(self, records: Sequence[Record]) -> None:
        """Write those of the records held that are the topic's; none is held then."""
        self._held = Held()
        now_s = time.monotonic()
        for record in records:
            self._writer.add(record, now_s)

    def _keep_held(self) -> None:
        """After an error: what is held is good if the topic is the same or gone; else it is read again."""
        with suppress(BrokerError):
            if not differ(self._topic_id, self._ids.of(self._one.topic)):
                self._settle(self._held.records)

    def _tell_another_log(self, why: str | None) -> None:
        if why is None:
            return
        up_to = ", ".join(f"{partition}:{at}" for partition, at in sorted(self._writer.ended.items())[:_NAMED])
        self._told(
            f"topic {self._one.topic}: {why}; it goes on in {self._writer.url}. Of the log before, nothing was archived"
            f" from these offsets on (partition:offset): {up_to}"
        )

    def _records(self) -> Iterator[Record | None]:
        """What comes until it is time for a look, or until the end."""
        if self._until_end:
            ends = self._one.ends or {}
            at = self._writer.positions
            return self._reader.read({number: (at[number], end) for number, end in ends.items() if number in at})
        look_s = time.monotonic() + LOOK_S
        return self._reader.follow(
            dict(self._writer.positions), stop=lambda: self._stop.is_set() or time.monotonic() > look_s
        )

    def _feed(self, records: Iterator[Record | None]) -> bool:
        """Take records; says whether there is more to take after a look."""
        for record in records:
            now_s = time.monotonic()
            if record is not None:
                if record.offset < max(self._held.next(record.partition), self._writer.positions[record.partition]):
                    return True  # nothing comes twice, so it is another log
                self._held.add(record, now_s)
                self._one.read_s[record.partition] = record.timestamp_ms / 1000
            if self._held.is_due(now_s) and not self._same():
                return True
            self._complete(now_s, records=record is not None)
            if now_s - self._shown_s >= _SHOW_S:
                self._shown_s = now_s
                self._show()
            if self._stop.is_set():
                return False
        return not (self._same() if self._until_end else self._stop.is_set())

    def _show(self) -> None:
        """Tell how much is left to read, and what is held."""
        one, heard_s = self._one, time.time()
        one.standings = {
            number: Standing(
                next=max(self._held.next(number), at),
                end=max(self._reader.known_end(number), (one.ends or {}).get(number, 0)),
                heard_s=heard_s,
                since_s=one.read_s.get(number),
                first=self._firsts.get(number),
            )
            for number, at in self._writer.positions.items()
        }
        one.held_bytes = self._held.bytes

    def _same(self) -> bool:
        """Whether the topic is the same still; what is held is written then."""
        same = not differ(self._topic_id, self._ids.of(self._one.topic))
        if same:
            self._settle(self._held.records)
        return same

    def _complete(self, now_s: float, *, records: bool) -> None:
        """Complete the open file if it is time, and what follows from a complete one."""
        files = self._complete_files
        if self._writer.is_due(now_s):
            self._writer.publish()
        self._complete_files = self._one.written.files
        if self._complete_files > files:
            self._expire()
        if self._patience.is_waiting:
            self._tell_well(now_s, records=records, files=self._complete_files > self._files)

    def _tell_well(self, now_s: float, *, records: bool, files: bool) -> None:
        lasted_s = self._patience.well(now_s, records=records, files=files)
        if lasted_s is not None:
            said = f"topic {self._one.topic}: it goes on after {span_text(lasted_s)}"
            self._told(Line(said, topic=self._one.topic, seconds=round(lasted_s, 3)))

    def _expire(self) -> None:
        for file in self._writer.expire(int(time.time() * 1000)):
            log.info(
                "%s: deleted %s/%s, too old or too much",
                *(self._writer.url, self._one.topic, file.name),
                extra={"url": self._writer.url, "topic": self._one.topic, "file": file.name},
            )
