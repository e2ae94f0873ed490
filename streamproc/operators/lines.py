"""Straight lines and circles by Hough's transform: votes of all edges of a frame, so they work on the whole frame."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Figures, Pixels
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params, Window


def hough_lines(window: Window, params: Params) -> Figures:
    """Find pieces of straight lines, as `cv2.HoughLinesP` (progressive probabilistic Hough transform).

    Edges are those of `cv2.Canny`, or the picture itself with `mask`: what is above 0 is an edge. After a `canny` step
    that gives the lines of the frame's own edges without a second search for them. OpenCV draws edges by chance, from
    one fixed seed: one picture always gives one answer.

    Cost grows with the number of edge pixels and with finer `theta`.

    Args:
        window: Grey, or a black-and-white mask; the whole frame.
        params: `mask`; `low` and `high` of Canny, gradient in grey levels; `rho`, pixels, and `theta`, degrees,
            between lines that are told apart; `threshold`, votes of a line; `min_length` and `max_gap`, pixels;
            `limit`, lines told.

    Returns:
        Figures: `count` of lines; `lines`, the longest `limit`, longest first, then from top to bottom: x1, y1, x2, y2
        in whole pixels of the picture, the left end first (of upright lines the upper end).

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        J. Matas, C. Galambos, J. Kittler, Robust Detection of Lines Using the Progressive Probabilistic Hough
        Transform, Computer Vision and Image Understanding 78(1), 2000.
    """
    found = cv2.HoughLinesP(
        _edges(window, params),
        float(params["rho"]),
        math.radians(float(params["theta"])),
        int(params["threshold"]),
        minLineLength=float(params["min_length"]),
        maxLineGap=float(params["max_gap"]),
    )
    ends: NDArray[np.int64] = (
        np.zeros((0, 4), np.int64) if found is None else np.asarray(found, np.int64).reshape(-1, 4)
    )
    turned = (ends[:, 0] > ends[:, 2]) | ((ends[:, 0] == ends[:, 2]) & (ends[:, 1] > ends[:, 3]))
    ends[turned] = ends[turned][:, [2, 3, 0, 1]]
    length = (ends[:, 2] - ends[:, 0]) ** 2 + (ends[:, 3] - ends[:, 1]) ** 2
    order = np.lexsort((ends[:, 3], ends[:, 2], ends[:, 0], ends[:, 1], -length))[: int(params["limit"])]
    return Figures(values={"count": len(ends), "lines": ends[order].tolist()})


def hough_lines_standard(window: Window, params: Params) -> Figures:
    """Find straight lines without ends, as `cv2.HoughLines` (standard Hough transform).

    Edges are those of `cv2.Canny`, or the picture itself with `mask`, as for `hough_lines`.

    Args:
        window: Grey, or a black-and-white mask; the whole frame.
        params: `mask`; `low` and `high` of Canny, gradient in grey levels; `rho`, pixels, and `theta`, degrees,
            between lines that are told apart; `threshold`, votes of a line; `limit`, lines told.

    Returns:
        Figures: `count` of lines with more votes than `threshold` and than their neighbours; `lines`, of most votes,
        most first: distance from the picture's first pixel in pixels (below 0: to its left), direction of the line's
        normal in degrees from the x axis towards y (down), 0 to 180, and votes.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        R. O. Duda, P. E. Hart, Use of the Hough Transformation to Detect Lines and Curves in Pictures,
        Communications of the ACM 15(1), 1972.
    """
    step = math.radians(float(params["theta"]))
    # None where there is no line, whatever the stubs say.
    found: Any = cv2.HoughLinesWithAccumulator(
        _edges(window, params), float(params["rho"]), step, int(params["threshold"])
    )
    lines: NDArray[np.float64] = np.zeros((0, 3)) if found is None else np.asarray(found, np.float64).reshape(-1, 3)
    order = np.lexsort((lines[:, 0], lines[:, 1], -lines[:, 2]))[: int(params["limit"])]
    told = [[round(rho, 3), round(math.degrees(theta), 4), int(votes)] for rho, theta, votes in lines[order].tolist()]
    return Figures(values={"count": len(lines), "lines": told})


def hough_circles(window: Window, params: Params) -> Figures:
    """Find circles, as `cv2.HoughCircles`.

    "gradient_alt" is the more precise method; "gradient" also finds circles of which little is seen. The cost of
    "gradient" grows with edge pixels times centres: up to 1 s for a photograph of 640x384, many seconds for noise. Blur
    the picture first.

    Args:
        window: Grey; the whole frame.
        params: `method`; `dp`, by how much votes are coarser than the picture; `min_dist` of centres, pixels;
            `high`, Canny's higher threshold (of Scharr's gradient for "gradient_alt"), grey levels; `votes` of a
            centre, for "gradient"; `perfectness` of a circle, for "gradient_alt"; `min_radius` and `max_radius`,
            pixels, 0 for any; `limit`, circles told.

    Returns:
        Figures: `count` of circles; `circles`, the best `limit` in OpenCV's order, best first: x, y and radius in
        pixels of the picture.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        H. K. Yuen, J. Princen, J. Illingworth, J. Kittler, Comparative Study of Hough Transform Methods for Circle
        Finding, Image and Vision Computing 8(1), 1990; https://docs.opencv.org/4.x/dd/d1a/group__imgproc__feature.html
    """
    require_gray(window.pixels)
    alternative = params["method"] == "gradient_alt"
    found = cv2.HoughCircles(
        np.ascontiguousarray(window.pixels),
        cv2.HOUGH_GRADIENT_ALT if alternative else cv2.HOUGH_GRADIENT,
        float(params["dp"]),
        min(float(params["min_dist"]), math.hypot(window.width, window.height)),  # the cost grows with its square
        param1=float(params["high"]),
        param2=float(params["perfectness"]) if alternative else float(params["votes"]),
        minRadius=int(params["min_radius"]),
        maxRadius=int(params["max_radius"]),
    )
    circles: NDArray[np.float64] = np.zeros((0, 3)) if found is None else np.asarray(found, np.float64).reshape(-1, 3)
    return Figures(values={"count": len(circles), "circles": np.round(circles[: int(params["limit"])], 2).tolist()})


def _edges(window: Window, params: Params) -> Pixels:
    require_gray(window.pixels)
    pixels = np.ascontiguousarray(window.pixels)
    if params["mask"]:
        return pixels
    return np.asarray(cv2.Canny(pixels, float(params["low"]), float(params["high"])), np.uint8)


def _edge_parameters() -> tuple[Parameter, ...]:
    return (
        Parameter(name="mask", default=False, meaning="what is above 0 is an edge; no search for edges"),
        Parameter(name="low", default=50.0, low=0, high=4096, meaning="gradient of a weak edge, grey levels"),
        Parameter(name="high", default=150.0, low=0, high=4096, meaning="gradient of a strong edge"),
        Parameter(name="rho", default=1.0, low=0.5, high=32, meaning="step of the distance, pixels"),
        Parameter(name="theta", default=1.0, low=0.25, high=45, meaning="step of the direction, degrees"),
        Parameter(name="threshold", default=80, low=1, high=100_000, meaning="votes (edge pixels) of a line"),
    )


def _limit(what: str) -> Parameter:
    return Parameter(name="limit", default=50, low=1, high=1000, meaning=f"{what} told of a frame")


ROWS: tuple[Operator, ...] = (
    Operator(
        name="hough_lines",
        family="lines and circles",
        kind="measure",
        run=hough_lines,
        scope="frame",
        parameters=(
            *_edge_parameters(),
            Parameter(name="min_length", default=30.0, low=0, high=65_535, meaning="of a line, pixels"),
            Parameter(name="max_gap", default=5.0, low=0, high=65_535, meaning="inside a line, pixels"),
            _limit("longest lines"),
        ),
        meaning="pieces of straight lines, by the probabilistic Hough transform",
    ),
    Operator(
        name="hough_lines_standard",
        family="lines and circles",
        kind="measure",
        run=hough_lines_standard,
        scope="frame",
        parameters=(*_edge_parameters(), _limit("strongest lines")),
        meaning="straight lines without ends, by the standard Hough transform",
    ),
    Operator(
        name="hough_circles",
        family="lines and circles",
        kind="measure",
        run=hough_circles,
        scope="frame",
        parameters=(
            Parameter(
                name="method", default="gradient_alt", choices=("gradient_alt", "gradient"), meaning="way of voting"
            ),
            Parameter(name="dp", default=1.5, low=1, high=16, meaning="pixels by one step of the votes"),
            Parameter(name="min_dist", default=20.0, low=1, high=65_535, meaning="between centres, pixels"),
            Parameter(name="high", default=300.0, low=1, high=16_384, meaning="gradient of a strong edge, grey levels"),
            Parameter(name="votes", default=60.0, low=1, high=100_000, meaning="of a centre, for gradient"),
            Parameter(name="perfectness", default=0.8, low=0, high=0.99, meaning="of a circle, for gradient_alt"),
            Parameter(name="min_radius", default=0, low=0, high=65_535, below="max_radius", meaning="pixels"),
            Parameter(
                name="max_radius", default=0, low=0, high=65_535, zero_is_no_limit=True, meaning="pixels; 0: any"
            ),
            _limit("best circles"),
        ),
        meaning="circles, by Hough's gradient methods",
    ),
)
