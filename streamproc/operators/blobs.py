"""Corners by Shi and Tomasi, the same in tiles as in the frame; stable regions and blobs of whole frames."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Figures, Pixels, Points
from streamproc.operators.pixels import require_gray
from streamproc.operators.points import inside, limit_parameter, pack_points, set_pixels, unpack_points
from streamproc.operators.table import Operator, Parameter, Params, Window

SOBEL_REACH_PX: Final = 1
MAXIMUM_REACH_PX: Final = 1
BAND_ROWS: Final = 32  # of float64, which fit into a core's cache
BORDER, INNER = 0, 1  # the one byte that a candidate carries
MSER_LEAST_PX: Final = 3  # OpenCV refuses less

# --- Shi and Tomasi ------------------------------------------------------------------------------------------


def shi_tomasi(window: Window, params: Params) -> Points:
    """Find candidates for corners: local maxima of the smaller eigenvalue of the gradient's matrix.

    What is a corner depends on the best of the frame and on its neighbours: `shi_tomasi_corners` decides when
    all tiles are there. The eigenvalue is that of `cv2.cornerMinEigenVal` up to rounding, from sums of whole
    numbers, so that it does not depend on where tiles are cut. Of equal neighbours all count.

    Args:
        window: Grey, with `shi_tomasi_halo` of halo.
        params: `block_size` of the sums, pixels; `quality_level`.

    Returns:
        All candidates that can still be good enough, in whole pixels, with one byte: 0 for those on the frame's
        outermost pixels, which are no corners and count for the best alone, else 1.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        J. Shi, C. Tomasi, Good Features to Track, CVPR 1994.
    """
    require_gray(window.pixels)
    window = window.cropped(shi_tomasi_halo(params))
    core = window.core.within(window.rect)
    response = smaller_eigenvalue(window.pixels, int(params["block_size"]))
    highest = np.asarray(cv2.dilate(response, np.ones((3, 3), np.uint8)), np.float32)
    mine = response[core]
    least = _least(mine.max(), params)
    at = set_pixels((mine == highest[core]) & (mine > least))
    strength = mine[at[:, 1], at[:, 0]]
    xy = at + np.array([window.core.x, window.core.y])
    inner = (xy > 0).all(axis=1) & (xy[:, 0] < window.width - 1) & (xy[:, 1] < window.height - 1)
    kind = np.where(inner, INNER, BORDER).astype(np.uint8)[:, None]
    return pack_points(xy.astype(np.float32), strength, limit=0, descriptors=kind)


def shi_tomasi_corners(candidates: Points, params: Params) -> Points:
    """Choose a frame's corners from its candidates, as `cv2.goodFeaturesToTrack` does but for ties.

    Corners are better than `quality_level` times the best candidate. From the best on, each keeps others away by
    `min_distance`; equals are taken from top to bottom, then from left to right,
    where OpenCV takes them in another order and compares float32: of photographs 99 of 100 corners are the same.

    Args:
        candidates: From `shi_tomasi`, of all tiles.
        params: `quality_level`; `min_distance`, pixels; `limit`, corners kept of a frame.

    Returns:
        Points at whole pixels; their response is the smaller eigenvalue.
    """
    xy, response, kind = unpack_points(candidates)
    limit = int(params["limit"])
    if not response.size:
        return pack_points(xy, response, limit=limit)
    good = (kind[:, 0] == INNER) & (response > _least(response[0], params))
    xy, response = xy[good], response[good]
    kept = _apart(xy, float(params["min_distance"]), limit)
    return pack_points(xy[kept], response[kept], limit=limit)


def smaller_eigenvalue(gray: Pixels, block_size: int) -> NDArray[np.float32]:
    """Smaller eigenvalue of the gradient's matrix at each pixel, scaled as `cv2.cornerMinEigenVal` with aperture 3.

    Args:
        gray: Shape (rows, cols), uint8.
        block_size: Side of the square that products of derivatives are summed over, pixels.

    Returns:
        Shape (rows, cols), float32, at least 0.
    """
    dx = np.asarray(cv2.Sobel(gray, cv2.CV_16S, 1, 0, ksize=3), np.int16)
    dy = np.asarray(cv2.Sobel(gray, cv2.CV_16S, 0, 1, ksize=3), np.int16)
    # Whole numbers: sums of 31 x 31 products of at most 1020^2 stay below 2^30.
    xx, yy, xy = (_block_sum(first, second, block_size) for first, second in ((dx, dx), (dy, dy), (dx, dy)))
    smaller = np.empty(gray.shape, np.float32)
    for top in range(0, len(smaller), BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        apart, mixed = (xx[band] - yy[band]).astype(np.float64), (2 * xy[band]).astype(np.float64)
        apart *= apart
        mixed *= mixed
        apart += mixed
        least = (xx[band] + yy[band]).astype(np.float64)
        least -= np.sqrt(apart, out=apart)
        least *= 1 / (2 * (4 * block_size * 255) ** 2)
        smaller[band] = np.maximum(least, 0, out=least)
    return smaller


def _block_sum(first: NDArray[np.int16], second: NDArray[np.int16], block_size: int) -> NDArray[np.int32]:
    products = np.multiply(first, second, dtype=np.int32)
    return np.asarray(cv2.boxFilter(products, cv2.CV_32S, (block_size, block_size), normalize=False), np.int32)


def shi_tomasi_halo(params: Params) -> int:
    """Half of the block, one pixel for the derivatives and one for the maximum."""
    return int(params["block_size"]) // 2 + SOBEL_REACH_PX + MAXIMUM_REACH_PX


def _least(best: np.float32, params: Params) -> np.float32:
    """What corners exceed; never less for a frame than for its tiles, as all of it is done in float32."""
    return np.float32(best * np.float32(params["quality_level"]))


def _apart(xy: NDArray[np.float32], distance: float, limit: int) -> list[int]:
    """Indices of points, best first, none nearer than `distance` to one kept before; at most `limit`."""
    if distance < 1:
        return list(range(min(limit, len(xy))))
    cells: dict[tuple[int, int], list[tuple[float, float]]] = {}
    kept: list[int] = []
    for index, (x, y) in enumerate(xy.tolist()):
        col, row = int(x // distance), int(y // distance)
        near = (point for i in (-1, 0, 1) for j in (-1, 0, 1) for point in cells.get((col + i, row + j), ()))
        if any((x - a) ** 2 + (y - b) ** 2 < distance * distance for a, b in near):
            continue
        cells.setdefault((col, row), []).append((x, y))
        kept.append(index)
        if len(kept) == limit:
            break
    return kept


# --- regions and blobs ---------------------------------------------------------------------------------------


def mser(window: Window, params: Params) -> Figures:
    """Find maximally stable extremal regions: areas, dark or bright, that hardly change with the threshold.

    Regions may lie in each other.

    Args:
        window: Grey; the whole frame.
        params: `delta`, grey levels over which a region is compared; `min_area` and `max_area`, pixels (swapped if need
            be); `max_variation` of the area over delta; `min_diversity` from the region around it; `limit`,
            regions told.

    Returns:
        Figures: `count` of regions; of the largest `limit`, largest first, then from top to bottom: `areas` in
        pixels, `boxes` (left, top, right, bottom; right and bottom are exclusive) and `centroids` (x, y).

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        J. Matas, O. Chum, M. Urban, T. Pajdla, Robust Wide Baseline Stereo from Maximally Stable Extremal Regions,
        BMVC 2002; D. Nister, H. Stewenius, Linear Time Maximally Stable Extremal Regions, ECCV 2008.
    """
    require_gray(window.pixels)
    if min(window.pixels.shape) < MSER_LEAST_PX:
        return Figures(values={"count": 0, "areas": [], "boxes": [], "centroids": []})
    least, most = sorted((int(params["min_area"]), int(params["max_area"])))
    detector = cv2.MSER.create(
        delta=int(params["delta"]),
        min_area=least,
        max_area=most,
        max_variation=float(params["max_variation"]),
        min_diversity=float(params["min_diversity"]),
    )
    regions, boxes = detector.detectRegions(np.ascontiguousarray(window.pixels))
    listed = [
        (-len(region), int(y), int(x), int(x + width), int(y + height), region)
        for region, (x, y, width, height) in zip(regions, boxes, strict=True)
    ]
    listed.sort(key=lambda item: item[:5])
    told = listed[: int(params["limit"])]
    return Figures(
        values={
            "count": len(listed),
            "areas": [-size for size, *_ in told],
            "boxes": [[left, top, right, bottom] for _, top, left, right, bottom, _ in told],
            "centroids": [[round(float(at), 3) for at in np.mean(region, axis=0)] for *_, region in told],
        }
    )


def blob(window: Window, params: Params) -> Points:
    """Find blobs: round spots that keep their place over several thresholds, as `cv2.SimpleBlobDetector`.

    Cost grows with the number of thresholds, (max_threshold - min_threshold) / threshold_step.

    Args:
        window: Grey; the whole frame.
        params: `color`, "dark", "bright" or "any"; `threshold_step`, `min_threshold`, `max_threshold`, grey levels;
            `min_repeatability`, thresholds a blob is seen at; `min_distance` between blobs, pixels; `min_area` and
            `max_area`, square pixels (swapped if need be, thresholds too); `min_circularity`, `min_inertia` and
            `min_convexity`, 0 for any to 1 for perfect; `limit`, blobs kept of a frame.

    Returns:
        Points, largest first; the response is the diameter in pixels.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        https://docs.opencv.org/4.x/d0/d7a/classcv_1_1SimpleBlobDetector.html
    """
    require_gray(window.pixels)
    found = cv2.SimpleBlobDetector.create(_blob_settings(params)).detect(np.ascontiguousarray(window.pixels))
    xy = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    size = np.array([point.size for point in found], np.float32)
    mine = inside(xy, window.core)
    return pack_points(xy[mine], size[mine], limit=int(params["limit"]))


def _blob_settings(params: Params) -> cv2.SimpleBlobDetector.Params:
    chosen = cv2.SimpleBlobDetector.Params()
    chosen.minThreshold, chosen.maxThreshold = sorted(float(params[f"{end}_threshold"]) for end in ("min", "max"))
    chosen.minArea, chosen.maxArea = sorted(float(params[f"{end}_area"]) for end in ("min", "max"))
    chosen.thresholdStep = float(params["threshold_step"])
    chosen.minRepeatability = int(params["min_repeatability"])
    chosen.minDistBetweenBlobs = float(params["min_distance"])
    chosen.filterByColor = params["color"] != "any"
    chosen.blobColor = 255 if params["color"] == "bright" else 0
    chosen.filterByCircularity = params["min_circularity"] > 0
    chosen.minCircularity, chosen.maxCircularity = _above_0(params["min_circularity"]), math.inf
    chosen.filterByInertia = params["min_inertia"] > 0
    chosen.minInertiaRatio, chosen.maxInertiaRatio = _above_0(params["min_inertia"]), math.inf
    chosen.filterByConvexity = params["min_convexity"] > 0
    chosen.minConvexity, chosen.maxConvexity = _above_0(params["min_convexity"]), math.inf
    return chosen


def _above_0(share: float) -> float:
    """OpenCV refuses 0 even for what is not filtered by."""
    return max(float(share), 1e-6)


ROWS: tuple[Operator, ...] = (
    Operator(
        name="shi_tomasi",
        family="corners and blobs",
        kind="measure",
        run=shi_tomasi,
        exact="exact",
        finish=shi_tomasi_corners,
        parameters=(
            limit_parameter(),
            Parameter(name="quality_level", default=0.01, low=0.0001, high=1, meaning="share of the best corner"),
            Parameter(name="min_distance", default=10.0, low=0, high=1000, meaning="between corners, pixels"),
            Parameter(name="block_size", default=3, low=2, high=31, meaning="of the sums, pixels"),
        ),
        halo=shi_tomasi_halo,
        meaning="corners good to track, as cv2.goodFeaturesToTrack but for ties",
    ),
    Operator(
        name="mser",
        family="corners and blobs",
        kind="measure",
        run=mser,
        scope="frame",
        parameters=(
            Parameter(name="delta", default=5, low=1, high=127, meaning="compared over, grey levels"),
            Parameter(name="min_area", default=60, low=1, high=100_000_000, meaning="pixels"),
            Parameter(name="max_area", default=14_400, low=1, high=100_000_000, meaning="pixels"),
            Parameter(name="max_variation", default=0.25, low=0, high=1, meaning="of the area over delta"),
            Parameter(name="min_diversity", default=0.2, low=0, high=1, meaning="from the region around"),
            Parameter(name="limit", default=50, low=1, high=1000, meaning="largest regions told of a frame"),
        ),
        meaning="maximally stable regions",
    ),
    Operator(
        name="blob",
        family="corners and blobs",
        kind="measure",
        run=blob,
        scope="frame",
        parameters=(
            limit_parameter(),
            Parameter(name="color", default="dark", choices=("dark", "bright", "any"), meaning="of blobs"),
            Parameter(name="threshold_step", default=10.0, low=2, high=255, meaning="grey levels"),
            Parameter(name="min_threshold", default=50.0, low=0, high=255, meaning="first threshold, grey levels"),
            Parameter(
                name="max_threshold", default=220.0, low=0, high=255, meaning="thresholds are below, grey levels"
            ),
            Parameter(name="min_repeatability", default=2, low=1, high=128, meaning="thresholds a blob is seen at"),
            Parameter(name="min_distance", default=10.0, low=1, high=1000, meaning="between blobs, pixels"),
            Parameter(name="min_area", default=25.0, low=1, high=1e8, meaning="square pixels"),
            Parameter(name="max_area", default=5000.0, low=1, high=1e8, meaning="square pixels"),
            Parameter(name="min_circularity", default=0.0, low=0, high=1, meaning="1: a circle"),
            Parameter(name="min_inertia", default=0.1, low=0, high=1, meaning="1: as wide as long"),
            Parameter(name="min_convexity", default=0.95, low=0, high=1, meaning="1: convex"),
        ),
        meaning="round spots",
    ),
)
