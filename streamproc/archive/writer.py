"""Writing one topic's archive: where it goes on, when a file ends, what is missing, what is too old. Time is given.

What is archived is known from complete files alone. A writer that is killed leaves at most a file that nobody sees;
the next one removes it and begins at the same positions, so under the same name.

A topic that was deleted and made anew begins again at offset 0. Its records go into the archive's next part
(`epoch-2`, `epoch-3`, ...): offsets of one part belong to one topic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamproc.archive import envelope
from streamproc.archive.index import MAX_CAMERAS, MAX_GAPS, FileIndex, Gap, encode_index, file_name
from streamproc.archive.look import gap_text
from streamproc.archive.mcap_in import Opened, open_file
from streamproc.archive.mcap_out import McapOut
from streamproc.archive.retention import Retention
from streamproc.archive.same_log import another_log, differ
from streamproc.archive.storage import NewFile, Storage, StoredFile
from streamproc.errors import ArchiveError, StoreError
from streamproc.reader import Record

log = logging.getLogger(__name__)

Start = Literal["beginning", "now"]

_TOLD_GAPS = 100  # of one file


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When files end, and how long they stay.

    Attributes:
        rotate_bytes: A file ends when it has this size.
        rotate_s: And at this age, counted from its first record. What is in no complete file yet is read again after
            a kill, so this must be well below the time the log keeps records.
        keep_s: Files whose newest record is older are deleted; None keeps them.
        keep_bytes: The oldest files are deleted while a topic's take more; None keeps them.
    """

    rotate_bytes: int = 256 * 2**20
    rotate_s: float = 300
    keep_s: float | None = None
    keep_bytes: int | None = None


@dataclass(slots=True, kw_only=True)
class Written:
    """What was done: files that can be seen with their records and gaps, files deleted; records taken so far."""

    files: int = 0
    records: int = 0
    file_bytes: int = 0
    payload_bytes: int = 0
    gaps: list[Gap] = field(default_factory=list)
    deleted: int = 0
    taken: int = 0
    taken_bytes: int = 0


@dataclass(slots=True, eq=False)
class _Open:
    """The file being written."""

    name: str
    file: NewFile
    out: McapOut
    opened_s: float
    records: int = 0
    payload_bytes: int = 0
    captured_ns: tuple[int, int] | None = None
    cameras: set[str] = field(default_factory=set)
    more_cameras: bool = False

    def note(self, record: Record, captured_ns: int | None) -> None:
        self.records += 1
        self.payload_bytes += len(record.key) + len(record.value)
        if captured_ns is not None:
            low, high = self.captured_ns or (captured_ns, captured_ns)
            self.captured_ns = (min(low, captured_ns), max(high, captured_ns))
        camera = envelope.camera_of(record)
        if camera is not None and camera not in self.cameras:
            if len(self.cameras) < MAX_CAMERAS:
                self.cameras.add(camera)
            else:
                self.more_cameras = True


