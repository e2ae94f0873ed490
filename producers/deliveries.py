"""What became of each frame: delivery reports counted until it is published or failed, and those never sent.

Each frame that was read ends here once: in the counters, in the metrics, and in the ledger if there is one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from streamproc.errors import DeliveryError, LedgerError, RecordRefused, StreamprocError
from streamproc.ledger import FrameLine, LedgerWriter, Unsent
from streamproc.metrics import Metrics
from streamproc.model import Frame, FrameKey

log = logging.getLogger(__name__)

SELDOM_S = 10.0  # between two log lines on dropped frames
THINNED = "fps"
"""The reason of frames that were dropped because fewer are wanted."""
LOAD = "load"
"""The reason of tiles that were sent as they were before, because there was no room for all."""
_Receipts: TypeAlias = "list[tuple[Callable[[bool], None], bool]]"


@dataclass(frozen=True, slots=True)
class Saved:
    """What of a frame was not sent again.

    Attributes:
        unchanged: Tiles that were sent as references.
        held: Of those, tiles that have changed, and for which there was no room.
    """

    unchanged: int = 0
    held: int = 0


@dataclass(slots=True)
class _Open:
    key: FrameKey
    waiting: int
    saved: Saved = Saved()
    receipt: Callable[[bool], None] | None = None
    problem: Exception | None = None  # the first that a tile met
    refused: bool = False  # a tile can never reach the log
    since_s: float = 0.0


class Deliveries:
    """Counts reports; called from the reading, the sending and the polling thread.

    A frame is published when all its tiles were acknowledged, dropped when a policy let it go; otherwise it failed.
    Its receipt is told when that is known.

    Args:
        metrics: Counts there too.
        camera: Name of the camera.
        run: Name of the run.
        ledger: Told of each frame; None keeps none.
        now_s: A monotonic clock, for log lines that come seldom.

    Attributes:
        frames_published, frames_failed, frames_dropped, tiles_acked, tiles_failed: Counts so far.
        frames_unknown: Of the failed frames, those that may stand in the log.
        tiles_unchanged, tiles_shed: Of acknowledged frames, as `Saved` has them.
        bytes_acked: Of acknowledged tiles' pictures.
        problem: The first error, None as long as all is well.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        camera: str,
        run: str,
        ledger: LedgerWriter | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = metrics.camera(camera)
        self._metrics = metrics
        self._published = metrics.frames_published.labels(self._label)
        self._failed = metrics.frames_failed.labels(self._label)
        self._bytes = metrics.published_bytes.labels(self._label)
        self._tiles = metrics.tiles_published.labels(self._label)
        metrics.frames_dropped.expect(self._label)
        metrics.tiles_unchanged.labels(self._label)
        metrics.tiles_shed.expect(self._label)
        self._camera, self._run, self._ledger, self._now_s = camera, run, ledger, now_s
        self._lock = threading.Lock()
        self._receipts: _Receipts = []
        self._open: dict[int, _Open] = {}
        self._untold = 0
        self._tell_next_s: float | None = None
        self.frames_published = 0
        self.frames_failed = 0
        self.frames_unknown = 0
        self.frames_dropped = 0
        self.tiles_acked = 0
        self.tiles_failed = 0
        self.tiles_unchanged = 0
        self.tiles_shed = 0
        self.bytes_acked = 0
        self.problem: StreamprocError | None = None

    def expect(
        self,
        key: FrameKey,
        tiles: int,
        line: FrameLine | None = None,
        *,
        saved: Saved = Saved(),
        receipt: Callable[[bool], None] | None = None,
    ) -> None:
        """A frame of so many tiles is about to be sent; `line` goes into the ledger before that.

        Raises:
            LedgerError: It cannot be written: the frame must not be sent.
        """
        if self._ledger is not None and line is not None:
            self._ledger.frame(line)
        with self._lock:
            self._open[key.sequence] = _Open(key, waiting=tiles, saved=saved, receipt=receipt, since_s=self._now_s())

    def report(self, sequence: int, size: int, error: Exception | None) -> None:
        """One tile was acknowledged, or not."""
        with self._telling():
            self._count(sequence, size=size, tiles=1, error=error)

    def refuse(self, sequence: int, tiles: int, error: Exception) -> None:
        """So many tiles of a frame were not even sent, nor ever will be."""
        with self._telling():
            if (frame := self._open.get(sequence)) is not None:
                frame.refused = True
            self._count(sequence, size=0, tiles=tiles, error=error)

    def give_up(self, reason: str) -> None:
        """No more reports will come: frames still open have failed."""
        with self._telling():
            for sequence in list(self._open):
                self._count(sequence, size=0, tiles=self._open[sequence].waiting, error=DeliveryError(reason))

    def unsent(self, frame: Frame, error: Exception) -> None:
        """A frame that was read will not be sent, because the run ends by this error."""
        with self._telling():
            self._blame(error)
            self.frames_failed += 1
            self._failed.inc()
            self._unsent(frame, "failed", str(error))

    def spoil(self, frame: Frame, error: Exception) -> None:
        """A frame that was read cannot be cut or encoded; the run goes on without it."""
        with self._telling():
            self.frames_failed += 1
            self._failed.inc()
            self._unsent(frame, "failed", str(error))

    def thin(self, frame: Frame) -> None:
        """A frame was let go because fewer a second are wanted than the source gives."""
        with self._telling():
            self.frames_dropped += 1
            self._metrics.frames_dropped.labels(self._label, THINNED).inc()
            self._unsent(frame, "dropped", THINNED)

    @property
    def settled(self) -> bool:
        """No frame waits for reports."""
        return not self._open

    def drop(self, frame: Frame, policy: str) -> None:
        """A frame was let go by a policy; logged, though seldom."""
        with self._telling():
            self.frames_dropped += 1
            self._metrics.frames_dropped.labels(self._label, policy).inc()
            self._unsent(frame, "dropped", policy)
            self._untold += 1
            now_s = self._now_s()
            if self._tell_next_s is not None and now_s < self._tell_next_s:
                return
            untold, self._untold, self._tell_next_s = self._untold, 0, now_s + SELDOM_S
        log.warning(
            "camera %s: %d %s dropped (%s, %d in all), because the broker takes less than the source gives:"
            " is it up? else lower --fps or send smaller frames",
            self._camera,
            untold,
            "frame" if untold == 1 else "frames",
            policy,
            self.frames_dropped,
            extra={"camera": self._camera, "reason": policy, "records": untold},
        )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Hold the lock; tell receipts when it is free again, for they are not ours."""
        with self._lock:
            yield
            receipts, self._receipts = self._receipts, []
        for receipt, published in receipts:
            receipt(published)

    def _unsent(self, frame: Frame, status: Unsent, reason: str) -> None:
        """A frame ends without having been sent."""
        if frame.receipt is not None:
            self._receipts.append((frame.receipt, False))
        captured_ns = frame.captured_ns
        if self._ledger is not None:
            try:
                self._ledger.unsent(self._camera, self._run, captured_ns=captured_ns, status=status, reason=reason)
            except LedgerError as error:
                self._blame(error)

    def _count(self, sequence: int, *, size: int, tiles: int, error: Exception | None) -> None:
        frame = self._open.get(sequence)
        if frame is None:  # a report after give_up
            return
        frame.waiting -= tiles
        if error is None:
            self.tiles_acked += tiles
            self.bytes_acked += size
            self._bytes.inc(size)
            self._tiles.inc(tiles)
        else:
            self.tiles_failed += tiles
            frame.problem = frame.problem or error
            frame.refused = frame.refused or isinstance(error, RecordRefused)
            self._blame(error)
        if frame.waiting <= 0:
            del self._open[sequence]
            self._close(frame)

    def _count_saved(self, saved: Saved) -> None:
        self.tiles_unchanged += saved.unchanged
        self.tiles_shed += saved.held
        if saved.unchanged:
            self._metrics.tiles_unchanged.labels(self._label).inc(saved.unchanged)
        if saved.held:
            self._metrics.tiles_shed.labels(self._label, LOAD).inc(saved.held)

    def _close(self, frame: _Open) -> None:
        if frame.receipt is not None:
            self._receipts.append((frame.receipt, frame.problem is None))
        if frame.problem is None:
            self.frames_published += 1
            self._published.inc()
            self._metrics.publish_seconds.observe(self._now_s() - frame.since_s)
            self._count_saved(frame.saved)
        else:
            self.frames_failed += 1
            self._failed.inc()
            self.frames_unknown += not frame.refused
        if self._ledger is not None:
            try:
                if frame.problem is None:
                    self._ledger.status(frame.key, "acked")
                else:
                    self._ledger.status(frame.key, "failed" if frame.refused else "unknown", str(frame.problem))
            except LedgerError as error:
                self._blame(error)

    def _blame(self, error: Exception) -> None:
        if self.problem is None:
            self.problem = error if isinstance(error, StreamprocError) else DeliveryError(str(error))
