"""Reading and encoding ahead of sending, in order, bounded in frames and bytes.

One thread reads (paced), a small pool encodes (OpenCV lets go of the interpreter lock), the caller's thread
sends.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from streamproc.errors import StreamprocError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from producers.cutting import EncodedFrame
    from producers.pacing import Pacer
    from producers.sources.source import Source
    from streamproc.model import Frame

_WAIT_S = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Ahead:
    frame: Frame
    encoded: Future[EncodedFrame]


class ReadAhead:
    """Frames of a source with their tiles, in the order they were read.

    Use as a context manager, iterate once.

    Args:
        source: Read on a thread of its own.
        encode: Frame and sequence to tiles; called in the pool.
        prepare: Called on the reading thread for each frame before it is encoded, in order.
        pacer: Asked before each frame is read.
        limit: Read at most so many frames; None reads all.
        stop: No further frame is read once this is true; what was read is still given.
        threads: Of the pool.
        bound_bytes: Pixels read and not yet taken, unless a single frame has more.

    Attributes:
        frames_read: So far.
        problem: Why reading or encoding ended early; set before iteration ends.
    """

    def __init__(
        self,
        source: Source,
        *,
        encode: Callable[[Frame, int, bool], EncodedFrame],
        prepare: Callable[[Frame, int], bool],
        pacer: Pacer,
        limit: int | None,
        stop: Callable[[], bool],
        threads: int,
        bound_bytes: int,
    ) -> None:
        self._source = source
        self._encode = encode
        self._prepare = prepare
        self._pacer = pacer
        self._limit = limit
        self._stop = stop
        self._bound_bytes = bound_bytes
        self._most_frames = 2 * threads + 2
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="encode")
        self._queue: queue.SimpleQueue[_Ahead | None] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._frames_ahead = 0
        self._bytes_ahead = 0
        self._closed = False
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
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._thread.join()
        self._pool.shutdown(wait=True)

    def __iter__(self) -> Iterator[tuple[Frame, EncodedFrame]]:
        while (ahead := self._queue.get()) is not None:
            try:
                encoded = ahead.encoded.result()
            except StreamprocError as error:
                self.problem = error
                return
            yield ahead.frame, encoded
            with self._room:
                self._frames_ahead -= 1
                self._bytes_ahead -= ahead.frame.pixels.nbytes
                self._room.notify()
        if self._surprise is not None:
            raise self._surprise

    def _read(self) -> None:
        try:
            self._read_all()
        except StreamprocError as error:
            self.problem = error
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            self._surprise = error
        finally:
            self._queue.put(None)

    def _read_all(self) -> None:
        frames = iter(self._source)
        while self.frames_read != self._limit and self._pacer.wait_for_next() and not self._ended():
            frame = next(frames, None)
            if frame is None:
                return
            if not self._take_room(frame.pixels.nbytes):
                return
            sequence = self.frames_read
            self.frames_read += 1
            preview = self._prepare(frame, sequence)
            self._queue.put(_Ahead(frame, self._pool.submit(self._encode, frame, sequence, preview)))

    def _ended(self) -> bool:
        return self._closed or self._stop()

    def _take_room(self, size: int) -> bool:
        with self._room:
            while self._frames_ahead and (
                self._frames_ahead >= self._most_frames or self._bytes_ahead + size > self._bound_bytes
            ):
                if self._ended():
                    return False
                self._room.wait(_WAIT_S)
            self._frames_ahead += 1
            self._bytes_ahead += size
            return True
