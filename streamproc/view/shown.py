"""Records of `events` and `edges` to what pages get; what is no such record is refused. No clock, no I/O."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from streamproc import wire
from streamproc.errors import BadMessage
from streamproc.model import Outcome
from streamproc.reader import Record
from streamproc.settings import NAME_PATTERN
from streamproc.view.words import camera_words

MAX_OBJECTS: Final = 200
MAX_WORDS: Final = 200
PICTURE_KINDS: Final = ("preview", "edges")
PICTURE_TYPES: Final = ("image/jpeg", "image/png")
_NAME: Final = re.compile(NAME_PATTERN)
_TYPE: Final = re.compile(r"io\.streamproc\.([a-z][a-z-]{0,39})\.v1")
_ID: Final = re.compile(r"[0-9A-Za-z._:-]{1,100}")

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last: nested without end

_Ns = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=wire.MAX_SIDE_PX)]


class ShownObject(msgspec.Struct, frozen=True, kw_only=True):
    """One recognised thing; `box` is x1, y1, x2, y2 in pixels of the frame."""

    label: str
    score: float | None = None
    box: tuple[float, float, float, float]
    track: str | None = None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An event as pages get it.

    Attributes:
        type: frame, track, rule, anomaly, camera, or what another operator calls its own.
        captured_ns: As a decimal string: JavaScript's numbers lose digits.
        emitted_ms: When it was emitted, or else its record's time, milliseconds since 1970.
        at_ms: Its record's time: the order of the log, what time ranges are about.
        what: Of a frame its outcome.
        subject: What it is about: a track, a zone; may be empty.
        text: One line for people.
        until_ms: Of a gap of a camera: its end; `captured_ms` is its beginning, as it is of the outage that a camera
            that came online has behind it.
    """

    id: str
    type: str
    camera: str
    run: str
    sequence: int
    captured_ns: str
    captured_ms: float
    emitted_ms: float
    at_ms: int
    what: str
    subject: str = ""
    outcome: Outcome | None = None
    text: str
    objects: list[ShownObject] = []
    width: int | None = None
    height: int | None = None
    latency_ms: float | None = None
    edges_density: float | None = None
    until_ms: float | None = None

    @property
    def is_plain(self) -> bool:
        """A frame of which there is nothing to tell but that it came."""
        return self.type == "frame" and self.outcome == "complete" and not self.objects

    @property
    def is_notable(self) -> bool:
        """Neither a complete frame nor the update of a track, of which there is one a second."""
        if self.type == "frame":
            return self.outcome != "complete"
        return (self.type, self.what) != ("track", "update")


class _Object(msgspec.Struct):
    label: str
    box: tuple[float, float, float, float]
    score: float | None = None
    track: str | None = None


class _Edges(msgspec.Struct):
    density: float


class _Frame(msgspec.Struct):
    camera: str
    run: str
    sequence: _Ns
    captured_ns: _Ns
    emitted_ns: _Ns
    width: _Side
    height: _Side
    outcome: Outcome
    objects: list[_Object]
    latency_ms: dict[str, float]
    edges: _Edges | None = None
    reason: str | None = None


class _Happening(msgspec.Struct):
    camera: str
    run: str
    sequence: _Ns
    captured_ns: _Ns
    step: str
    what: str
    subject: str = ""
    data: dict[str, Any] = {}


class _CameraEvent(msgspec.Struct):
    camera: str
    run: str
    sequence: _Ns
    at_ns: _Ns
    what: Literal["online", "offline", "gap", "clock-step", "fps-sag", "fps-restored"]
    data: dict[str, Any] = {}


_frame = msgspec.json.Decoder(_Frame)
_happening = msgspec.json.Decoder(_Happening)
_camera = msgspec.json.Decoder(_CameraEvent)
_json = msgspec.json.Encoder()


def event_of(record: Record) -> Shown:
    """An event record as pages get it.

    Raises:
        BadMessage: `envelope`: it is none of ours.
    """
    about = {name: value for name, value in record.headers if name in ("ce_type", "ce_id")}
    kind = _TYPE.fullmatch(about.get("ce_type", b"").decode(errors="replace"))
    identity = about.get("ce_id", b"").decode(errors="replace")
    if kind is None or not _ID.fullmatch(identity):
        raise BadMessage("envelope", "no event of streamproc")
    try:
        if kind[1] == "frame":
            shown = _of_frame(identity, record, _frame.decode(record.value))
        elif kind[1] == "camera":
            shown = _of_camera(identity, record, _camera.decode(record.value))
        else:
            shown = _of_happening(identity, kind[1], record, _happening.decode(record.value))
    except UNREADABLE as error:
        raise BadMessage("envelope", f"event: {error}") from None
    if not (_NAME.fullmatch(shown.camera) and _NAME.fullmatch(shown.run)):
        raise BadMessage("envelope", f"event of camera {shown.camera[:120]!r}, run {shown.run[:120]!r}")
    return shown


def encoded(event: Shown) -> bytes:
    """JSON of an event."""
    return _json.encode(event)


