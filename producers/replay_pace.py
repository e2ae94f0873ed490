"""When a record is due that was in the log before: pure; the clock is an argument, nothing sleeps here."""

from __future__ import annotations

import math
from collections import Counter

from streamproc.errors import UsageError

MAX_SPEED = 1000.0
CATCH_UP_S = 1.0  # a stall longer than this is not made good by a burst
_STEP_MS = 0.1  # resolution of what is told of lateness
_MOST_MS = 10_000.0


def parse_speed(text: str) -> float | None:
    """Times real time, as in `1` or `4x`; None for `max`.

    Raises:
        UsageError: Anything else.
    """
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not 0 < speed <= MAX_SPEED:
        raise UsageError(f"--speed {text!r}: give a number above 0 and up to {MAX_SPEED:g}, as 1 or 4x, or max")
    return speed


class Pace:
    """Keeps the distances in time that records had in the log.

    The first record is due at once. Who comes more than a second too late (a stalled broker, a suspended machine)
    moves everything after it, instead of being followed by a burst.

    Args:
        speed: Times real time; None: everything is due at once.

    Attributes:
        slipped_s: By how much everything was moved so far.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._from: tuple[int, float] | None = None  # a moment of the log, and when it was due
        self.slipped_s = 0.0

    def due_s(self, moment_ms: int, *, now_s: float) -> float:
        """When a record is due, on the clock of `now_s`.

        Args:
            moment_ms: Its time in the log, milliseconds; does not decrease from call to call.
            now_s: A monotonic clock.
        """
        if self._speed is None:
            return now_s
        if self._from is None:
            self._from = (moment_ms, now_s)
        begun_ms, begun_s = self._from
        due_s = begun_s + (moment_ms - begun_ms) / 1000 / self._speed
        if now_s - due_s > CATCH_UP_S:
            self.slipped_s += now_s - due_s
            self._from, due_s = (moment_ms, now_s), now_s
        return due_s

    def paused(self, seconds: float) -> None:
        """So much time does not count."""
        if self._from is not None:
            self._from = (self._from[0], self._from[1] + seconds)


class Lateness:
    """How late records were sent; memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """One record was sent so long after it was due."""
        self._counts[round(min(max(0.0, seconds * 1000), _MOST_MS) / _STEP_MS)] += 1

    def quantile_ms(self, share: float) -> float:
        """The lateness that a share (0 to 1) of the records did not exceed, in ms; 0 without records."""
        wanted, seen = share * self._counts.total(), 0
        for step in sorted(self._counts):
            seen += self._counts[step]
            if seen >= wanted:
                return round(step * _STEP_MS, 1)
        return 0.0
