"""The traces of one producer's frames, from the first tile handed over to the last report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamproc.model import TileHeader
from streamproc.tracing.frames import SentFrame, sent_spans
from streamproc.tracing.spans import Tracer, send_context
from streamproc.wire import trace_id


@dataclass(slots=True)
class _Open:
    sent: SentFrame
    waiting: int
    acked: int = 0
    problem: str | None = None


class FrameTraces:
    """Decides which frames of a run are traced, and ends their spans when all their tiles have been reported.

    For any number of threads. As many frames are open as have records on their way.

    Args:
        tracer: Where spans go; None: no frame is traced.
        topic: Where tiles go.
        now_ns: Wall clock, nanoseconds since 1970.
    """

    def __init__(self, tracer: Tracer | None, *, topic: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._tracer, self._topic, self._now_ns = tracer, topic, now_ns
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}

    def begin(self, tiles: Sequence[tuple[TileHeader, bytes]], *, encode_ns: tuple[int, int]) -> bytes | None:
        """A frame's tiles are about to be sent; what their `traceparent` is to be, None if it is not traced.

        Args:
            tiles: Header and encoded picture of each.
            encode_ns: When encoding began and ended, wall clock.
        """
        header = tiles[0][0]
        if self._tracer is None or not self._tracer.chooses(trace_id(header.key)):
            return None
        sent = SentFrame(
            header=header,
            topic=self._topic,
            tiles=len(tiles),
            size=sum(len(payload) for _, payload in tiles),
            unchanged=sum(one.same_as is not None for one, _ in tiles),
            encode_ns=encode_ns,
            send_ns=self._now_ns(),
        )
        with self._lock:
            self._open[header.sequence] = _Open(sent, waiting=len(tiles))
        return send_context(header.key).header

    def report(self, sequence: int, error: Exception | None, *, tiles: int = 1) -> None:
        """So many tiles of a frame were acknowledged, or not, or could not be sent."""
        if self._tracer is None:
            return
        with self._lock:
            frame = self._open.get(sequence)
            if frame is None:  # not traced, or given up
                return
            frame.waiting -= tiles
            if error is None:
                frame.acked += tiles
            elif frame.problem is None:
                frame.problem = str(error)
            if frame.waiting > 0:
                return
            del self._open[sequence]
        self._end(frame)

    def give_up(self) -> None:
        """No more reports will come: what is open ends as it is."""
        with self._lock:
            left, self._open = list(self._open.values()), {}
        for frame in left:
            frame.problem = frame.problem or f"{frame.waiting} tiles were not acknowledged when the run ended"
            self._end(frame)

    def _end(self, frame: _Open) -> None:
        assert self._tracer is not None  # noqa: S101 - a frame is open only where it is traced
        ended_ns = self._now_ns()
        for span in sent_spans(frame.sent, acked=frame.acked, ended_ns=ended_ns, problem=frame.problem):
            self._tracer.end(span)
