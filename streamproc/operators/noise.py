"""How noisy a picture is. What takes noise away is a filter."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Figures, Histogram, Pixels
from streamproc.operators.histograms import count_values
from streamproc.operators.pixels import require_pixels
from streamproc.operators.table import Operator, Params, Window

NOISE_HALO_PX = 1
MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
GAIN = 6  # root of the sum of the mask's squares: the deviation that noise of deviation 1 has after it
MOST = 8 * 255
QUARTILE = 0.674489750196  # half of a normal distribution lies this many deviations around its mean


def noise_estimate(window: Window, _params: Params) -> Histogram:
    """Count the sizes of Immerkaer's noise mask, a difference of two Laplacians, on the pixels of the core.

    The mask is 0 on planes and straight ramps, so most of what it finds is noise. Pixels at the frame's border and
    those with a neighbour of 0 or 255 are left out: there noise is cut off.

    Args:
        window: Colour or grey, with NOISE_HALO_PX of halo.

    Returns:
        For each channel a row of counts of the sizes 0 to 2040; `noise_sigma` says what they amount to.

    Raises:
        BadPixels: Another shape or type.

    References:
        J. Immerkaer, Fast Noise Variance Estimation, Computer Vision and Image Understanding 64(2), 1996.
    """
    require_pixels(window.pixels)
    window = window.cropped(NOISE_HALO_PX)
    pixels = window.pixels
    planes = [pixels] if pixels.ndim == 2 else [pixels[:, :, channel] for channel in range(3)]
    top, left = max(1, window.core.y) - window.rect.y, max(1, window.core.x) - window.rect.x
    bottom = min(window.height - 1, window.core.bottom) - window.rect.y
    right = min(window.width - 1, window.core.right) - window.rect.x
    if bottom <= top or right <= left:
        return Histogram(counts=[[0] * (MOST + 1) for _ in planes])
    inner = slice(top, bottom), slice(left, right)
    return Histogram(counts=[_sizes(np.ascontiguousarray(plane), inner) for plane in planes])


def noise_sigma(sizes: Histogram, _params: Params) -> Figures:
    """Say the standard deviation of white noise that the counted sizes speak of.

    `sigma` rests on the median, so that edges and texture on less than half of the picture hardly count;
    `sigma_mean` is Immerkaer's own, from the mean. Both are too high on pictures full of fine texture, too low where
    noise has been smoothed (JPEG, denoising cameras), and rough below 0.5 grey levels.

    Args:
        sizes: From `noise_estimate`, of all tiles.

    Returns:
        Figures: `sigma` and `sigma_mean`, grey levels, and `pixels` they rest on: lists of one value for
        grey, else for blue, green and red. Where no pixel can be used, all are 0.
    """
    rows = [np.array(row, np.int64) for row in sizes.counts]
    return Figures(
        values={
            "sigma": [round(_median(row) / (QUARTILE * GAIN), 4) for row in rows],
            "sigma_mean": [round(math.sqrt(math.pi / 2) * _mean(row) / GAIN, 4) for row in rows],
            "pixels": [int(row.sum()) for row in rows],
        }
    )


def _sizes(plane: Pixels, inner: tuple[slice, slice]) -> list[int]:
    found = np.asarray(cv2.filter2D(plane, cv2.CV_16S, MASK), np.int16)
    sizes = np.abs(found, out=found).view(np.uint16)
    used = np.asarray(cv2.erode(cv2.inRange(plane, 1, 254), np.ones((3, 3), np.uint8)), np.uint8)
    sizes |= (~used).astype(np.uint16) << 8  # what is not used becomes larger than all that counts
    counts: list[int] = count_values(sizes[inner], MOST + 1).tolist()
    return counts


def _median(counts: NDArray[np.int64]) -> float:
    """Median of sizes that were whole numbers by rounding, as if spread evenly within half a step."""
    total = int(counts.sum())
    if int(counts[0]) == total:  # nothing counted, or nothing but zeros
        return 0.0
    below = np.concatenate([[0], np.cumsum(counts)])
    at = int(np.searchsorted(below[1:], total / 2))
    within = (total / 2 - int(below[at])) / int(counts[at])
    # Size 0 stands for half a step only, from 0 to 0.5.
    return within / 2 if at == 0 else at - 0.5 + within


def _mean(counts: NDArray[np.int64]) -> float:
    return float(counts @ np.arange(counts.size)) / max(1, int(counts.sum()))


def _noise_halo(_params: Params) -> int:
    return NOISE_HALO_PX


ROWS: tuple[Operator, ...] = (
    Operator(
        name="noise_estimate",
        family="noise",
        kind="measure",
        run=noise_estimate,
        accepts=("color", "gray"),
        exact="exact",
        halo=_noise_halo,
        finish=noise_sigma,
        meaning="standard deviation of the noise, grey levels",
    ),
)
