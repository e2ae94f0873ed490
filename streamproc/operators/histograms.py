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
LEVELS = np.arange(256, dtype=np.int64)


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
    return Histogram(counts=_binned(_counts(levels), int(params["bins"])))


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
    return Histogram(counts=_binned(_counts(window.core_pixels), int(params["bins"])))


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
    counts = _counts(levels)
    present = [np.flatnonzero(row) for row in counts]
    return Statistics(
        count=window.core.area,
        total=[int(row @ LEVELS) for row in counts],
        squares=[int(row @ LEVELS**2) for row in counts],
        low=[int(levels[0]) for levels in present],
        high=[int(levels[-1]) for levels in present],
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


def _counts(pixels: Pixels) -> NDArray[np.int64]:
    """Shape (channels, 256)."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    counts = np.zeros((channels, 256), np.int64)
    step = max(1, EXACT_PIXELS // pixels.shape[1])
    for top in range(0, pixels.shape[0], step):
        part = pixels[top : top + step]
        for channel in range(channels):
            found = cv2.calcHist([part], [channel], None, [256], [0, 256])
            counts[channel] += np.asarray(found, np.float32).reshape(256).astype(np.int64)
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
