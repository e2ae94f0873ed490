"""Moments: where brightness lies and how values are spread, from sums and counts that tiles give exactly."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import cv2
import numpy as np

from streamproc.errors import BadMessage
from streamproc.model import Figures, Histogram
from streamproc.operators.histograms import color_histogram
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params, Window

ORDERS: Final = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
STRIP_PX: Final = 256


def moments(window: Window, params: Params) -> Histogram:
    """Add up the brightness of the core by column and by row, as moments to the third order need it.

    Args:
        window: Grey.
        params: `binary`, each pixel above 0 counts as 1.

    Returns:
        For each column of the frame the sums of level, y * level and y^2 * level, and for each row the sum of
        level: four rows of whole numbers, 0 where the core is not. `moments_shape` says what they amount to.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        M.-K. Hu, Visual Pattern Recognition by Moment Invariants, IRE Transactions on Information Theory 8(2), 1962.
    """
    require_gray(window.pixels)
    pixels, core = window.core_pixels, window.core
    columns = np.zeros((3, window.width), np.int64)
    rows = np.zeros(window.height, np.int64)
    mine = columns[:, core.x : core.right]
    for top in range(0, core.height, STRIP_PX):  # strips: little memory, whatever the frame
        strip = pixels[top : top + STRIP_PX]
        if params["binary"]:
            strip = np.asarray(cv2.threshold(strip, 0, 1, cv2.THRESH_BINARY)[1], np.uint8)
        y = np.arange(core.y + top, core.y + top + strip.shape[0], dtype=np.float64)
        # Whole numbers below 2^48, as y is below 2^16: exact in float64, whatever the order of the sums.
        sums = cv2.gemm(np.stack([y**0, y, y**2]), strip.astype(np.float64), 1, np.empty(0), 0)
        mine += np.asarray(sums).astype(np.int64)
        found = cv2.reduce(strip, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
        rows[core.y + top : core.y + top + strip.shape[0]] = np.asarray(found).reshape(-1)
    return Histogram(counts=[*columns.tolist(), rows.tolist()])


def moments_shape(sums: Histogram, _params: Params) -> Figures:
    """Say where the brightness of a frame lies and what shape it has; from exact sums, rounded once.

    Args:
        sums: From `moments`, of all tiles.

    Returns:
        Figures: `raw`, m00, m10, m01, m20, m11, m02, m30, m21, m12, m03, sums of x^p * y^q * level; `centroid`, x and
        y in pixels; `central` and `normalised`, mu20, mu11, mu02, mu30, mu21, mu12, mu03 about the centroid and
        nu20 to nu03 without scale, as `cv2.moments`; `hu`, Hu's seven invariants, as `cv2.HuMoments`;
        `orientation_deg`, of the long axis, 0 to 180 from the x axis towards y (down). A black frame has zeros and an
        empty centroid.

    Raises:
        BadMessage: reason "schema": not the four rows of `moments`.
    """
    if len(sums.counts) != 4:
        raise BadMessage("schema", f"expected four rows of sums, got {len(sums.counts)}")
    raw = {(p, q): value for q in range(3) for p, value in enumerate(_weighted(sums.counts[q], 3 - q))}
    raw[0, 3] = _weighted(sums.counts[3], 3)[3]
    mass = raw[0, 0]
    x, y = (Fraction(raw[order], max(1, mass)) for order in ((1, 0), (0, 1)))
    central = {order: _about(raw, *order, x, y) for order in ORDERS[3:]}
    normalised = {(p, q): float(value) / float(max(1, mass)) ** (1 + (p + q) / 2) for (p, q), value in central.items()}
    axis = math.atan2(float(2 * central[1, 1]), float(central[2, 0] - central[0, 2])) / 2
    return Figures(
        values={
            "raw": [float(raw[order]) for order in ORDERS],
            "centroid": [round(float(x), 6), round(float(y), 6)] if mass else [],
            "central": [float(value) for value in central.values()],
            "normalised": list(normalised.values()),
            "hu": _hu(*normalised.values()),
            "orientation_deg": round(math.degrees(axis) % 180, 6),
        }
    )


def _weighted(values: list[int], most: int) -> list[int]:
    """Sums of place^power * value for powers from 0 to `most`, exactly."""
    powers = range(most + 1)
    if min(values, default=0) >= 0 and max(values, default=0) * len(values) ** (most + 1) < 2**63:
        whole, places = np.array(values, np.int64), np.arange(len(values), dtype=np.int64)
        return [int(whole @ places**power) for power in powers]
    # Python's whole numbers have no end: sums of x^3 * level pass 2^63 in large frames.
    return [sum(place**power * value for place, value in enumerate(values)) for power in powers]


def _about(raw: dict[tuple[int, int], int], p: int, q: int, x: Fraction, y: Fraction) -> Fraction:
    """Moment of the order p, q about a point, from the raw ones (binomial theorem)."""
    terms = (
        math.comb(p, i) * math.comb(q, j) * (-x) ** (p - i) * (-y) ** (q - j) * raw[i, j]
        for i in range(p + 1)
        for j in range(q + 1)
    )
    return sum(terms, Fraction(0))


def _hu(n20: float, n11: float, n02: float, n30: float, n21: float, n12: float, n03: float) -> list[float]:
    t0, t1 = n30 + n12, n21 + n03
    q0, q1 = t0 * t0, t1 * t1
    s, d = n20 - n02, n30 - 3 * n12
    e = 3 * n21 - n03
    return [
        n20 + n02,
        s * s + 4 * n11 * n11,
        d * d + e * e,
        q0 + q1,
        d * t0 * (q0 - 3 * q1) + e * t1 * (3 * q0 - q1),
        s * (q0 - q1) + 4 * n11 * t0 * t1,
        e * t0 * (q0 - 3 * q1) - d * t1 * (3 * q0 - q1),
    ]


def color_moments(window: Window, _params: Params) -> Histogram:
    """Count the values of each channel of the core, so that their distribution can be summed up.

    Args:
        window: Colour or grey.

    Returns:
        For each channel a row of 256 counts; `color_moments_figures` says what they amount to.

    Raises:
        BadPixels: Another shape or type.

    References:
        M. Stricker, M. Orengo, Similarity of Color Images, SPIE 2420, 1995.
    """
    return color_histogram(window, {"bins": 256})


def color_moments_figures(counts: Histogram, _params: Params) -> Figures:
    """Say mean, deviation, skewness and kurtosis of a frame's values.

    Args:
        counts: From `color_moments`, of all tiles.

    Returns:
        Figures: `mean` and `std` in grey levels; `skewness`, 0 of a symmetric distribution, above if the tail is
        bright; `kurtosis`, 3 of a normal distribution; lists of one value for grey, else for blue, green, red.
        Skewness and kurtosis of a channel of one value are 0.

    Raises:
        BadMessage: reason "schema": not 256 counts.
    """
    if any(len(row) != 256 for row in counts.counts):
        raise BadMessage("schema", "expected rows of 256 counts")
    channels = [_distribution(row) for row in counts.counts]
    names = ("mean", "std", "skewness", "kurtosis")
    return Figures(values={name: [found[at] for found in channels] for at, name in enumerate(names)})


def _distribution(counts: list[int]) -> tuple[float, float, float, float]:
    total = max(1, sum(counts))
    mean = Fraction(sum(level * count for level, count in enumerate(counts)), total)
    second, third, fourth = (
        sum(count * (level - mean) ** power for level, count in enumerate(counts) if count) / total
        for power in (2, 3, 4)
    )
    std = math.sqrt(second)
    if not second:
        return round(float(mean), 6), 0.0, 0.0, 0.0
    return (
        round(float(mean), 6),
        round(std, 6),
        round(float(third) / std**3, 6),
        round(float(fourth / second**2), 6),
    )


ROWS: tuple[Operator, ...] = (
    Operator(
        name="moments",
        family="colour and texture",
        kind="measure",
        run=moments,
        exact="exact",
        finish=moments_shape,
        parameters=(Parameter(name="binary", default=False, meaning="each pixel above 0 counts as 1"),),
        meaning="moments to the third order, centroid, orientation and Hu's invariants",
    ),
    Operator(
        name="color_moments",
        family="colour and texture",
        kind="measure",
        run=color_moments,
        accepts=("color", "gray"),
        exact="exact",
        finish=color_moments_figures,
        meaning="mean, deviation, skewness and kurtosis of each channel",
    ),
)
