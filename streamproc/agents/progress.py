"""Up to which moment all that was published has been worked off: the clock by which frames expire.

A frame whose tiles lie in a backlog is not late, so its deadline must not pass before the tiles published until then
have had their turn. Wall clocks of producers are no help; positions in the log, seen now and again, are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

_MOST_MOMENTS = 1024


@dataclass(slots=True)
class Progress:
    """Remembers where a log ended at some moments, and says which of them has been reached.

    Attributes:
        reached_s: The latest moment whose records are all worked off; before the first, long ago.
    """

    reached_s: float = float("-inf")
    _moments: deque[tuple[float, Mapping[int, int]]] = field(default_factory=deque)
    _step_s: float = 0.0

    def observe(self, moment_s: float, *, done: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Note where the partitions end, and how far they are worked off.

        Args:
            moment_s: Monotonic, not before the last one; the ends were asked for after it.
            done: By partition, the offset below which all is worked off; asked for after the ends. Partitions that
                are not named here do not count (any more).
            ends: By partition, the offset after the last record.
        """
        if not self._moments or moment_s >= self._moments[-1][0] + self._step_s:
            self._moments.append((moment_s, ends))
        while self._moments and _worked_off(self._moments[0][1], done):
            self.reached_s = self._moments.popleft()[0]
        if not self._moments:
            self._step_s = 0.0
        elif len(self._moments) > _MOST_MOMENTS:  # a long backlog: coarser steps do
            self._step_s = 2 * (self._moments[-1][0] - self._moments[0][0]) / len(self._moments)
            self._moments = deque(moment for number, moment in enumerate(self._moments) if number % 2 == 0)


def _worked_off(ends: Mapping[int, int], done: Mapping[int, int]) -> bool:
    return all(done.get(partition, end) >= end for partition, end in ends.items())
