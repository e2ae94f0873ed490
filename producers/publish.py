"""One source into Kafka: read, cut, send, and count what the broker acknowledged.

A frame counts as published when every one of its tiles was acknowledged. Whatever ends a run early -
Ctrl-C, a film cut short, a broker gone - what was sent is flushed (bounded in time) and reported.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from producers.cutting import Cutter, EncodedFrame
from producers.deliveries import Deliveries
from producers.pacing import Fps, Pacer, PreviewChoice, frames_a_second
from producers.readahead import ReadAhead
from producers.runs import PublishReport, new_run, require_name
from streamproc.errors import DeliveryError, StreamprocError
from streamproc.metrics import Metrics
from streamproc.model import Codec, Frame, FrameKey, Grid, TileHeader
from streamproc.publisher import Publisher
from streamproc.topics import Topics, tile_key, tile_partition
from streamproc.wire import Headers, tile_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from producers.sources.source import Notice, Source
    from streamproc.settings import Settings

__all__ = ["PublishReport", "Sender", "new_run", "publish", "require_name"]

log = logging.getLogger(__name__)

_STOP_S = 10.0  # longest flush after Ctrl-C or a failure
_SLICE_S = 0.2  # of waiting, between looks at `stop`
_ENCODE_THREADS = 2


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
    pipeline_halo: int = 0,
    sender: Sender | None = None,
    metrics: Metrics | None = None,
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
        limit: At most so many frames.
        pipeline_halo: Pixels around a tile that the pipeline's operators need.
        sender: Where records go, not closed; None is a Publisher of its own.
        metrics: Counts frames and bytes there too; None keeps a registry nobody sees.
        stop: Set it to end the run: no more is read, what was read is sent and flushed.
        on_progress: Told the number of frames sent so far.
        on_frame: Told the tile headers and the frame when its tiles were handed over (not yet acknowledged).
        notice: Told in one line which grid is used and why; logged if None.

    Returns:
        Counts, and what ended the run early: call `raise_for_problem`.

    Raises:
        UsageError: A bad camera or run name.
    """
    require_name("camera", camera)
    run = new_run() if run is None else require_name("run", run)
    cutter = Cutter(
        settings,
        codec=codec,
        grid=grid,
        pipeline_halo=pipeline_halo,
        partitions=partitions,
        notice=notice or log.info,
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
        deliveries=Deliveries(metrics or Metrics(), camera=camera),
        stop=stop or threading.Event(),
    )
    started_s = time.monotonic()
    ahead = publication.read_ahead(source, fps=fps, limit=limit)
    try:
        publication.send_all(ahead, on_progress=on_progress, on_frame=on_frame)
    finally:
        if own is not None:
            own.close(timeout_s=0)
        publication.give_up()
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
        self._aborted = False

    def send_all(
        self,
        ahead: ReadAhead,
        *,
        on_progress: Callable[[int], None] | None,
        on_frame: Callable[[Sequence[TileHeader], Frame], None] | None,
    ) -> None:
        """Send what is read until it ends or a tile fails, then wait for the reports."""
        with ahead:
            try:
                for sent, (frame, encoded) in enumerate(ahead, start=1):
                    if not self._send(encoded):
                        break
                    if on_frame is not None:
                        on_frame([header for header, _ in encoded.tiles], frame)
                    if on_progress is not None:
                        on_progress(sent)
            except BaseException:
                self._aborted = True  # wakes a reader that waits for its next frame
                raise
        self._flush()

    def give_up(self) -> None:
        """Count what was not acknowledged by now as failed."""
        self._deliveries.give_up(f"topic {self._topic}: records were not acknowledged when the run ended")

    def read_ahead(self, source: Source, *, fps: Fps, limit: int | None) -> ReadAhead:
        """Reader of a source for this run, not started."""
        rate = frames_a_second(fps, source.fps)
        previews = PreviewChoice(self._settings.preview_per_s, stream_fps=source.fps if rate is None else None)

        def wait(seconds: float) -> bool:
            until_s = time.monotonic() + seconds
            while not (ending := self._ending()) and (left_s := until_s - time.monotonic()) > 0:
                self._stop.wait(min(left_s, _SLICE_S))
            return ending

        def prepare(frame: Frame, sequence: int) -> bool:
            self._cutter.prepare(frame)
            return previews.chosen(sequence, frame.captured_ns)

        def encode(frame: Frame, sequence: int, preview: bool) -> EncodedFrame:
            return self._cutter.encode(frame, FrameKey(self._camera, self._run, sequence), preview=preview)

        return ReadAhead(
            source,
            encode=encode,
            prepare=prepare,
            pacer=Pacer(rate, now_s=time.monotonic, wait=wait),
            limit=limit,
            stop=self._ending,
            threads=_ENCODE_THREADS,
            bound_bytes=self._settings.producer_queue_bytes,
        )

    def _ending(self) -> bool:
        return self._stop.is_set() or self._aborted or self._deliveries.problem is not None

    def _send(self, encoded: EncodedFrame) -> bool:
        """Hand all tiles of a frame over; False when the run has to end."""
        sequence = encoded.key.sequence
        if self._deliveries.problem is not None:
            return False
        self._deliveries.expect(sequence, len(encoded.tiles))
        for index, (header, payload) in enumerate(encoded.tiles):
            try:
                self._wait_for_room(len(payload))
                self._sender.send(
                    topic=self._topic,
                    partition=tile_partition(self._camera, index, self._partitions),
                    key=tile_key(header),
                    value=payload,
                    headers=tile_headers(header),
                    on_delivery=self._reporter(sequence, len(payload)),
                    timeout_s=self._settings.delivery_timeout_s,
                )
            except StreamprocError as error:
                self._deliveries.refuse(sequence, len(encoded.tiles) - index, error)
                return False
        return True

    def _reporter(self, sequence: int, size: int) -> Callable[[Exception | None, int | None], None]:
        def report(error: Exception | None, _offset: int | None) -> None:
            self._deliveries.report(sequence, size, error)

        return report

    def _wait_for_room(self, size: int) -> None:
        """Wait here rather than in the sender, so that Ctrl-C and a failure are seen.

        Raises:
            DeliveryError: No room in time, or the run is ending.
        """
        deadline_s = time.monotonic() + self._settings.delivery_timeout_s
        while (queued := self._sender.queued_bytes) and queued + size > self._settings.producer_queue_bytes:
            now_s = time.monotonic()
            if self._stop.is_set():
                deadline_s = min(deadline_s, now_s + _STOP_S)
            if now_s > deadline_s or self._deliveries.problem is not None:
                raise DeliveryError(f"topic {self._topic}: the queue of unsent records stayed full; is the broker up?")
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

    def report(self, source: Source, ahead: ReadAhead, *, seconds: float) -> PublishReport:
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
            frames_failed=ahead.frames_read - counts.frames_published,
            tiles_acked=counts.tiles_acked,
            tiles_failed=counts.tiles_failed,
            bytes=counts.bytes_acked,
            seconds=seconds,
            stopped=self._stop.is_set(),
            problem=counts.problem or ahead.problem,
        )
