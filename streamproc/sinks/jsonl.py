"""Events as lines of JSON at the end of a file, each once.

Beside `events.jsonl` stands `events.jsonl.position`: how far the sink has come, and how long the file was then. A batch
is appended and synced, then that file is replaced. So after a kill the file holds at most one batch more than noted,
which is cut off and read from the log again. If retention has removed parts of it meanwhile, its whole lines stay, and
those of its events that are still read are passed over by their ids.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamproc.errors import SinkError, SinkUnavailable
from streamproc.sinks.event import SinkEvent
from streamproc.sinks.files import Position, disk_error, lock, read_position, sync_folder, write_position
from streamproc.sinks.sink import Batch, Limits, Written

_LINE_BEGINS = b'{"'  # of a half line, as far as it goes
_MAX_TAIL_BYTES = 64 * 2**20  # a batch has 4 MiB and one event


class _Id(msgspec.Struct):
    id: str


@dataclass(frozen=True, slots=True)
class _Tail:
    """What stands behind the noted length of a file: bytes of whole lines, and the ids in them."""

    whole: int = 0
    ids: frozenset[str] = frozenset()


class JsonlSink:
    """Appends to a file. When it was moved away, as `logrotate` does it, a new one is begun.

    Args:
        path: Of the file; made if missing, its folder too.
        name: Of the sink.
        topic: Of the events.
    """

    limits = Limits(events=2000, bytes=4 * 2**20, wait_s=0.5)
    keeps_positions = True
    can_rewind = False

    def __init__(self, path: Path, *, name: str, topic: str) -> None:
        self._path, self._name, self._topic = path, name, topic
        self._beside = path.with_name(f"{path.name}.position")
        self._file: int | None = None
        self._bytes = 0
        self._positions: dict[int, int] = {}
        self._tail = _Tail()
        self._known: frozenset[str] = frozenset()

    def positions(self) -> dict[int, int]:
        """Open the file, and see what the last batch left."""
        with self._disk():
            self._open()
            found = read_position(self._beside, name=self._name, topic=self._topic)
            size = os.fstat(self._descriptor).st_size
            if found is None:
                if size:
                    raise SinkError(
                        f"{self._path} has {size} bytes, but no {self._beside.name} that says where they end:"
                        " name another file, or move this one away"
                    )
                return {}
            self._positions = dict(found.positions)
            if size < found.bytes and size:
                raise SinkError(
                    f"{self._path} has {size} bytes, {found.bytes} were written: something has cut it;"
                    f" move it away and a new one is begun"
                )
            self._bytes = found.bytes if size else 0
            self._tail = self._check_tail(size)
            return dict(self._positions)

    def begin(self, positions: Mapping[int, int]) -> None:
        """Cut off what a killed batch has left, if all of it is read again, and note where the first batch begins."""
        with self._disk():
            if all(positions.get(partition) == offset for partition, offset in self._positions.items()):
                os.ftruncate(self._descriptor, self._bytes)
            else:
                self._bytes += self._tail.whole
                self._known = self._tail.ids
            self._tail = _Tail()
            self._note(dict(positions))

    def write(self, batch: Batch) -> Written:
        """Append the events whose lines are not there yet, and note how far that is."""
        new = [event for event in batch.events if event.id not in self._known]
        with self._disk():
            self._follow()
            os.ftruncate(self._descriptor, self._bytes)  # what a try that failed has left
            data = _lines(new)
            if data:
                _append(self._descriptor, data, at=self._bytes)
                os.fsync(self._descriptor)
            self._note({**self._positions, **batch.ends}, added=len(data))
        return Written(new=len(new), known=len(batch.events) - len(new))

    def close(self) -> None:
        """Close the file, and with it its lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise SinkError(f"{self._path} is not open")
        return self._file

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        lock(self._file, str(self._path))
        sync_folder(self._path.parent)

    def _follow(self) -> None:
        """Begin a new file when ours was moved away; refuse one that others have changed."""
        try:
            ours = os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            ours = False
        if not ours:
            self._open()
            if os.fstat(self._descriptor).st_size:
                raise SinkError(f"{self._path} was replaced by a file that is not empty: move it away")
            self._bytes = 0
            self._note(self._positions)  # before a byte is written: after a kill these lengths must belong together
        elif os.fstat(self._descriptor).st_size < self._bytes:
            raise SinkError(f"{self._path} has become shorter: something has cut it; move it away, a new one is begun")

    def _check_tail(self, size: int) -> _Tail:
        """What stands behind the noted length; refused if it is not of this sink."""
        noted = self._bytes
        if size - noted > _MAX_TAIL_BYTES:
            raise SinkError(f"{self._path} has {size - noted} bytes that this sink did not write: move it away")
        if noted and os.pread(self._descriptor, 1, noted - 1) != b"\n":
            raise SinkError(f"{self._path} is not the file that this sink wrote: move it away")
        tail = os.pread(self._descriptor, size - noted, noted)
        end = tail.rfind(b"\n") + 1
        whole, half = tail[:end], tail[end:]
        try:
            ids = frozenset(msgspec.json.decode(line, type=_Id).id for line in whole.splitlines())
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise SinkError(f"{self._path} has lines that this sink did not write: move it away") from None
        if not _LINE_BEGINS.startswith(half[: len(_LINE_BEGINS)]):
            raise SinkError(f"{self._path} ends in something that this sink did not write: move it away")
        return _Tail(whole=end, ids=ids)

    def _note(self, positions: dict[int, int], *, added: int = 0) -> None:
        noted = Position(name=self._name, topic=self._topic, positions=positions, bytes=self._bytes + added)
        write_position(self._beside, noted)
        self._positions, self._bytes = positions, noted.bytes

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (SinkError, OSError) as error:
            told = disk_error(str(self._path), error) if isinstance(error, OSError) else error
            if not isinstance(told, SinkUnavailable):
                self.close()  # it will not be used again
            raise told from None


def _lines(events: list[SinkEvent]) -> bytes:
    return b"".join(event.line + b"\n" for event in events)


def _append(descriptor: int, data: bytes, *, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
