"""What events say, as columns: of tables and of Parquet files. What is not as the schema promises becomes null."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from streamproc.sinks.event import MAX_NAME, SinkEvent

MAX_OBJECTS: Final = 10_000  # of one event that are made rows
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FoundObject(NamedTuple):
    """An object of a frame event; the box in pixels of the frame."""

    label: str
    score: float | None
    track: str | None
    x1: float | None
    y1: float | None
    x2: float | None
    y2: float | None


class Happened(NamedTuple):
    """What an event says that tells of something on a frame: a track, a rule, an anomaly; or of a camera."""

    kind: str
    step: str | None
    what: str | None
    subject: str | None
    label: str | None


def found_objects(event: SinkEvent) -> list[FoundObject]:
    """The objects of a frame event; those without a label are left out."""
    objects = event.data.get("objects")
    found = []
    for one in objects[:MAX_OBJECTS] if isinstance(objects, list) else []:
        label = text_or_none(one.get("label")) if isinstance(one, dict) else None
        if label is None:
            continue
        box = one.get("box")
        sides = box if isinstance(box, list) and len(box) == 4 else [None] * 4
        x1, y1, x2, y2 = map(number_or_none, sides)
        found.append(
            FoundObject(label, number_or_none(one.get("score")), text_or_none(one.get("track")), x1, y1, x2, y2)
        )
    return found


def happened(event: SinkEvent) -> Happened | None:
    """What an event tells that is not a frame's own; None for frames and for types that are not ours."""
    _, ours, rest = event.type.partition("io.streamproc.")
    kind = rest.partition(".")[0]
    if not ours or not kind or kind == "frame":
        return None
    data, inner = event.data, event.data.get("data")
    label = inner.get("label") if isinstance(inner, dict) else None
    said = (text_or_none(value) for value in (data.get("step"), data.get("what"), data.get("subject"), label))
    return Happened(kind, *said)


def emitted(event: SinkEvent) -> datetime | None:
    """When a frame event was emitted, UTC."""
    moment_ns = event.data.get("emitted_ns")
    if not isinstance(moment_ns, int) or isinstance(moment_ns, bool):
        return None
    try:
        return _EPOCH + timedelta(microseconds=moment_ns // 1000)
    except OverflowError:
        return None


def event_row(event: SinkEvent) -> dict[str, Any]:
    """What every table of events has, by column."""
    return {
        "id": event.id,
        "type": event.type,
        "camera": event.camera,
        "run": event.run,
        "sequence": event.sequence,
        "time": event.time,
        "emitted": emitted(event),
        "outcome": text_or_none(event.data.get("outcome")),
        "coverage": number_or_none(event.data.get("coverage")),
    }


def text_or_none(value: Any) -> str | None:
    """A text of at most 200 characters, without the NUL that PostgreSQL does not take; longer ones are cut."""
    return value[:MAX_NAME].replace("\0", "\ufffd") if isinstance(value, str) and value else None


def number_or_none(value: Any) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
