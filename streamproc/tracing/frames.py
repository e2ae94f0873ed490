"""The spans of a frame on its way: sent, extracted tile by tile, assembled. Values in, spans out; time is an argument.

    frame                                    producer, from capture until the broker has all
      encode
      send <prefix>tiles                     its context travels with each tile
        process <prefix>tiles                a worker, one for each tile; its context travels with the features
      process <prefix>features               the aggregator, linked to the span of each tile

Attributes are those of OpenTelemetry's semantic conventions for messaging and Kafka; ours begin with `streamproc.`.

References:
    https://opentelemetry.io/docs/specs/semconv/messaging/kafka/
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from streamproc.errors import BadMessage
from streamproc.model import FrameEvent, FrameKey, TileHeader
from streamproc.tracing.spans import Moment, Span, SpanContext, context_of, frame_context, send_context
from streamproc.wire import RawHeaders

MAX_LINKS = 256
"""Tiles that the span of a frame is linked to; of a frame with more, the first ones."""
MAX_ERROR = 500
_LONGEST_WAIT_NS = 600 * 10**9  # a capture time further away than this is an archive's, or of a wrong clock


@dataclass(frozen=True, slots=True)
class Place:
    """A record that is worked on: where it stands, who reads it, and its size in bytes."""

    topic: str
    partition: int
    offset: int
    group: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFrame:
    """A frame that is handed over to the broker.

    Attributes:
        header: Of its first tile.
        topic: Where its tiles go.
        tiles: How many there are.
        size: Bytes of their pictures.
        unchanged: Tiles that are sent as references.
        encode_ns: When encoding began and ended, wall clock.
        send_ns: When sending began, wall clock.
    """

    header: TileHeader
    topic: str
    tiles: int
    size: int
    unchanged: int
    encode_ns: tuple[int, int]
    send_ns: int


def sent_spans(sent: SentFrame, *, acked: int, ended_ns: int, problem: str | None) -> list[Span]:
    """The spans of a producer's frame, when the fate of all its tiles is known.

    Args:
        sent: The frame.
        acked: Tiles that the broker acknowledged.
        ended_ns: When the last was reported, wall clock.
        problem: The first error that a tile met; None if all are acknowledged.
    """
    key, captured_ns = sent.header.key, sent.header.captured_ns
    root, began_ns = frame_context(key), sent.encode_ns[0]
    is_live = 0 <= began_ns - captured_ns <= _LONGEST_WAIT_NS
    error = None if problem is None else problem[:MAX_ERROR]
    frame = Span(
        name="frame",
        kind="internal",
        context=root,
        started_ns=captured_ns if is_live else began_ns,
        ended_ns=ended_ns,
        attributes={
            **_named(key),
            "streamproc.captured_ns": captured_ns,
            "streamproc.frame.width": sent.header.frame_width,
            "streamproc.frame.height": sent.header.frame_height,
            "streamproc.frame.tiles": sent.tiles,
            "streamproc.frame.tiles_unchanged": sent.unchanged,
        },
        error=error,
    )
    encode = Span(
        name="encode",
        kind="internal",
        context=root.child(),
        parent=root,
        started_ns=began_ns,
        ended_ns=sent.encode_ns[1],
        attributes={"streamproc.codec": sent.header.codec, "streamproc.bytes": sent.size},
    )
    return [frame, encode, _send_span(sent, root, acked=acked, ended_ns=ended_ns, error=error)]


def _send_span(sent: SentFrame, root: SpanContext, *, acked: int, ended_ns: int, error: str | None) -> Span:
    return Span(
        name=f"send {sent.topic}",
        kind="producer",
        context=send_context(sent.header.key),
        parent=root,
        started_ns=sent.send_ns,
        ended_ns=ended_ns,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": sent.topic,
            "messaging.batch.message_count": sent.tiles,
            "streamproc.tiles_acked": acked,
        },
        error=error,
    )


def tile_span(
    parent: SpanContext,
    context: SpanContext,
    place: Place,
    *,
    header: TileHeader | None,
    started_ns: int,
    ended_ns: int,
    bad: BadMessage | None,
) -> Span:
    """The span of a tile that was extracted, or that went to dead letters (`bad`; then its header may be unknown)."""
    known = {} if header is None else _named(header.key)
    tile = {} if header is None else {"streamproc.tile.row": header.row, "streamproc.tile.col": header.col}
    return _processed(
        parent, context, place, attributes={**known, **tile}, started_ns=started_ns, ended_ns=ended_ns, bad=bad
    )


def refused_span(parent: SpanContext, place: Place, *, at_ns: int, bad: BadMessage) -> Span:
    """The span of a features record that went to dead letters."""
    return _processed(parent, parent.child(), place, attributes={}, started_ns=at_ns, ended_ns=at_ns, bad=bad)


def _processed(
    parent: SpanContext,
    context: SpanContext,
    place: Place,
    *,
    attributes: dict[str, str | int],
    started_ns: int,
    ended_ns: int,
    bad: BadMessage | None,
) -> Span:
    """The span of one record that was read."""
    span = Span(
        name=f"process {place.topic}",
        kind="consumer",
        context=context,
        parent=parent,
        is_remote=True,
        started_ns=started_ns,
        ended_ns=ended_ns,
        attributes={
            **_consuming(place.topic, place.partition, place.group),
            "messaging.kafka.offset": place.offset,
            "messaging.message.body.size": place.size,
            **attributes,
        },
    )
    if bad is None:
        return span
    detail = bad.detail[:MAX_ERROR]
    letter = Moment("dead letter", ended_ns, {"streamproc.reason": bad.reason, "streamproc.detail": detail})
    return replace(
        span,
        moments=(letter,),
        error=f"{bad.reason}: {detail}"[:MAX_ERROR],
        attributes={**span.attributes, "error.type": bad.reason},
    )


@dataclass(slots=True)
class Gathered:
    """What of a traced frame has come.

    Attributes:
        first_ns: When its first tile was taken, wall clock.
        count: Tiles of which a span is known.
        tiles: The span of each, by its index; at most `MAX_LINKS`.
    """

    first_ns: int
    count: int = 0
    tiles: dict[int, SpanContext] = field(default_factory=dict)


class TileLinks:
    """The spans of the tiles of frames that are open; pure state, as bounded as the open frames are."""

    def __init__(self) -> None:
        self._frames: dict[FrameKey, Gathered] = {}

    def add(self, tile: TileHeader, headers: RawHeaders, *, now_ns: int) -> None:
        """A tile counts for its frame; one that is redriven takes the place of its refusal."""
        context = context_of(headers)
        if context is None:
            return
        frame = self._frames.setdefault(tile.key, Gathered(now_ns))
        is_new = tile.index not in frame.tiles
        frame.count += is_new
        if not is_new or len(frame.tiles) < MAX_LINKS:
            frame.tiles[tile.index] = context

    def take(self, key: FrameKey) -> Gathered | None:
        """What came of a frame that leaves; None if it is not traced."""
        return self._frames.pop(key, None)

    def __len__(self) -> int:
        return len(self._frames)


def assembled_span(
    parent: SpanContext,
    context: SpanContext,
    event: FrameEvent,
    gathered: Gathered,
    *,
    source: tuple[str, int, str],
    merge_ns: int,
    ended_ns: int,
) -> Span:
    """The span of a frame that the aggregator told of.

    Args:
        parent: Of the frame, or of its first tile.
        context: Its own.
        event: What it told.
        gathered: What came of the frame.
        source: Topic and partition of its features, and the consumer group.
        merge_ns: When merging began, wall clock; it ended at `event.emitted_ns`.
        ended_ns: When the event was handed over, wall clock.
    """
    whole = event.outcome == "complete"
    hops = {f"streamproc.latency_ms.{hop}": value for hop, value in event.latency_ms.items()}
    failed: dict[str, str] = {} if whole else {"error.type": event.outcome}
    return Span(
        name=f"process {source[0]}",
        kind="consumer",
        context=context,
        parent=parent,
        is_remote=True,
        started_ns=min(gathered.first_ns, merge_ns),
        ended_ns=ended_ns,
        attributes={
            **_consuming(*source),
            "messaging.batch.message_count": gathered.count,
            **_named(event.key),
            "streamproc.outcome": event.outcome,
            "streamproc.coverage": event.coverage,
            "streamproc.pipeline": event.evidence.pipeline,
            **hops,
            **failed,
        },
        moments=(Moment("merge", merge_ns), Moment("tell", event.emitted_ns)),
        links=_links(gathered),
        error=None if whole else f"{event.outcome}: {event.reason or 'incomplete'}"[:MAX_ERROR],
    )


def _links(gathered: Gathered) -> tuple[SpanContext, ...]:
    return tuple(gathered.tiles[index] for index in sorted(gathered.tiles))


def _named(key: FrameKey) -> dict[str, str | int]:
    return {"streamproc.camera": key.camera, "streamproc.run": key.run, "streamproc.sequence": key.sequence}


def _consuming(topic: str, partition: int, group: str) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.consumer.group.name": group,
    }
