"""Filter by a kernel of your own, 3x3 to 15x15, with sums as if of fractions, so that tiles are exact."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import PipelineError
from streamproc.model import Pixels
from streamproc.operators.pixels import require_pixels
from streamproc.operators.table import Operator, Parameter, Params

KERNEL_SIDES = (3, 5, 7, 9, 11, 13, 15)
KERNEL_DECIMALS = 6
DIRECT_CELLS = {cv2.CV_32F: 129, cv2.CV_64F: 49}  # cv2.filter2D multiplies spectra, inexactly, from one more on
MOST_SUMS = 2**20  # different sums that are looked at, once for a kernel, before it is given to cv2.filter2D as it is
MOST_ROUNDED = 2**30  # OpenCV rounds to 32 bits before it holds a value in its range
UNSURE_SHARE = 32  # if more than one pixel of so many is close to a tie, all are summed exactly
EXACT_SUM = {cv2.CV_32F: 2**24, cv2.CV_64F: 2**53}
_NUMBER = re.compile(rf"[+-]?(\d{{1,9}}(\.\d{{0,{KERNEL_DECIMALS}}})?|\.\d{{1,{KERNEL_DECIMALS}}})")


def custom_kernel(pixels: NDArray[Any], params: Params) -> Pixels:
    """Weigh each neighbourhood by a kernel of your own: `scale * sum + offset`, rounded half to even, in 0..255.

    As `cv2.filter2D` with its default border: the kernel is laid on as it is written (correlation), its centre on
    the pixel. Sums are exact whatever the numbers, and so are tiles.

    A kernel that finds edges sums to 0 and gives values below 0 as well. `output = "absolute"` tells how strong they
    are, `offset = 128` shows both signs around mid-grey, and `output = "clip"` without an offset keeps one side only.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `kernel`, numbers with blanks between them and ";" after each row, 3x3 to 15x15, at most nine
            digits before the point and six behind it; `scale`; `offset`, grey levels; `output`: "clip" makes
            values below 0 black, "absolute" takes the absolute value of `scale * sum + offset`, as
            `cv2.convertScaleAbs`; above 255 both are white.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
        PipelineError: The kernel cannot be read.
    """
    require_pixels(pixels)
    absolute = params["output"] == "absolute"
    plan = _planned(str(params["kernel"]), float(params["scale"]), float(params["offset"]), absolute)
    if plan.direct is not None:
        depth = cv2.CV_16S if absolute else -1
        found = cv2.filter2D(pixels, depth, plan.direct, delta=float(params["offset"]))
        return np.asarray(cv2.convertScaleAbs(found) if absolute else found, np.uint8)
    if plan.levels is not None:
        return np.asarray(
            cv2.LUT(cv2.filter2D(pixels, cv2.CV_16S, plan.weights.astype(np.float32)), plan.levels), np.uint8
        )
    if plan.between is not None:
        return _bracketed(pixels, plan, *plan.between, float(params["offset"]), absolute)
    return _levels(_sums(pixels, plan.weights), plan.factor, float(params["offset"]), absolute)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """The cheapest exact way to weigh by a kernel.

    Attributes:
        weights: Whole numbers without a common factor.
        factor: By which their sums are multiplied.
        direct: Kernel with which `cv2.filter2D` rounds every sum rightly in whatever order it adds; None for others.
        levels: Grey level by the lower 16 bits of the sum, where it fits them; None where it does not.
        between: Kernel in float32, and by how much its sums may be wrong, for those that are neither; None for
            kernels so large that `cv2.filter2D` multiplies spectra.
    """

    weights: NDArray[np.int64]
    factor: float
    direct: NDArray[np.float32] | None = None
    levels: NDArray[np.uint8] | None = None
    between: tuple[NDArray[np.float32], float] | None = None


@functools.lru_cache(maxsize=64)
def _planned(kernel: str, scale: float, offset: float, absolute: bool) -> _Plan:
    weights, denominator = whole_weights(kernel)
    common = math.gcd(*(int(weight) for weight in weights.flat)) or 1
    weights //= common
    factor = Fraction(scale) * common / denominator
    largest, plan = _largest(weights), _Plan(weights=weights, factor=float(factor))
    if weights.size > DIRECT_CELLS[cv2.CV_32F]:
        return plan
    rounded = (weights * float(factor)).astype(np.float32)
    # N. J. Higham, Accuracy and Stability of Numerical Algorithms, 3.1; weights and the offset are rounded as well.
    reach = largest * abs(plan.factor) + abs(offset)
    error = (weights.size + 3) * 2.0**-24 * reach
    if reach < MOST_ROUNDED and largest < MOST_SUMS and _rounds_alike(largest, factor, offset, error):
        return replace(plan, direct=rounded)
    if largest < 2**15:
        sums = np.arange(2**16, dtype=np.uint16).view(np.int16)
        return replace(plan, levels=_levels(sums, plan.factor, offset, absolute))
    return replace(plan, between=(rounded, 2 * error)) if reach < MOST_ROUNDED else plan


def _rounds_alike(largest: int, factor: Fraction, offset: float, error: float) -> bool:
    """Whether float32 sums, in any order, are rounded to the level that the exact sum is rounded to."""
    unit = math.lcm(factor.denominator, Fraction(offset).denominator)
    if unit & (unit - 1) == 0 and (largest * abs(factor) + abs(Fraction(offset))) * unit < EXACT_SUM[cv2.CV_32F]:
        return True  # every term and every partial sum is a float32
    values = np.arange(-largest, largest + 1, dtype=np.float64) * float(factor) + offset
    values = values[np.abs(values) < 256]  # beyond, all are held at a limit
    return bool((np.abs(values - np.floor(values) - 0.5) > error).all())


def _bracketed(
    pixels: Pixels, plan: _Plan, kernel: NDArray[np.float32], error: float, offset: float, absolute: bool
) -> Pixels:
    """Levels where float32 sums, made too small and too large, round to the same; the others from exact sums."""
    depth = cv2.CV_16S if absolute else cv2.CV_8U
    low, high = (cv2.filter2D(pixels, depth, kernel, delta=offset + shift) for shift in (-error, error))
    done = np.asarray(cv2.convertScaleAbs(low) if absolute else low, np.uint8)
    unsure = np.flatnonzero(np.asarray(low) != np.asarray(high))
    if unsure.size > pixels.size // UNSURE_SHARE:
        return _levels(_sums(pixels, plan.weights), plan.factor, offset, absolute)
    border = len(plan.weights) // 2
    framed = np.asarray(cv2.copyMakeBorder(pixels, border, border, border, border, cv2.BORDER_REFLECT_101))
    y, x, *channel = np.unravel_index(unsure, pixels.shape)
    sums = np.zeros(unsure.size, np.int64)
    for (row, col), weight in np.ndenumerate(plan.weights):
        sums += weight * framed[(y + row, x + col, *channel)].astype(np.int64)
    done.reshape(-1)[unsure] = _levels(sums, plan.factor, offset, absolute)
    return done


def _levels(sums: NDArray[Any], factor: float, offset: float, absolute: bool) -> Pixels:
    """Grey levels of exact sums."""
    levels = sums.astype(np.float64)
    levels *= factor
    levels += offset
    if absolute:
        np.abs(levels, out=levels)
    return np.clip(np.rint(levels, out=levels), 0, 255, out=levels).astype(np.uint8)


def whole_weights(kernel: str) -> tuple[NDArray[np.int64], int]:
    """Read a kernel: whole numbers, and what they are to be divided by.

    Args:
        kernel: As "0 -1 0; -1 5 -1; 0 -1 0".

    Raises:
        PipelineError: Not square, of another size, or something is no number.
    """
    rows = [row.replace(",", " ").split() for row in kernel.strip().rstrip(";").split(";")]
    side = len(rows)
    if side not in KERNEL_SIDES or any(len(row) != side for row in rows):
        shape = " ".join(str(len(row)) for row in rows)
        raise PipelineError(f"a kernel must have 3 to 15 rows, an odd number, of as many numbers, got rows of {shape}")
    for number in (number for row in rows for number in row):
        if not _NUMBER.fullmatch(number):
            raise PipelineError(f"a kernel's numbers must be such as 2, -1 or 0.25, got {number!r}")
    exact = [[Fraction(number) for number in row] for row in rows]
    denominator = math.lcm(*(number.denominator for row in exact for number in row))
    weights = np.array([[int(number * denominator) for number in row] for row in exact], np.int64)
    if _largest(weights) >= EXACT_SUM[cv2.CV_64F]:
        raise PipelineError(f"a kernel's numbers must be smaller, or have fewer digits, got {kernel!r}")
    return weights, denominator


def _largest(weights: NDArray[np.int64]) -> int:
    return 255 * sum(abs(int(weight)) for weight in weights.flat)


def _sums(pixels: Pixels, weights: NDArray[np.int64]) -> NDArray[Any]:
    """Exact weighted sums, in a float type that holds them; of strips that are small enough to be summed directly."""
    depth = cv2.CV_32F if _largest(weights) < EXACT_SUM[cv2.CV_32F] else cv2.CV_64F
    kind: type[np.float32] | type[np.float64] = np.float32 if depth == cv2.CV_32F else np.float64
    rows, cols = pixels.shape[:2]
    side, border = len(weights), len(weights) // 2
    framed: NDArray[Any] = np.asarray(
        cv2.copyMakeBorder(pixels, border, border, border, border, cv2.BORDER_REFLECT_101), kind
    )
    total = np.zeros(pixels.shape, kind)
    height = min(side, DIRECT_CELLS[depth] // side)
    for top in range(0, side, height):
        strip: NDArray[Any] = weights[top : top + height].astype(kind)
        found = cv2.filter2D(framed, depth, strip, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        total += np.asarray(found)[top : top + rows, :cols]
    return total


def _half_kernel(params: Params) -> int:
    return len(whole_weights(str(params["kernel"]))[0]) // 2


ROWS: tuple[Operator, ...] = (
    Operator(
        name="custom_kernel",
        family="filters",
        kind="transform",
        run=custom_kernel,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(
            Parameter(name="kernel", default="0 -1 0; -1 5 -1; 0 -1 0", meaning='rows of numbers, ";" between them'),
            Parameter(name="scale", default=1.0, low=-1000, high=1000, meaning="factor of the sum"),
            Parameter(name="offset", default=0.0, low=-255, high=255, meaning="added, grey levels"),
            Parameter(
                name="output",
                default="clip",
                choices=("clip", "absolute"),
                meaning="of what is below 0: black, or its absolute value",
            ),
        ),
        halo=_half_kernel,
        meaning="weighted sum of neighbours, as cv2.filter2D",
    ),
)
