"""Transforms of brightness: gamma, equalisation, thresholds chosen from the picture, normalisation.

What needs the histogram of the whole frame works on the frame; the others are exact across tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Figures, Histogram, Pixels
from streamproc.operators.histograms import count_levels, gray_histogram
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Operator, Parameter, Params, Window

MOST_OTSU_PIXELS = 2**27


def gamma(pixels: NDArray[Any], params: Params) -> Pixels:
    """Bend the brightness curve: `255 * (value / 255) ** gamma`, rounded half to even.

    A gamma below 1 makes dark parts brighter, above 1 darker; 0 and 255 stay.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `gamma`, the exponent.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    levels = 255 * (np.arange(256, dtype=np.float64) / 255) ** float(params["gamma"])
    return np.asarray(cv2.LUT(pixels, np.rint(levels).astype(np.uint8)), np.uint8)


def equalize_histogram(pixels: NDArray[Any], _params: Params) -> Pixels:
    """Spread the grey levels of the frame evenly, as `cv2.equalizeHist`.

    Of a colour frame the luma alone (Y of YCrCb) is spread, so that colours keep their hue.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; the whole frame.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d5/daf/tutorial_py_histogram_equalization.html
    """
    return _on_luma(pixels, cv2.equalizeHist)


def clahe(pixels: NDArray[Any], params: Params) -> Pixels:
    """Spread the grey levels of each part of the frame with limited contrast, as `cv2.createCLAHE`.

    Of a colour frame the luma alone (Y of YCrCb) is spread.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; the whole frame.
        params: `clip_limit`, how far above an even share a count of the histogram may stand, 0 for no limit;
            `grid`, parts along each side.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        K. Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV, 1994.
    """
    grid = int(params["grid"])
    return _on_luma(pixels, cv2.createCLAHE(float(params["clip_limit"]), (grid, grid)).apply)


def otsu_threshold(pixels: NDArray[Any], params: Params) -> Pixels:
    """Black and white at Otsu's level of the frame, as `cv2.threshold` with THRESH_OTSU; see `otsu`.

    Args:
        pixels: Shape (rows, cols), uint8; the whole frame.
        params: `inverse`.

    Returns:
        Shape (rows, cols): 255 where the value is above the level, else 0; `inverse` swaps them.

    Raises:
        BadPixels: Another shape or type.

    References:
        N. Otsu, A Threshold Selection Method from Gray-Level Histograms, IEEE Trans. SMC 9(1), 1979.
    """
    require_gray(pixels)
    kind = cv2.THRESH_BINARY_INV if params["inverse"] else cv2.THRESH_BINARY
    level, _ = otsu_level(count_levels(pixels)[0].tolist())
    return np.asarray(cv2.threshold(pixels, level, 255, kind)[1], np.uint8)


def otsu(window: Window, _params: Params) -> Histogram:
    """Count grey levels; of the frame's sum, events tell the level that splits them best into dark and bright.

    In events: `level`, as `cv2.threshold` with THRESH_OTSU finds it (of levels that are equally good the lowest,
    where OpenCV may take another), and `between_class_variance` in squared grey levels: 0 for a picture of one level,
    127.5 ** 2 for half black, half white.

    Args:
        window: Grey.

    Returns:
        256 counts of the core.

    Raises:
        BadPixels: Another shape or type.

    References:
        N. Otsu, A Threshold Selection Method from Gray-Level Histograms, IEEE Trans. SMC 9(1), 1979.
    """
    require_gray(window.pixels)
    return gray_histogram(window, {"bins": 256})


def otsu_figures(merged: Histogram, _params: Params) -> Figures:
    """Otsu's level and the variance between the two classes, from the counts of a frame."""
    level, variance = otsu_level(merged.counts[0])
    return Figures(values={"level": level, "between_class_variance": round(variance, 6)})


