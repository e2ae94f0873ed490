"""An event as sinks want it: where it stood in the log, what it says of itself, and its line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from streamproc.cloudevents import structured_event
from streamproc.errors import BadMessage
from streamproc.reader import Record

KINDS: Final = ("frame", "track", "rule", "anomaly", "camera")
MAX_NAME: Final = 200  # characters of an id, a type or a camera; an index of a database holds no more than 2.7 kB
_MAX_SEQUENCE: Final = 2**63 - 1

_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SinkEvent:
    """One event of the log.

    Attributes:
        partition, offset: Where it stands in the events topic.
        id, type, camera: Of the CloudEvent; at most 200 characters each.
        run, sequence: Of the frame it tells of; None where it tells of none.
        time: At capture, UTC; None if it does not say.
        event: CloudEvents structured mode.
        line: The same as one line of JSON, without its end.
    """

    partition: int
    offset: int
    id: str
    type: str
    camera: str
    run: str | None
    sequence: int | None
    time: datetime | None
    event: Mapping[str, Any]
    line: bytes

    @property
    def data(self) -> Mapping[str, Any]:
        """What the event says; empty if that is no JSON object."""
        data = self.event["data"]
        return data if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which events a sink writes: of one camera, of one kind; None is all."""

    camera: str | None = None
    kind: str | None = None

    def wants(self, record: Record) -> bool:
        """Judged by the headers alone, before any JSON is read."""
        found = dict(record.headers)
        if self.camera is not None and found.get("ce_source") != f"/cameras/{self.camera}".encode():
            return False
        return self.kind is None or found.get("ce_type") == event_type(self.kind).encode()

    def __str__(self) -> str:
        return f"{self.camera or ''}/{self.kind or ''}"


def event_type(kind: str) -> str:
    """The CloudEvents type of a kind."""
    return f"io.streamproc.{kind}.v1"


def read_event(record: Record) -> SinkEvent:
    """The event in a record.

    Raises:
        BadMessage: `envelope`: it is no CloudEvent with an id, a type and a camera.
    """
    event = structured_event(record.headers, record.value)
    camera = str(event.get("source", "")).removeprefix("/cameras/")
    named = {"id": str(event.get("id", "")), "type": str(event.get("type", "")), "source": camera}
    for name, text in named.items():
        if not 0 < len(text) <= MAX_NAME or "\0" in text:
            raise BadMessage("envelope", f"event: ce_{name} has {len(text)} characters, wanted 1 to {MAX_NAME}")
    run, sequence = _frame(str(event.get("subject", "")))
    return SinkEvent(
        partition=record.partition,
        offset=record.offset,
        id=named["id"],
        type=named["type"],
        camera=camera,
        run=run,
        sequence=sequence,
        time=_time(event.get("time")),
        event=event,
        line=_json.encode(event),
    )


def _frame(subject: str) -> tuple[str | None, int | None]:
    run, slash, number = subject.rpartition("/")
    short = 0 < len(run) <= MAX_NAME and "\0" not in run
    if not (short and slash and number.isascii() and number.isdecimal() and len(number) < 20):
        return None, None
    return (run, int(number)) if int(number) <= _MAX_SEQUENCE else (None, None)


def _time(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
