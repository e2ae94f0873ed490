"""Cutting a frame into tiles and putting it together again: geometry and views, copied only in `join`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels, UsageError
from streamproc.model import Grid, Rect
from streamproc.operators.table import Window

CUT_PX = 16  # a JPEG block of 4:2:0 colour, two bytes of a bit-packed mask, and every thumbnail scale
Scalar = TypeVar("Scalar", bound=np.generic)


def largest_grid(width: int, height: int) -> Grid:
    """Finest grid a frame of `width` x `height` pixels can be cut into."""
    return Grid(rows=-(-height // CUT_PX), cols=-(-width // CUT_PX))


def cut(width: int, height: int, grid: Grid) -> list[Rect]:
    """Core rectangles of a frame's tiles, row by row; they partition the frame.

    Tiles differ by at most one block of 16 pixels; all cuts are multiples of 16, the last row and column take
    what is left over.

    Args:
        width: Of the frame, pixels.
        height: Of the frame, pixels.
        grid: Rows and columns of tiles.

    Raises:
        UsageError: The frame is empty or the grid is finer than blocks of 16 pixels.
    """
    if width < 1 or height < 1:
        raise UsageError(f"a frame needs at least one pixel, got {width}x{height}")
    most = largest_grid(width, height)
    if not (1 <= grid.rows <= most.rows and 1 <= grid.cols <= most.cols):
        raise UsageError(f"grid {grid} does not fit a frame of {width}x{height} pixels: 1x1 to {most} do")
    xs, ys = _cuts(width, grid.cols), _cuts(height, grid.rows)
    return [
        Rect(left, top, right - left, bottom - top)
        for top, bottom in itertools.pairwise(ys)
        for left, right in itertools.pairwise(xs)
    ]


def split(pixels: NDArray[Any], grid: Grid, halo: int) -> list[Window]:
    """Cut a frame into windows, row by row: views of core and halo.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, channels).
        grid: Rows and columns of tiles.
        halo: Pixels of the neighbours that each window carries, clipped at the frame's border.

    Raises:
        UsageError: The grid does not fit, or `halo` is negative.
        BadPixels: Not a picture.
    """
    if pixels.ndim not in (2, 3):
        raise BadPixels(f"expected (rows, cols) or (rows, cols, channels), got {pixels.shape}")
    if halo < 0:
        raise UsageError(f"halo must be 0 or more pixels, got {halo}")
    height, width = pixels.shape[:2]
    whole = Rect(0, 0, width, height)
    windows: list[Window] = []
    for core in cut(width, height, grid):
        rect = core.grown(halo, width=width, height=height)
        windows.append(Window(pixels=pixels[rect.within(whole)], rect=rect, core=core, width=width, height=height))
    return windows


def window_of(pixels: NDArray[Any], core: Rect, halo: int, width: int, height: int) -> Window:
    """Window of decoded pixels that cover `core` grown by `halo`, in a frame of `width` x `height`.

    Raises:
        BadPixels: The pixels are not of that size.
    """
    rect = core.grown(halo, width=width, height=height)
    if pixels.shape[:2] != (rect.height, rect.width):
        raise BadPixels(f"expected {(rect.height, rect.width)} pixels for {rect}, got {pixels.shape}")
    return Window(pixels=pixels, rect=rect, core=core, width=width, height=height)


def join(parts: Iterable[tuple[Rect, NDArray[Scalar]]], width: int, height: int) -> NDArray[Scalar]:
    """Paint pictures of cores into one frame; what no part covers stays 0.

    Args:
        parts: Core rectangle and its pixels, (rows, cols[, channels]), all of one type. At least one.
        width: Of the frame, pixels.
        height: Of the frame, pixels.

    Raises:
        BadPixels: No part, or a part that does not fill its rectangle or lies outside the frame.
    """
    listed: Sequence[tuple[Rect, NDArray[Scalar]]] = list(parts)
    if not listed:
        raise BadPixels("a frame cannot be joined from no tiles")
    first = listed[0][1]
    whole = Rect(0, 0, width, height)
    frame = np.zeros((height, width, *first.shape[2:]), dtype=first.dtype)
    for core, pixels in listed:
        inside = core.x >= 0 and core.y >= 0 and core.right <= width and core.bottom <= height
        if not inside or pixels.shape != (core.height, core.width, *first.shape[2:]):
            raise BadPixels(f"{pixels.shape} pixels do not fill {core} of a {width}x{height} frame")
        frame[core.within(whole)] = pixels
    return frame


def _cuts(length: int, parts: int) -> list[int]:
    blocks = -(-length // CUT_PX)
    return [CUT_PX * (index * blocks // parts) for index in range(parts)] + [length]
