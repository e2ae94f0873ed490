"""Transforms by shape: the lowest or highest value under a structuring element, and thinning to skeletons.

All but the skeleton are exact across tiles: they compare values and never round.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Operator, Parameter, Params

SHAPES: dict[str, int] = {"rect": cv2.MORPH_RECT, "ellipse": cv2.MORPH_ELLIPSE, "cross": cv2.MORPH_CROSS}
# Bits of the eight neighbours, clockwise from the one above.
NEIGHBOURS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


def erode(pixels: NDArray[Any], params: Params) -> Pixels:
    """Take the lowest value under the element: dark parts grow. As `cv2.erode`; beyond the border counts nothing.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `shape` and `ksize` (odd width in pixels) of the element; `iterations`.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        J. Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    return _changed(pixels, cv2.MORPH_ERODE, params)


def dilate(pixels: NDArray[Any], params: Params) -> Pixels:
    """Take the highest value under the element: bright parts grow. As `cv2.dilate`; beyond the border counts nothing.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `shape` and `ksize` (odd width in pixels) of the element; `iterations`.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        J. Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    return _changed(pixels, cv2.MORPH_DILATE, params)


def opening(pixels: NDArray[Any], params: Params) -> Pixels:
    """Erode, then dilate: bright parts smaller than the element vanish, the others keep their size.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `shape` and `ksize` (odd width in pixels) of the element; `iterations` of each.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d9/d61/tutorial_py_morphological_ops.html
    """
    return _changed(pixels, cv2.MORPH_OPEN, params)


def closing(pixels: NDArray[Any], params: Params) -> Pixels:
    """Dilate, then erode: dark parts smaller than the element vanish, the others keep their size.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `shape` and `ksize` (odd width in pixels) of the element; `iterations` of each.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d9/d61/tutorial_py_morphological_ops.html
    """
    return _changed(pixels, cv2.MORPH_CLOSE, params)


def morphological_gradient(pixels: NDArray[Any], params: Params) -> Pixels:
    """Dilated less eroded picture: the outlines of things, and how much they stand out.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `shape` and `ksize` (odd width in pixels) of the element; `iterations` of each.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d9/d61/tutorial_py_morphological_ops.html
    """
    return _changed(pixels, cv2.MORPH_GRADIENT, params)


def top_hat(pixels: NDArray[Any], params: Params) -> Pixels:
    """Picture less its opening: bright parts smaller than the element, without the background.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `shape` and `ksize` (odd width in pixels) of the element; `iterations` of erosion and dilation.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d9/d61/tutorial_py_morphological_ops.html
    """
    return _changed(pixels, cv2.MORPH_TOPHAT, params)


def black_hat(pixels: NDArray[Any], params: Params) -> Pixels:
    """Closing less the picture: dark parts smaller than the element, without the background.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `shape` and `ksize` (odd width in pixels) of the element; `iterations` of dilation and erosion.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d9/d61/tutorial_py_morphological_ops.html
    """
    return _changed(pixels, cv2.MORPH_BLACKHAT, params)


def skeleton(pixels: NDArray[Any], params: Params) -> Pixels:
    """Thin bright parts to lines one pixel wide that keep their connections, by Guo and Hall.

    The result is that of `skimage.morphology.thin`. How far a part is thinned depends on its whole shape, so it works
    on the frame. The cost grows with the width of the thickest part.

    Args:
        pixels: Shape (rows, cols), uint8; the whole frame.
        params: `level`: what is above belongs to a part.

    Returns:
        Shape (rows, cols): 255 on lines, else 0.

    Raises:
        BadPixels: Another shape or type.

    References:
        Z. Guo, R. W. Hall, Parallel Thinning with Two-Subiteration Algorithms, CACM 32(3), 1989.
    """
    require_gray(pixels)
    lines = np.asarray(cv2.threshold(pixels, float(params["level"]), 1, cv2.THRESH_BINARY)[1], np.uint8)
    tables = [guo_hall(step) for step in (0, 1)]
    while True:
        removed = 0
        for table in tables:
            around = cv2.filter2D(lines, cv2.CV_8U, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
            kept = np.asarray(cv2.bitwise_and(lines, cv2.LUT(np.asarray(around, np.uint8), table)), np.uint8)
            removed += cv2.countNonZero(lines) - cv2.countNonZero(kept)
            lines = kept
        if not removed:
            return lines * np.uint8(255)


def guo_hall(step: int) -> Pixels:
    """Say of each of 256 neighbourhoods whether its centre stays (1) in the first or second step (0, 1) of a round."""
    stays = np.ones(256, np.uint8)
    for code in range(256):
        ring = [code >> bit & 1 for bit in range(8)]  # from the one above, clockwise
        sides, corners = ring[::2], ring[1::2]
        after = sides[1:] + sides[:1]
        parts = sum(not side and (corner or far) for side, corner, far in zip(sides, corners, after, strict=True))
        pairs = sum(side or corner for side, corner in zip(sides, corners, strict=True))
        other = sum(corner or far for corner, far in zip(corners, after, strict=True))
        turned = ring[4 * (1 - step) :] + ring[: 4 * (1 - step)]
        inner = (turned[4] or turned[5] or not turned[7]) and turned[6]
        if parts == 1 and 2 <= min(pairs, other) <= 3 and not inner:
            stays[code] = 0
    return stays


def _changed(pixels: NDArray[Any], operation: int, params: Params) -> Pixels:
    require_pixels(pixels)
    ksize = int(params["ksize"])
    element = cv2.getStructuringElement(SHAPES[str(params["shape"])], (ksize, ksize))
    return np.asarray(cv2.morphologyEx(pixels, operation, element, iterations=int(params["iterations"])), np.uint8)


def _halo(params: Params) -> int:
    """Of one erosion or dilation."""
    return int(params["ksize"]) // 2 * int(params["iterations"])


def _double_halo(params: Params) -> int:
    """Of one after the other."""
    return 2 * _halo(params)


_ELEMENT = (
    Parameter(name="shape", default="rect", choices=tuple(SHAPES), meaning="of the element"),
    Parameter(name="ksize", default=3, low=1, high=31, odd=True, meaning="width of the element, pixels"),
    Parameter(name="iterations", default=1, low=1, high=8, meaning="times in a row"),
)

ROWS: tuple[Operator, ...] = (
    *(
        Operator(
            name=name,
            family="morphology",
            kind="transform",
            run=run,
            accepts=("color", "gray"),
            exact="exact",
            parameters=_ELEMENT,
            halo=halo,
            meaning=meaning,
        )
        for name, run, halo, meaning in (
            ("erode", erode, _halo, "lowest value of the neighbourhood"),
            ("dilate", dilate, _halo, "highest value of the neighbourhood"),
            ("open", opening, _double_halo, "remove small bright parts"),
            ("close", closing, _double_halo, "remove small dark parts"),
            ("morphological_gradient", morphological_gradient, _halo, "outlines: dilated less eroded"),
            ("top_hat", top_hat, _double_halo, "small bright parts without background"),
            ("black_hat", black_hat, _double_halo, "small dark parts without background"),
        )
    ),
    Operator(
        name="skeleton",
        family="morphology",
        kind="transform",
        run=skeleton,
        gives="gray",
        scope="frame",
        parameters=(Parameter(name="level", default=127, low=0, high=255, meaning="grey level; above it is a part"),),
        meaning="lines one pixel wide, by Guo and Hall",
    ),
)
