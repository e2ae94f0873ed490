"""What a live camera's frames say about it: gaps, a frozen picture, jumps of its clock, too few frames.

Pure: time comes in as an argument. Times of arrival are seconds of a monotonic clock, capture times are what the camera
says, nanoseconds since 1970: they may jump, repeat or go back, which is data and never order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamproc.cloudevents import CameraEventKind
    from streamproc.model import Clock

WINDOW_S = 10.0
"""Speed is measured over so long."""
_MOST_ARRIVALS = 4096  # of one window; faster cameras are measured over less time
SELDOM_S = 10.0
"""Between two tellings of jumps, where a camera's times jump all the time."""
_SETTLE_S = 10.0  # lateness that lasts so long is a clock that was set back
_DRIFT = 0.001  # of a clock that goes wrong slowly, seconds a second; quartz is a tenth of it
_SAG_CLEARED = 0.9  # of the way back to the expected speed, so that one event does not follow the other


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is told as a camera event; `data` as in its schema."""

    what: CameraEventKind
    data: dict[str, Any] = field(default_factory=dict)


class ClockCheck:
    """Finds jumps of a camera's clock among the lateness of networks.

    Frames may arrive late, and then many at once; so only what lateness cannot explain is a step: times that run ahead
    of the earliest arrival seen, times that go back, and lateness that stays.

    Args:
        step_s: Smaller jumps are none; 0 finds none at all.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._best_s: float | None = None  # capture time less arrival, of the frame that was the least late
        self._last_s = 0.0
        self._arrived_s = 0.0
        self._late_since_s: float | None = None
        self._least_late_s = 0.0

    def frame(self, now_s: float, captured_ns: int) -> float | None:
        """Size of the step before this frame, seconds, forward positive; None if there was none."""
        if not self._step_s:
            return None
        captured_s = captured_ns / 1e9
        offset_s = captured_s - now_s
        if self._best_s is None:
            self._begin(now_s, captured_s)
            return None
        ahead_s, back_s = offset_s - self._best_s, self._last_s - captured_s
        expected_s = captured_s - (self._last_s + now_s - self._arrived_s)
        self._best_s = max(offset_s, self._best_s - _DRIFT * (now_s - self._arrived_s))
        self._last_s, self._arrived_s = captured_s, now_s
        if ahead_s >= self._step_s:
            self._begin(now_s, captured_s)
            return ahead_s
        if back_s >= self._step_s:
            self._begin(now_s, captured_s)
            return expected_s
        return self._stays_late(now_s, captured_s)

    def _stays_late(self, now_s: float, captured_s: float) -> float | None:
        late_s = (self._best_s or 0.0) - (captured_s - now_s)
        if late_s < self._step_s:
            self._late_since_s = None
            return None
        if self._late_since_s is None:
            self._late_since_s, self._least_late_s = now_s, late_s
        self._least_late_s = min(self._least_late_s, late_s)
        if now_s - self._late_since_s < _SETTLE_S:
            return None
        self._begin(now_s, captured_s)
        return -self._least_late_s

    def _begin(self, now_s: float, captured_s: float) -> None:
        self._best_s = captured_s - now_s
        self._last_s, self._arrived_s, self._late_since_s = captured_s, now_s, None


