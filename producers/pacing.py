"""When the next frame is due, and which frames get preview pictures. Clocks come in as arguments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

from streamproc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

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
