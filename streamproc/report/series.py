"""Series of numbers cut down to what a plot can show. Numbers in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamproc.report.facts import Facts

Numbers = NDArray[np.float64]

MAX_BINS = 200  # a bin is then 2 px wide in a plot of 400 px
MAX_HOPS = 7
REST = "other"
_RATE_STEPS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hops:
    """Latency by hop over the frames, in bins.

    Attributes:
        bounds: Frame numbers where bins begin, and the end of the last.
        means: Mean milliseconds of each hop in each bin, in the order a frame passes them.
        slowest: Longest whole latency in each bin.
        binned: A bin is more than one frame.
    """

    bounds: Numbers
    means: dict[str, Numbers]
    slowest: Numbers
    binned: bool


def bounds(length: int, most: int = MAX_BINS) -> NDArray[np.int64]:
    """Split `length` things into at most `most` bins of nearly one size: where each begins, and the end."""
    bins = min(length, most)
    return np.asarray([index * length // bins for index in range(bins + 1)] if bins else [0], np.int64)


def positions(facts: Sequence[Facts], edges: NDArray[np.int64]) -> Numbers:
    """Where bins lie on the axis: at sequence numbers if there is one run, else one after the other."""
    if len({one.key[:2] for one in facts}) > 1 or not facts:
        return edges.astype(np.float64)
    starts = [one.sequence for one in facts]
    return np.asarray([*(starts[index] for index in edges[:-1]), starts[-1] + 1], np.float64)


def binned_mean(values: Sequence[float], edges: NDArray[np.int64]) -> Numbers:
    """Mean of each bin; NaN marks an unknown value and a bin without known ones."""
    array = np.asarray(values, np.float64)
    known = np.isfinite(array)
    sums = np.add.reduceat(np.where(known, array, 0.0), edges[:-1])
    numbers = np.add.reduceat(known.astype(np.float64), edges[:-1])
    means: Numbers = np.full(len(sums), np.nan)
    np.divide(sums, numbers, out=means, where=numbers > 0)
    return means


def hop_series(facts: Sequence[Facts]) -> Hops | None:
    """Latency by hop, binned; None if no event tells a latency.

    What the hops of an event leave of its total is `REST`, as are hops beyond `MAX_HOPS`.
    """
    timed = [one for one in facts if one.hops or one.total_ms is not None]
    if not timed:
        return None
    names, parts = hop_shares(timed)
    edges = bounds(len(timed))
    totals = [one.total_ms if one.total_ms is not None else sum(one.hops.values()) for one in timed]
    return Hops(
        bounds=positions(timed, edges),
        means={name: binned_mean([part[name] for part in parts], edges) for name in names},
        slowest=np.maximum.reduceat(np.asarray(totals, np.float64), edges[:-1]),
        binned=len(timed) > len(edges) - 1,
    )


def hop_shares(facts: Sequence[Facts]) -> tuple[list[str], list[dict[str, float]]]:
    """Names of hops in the order events have them, and milliseconds of each for each frame."""
    names = list(dict.fromkeys(name for one in facts for name in one.hops))
    kept, rest = names[: MAX_HOPS - 1], names[MAX_HOPS - 1 :]
    parts = []
    for one in facts:
        part = {name: one.hops.get(name, 0.0) for name in kept}
        left = 0.0 if one.total_ms is None else max(0.0, one.total_ms - sum(one.hops.values()))
        part[REST] = left + sum(one.hops.get(name, 0.0) for name in rest)
        parts.append(part)
    whole = sum(sum(part.values()) for part in parts)
    others = sum(part[REST] for part in parts)
    return ([*kept, REST] if others > 0.02 * whole else kept), parts


def rate_series(times_ns: Sequence[int], start_ns: int, end_ns: int) -> tuple[Numbers, Numbers] | None:
    """Events in each second between two times: bounds of bins in seconds from `start_ns`, and the rates."""
    span_s = (end_ns - start_ns) / 1e9
    if not times_ns or span_s <= 0:
        return None
    step = next((step for step in _RATE_STEPS_S if span_s / step <= 60), span_s / 60)
    edges = np.arange(math.ceil(span_s / step) + 1) * step
    seconds = (np.asarray(times_ns, np.int64) - start_ns) / 1e9
    numbers, _ = np.histogram(np.clip(seconds, 0, edges[-1]), edges)
    return np.asarray(edges, np.float64), numbers / step


def histogram(values: Sequence[float]) -> tuple[Numbers, Numbers, bool]:
    """Counts of `values`: bounds, numbers, and whether bounds grow by factors (for a long tail)."""
    array = np.asarray(values, np.float64)
    bins = int(min(40, max(8, 2 * math.sqrt(len(array)))))
    low, high = float(array.min()), float(array.max())
    spread = low > 1e-3 and high > 10 * float(np.median(array))
    if high - low < 1e-9 * max(1.0, high):
        low, high = max(0.0, low - 0.5), high + 0.5
    edges = np.geomspace(low, high, bins + 1) if spread else np.linspace(low, high, bins + 1)
    numbers, _ = np.histogram(np.clip(array, edges[0], edges[-1]), edges)
    return edges, numbers.astype(np.float64), spread
