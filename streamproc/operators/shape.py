"""The shape of what a frame shows: outlines of a black-and-white picture, and gradients of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from cv2.typing import MatLike

from streamproc.model import Figures
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Operator, Parameter, Params, Window

HOG_CELLS = 2  # a side of a block; blocks move by one cell


def hog(window: Window, params: Params) -> Figures:
    """Describe the whole frame by histograms of oriented gradients.

    The frame is resized to `width` x `height` (by area, without regard to its proportions), then `cv2.HOGDescriptor`
    with blocks of 2x2 cells that move by one cell.

    Args:
        window: Colour or grey; the whole frame.
        params: `width`, `height` the frame is resized to, pixels; `cell`, side of a cell, pixels; `bins` of
            directions.

    Returns:
        Figures: `descriptor`, numbers 0 to 1 in OpenCV's order, (width / cell - 1) * (height / cell - 1) * 4 * bins of
        them; `orientations`, the share of each bin in it: directions of the gradient, 0 to 180 degrees from the
        x axis towards y (down). A flat frame has zeros.

    Raises:
        BadPixels: Another shape or type.

    References:
        N. Dalal, B. Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
    """
    require_pixels(window.pixels)
    width, height, cell, bins = (int(params[name]) for name in ("width", "height", "cell", "bins"))
    resized = cv2.resize(window.pixels, (width, height), interpolation=cv2.INTER_AREA)
    block = (HOG_CELLS * cell, HOG_CELLS * cell)
    describer = cv2.HOGDescriptor((width, height), block, (cell, cell), (cell, cell), bins)
    found = np.asarray(describer.compute(resized), np.float64).reshape(-1)
    by_bin = found.reshape(-1, bins).sum(axis=0)
    shares = by_bin / (float(by_bin.sum()) or 1.0)
    return Figures(
        values={"descriptor": np.round(found, 6).tolist(), "orientations": np.round(shares, 6).tolist()},
    )


def contours(window: Window, params: Params) -> Figures:
    """Find the outer outlines of a black-and-white picture: whatever is not 0 is white.

    An outline runs through the middles of an area's outermost pixels, so its area is smaller than the number of pixels:
    0 for areas one pixel wide. Areas inside the holes of others are left out.

    Args:
        window: Grey; the whole frame.
        params: `min_area` inside an outline, square pixels; `limit`, outlines told.

    Returns:
        Figures: `count` of outlines of at least `min_area`; of the largest `limit`, largest first, then from top
        to bottom: `areas` in square pixels; `perimeters` in pixels; `boxes` (left, top, right, bottom of their pixels;
        right and bottom are exclusive); `circularity`, 4 pi area / perimeter^2, 1 of a circle; `solidity`, share
        of the convex hull that is filled.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        S. Suzuki, K. Abe, Topological Structural Analysis of Digitized Binary Images by Border Following, Computer
        Vision, Graphics, and Image Processing 30(1), 1985.
    """
    require_gray(window.pixels)
    found, _ = cv2.findContours(window.pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = [(cv2.contourArea(outline), outline) for outline in found]
    large = [(area, cv2.boundingRect(outline), outline) for area, outline in areas if area >= float(params["min_area"])]
    large.sort(key=lambda item: (-item[0], item[1][1], item[1][0]))
    told = large[: int(params["limit"])]
    perimeters = [cv2.arcLength(outline, closed=True) for _, _, outline in told]
    return Figures(
        values={
            "count": len(large),
            "areas": [area for area, _, _ in told],
            "perimeters": [round(length, 4) for length in perimeters],
            "boxes": [_corners(box) for _, box, _ in told],
            "circularity": [_circularity(item[0], length) for item, length in zip(told, perimeters, strict=True)],
            "solidity": [_solidity(area, outline) for area, _, outline in told],
        }
    )


def _corners(box: Sequence[int]) -> list[int]:
    x, y, width, height = box
    return [x, y, x + width, y + height]


def _circularity(area: float, perimeter: float) -> float:
    return round(4 * math.pi * area / perimeter**2, 6) if perimeter else 0.0


def _solidity(area: float, outline: MatLike) -> float:
    hull = cv2.contourArea(cv2.convexHull(outline))
    return round(area / hull, 6) if hull else 0.0


ROWS: tuple[Operator, ...] = (
    Operator(
        name="hog",
        family="descriptors",
        kind="measure",
        run=hog,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(name="width", default=64, choices=(32, 64, 96, 128), meaning="the frame is resized to, pixels"),
            Parameter(name="height", default=64, choices=(32, 64, 96, 128), meaning="the frame is resized to, pixels"),
            Parameter(name="cell", default=16, choices=(8, 16), meaning="side of a cell, pixels"),
            Parameter(name="bins", default=9, low=2, high=18, meaning="directions told apart"),
        ),
        meaning="the frame described by histograms of oriented gradients",
    ),
    Operator(
        name="contours",
        family="descriptors",
        kind="measure",
        run=contours,
        scope="frame",
        parameters=(
            Parameter(name="min_area", default=16.0, low=0, high=1e9, meaning="inside an outline, square pixels"),
            Parameter(name="limit", default=50, low=1, high=1000, meaning="largest outlines told of a frame"),
        ),
        meaning="outer outlines of a black-and-white picture: area, perimeter, box, roundness",
    ),
)
