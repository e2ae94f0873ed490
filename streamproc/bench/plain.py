"""What each operator costs without streamproc: the same answer by direct calls of OpenCV, SciPy and scikit-image.

Literal calls with the values that the operator has by default, for one 1280x720 picture. Where no such call gives the
same answer, `NO_PLAIN` says why. `operators.py` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Rect

Picture: TypeAlias = NDArray[Any]
Call: TypeAlias = Callable[[Picture], Any]

TEMPLATE: Final = Rect(560, 300, 64, 48)
"""Part of the picture that `template_match` looks for; small enough for a tile."""
LIMIT: Final = 500
SQUARE_3: Final = np.ones((3, 3), np.uint8)
IMMERKAER: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
LEVELS: Final = np.arange(256)


def gamma(pixels: Picture) -> Picture:
    """A table of 256 levels."""
    return np.asarray(cv2.LUT(pixels, np.rint(255 * (LEVELS / 255) ** 0.6).astype(np.uint8)))


def gradient(pixels: Picture, derivative: Callable[[Picture, int, int, int], Any], full: float) -> Picture:
    """Magnitude of two derivatives as a share of the largest there can be."""
    dx, dy = derivative(pixels, cv2.CV_32F, 1, 0), derivative(pixels, cv2.CV_32F, 0, 1)
    return np.asarray(np.minimum(cv2.magnitude(dx, dy) / np.float32(full), 1))


def laplacian(pixels: Picture) -> Picture:
    """Size of the second derivative."""
    return np.abs(cv2.Laplacian(pixels, cv2.CV_32F, ksize=3)) / np.float32(8 * 255)


def morphology(operation: int) -> Call:
    """`cv2.morphologyEx` with a square of 3x3."""
    return lambda pixels: cv2.morphologyEx(pixels, operation, SQUARE_3)


def sharpen(pixels: Picture) -> Picture:
    """Twice the picture less its blur."""
    return cv2.addWeighted(pixels, 2, cv2.GaussianBlur(pixels, (9, 9), 1.5), -1, 0)


def on_luma(pixels: Picture, change: Call) -> Picture:
    """Y of YCrCb changed, the colours left."""
    luma, red, blue = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb))
    return cv2.cvtColor(cv2.merge([change(luma), red, blue]), cv2.COLOR_YCrCb2BGR)


def frequency_filter(pixels: Picture) -> Picture:
    """A Gaussian laid on the spectrum of each channel."""
    rows, cols = pixels.shape[:2]
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None])
    transfer = np.exp(-(radius**2) / (2 * 0.1**2))[..., None]
    kept = np.fft.irfft2(np.fft.rfft2(pixels, axes=(0, 1)) * transfer, s=(rows, cols), axes=(0, 1))
    return np.clip(np.rint(kept), 0, 255).astype(np.uint8)


def inpaint(pixels: Picture) -> Picture:
    """Bright holes, grown by a pixel, filled."""
    holes = cv2.dilate(cv2.inRange(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), 250, 255), SQUARE_3)
    return cv2.inpaint(pixels, holes, 3, cv2.INPAINT_TELEA)


def skeleton(pixels: Picture) -> Picture:
    """Thinned parts of scikit-image."""
    from skimage.morphology import thin

    lines = thin(pixels > 127)  # type: ignore[no-untyped-call]  # scikit-image ships no types
    return np.asarray(lines, np.uint8) * np.uint8(255)


def noise(pixels: Picture) -> list[float]:
    """Immerkaer's sigma of each channel, from the mean, where no neighbour is 0 or 255."""
    found = []
    for plane in cv2.split(pixels):
        size = np.abs(cv2.filter2D(plane, cv2.CV_32F, IMMERKAER))[1:-1, 1:-1]
        clear = (cv2.erode(plane, SQUARE_3) > 0) & (cv2.dilate(plane, SQUARE_3) < 255)
        found.append(float(np.sqrt(np.pi / 2) / 6 * size[clear[1:-1, 1:-1]].mean()))
    return found


