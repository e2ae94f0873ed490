"""Counts of pixel values, and the sums that mean and deviation follow from: whole numbers that add up."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import Histogram, Pixels, Statistics
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Operator, Parameter, Params, Window

EXACT_PIXELS = 2**24  # calcHist counts in float32


def gray_histogram(window: Window, params: Params) -> Histogram:
    """Count the grey levels of the core.

    Args:
        window: Grey, or float in 0..1, which counts as 0..255.
        params: `bins`, a divisor of 256.

    Returns:
        One row of `bins` counts.

    Raises:
        BadPixels: Another shape or type.
    """
    levels = as_levels(window.core_pixels)
    require_gray(levels)
    return Histogram(counts=_binned(count_levels(levels), int(params["bins"])))


def color_histogram(window: Window, params: Params) -> Histogram:
    """Count the values of each channel of the core.

    Args:
        window: Colour, or grey.
        params: `bins`, a divisor of 256.

    Returns:
        Rows of `bins` counts: blue, green, red; or one row for grey.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(window.pixels)
    return Histogram(counts=_binned(count_levels(window.core_pixels), int(params["bins"])))


def statistics(window: Window, _params: Params) -> Statistics:
    """Sum values and squares of each channel of the core, and find the lowest and highest value.

    Args:
        window: Colour, grey, or float in 0..1, which counts as 0..255 (after `sobel`: how much edge there
            is).

    Raises:
        BadPixels: Another shape or type.
    """
    levels = as_levels(window.core_pixels)
    require_pixels(levels)
    planes = [levels] if levels.ndim == 2 else cv2.split(levels)
    ends = [cv2.minMaxLoc(plane)[:2] for plane in planes]
    return Statistics(
        count=window.core.area,
        total=[int(cv2.sumElems(plane)[0]) for plane in planes],
        # The norm is the root of a whole number below 2^48, rounded to 53 bits: its square rounds back to that number.
        squares=[round(cv2.norm(plane, cv2.NORM_L2) ** 2) for plane in planes],
        low=[int(lowest) for lowest, _ in ends],
        high=[int(highest) for _, highest in ends],
    )


def as_levels(pixels: NDArray[Any]) -> Pixels:
    """Turn floats in 0..1 into grey levels, rounded half to even; uint8 passes through.

    Raises:
        BadPixels: Neither uint8 nor float32.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype != np.float32:
        raise BadPixels(f"expected uint8 or float32, got {pixels.shape} {pixels.dtype}")
    levels: Pixels = np.rint(np.clip(pixels, 0, 1) * np.float32(255)).astype(np.uint8)
    return levels


def count_levels(pixels: Pixels) -> NDArray[np.int64]:
    """Count the values of each channel.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.

    Returns:
        Shape (channels, 256).
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return np.stack([count_values(pixels, 256, channel) for channel in range(channels)])


def count_values(pixels: NDArray[Any], most: int, channel: int = 0) -> NDArray[np.int64]:
    """Count the values of one channel by `cv2.calcHist`, in parts that it counts exactly.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8 or uint16.
        most: Values from 0 up to it, exclusive, are counted; larger ones are left out.
        channel: Which one.

    Returns:
        Shape (most,).
    """
    counts = np.zeros(most, np.int64)
    rows, cols = pixels.shape[:2]
    if not rows * cols:
        return counts
    step = max(1, EXACT_PIXELS // cols)
    for top in range(0, rows, step):
        found = cv2.calcHist([pixels[top : top + step]], [channel], None, [most], [0, most])
        counts += np.asarray(found, np.float32).reshape(most).astype(np.int64)
    return counts


def _binned(counts: NDArray[np.int64], bins: int) -> list[list[int]]:
    rows: list[list[int]] = counts.reshape(counts.shape[0], bins, -1).sum(axis=2).tolist()
    return rows


BINS: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)


ROWS: tuple[Operator, ...] = (
    Operator(
        name="gray_histogram",
        family="colour and texture",
        kind="measure",
        run=gray_histogram,
        accepts=("gray", "float"),
        exact="exact",
        parameters=(Parameter(name="bins", default=256, choices=BINS, meaning="counts"),),
        meaning="counts of grey levels",
    ),
    Operator(
        name="color_histogram",
        family="colour and texture",
        kind="measure",
        run=color_histogram,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(Parameter(name="bins", default=32, choices=BINS, meaning="counts of each channel"),),
        meaning="counts of blue, green and red values",
    ),
    Operator(
        name="statistics",
        family="colour and texture",
        kind="measure",
        run=statistics,
        accepts=("color", "gray", "float"),
        exact="exact",
        meaning="mean, deviation, lowest and highest value of each channel",
    ),
)
