"""Writing one topic's archive: where it goes on, when a file ends, what is missing, what is too old. Time is given.

What is archived is known from complete files alone. A writer that is killed leaves at most a file that nobody sees;
the next one removes it and begins at the same positions, so under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamproc.archive import envelope
from streamproc.archive.index import MAX_CAMERAS, MAX_GAPS, FileIndex, Gap, encode_index, file_name
from streamproc.archive.mcap_in import open_file
from streamproc.archive.mcap_out import McapOut
from streamproc.archive.storage import NewFile, Storage, StoredFile
from streamproc.errors import ArchiveError, StoreError
from streamproc.reader import Record

Start = Literal["beginning", "now"]


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
    """What a writer has done: files and records that can be seen, gaps found, files deleted."""

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

    Attributes:
        positions: The next offset of each partition.
        written: What was done.
    """

    def __init__(self, storage: Storage, topic: str, rules: Rules, *, low: Callable[[int], int]) -> None:
        self._storage = storage
        self._topic = topic
        self._rules = rules
        self._low = low
        self._open: _Open | None = None
        self._files: list[StoredFile] = []
        self._first: dict[int, int] = {}
        self._high_ms: dict[int, int] = {}
        self._gaps: list[Gap] = []
        self.positions: dict[int, int] = {}
        self.written = Written()

    def begin(self, bounds: Mapping[int, tuple[int, int]], *, start: Start = "beginning") -> None:
        """Find where to go on: right behind what is archived, else at `start`. `positions` holds it then.

        Args:
            bounds: Of each partition of the log: first offset, one after the last.
            start: For a topic of which nothing is archived yet.

        Raises:
            ArchiveError: The last file is damaged, or the log ends before what is archived.
        """
        self._storage.tidy(self._topic)
        self._files = self._storage.files(self._topic)
        if self._files:
            last = self._last()
            self._first, self._high_ms = dict(last.next), dict(last.high_ms)
        else:
            self._first = {
                partition: low if start == "beginning" else high for partition, (low, high) in bounds.items()
            }
            self._mark_start()
        self.positions = dict(self._first)
        self.widen(bounds)

    def _last(self) -> FileIndex:
        try:
            return open_file(self._storage, self._files[-1]).index
        except StoreError:
            raise
        except ArchiveError as error:
            raise ArchiveError(
                f"{error}; it says where to go on: move it away, and its records are archived again as far as the log"
                " still has them"
            ) from None

    def widen(self, bounds: Mapping[int, tuple[int, int]]) -> None:
        """Take in partitions that are new, and tell what the log has lost of the others.

        Raises:
            ArchiveError: The log ends before what is archived.
        """
        if lost := set(self.positions) - set(bounds):
            raise ArchiveError(f"topic {self._topic} has no partition {min(lost)} any more: archive it elsewhere")
        if set(bounds) - set(self.positions):
            self.publish()  # a file has the channels it began with
        for partition, (low, high) in sorted(bounds.items()):
            position = self.positions.setdefault(partition, 0)
            self._first.setdefault(partition, 0)
            if position > high:
                raise ArchiveError(
                    f"{self._storage.url}: partition {partition} of topic {self._topic} is archived up to offset"
                    f" {position - 1}, but the log ends at {high}: the topic was made anew; archive it elsewhere"
                )
            if position < low:
                self._miss(partition, low)

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
            name = file_name(self._first)
            file = self._storage.create(self._topic, name)
            self._open = _Open(name, file, McapOut(file, self._topic, sorted(self._first)), now_s)
        captured_ns = envelope.capture_time_ns(record)
        self._open.out.add(record, captured_ns=captured_ns)
        self._open.note(record, captured_ns)
        self.positions[partition] = offset + 1
        self._high_ms[partition] = max(self._high_ms.get(partition, record.timestamp_ms), record.timestamp_ms)
        self.written.taken += 1
        self.written.taken_bytes += len(record.key) + len(record.value)
        if self._open.out.size >= self._rules.rotate_bytes or len(self._gaps) >= MAX_GAPS:
            self.publish()

    def is_due(self, now_s: float) -> bool:
        """Whether the open file is old enough to end."""
        return self._open is not None and now_s - self._open.opened_s >= self._rules.rotate_s

    def publish(self) -> None:
        """End the open file, if any: it can be seen from now on.

        Raises:
            ArchiveError: It cannot be written, or another writer is at work on this topic.
        """
        open_, self._open = self._open, None
        if open_ is None:
            return
        try:
            open_.out.flush()
            open_.out.finish(encode_index(self._index(open_)))
            self._refuse_others()
            open_.file.publish()
        except BaseException:
            open_.file.discard()
            raise
        self._seen(open_)

    def abandon(self) -> None:
        """Forget the open file, if any: its records are in no file."""
        if self._open is not None:
            self._open.file.discard()
            self._open = None

    def expire(self, now_ms: int) -> list[StoredFile]:
        """Delete the oldest whole files by age and bytes; never the last, which says where writing goes on.

        Args:
            now_ms: Wall clock.

        Returns:
            What was deleted.
        """
        deleted: list[StoredFile] = []
        while len(self._files) > 1 and self._expired(self._files[0], now_ms):
            self._storage.delete(self._files[0].path)
            deleted.append(self._files.pop(0))
        self.written.deleted += len(deleted)
        return deleted

    def _expired(self, file: StoredFile, now_ms: int) -> bool:
        keep_bytes, keep_s = self._rules.keep_bytes, self._rules.keep_s
        if keep_bytes is not None and sum(one.size for one in self._files) > keep_bytes:
            return True
        if keep_s is None:
            return False
        times = open_file(self._storage, file).index.times_ms()
        return times is None or times[1] < now_ms - keep_s * 1000

    def _miss(self, partition: int, until: int) -> None:
        """Note that offsets from the partition's position to `until` (exclusive) are not to be had."""
        at = self.positions[partition]
        taken = min(until, max(at, self._low(partition)))
        gaps = [Gap(partition, at, taken - 1, "retention")] if taken > at else []
        if until > taken:
            gaps.append(Gap(partition, taken, until - 1, "absent"))
        self._gaps += gaps
        self.written.gaps += gaps[: max(0, MAX_GAPS - len(self.written.gaps))]
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
        self._first, self._gaps = dict(self.positions), []
        file = open_.file
        self._files.append(StoredFile(topic=self._topic, name=open_.name, path=file.path, size=file.size))
        self.written.files += 1
        self.written.records += open_.records
        self.written.file_bytes += open_.file.size
        self.written.payload_bytes += open_.payload_bytes

    def _mark_start(self) -> None:
        """Write down where this archive begins, so that what retention takes before the first file is told."""
        file = self._storage.create(self._topic, file_name(self._first, start=True))
        try:
            out = McapOut(file, self._topic, sorted(self._first))
            mark = FileIndex(topic=self._topic, first=self._first, next=self._first, high_ms={}, chunks=[])
            out.finish(encode_index(mark))
            file.publish()
        except BaseException:
            file.discard()
            raise
        self._files = self._storage.files(self._topic)

    def _refuse_others(self) -> None:
        known = {file.name for file in self._files}
        strange = [file.name for file in self._storage.files(self._topic) if file.name not in known]
        if strange:
            raise ArchiveError(
                f"{self._storage.url}: {self._topic}/{strange[0]} was written by another process: one writer for a"
                " topic at a time"
            )
