"""What a picture loses and how small it becomes when it is compressed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Figures, Pixels
from streamproc.operators import pixels as pictures
from streamproc.operators.pixels import PNG_LEVEL, require_pixels
from streamproc.operators.table import Operator, Parameter, Params, Window

SAME_DB = 100.0  # told for identical pictures, whose ratio is infinite; whatever is above counts as this
WINDOW_PX = 11  # of the Gaussian of SSIM; sigma and constants as Wang and others have them
SIGMA_PX = 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
WEBP_LOSSLESS = 101  # as OpenCV has it: a quality above 100


def compression_report(window: Window, params: Params) -> Figures:
    """Encode a picture by JPEG, WebP and PNG, and compare what comes back with what went in.

    JPEG and WebP at several qualities; PNG and WebP without loss.

    A codec that cannot hold the picture (WebP ends at 16383 pixels a side) is left out. Slow: about 0.4 s
    for 640 x 384 pixels in colour, half of it lossless WebP; `webp` off makes it 0.1 s.

    Args:
        window: Colour or grey; the whole frame.
        params: `lowest` and `highest` quality, 1 to 100; `steps`, how many qualities, evenly from one to the other;
            `webp`, try WebP too.

    Returns:
        Figures: `raw_bytes`; one value for each row of the table in `codec` ("jpeg", "webp", "png", "webp lossless"),
        `quality` (0 for lossless ones), `bytes`, `bits_per_pixel`, `psnr_db` over all channels (100 for identical
        pictures, and at most) and `ssim` of the grey pictures, at most 1.

    Raises:
        BadPixels: Another shape or type.

    References:
        Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, Image Quality Assessment: From Error Visibility to
        Structural Similarity, IEEE Transactions on Image Processing 13(4), 2004.
    """
    require_pixels(window.pixels)
    pixels = np.ascontiguousarray(window.pixels)
    reference, rows = _Reference.of(pixels), [_tried(pixels, trial) for trial in _trials(params)]
    done = [(trial, encoded, decoded) for trial, encoded, decoded in rows if decoded is not None]
    return Figures(
        values={
            "raw_bytes": pixels.size,
            "codec": [trial.codec for trial, _, _ in done],
            "quality": [trial.quality for trial, _, _ in done],
            "bytes": [size for _, size, _ in done],
            "bits_per_pixel": [round(8 * size / (window.width * window.height), 4) for _, size, _ in done],
            "psnr_db": [round(psnr(pixels, decoded), 3) for _, _, decoded in done],
            "ssim": [round(reference.ssim(decoded), 5) for _, _, decoded in done],
        }
    )


def psnr(first: Pixels, second: Pixels) -> float:
    """Peak signal to noise ratio over all channels, dB; SAME_DB for identical pictures, and at most."""
    apart = cv2.absdiff(first, second).astype(np.int64)
    squares = int(np.sum(apart * apart))
    return SAME_DB if not squares else min(SAME_DB, 10 * math.log10(255**2 * apart.size / squares))


def ssim(first: Pixels, second: Pixels) -> float:
    """Mean structural similarity of two pictures of one size, of their grey levels, at most 1.

    Windows are Gaussian, 11 x 11 pixels, sigma 1.5, and lie inside the picture; one that is less than 11 pixels high or
    wide is a single window without weights.

    Args:
        first: Shape (rows, cols) or (rows, cols, 3), uint8.
        second: The same shape.

    Raises:
        BadPixels: Another shape or type.
    """
    return _Reference.of(first).ssim(second)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One row of the table; quality 0 is lossless."""

    codec: str
    quality: int
    extension: str
    options: tuple[int, ...]


def _trials(params: Params) -> list[_Trial]:
    ends = int(params["lowest"]), int(params["highest"])
    qualities = sorted({round(quality) for quality in np.linspace(*ends, int(params["steps"])).tolist()})
    trials = [_Trial("jpeg", quality, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, quality)) for quality in qualities]
    lossless = [_Trial("png", 0, ".png", (cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL))]
    if params["webp"]:
        trials += [_Trial("webp", quality, ".webp", (cv2.IMWRITE_WEBP_QUALITY, quality)) for quality in qualities]
        lossless.append(_Trial("webp lossless", 0, ".webp", (cv2.IMWRITE_WEBP_QUALITY, WEBP_LOSSLESS)))
    return trials + lossless


def _tried(pixels: Pixels, trial: _Trial) -> tuple[_Trial, int, Pixels | None]:
    """The trial, bytes, and what comes back; None if the codec cannot hold the picture."""
    try:
        done, encoded = cv2.imencode(trial.extension, pixels, trial.options)
    except cv2.error:
        return trial, 0, None
    if not done:
        return trial, 0, None
    # Bytes that were made just now, never any that came from outside.
    flags = cv2.IMREAD_GRAYSCALE if pixels.ndim == 2 else cv2.IMREAD_COLOR
    decoded = cv2.imdecode(encoded, flags)
    return trial, int(encoded.size), None if decoded is None else np.asarray(decoded, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    """What SSIM needs of the picture that others are compared with: levels, local means and variances."""

    levels: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: Pixels) -> _Reference:
        levels = pictures.gray(pixels).astype(np.float64)
        mean = _local(levels)
        return cls(levels, mean, _local(levels * levels) - mean * mean)

    def ssim(self, pixels: Pixels) -> float:
        """Mean structural similarity to a picture of the same size."""
        other = _Reference.of(pixels)
        product = self.mean * other.mean
        shared = _local(self.levels * other.levels) - product
        above = (2 * product + C1) * (2 * shared + C2)
        below = (self.mean**2 + other.mean**2 + C1) * (self.variance + other.variance + C2)
        return float(np.mean(above / below))


def _local(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over each window that lies inside."""
    if min(levels.shape) < WINDOW_PX:
        return np.array([[levels.mean()]])
    blurred = np.asarray(cv2.GaussianBlur(levels, (WINDOW_PX, WINDOW_PX), SIGMA_PX), np.float64)
    reach = WINDOW_PX // 2
    return blurred[reach:-reach, reach:-reach]


ROWS: tuple[Operator, ...] = (
    Operator(
        name="compression_report",
        family="compression",
        kind="measure",
        run=compression_report,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            Parameter(
                name="lowest", default=50, low=1, high=100, below="highest", meaning="first quality of JPEG and WebP"
            ),
            Parameter(name="highest", default=90, low=1, high=100, meaning="last quality"),
            Parameter(name="steps", default=3, low=1, high=10, meaning="qualities, evenly from first to last"),
            Parameter(name="webp", default=True, meaning="try WebP too"),
        ),
        meaning="size, PSNR and SSIM by codec and quality",
    ),
)
