"""Transforms by neighbourhood: means and medians; and by frequency, on the whole frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators.parameters import require_at_most
from streamproc.operators.pixels import require_pixels
from streamproc.operators.table import Operator, Parameter, Params


def mean(pixels: NDArray[Any], params: Params) -> Pixels:
    """Blur by the mean of a square, as `cv2.blur` with its default border.

    The mean is rounded to the nearest level; a square of an odd number of pixels has no ties.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `ksize`, odd width of the square in pixels.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    ksize = int(params["ksize"])
    # Up to 63 px float32 errs by 3e-5 levels where the nearest tie is 1e-4 away, so each mean is rounded right.
    return np.asarray(cv2.blur(pixels, (ksize, ksize)), np.uint8)


def median(pixels: NDArray[Any], params: Params) -> Pixels:
    """Take the median of a square, of each channel, as `cv2.medianBlur`; removes specks and keeps edges.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `ksize`, odd width of the square in pixels.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    return np.asarray(cv2.medianBlur(pixels, int(params["ksize"])), np.uint8)


def bilateral(pixels: NDArray[Any], params: Params) -> Pixels:
    """Blur where neighbours are alike and keep edges, as `cv2.bilateralFilter`.

    Its float sums round by position, so tiles may differ from the whole frame by one grey level here and there.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        params: `d`, odd diameter of the neighbourhood in pixels; `sigma_color`, grey levels over which values
            count as alike; `sigma_space`, pixels over which neighbours count.

    Returns:
        The same shape, uint8.

    Raises:
        BadPixels: Another shape or type.

    References:
        C. Tomasi, R. Manduchi, Bilateral Filtering for Gray and Color Images, ICCV 1998.
    """
    require_pixels(pixels)
    done = cv2.bilateralFilter(pixels, int(params["d"]), float(params["sigma_color"]), float(params["sigma_space"]))
    return np.asarray(done, np.uint8)


def frequency_filter(pixels: NDArray[Any], params: Params) -> Pixels:
    """Keep some frequencies of the frame and remove others, by the discrete Fourier transform.

    "low_pass" keeps what is below `high`, "high_pass" what is above `low`, "band_pass" what lies between. The
    transfer function is 0 or 1 ("ideal", which rings), `1 / (1 + (f / cutoff) ** (2 * order))` ("butterworth") or
    `exp(-f**2 / (2 * cutoff**2))` ("gaussian") for the low pass, one minus it for the high pass. The frame is taken
    as periodic: opposite borders are neighbours.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8; the whole frame.
        params: `passes`; `shape`; `low`, `high`, cutoffs in cycles per pixel (0.5 is the finest pattern there is);
            `order` of Butterworth; `offset`, added to the result, grey levels (128 shows what a high pass leaves
            on both sides of zero).

    Returns:
        The same shape, uint8, rounded and held in 0..255.

    Raises:
        BadPixels: Another shape or type.

    References:
        R. C. Gonzalez, R. E. Woods, Digital Image Processing, chapter 4.
    """
    require_pixels(pixels)
    rows, cols = pixels.shape[:2]
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None, :])
    transfer = np.ones_like(radius)
    if params["passes"] != "high_pass":
        transfer *= _low_pass(radius, float(params["high"]), params)
    if params["passes"] != "low_pass":
        transfer *= 1 - _low_pass(radius, float(params["low"]), params)
    kept = np.empty(pixels.shape, np.float64)
    for channel, target in zip(_planes(pixels), _planes(kept), strict=True):
        target[:] = np.fft.irfft2(np.fft.rfft2(channel) * transfer, s=(rows, cols))
    return np.clip(np.rint(kept + float(params["offset"])), 0, 255).astype(np.uint8)


def check_band(params: Params) -> None:
    """Refuse a band that lets nothing through.

    Raises:
        PipelineError: Of "band_pass", `low` exceeds `high`.
    """
    if params["passes"] == "band_pass":
        require_at_most(params, "low", "high")


def _low_pass(radius: NDArray[np.float64], cutoff: float, params: Params) -> NDArray[np.float64]:
    match params["shape"]:
        case "ideal":
            return (radius <= cutoff).astype(np.float64)
        case "butterworth":
            return np.asarray(1 / (1 + (radius / cutoff) ** (2 * int(params["order"]))), np.float64)
        case _:
            return np.asarray(np.exp(-(radius**2) / (2 * cutoff**2)), np.float64)


def _planes(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The channels, as views."""
    if pixels.ndim == 2:
        yield pixels
    else:
        yield from (pixels[:, :, channel] for channel in range(pixels.shape[2]))


def _half_ksize(params: Params) -> int:
    return int(params["ksize"]) // 2


def _half_d(params: Params) -> int:
    return int(params["d"]) // 2


ROWS: tuple[Operator, ...] = (
    Operator(
        name="mean",
        family="filters",
        kind="transform",
        run=mean,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(Parameter(name="ksize", default=5, low=1, high=63, odd=True, meaning="width, pixels"),),
        halo=_half_ksize,
        meaning="blur by the mean of a square",
    ),
    Operator(
        name="median",
        family="filters",
        kind="transform",
        run=median,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(Parameter(name="ksize", default=5, low=1, high=63, odd=True, meaning="width, pixels"),),
        halo=_half_ksize,
        meaning="median of a square: no specks, sharp edges",
    ),
    Operator(
        name="bilateral",
        family="filters",
        kind="transform",
        run=bilateral,
        accepts=("color", "gray"),
        exact="rounding",
        parameters=(
            Parameter(name="d", default=9, low=3, high=25, odd=True, meaning="diameter of the neighbourhood, pixels"),
            Parameter(name="sigma_color", default=50.0, low=1, high=255, meaning="grey levels that count as alike"),
            Parameter(name="sigma_space", default=5.0, low=0.1, high=100, meaning="pixels over which it blurs"),
        ),
        halo=_half_d,
        meaning="blur that keeps edges",
    ),
    Operator(
        name="frequency_filter",
        family="filters",
        kind="transform",
        run=frequency_filter,
        check=check_band,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(
                name="passes",
                default="low_pass",
                choices=("low_pass", "high_pass", "band_pass"),
                meaning="which frequencies stay",
            ),
            Parameter(
                name="shape",
                default="gaussian",
                choices=("ideal", "butterworth", "gaussian"),
                meaning="how steep the cutoff is",
            ),
            Parameter(name="low", default=0.02, low=0.0001, high=0.71, meaning="lower cutoff, cycles per pixel"),
            Parameter(name="high", default=0.1, low=0.0001, high=0.71, meaning="upper cutoff, cycles per pixel"),
            Parameter(name="order", default=2, low=1, high=10, meaning="of Butterworth; higher is steeper"),
            Parameter(name="offset", default=0.0, low=-255, high=255, meaning="added, grey levels"),
        ),
        meaning="low, high or band pass by the Fourier transform",
    ),
)
