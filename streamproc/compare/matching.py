"""Which frame of one run is which of the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from streamproc.evidence.store import Frame

How = Literal["capture time", "sequence", "nothing"]


class Pair(NamedTuple):
    """A frame in both runs, or in one of them."""

    a: Frame | None
    b: Frame | None


class Matched(NamedTuple):
    """Frames of both runs.

    Attributes:
        pairs: By camera, then capture time.
        how: By camera, what its frames have in common.
    """

    pairs: list[Pair]
    how: dict[str, How]


def match(first: Iterable[Frame], second: Iterable[Frame]) -> Matched:
    """Match frames camera by camera: each frame is in exactly one pair.

    Runs over the same recording keep each frame's capture time: frames of one capture time are the same, those of
    one sequence first if several have it. Where a camera's runs have no capture time in common (two demos over one
    file), frames of one sequence are the same, the runs taken in the order in which they began.
    """
    sides = [_by_camera(frames) for frames in (first, second)]
    pairs: list[Pair] = []
    how: dict[str, How] = {}
    for camera in sorted({*sides[0], *sides[1]}):
        ours, theirs = sides[0].get(camera, []), sides[1].get(camera, [])
        found = _by_time(ours, theirs)
        how[camera] = "capture time"
        if not found:
            found = _by_sequence(ours, theirs)
            how[camera] = "sequence" if found else "nothing"
        seen_a, seen_b = {pair.a for pair in found}, {pair.b for pair in found}
        found += [Pair(frame, None) for frame in ours if frame not in seen_a]
        found += [Pair(None, frame) for frame in theirs if frame not in seen_b]
        pairs += sorted(found, key=_order)
    return Matched(pairs, how)


def _by_camera(frames: Iterable[Frame]) -> dict[str, list[Frame]]:
    found: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        found[frame.key.camera].append(frame)
    return {camera: sorted(of, key=lambda one: (one.captured_ns, one.key)) for camera, of in found.items()}


def _by_time(ours: Sequence[Frame], theirs: Sequence[Frame]) -> list[Pair]:
    left: dict[int, list[Frame]] = defaultdict(list)
    for frame in theirs:
        left[frame.captured_ns].append(frame)
    found: list[Pair] = []
    waiting: list[Frame] = []
    for frame in ours:
        equal = [one for one in left[frame.captured_ns] if one.key.sequence == frame.key.sequence]
        if equal:
            left[frame.captured_ns].remove(equal[0])
            found.append(Pair(frame, equal[0]))
        else:
            waiting.append(frame)
    return found + [Pair(frame, left[frame.captured_ns].pop(0)) for frame in waiting if left[frame.captured_ns]]


def _by_sequence(ours: Sequence[Frame], theirs: Sequence[Frame]) -> list[Pair]:
    found = []
    for run_a, run_b in zip(_runs(ours), _runs(theirs), strict=False):
        numbers = {frame.key.sequence: frame for frame in run_b}
        found += [Pair(frame, numbers[frame.key.sequence]) for frame in run_a if frame.key.sequence in numbers]
    return found


def _runs(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames by run, in the order in which the runs began."""
    found: dict[str, list[Frame]] = {}
    for frame in frames:
        found.setdefault(frame.key.run, []).append(frame)
    return list(found.values())


def _order(pair: Pair) -> tuple[int, int, int]:
    frame = pair.a or pair.b
    assert frame is not None, "a pair has a frame"  # noqa: S101 - by construction
    return frame.captured_ns, frame.key.sequence, pair.a is None
