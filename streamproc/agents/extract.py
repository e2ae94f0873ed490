"""The extract agent: tiles in, features out. Carries only: judge, decode, run the pipeline, send."""

from __future__ import annotations

import threading
import time
from typing import TypeAlias

import msgspec
from faust.types import Message, StreamT

from streamproc import wire
from streamproc.agents import guard
from streamproc.agents.batches import Batch, MakeWindow, collect
from streamproc.agents.recall import Known, Recall
from streamproc.agents.transport import StreamApp
from streamproc.decoding import Decoder
from streamproc.errors import BadMessage, BrokerError, DecoderError, DeliveryError
from streamproc.metrics import Metrics
from streamproc.model import Codec, Features, Pixels, Refusal, TileHeader
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pixels import encode, thumbnail
from streamproc.operators.tiling import window_of
from streamproc.reader import Record, TopicReader
from streamproc.references import References, fetch_from
from streamproc.settings import Settings
from streamproc.topics import MAX_FEATURES_BYTES, Topics, camera_partition, features_key
from streamproc.tracing import Place, Tracer, context_of, tile_span

Encoded: TypeAlias = tuple[TileHeader, bytes, wire.Headers]
"""A tile, its features as bytes, and their record's headers."""

_RECORD_OVERHEAD_BYTES = 4096  # key, headers and framing around a value

HOLD_S = 0.05  # longest time a finished tile waits for others of its batch
_THUMBNAIL_CODEC: Codec = "jpeg"  # a tenth of the bytes of raw pixels, which would outweigh all other results
_THUMBNAIL_QUALITY = 90
THUMBNAIL_SIDE_PX = 640  # previews are reduced by 2, 4 or 8 until the frame's longer side is at most about this


