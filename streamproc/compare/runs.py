"""Two runs compared, frame by frame: differences one after the other, and their sums, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Final

from streamproc.compare.frames import frame_changes
from streamproc.compare.matching import How, Pair, match
from streamproc.compare.values import FrameChanges, Kind, Tolerances
from streamproc.errors import UsageError
from streamproc.evidence.store import EventStore, Frame

WORST: Final = 200  # frames that are kept to be shown

Wanted = Callable[[Frame], bool]


class Comparison:
    """Two runs; iterate once over all frames that differ, then ask for sums.

    Attributes:
        frames: In run A, in run B, in both.
        how: By camera, what its frames were matched by.
        counts: Changes by kind.
        differing: Frames that differ.
        same: Frames that do not.
    """

    def __init__(
        self, a: EventStore, b: EventStore, tolerances: Tolerances, *, wanted: Wanted = lambda _: True
    ) -> None:
        self._a, self._b = a, b
        self.tolerances = tolerances
        ours, theirs = ([frame for frame in side.frames() if wanted(frame)] for side in (a, b))
        self._pairs, self.how = match(ours, theirs)
        both = sum(pair.a is not None and pair.b is not None for pair in self._pairs)
        self.frames: tuple[int, int, int] = (len(ours), len(theirs), both)
        self.counts: Counter[Kind] = Counter()
        self.differing = self.same = 0
        self._worst: list[tuple[tuple[float, ...], int, FrameChanges]] = []

    @property
    def pairs(self) -> int:
        """Frames in either run."""
        return len(self._pairs)

    @property
    def is_same(self) -> bool:
        """Nothing differs; known at the end."""
        return not self.counts

    def differences(self, *, seen: Callable[[], None] = lambda: None) -> Iterator[FrameChanges]:
        """Frames that differ, by camera and capture time.

        Args:
            seen: Called after each pair.
        """
        for number, pair in enumerate(self._pairs):
            found = self._compared(pair)
            seen()
            if not found.changes:
                self.same += 1
                continue
            self.differing += 1
            self.counts.update(change.kind for change in found.changes)
            self._keep(number, found)
            yield found

    def varied(self, count: int) -> list[FrameChanges]:
        """So many of the frames that differ most, those of each kind in turn, so that none hides the others."""
        kinds: dict[Kind, list[FrameChanges]] = {}
        for found in self.worst():
            kinds.setdefault(found.changes[0].kind, []).append(found)
        turns = [found for turn in zip_longest(*kinds.values()) for found in turn if found is not None][:count]
        return sorted(turns, key=lambda found: found.rank)

    def worst(self) -> list[FrameChanges]:
        """The frames that differ most, at most 200, the worst first; of those seen so far."""
        return [found for _, _, found in sorted(self._worst, key=lambda one: (-one[0][0], -one[0][1], -one[1]))]

    def _compared(self, pair: Pair) -> FrameChanges:
        a = self._a.read(pair.a.key) if pair.a else None
        b = self._b.read(pair.b.key) if pair.b else None
        frame = pair.a or pair.b
        assert frame is not None, "a pair has a frame"  # noqa: S101 - by construction
        return FrameChanges(
            camera=frame.key.camera,
            captured_ns=frame.captured_ns,
            a=pair.a.key if pair.a else None,
            b=pair.b.key if pair.b else None,
            changes=tuple(frame_changes(a, b, self.tolerances)),
        )

    def _keep(self, number: int, found: FrameChanges) -> None:
        kind, size = found.rank
        entry = ((float(-kind), -size), -number, found)  # the heap's least is the least bad, the latest of equals
        if len(self._worst) < WORST:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)


def compare(a: EventStore, b: EventStore, tolerances: Tolerances, *, wanted: Wanted = lambda _: True) -> Comparison:
    """Match the frames of two runs.

    Args:
        a: Run A.
        b: Run B.
        tolerances: What counts as a difference.
        wanted: Which frames of either run.

    Raises:
        UsageError: One has no frames, or they have no camera in common: there is nothing to compare.
    """
    comparison = Comparison(a, b, tolerances, wanted=wanted)
    sides = {}
    for store in (a, b):
        sides[store] = {frame.key.camera for frame in store.frames() if wanted(frame)}
        if not sides[store]:
            raise UsageError(f"{store.name} has no frames to compare{' in that range' if len(store) else ''}")
    if not sides[a] & sides[b]:
        names = [f"{store.name} has {', '.join(sorted(cameras)[:5])}" for store, cameras in sides.items()]
        raise UsageError(f"the runs have no camera in common: {'; '.join(names)}")
    return comparison


__all__ = ["WORST", "Comparison", "How", "compare"]
