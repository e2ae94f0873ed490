"""What became of each frame's tiles: delivery reports counted until every frame is published or failed."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from streamproc.errors import DeliveryError, StreamprocError
from streamproc.metrics import Metrics


@dataclass(slots=True)
class _Open:
    waiting: int
    failed: int = 0


class Deliveries:
    """Counts reports; called from the sending and from the polling thread.

    A frame is published when all its tiles were acknowledged; otherwise it failed.

    Attributes:
        frames_published, frames_failed, tiles_acked, tiles_failed: Counts so far.
        bytes_acked: Of acknowledged tiles' pictures.
        problem: The first error, None as long as all is well.
    """

    def __init__(self, metrics: Metrics, *, camera: str) -> None:
        label = metrics.camera(camera)
        self._published = metrics.frames_published.labels(label)
        self._failed = metrics.frames_failed.labels(label)
        self._bytes = metrics.published_bytes.labels(label)
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}
        self.frames_published = 0
        self.frames_failed = 0
        self.tiles_acked = 0
        self.tiles_failed = 0
        self.bytes_acked = 0
        self.problem: StreamprocError | None = None

    def expect(self, sequence: int, tiles: int) -> None:
        """A frame of so many tiles is about to be sent."""
        with self._lock:
            self._open[sequence] = _Open(waiting=tiles)

    def report(self, sequence: int, size: int, error: Exception | None) -> None:
        """One tile was acknowledged, or not."""
        with self._lock:
            self._count(sequence, size=size, tiles=1, error=error)

    def refuse(self, sequence: int, tiles: int, error: Exception) -> None:
        """So many tiles of a frame could not even be sent."""
        with self._lock:
            self._count(sequence, size=0, tiles=tiles, error=error)

    def give_up(self, reason: str) -> None:
        """No more reports will come: frames still open have failed."""
        with self._lock:
            for sequence in list(self._open):
                self._count(sequence, size=0, tiles=self._open[sequence].waiting, error=DeliveryError(reason))

    def _count(self, sequence: int, *, size: int, tiles: int, error: Exception | None) -> None:
        frame = self._open.get(sequence)
        if frame is None:  # a report after give_up
            return
        frame.waiting -= tiles
        if error is None:
            self.tiles_acked += tiles
            self.bytes_acked += size
            self._bytes.inc(size)
        else:
            self.tiles_failed += tiles
            frame.failed += tiles
            if self.problem is None:
                self.problem = error if isinstance(error, StreamprocError) else DeliveryError(str(error))
        if frame.waiting <= 0:
            del self._open[sequence]
            if frame.failed:
                self.frames_failed += 1
                self._failed.inc()
            else:
                self.frames_published += 1
                self._published.inc()