def otsu_level(counts: Sequence[int]) -> tuple[int, float]:
    """Find the level that makes the variance between dark (up to it) and bright the largest; of equals the lowest.

    The comparison is of whole numbers. `cv2.threshold` compares floats, so of levels that are equally good it may
    take another one.

    Args:
        counts: Of grey levels, 256.

    Returns:
        The level, and the variance in squared grey levels.
    """
    total, mass = sum(counts), sum(level * count for level, count in enumerate(counts))
    if not total:
        return 0, 0.0
    # Products up to 255 * total^2 fit into 64 bits; of more pixels, Python's whole numbers have no end.
    number = np.array(counts, np.int64 if total < MOST_OTSU_PIXELS and min(counts) >= 0 else object)
    dark, dark_mass = np.cumsum(number), np.cumsum(number * np.arange(256))
    gaps, pairs = total * dark_mass - dark * mass, dark * (total - dark)
    split = np.flatnonzero(pairs > 0)
    rounded = gaps[split].astype(np.float64) ** 2 / pairs[split].astype(np.float64)
    best_level, best, share = 0, 0, 1
    for level in split[rounded >= rounded.max(initial=0) * (1 - 1e-9)].tolist():
        gap, pair = int(gaps[level]), int(pairs[level])
        if gap * gap * share > best * pair:  # gap^2 / pairs, without dividing
            best_level, best, share = level, gap * gap, pair
    return best_level, best / (share * total * total)


def adaptive_threshold(pixels: NDArray[Any], params: Params) -> Pixels:
    """Black and white by the neighbourhood: white where the value is above the local mean less `c`.

    With method "mean" as `cv2.adaptiveThreshold`. With "gaussian" the local mean is `cv2.GaussianBlur` of the
    uint8 picture, which rounds alike wherever tiles are cut; `cv2.adaptiveThreshold` blurs floats, whose
    rounded mean may be one grey level off, so pixels at the very level may differ from it:
    of twelve pictures 4 to 37 of 10,000, with blocks of 3 to 63 pixels.

    Args:
        pixels: Shape (rows, cols), uint8.
        params: `method`; `block_size`, odd width of the neighbourhood in pixels; `c`, grey levels;
            `inverse`.

    Returns:
        Shape (rows, cols), 0 or 255.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d7/d4d/tutorial_py_thresholding.html
    """
    require_gray(pixels)
    size, c, inverse = int(params["block_size"]), int(params["c"]), bool(params["inverse"])
    if params["method"] == "mean":
        kind = cv2.THRESH_BINARY_INV if inverse else cv2.THRESH_BINARY
        # Its means are correctly rounded: an odd block has no ties, and up to 63 px float32 errs by 3e-5 levels
        # where the nearest tie is 1e-4 away.
        return np.asarray(cv2.adaptiveThreshold(pixels, 255, cv2.ADAPTIVE_THRESH_MEAN_C, kind, size, c), np.uint8)
    mean = cv2.GaussianBlur(pixels, (size, size), 0, borderType=cv2.BORDER_REPLICATE, hint=cv2.ALGO_HINT_ACCURATE)
    above = cv2.subtract(pixels, np.asarray(mean, np.uint8), dtype=cv2.CV_16S) > -c
    white: Pixels = np.where(above != inverse, np.uint8(255), np.uint8(0))
    return white