class Extractor:
    """What one tile record needs to become features; used on pool threads, each with a decoder of its own."""

    def __init__(
        self,
        *,
        settings: Settings,
        pipeline: Pipeline,
        partitions: int,
        metrics: Metrics,
        tracer: Tracer | None = None,
    ) -> None:
        self.settings = settings
        self._tracer = tracer
        self.pipeline = pipeline
        self.partitions = partitions
        self.metrics = metrics
        self.handled = 0  # tiles, good or bad; for noticing that none is
        self._of_thread = threading.local()
        self._decoders: list[Decoder] = []
        self._references = References(self._fetch, bound_bytes=settings.references_bytes)
        self._recall = Recall(bound_bytes=settings.references_bytes)
        self._reader: TopicReader | None = None

    def __call__(self, batch: Batch) -> None:
        """Handle a batch of tile records; send results together, for the broker's price goes by request."""
        done: list[Encoded] = []
        began = time.monotonic()
        for event in batch.events:
            encoded = self._handle(batch, event.message)
            self.handled += 1
            if encoded is not None:
                done.append(encoded)
            if time.monotonic() - began > HOLD_S:
                self._send(batch, done)
                done, began = [], time.monotonic()
        self._send(batch, done)

    @property
    def held_bytes(self) -> int:
        """Of tiles, and of results, that later tiles may refer to."""
        return self._references.held_bytes + self._recall.held_bytes

    def decoder_pids(self) -> list[int]:
        """Process ids of the decoders that run."""
        return [pid for decoder in tuple(self._decoders) if (pid := decoder.pid) is not None]

    def close(self) -> None:
        """End the decoders; no tile may be under way."""
        for decoder in self._decoders:
            decoder.close()
        if self._reader is not None:
            self._reader.__exit__()

    def _fetch(self, partition: int, offset: int) -> Record | None:
        """A record of the tiles topic."""
        if self._reader is None:
            self._reader = TopicReader(self.settings, Topics(self.settings.prefix).tiles, max_queue_bytes=2 * 2**20)
        return fetch_from(self._reader)(partition, offset)

    @property
    def _decoder(self) -> Decoder:
        """This thread's."""
        decoder: Decoder | None = getattr(self._of_thread, "decoder", None)
        if decoder is None:
            lost = self.metrics.decoders_lost
            decoder = self._of_thread.decoder = Decoder(
                timeout_s=self.settings.decode_timeout_s,
                max_pixels=self.settings.max_frame_pixels,
                ended=lambda how: lost.labels(how).inc(),
            )
            self._decoders.append(decoder)
        return decoder

    def _send(self, batch: Batch, done: list[Encoded]) -> None:
        for header, value, headers in done:
            batch.send(
                topic=Topics(self.settings.prefix).features,
                partition=camera_partition(header.camera, self.partitions),
                key=features_key(header.key),
                value=value,
                headers=headers,
            )

    def _handle(self, batch: Batch, message: Message) -> Encoded | None:
        """The features of a tile; of one that is refused, word of that; None if its frame is not known."""
        started_ns = time.time_ns()
        header, value, bad = self._judge(batch, message, started_ns)
        headers = [] if self._tracer is None else self._trace(self._tracer, message, header, started_ns, bad)
        return None if header is None or value is None else (header, value, headers)

    def _trace(
        self, tracer: Tracer, message: Message, header: TileHeader | None, started_ns: int, bad: BadMessage | None
    ) -> wire.Headers:
        """End the span of a tile whose frame is traced; returns what its features carry."""
        parent = context_of(guard.header_list(message))
        if parent is None:
            return []
        topics, context = Topics(self.settings.prefix), parent.child()
        place = Place(
            message.topic, message.partition, message.offset, topics.group, size=len(guard.value_bytes(message))
        )
        ended_ns = time.time_ns()
        tracer.end(tile_span(parent, context, place, header=header, started_ns=started_ns, ended_ns=ended_ns, bad=bad))
        return [(wire.TRACEPARENT, context.header)]

    def _judge(
        self, batch: Batch, message: Message, started_ns: int
    ) -> tuple[TileHeader | None, bytes | None, BadMessage | None]:
        """A tile's header and its features, or why it went to dead letters; as much of them as is known."""
        topics = Topics(self.settings.prefix)
        header: TileHeader | None = None
        try:
            header = wire.read_tile_header(guard.header_list(message))
            wire.check_tile(header, guard.value_bytes(message), max_frame_pixels=self.settings.max_frame_pixels)
            value = _encoded(self._features(header, message, started_ns))
        except (BrokerError, DeliveryError, DecoderError):
            raise
        except Exception as error:  # noqa: BLE001 - every other error is one dead letter
            bad = guard.as_bad_message(error, message)
            guard.dead_letter(batch, message, bad, stage="extract", topics=topics, metrics=self.metrics)
            if header is None:
                return None, None, bad
            value = wire.encode_features(self._refused(header, message, started_ns, bad))
            # the aggregator would refuse a frame that is not acceptable, with a second dead letter
            return header, value if self._acceptable(value) else None, bad
        return header, value, None

    def _acceptable(self, value: bytes) -> bool:
        try:
            wire.decode_features(value, max_frame_pixels=self.settings.max_frame_pixels)
        except BadMessage:
            return False
        return True

    def _features(self, header: TileHeader, message: Message, started_ns: int) -> Features:
        due = self.pipeline.due(header.sequence)
        known = self._recall.find(header, partition=message.partition, due=due)
        if known is None:
            known = self._work_out(header, message)
            if header.base or header.same_as is not None:
                offset = message.offset if header.same_as is None else header.same_as
                self._recall.keep(known, partition=message.partition, offset=offset, due=due)
        else:
            self.metrics.tiles_recalled.inc()
        finished_ns = time.time_ns()
        self.metrics.extract_seconds.observe((finished_ns - started_ns) / 1e9)
        blank = self._blank(header, message, started_ns, finished_ns)
        scale = thumbnail_scale(header) if header.preview else 0
        return msgspec.structs.replace(
            blank,
            results=dict(known.results),
            thumbnail=known.thumbnail,
            thumbnail_scale=scale,
            thumbnail_codec=_THUMBNAIL_CODEC,
        )

    def _work_out(self, header: TileHeader, message: Message) -> Known:
        """Decode a tile and run the pipeline on it."""
        rect = header.rect
        payload = self._references.payload(
            header, partition=message.partition, offset=message.offset, value=guard.value_bytes(message)
        )
        pixels = self._decoder.decode(
            payload, codec=header.codec, pixel_format=header.pixel_format, width=rect.width, height=rect.height
        )
        window = window_of(pixels, header.core, header.halo, header.frame_width, header.frame_height)
        results = self.pipeline.run(window, header.sequence)
        scale = thumbnail_scale(header) if header.preview else 0
        small = _encoded_thumbnail(pixels[header.core.within(rect)], scale) if scale else b""
        self.metrics.tile_bytes.inc(len(payload))
        base = msgspec.structs.replace(header, base=True)  # what it refers to is one, if it is none itself
        return Known(header=base, results=results, thumbnail=small)

    def _refused(self, header: TileHeader, message: Message, started_ns: int, bad: BadMessage) -> Features:
        blank = self._blank(header, message, started_ns, time.time_ns())
        return msgspec.structs.replace(blank, refusal=Refusal(reason=bad.reason, detail=bad.detail[:500]))

    def _blank(self, header: TileHeader, message: Message, started_ns: int, finished_ns: int) -> Features:
        return Features(
            tile=header,
            partition=message.partition,
            offset=message.offset,
            published_ns=int(message.timestamp * 1e9),
            started_ns=started_ns,
            finished_ns=finished_ns,
            pipeline=self.pipeline.digest,
            operators=self.pipeline.operators,
        )


def _encoded(features: Features) -> bytes:
    value = wire.encode_features(features)
    if len(value) > MAX_FEATURES_BYTES - _RECORD_OVERHEAD_BYTES:
        raise BadMessage("limits", f"features of {len(value)} bytes; cut the frame into smaller tiles (--grid)")
    return value


def _encoded_thumbnail(core: Pixels, scale: int) -> bytes:
    """Small beside the edges of the tile; good enough that a second encoding, of the whole preview, is not seen."""
    return encode(thumbnail(core, scale=scale), codec=_THUMBNAIL_CODEC, jpeg_quality=_THUMBNAIL_QUALITY)


def thumbnail_scale(header: TileHeader) -> int:
    """By how much previews of this frame are reduced: 1, 2, 4 or 8."""
    longest = max(header.frame_width, header.frame_height)
    return next((scale for scale in (1, 2, 4) if longest <= scale * THUMBNAIL_SIDE_PX), 8)


def add_extract_agent(app: StreamApp, extractor: Extractor, *, make_window: MakeWindow) -> None:
    """Register the agent that turns tiles into features on `app`."""
    settings = extractor.settings
    tiles = app.topic(Topics(settings.prefix).tiles, key_type=bytes, value_type=bytes, value_serializer="raw")

    def acknowledge(batch: Batch) -> None:
        for event in batch.events:
            event.ack()
        extractor.metrics.tiles_extracted.inc(len(batch.events))

    async def extract(stream: StreamT[bytes]) -> None:
        await collect(stream, make_window(work=extractor, settled=acknowledge), limit=settings.batch_tiles)

    app.agent(tiles, name="extract")(extract)
