"""One source into Kafka: read, cut, send, and count what the broker acknowledged.

A frame counts as published when every one of its tiles was acknowledged. Whatever ends a run early -
Ctrl-C, a film cut short, a broker gone - what was sent is flushed (bounded in time) and reported.

Memory: pixels of frames read ahead and records not yet acknowledged stay below `Settings.producer_queue_bytes`
together, as long as a frame is not larger than half of it; a larger one goes alone. The frame being read, and the
encoded tiles of the few that are ahead of sending, come on top.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from producers.cutting import PATIENCE_S, Cutter, EncodedFrame
from producers.deliveries import Deliveries, Saved
from producers.pacing import Fps, Pacer, PreviewChoice, frames_a_second
from producers.readahead import ReadAhead
from producers.runs import PublishReport, new_run, require_name
from producers.waiting import DropPolicy, WaitingRoom
from streamproc.errors import LedgerError, RecordRefused, StreamprocError
from streamproc.ledger import FrameLine, LedgerWriter, line_of
from streamproc.metrics import Metrics
from streamproc.model import Codec, Frame, FrameKey, Grid, TileHeader
from streamproc.publisher import Publisher
from streamproc.topics import Topics, tile_key, tile_partition
from streamproc.tracing import FrameTraces, Tracer, traced
from streamproc.wire import Headers, tile_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from producers.changed_only import ChangedOnly
    from producers.sources.source import Notice, Source
    from streamproc.settings import Settings

__all__ = ["PublishReport", "Sender", "new_run", "publish", "require_name"]

log = logging.getLogger(__name__)

_STOP_S = 10.0  # longest flush after Ctrl-C or a failure
_SLICE_S = 0.2  # of waiting, between looks at `stop`
_ENCODE_THREADS = 2
_BLOCK_FRAMES = 2 * _ENCODE_THREADS + 2  # more would be read ahead in vain where reading waits anyway


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    encoded: EncodedFrame
    line: FrameLine | None
    encode_ns: tuple[int, int]  # began and ended; (0, 0) unless frames are traced


class Sender(Protocol):
    """What publishing needs of `streamproc.publisher.Publisher`."""

    @property
    def queued_bytes(self) -> int:
        """Bytes sent and not yet reported."""

    def send(
        self,
        *,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes,
        headers: Headers,
        on_delivery: Callable[[Exception | None, int | None], None] | None = None,
        timeout_s: float = 60,
    ) -> None:
        """Queue one record."""

    def flush(self, timeout_s: float) -> int:
        """Wait for reports; returns how many are missing."""

    def close(self, *, timeout_s: float) -> int:
        """Flush and stop; reports failure of what is left."""


def publish(
    source: Source,
    settings: Settings,
    *,
    camera: str,
    partitions: int,
    run: str | None = None,
    codec: Codec = "jpeg",
    grid: Grid | None = None,
    fps: Fps = "source",
    limit: int | None = None,
    drop: DropPolicy = "block",
    ledger: LedgerWriter | None = None,
    pipeline_halo: int = 0,
    changed: ChangedOnly | None = None,
    sender: Sender | None = None,
    metrics: Metrics | None = None,
    tracer: Tracer | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[int], None] | None = None,
    on_frame: Callable[[Sequence[TileHeader], Frame], None] | None = None,
    notice: Notice | None = None,
) -> PublishReport:
    """Publish a source until its end, `limit` frames, `stop`, or a failure.

    Args:
        source: Read once, from its beginning; not closed.
        settings: Broker, topics, sizes.
        camera: Name of the camera.
        partitions: Of the tiles topic, as `provision.require_topics` says.
        run: Name of the run; None makes a new one.
        codec: How tiles are encoded.
        grid: Rows and columns; None chooses by the first frame.
        fps: Speed.
        limit: At most so many frames are read.
        drop: What becomes of frames while the broker takes less than the source gives.
        ledger: Told of each frame before its tiles are sent and when its fate is known; None keeps none.
        pipeline_halo: Pixels around a tile that the pipeline's operators need.
        changed: Send only tiles that have changed, the others as references to their pixels; None sends all.
        sender: Where records go, not closed; None is a Publisher of its own.
        metrics: Counts frames and bytes there too; None keeps a registry nobody sees.
        tracer: Where spans go, not closed; None is one of its own if the settings ask for traces.
        stop: Set it to end the run: no more is read, what was read is sent and flushed.
        on_progress: Told the number of frames sent so far.
        on_frame: Told the tile headers and the frame when its tiles were handed over (not yet acknowledged).
        notice: Told in one line which grid is used and why; logged if None.

    Returns:
        Counts, and what ended the run early: call `raise_for_problem`.

    Raises:
        UsageError: A bad camera or run name, or a run that is in the ledger already.
        SettingError: The settings ask for traces, and OpenTelemetry is not installed.
    """
    require_name("camera", camera)
    run = new_run() if run is None else require_name("run", run)
    metrics = metrics or Metrics()
    with traced(settings, metrics, part="producer", given=tracer) as spans:
        if ledger is not None:
            ledger.begin(camera, run)
        cutter = Cutter(
            settings,
            codec=codec,
            grid=grid,
            pipeline_halo=pipeline_halo,
            partitions=partitions,
            notice=notice or log.info,
            changed=changed,
            patience_s=PATIENCE_S if drop == "block" else 0.0,
        )
        own: Publisher | None = None
        if sender is None:
            own = sender = Publisher(settings, client_id="streamproc-produce").start()
        publication = _Publication(
            settings,
            sender=sender,
            camera=camera,
            run=run,
            partitions=partitions,
            cutter=cutter,
            deliveries=Deliveries(metrics, camera=camera, run=run, ledger=ledger),
            stop=stop or threading.Event(),
            noted=ledger is not None,
            in_order=changed is not None,
            tracer=spans,
        )
        started_s = time.monotonic()
        ahead = publication.read_ahead(source, fps=fps, limit=limit, drop=drop)
        waiting_bytes = metrics.buffer_bytes.labels("producer")
        waiting_bytes.set_function(lambda: sender.queued_bytes + ahead.held_bytes)
        metrics.buffer_limit.labels("producer").set(settings.producer_queue_bytes)
        try:
            publication.send_all(ahead, on_progress=on_progress, on_frame=on_frame)
        finally:
            if own is not None:
                own.close(timeout_s=0)
            publication.give_up(ahead)
        return publication.report(source, ahead, seconds=time.monotonic() - started_s)


class _Publication:
    """One run being published; the state that its steps share."""

    def __init__(
        self,
        settings: Settings,
        *,
        sender: Sender,
        camera: str,
        run: str,
        partitions: int,
        cutter: Cutter,
        deliveries: Deliveries,
        stop: threading.Event,
        noted: bool,
        in_order: bool,
        tracer: Tracer | None,
    ) -> None:
        self._settings = settings
        self._sender = sender
        self._camera = camera
        self._run = run
        self._partitions = partitions
        self._cutter = cutter
        self._stop = stop
        self._topic = Topics(settings.prefix).tiles
        self._deliveries = deliveries
        self._traces = FrameTraces(tracer, topic=self._topic)
        self._noted = noted
        self._encoders = 1 if in_order else _ENCODE_THREADS
        self._most_queued_bytes = settings.producer_queue_bytes // 2  # the rest is for frames that may be dropped
        self._aborted = False

    def send_all(
        self,
        ahead: ReadAhead[_Ready],
        *,
        on_progress: Callable[[int], None] | None,
        on_frame: Callable[[Sequence[TileHeader], Frame], None] | None,
    ) -> None:
        """Send what is read until it ends or a tile fails, then wait for the reports."""
        with ahead:
            try:
                for sent, (frame, ready) in enumerate(ahead, start=1):
                    if not self._send(frame, ready, handed_over=ahead.handed_over):
                        break
                    if on_frame is not None:
                        on_frame([header for header, _ in ready.encoded.tiles], frame)
                    if on_progress is not None:
                        on_progress(sent)
            except BaseException:
                self._aborted = True  # wakes a reader that waits for its next frame
                raise
        self._flush()

    def give_up(self, ahead: ReadAhead[_Ready]) -> None:
        """Count what was not acknowledged by now as failed, and what was read and not sent."""
        self._deliveries.give_up(f"topic {self._topic}: records were not acknowledged when the run ended")
        why = self._deliveries.problem or ahead.problem or StreamprocError("the run ended before the frame was sent")
        for frame in ahead.unsent():
            self._deliveries.unsent(frame, why)
        self._traces.give_up()

    def read_ahead(self, source: Source, *, fps: Fps, limit: int | None, drop: DropPolicy) -> ReadAhead[_Ready]:
        """Reader of a source for this run, not started."""
        rate = frames_a_second(fps, source.fps)
        previews = PreviewChoice(self._settings.preview_per_s, stream_fps=source.fps if rate is None else None)

        def wait(seconds: float) -> bool:
            until_s = time.monotonic() + seconds
            while not (ending := self._ending()) and (left_s := until_s - time.monotonic()) > 0:
                self._stop.wait(min(left_s, _SLICE_S))
            return ending

        def encode(frame: Frame, sequence: int, preview: bool) -> _Ready:
            began_ns = time.time_ns()
            key = FrameKey(self._camera, self._run, sequence)
            pressure = room.pressure(queued_bytes=self._sender.queued_bytes)
            encoded = self._cutter.encode(frame, key, preview=preview, pressure=pressure)
            line = line_of(encoded.tiles[0][0], encoded.pixels) if self._noted else None
            return _Ready(encoded, line, (began_ns, time.time_ns()))

        room = WaitingRoom(
            drop,
            bound_bytes=self._settings.producer_queue_bytes,
            most_frames=_BLOCK_FRAMES if drop == "block" else None,
        )
        return ReadAhead(
            source,
            room=room,
            prepare=self._cutter.prepare,
            choose=lambda frame, sequence: previews.chosen(sequence, frame.captured_ns),
            encode=encode,
            dropped=lambda frame: self._deliveries.drop(frame, drop),
            queued_bytes=lambda: self._sender.queued_bytes,
            enough_bytes=self._most_queued_bytes // 2,
            pacer=Pacer(rate, now_s=time.monotonic, wait=wait),
            limit=limit,
            stop=self._ending,
            threads=self._encoders,
        )

    def _ending(self) -> bool:
        return self._stop.is_set() or self._aborted or self._deliveries.problem is not None

    def _send(self, frame: Frame, ready: _Ready, *, handed_over: Callable[[int], None]) -> bool:
        """Hand all tiles of a frame over; False when the run has to end."""
        key, tiles = ready.encoded.key, ready.encoded.tiles
        if self._deliveries.problem is not None:
            self._deliveries.unsent(frame, self._deliveries.problem)
            return False
        try:
            saved = Saved(ready.encoded.unchanged, ready.encoded.held)
            self._deliveries.expect(key, len(tiles), ready.line, saved=saved, receipt=frame.receipt)
        except LedgerError as error:
            self._deliveries.unsent(frame, error)
            return False
        trace = self._traces.begin(tiles, encode_ns=ready.encode_ns)
        for index, (header, payload) in enumerate(tiles):
            try:
                self._send_tile(index, header, payload, trace)
            except StreamprocError as error:
                self._deliveries.refuse(key.sequence, len(tiles) - index, error)
                self._traces.report(key.sequence, error, tiles=len(tiles) - index)
                return False
            handed_over(len(payload))
        return True

    def _send_tile(self, index: int, header: TileHeader, payload: bytes, trace: bytes | None) -> None:
        self._wait_for_room(len(payload))
        self._sender.send(
            topic=self._topic,
            partition=tile_partition(self._camera, index, self._partitions),
            key=tile_key(header),
            value=payload,
            headers=tile_headers(header, trace=trace),
            on_delivery=self._reporter(header.sequence, index, len(payload)),
            timeout_s=self._settings.delivery_timeout_s,
        )

    def _reporter(self, sequence: int, index: int, size: int) -> Callable[[Exception | None, int | None], None]:
        def report(error: Exception | None, offset: int | None) -> None:
            if error is None and offset is not None:
                self._cutter.delivered(sequence, index, offset)
            self._deliveries.report(sequence, size, error)
            self._traces.report(sequence, error)

        return report

    def _wait_for_room(self, size: int) -> None:
        """Wait here rather than in the sender, so that Ctrl-C and a failure are seen.

        Raises:
            RecordRefused: No room in time, or the run is ending.
        """
        deadline_s = time.monotonic() + self._settings.delivery_timeout_s
        while (queued := self._sender.queued_bytes) and queued + size > self._most_queued_bytes:
            now_s = time.monotonic()
            if self._stop.is_set():
                deadline_s = min(deadline_s, now_s + _STOP_S)
            if now_s > deadline_s or self._deliveries.problem is not None:
                raise RecordRefused(f"topic {self._topic}: the queue of unsent records stayed full; is the broker up?")
            time.sleep(0.005)

    def _flush(self) -> None:
        """Wait for all reports; not for long after a stop or a failure."""
        deadline_s = time.monotonic() + self._settings.delivery_timeout_s + _STOP_S
        while self._sender.flush(_SLICE_S):
            now_s = time.monotonic()
            if self._ending():
                deadline_s = min(deadline_s, now_s + _STOP_S)
            if now_s > deadline_s:
                return

    def report(self, source: Source, ahead: ReadAhead[_Ready], *, seconds: float) -> PublishReport:
        """What became of the run."""
        counts = self._deliveries
        last = self._cutter.last
        return PublishReport(
            camera=self._camera,
            run=self._run,
            source=source.describe(),
            grid=last.grid if last else None,
            reason=last.reason if last else "",
            frames_read=ahead.frames_read,
            frames_published=counts.frames_published,
            frames_failed=counts.frames_failed,
            frames_unknown=counts.frames_unknown,
            frames_dropped=counts.frames_dropped,
            tiles_acked=counts.tiles_acked,
            tiles_failed=counts.tiles_failed,
            tiles_unchanged=counts.tiles_unchanged,
            tiles_shed=counts.tiles_shed,
            bytes=counts.bytes_acked,
            seconds=seconds,
            stopped=self._stop.is_set(),
            problem=counts.problem or ahead.problem,
        )
