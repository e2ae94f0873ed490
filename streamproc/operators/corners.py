"""Corner points: Harris and FAST, both the same in tiles as in the whole frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels, Points
from streamproc.operators.pixels import require_gray
from streamproc.operators.points import inside, limit_parameter, pack_points, set_pixels
from streamproc.operators.table import Operator, Parameter, Params, Window

HARRIS_HALO_PX = 3  # 1 for the 3x3 maximum, 1 for the 2x2 sum, 1 for Sobel 3x3
HARRIS_BLOCK = 2
HARRIS_SCALE = 1 / (4 * HARRIS_BLOCK * 255)  # of each derivative, as cv2.cornerHarris scales 8-bit pixels
BAND_ROWS = 32  # of float64, which fit into a core's cache
FAST_HALO_PX = 4  # 3 for the circle, 1 for the 3x3 maximum


def harris(window: Window, params: Params) -> Points:
    """Find corners: local maxima of the Harris response above a threshold.

    The response is that of `cv2.cornerHarris(gray, 2, 3, k)` up to rounding, from sums of whole numbers, so
    that it does not depend on where tiles are cut. Of equal neighbours all count.

    Args:
        window: Grey, with HARRIS_HALO_PX of halo.
        params: `k`; `threshold` of the response; `limit`, points kept of a frame.

    Returns:
        Points at whole pixels; their response is the Harris response.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        C. Harris, M. Stephens, A Combined Corner and Edge Detector, 4th Alvey Vision Conference, 1988.
    """
    require_gray(window.pixels)
    window = window.cropped(HARRIS_HALO_PX)
    response = harris_response(window.pixels, float(params["k"]))
    highest = np.asarray(cv2.dilate(response, np.ones((3, 3), np.uint8)), np.float64)
    core = window.core.within(window.rect)
    mine = response[core]
    xy = set_pixels((mine == highest[core]) & (mine > float(params["threshold"])))
    found = mine[xy[:, 1], xy[:, 0]]
    return pack_points(xy + np.array([window.core.x, window.core.y]), found, limit=int(params["limit"]))


def harris_response(gray: Pixels, k: float) -> NDArray[np.float64]:
    """Harris response of each pixel: `det(M) - k * trace(M)^2` with block 2, aperture 3, OpenCV's border.

    Args:
        gray: Shape (rows, cols), uint8.
        k: Harris' constant, about 0.04.

    Returns:
        Shape (rows, cols), float64.
    """
    dx = np.asarray(cv2.Sobel(gray, cv2.CV_16S, 1, 0, ksize=3), np.float32)
    dy = np.asarray(cv2.Sobel(gray, cv2.CV_16S, 0, 1, ksize=3), np.float32)
    # Sums of four products of whole numbers stay below 2^24: exact in float32, whatever their order.
    sums = [_block_sum(first * second) for first, second in ((dx, dx), (dy, dy), (dx, dy))]
    response = np.empty(gray.shape, np.float64)
    for top in range(0, len(response), BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        xx, yy, xy = (part[band].astype(np.float64) for part in sums)
        trace = xx + yy
        xx *= yy
        xy *= xy
        xx -= xy
        xx -= np.multiply(k * trace, trace, out=trace)
        np.multiply(xx, HARRIS_SCALE**4, out=response[band])
    return response


def fast(window: Window, params: Params) -> Points:
    """Find corners by FAST 9-16 with non-maximum suppression; of equal neighbours none counts.

    The frame's outer 3 pixels have none, as in OpenCV.

    Args:
        window: Grey, with FAST_HALO_PX of halo.
        params: `threshold`, grey levels; `limit`, points kept of a frame.

    Returns:
        Points at whole pixels; their response is FAST's score in grey levels.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        E. Rosten, T. Drummond, Machine Learning for High-Speed Corner Detection, ECCV 2006.
    """
    require_gray(window.pixels)
    window = window.cropped(FAST_HALO_PX)
    detector = cv2.FastFeatureDetector.create(threshold=int(params["threshold"]), nonmaxSuppression=True)
    found = detector.detect(window.pixels)
    xy = np.asarray(cv2.KeyPoint.convert(found), np.float32).reshape(-1, 2)
    xy += np.array([window.rect.x, window.rect.y], np.float32)
    response = np.array([point.response for point in found], np.float32)
    mine = inside(xy, window.core)
    return pack_points(xy[mine], response[mine], limit=int(params["limit"]))


def _block_sum(products: NDArray[np.float32]) -> NDArray[np.float32]:
    sums = cv2.boxFilter(products, cv2.CV_32F, (HARRIS_BLOCK, HARRIS_BLOCK), normalize=False)
    return np.asarray(sums, np.float32)


def _harris_halo(_params: Params) -> int:
    return HARRIS_HALO_PX


def _fast_halo(_params: Params) -> int:
    return FAST_HALO_PX


ROWS: tuple[Operator, ...] = (
    Operator(
        name="harris",
        family="corners and blobs",
        kind="measure",
        run=harris,
        exact="exact",
        parameters=(
            Parameter(name="k", default=0.04, low=0, high=0.25, meaning="Harris' constant"),
            Parameter(name="threshold", default=0.0001, low=0, high=1, meaning="response of a corner, at least above"),
            limit_parameter(),
        ),
        halo=_harris_halo,
        meaning="corners by Harris, block 2, aperture 3",
    ),
    Operator(
        name="fast",
        family="corners and blobs",
        kind="measure",
        run=fast,
        exact="exact",
        parameters=(
            Parameter(name="threshold", default=20, low=1, high=255, meaning="contrast of the circle, grey levels"),
            limit_parameter(),
        ),
        halo=_fast_halo,
        meaning="corners by FAST 9-16",
    ),
)
