"""Notices a worker that only looks alive: records wait and nothing moves, or its consumer gets no answer any more.

Known causes lie outside this code (a thread lost in native code, a consumer that silently ended: faust-streaming #175,
#596, #640), so the cure is to end the worker with a clear word and let its records be read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from faust.types import TP

__all__ = ["TP", "Silence", "StallWatch", "Standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a partition stands.

    Attributes:
        finished: The next offset to be finished; None before one was read.
        first: The first offset that the log still holds.
        end: The offset after the last record.
        steps: Records the worker has handled in all: a batch that takes long is no stall.
    """

    finished: int | None
    first: int
    end: int
    steps: int = 0

    @property
    def waiting(self) -> int:
        """Records not yet finished."""
        return max(0, self.end - max(self.first, self.finished or 0))


@dataclass(slots=True)
class StallWatch:
    """How long each partition has stood still; the clock is the caller's.

    Attributes:
        limit_s: By topic, the longest a partition with waiting records may stand still, seconds.
    """

    limit_s: Mapping[str, float]
    _since: dict[TP, tuple[tuple[int | None, int], float]] = field(default_factory=dict)

    def look(self, standings: Mapping[TP, Standing], now_s: float) -> list[TP]:
        """Take the present standing of all assigned partitions; returns those that stood still for too long."""
        self._since = {tp: known for tp, known in self._since.items() if tp in standings}
        stalled: list[TP] = []
        for tp, standing in standings.items():
            reached = standing.finished, standing.steps
            known, since_s = self._since.get(tp, (None, now_s))
            if known != reached or not standing.waiting:
                self._since[tp] = (reached, now_s)
            elif now_s - since_s > self.limit_s[tp.topic]:
                stalled.append(tp)
        return stalled

    def forgive(self, now_s: float) -> None:
        """Begin to count anew: nobody could have made progress (the broker was away)."""
        self._since = {tp: (finished, now_s) for tp, (finished, _) in self._since.items()}


@dataclass(slots=True)
class Silence:
    """How long the consumer has had no answer from a broker that answers others; the clock is the caller's.

    Attributes:
        limit_s: The longest that may last, seconds.
    """

    limit_s: float
    _since_s: float | None = None

    def hears(self) -> None:
        """Note that the consumer has had an answer, or that nobody gets one."""
        self._since_s = None

    def lasts(self, now_s: float) -> bool:
        """Note that only others get answers; returns whether that has lasted for too long."""
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s > self.limit_s
