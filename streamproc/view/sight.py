"""When a camera's frames came, as spans of time: what lies between two is silence, what lies before is not known."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

SILENT_MS: Final = 10_000
_MAX_SPANS: Final = 200  # of a camera that is silent again and again; older ones are not known any more


class Sight:
    """Spans in which no two frames were further apart than `SILENT_MS`; in order, apart, bounded."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, at_ms: float) -> None:
        """A frame's event came; in whatever order, the newest is quickest."""
        spans = self._spans
        place = bisect_right(spans, (at_ms, float("inf")))
        start = end = at_ms
        first = place
        if place and spans[place - 1][1] + SILENT_MS >= at_ms:
            first = place - 1
            start, end = spans[first][0], max(spans[first][1], at_ms)
        last = place
        if place < len(spans) and spans[place][0] - SILENT_MS <= end:
            end, last = spans[place][1], place + 1
        spans[first:last] = [(start, end)]
        if len(spans) > _MAX_SPANS:
            del spans[0]

    def told(self, from_ms: float) -> list[tuple[float, float]]:
        """Those that reach into the time from `from_ms` on, cut off there."""
        while self._spans and self._spans[0][1] <= from_ms:
            del self._spans[0]
        return [(max(start, from_ms), end) for start, end in self._spans]
