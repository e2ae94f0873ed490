"""What every live source is: frames until the camera is lost, and waits that end.

A `LiveSource` reads in the caller's thread, with waits of its own that can be interrupted. A `ThreadedSource` reads in
a thread, for libraries whose calls nobody can interrupt (FFmpeg, V4L2).
"""

from __future__ import annotations

import hashlib
import threading
import time
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from producers.sources.source import Source, require_size
from streamproc.errors import CameraLost, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamproc.model import Frame, Pixels

OPEN_TIMEOUT_S = 4.0
READ_TIMEOUT_S = 4.0
"""With both, a camera that is dead, stalled or half open is noticed within 5 s."""
KEY_FRAME_TIMEOUT_S = 15.0
"""Until the first frame that can be decoded, while packets keep coming: cameras send key frames seconds apart."""
_SLOTS = 2  # frames between the reading thread and the caller


class LiveSource(Source):
    """Frames of a camera while it lives.

    Iteration opens the camera. It ends by `CameraLost` when the camera is lost; it ends quietly after `interrupt` or
    `close`, and at the end of what has an end (a file behind a URL, standard input). Iterating again opens it anew.

    Attributes:
        open_timeout_s: From the start of the iteration to the first frame, at most.
        read_timeout_s: From one frame to the next, at most; what the caller does in between does not count. Both are
            infinite where silence is normal.
        longest_wait_s: No frame is waited for longer than that, whatever the reason.
        steady: Frames are expected all the time and no two are alike, as of a camera. False where silence and the very
            same picture again say nothing: a watched folder, standard input.
        bursts: Frames may come faster than real time, many at once (HLS, a film behind a URL): who uses them live gives
            them out by their capture times, which count the stream's own time.
    """

    steady: bool = True
    bursts: bool = False

    def __init__(
        self,
        name: str,
        *,
        max_pixels: int,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.open_timeout_s = open_timeout_s
        self.read_timeout_s = read_timeout_s
        self.longest_wait_s = max(open_timeout_s, read_timeout_s)
        self._max_pixels = max_pixels
        self._changed = threading.Condition()
        self._stopped = False

    def interrupt(self) -> None:
        """End the iteration under way, within 1 s, from any thread; later ones end before they open anything."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop and let go of the camera; harmless when repeated."""
        self.interrupt()

    def _is_stopped(self) -> bool:
        return self._stopped

    def _require_size(self, width: int, height: int) -> None:
        try:
            require_size(self.name, width, height, max_pixels=self._max_pixels)
        except SourceError as error:
            raise CameraLost("malformed", str(error)) from None

    def _no_frame(self, *, answered: bool, seconds: float) -> CameraLost:
        if answered:
            return CameraLost("stalled", f"{self.name} answers but gave no frame for {seconds:g} s: look at the camera")
        return CameraLost(
            "timeout", f"{self.name} did not answer within {seconds:g} s: check that it is on and can be reached"
        )


class SameForm:
    """Holds all frames of one opening to the size and the number of channels of the first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._form: tuple[int, ...] | None = None

    @property
    def known(self) -> bool:
        """There was a frame."""
        return self._form is not None

    def require(self, pixels: Pixels) -> None:
        """Let `pixels` pass.

        Raises:
            CameraLost: `changed`, they differ from those of the first frame in size or channels.
        """
        if self._form is None:
            self._form = pixels.shape
        if pixels.shape != self._form:
            raise CameraLost(
                "changed", f"{self._name} changed from {_form_of(self._form)} to {_form_of(pixels.shape)}: open it anew"
            )


def _form_of(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} px {'grey' if len(shape) == 2 else 'colour'}"


class _Handover:
    """Between the reading thread and the caller: a few frames, then the end. Guarded by the source's condition."""

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.answered = False
        self.heard_s: float | None = None  # when the camera sent anything, a packet that gave no frame, too
        self.ended = False
        self.error: BaseException | None = None
        self.unwanted = False  # the caller is gone


class ThreadedSource(LiveSource):
    """A live source read by a thread of its own, which may hang in a library; the caller never does.

    A thread that hangs after the caller left ends by the library's own time limit. As long as it does, the same camera
    is not opened again, so no more than one such thread is left for each camera.
    """

    # By digest of the identity, which may hold a password; shared by all on purpose; guarded by the lock.
    _hanging: dict[bytes, threading.Thread] = {}  # noqa: RUF012 - see above
    _hanging_lock = threading.Lock()

    @abstractmethod
    def _read(self, handover: _Handover) -> Iterator[Frame]:
        """Open and read, in the thread; call `_answered(handover)` once the camera is open.

        Raises:
            CameraLost: As for the iteration.
        """

    def _identity(self) -> str:
        """What tells this camera from all others; never shown, for it may hold a password."""
        return self.name

    def _key(self) -> bytes:
        return hashlib.sha256(self._identity().encode()).digest()

    def _answered(self, handover: _Handover) -> None:
        with self._changed:
            handover.answered = True

    def _deadline_s(self, handover: _Handover, started_s: float, limit_s: float) -> float:
        """Until when a frame is waited for; later while the camera sends what cannot be decoded yet."""
        deadline_s = started_s + limit_s
        if handover.heard_s is None:
            return deadline_s
        return min(max(deadline_s, handover.heard_s + self.read_timeout_s), started_s + self.longest_wait_s)

    def __iter__(self) -> Iterator[Frame]:
        if self._stopped:
            return
        started_s = time.monotonic()
        self._await_earlier(started_s + self.open_timeout_s)
        handover = _Handover()
        thread = threading.Thread(target=self._run, args=(handover,), name="camera", daemon=True)
        thread.start()
        try:
            limit_s = self.open_timeout_s
            while (frame := self._take(handover, started_s, limit_s)) is not None:
                yield frame
                started_s, limit_s = time.monotonic(), self.read_timeout_s
        finally:
            self._leave(handover, thread)

    def _take(self, handover: _Handover, started_s: float, limit_s: float) -> Frame | None:
        with self._changed:
            while not (handover.frames or handover.ended or self._stopped):
                now_s = time.monotonic()
                left_s = self._deadline_s(handover, started_s, limit_s) - now_s
                if left_s <= 0:
                    raise self._no_frame(answered=handover.answered, seconds=round(now_s - started_s, 1))
                self._changed.wait(left_s)
            if self._stopped:
                return None
            if handover.frames:
                frame = handover.frames.popleft()
                self._changed.notify_all()
                return frame
            if handover.error is not None:
                raise handover.error
            return None

    def _leave(self, handover: _Handover, thread: threading.Thread) -> None:
        with self._changed:
            handover.unwanted = True
            self._changed.notify_all()
        with self._hanging_lock:
            for key in [key for key, hanging in self._hanging.items() if not hanging.is_alive()]:
                del self._hanging[key]
            if thread.is_alive():
                self._hanging[self._key()] = thread

    def _await_earlier(self, deadline_s: float) -> None:
        with self._hanging_lock:
            earlier = self._hanging.get(self._key())
        while earlier is not None and earlier.is_alive():
            if self._stopped:
                return
            if time.monotonic() >= deadline_s:
                raise CameraLost("timeout", f"{self.name} still hangs in an earlier try: it is opened when that ends")
            earlier.join(0.1)

    def _run(self, handover: _Handover) -> None:
        error: BaseException | None = None
        try:
            frames = self._read(handover)
            try:
                for frame in frames:
                    if not self._give(handover, frame):
                        break
            finally:
                close = getattr(frames, "close", None)
                if close is not None:
                    close()
        except BaseException as caught:  # noqa: BLE001 - raised again in the caller's thread
            error = caught
        with self._changed:
            handover.error = error
            handover.ended = True
            self._changed.notify_all()

    def _give(self, handover: _Handover, frame: Frame) -> bool:
        with self._changed:
            while len(handover.frames) >= _SLOTS and not (handover.unwanted or self._stopped):
                self._changed.wait()
            handover.frames.append(frame)
            self._changed.notify_all()
            return not (handover.unwanted or self._stopped)

    def _unwanted(self, handover: _Handover) -> bool:
        return handover.unwanted or self._stopped
