"""Transforms that measure change between neighbours: Scharr and Laplacian, as floats in 0..1, exact across tiles."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.operators.intensity import magnitude
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params

SCHARR_FULL_STEP = 16 * 255  # response of Scharr 3x3 to a straight edge from black to white
# Largest response by ksize: 255 times the sum of the kernel's positive weights.
LAPLACIAN_FULL = {1: 4 * 255, 3: 8 * 255, 5: 56 * 255}


def scharr(pixels: NDArray[Any], _params: Params) -> NDArray[np.float32]:
    """Measure the gradient: `sqrt(dx^2 + dy^2) / 4080` of the 3x3 Scharr derivatives, held in 0..1.

    As `sobel`, with a response that depends less on the direction of an edge. 1 is a straight edge from black to
    white. The border is OpenCV's default (reflected, the last pixel once).

    Args:
        pixels: Shape (rows, cols), uint8.

    Returns:
        Shape (rows, cols), float32 in 0..1.

    Raises:
        BadPixels: Another shape or type.

    References:
        H. Scharr, Optimal Operators in Digital Image Processing, dissertation, Heidelberg, 2000.
    """
    require_gray(pixels)
    dx, dy = cv2.Scharr(pixels, cv2.CV_16S, 1, 0), cv2.Scharr(pixels, cv2.CV_16S, 0, 1)
    return magnitude(dx, dy, SCHARR_FULL_STEP)


def laplacian(pixels: NDArray[Any], params: Params) -> NDArray[np.float32]:
    """Measure the second derivative: the absolute value of `cv2.Laplacian`, divided by its largest, 0..1.

    It answers to lines, spots and both sides of edges in every direction; the mean of it says how sharp a picture is.
    The border is OpenCV's default (reflected, the last pixel once).

    Args:
        pixels: Shape (rows, cols), uint8.
        params: `ksize`, width of the kernel in pixels; 1 is the 3x3 kernel of the four neighbours.

    Returns:
        Shape (rows, cols), float32 in 0..1.

    Raises:
        BadPixels: Another shape or type.

    References:
        https://docs.opencv.org/4.x/d5/db5/tutorial_laplace_operator.html
    """
    require_gray(pixels)
    ksize = int(params["ksize"])
    # Whole numbers up to 14,280: exact in float32, whatever the order of the sums.
    response = np.asarray(cv2.Laplacian(pixels, cv2.CV_32F, ksize=ksize), np.float32)
    np.abs(response, out=response)
    response /= np.float32(LAPLACIAN_FULL[ksize])
    return response


def _scharr_halo(_params: Params) -> int:
    return 1


def _laplacian_halo(params: Params) -> int:
    return max(1, int(params["ksize"]) // 2)


ROWS: tuple[Operator, ...] = (
    Operator(
        name="scharr",
        family="edges",
        kind="transform",
        run=scharr,
        gives="float",
        exact="exact",
        halo=_scharr_halo,
        meaning="gradient magnitude in 0..1, float, more even over directions than sobel",
    ),
    Operator(
        name="laplacian",
        family="edges",
        kind="transform",
        run=laplacian,
        gives="float",
        exact="exact",
        parameters=(Parameter(name="ksize", default=3, choices=(1, 3, 5), meaning="kernel, pixels; 1: 4 neighbours"),),
        halo=_laplacian_halo,
        meaning="second derivative, absolute, in 0..1, float",
    ),
)
