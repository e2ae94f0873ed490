"""Spans as values, and the W3C trace context that carries them from record to record. Knows no OpenTelemetry.

References:
    https://www.w3.org/TR/trace-context/
    https://opentelemetry.io/docs/specs/otel/trace/api/
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import xxhash

from streamproc.model import FrameKey
from streamproc.wire import TRACEPARENT, RawHeaders, trace_id

Attributes: TypeAlias = "Mapping[str, str | bool | int | float]"

_SAMPLED = 0x01
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SpanContext:
    """Which span of which trace, and whether it is recorded.

    Attributes:
        trace_id: 32 hexadecimal digits, not all 0.
        span_id: 16 hexadecimal digits, not all 0.
        sampled: The frame was chosen to be traced.
    """

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def header(self) -> bytes:
        """As a `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}".encode()

    def child(self) -> SpanContext:
        """Another span of the trace, with an id of its own that nobody else has."""
        return SpanContext(self.trace_id, f"{random.getrandbits(64) or 1:016x}", self.sampled)


def read_traceparent(value: bytes | None) -> SpanContext | None:
    """The context in a `traceparent`; None if it is none that the standard lets be used."""
    found = _PARENT.fullmatch(value or b"")
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or not (int(trace, 16) and int(span, 16)):
        return None
    return SpanContext(trace.decode(), span.decode(), bool(int(flags, 16) & _SAMPLED))


def context_of(headers: RawHeaders) -> SpanContext | None:
    """The context of a record's frame if that is traced, else None; several contexts are none."""
    found = [value for name, value in headers if name == TRACEPARENT]
    context = read_traceparent(found[0]) if len(found) == 1 else None
    return context if context is not None and context.sampled else None


def is_chosen(trace: str, share: float) -> bool:
    """Whether a trace belongs to the share of all that is recorded: decided by its id, so everybody chooses the same.

    As OpenTelemetry's `TraceIdRatioBased` does: whoever records more records these, too.

    Args:
        trace: 32 hexadecimal digits.
        share: 0..1.
    """
    return int(trace[16:], 16) < round(share * 2**64)


def frame_context(key: FrameKey) -> SpanContext:
    """The root span of a frame that is traced; always the same for the same frame."""
    return _part_of(key, "frame")


def send_context(key: FrameKey) -> SpanContext:
    """The span that sends a frame's tiles, which their records name."""
    return _part_of(key, "send")


def _part_of(key: FrameKey, part: str) -> SpanContext:
    text = f"{key.camera}/{key.run}/{key.sequence}/{part}"
    return SpanContext(trace_id(key), xxhash.xxh3_64_hexdigest(text.encode()))


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened within a span.

    Attributes:
        at_ns: Wall clock, nanoseconds since 1970.
    """

    name: str
    at_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of work that is over.

    Attributes:
        name: Of the kind of work; names of cameras and numbers are attributes.
        kind: As OpenTelemetry has it.
        parent: None for the first of a trace.
        is_remote: The parent is another process's.
        started_ns, ended_ns: Wall clock, nanoseconds since 1970.
        links: Other spans it has to do with.
        error: What went wrong, in one line; None if nothing did.
    """

    name: str
    kind: Literal["internal", "producer", "consumer"]
    context: SpanContext
    parent: SpanContext | None = None
    is_remote: bool = False
    started_ns: int
    ended_ns: int
    attributes: Attributes
    moments: tuple[Moment, ...] = ()
    links: tuple[SpanContext, ...] = ()
    error: str | None = None


class Tracer(Protocol):
    """Where spans go; for any number of threads. Never waits, never raises."""

    def chooses(self, trace: str) -> bool:
        """Whether this producer traces the frame whose trace this is."""

    def end(self, span: Span) -> None:
        """Take a span; it is dropped and counted when too many wait."""