def normalize(pixels: NDArray[Any], params: Params) -> Pixels:
    """Stretch the values of the frame to a wanted range, or to a wanted mean and deviation.

    "min_max" maps the lowest value to `low` and the highest to `high`; a frame of one value becomes `low`.
    "mean_std" gives the values the mean `mean` and the standard deviation `std`; a frame of one value becomes
    `mean`. Rounded half to even and held in 0..255. Channels of colour are taken together.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; the whole frame.
        params: `method`; `low`, `high`, `mean`, `std`, grey levels.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    levels = np.arange(256, dtype=np.float64)
    if params["method"] == "min_max":
        first, last, *_ = cv2.minMaxLoc(pixels.reshape(len(pixels), -1))
        spread, origin = last - first, float(params["low"])
        wanted = float(params["high"]) - origin
    else:
        counts = count_levels(pixels).sum(axis=0)
        first = float(counts @ levels / pixels.size)
        spread = float(np.sqrt(counts @ (levels - first) ** 2 / pixels.size))
        origin, wanted = float(params["mean"]), float(params["std"])
    mapped = origin + (levels - first) * (wanted / spread if spread > 0 else 0.0)
    return np.asarray(cv2.LUT(pixels, np.clip(np.rint(mapped), 0, 255).astype(np.uint8)), np.uint8)


def _on_luma(pixels: NDArray[Any], change: Callable[[Any], Any]) -> Pixels:
    require_pixels(pixels)
    if pixels.ndim == 2:
        return np.asarray(change(pixels), np.uint8)
    parts = cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)
    cv2.insertChannel(change(cv2.extractChannel(parts, 0)), parts, 0)
    return np.asarray(cv2.cvtColor(parts, cv2.COLOR_YCrCb2BGR), np.uint8)


def _block_halo(params: Params) -> int:
    return int(params["block_size"]) // 2


_INVERSE = Parameter(name="inverse", default=False, meaning="make bright parts black instead")

ROWS: tuple[Operator, ...] = (
    Operator(
        name="gamma",
        family="preprocess",
        kind="transform",
        run=gamma,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(Parameter(name="gamma", default=0.6, low=0.05, high=20, meaning="exponent; below 1 is brighter"),),
        meaning="bend the brightness curve",
    ),
    Operator(
        name="equalize_histogram",
        family="preprocess",
        kind="transform",
        run=equalize_histogram,
        accepts=("color", "gray"),
        scope="frame",
        meaning="spread grey levels evenly, as cv2.equalizeHist",
    ),
    Operator(
        name="clahe",
        family="preprocess",
        kind="transform",
        run=clahe,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(name="clip_limit", default=2.0, low=0, high=256, meaning="times an even share; 0: no limit"),
            Parameter(name="grid", default=8, low=1, high=64, meaning="parts along each side"),
        ),
        meaning="spread grey levels locally with limited contrast",
    ),
    Operator(
        name="otsu_threshold",
        family="preprocess",
        kind="transform",
        run=otsu_threshold,
        gives="gray",
        scope="frame",
        parameters=(_INVERSE,),
        meaning="black and white at Otsu's level of the frame",
    ),
    Operator(
        name="otsu",
        family="preprocess",
        kind="measure",
        run=otsu,
        exact="exact",
        finish=otsu_figures,
        meaning="Otsu's level of the frame, from exact counts of its tiles",
    ),
    Operator(
        name="adaptive_threshold",
        family="preprocess",
        kind="transform",
        run=adaptive_threshold,
        gives="gray",
        exact="exact",
        parameters=(
            Parameter(name="method", default="mean", choices=("mean", "gaussian"), meaning="weights of neighbours"),
            Parameter(name="block_size", default=11, low=3, high=63, odd=True, meaning="width, pixels"),
            Parameter(name="c", default=2, low=-255, high=255, meaning="subtracted from the mean, grey levels"),
            _INVERSE,
        ),
        halo=_block_halo,
        meaning="black and white by the local mean",
    ),
    Operator(
        name="normalize",
        family="preprocess",
        kind="transform",
        run=normalize,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(name="method", default="min_max", choices=("min_max", "mean_std"), meaning="what is set"),
            Parameter(name="low", default=0, low=0, high=255, below="high", meaning="lowest value, with min_max"),
            Parameter(name="high", default=255, low=0, high=255, meaning="highest value, with min_max"),
            Parameter(name="mean", default=127.5, low=0, high=255, meaning="grey levels, with mean_std"),
            Parameter(name="std", default=50.0, low=0, high=128, meaning="deviation, grey levels, with mean_std"),
        ),
        meaning="stretch values to a range, or to a mean and deviation",
    ),
)
