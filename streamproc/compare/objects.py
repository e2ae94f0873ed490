"""Which object of one frame is which of the other, and how they differ."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamproc.compare.values import Change, Tolerances
from streamproc.operators.tracking import overlaps

MAX_MATCHED: Final = 1000  # of a label; the assignment costs their number to the third power
_TIE: Final = 1e-7  # among equal overlaps the nearer score decides

Box = tuple[float, float, float, float]


class Thing(NamedTuple):
    """An object as it is compared; sorts alike whichever event it comes from. A box that is none is empty."""

    label: str
    box: tuple[float, ...]
    score: float
    track: str
    source: str
    text: str

    @property
    def raw(self) -> Any:
        """As the event has it."""
        return json.loads(self.text)


def object_changes(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], tolerances: Tolerances
) -> list[Change]:
    """Compare the objects of two events of one frame; their order in the events does not matter.

    Equal objects are paired first. Then, label by label, the assignment with the largest sum of intersection over
    union is taken, of boxes that overlap by at least `tolerances.iou`; then the same of what is left, whatever its
    label. What no one takes was lost or added.

    Args:
        first: `objects` of run A's event.
        second: Of run B's.
        tolerances: What counts.

    References:
        H. W. Kuhn, The Hungarian method for the assignment problem, 1955, in the form of D. F. Crouse, On
        implementing 2D rectangular assignment algorithms, IEEE TAES 52(4), 2016 (scipy's linear_sum_assignment).
    """
    ours, theirs = Counter(map(_thing, first)), Counter(map(_thing, second))
    left, right = sorted((ours - theirs).elements()), sorted((theirs - ours).elements())
    pairs: list[tuple[Thing, Thing]] = []
    for label in sorted({one.label for one in left} & {one.label for one in right}):
        pairs += _assigned(
            [one for one in left if one.label == label], [one for one in right if one.label == label], tolerances.iou
        )
    left, right = _without(left, [a for a, _ in pairs]), _without(right, [b for _, b in pairs])
    relabelled = _assigned(left, right, tolerances.iou)
    left, right = _without(left, [a for a, _ in relabelled]), _without(right, [b for _, b in relabelled])
    changes = [change for a, b in pairs + relabelled for change in _changes(a, b, tolerances)]
    changes += [_alone(one, lost=True) for one in left]
    return changes + [_alone(one, lost=False) for one in right]


def _thing(about: Mapping[str, Any]) -> Thing:
    box = about.get("box")
    sides = tuple(map(_number, box)) if isinstance(box, Sequence) and not isinstance(box, str) and len(box) == 4 else ()
    whole = len(sides) == 4 and all(map(math.isfinite, sides)) and sides[2] > sides[0] and sides[3] > sides[1]
    return Thing(
        label=str(about.get("label", "")),
        box=sides if whole else (),
        score=_finite(about.get("score")),
        track=str(about.get("track") or ""),
        source=str(about.get("source") or ""),
        text=json.dumps(about, sort_keys=True),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if abs(value) < 1e15 else math.nan


def _finite(value: Any) -> float:
    found = _number(value)
    return found if math.isfinite(found) else 0.0


def _assigned(left: Sequence[Thing], right: Sequence[Thing], least: float) -> list[tuple[Thing, Thing]]:
    """Pairs; the same ones, turned round, if the sides are."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    rows, columns = (_best([one for one in side if one.box]) for side in (left, right))
    if not rows or not columns:
        return []
    turned = rows > columns  # among assignments of equal worth the solver's choice goes with the order of its sides
    if turned:
        rows, columns = columns, rows
    worth = _worth(rows, columns, least)
    found = [
        (rows[row], columns[column])
        for row, column in zip(*linear_sum_assignment(worth, maximize=True), strict=True)
        if worth[row, column] > 0
    ]
    return [(b, a) for a, b in found] if turned else found


def _best(things: Sequence[Thing]) -> list[Thing]:
    if len(things) <= MAX_MATCHED:
        return list(things)
    return sorted(sorted(things, key=lambda one: (-one.score, one))[:MAX_MATCHED])


def _worth(rows: Sequence[Thing], columns: Sequence[Thing], least: float) -> NDArray[np.float64]:
    shared = overlaps(np.array([one.box for one in rows]), np.array([one.box for one in columns]))
    scores = [np.array([one.score for one in side]) for side in (rows, columns)]
    apart = np.abs(scores[0][:, None] - scores[1][None, :])
    worth = shared + _TIE - _TIE * apart / (1 + apart)
    return np.where(shared >= least, worth, 0.0)


def _without(things: Sequence[Thing], taken: Sequence[Thing]) -> list[Thing]:
    return sorted((Counter(things) - Counter(taken)).elements())


def _changes(a: Thing, b: Thing, tolerances: Tolerances) -> list[Change]:
    """How one object differs."""
    both = {"a": a.raw, "b": b.raw, "name": a.label}
    found = []
    if a.label != b.label:
        found.append(Change(kind="object.label", words=f"{a.label} is called {b.label}", **both))
    moved = max(abs(x - y) for x, y in zip(a.box, b.box, strict=True))
    if moved > tolerances.box_px:
        words = f"{a.label} moved by {moved:.4g} px, from {_place(a)} to {_place(b)}"
        found.append(Change(kind="object.moved", size=moved, words=words, **both))
    apart = abs(a.score - b.score)
    if apart > tolerances.score:
        words = f"{a.label} scores {b.score:.4g} instead of {a.score:.4g}"
        found.append(Change(kind="object.score", size=apart, words=words, **both))
    if a.track != b.track:
        words = f"{a.label} is track {b.track or 'none'} instead of {a.track or 'none'}"
        found.append(Change(kind="object.track", words=words, **both))
    if a.source != b.source:
        words = f"{a.label} is found by {b.source or 'no step'} instead of {a.source or 'no step'}"
        found.append(Change(kind="object.source", words=words, **both))
    return found


def _alone(one: Thing, *, lost: bool) -> Change:
    where = f"at {_place(one)}" if one.box else "without a box"
    if lost:
        words = f"{one.label} {one.score:.3g} {where} is no longer found"
        return Change(kind="object.lost", name=one.label, size=one.score, words=words, a=one.raw)
    words = f"{one.label} {one.score:.3g} {where} is new"
    return Change(kind="object.added", name=one.label, size=one.score, words=words, b=one.raw)


def _place(one: Thing) -> str:
    return "[" + ", ".join(f"{side:.5g}" for side in one.box) + "]"