def dct(pixels: Picture) -> Picture:
    """Mean square of the coefficients of 8x8 blocks."""
    from scipy.fft import dctn

    rows, cols = (side // 8 * 8 for side in pixels.shape)
    blocks = pixels[:rows, :cols].reshape(rows // 8, 8, cols // 8, 8).astype(np.float64) - 128
    return np.asarray((dctn(blocks, axes=(1, 3), norm="ortho") ** 2).mean(axis=(0, 2)))


def wavelet(pixels: Picture) -> list[float]:
    """Energy of the approximation and of each band."""
    import pywt

    levels = pixels.astype(np.float64)
    coarse, *details = pywt.wavedec2(levels - levels.mean(), "haar", mode="periodization", level=3)
    return [float((band**2).sum()) for band in (coarse, *(band for detail in details for band in detail))]


def harris(pixels: Picture) -> Picture:
    """Strongest maxima of `cv2.cornerHarris`, (N, 2): x, y."""
    response = cv2.cornerHarris(pixels, 2, 3, 0.04)
    y, x = np.nonzero((response == cv2.dilate(response, SQUARE_3)) & (response > 1e-4))
    return np.stack([x, y], axis=1)[np.argsort(-response[y, x], kind="stable")[:LIMIT]]


def key_points(detector: cv2.Feature2D, pixels: Picture) -> Picture:
    """Strongest points without descriptors, (N, 2): x, y."""
    found = sorted(detector.detect(pixels), key=lambda point: -point.response)[:LIMIT]
    return np.array([point.pt for point in found]).reshape(-1, 2)


def described(detector: cv2.Feature2D, pixels: Picture) -> tuple[Picture, Picture]:
    """Points with descriptors: (N, 2) x, y and (N, bytes)."""
    found, rows = detector.detectAndCompute(pixels, None)
    return np.array([point.pt for point in found]).reshape(-1, 2), rows


def hog(pixels: Picture) -> Any:
    """Descriptor of the frame made small."""
    small = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA)
    return cv2.HOGDescriptor((64, 64), (32, 32), (16, 16), (16, 16), 9).compute(small)


def contours(pixels: Picture) -> list[float]:
    """Areas of the outlines."""
    found, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [area for area in map(cv2.contourArea, found) if area >= 16]


def counts(pixels: Picture, bins: int) -> list[Picture]:
    """Counts of each channel."""
    channels = range(1 if pixels.ndim == 2 else 3)
    return [cv2.calcHist([pixels], [channel], None, [bins], [0, 256]) for channel in channels]


def statistics(pixels: Picture) -> tuple[Picture, Picture, list[tuple[float, float]]]:
    """Mean, deviation and ends of each channel."""
    mean, deviation = cv2.meanStdDev(pixels)
    return mean, deviation, [cv2.minMaxLoc(plane)[:2] for plane in cv2.split(pixels)]


def lbp(pixels: Picture) -> Picture:
    """Counts of scikit-image's uniform patterns."""
    from skimage.feature import local_binary_pattern

    codes = local_binary_pattern(pixels, 8, 1, "uniform")  # type: ignore[no-untyped-call]  # scikit-image ships no types
    return np.bincount(codes.astype(np.intp).reshape(-1), minlength=10)


def glcm(pixels: Picture) -> list[Picture]:
    """Contrast, homogeneity, energy and correlation of scikit-image's co-occurrences, in four directions."""
    from skimage.feature import graycomatrix, graycoprops

    angles = np.deg2rad([0, 45, 90, 135])
    pairs = graycomatrix(pixels // 16, [1], angles, 16, symmetric=True, normed=True)  # type: ignore[no-untyped-call]  # scikit-image ships no types
    names = ("contrast", "homogeneity", "energy", "correlation")
    return [graycoprops(pairs, name)[0] for name in names]  # type: ignore[no-untyped-call]  # scikit-image ships no types


def color_moments(pixels: Picture) -> list[list[float]]:
    """Mean, deviation, skewness and kurtosis of each channel."""
    from scipy import stats

    planes = [plane.reshape(-1).astype(np.float64) for plane in cv2.split(pixels)]
    return [
        [float(p.mean()), float(p.std()), float(stats.skew(p)), float(stats.kurtosis(p, fisher=False))] for p in planes
    ]


def grabcut(pixels: Picture) -> float:
    """Share of the foreground of the frame at half its size."""
    small = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    rows, cols = small.shape[:2]
    mask = np.full((rows, cols), cv2.GC_BGD, np.uint8)
    mask[round(0.1 * rows) : round(0.9 * rows), round(0.1 * cols) : round(0.9 * cols)] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(small, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return float((mask & 1).mean())


@cache
def cascade(name: str) -> cv2.CascadeClassifier:
    """One of OpenCV's cascades, read once."""
    return cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name))


def people(pixels: Picture) -> Any:
    """OpenCV's detector of people."""
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    return detector.detectMultiScale(pixels, 0.5, (8, 8), scale=1.05)


def template_match(pixels: Picture) -> Picture:
    """Places (N, 2), x and y, of maxima like TEMPLATE."""
    template = pixels[TEMPLATE.y : TEMPLATE.bottom, TEMPLATE.x : TEMPLATE.right]
    score = cv2.matchTemplate(pixels, template, cv2.TM_CCOEFF_NORMED)
    y, x = np.nonzero((score == cv2.dilate(score, SQUARE_3)) & (score >= 0.8))
    return np.stack([x, y], axis=1)


PLAIN: Final[Mapping[str, Call]] = {
    "gray": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY),
    "brightness_contrast": lambda pixels: cv2.convertScaleAbs(pixels, alpha=1.6, beta=20.0),
    "threshold": lambda pixels: cv2.threshold(pixels, 127, 255, cv2.THRESH_BINARY)[1],
    "gaussian": lambda pixels: cv2.GaussianBlur(pixels, (5, 5), 0),
    "sobel": lambda pixels: gradient(pixels, cv2.Sobel, 4 * 255),
    "gamma": gamma,
    "equalize_histogram": lambda pixels: on_luma(pixels, cv2.equalizeHist),
    "clahe": lambda pixels: on_luma(pixels, cv2.createCLAHE(2.0, (8, 8)).apply),
    "otsu_threshold": lambda pixels: cv2.threshold(pixels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1],
    "otsu": lambda pixels: cv2.threshold(pixels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0],
    "adaptive_threshold": lambda pixels: cv2.adaptiveThreshold(
        pixels, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 11, 2
    ),
    "normalize": lambda pixels: cv2.normalize(pixels, np.empty_like(pixels), 0, 255, cv2.NORM_MINMAX),
    "resize": lambda pixels: cv2.resize(pixels, None, fx=0.5, fy=0.5),
    "crop": lambda pixels: pixels.copy(),
    "rotate": lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
    "flip": lambda pixels: cv2.flip(pixels, 1),
    "mean": lambda pixels: cv2.blur(pixels, (5, 5)),
    "median": lambda pixels: cv2.medianBlur(pixels, 5),
    "bilateral": lambda pixels: cv2.bilateralFilter(pixels, 9, 50, 5),
    "custom_kernel": lambda pixels: cv2.filter2D(
        pixels, -1, np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
    ),
    "frequency_filter": frequency_filter,
    "scharr": lambda pixels: gradient(pixels, cv2.Scharr, 16 * 255),
    "laplacian": laplacian,
    "canny": lambda pixels: cv2.Canny(pixels, 50, 150),
    "erode": lambda pixels: cv2.erode(pixels, SQUARE_3),
    "dilate": lambda pixels: cv2.dilate(pixels, SQUARE_3),
    "open": morphology(cv2.MORPH_OPEN),
    "close": morphology(cv2.MORPH_CLOSE),
    "morphological_gradient": morphology(cv2.MORPH_GRADIENT),
    "top_hat": morphology(cv2.MORPH_TOPHAT),
    "black_hat": morphology(cv2.MORPH_BLACKHAT),
    "skeleton": skeleton,
    "sharpen": sharpen,
    "denoise": lambda pixels: cv2.fastNlMeansDenoisingColored(pixels, None, 10, 10, 7, 21),
    "inpaint": inpaint,
    "super_resolution": lambda pixels: cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4),
    "noise_estimate": noise,
    "dct": dct,
    "wavelet": wavelet,
    "hough_lines": lambda pixels: cv2.HoughLinesP(
        cv2.Canny(pixels, 50, 150), 1, np.pi / 180, 80, minLineLength=30, maxLineGap=5
    ),
    "hough_lines_standard": lambda pixels: cv2.HoughLines(cv2.Canny(pixels, 50, 150), 1, np.pi / 180, 80),
    "hough_circles": lambda pixels: cv2.HoughCircles(
        pixels, cv2.HOUGH_GRADIENT_ALT, 1.5, 20, param1=300, param2=0.8, minRadius=0, maxRadius=0
    ),
    "harris": harris,
    "fast": lambda pixels: key_points(cv2.FastFeatureDetector.create(20), pixels),
    "shi_tomasi": lambda pixels: cv2.goodFeaturesToTrack(pixels, LIMIT, 0.01, 10),
    "mser": lambda pixels: cv2.MSER.create().detectRegions(pixels)[1],
    "orb": lambda pixels: described(cv2.ORB.create(LIMIT), pixels),
    "sift": lambda pixels: described(cv2.SIFT.create(LIMIT), pixels),
    "akaze": lambda pixels: described(cv2.AKAZE.create(max_points=LIMIT), pixels),
    "brisk": lambda pixels: described(cv2.BRISK.create(), pixels),
    "hog": hog,
    "contours": contours,
    "gray_histogram": lambda pixels: counts(pixels, 256),
    "color_histogram": lambda pixels: counts(pixels, 32),
    "statistics": statistics,
    "lbp": lbp,
    "glcm": glcm,
    "moments": cv2.moments,
    "color_moments": color_moments,
    "connected_components": lambda pixels: cv2.connectedComponentsWithStats(pixels, connectivity=8)[2],
    "grabcut": grabcut,
    "faces": lambda pixels: cascade("haarcascade_frontalface_default.xml").detectMultiScale(
        pixels, 1.2, 5, minSize=(48, 48)
    ),
    "eyes": lambda pixels: cascade("haarcascade_eye.xml").detectMultiScale(pixels, 1.1, 5, minSize=(20, 20)),
    "people": people,
    "qr_codes": lambda pixels: cv2.QRCodeDetectorAruco().detectAndDecodeMulti(pixels)[1],
    "template_match": template_match,
}

FOLLOWS: Final = "compares frames: no call gives its answer of one picture"
OWN: Final = "figures of its own: no call gives them"

NO_PLAIN: Final[Mapping[str, str]] = {
    "deblur": "scikit-image's filters take another border and another noise term",
    "dft": OWN,
    "blob": "the detector that it calls is all of it",
    "watershed": "the watersheds of OpenCV and scikit-image cut other segments",
    "kmeans": "cv2.kmeans starts at random and finds other clusters",
    "background_subtraction": FOLLOWS,
    "frame_difference": FOLLOWS,
    "optical_flow": FOLLOWS,
    "sparse_flow": FOLLOWS,
    "compression_report": "a table of several codecs: no call gives it",
    "vitals": OWN,
}
"""Operators that are measured alone, and why."""
