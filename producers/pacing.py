"""When the next frame is due, and which frames get preview pictures. Clocks come in as arguments."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

from streamproc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.model import Frame

Fps: TypeAlias = float | Literal["max", "source"]
"""Frames a second; as fast as possible; or the source's own speed (as fast as possible if it has none)."""

_CATCH_UP_S = 1.0  # a stall longer than this is not made good by a burst
_MAX_FPS = 10_000.0


def parse_fps(text: str) -> Fps:
    """A number, `max` or `source`.

    Raises:
        UsageError: Anything else.
    """
    if text == "max":
        return "max"
    if text == "source":
        return "source"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MAX_FPS:
        raise UsageError(f"--fps {text!r}: give a number above 0 and up to {_MAX_FPS:g}, max, or source")
    return value


def frames_a_second(fps: Fps, source_fps: float | None) -> float | None:
    """What `fps` means for a source; None is as fast as possible."""
    if fps == "max":
        return None
    return source_fps if fps == "source" else fps


class Pacer:
    """Lets frames go at an even rate.

    Args:
        fps: Frames a second; None never waits.
        now_s: A monotonic clock.
        wait: Sleeps for so many seconds, and says True when it was asked to stop meanwhile.
    """

    def __init__(self, fps: float | None, *, now_s: Callable[[], float], wait: Callable[[float], bool]) -> None:
        self._interval_s = 1 / fps if fps else 0.0
        self._now_s = now_s
        self._wait = wait
        self._first_s: float | None = None
        self._count = 0

    def wait_for_next(self) -> bool:
        """Wait until the next frame is due; False when asked to stop."""
        now_s = self._now_s()
        if self._first_s is None:
            self._first_s = now_s
        due_s = self._first_s + self._count * self._interval_s
        if now_s - due_s > _CATCH_UP_S:
            self._first_s += now_s - due_s
            due_s = now_s
        self._count += 1
        return not self._wait(max(0.0, due_s - now_s))


_FASTER = 1.2  # at most so much faster than its own times, to make good what a stall cost
_DRIFT = 2e-4  # we run ahead of the source's times by that: two quartz clocks differ by less
_WINDOW_S = 60.0
_WINDOWS = 3  # lateness that each of so many reached, and that did not shrink by _GAIN_S, is the source's own
_GAIN_S = 1.0
_LONGEST_STEP_S = 10.0  # between frames; what is longer, or goes back, is a jump of the source's times
_USUAL_S = 1 / 25  # between frames, as long as no step was seen
_SHORTEST_USUAL_S = 1 / 120
_SMOOTHING = 16  # steps that the usual one is a mean of


class StreamPacer:
    """Lets frames of a source that comes in bursts (HLS, films over HTTP) go at the pace of its own times.

    What a stall cost is made good slowly, so that no burst follows it and delays do not add up; at the end of a live
    stream frames go as they come. Times that jump, repeat or go back, or that the source does not give, never hold a
    frame for longer than the usual time between frames, and never let all go at once.

    Args:
        now_s: A monotonic clock.
        wait: Sleeps for so many seconds, and says True when it was asked to stop meanwhile.
    """

    def __init__(self, *, now_s: Callable[[], float], wait: Callable[[float], bool]) -> None:
        self._now_s = now_s
        self._wait = wait
        self._last_ns: int | None = None
        self._due_s = 0.0  # when the last frame was to go, by its time
        self._gone_s = 0.0  # when it went
        self._usual_s = _USUAL_S
        self._window_s = 0.0  # when it began
        self._latest_s = 0.0  # the most of this window
        self._lateness_s: deque[float] = deque(maxlen=_WINDOWS)  # the most of each window before

    def wait_for(self, frame: Frame) -> bool:
        """Wait until this frame is due; False when asked to stop."""
        now_s = self._now_s()
        at_s = self._begin(now_s) if self._last_ns is None else self._due(frame, self._last_ns, now_s)
        self._last_ns, self._gone_s = frame.captured_ns, max(at_s, now_s)
        return not self._wait(max(0.0, at_s - now_s))

    def _begin(self, due_s: float) -> float:
        """Count anew from a frame that is due then."""
        self._due_s = self._window_s = due_s
        self._latest_s = 0.0
        self._lateness_s.clear()
        return due_s

    def _due(self, frame: Frame, last_ns: int, now_s: float) -> float:
        step_s = (frame.captured_ns - last_ns) / 1e9
        if frame.clock == "wall" or not 0 <= step_s <= _LONGEST_STEP_S:
            return self._begin(max(now_s, self._gone_s + self._usual_s))
        self._usual_s = max(_SHORTEST_USUAL_S, self._usual_s + (step_s - self._usual_s) / _SMOOTHING)
        self._due_s += step_s * (1 - _DRIFT)
        self._forgive(now_s)
        return max(self._due_s, self._gone_s + min(step_s or self._usual_s, self._usual_s) / _FASTER)

    def _forgive(self, now_s: float) -> None:
        """Count anew where lateness lasts: the source gives no more, and going faster would only make holes."""
        self._latest_s = max(self._latest_s, now_s - self._due_s)
        if now_s - self._window_s < _WINDOW_S:
            return
        self._lateness_s.append(self._latest_s)
        self._window_s, self._latest_s = now_s, 0.0
        if len(self._lateness_s) == _WINDOWS and self._lateness_s[-1] > self._lateness_s[0] - _GAIN_S:
            self._due_s += min(self._lateness_s)
            self._lateness_s.clear()


class PreviewChoice:
    """Chooses the frames that get preview pictures, in order.

    Args:
        per_s: At most so many a second; 0 chooses none.
        stream_fps: Set when a film is read as fast as possible: its own time counts, one frame in
            `stream_fps / per_s`. None counts by capture time.
    """

    def __init__(self, per_s: float, *, stream_fps: float | None = None) -> None:
        self._every = max(1, round(stream_fps / per_s)) if stream_fps and per_s else None
        self._interval_ns = int(1e9 / per_s) if per_s else None
        self._last_ns: int | None = None

    def chosen(self, sequence: int, captured_ns: int) -> bool:
        """Whether this frame gets a preview picture."""
        if self._interval_ns is None:
            return False
        if self._every is not None:
            return sequence % self._every == 0
        # A clock that was set back must not switch previews off for hours.
        due = self._last_ns is None or not 0 <= captured_ns - self._last_ns < self._interval_ns
        if due:
            self._last_ns = captured_ns
        return due
