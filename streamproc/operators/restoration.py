"""Transforms that repair pictures: sharpen, denoise, deblur, fill holes, enlarge."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators.geometry import scaled, scaled_back
from streamproc.operators.pixels import gray, require_pixels
from streamproc.operators.table import Operator, Parameter, Params

FILLS: dict[str, int] = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}
LEAST_LIGHT = np.float32(1e-6)  # keeps quotients of Richardson and Lucy finite; a grey level is 1 / 255
FAR_PX = 2**15  # corners further out are moved here before they are drawn


def sharpen(pixels: NDArray[Any], params: Params) -> Pixels:
    """Add what a Gaussian blur takes away, times `amount` (unsharp mask); rounded half to even, held in 0..255.

    The blur is that of `gaussian`, rounded to grey levels, so tiles are exact.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `ksize`, `sigma` of the blur, pixels (sigma 0 takes it from ksize); `amount`; `threshold`: smaller
            differences to the blur, in grey levels, stay as they are.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        R. C. Gonzalez, R. E. Woods, Digital Image Processing, section 3.6.
    """
    require_pixels(pixels)
    ksize = int(params["ksize"])
    blurred = cv2.GaussianBlur(pixels, (ksize, ksize), float(params["sigma"]), hint=cv2.ALGO_HINT_ACCURATE)
    amount, least = float(params["amount"]), int(params["threshold"])
    if least <= 1 and (amount * 64).is_integer():  # all terms are whole 64ths below 2^24: exact in float32
        return np.asarray(cv2.addWeighted(pixels, 1 + amount, blurred, -amount, 0), np.uint8)
    levels = np.arange(256, dtype=np.float64)
    difference = levels[:, None] - levels[None, :]  # by value and blurred value
    difference[np.abs(difference) < least] = 0
    table = np.clip(np.rint(levels[:, None] + amount * difference), 0, 255).astype(np.uint8)
    return np.asarray(table.reshape(-1)[pixels.astype(np.uint16) << 8 | np.asarray(blurred, np.uint16)], np.uint8)


def denoise(pixels: NDArray[Any], params: Params) -> Pixels:
    """Remove noise by non-local means, as `cv2.fastNlMeansDenoising` and `fastNlMeansDenoisingColored`.

    Each pixel becomes the mean of pixels in the search window whose surroundings look alike. Colour is denoised in
    Lab, lightness and colour apart. The sums are of whole numbers, so tiles are exact. The cost grows with the square
    of `search`: about a third of a second for a colour frame of 640x384 with the defaults.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `h`, strength for grey and lightness; `h_color`, for colours; `template`, odd width in pixels of the
            surroundings that are compared; `search`, odd width in pixels of the search window.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        A. Buades, B. Coll, J.-M. Morel, Non-Local Means Denoising, Image Processing On Line 1, 2011.
    """
    require_pixels(pixels)
    h, template, search = float(params["h"]), int(params["template"]), int(params["search"])
    if pixels.ndim == 2:
        return np.asarray(cv2.fastNlMeansDenoising(pixels, None, h, template, search), np.uint8)
    done = cv2.fastNlMeansDenoisingColored(pixels, None, h, float(params["h_color"]), template, search)
    return np.asarray(done, np.uint8)


def deblur(pixels: NDArray[Any], params: Params) -> Pixels:
    """Undo a blur of known shape, by Wiener's filter or by Richardson and Lucy, on the whole frame.

    Wiener divides spectra and damps what is mostly noise: `conj(H) / (|H|^2 + noise)`. Richardson and Lucy find, step
    by step, the most likely picture under photon noise; it costs four Fourier transforms a step. The border is
    mirrored and blurred once more.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; the whole frame.
        params: `method`; `blur`, "gaussian" of `sigma` pixels, or "motion" along a line of `length` pixels at `angle`
            degrees, counter-clockwise from the right; `noise`, power of the noise in that of the signal;
            `iterations`.

    Returns:
        The same shape, uint8, rounded and held in 0..255.

    Raises:
        BadPixels: Another shape or type.

    References:
        N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series, 1949.
        W. H. Richardson, Bayesian-Based Iterative Method of Image Restoration, JOSA 62(1), 1972.
        L. B. Lucy, An Iterative Technique for the Rectification of Observed Distributions, AJ 79(6), 1974.
    """
    require_pixels(pixels)
    if params["blur"] == "gaussian":
        kernel = gaussian_blur_kernel(float(params["sigma"]))
    else:
        kernel = motion_blur_kernel(float(params["length"]), float(params["angle"]))
    return _deconvolved(pixels, kernel, params)


def gaussian_blur_kernel(sigma: float) -> NDArray[np.float64]:
    """Weights of a Gaussian, to three deviations; an odd square whose sum is 1."""
    radius = math.ceil(3 * sigma)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = np.outer(weights, weights)
    return np.asarray(kernel / kernel.sum(), np.float64)


def motion_blur_kernel(length: float, angle: float) -> NDArray[np.float64]:
    """Weights of a movement at even speed along a line; an odd square whose sum is 1.

    Args:
        length: Pixels.
        angle: Degrees, counter-clockwise from the right.
    """
    radius = math.ceil(length / 2) + 1
    along = np.linspace(-length / 2, length / 2, 16 * math.ceil(length) + 1)
    x, y = along * math.cos(math.radians(angle)) + radius, -along * math.sin(math.radians(angle)) + radius
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for step_x, part_x in ((0, 1 - (x - left)), (1, x - left)):
        for step_y, part_y in ((0, 1 - (y - top)), (1, y - top)):
            np.add.at(kernel, (top + step_y, left + step_x), part_x * part_y)
    return np.asarray(kernel / kernel.sum(), np.float64)


def inpaint(pixels: NDArray[Any], params: Params) -> Pixels:
    """Fill holes from what surrounds them, as `cv2.inpaint`, on the whole frame.

    Holes are the pixels whose grey level lies in `low`..`high` (glare, burnt-in text), or the inside of the polygon
    `area` (a logo, a clock). A frame that is nothing but hole stays as it is. The cost grows with the holes and the
    square of `radius`.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; the whole frame.
        params: `holes`, "levels" or "area"; `low`, `high`, grey levels; `area`, corners; `grow`, pixels by which holes
            are widened; `radius`, pixels around that are looked at; `method`.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        A. Telea, An Image Inpainting Technique Based on the Fast Marching Method, Journal of Graphics Tools 9(1), 2004.
        M. Bertalmio, A. L. Bertozzi, G. Sapiro, Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting,
        CVPR 2001.
    """
    require_pixels(pixels)
    if params["holes"] == "levels":
        mask = np.asarray(cv2.inRange(gray(pixels), int(params["low"]), int(params["high"])), np.uint8)
    else:
        mask = _filled(params["area"], pixels.shape[:2])
    if grow := int(params["grow"]):
        mask = np.asarray(cv2.dilate(mask, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)), np.uint8)
    if mask.all() or not mask.any():
        return pixels.copy()
    return np.asarray(cv2.inpaint(pixels, mask, float(params["radius"]), FILLS[str(params["method"])]), np.uint8)


def super_resolution(pixels: NDArray[Any], params: Params) -> Pixels:
    """Enlarge the frame 2 to 4 times by resampling, as `cv2.resize`; adds pixels, not detail.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; the whole frame.
        params: `factor`; `interpolation`.

    Returns:
        `factor` times as many rows and columns, uint8.

    Raises:
        BadPixels: Another shape or type, or more than 2**26 pixels or 16,384 a side would come out.
    """
    require_pixels(pixels)
    return scaled(pixels, _enlarged(pixels.shape[1], pixels.shape[0], params), str(params["interpolation"]))


def super_resolution_back(places: NDArray[np.float64], width: int, height: int, params: Params) -> NDArray[np.float64]:
    """Points of the enlarged picture as points of the frame."""
    return scaled_back(places, (width, height), _enlarged(width, height, params))


def _enlarged(width: int, height: int, params: Params) -> tuple[int, int]:
    return width * int(params["factor"]), height * int(params["factor"])


def _deconvolved(pixels: Pixels, kernel: NDArray[np.float64], params: Params) -> Pixels:
    border = max(16, len(kernel))
    rows, cols = (int(cv2.getOptimalDFTSize(side + 2 * border)) for side in pixels.shape[:2])
    bottom, right = rows - pixels.shape[0] - border, cols - pixels.shape[1] - border
    framed = np.asarray(cv2.copyMakeBorder(pixels, border, bottom, border, right, cv2.BORDER_REFLECT_101), np.uint8)
    inner = np.s_[border : rows - bottom, border : cols - right]
    spectrum = _spectrum(kernel, rows, cols)
    planes = []
    for plane in np.atleast_3d(framed).transpose(2, 0, 1):
        light = _tapered(plane.astype(np.float32) / np.float32(255), spectrum, inner)
        if params["method"] == "wiener":
            planes.append(_wiener(light, spectrum, float(params["noise"])))
        else:
            planes.append(_richardson_lucy(light, spectrum, int(params["iterations"])))
    sharp = np.stack(planes, axis=2)[inner].reshape(pixels.shape)
    return np.asarray(np.clip(np.rint(sharp * np.float32(255)), 0, 255), np.uint8)


def _spectrum(kernel: NDArray[np.float64], rows: int, cols: int) -> NDArray[np.complex64]:
    """Of a kernel whose centre lies on the first pixel."""
    wide = np.zeros((rows, cols), np.float32)
    wide[: len(kernel), : len(kernel)] = kernel
    return np.fft.rfft2(np.roll(wide, (-(len(kernel) // 2), -(len(kernel) // 2)), axis=(0, 1))).astype(np.complex64)


def _tapered(
    light: NDArray[np.float32], spectrum: NDArray[np.complex64], inner: tuple[slice, slice]
) -> NDArray[np.float32]:
    """Blur the mirrored border over the opposite one: a step there would ring through the whole picture."""
    tapered = np.fft.irfft2(np.fft.rfft2(light) * spectrum, s=light.shape).astype(np.float32)
    tapered[inner] = light[inner]
    return tapered


def _wiener(light: NDArray[np.float32], spectrum: NDArray[np.complex64], noise: float) -> NDArray[np.float32]:
    inverse = spectrum.conj() / (np.abs(spectrum) ** 2 + np.float32(noise))
    # The brightness of the whole is known, not noisy.
    inverse[0, 0] = 1
    return np.fft.irfft2(np.fft.rfft2(light) * inverse, s=light.shape).astype(np.float32)


def _richardson_lucy(
    light: NDArray[np.float32], spectrum: NDArray[np.complex64], iterations: int
) -> NDArray[np.float32]:
    found = light + LEAST_LIGHT
    for _ in range(iterations):
        blurred = np.fft.irfft2(np.fft.rfft2(found) * spectrum, s=light.shape)
        ratio = light / np.maximum(blurred, LEAST_LIGHT)
        found = found * np.maximum(np.fft.irfft2(np.fft.rfft2(ratio) * spectrum.conj(), s=light.shape), 0)
    return np.asarray(found, np.float32)


def _filled(area: Iterable[tuple[float, float]], shape: tuple[int, ...]) -> Pixels:
    mask = np.zeros(shape, np.uint8)
    corners = np.clip(np.rint(np.array(list(area), np.float64)), -FAR_PX, FAR_PX).astype(np.int32)
    return np.asarray(cv2.fillPoly(mask, [corners], (255,)), np.uint8)


def _sharpen_halo(params: Params) -> int:
    return int(params["ksize"]) // 2


def _denoise_halo(params: Params) -> int:
    return int(params["template"]) // 2 + int(params["search"]) // 2


ROWS: tuple[Operator, ...] = (
    Operator(
        name="sharpen",
        family="restoration",
        kind="transform",
        run=sharpen,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(
            Parameter(name="ksize", default=9, low=3, high=63, odd=True, meaning="width of the blur, pixels"),
            Parameter(name="sigma", default=1.5, low=0, high=100, meaning="of the blur, pixels; 0 takes it from ksize"),
            Parameter(name="amount", default=1.0, low=0, high=20, meaning="how much of the difference is added"),
            Parameter(name="threshold", default=0, low=0, high=255, meaning="least difference, grey levels"),
        ),
        halo=_sharpen_halo,
        meaning="unsharp mask",
    ),
    Operator(
        name="denoise",
        family="restoration",
        kind="transform",
        run=denoise,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(
            Parameter(name="h", default=10.0, low=0.1, high=100, meaning="strength, grey levels"),
            Parameter(name="h_color", default=10.0, low=0.1, high=100, meaning="strength for colours"),
            Parameter(name="template", default=7, low=1, high=15, odd=True, meaning="what is compared, pixels wide"),
            Parameter(name="search", default=21, low=1, high=41, odd=True, meaning="where is searched, pixels wide"),
        ),
        halo=_denoise_halo,
        meaning="remove noise by non-local means",
    ),
    Operator(
        name="deblur",
        family="restoration",
        kind="transform",
        run=deblur,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(
                name="method", default="wiener", choices=("wiener", "richardson_lucy"), meaning="how it is undone"
            ),
            Parameter(name="blur", default="gaussian", choices=("gaussian", "motion"), meaning="what is undone"),
            Parameter(name="sigma", default=1.5, low=0.3, high=20, meaning="of the Gaussian, pixels"),
            Parameter(name="length", default=9.0, low=1, high=100, meaning="of the movement, pixels"),
            Parameter(name="angle", default=0.0, low=-180, high=180, meaning="of the movement, degrees"),
            Parameter(name="noise", default=0.01, low=0.000001, high=10, meaning="noise in signal, with wiener"),
            Parameter(name="iterations", default=15, low=1, high=100, meaning="steps, with richardson_lucy"),
        ),
        meaning="undo a blur of known shape",
    ),
    Operator(
        name="inpaint",
        family="restoration",
        kind="transform",
        run=inpaint,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(name="holes", default="levels", choices=("levels", "area"), meaning="what is filled"),
            Parameter(name="low", default=250, low=0, high=255, below="high", meaning="darkest grey level of a hole"),
            Parameter(name="high", default=255, low=0, high=255, meaning="brightest grey level of a hole"),
            Parameter(
                name="area",
                default=((0.0, 0.0), (63.0, 0.0), (63.0, 31.0), (0.0, 31.0)),
                low=3,
                high=64,
                meaning="polygon around the hole",
            ),
            Parameter(name="grow", default=1, low=0, high=32, meaning="pixels by which holes are widened"),
            Parameter(name="radius", default=3.0, low=1, high=20, meaning="pixels around that are looked at"),
            Parameter(name="method", default="telea", choices=tuple(FILLS), meaning="how it is filled"),
        ),
        meaning="fill holes from their surroundings",
    ),
    Operator(
        name="super_resolution",
        family="restoration",
        kind="transform",
        run=super_resolution,
        accepts=("color", "gray"),
        scope="frame",
        back=super_resolution_back,
        parameters=(
            Parameter(name="factor", default=2, low=2, high=4, meaning="times as many rows and columns"),
            Parameter(name="interpolation", default="lanczos", choices=("lanczos", "cubic"), meaning="resampling"),
        ),
        meaning="enlarge by resampling",
    ),
)
