"""Texture: counts of patterns and of pairs of pixels, so tiles give exactly what the frame would."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage
from streamproc.model import Figures, Histogram
from streamproc.operators.histograms import count_values
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params, Window

LBP_UNITS: Final = 100_000  # to a pixel: five decimals of a neighbour's place
DIRECTIONS_DEG: Final = (0, 45, 90, 135)


# --- local binary patterns -----------------------------------------------------------------------------------


def lbp(window: Window, params: Params) -> Histogram:
    """Count the uniform local binary patterns of the core.

    Each pixel is compared with `points` neighbours on a circle around it; those at least as bright are ones.
    Patterns with at most two changes around the circle are uniform. Neighbours between pixels are interpolated
    in whole numbers, so that a tie is a tie wherever it stands; outside the frame all is black.
    `skimage.feature.local_binary_pattern` gives the same codes but for such ties, which it rounds by place.

    Cost grows with `points`: about 15 ms for 640x384 with 8, 60 ms with 24.

    Args:
        window: Grey, with `radius` of halo.
        params: `points`; `radius`, pixels; `method`, "uniform" (patterns count by their number of ones, whatever
            their direction) or "nri_uniform" (each direction of a pattern on its own).

    Returns:
        One row of counts; the last is of patterns that are not uniform. "uniform": `points` + 2 counts, by number
        of ones. "nri_uniform": points * (points - 1) + 3, in the order of scikit-image.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        T. Ojala, M. Pietikainen, T. Maenpaa, Multiresolution Gray-Scale and Rotation Invariant Texture Classification
        with Local Binary Patterns, IEEE TPAMI 24(7), 2002.
    """
    require_gray(window.pixels)
    points, radius = int(params["points"]), int(params["radius"])
    ones, changes, start = _circle(window.cropped(radius), points, radius)
    uniform = changes <= 2
    if params["method"] == "uniform":
        codes, bins = np.where(uniform, ones, points + 1), points + 2
    else:
        directed = 1 + (ones - 1) * points + (points - start) % points
        whole = np.where(ones == 0, 0, points * (points - 1) + 1)
        codes = np.where((ones == 0) | (ones == points), whole, directed)
        codes, bins = np.where(uniform, codes, points * (points - 1) + 2), points * (points - 1) + 3
    return Histogram(counts=[np.bincount(codes.reshape(-1), minlength=bins).tolist()])


def lbp_halo(params: Params) -> int:
    """Radius of the circle."""
    return int(params["radius"])


def _circle(window: Window, points: int, radius: int) -> tuple[NDArray[np.int32], ...]:
    """Of each core pixel: ones around it, changes between them, and where the ones begin (if they begin once)."""
    core, rect = window.core, window.rect
    left, top = radius - (core.x - rect.x), radius - (core.y - rect.y)
    right, bottom = radius - (rect.right - core.right), radius - (rect.bottom - core.bottom)
    framed = cv2.copyMakeBorder(window.pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    levels = np.asarray(framed, np.float64)
    bits = [_at_least(levels, point, points, radius) for point in range(points)]
    ones, changes, start = (np.zeros((core.height, core.width), np.int32) for _ in range(3))
    for point, bit in enumerate(bits):
        before = bits[point - 1]
        ones += bit
        changes += bit ^ before
        start += point * (bit & ~before)
    return ones, changes, start


def _at_least(levels: NDArray[np.float64], point: int, points: int, radius: int) -> NDArray[np.bool_]:
    """Whether one neighbour of each pixel is at least as bright as the pixel; `levels` have `radius` around them."""
    angle = 2 * math.pi * point / points
    row, col = round(-radius * math.sin(angle) * LBP_UNITS), round(radius * math.cos(angle) * LBP_UNITS)
    (down, dy), (across, dx) = divmod(row, LBP_UNITS), divmod(col, LBP_UNITS)
    rows, cols = levels.shape[0] - 2 * radius, levels.shape[1] - 2 * radius
    # Whole numbers below 2^53: exact in float64, whatever the order.
    total = levels[radius : radius + rows, radius : radius + cols] * -float(LBP_UNITS**2)
    for y, weight_y in ((down, LBP_UNITS - dy), (down + 1, dy)):
        for x, weight_x in ((across, LBP_UNITS - dx), (across + 1, dx)):
            if weight := weight_y * weight_x:
                y0, x0 = radius + y, radius + x
                total += levels[y0 : y0 + rows, x0 : x0 + cols] * float(weight)
    return np.asarray(total >= 0, np.bool_)


# --- co-occurrence -------------------------------------------------------------------------------------------


def glcm(window: Window, params: Params) -> Histogram:
    """Count pairs of grey levels at one distance in four directions.

    A pair belongs to the tile that owns its first pixel. The second lies `distance` further in a direction of 0, 45, 90
    or 135 degrees from the x axis towards y (down), rounded to a whole pixel as scikit-image does. Pairs that leave
    the frame do not count.

    Args:
        window: Grey, with `distance` of halo.
        params: `levels` that grey is reduced to; `distance`, pixels.

    Returns:
        A row of levels * levels counts for each direction, first level by second; `glcm_properties` says what they
        amount to.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        R. M. Haralick, K. Shanmugam, I. Dinstein, Textural Features for Image Classification, IEEE Transactions
        SMC 3(6), 1973.
    """
    require_gray(window.pixels)
    levels, distance = int(params["levels"]), int(params["distance"])
    window = window.cropped(distance)
    reduced = (window.pixels // (256 // levels)).astype(np.uint16)
    return Histogram(counts=[_pairs(window, reduced, levels, distance, angle) for angle in DIRECTIONS_DEG])


def glcm_properties(pairs: Histogram, params: Params) -> Figures:
    """Say the texture that counted pairs speak of: of both orders of each pair, as scikit-image has it.

    Args:
        pairs: From `glcm`, of all tiles.
        params: `levels`.

    Returns:
        Figures: `directions`, degrees from the x axis towards y (down); `pairs` counted; and lists of one value for
        each direction: `contrast`, mean squared difference of levels; `dissimilarity`, mean difference;
        `homogeneity`, 1 where all pairs are equal; `asm`, sum of squared shares; `energy`, its root;
        `correlation`, -1 to 1, and 1 of a flat picture; `entropy`, bits. A direction without pairs has zeros.

    Raises:
        BadMessage: reason "schema": counts of another number of levels.
    """
    levels = int(params["levels"])
    if any(len(row) != levels * levels for row in pairs.counts):
        raise BadMessage("schema", f"expected rows of {levels * levels} counts")
    found = [_properties(np.array(row, np.int64).reshape(levels, levels)) for row in pairs.counts]
    lists = {name: [round(values[name], 9) for values in found] for name in found[0]}
    return Figures(values={"directions": list(DIRECTIONS_DEG), "pairs": [sum(row) for row in pairs.counts], **lists})


def glcm_halo(params: Params) -> int:
    """Distance between the pixels of a pair."""
    return int(params["distance"])


def _pairs(window: Window, reduced: NDArray[np.uint16], levels: int, distance: int, angle: int) -> list[int]:
    down = round(math.sin(math.radians(angle)) * distance)
    across = round(math.cos(math.radians(angle)) * distance)
    core, rect = window.core, window.rect
    # Core pixels whose partner is inside the frame; the halo holds it then.
    x0, x1 = max(core.x, -across), min(core.right, window.width - across)
    y1 = min(core.bottom, window.height - down)
    if x1 <= x0 or y1 <= core.y:
        return [0] * (levels * levels)
    first = reduced[core.y - rect.y : y1 - rect.y, x0 - rect.x : x1 - rect.x]
    second = reduced[core.y - rect.y + down : y1 - rect.y + down, x0 - rect.x + across : x1 - rect.x + across]
    counts: list[int] = count_values(first * np.uint16(levels) + second, levels * levels).tolist()
    return counts


def _properties(counts: NDArray[np.int64]) -> dict[str, float]:
    both = (counts + counts.T).astype(np.float64)
    share = both / max(1.0, float(both.sum()))
    row, col = np.indices(share.shape)
    apart = np.abs(row - col)
    mean = float((share * row).sum())  # of rows and of columns: the matrix is symmetric
    variance = float((share * (row - mean) ** 2).sum())
    covariance = float((share * (row - mean) * (col - mean)).sum())
    asm = float((share**2).sum())
    seen = share[share > 0]
    flat = 1.0 if seen.size else 0.0
    return {
        "contrast": float((share * apart**2).sum()),
        "dissimilarity": float((share * apart).sum()),
        "homogeneity": float((share / (1 + apart**2)).sum()),
        "asm": asm,
        "energy": math.sqrt(asm),
        "correlation": covariance / variance if variance > 1e-15 else flat,
        "entropy": abs(float((seen * np.log2(seen)).sum())),
    }


ROWS: tuple[Operator, ...] = (
    Operator(
        name="lbp",
        family="colour and texture",
        kind="measure",
        run=lbp,
        exact="exact",
        parameters=(
            Parameter(name="points", default=8, choices=(8, 16, 24), meaning="neighbours on the circle"),
            Parameter(name="radius", default=1, low=1, high=16, meaning="of the circle, pixels"),
            Parameter(
                name="method",
                default="uniform",
                choices=("uniform", "nri_uniform"),
                meaning="whatever the direction, or by direction",
            ),
        ),
        halo=lbp_halo,
        meaning="counts of uniform local binary patterns",
    ),
    Operator(
        name="glcm",
        family="colour and texture",
        kind="measure",
        run=glcm,
        exact="exact",
        finish=glcm_properties,
        parameters=(
            Parameter(name="levels", default=16, choices=(8, 16, 32), meaning="grey levels that are told apart"),
            Parameter(name="distance", default=1, low=1, high=16, meaning="between the pixels of a pair"),
        ),
        halo=glcm_halo,
        meaning="texture by co-occurrence of grey levels in four directions",
    ),
)
