"""Pictures brought to the size of a page: exact area means down, whole factors up. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators.pixels import THUMBNAIL_SCALES, thumbnail

LONGEST_PX = 960
SMALL_PX = 320  # smaller frames are enlarged, so that lines and points can be told apart


def to_page(pixels: Pixels) -> Pixels:
    """Bring a picture to at most `LONGEST_PX`; one of half `SMALL_PX` or less is enlarged by a whole factor.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.

    Returns:
        The same kind of picture; itself, if its size is right.
    """
    rows, cols = pixels.shape[:2]
    longest = max(rows, cols)
    if longest <= LONGEST_PX:
        factor = max(1, SMALL_PX // longest)
        return pixels if factor == 1 else pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    share = LONGEST_PX / longest
    whole = max(scale for scale in THUMBNAIL_SCALES if scale <= longest / LONGEST_PX)
    reduced = thumbnail(pixels, whole)  # first by a whole factor: an 8K frame in float64 would take 800 MB
    for axis, length in enumerate((rows, cols)):
        reduced = _mean_of_areas(reduced, max(1, round(length * share)), axis)
    return reduced


def mask_to_page(mask: NDArray[np.uint8]) -> Pixels:
    """Bring a mask to the size of a page as `to_page` does; thin lines stay bright when it is reduced."""
    white = np.where(mask > 0, np.uint8(255), np.uint8(0))
    reduced = to_page(white)
    gain = max(mask.shape) / max(reduced.shape)
    if gain <= 1:
        return reduced
    return np.asarray(np.minimum(reduced * np.float32(gain), 255), np.uint8)


def _mean_of_areas(pixels: Pixels, length: int, axis: int) -> Pixels:
    """Reduce one axis to `length`; a new pixel is the mean of the stretch it covers, to parts of pixels."""
    old = pixels.shape[axis]
    if length >= old:
        return pixels
    values = np.moveaxis(pixels, axis, 0).astype(np.float64)
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    at = np.linspace(0, old, length + 1)
    below = np.minimum(at.astype(np.int64), old - 1)
    part = (at - below).reshape(-1, *[1] * (values.ndim - 1))
    means = np.diff(sums[below] + part * values[below], axis=0) * (length / old)
    return np.ascontiguousarray(np.moveaxis(np.rint(means).astype(np.uint8), 0, axis))
