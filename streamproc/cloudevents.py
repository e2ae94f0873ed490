"""Events to records and back: CloudEvents 1.0 in Kafka's binary mode.

A frame has one event of type FRAME_EVENT_TYPE; what happens on it (`Occurrence`) has events of types of their own,
which stand before it in the log. What happens to a camera (`CameraEvent`) is told by who reads it, between frames. Ids
are deterministic: what is computed again is the same event.

References:
    CloudEvents 1.0 and its Kafka protocol binding, https://github.com/cloudevents/spec
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import msgspec

from streamproc.errors import BadMessage
from streamproc.model import FrameEvent, FrameKey, Occurrence
from streamproc.wire import Headers

FRAME_EVENT_TYPE = "io.streamproc.frame.v1"
CAMERA_EVENT_TYPE = "io.streamproc.camera.v1"
MEMORY_HEADER = "memory"

CameraEventKind: TypeAlias = Literal["online", "offline", "gap", "clock-step", "fps-sag", "fps-restored"]

_json = msgspec.json.Encoder()
_frame_event = msgspec.json.Decoder(FrameEvent)


def event_id(key: FrameKey, *, pipeline: str, kind: str = "frame") -> str:
    """Deterministic id: the same frame through the same pipeline is the same event, however often it is computed."""
    text = "\0".join((key.camera, key.run, str(key.sequence), pipeline, kind))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def event_time(captured_ns: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    moment = datetime.fromtimestamp(captured_ns // 10**9, tz=UTC) + timedelta(microseconds=captured_ns % 10**9 // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode_frame_event(event: FrameEvent, *, memory: bytes = b"") -> tuple[Headers, bytes]:
    """Headers and value of an event record, CloudEvents binary mode.

    Args:
        event: Its data.
        memory: What followers know after this frame; travels in a header of its own.
    """
    key = event.key
    about = {
        "ce_specversion": "1.0",
        "ce_id": event_id(key, pipeline=event.evidence.pipeline),
        "ce_source": f"/cameras/{event.camera}",
        "ce_type": FRAME_EVENT_TYPE,
        "ce_subject": f"{event.run}/{event.sequence}",
        "ce_time": event_time(event.captured_ns),
        "content-type": "application/json",
    }
    headers = [(name, value.encode()) for name, value in about.items()]
    return headers + ([(MEMORY_HEADER, memory)] if memory else []), _json.encode(event)


def encode_occurrence(event: FrameEvent, step: str, occurrence: Occurrence) -> tuple[Headers, bytes]:
    """Headers and value of the event of its own that something on a frame gets, CloudEvents binary mode."""
    kind = "\0".join((occurrence.kind, step, occurrence.what, occurrence.subject))
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id(event.key, pipeline=event.evidence.pipeline, kind=kind),
        "ce_source": f"/cameras/{event.camera}",
        "ce_type": f"io.streamproc.{occurrence.kind}.v1",
        "ce_subject": f"{event.run}/{event.sequence}",
        "ce_time": event_time(event.captured_ns),
        "content-type": "application/json",
    }
    data = {
        "camera": event.camera,
        "run": event.run,
        "sequence": event.sequence,
        "captured_ns": event.captured_ns,
        "step": step,
        "what": occurrence.what,
        "subject": occurrence.subject,
        "pipeline": event.evidence.pipeline,
        "data": occurrence.data,
    }
    return [(name, value.encode()) for name, value in headers.items()], _json.encode(data)


class CameraEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `io.streamproc.camera.v1`: what happened to a camera, as the process that reads it noticed.

    Attributes:
        run: The camera's run at that time; before its first frame the run that this frame will begin.
        sequence: The number that the run's next frame was to get.
        at_ns: When it was noticed, wall clock of the reading process, nanoseconds since 1970.
        what: `online`, `offline`, `gap`, `clock-step`, `fps-sag` or `fps-restored`.
        data: JSON-able values of its own; `docs/schemas/camera.v1.json` lists them.
    """

    camera: str
    run: str
    sequence: int
    at_ns: int
    what: CameraEventKind
    data: dict[str, Any] = {}


def encode_camera_event(event: CameraEvent) -> tuple[Headers, bytes]:
    """Headers and value of a camera event, CloudEvents binary mode; the same event has the same id."""
    key = FrameKey(event.camera, event.run, event.sequence)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id(key, pipeline="", kind="\0".join(("camera", event.what, str(event.at_ns)))),
        "ce_source": f"/cameras/{event.camera}",
        "ce_type": CAMERA_EVENT_TYPE,
        "ce_subject": f"{event.run}/{event.sequence}",
        "ce_time": event_time(event.at_ns),
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in headers.items()], _json.encode(event)


def decode_frame_event(value: bytes | None) -> FrameEvent:
    """Read the data of a frame event.

    Raises:
        BadMessage: `envelope`.
    """
    try:
        return _frame_event.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage("envelope", f"event: {error}") from None


def event_key(headers: Iterable[tuple[str, bytes]] | None) -> FrameKey | None:
    """Which frame a frame event tells of, from its headers alone; None if it is not a frame event."""
    found = emitted(headers)
    return found.key if found is not None and found.is_frame else None


class Emitted(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of an event record say.

    Attributes:
        is_frame: It is the frame's one event, and not of something that happened on it.
        memory: What followers knew after the frame; empty if nothing.
    """

    key: FrameKey
    id: str
    is_frame: bool
    memory: bytes = b""


def emitted(headers: Iterable[tuple[str, bytes]] | None) -> Emitted | None:
    """Which frame an event record tells of, and how, from its headers alone; None if it tells of none of ours."""
    found = dict(headers or ())
    kind = found.get("ce_type", b"").decode(errors="replace")
    if not kind.startswith("io.streamproc.") or kind == CAMERA_EVENT_TYPE:
        return None
    camera = found.get("ce_source", b"").decode(errors="replace").removeprefix("/cameras/")
    run, slash, sequence = found.get("ce_subject", b"").decode(errors="replace").rpartition("/")
    if not (camera and run and slash and sequence.isdecimal()):
        return None
    return Emitted(
        key=FrameKey(camera, run, int(sequence)),
        id=found.get("ce_id", b"").decode(errors="replace"),
        is_frame=kind == FRAME_EVENT_TYPE,
        memory=found.get(MEMORY_HEADER, b""),
    )


def structured_event(headers: Iterable[tuple[str, bytes]] | None, value: bytes | None) -> dict[str, Any]:
    """An event record as one CloudEvents structured-mode JSON object (a line of `events.jsonl`).

    Raises:
        BadMessage: `envelope`: the value is not JSON.
    """
    attributes: dict[str, Any] = {}
    for name, raw in headers or ():
        if name.startswith("ce_"):
            attributes[name.removeprefix("ce_")] = raw.decode(errors="replace")
        elif name == "content-type":
            attributes["datacontenttype"] = raw.decode(errors="replace")
    try:
        return {**attributes, "data": msgspec.json.decode(value or b"")}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage("envelope", f"event: {error}") from None
