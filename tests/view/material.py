"""Records as workers and ingest write them, for tests of the viewer."""

from __future__ import annotations

from typing import Any

from streamproc import wire
from streamproc.cloudevents import (
    CameraEvent,
    CameraEventKind,
    encode_camera_event,
    encode_frame_event,
    encode_occurrence,
)
from streamproc.model import DetectedObject, EdgeSummary, Evidence, FrameEvent, FrameKey, Occurrence, Outcome
from streamproc.reader import Record
from streamproc.view.shown import Picture, Shown, event_of, picture_of
from streamproc.wire import Headers

NOW_MS = 1_800_000_000_000


def record(headers: Headers, value: bytes, *, at_ms: int = NOW_MS, offset: int = 0, topic: str = "events") -> Record:
    """As it stands in the log."""
    return Record(topic=topic, partition=0, offset=offset, timestamp_ms=at_ms, key=b"", value=value, headers=headers)


def frame(
    sequence: int = 0,
    *,
    camera: str = "gate",
    at_ms: int = NOW_MS,
    outcome: Outcome = "complete",
    objects: tuple[tuple[str, float], ...] = (),
    latency_ms: float = 40.0,
) -> FrameEvent:
    """The event of a frame that was emitted at `at_ms`."""
    return FrameEvent(
        camera=camera,
        run="run-1",
        sequence=sequence,
        captured_ns=(at_ms - 40) * 10**6,
        emitted_ns=at_ms * 10**6,
        width=640,
        height=480,
        outcome=outcome,
        coverage=1.0,
        missing_tiles=[],
        edges=EdgeSummary(operator="edges", pixels=1, density=0.25, digest="0" * 64),
        features={},
        objects=[
            DetectedObject(label=label, score=score, box=(1.0, 2.0, 30.0, 40.0), source="faces")
            for label, score in objects
        ],
        evidence=Evidence(topic="tiles", offsets={"0": (sequence, sequence)}, pipeline="p", operators={}),
        latency_ms={"total": latency_ms},
    )


def frame_record(sequence: int = 0, **options: Any) -> Record:
    """Its record."""
    event = frame(sequence, **options)
    headers, value = encode_frame_event(event)
    return record(headers, value, at_ms=event.emitted_ns // 10**6, offset=sequence)


def frame_shown(sequence: int = 0, **options: Any) -> Shown:
    """What a page gets of it."""
    return event_of(frame_record(sequence, **options))


def happening_record(what: str = "new", *, data: dict[str, Any] | None = None, kind: str = "track") -> Record:
    """Something that happened on a frame."""
    found = {"label": "face", "box": [1, 2, 3, 4], "score": 0.5} if data is None else data
    headers, value = encode_occurrence(frame(), "seen", Occurrence(kind=kind, what=what, subject="0-7", data=found))
    return record(headers, value)


def camera_record(what: CameraEventKind, at_ms: int, *, camera: str = "gate", **data: Any) -> Record:
    """Something that happened to a camera."""
    event = CameraEvent(camera=camera, run="run-1", sequence=0, at_ns=at_ms * 10**6, what=what, data=data)
    headers, value = encode_camera_event(event)
    return record(headers, value, at_ms=at_ms)


def camera_shown(what: CameraEventKind, at_ms: int, **options: Any) -> Shown:
    """What a page gets of it."""
    return event_of(camera_record(what, at_ms, **options))


def picture_record(
    sequence: int = 0, *, camera: str = "gate", kind: str = "preview", size: int = 1000, at_ms: int = NOW_MS
) -> Record:
    """A record of the `edges` topic; its pixels are none."""
    content_type = "image/png" if kind == "edges" else "image/jpeg"
    headers = wire.picture_headers(
        FrameKey(camera, "run-1", sequence), kind=kind, content_type=content_type, captured_ns=NOW_MS * 10**6 + 1
    )
    return record(headers, bytes([sequence % 256]) * size, at_ms=at_ms, topic="edges")


def picture(sequence: int = 0, **options: Any) -> Picture:
    """What a page gets of it."""
    return picture_of(picture_record(sequence, **options))
