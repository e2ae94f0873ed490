"""Reading and encoding ahead of sending, in order, bounded in bytes.

One thread reads (paced), a small pool encodes (OpenCV lets go of the interpreter lock), the caller's thread
sends. A frame waits without a number, and may be dropped, until it is called to be encoded. A few are called at a
time; only one while records pile up, so that a stall numbers no frame before it must and encodes none in vain.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from producers.waiting import WaitingRoom, cost
from streamproc.errors import StreamprocError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from producers.pacing import Pacer
    from producers.sources.source import Source
    from streamproc.model import Frame

_T = TypeVar("_T")
_WAIT_S = 0.1


@dataclass(slots=True, eq=False)
class _Called(Generic[_T]):
    frame: Frame
    encoded: Future[_T]
    counts_bytes: int  # in the room, not yet handed over


class ReadAhead(Generic[_T]):
    """Frames of a source, encoded, in the order they were read.

    Use as a context manager, iterate once. A frame that was given is the caller's to account for.

    Args:
        source: Read on a thread of its own.
        room: Where frames wait for their number.
        prepare: Called on the reading thread for each frame, in order, dropped ones too.
        choose: Frame and sequence to whether it gets a preview; called for each number, in order.
        encode: Frame, sequence and preview to what is sent; called in the pool.
        dropped: Told of each frame that the room let go.
        queued_bytes: Of records that wait to be sent; counts in the room.
        enough_bytes: With so many queued, frames are called one at a time.
        pacer: Asked before each frame is read.
        limit: Read at most so many frames; None reads all.
        stop: No further frame is read once this is true; what was read is still given.
        threads: Of the pool.

    Attributes:
        frames_read: So far.
        problem: Why reading or encoding ended early; set before iteration ends.
    """

    def __init__(
        self,
        source: Source,
        *,
        room: WaitingRoom,
        prepare: Callable[[Frame], object],
        choose: Callable[[Frame, int], bool],
        encode: Callable[[Frame, int, bool], _T],
        dropped: Callable[[Frame], None],
        queued_bytes: Callable[[], int],
        enough_bytes: int,
        pacer: Pacer,
        limit: int | None,
        stop: Callable[[], bool],
        threads: int,
    ) -> None:
        self._source, self._room, self._pacer, self._limit, self._stop = source, room, pacer, limit, stop
        self._prepare, self._choose, self._encode = prepare, choose, encode
        self._dropped, self._queued_bytes, self._enough_bytes = dropped, queued_bytes, enough_bytes
        self._most_called = 2 * threads
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="encode")
        self._changed = threading.Condition()  # guards the room and all below
        self._called: deque[_Called[_T]] = deque()
        self._given: _Called[_T] | None = None
        self._numbered = 0
        self._closed = False
        self._read_all = False
        self._unplaced: Frame | None = None
        self._unencoded: Frame | None = None
        self._thread = threading.Thread(target=self._read, name="read", daemon=True)
        self._surprise: BaseException | None = None
        self.frames_read = 0
        self.problem: StreamprocError | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._thread.join()
        self._pool.shutdown(wait=True)

    @property
    def held_bytes(self) -> int:
        """Of frames read and not yet handed over."""
        return self._room.held_bytes

    def __iter__(self) -> Iterator[tuple[Frame, _T]]:
        while (called := self._next()) is not None:
            self._unencoded = called.frame
            try:
                encoded = called.encoded.result()
            except StreamprocError as error:
                self.problem = error
                return
            self._unencoded, self._given = None, called
            yield called.frame, encoded
            with self._changed:
                self._room.leave(called.counts_bytes)
                self._given = None
                self._call()
        if self._surprise is not None:
            raise self._surprise

    def handed_over(self, size: int) -> None:
        """So many bytes of the frame given last are counted in `queued_bytes` by now."""
        with self._changed:
            if self._given is not None:
                size = min(size, self._given.counts_bytes)
                self._given.counts_bytes -= size
                self._room.shrink(size)

    def unsent(self) -> list[Frame]:
        """Frames that were read and neither given nor dropped, in order; to be asked after the `with` block."""
        with self._changed:
            singles = [self._unencoded, *(called.frame for called in self._called)]
            left = [*singles, *self._room.clear(), self._unplaced]
            self._called.clear()
            self._unencoded = self._unplaced = None
        return [frame for frame in left if frame is not None]

    def _next(self) -> _Called[_T] | None:
        with self._changed:
            while not self._called:  # none is called, so none waits either
                if self._read_all:
                    return None
                self._changed.wait()
            return self._called.popleft()

    def _call(self) -> None:
        """Give numbers to those that wait longest, and have them encoded."""
        most = self._most_called if self._queued_bytes() < self._enough_bytes else 1
        while len(self._called) + (self._given is not None) < most and not self._closed:
            if (frame := self._room.call()) is None:
                break
            preview = self._choose(frame, self._numbered)
            encoded = self._pool.submit(self._encode, frame, self._numbered, preview)
            self._called.append(_Called(frame, encoded, cost(frame)))
            self._numbered += 1
        self._changed.notify_all()

    def _read(self) -> None:
        try:
            self._read_on()
        except StreamprocError as error:
            self.problem = error
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            self._surprise = error
        finally:
            with self._changed:
                self._read_all = True
                self._changed.notify_all()

    def _read_on(self) -> None:
        frames = iter(self._source)
        while self.frames_read != self._limit and self._pacer.wait_for_next() and not (self._closed or self._stop()):
            frame = next(frames, None)
            if frame is None:
                return
            self.frames_read += 1
            self._unplaced = frame
            self._prepare(frame)
            if not self._place(frame):
                return
            self._unplaced = None

    def _place(self, frame: Frame) -> bool:
        """Into the room, or past it by its policy; False when closed while it waited for room."""
        with self._changed:
            offer = self._room.offer(frame, queued_bytes=self._queued_bytes())
            while not (offer.taken or offer.dropped):
                if self._closed:
                    return False
                self._changed.wait(_WAIT_S)
                offer = self._room.offer(frame, queued_bytes=self._queued_bytes())
            self._call()
        for gone in offer.dropped:
            self._dropped(gone)
        return True
