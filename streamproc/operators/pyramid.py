"""Levels of a frame's pyramid as a tile sees them: the very pixels that the whole frame's level has there.

Detectors look at pictures reduced step by step. A tile that reduced its own pixels would sample them at other places
than the frame does; here it samples at the frame's places, bit for bit as `cv2.resize` with INTER_LINEAR_EXACT.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators.table import Window

_ONE = 256  # weights of INTER_LINEAR_EXACT have 8 bits
_BLOCK = 32  # rows that are worked on while they lie in the cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """The part of one level of the frame's pyramid that a window shows.

    Attributes:
        scale: How many pixels of the frame one pixel of the level stands for.
        pixels: Of columns `x` to `x` + cols of the level, rows likewise.
        x, y: Place in the level of the whole frame.
        width, height: Of the whole frame's level, pixels.
    """

    scale: float
    pixels: Pixels
    x: int
    y: int
    width: int
    height: int


def scales(first: float, factor: float, least: float, most: float) -> Iterator[float]:
    """Yield first, first * factor, ... as far as they lie from `least` to `most`, multiplied one after the other."""
    scale = first
    while scale <= most:
        if scale >= least:
            yield scale
        scale *= factor


def level_of(window: Window, scale: float) -> Level | None:
    """Reduce what a window shows as the whole frame would be reduced.

    Args:
        window: (rows, cols) or (rows, cols, 3), uint8.
        scale: Above 0: size of the frame divided by size of its level.

    Returns:
        The pixels of the level that depend on nothing outside the window; None if there are none.
    """
    width, height = round(window.width / scale), round(window.height / scale)
    if min(width, height) < 1:
        return None
    if window.rect.area == window.width * window.height:
        whole = cv2.resize(window.pixels, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        return Level(scale=scale, pixels=np.asarray(whole, np.uint8), x=0, y=0, width=width, height=height)
    if (width, height) == (window.width, window.height):
        return Level(scale=scale, pixels=window.pixels, x=window.rect.x, y=window.rect.y, width=width, height=height)
    cols = _taps(window.width, width, window.rect.x, window.rect.right)
    rows = _taps(window.height, height, window.rect.y, window.rect.bottom)
    if cols.weights.size == 0 or rows.weights.size == 0:
        return None
    pixels = _sampled(window.pixels, rows, cols)
    return Level(scale=scale, pixels=pixels, x=cols.first, y=rows.first, width=width, height=height)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taps:
    """Two source pixels (`low`, `high`, in the window) for each pixel of the level, and 256 times `high`'s weight."""

    first: int
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    weights: NDArray[np.uint16]


def _taps(source: int, target: int, start: int, stop: int) -> _Taps:
    """Of one axis; pixels `start` to `stop` of `source` are at hand."""
    at = (np.arange(target) + 0.5) * (source / target) - 0.5
    low = np.floor(at).astype(np.intp)
    weights = np.rint((at - low) * _ONE).astype(np.uint16)
    weights[(low < 0) | (low >= source - 1)] = 0
    low = np.clip(low, 0, source - 1)
    high = np.minimum(low + 1, source - 1)
    seen = np.flatnonzero((low >= start) & (np.where(weights > 0, high, low) < stop))
    if seen.size == 0:
        return _Taps(first=0, low=low[:0], high=low[:0], weights=weights[:0])
    part = slice(int(seen[0]), int(seen[-1]) + 1)
    return _Taps(
        first=int(seen[0]),
        low=low[part] - start,
        high=np.minimum(high[part], stop - 1) - start,
        weights=weights[part],
    )


def _sampled(pixels: Pixels, rows: _Taps, cols: _Taps) -> Pixels:
    """Weigh rows, then columns: all sums are whole numbers, so the order does not matter."""
    upper = _weighed(pixels, rows, np.uint16)  # at most 255 * 256
    # Whole rows are copied 3 times as fast as single values: columns are made rows.
    left = _weighed(np.asarray(cv2.transpose(upper)), cols, np.uint32)
    left += _ONE * _ONE // 2
    left >>= 16
    return np.asarray(cv2.transpose(left.astype(np.uint8)), np.uint8)


def _weighed(pixels: NDArray[Any], taps: _Taps, kind: type[np.uint16 | np.uint32]) -> NDArray[Any]:
    """Each row of the result is the weighed sum of two rows."""
    weights: NDArray[Any] = taps.weights.astype(kind).reshape(-1, *[1] * (pixels.ndim - 1))
    rest: NDArray[Any] = np.subtract(_ONE, weights, dtype=kind)
    total: NDArray[Any] = np.empty((weights.size, *pixels.shape[1:]), kind)
    for start in range(0, weights.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        np.multiply(pixels[taps.low[part]], rest[part], out=total[part])
        total[part] += np.multiply(pixels[taps.high[part]], weights[part], dtype=kind)
    return total