def _of_frame(identity: str, record: Record, data: _Frame) -> Shown:
    objects = [
        ShownObject(label=_short(one.label), score=_number(one.score), box=one.box, track=_short(one.track))
        for one in data.objects[:MAX_OBJECTS]
        if all(map(math.isfinite, one.box))
    ]
    density = _number(data.edges.density) if data.edges else None
    seen = ", ".join(_named(one) for one in objects[:10]) + (" ..." if len(objects) > 10 else "")
    parts = [f"frame {data.sequence} {data.outcome}", seen, data.reason or ""]
    return Shown(
        id=identity,
        type="frame",
        camera=data.camera,
        run=data.run,
        sequence=data.sequence,
        captured_ns=str(data.captured_ns),
        captured_ms=data.captured_ns / 1e6,
        emitted_ms=data.emitted_ns / 1e6,
        at_ms=record.timestamp_ms,
        what=data.outcome,
        outcome=data.outcome,
        text=_short(": ".join(part for part in parts if part)),
        objects=objects,
        width=data.width,
        height=data.height,
        latency_ms=_number(data.latency_ms.get("total")),
        edges_density=density,
    )


def _of_happening(identity: str, kind: str, record: Record, data: _Happening) -> Shown:
    label = data.data.get("label")
    subject = _short(data.subject)
    box = _box(data.data.get("box"))
    objects = []
    if box is not None:
        track = subject if kind == "track" else _short(data.data["track"]) if "track" in data.data else None
        objects = [
            ShownObject(label=_short(label or subject), score=_number(data.data.get("score")), box=box, track=track)
        ]
    words = [kind, _short(data.what), "" if label is None else _short(label), subject, f"({_short(data.step)})"]
    return Shown(
        id=identity,
        type=kind,
        camera=data.camera,
        run=data.run,
        sequence=data.sequence,
        captured_ns=str(data.captured_ns),
        captured_ms=data.captured_ns / 1e6,
        emitted_ms=float(record.timestamp_ms),
        at_ms=record.timestamp_ms,
        what=_short(data.what),
        subject=subject,
        text=_short(" ".join(word for word in words if word)),
        objects=objects,
    )


def _of_camera(identity: str, record: Record, data: _CameraEvent) -> Shown:
    gap = data.what == "gap"
    from_ms = _number(data.data.get("from_ns")) if gap else None
    to_ms = _number(data.data.get("to_ns")) if gap else None
    down_s = _number(data.data.get("down_s"))
    if data.what == "online" and down_s and data.data.get("again") is not False:  # the first time it was not lost
        from_ms = data.at_ns - down_s * 1e9
    return Shown(
        id=identity,
        type="camera",
        camera=data.camera,
        run=data.run,
        sequence=data.sequence,
        captured_ns=str(data.at_ns),
        captured_ms=data.at_ns / 1e6 if from_ms is None else from_ms / 1e6,
        emitted_ms=data.at_ns / 1e6,
        at_ms=record.timestamp_ms,
        what=data.what,
        subject=_short(data.data.get("reason") or ""),
        text=_short(camera_words(data.what, data.data)),
        until_ms=None if to_ms is None else to_ms / 1e6,
    )


def _named(one: ShownObject) -> str:
    return one.label if one.score is None else f"{one.label} {one.score:.2f}"


def _short(value: Any) -> Any:
    """Words of a message, as much of them as a page has room for; None stays None."""
    return None if value is None else str(value)[:MAX_WORDS]


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else None


def _box(value: Any) -> tuple[float, float, float, float] | None:
    sides = [_number(side) for side in value] if isinstance(value, list) and len(value) == 4 else []
    x1, y1, x2, y2 = sides if len(sides) == 4 else (None,) * 4
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    return x1, y1, x2, y2


# --- pictures ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of a frame, as pages get it.

    Attributes:
        message: Four bytes big-endian length of a JSON text, the text (`about`), then the encoded picture.
    """

    camera: str
    kind: str
    published_ms: int
    about: bytes
    content_type: str
    message: bytes

    @property
    def pixels(self) -> bytes:
        """The encoded picture alone."""
        return self.message[4 + len(self.about) :]


class _About(msgspec.Struct):
    captured_ns: _Ns


_about = msgspec.msgpack.Decoder(_About)


def picture_of(record: Record) -> Picture:
    """A record of the `edges` topic as pages get it.

    Raises:
        BadMessage: `envelope`: it is none of ours.
    """
    headers = dict(record.headers)
    content_type = headers.get("content-type", b"").decode(errors="replace")
    try:
        found = wire.read_picture(record.headers)
        captured_ns = _about.decode(headers["picture"]).captured_ns if found else 0
    except UNREADABLE as error:
        raise BadMessage("envelope", f"picture: {error}") from None
    if found is None or found[1] not in PICTURE_KINDS or content_type not in PICTURE_TYPES or not record.value:
        raise BadMessage("envelope", "no picture of streamproc")
    key, kind = found
    if not (_NAME.fullmatch(key.camera) and _NAME.fullmatch(key.run)):
        raise BadMessage("envelope", f"picture of camera {key.camera[:120]!r}, run {key.run[:120]!r}")
    about = about_frame(
        camera=key.camera,
        run=key.run,
        sequence=key.sequence,
        kind=kind,
        captured_ns=captured_ns,
        published_ms=record.timestamp_ms,
        content_type=content_type,
    )
    return Picture(
        camera=key.camera,
        kind=kind,
        published_ms=record.timestamp_ms,
        about=about,
        content_type=content_type,
        message=len(about).to_bytes(4, "big") + about + record.value,
    )


def about_frame(*, captured_ns: int, **values: str | int) -> bytes:
    """What a page is told of a picture: JSON."""
    return _json.encode({**values, "captured_ns": str(captured_ns)})
