"""Transforms: pixels to pixels of the same size, by brightness and by neighbourhood.

Each is exact across tiles: the same value wherever a pixel stands in a window, given the halo. So sums are
of whole numbers, and floats are touched one element at a time (a fused or reordered sum would round by
position).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators import pixels as pictures
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Operator, Parameter, Params

SOBEL_HALO_PX = 1
FULL_STEP = 4 * 255  # response of Sobel 3x3 to a straight edge from black to white


def gray(pixels: NDArray[Any], _params: Params) -> Pixels:
    """Grey by `cv2.cvtColor(BGR2GRAY)`; grey stays as it is.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.

    Returns:
        Shape (rows, cols), uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
    """
    return pictures.gray(pixels)


def brightness_contrast(pixels: NDArray[Any], params: Params) -> Pixels:
    """Scale and shift each value: `alpha * value + beta`, rounded half to even, held in 0..255.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `alpha`, contrast; `beta`, grey levels.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    alpha, beta = float(params["alpha"]), float(params["beta"])
    levels = alpha * np.arange(256, dtype=np.float64) + beta
    whole_64ths = (alpha * 64).is_integer() and (beta * 64).is_integer()  # below 2^24: exact in float32
    # Factors, products and sums in float32 are each wrong by 2^-24 of the largest value at most.
    error = 2.0**-21 * (255 * abs(alpha) + abs(beta))
    if whole_64ths or bool((np.abs(levels - np.floor(levels) - 0.5) > error).all()):
        if levels[0] >= 0:  # no sign to lose
            return np.asarray(cv2.convertScaleAbs(pixels, alpha=alpha, beta=beta), np.uint8)
        return np.asarray(cv2.addWeighted(pixels, alpha, pixels, 0, beta), np.uint8)
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table), dtype=np.uint8)


def threshold(pixels: NDArray[Any], params: Params) -> Pixels:
    """Black and white: 255 where the value is above `level`, else 0; `inverse` swaps them.

    Args:
        pixels: Shape (rows, cols), uint8.
        params: `level`, grey levels; `inverse`.

    Returns:
        Shape (rows, cols), 0 or 255.

    Raises:
        BadPixels: Another shape or type.
    """
    require_gray(pixels)
    kind = cv2.THRESH_BINARY_INV if params["inverse"] else cv2.THRESH_BINARY
    return np.asarray(cv2.threshold(pixels, float(params["level"]), 255, kind)[1], dtype=np.uint8)


def gaussian(pixels: NDArray[Any], params: Params) -> Pixels:
    """Blur by a Gaussian, as `cv2.GaussianBlur` with its default border.

    OpenCV blurs uint8 in whole numbers, so the result does not depend on the place in the window.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `ksize`, odd width of the kernel in pixels; `sigma`, pixels, 0 takes it from `ksize`.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    ksize = int(params["ksize"])
    blurred = cv2.GaussianBlur(pixels, (ksize, ksize), float(params["sigma"]), hint=cv2.ALGO_HINT_ACCURATE)
    return np.asarray(blurred, dtype=np.uint8)


def gaussian_halo(params: Params) -> int:
    """Half of the kernel."""
    return int(params["ksize"]) // 2


def sobel(pixels: NDArray[Any], _params: Params) -> NDArray[np.float32]:
    """Measure the gradient: `sqrt(dx^2 + dy^2) / 1020` of the 3x3 Sobel derivatives, held in 0..1.

    1 is a straight edge from black to white. The border is OpenCV's default (reflected, the last pixel once).

    Args:
        pixels: Shape (rows, cols), uint8.

    Returns:
        Shape (rows, cols), float32 in 0..1.

    Raises:
        BadPixels: Another shape or type.

    References:
        I. Sobel, G. Feldman, A 3x3 Isotropic Gradient Operator for Image Processing, 1968.
    """
    require_gray(pixels)
    dx, dy = cv2.Sobel(pixels, cv2.CV_16S, 1, 0, ksize=3), cv2.Sobel(pixels, cv2.CV_16S, 0, 1, ksize=3)
    return magnitude(dx, dy, FULL_STEP)


def magnitude(dx: NDArray[Any], dy: NDArray[Any], full: int) -> NDArray[np.float32]:
    """Length of gradients as a share of `full`, held in 0..1, the same wherever a pixel stands.

    Args:
        dx: Shape (rows, cols), int16.
        dy: The same shape.
        full: Length that is 1.

    Returns:
        Shape (rows, cols), float32 in 0..1.
    """
    total, square = dx.astype(np.float32), dy.astype(np.float32)
    # One rounding at most of each square, the sum, the root and the quotient, of one element at a time.
    total *= total
    square *= square
    total += square
    np.sqrt(total, out=total)
    total /= np.float32(full)
    return np.minimum(total, np.float32(1), out=total)


def _sobel_halo(_params: Params) -> int:
    return SOBEL_HALO_PX


ROWS: tuple[Operator, ...] = (
    Operator(
        name="gray",
        family="preprocess",
        kind="transform",
        run=gray,
        accepts=("color", "gray"),
        gives="gray",
        exact="exact",
        meaning="grey picture, as cv2.cvtColor(BGR2GRAY)",
    ),
    Operator(
        name="brightness_contrast",
        family="preprocess",
        kind="transform",
        run=brightness_contrast,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(
            Parameter(name="alpha", default=1.0, low=0, high=100, meaning="contrast: factor of each value"),
            Parameter(name="beta", default=0.0, low=-255, high=255, meaning="brightness: added, grey levels"),
        ),
        meaning="alpha * value + beta, rounded and held in 0..255",
    ),
    Operator(
        name="threshold",
        family="preprocess",
        kind="transform",
        run=threshold,
        gives="gray",
        exact="exact",
        parameters=(
            Parameter(name="level", default=127, low=0, high=255, meaning="grey level; what is above is white"),
            Parameter(name="inverse", default=False, meaning="make it black instead"),
        ),
        meaning="black and white",
    ),
    Operator(
        name="gaussian",
        family="filters",
        kind="transform",
        run=gaussian,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(
            Parameter(name="ksize", default=5, low=1, high=63, odd=True, meaning="width of the kernel, pixels"),
            Parameter(name="sigma", default=0.0, low=0, high=100, meaning="pixels; 0 takes it from ksize"),
        ),
        halo=gaussian_halo,
        meaning="blur",
    ),
    Operator(
        name="sobel",
        family="edges",
        kind="transform",
        run=sobel,
        gives="float",
        exact="exact",
        halo=_sobel_halo,
        meaning="gradient magnitude in 0..1, float; statistics and gray_histogram take it",
    ),
)
