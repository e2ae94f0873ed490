"""The traces of the frames of one partition of features, from their first tile to their event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streamproc.errors import BadMessage
from streamproc.model import FrameEvent, FrameKey, TileHeader
from streamproc.tracing.frames import Gathered, Place, TileLinks, assembled_span, refused_span
from streamproc.tracing.spans import SpanContext, Tracer, context_of, frame_context
from streamproc.wire import Headers, RawHeaders

TRACE_ATTRIBUTE: Final = "ce_traceparent"
"""CloudEvents' extension for distributed tracing, in Kafka's binary mode."""


@dataclass(frozen=True, slots=True)
class FrameTrace:
    """A traced frame that is about to be told of."""

    parent: SpanContext
    context: SpanContext
    gathered: Gathered

    @property
    def headers(self) -> Headers:
        """What its events carry more."""
        return [(TRACE_ATTRIBUTE, self.context.header)]


class AssemblyTraces:
    """Notes the spans of tiles, and ends those of frames; one caller at a time, as bounded as the open frames are.

    Args:
        tracer: Where spans go.
        topic, partition, group: Where features are read, and by whom.
    """

    def __init__(self, tracer: Tracer, *, topic: str, partition: int, group: str) -> None:
        self._tracer, self._topic, self._partition, self._group = tracer, topic, partition, group
        self._links = TileLinks()

    def add(self, tile: TileHeader, headers: RawHeaders, *, now_ns: int) -> None:
        """The features of a tile count for its frame, `headers` are those of their record."""
        self._links.add(tile, headers, now_ns=now_ns)

    def refuse(self, headers: RawHeaders, *, offset: int, size: int, at_ns: int, bad: BadMessage) -> None:
        """A features record went to dead letters."""
        parent = context_of(headers)
        if parent is not None:
            place = Place(self._topic, self._partition, offset, self._group, size)
            self._tracer.end(refused_span(parent, place, at_ns=at_ns, bad=bad))

    def leave(self, key: FrameKey) -> FrameTrace | None:
        """A frame is told of; None if it is not traced.

        Its span hangs below the frame's root; in a trace that somebody else began, below the span of its first tile.
        """
        gathered = self._links.take(key)
        if gathered is None:
            return None
        first, root = gathered.tiles[min(gathered.tiles)], frame_context(key)
        parent = root if first.trace_id == root.trace_id else first
        return FrameTrace(parent, parent.child(), gathered)

    def end(self, trace: FrameTrace, event: FrameEvent, *, merge_ns: int, ended_ns: int) -> None:
        """The event of a traced frame was handed over; see `assembled_span`."""
        source = (self._topic, self._partition, self._group)
        self._tracer.end(
            assembled_span(
                trace.parent,
                trace.context,
                event,
                trace.gathered,
                source=source,
                merge_ns=merge_ns,
                ended_ns=ended_ns,
            )
        )
