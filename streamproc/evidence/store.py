"""Events on disk, found by frame: in memory is an index of about half a kilobyte for each frame."""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

import msgspec

from streamproc.cloudevents import FRAME_EVENT_TYPE
from streamproc.errors import StreamprocError
from streamproc.model import FrameKey

MAX_LINE_BYTES: Final = 32 * 2**20  # an event record takes at most 2 MiB, and each byte of it six as escaped JSON
MAX_DIGESTS: Final = 100
CAMERA_EVENT_TYPE: Final = "io.streamproc.camera.v1"  # of the time between frames, though it names the next one


class Frame(NamedTuple):
    """Which frame, and when it was captured."""

    key: FrameKey
    captured_ns: int


class Told(NamedTuple):
    """What is told of one frame: its own event and those of what happened on it, as structured CloudEvents."""

    event: dict[str, Any]
    happened: list[dict[str, Any]]

    @property
    def data(self) -> dict[str, Any]:
        """The data of the frame's event."""
        found: dict[str, Any] = self.event["data"]
        return found


class _Evidence(msgspec.Struct):
    pipeline: str = ""


class _Data(msgspec.Struct):
    camera: str = ""
    run: str = ""
    sequence: int = -1
    captured_ns: int = 0
    evidence: _Evidence = msgspec.field(default_factory=_Evidence)


class _Head(msgspec.Struct):
    type: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


class _Places:
    """Where a frame's event stands, and those of what happened on it."""

    __slots__ = ("captured_ns", "event", "happened")

    def __init__(self) -> None:
        self.event = -1
        self.captured_ns = 0
        self.happened = array("q")


_json = msgspec.json.Encoder()
_head = msgspec.json.Decoder(_Head)


class EventStore:
    """Events of JSON lines, found by frame. Use as a context manager.

    Attributes:
        name: What it was read from, for messages.
        pipelines: Digests of the pipelines that gave the frames' events, and how many frames.
        repeated: Events beyond the first of their frame; the first counts.
        other: Events that are not of a frame (of a camera, or foreign).
        orphans: Events of what happened on a frame that has no event of its own here.
    """

    def __init__(self, name: str, stream: IO[bytes], *, seen: Callable[[int], None] = lambda _size: None) -> None:
        self.name = name
        self.pipelines: Counter[str] = Counter()
        self.repeated = self.other = 0
        self._stream = stream
        self._places: dict[FrameKey, _Places] = {}
        self._index(seen)
        gone = [key for key, places in self._places.items() if places.event < 0]
        self.orphans = sum(len(self._places.pop(key).happened) for key in gone)

    @classmethod
    def of_file(cls, path: Path, *, seen: Callable[[int], None] = lambda _size: None) -> Self:
        """The events of an `events.jsonl`.

        Args:
            path: The file.
            seen: Told the bytes of each line that is read.

        Raises:
            StreamprocError: It cannot be read, or a line is no event; the message names it.
        """
        try:
            stream = path.open("rb")
        except OSError as error:
            raise StreamprocError(f"{path} cannot be read: {error.strerror}") from None
        try:
            return cls(str(path), stream, seen=seen)
        except BaseException:
            stream.close()
            raise

    @classmethod
    def of_events(cls, name: str, events: Iterable[dict[str, Any]]) -> Self:
        """Events from elsewhere, kept in a temporary file."""
        stream = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the store
        try:
            for event in events:
                stream.write(_json.encode(event) + b"\n")
            stream.seek(0)
            return cls(name, stream)
        except BaseException:
            stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go; a temporary one is deleted."""
        self._stream.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: FrameKey) -> bool:
        return key in self._places

    def frames(self) -> Iterator[Frame]:
        """All frames, in the order in which they were first told of."""
        return (Frame(key, places.captured_ns) for key, places in self._places.items())

    def read(self, key: FrameKey) -> Told:
        """What is told of a frame.

        Raises:
            KeyError: There is no such frame.
        """
        places = self._places[key]
        return Told(self._line(places.event), [self._line(place) for place in places.happened])

    def find(self, event_id: str) -> tuple[dict[str, Any], Told]:
        """An event by its id, and what is told of its frame; reads on until it is found.

        Raises:
            StreamprocError: It is not here.
        """
        quoted = event_id.encode()
        for key, places in self._places.items():
            for place in (places.event, *places.happened):
                self._stream.seek(place)
                line = self._stream.readline()
                if quoted in line and (event := msgspec.json.decode(line)).get("id") == event_id:
                    return event, self.read(key)
        raise StreamprocError(f"event {event_id} is not in {self.name}")

    def _index(self, seen: Callable[[int], None]) -> None:
        place = 0
        for number, line in enumerate(iter(lambda: self._stream.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if len(line) > MAX_LINE_BYTES:
                raise StreamprocError(f"{self.name} line {number}: longer than {MAX_LINE_BYTES} bytes, no event is")
            if line.strip():
                try:
                    self._note(_head.decode(line), place)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise StreamprocError(f"{self.name} line {number} is no event: {error}") from None
            place += len(line)
            seen(len(line))

    def _note(self, head: _Head, place: int) -> None:
        data = head.data
        ours = head.type.startswith("io.streamproc.") and head.type != CAMERA_EVENT_TYPE
        if not (ours and data.camera and data.run and data.sequence >= 0):
            self.other += 1
            return
        places = self._places.setdefault(FrameKey(data.camera, data.run, data.sequence), _Places())
        if head.type != FRAME_EVENT_TYPE:
            places.happened.append(place)
        elif places.event >= 0:
            self.repeated += 1
        else:
            places.event, places.captured_ns = place, data.captured_ns
            if data.evidence.pipeline in self.pipelines or len(self.pipelines) < MAX_DIGESTS:
                self.pipelines[data.evidence.pipeline] += 1

    def _line(self, place: int) -> dict[str, Any]:
        self._stream.seek(place)
        event: dict[str, Any] = msgspec.json.decode(self._stream.readline())
        return event
