"""How good tracks are: MOTA and IDF1 of boxes with names against boxes with true names.

References:
    K. Bernardin, R. Stiefelhagen, Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, EURASIP JIVP
    2008. E. Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, ECCV 2016.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment

from streamproc.operators.tracking import overlaps

Box: TypeAlias = tuple[float, float, float, float]
Named: TypeAlias = Mapping[str, Box]
"""Boxes of one frame by name."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    truths: int
    misses: int
    false_alarms: int
    switches: int
    idf1: float

    @property
    def mota(self) -> float:
        """1 - (misses + false alarms + switches) / true boxes."""
        return 1 - (self.misses + self.false_alarms + self.switches) / self.truths


def quality(truth: Sequence[Named], told: Sequence[Named], least: float = 0.5) -> Quality:
    """Compare two sequences of frames; a box stands for a true one if they overlap by at least `least`."""
    partner: dict[str, str] = {}
    misses = false_alarms = switches = 0
    for true, said in zip(truth, told, strict=True):
        pairs = _pairs(true, said, partner, least)
        misses += len(true) - len(pairs)
        false_alarms += len(said) - len(pairs)
        switches += sum(partner.get(name, other) != other for name, other in pairs.items())
        partner |= pairs
    truths = sum(map(len, truth))
    return Quality(
        truths=truths, misses=misses, false_alarms=false_alarms, switches=switches, idf1=_idf1(truth, told, least)
    )


def _pairs(true: Named, said: Named, partner: Mapping[str, str], least: float) -> dict[str, str]:
    """True name to told name on one frame: the pairs of earlier frames first, then the best of what is left."""
    shared = _shared(true, said, least)
    pairs = {name: partner[name] for name in true if (name, partner.get(name, "")) in shared}
    rows = [name for name in true if name not in pairs]
    columns = [name for name in said if name not in pairs.values()]
    worth = np.array([[shared.get((row, column), 0.0) for column in columns] for row in rows])
    if worth.size:
        # One more pair is worth more than any overlap.
        for row, column in zip(*linear_sum_assignment(worth + 1e3 * (worth > 0), maximize=True), strict=True):
            if worth[row, column] > 0:
                pairs[rows[row]] = columns[column]
    return pairs


def _shared(true: Named, said: Named, least: float) -> dict[tuple[str, str], float]:
    if not true or not said:
        return {}
    iou = overlaps(np.array(list(true.values()), np.float64), np.array(list(said.values()), np.float64))
    return {
        (first, second): float(iou[row, column])
        for row, first in enumerate(true)
        for column, second in enumerate(said)
        if iou[row, column] >= least
    }


def _idf1(truth: Sequence[Named], told: Sequence[Named], least: float) -> float:
    """2 IDTP / (true boxes + told boxes), each true name paired with at most one told name over the whole sequence."""
    together: Counter[tuple[str, str]] = Counter()
    for true, said in zip(truth, told, strict=True):
        together.update(_shared(true, said, least).keys())
    rows, columns = sorted({first for first, _ in together}), sorted({second for _, second in together})
    counts = np.array([[together[row, column] for column in columns] for row in rows])
    agreed = int(counts[linear_sum_assignment(counts, maximize=True)].sum()) if counts.size else 0
    return 2 * agreed / max(1, sum(map(len, truth)) + sum(map(len, told)))
