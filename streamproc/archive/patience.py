"""How long an outage is waited out, and when the next try is. Pure: time and chance come in as arguments.

References:
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Away = Literal["broker", "store"]

FIRST_S = 1.0
LONGEST_S = 30.0
QUIET_S = 10.0  # of reading without an error, after which a broker counts as back though no record came
REFUSALS = 3  # in a row: a broker that has just started may know no users for a moment
_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Wait:
    """What follows from a failure.

    Attributes:
        after_s: When to try again, seconds from now.
        tell: It is news.
    """

    after_s: float
    tell: bool


class Patience:
    """Waits for one topic's broker and store. Times are seconds of a monotonic clock.

    Args:
        limit_s: Longest outage that is waited out.
        rotate_s: Age at which files end: a store counts as back when a file was completed, or when this time passed.
    """

    def __init__(self, limit_s: float, *, rotate_s: float) -> None:
        self.limit_s = limit_s
        self._rotate_s = rotate_s
        self._since_s: float | None = None
        self._away: Away = "broker"
        self._tries = 0
        self._refusals = 0
        self._began_s = 0.0

    @property
    def is_waiting(self) -> bool:
        """There was a failure, and nothing that shows that it is over."""
        return self._since_s is not None

    def failed(self, away: Away, now_s: float, *, chance: float, refused: bool) -> Wait | None:
        """A try failed.

        Args:
            away: What does not answer.
            now_s: Now.
            chance: 0 to 1, for jitter.
            refused: It answered, and said no.

        Returns:
            None if it is of no use to wait longer.
        """
        since_s = now_s if self._since_s is None else self._since_s
        self._refusals = self._refusals + 1 if refused else 0
        left_s = since_s + self.limit_s - now_s
        if left_s <= 0 or self._refusals >= REFUSALS:
            return None
        tell = self._since_s is None
        after_s = min(LONGEST_S, FIRST_S * 2 ** min(self._tries, _DOUBLINGS)) * (0.5 + chance / 2)
        self._since_s, self._away, self._tries = since_s, away, self._tries + 1
        return Wait(min(after_s, left_s), tell)

    def began(self, now_s: float) -> None:
        """A try found all that it needs."""
        self._began_s = now_s

    def well(self, now_s: float, *, records: bool, files: bool) -> float | None:
        """Look whether the outage is over.

        Args:
            now_s: Now.
            records: A record came in this try.
            files: A file was completed in this try.

        Returns:
            How long it lasted, seconds; once. None if it is not over, or there was none.
        """
        if self._since_s is None:
            return None
        quiet_s = now_s - self._began_s
        seen, enough_s = (files, self._rotate_s + QUIET_S) if self._away == "store" else (records, QUIET_S)
        if not seen and quiet_s <= enough_s:
            return None
        lasted_s = now_s - self._since_s
        self._since_s, self._tries, self._refusals = None, 0, 0
        return lasted_s


def span_text(seconds: float) -> str:
    """A time as people say it."""
    for unit, step in (("days", 86_400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * step:
            return f"{seconds / step:.0f} {unit}"
    return f"{seconds:.0f} s"