class Clocks:
    """The clocks of one connection: a stream may say its own time now and the camera's then, each with its own offset.

    A clock that appears is told if times jump with it; other jumps at most every `SELDOM_S`, with their number.

    Args:
        step_s: As of `ClockCheck`.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._checks: dict[Clock, ClockCheck] = {}
        self._last: tuple[float, int] | None = None
        self._told_s: float | None = None
        self._steps = 0

    def begin(self) -> None:
        """A connection begins; its first clock is no news."""
        self._checks.clear()
        self._last = None

    def frame(self, now_s: float, captured_ns: int, clock: Clock) -> Finding | None:
        """A frame arrived; something if times jumped, be it because they are of another clock from here on."""
        if not self._step_s:
            return None
        appears = clock not in self._checks
        step_s = self._checks.setdefault(clock, ClockCheck(self._step_s)).frame(now_s, captured_ns)
        if appears and self._last is not None:
            apart_s = (captured_ns - self._last[1]) / 1e9 - (now_s - self._last[0])
            step_s = apart_s if abs(apart_s) >= self._step_s else None
        self._last = now_s, captured_ns
        if step_s is None:
            return None
        self._steps += 1
        if not appears and self._told_s is not None and now_s - self._told_s < SELDOM_S:
            return None
        steps, self._steps, self._told_s = self._steps, 0, now_s
        return Finding("clock-step", {"step_s": round(step_s, 6), "clock": clock, "steps": steps})


class Speed:
    """Frames a second over a window, and whether they have become too few.

    Args:
        sag: Share of the expected speed below which there are too few; 0 finds none.
        expected: Frames a second; None learns it: the fastest of all windows.
    """

    def __init__(self, sag: float, expected: float | None) -> None:
        self._sag = sag
        self._told = expected
        self.expected = expected
        self._arrivals: deque[float] = deque(maxlen=_MOST_ARRIVALS)
        self._since_s: float | None = None
        self._sagging = False

    def begin(self, now_s: float, expected: float | None) -> None:
        """A connection begins; `expected` is what the source says of its speed, None if nothing."""
        if self._told is None and expected is not None:
            self.expected = expected
        self._arrivals.clear()
        self._since_s = now_s

    def measured(self, now_s: float) -> float | None:
        """Frames a second over the last window; None until one is full."""
        while self._arrivals and now_s - self._arrivals[0] >= WINDOW_S:
            self._arrivals.popleft()
        if self._since_s is None or now_s - self._since_s < WINDOW_S:
            return None
        full = len(self._arrivals) == _MOST_ARRIVALS
        return len(self._arrivals) / (max(now_s - self._arrivals[0], 1e-3) if full else WINDOW_S)

    def frame(self, now_s: float) -> Finding | None:
        """A frame arrived; something if the speed has sagged, or is restored."""
        if self._since_s is None:
            self._since_s = now_s
        self._arrivals.append(now_s)
        measured = self.measured(now_s)
        if measured is None or not self._sag:
            return None
        if self._told is None:
            self.expected = max(self.expected or 0.0, measured)
        if not self.expected:
            return None
        share = measured / self.expected
        sags = share < self._sag or (self._sagging and share < self._sag + _SAG_CLEARED * (1 - self._sag))
        if sags == self._sagging:
            return None
        self._sagging = sags
        data = {"measured_fps": round(measured, 3), "expected_fps": round(self.expected, 3)}
        return Finding("fps-sag" if sags else "fps-restored", data)


class Health:
    """All of it for one camera, over all of its connections.

    Args:
        gap_s: So long without a frame is a gap; 0 finds none.
        clock_step_s, fps_sag, fps_expected: As of `Clocks` and `Speed`.
    """

    def __init__(self, *, gap_s: float, clock_step_s: float, fps_sag: float, fps_expected: float | None) -> None:
        self._gap_s = gap_s
        self._clocks = Clocks(clock_step_s)
        self._speed = Speed(fps_sag, fps_expected)
        self._last_s: float | None = None
        self._last_ns = 0
        self._picture: bytes | None = None
        self._same_since_s = 0.0
        self._steady = True

    def connected(self, now_s: float, *, waited_s: float, fps: float | None, steady: bool = True) -> None:
        """A connection begins: times are counted anew.

        Args:
            now_s: When.
            waited_s: As of `frame`.
            fps: The source's word, None if it says nothing.
            steady: Frames are expected all the time, as of a camera. Of others nothing is told but their speed.
        """
        self._steady = steady
        self._clocks.begin()
        self._speed.begin(now_s - waited_s, fps)
        self._same_since_s = now_s

    def frame(self, now_s: float, captured_ns: int, *, waited_s: float, clock: Clock, wall_ns: int) -> list[Finding]:
        """A frame arrived.

        Args:
            now_s: When.
            captured_ns: What the camera says.
            waited_s: Time so far in which no frame was asked for, because there was no room: not the camera's fault.
            clock: Whose time `captured_ns` is.
            wall_ns: Our wall clock.
        """
        found: list[Finding] = []
        own_s = now_s - waited_s
        if not self._steady:
            self._speed.frame(own_s)
            return found
        if self._gap_s and self._last_s is not None and own_s - self._last_s >= self._gap_s:
            found.append(self._gap(own_s - self._last_s, wall_ns))
        self._last_s, self._last_ns = own_s, wall_ns
        if (step := self._clocks.frame(now_s, captured_ns, clock)) is not None:
            found.append(step)
        if (sag := self._speed.frame(own_s)) is not None:
            found.append(sag)
        return found

    def picture(self, now_s: float, digest: bytes) -> float:
        """Seconds that the camera has given this very picture; `digest` stands for it."""
        if digest != self._picture:
            self._picture, self._same_since_s = digest, now_s
        return now_s - self._same_since_s

    def measured_fps(self, now_s: float, *, waited_s: float) -> float | None:
        """Frames a second of late; None until it is known."""
        return self._speed.measured(now_s - waited_s)

    def _gap(self, length_s: float, wall_ns: int) -> Finding:
        expected = self._speed.expected
        missed = None if expected is None else max(0, round(length_s * expected) - 1)
        data = {"length_s": round(length_s, 6), "from_ns": self._last_ns, "to_ns": wall_ns, "frames_missed": missed}
        return Finding("gap", data)