class TopicWriter:
    """Writes one topic's records, in offset order within a partition, into files.

    Not thread-safe. One writer for a topic at a time: hold `Storage.lock`.

    Args:
        storage: Where.
        topic: Which.
        rules: When files end and go.
        low: First offset the log still has, of a partition: says why offsets are missing.
        written: What writers before this one have done, to be counted on.
        told: Told in one line of offsets that are missing, once a file says so, and of files that cannot be read.

    Attributes:
        positions: The next offset of each partition.
        ended: Where the last log that is no more was archived up to, by partition.
        written: What was done.
    """

    def __init__(
        self,
        storage: Storage,
        topic: str,
        rules: Rules,
        *,
        low: Callable[[int], int],
        written: Written | None = None,
        told: Callable[[str], None] = log.warning,
    ) -> None:
        self._whole = storage
        self._storage = storage
        self._topic = topic
        self._rules = rules
        self._low = low
        self._retention = Retention(storage, keep_s=rules.keep_s, keep_bytes=rules.keep_bytes, told=told)
        self._told = told
        self._topic_id = ""
        self._open: _Open | None = None
        self._files: list[StoredFile] = []
        self._first: dict[int, int] = {}
        self._high_ms: dict[int, int] = {}
        self._gaps: list[Gap] = []
        self.positions: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        self.written = written or Written()

    @property
    def url(self) -> str:
        """Of the part of the archive that is written."""
        return self._storage.url

    def begin(
        self, bounds: Mapping[int, tuple[int, int]], *, start: Start = "beginning", topic_id: str = ""
    ) -> str | None:
        """Find where to go on: right behind what is archived, else at `start`. `positions` holds it then.

        Args:
            bounds: Of each partition of the log: first offset, one after the last.
            start: For a topic of which nothing is archived yet.
            topic_id: The broker's id of the topic; "" if it gives none.

        Returns:
            As `widen`.

        Raises:
            ArchiveError: The last file is damaged.
        """
        parts = self._whole.epochs(self._topic)
        self._files = [file for part in parts for file in part.files(self._topic)]
        self._storage = parts[-1] if parts else self._whole
        self._storage.tidy(self._topic)
        if parts:
            last = self._last()
            self._topic_id = last.topic_id
            self._first, self._high_ms = dict(last.index.next), dict(last.index.high_ms)
        else:
            self._topic_id = topic_id
            self._first = {
                partition: low if start == "beginning" else high for partition, (low, high) in bounds.items()
            }
            self._mark_start()
        self.positions = dict(self._first)
        return self.widen(bounds, topic_id=topic_id)

    def _last(self) -> Opened:
        try:
            return open_file(self._storage, self._files[-1])
        except StoreError:
            raise
        except ArchiveError as error:
            raise ArchiveError(
                f"{error}; it says where to go on: move it away, and its records are archived again as far as the log"
                " still has them"
            ) from None

    def widen(self, bounds: Mapping[int, tuple[int, int]], *, topic_id: str = "") -> str | None:
        """Take in partitions that are new, tell what the log has lost of the others, notice a topic made anew.

        Args:
            bounds: Of each partition of the log as it is now.
            topic_id: The broker's id of the topic; "" if it gives none.

        Returns:
            Why the log is another one than before, so that the archive's next part is begun; None if it is the same.

        Raises:
            ArchiveError: A file cannot be written.
        """
        why = another_log(self.positions, bounds, known_id=self._topic_id, topic_id=topic_id)
        if why is not None:
            self._next_epoch(bounds, anew=differ(self._topic_id, topic_id))
        self._topic_id = topic_id or self._topic_id
        if set(bounds) - set(self.positions):
            self.publish()  # a file has the channels it began with
        for partition, (low, _) in sorted(bounds.items()):
            position = self.positions.setdefault(partition, 0)
            self._first.setdefault(partition, 0)
            if position < low:
                self._miss(partition, low)
        return why

    def _next_epoch(self, bounds: Mapping[int, tuple[int, int]], *, anew: bool) -> None:
        """Begin the archive's next part: at 0 for a topic made anew, else with what its log has."""
        self.publish()
        self.ended = dict(self.positions)
        self._storage = self._whole.at_epoch(self._storage.epoch + 1)
        self._storage.tidy(self._topic)
        self._topic_id, self._high_ms = "", {}
        self._first = {partition: 0 if anew else low for partition, (low, _) in bounds.items()}
        self._mark_start()
        self.positions.clear()
        self.positions.update(self._first)

    @property
    def open_bytes(self) -> int:
        """Size of the file that is being written."""
        return self._open.out.size if self._open is not None else 0

    def add(self, record: Record, now_s: float) -> None:
        """Take a record. One that was taken already is passed over.

        Args:
            record: Of this topic.
            now_s: Monotonic clock.

        Raises:
            ArchiveError: It cannot be written.
        """
        partition, offset = record.partition, record.offset
        expected = self.positions[partition]
        if offset < expected:
            return
        if offset > expected:
            self._miss(partition, offset)
        if self._open is None:
            self._open = self._opened(now_s)
        captured_ns = envelope.capture_time_ns(record)
        self._open.out.add(record, captured_ns=captured_ns)
        self._open.note(record, captured_ns)
        self.positions[partition] = offset + 1
        self._high_ms[partition] = max(self._high_ms.get(partition, record.timestamp_ms), record.timestamp_ms)
        self.written.taken += 1
        self.written.taken_bytes += len(record.key) + len(record.value)
        if self._open.out.size >= self._rules.rotate_bytes or len(self._gaps) >= MAX_GAPS:
            self.publish()

    def _opened(self, now_s: float) -> _Open:
        name = file_name(self._first)
        file = self._storage.create(self._topic, name)
        return _Open(name, file, McapOut(file, self._topic, sorted(self._first), topic_id=self._topic_id), now_s)

    def is_due(self, now_s: float) -> bool:
        """Whether there is something to publish: an open file that is old enough, or gaps and no record behind."""
        if self._open is None:
            return bool(self._gaps)
        return now_s - self._open.opened_s >= self._rules.rotate_s

    def publish(self) -> None:
        """End the open file, if any: it can be seen from now on. Gaps stand in a file too if no record follows.

        Raises:
            ArchiveError: It cannot be written, or another writer is at work on this topic.
        """
        open_, self._open = self._open, None
        if open_ is None:
            if not self._gaps:
                return
            open_ = self._opened(0)
        try:
            open_.out.flush()
            open_.out.finish(encode_index(self._index(open_)))
            self._refuse_others()
            open_.file.publish()
        except BaseException:
            self._forget(open_)
            raise
        self._seen(open_)

    def abandon(self) -> None:
        """Forget the open file, if any: its records are in no file."""
        if self._open is not None:
            self._forget(self._open)
            self._open = None

    def _forget(self, open_: _Open) -> None:
        self.written.taken -= open_.records
        self.written.taken_bytes -= open_.payload_bytes
        open_.file.discard()

    def expire(self, now_ms: int) -> list[StoredFile]:
        """Delete the oldest whole files by age and bytes; never the last, which says where writing goes on.

        Args:
            now_ms: Wall clock.

        Returns:
            What was deleted.
        """
        due = list(self._retention.due(self._files, now_ms))
        for file in due:
            self._storage.delete(file.path)
            self._files.remove(file)
            self.written.deleted += 1
        return due

    def _miss(self, partition: int, until: int) -> None:
        """Note that offsets from the partition's position to `until` (exclusive) are not to be had."""
        at = self.positions[partition]
        taken = min(until, max(at, self._low(partition)))
        gaps = [Gap(partition, at, taken - 1, "retention")] if taken > at else []
        if until > taken:
            gaps.append(Gap(partition, taken, until - 1, "absent"))
        self._gaps += gaps
        self.positions[partition] = until

    def _index(self, open_: _Open) -> FileIndex:
        return FileIndex(
            topic=self._topic,
            first=self._first,
            next=dict(self.positions),
            high_ms=dict(self._high_ms),
            chunks=open_.out.spans,
            gaps=self._gaps,
            cameras=sorted(open_.cameras),
            more_cameras=open_.more_cameras,
            captured_ns=open_.captured_ns,
            records=open_.records,
            payload_bytes=open_.payload_bytes,
        )

    def _seen(self, open_: _Open) -> None:
        self._tell_gaps()
        self._first, self._gaps = dict(self.positions), []
        file = open_.file
        self._files.append(StoredFile(topic=self._topic, name=open_.name, path=file.path, size=file.size))
        self.written.files += 1
        self.written.records += open_.records
        self.written.file_bytes += open_.file.size
        self.written.payload_bytes += open_.payload_bytes

    def _tell_gaps(self) -> None:
        self.written.gaps += self._gaps[: max(0, MAX_GAPS - len(self.written.gaps))]
        for gap in self._gaps[:_TOLD_GAPS]:
            self._told(gap_text(self._topic, gap))
        if len(self._gaps) > _TOLD_GAPS:
            self._told(f"and {len(self._gaps) - _TOLD_GAPS} gaps more of topic {self._topic}: streamproc archive ls")

    def _mark_start(self) -> None:
        """Write down where this archive begins, so that what retention takes before the first file is told."""
        file = self._storage.create(self._topic, file_name(self._first, start=True))
        try:
            out = McapOut(file, self._topic, sorted(self._first), topic_id=self._topic_id)
            mark = FileIndex(topic=self._topic, first=self._first, next=self._first, high_ms={}, chunks=[])
            out.finish(encode_index(mark))
            file.publish()
        except BaseException:
            file.discard()
            raise
        self._files += self._storage.files(self._topic)

    def _refuse_others(self) -> None:
        known = {file.path for file in self._files}
        strange = [file.name for file in self._storage.files(self._topic) if file.path not in known]
        if strange:
            raise ArchiveError(
                f"{self._storage.url}: {self._topic}/{strange[0]} was written by another process: one writer for a"
                " topic at a time"
            )
