"""Pictures taken apart: connected components, watershed, GrabCut, and colours by k-means."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage
from streamproc.model import Figures, Histogram, Pixels
from streamproc.operators.pixels import require_gray, require_pixels, thumbnail
from streamproc.operators.table import Operator, Parameter, Params, Window

GRABCUT_LEAST_PX = 16  # in the rectangle and outside it, so that each of GrabCut's two colour models has samples
GRABCUT_SEED = 0
COLOUR_BITS = 4  # of each channel: 4096 cells, each with its count and sums; a tile's partial result is about 20 kB
GRAY_BITS = 8
LLOYD_STEPS = 100
CANDIDATES = 64  # colours looked at for each next centre


def connected_components(window: Window, params: Params) -> Figures:
    """Find the connected areas of a black-and-white picture: whatever is not 0 is white.

    Args:
        window: Grey; the whole frame.
        params: `connectivity`, 4 (sides) or 8 (corners too); `min_area`, pixels; `limit`, areas told.

    Returns:
        Figures: `count` of areas of at least `min_area`; `share` of the picture that is white; of the
        largest `limit`, largest first, then from top to bottom: `areas` in pixels, `boxes` (left, top, right, bottom;
        right and bottom are exclusive) and `centroids` (x, y).

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        F. Bolelli, S. Allegretti, L. Baraldi, C. Grana, Spaghetti Labeling: Directed Acyclic Graphs for Block-Based
        Connected Components Labeling, IEEE Transactions on Image Processing 29, 2020.
    """
    require_gray(window.pixels)
    _, _, stats, centroids = cv2.connectedComponentsWithStats(
        window.pixels, connectivity=int(params["connectivity"]), ltype=cv2.CV_32S
    )
    told = _regions(np.asarray(stats)[1:], np.asarray(centroids)[1:], params)
    white = int(np.asarray(stats)[1:, cv2.CC_STAT_AREA].sum())
    return Figures(values={**told, "share": round(white / window.pixels.size, 9)})


def watershed(window: Window, params: Params) -> Figures:
    """Take apart bright areas that touch: each middle grows until it meets the next.

    Otsu's threshold tells areas from the background. Middles are the points furthest from it, at least about
    `min_distance` apart; from there segments grow down the distance to the background, level by level. An area so close
    to a larger one that no middle is left to it is left out. About 80 ms for 640 x 384 pixels, more for large areas.

    Args:
        window: Grey; the whole frame.
        params: `inverse`, the areas are dark; `min_distance` of middles, pixels; `min_area`, pixels; `limit`,
            segments told.

    Returns:
        Figures: `level`, Otsu's threshold in grey levels; the rest as `connected_components` has it. A flat picture
        has no segments.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        L. Vincent, P. Soille, Watersheds in Digital Spaces: An Efficient Algorithm Based on Immersion Simulations,
        IEEE TPAMI 13(6), 1991;
        N. Otsu, A Threshold Selection Method from Gray-Level Histograms, IEEE Transactions SMC 9(1), 1979.
    """
    require_gray(window.pixels)
    pixels = window.pixels
    if pixels.min() == pixels.max():
        none = np.zeros((0, 5), np.int32)
        return Figures(values={**_regions(none, np.zeros((0, 2)), params), "share": 0.0, "level": int(pixels[0, 0])})
    kind = cv2.THRESH_BINARY_INV if params["inverse"] else cv2.THRESH_BINARY
    level, mask = cv2.threshold(pixels, 0, 255, kind | cv2.THRESH_OTSU)
    labels = _watershed(np.asarray(mask, np.uint8), int(params["min_distance"]))
    told = _regions(*_stats(labels), params)
    share = round(float(np.count_nonzero(labels)) / labels.size, 9)
    return Figures(values={**told, "share": share, "level": int(level)})


def grabcut(window: Window, params: Params) -> Figures:
    """Tell what stands in a rectangle from what is around it, by colour.

    OpenCV's GrabCut begins with random numbers. Their generator belongs to the calling thread and is set to one value
    before each call, so one picture always gives one answer; other users of OpenCV's random numbers on that
    thread find them set. Slow: 0.3 s for 640 x 384 pixels at `scale` 2, 2 s and more at 1.

    Args:
        window: Colour or grey; the whole frame.
        params: `left`, `top`, `right`, `bottom` of the rectangle, shares of the frame; `iterations`;
            `scale` by which the picture is reduced first.

    Returns:
        Figures: `share` of the frame that is foreground; its `box` (left, top, right, bottom in pixels of the frame, in
        steps of `scale`); empty if there is none, or if the rectangle leaves nothing inside or outside.

    Raises:
        BadPixels: Another shape or type.

    References:
        C. Rother, V. Kolmogorov, A. Blake, GrabCut: Interactive Foreground Extraction using Iterated Graph Cuts,
        SIGGRAPH 2004.
    """
    require_pixels(window.pixels)
    scale = int(params["scale"])
    small = thumbnail(window.pixels, scale)
    colour = np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8) if small.ndim == 2 else small
    rows, cols = small.shape[:2]
    left, right = sorted(round(float(params[name]) * cols) for name in ("left", "right"))
    top, bottom = sorted(round(float(params[name]) * rows) for name in ("top", "bottom"))
    mask = np.full((rows, cols), cv2.GC_BGD, np.uint8)
    mask[top:bottom, left:right] = cv2.GC_PR_FGD
    inside = (bottom - top) * (right - left)
    if min(inside, mask.size - inside) < GRABCUT_LEAST_PX:
        return Figures(values={"share": 0.0, "box": []})
    cv2.setRNGSeed(GRABCUT_SEED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(
        np.ascontiguousarray(colour), mask, (0, 0, 1, 1), *models, int(params["iterations"]), cv2.GC_INIT_WITH_MASK
    )
    y, x = np.nonzero(mask & 1)  # GC_FGD and GC_PR_FGD are the odd ones
    if not x.size:
        return Figures(values={"share": 0.0, "box": []})
    box = [int(x.min()) * scale, int(y.min()) * scale, (int(x.max()) + 1) * scale, (int(y.max()) + 1) * scale]
    held = [min(side, most) for side, most in zip(box, (window.width, window.height) * 2, strict=True)]
    return Figures(values={"share": round(x.size / mask.size, 9), "box": held})


def kmeans(window: Window, _params: Params) -> Histogram:
    """Count the colours of the core, so that they can be put into clusters for the whole frame.

    Colours fall into cells of 16 levels of each channel (grey: of one level), each with its count and the exact sums of
    its values.

    Args:
        window: Colour or grey.

    Returns:
        A row of counts of the cells (blue the slowest, red the fastest), and for each channel a row of sums;
        `kmeans_clusters` says what they amount to.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(window.pixels)
    pixels = window.core_pixels
    planes = [pixels] if pixels.ndim == 2 else [pixels[:, :, channel] for channel in range(3)]
    bits = GRAY_BITS if len(planes) == 1 else COLOUR_BITS
    cells = np.zeros(pixels.shape[:2], np.int32)
    for plane in planes:
        cells = (cells << bits) | (plane >> (8 - bits))
    flat, size = cells.reshape(-1), 1 << bits * len(planes)
    # Sums of whole numbers stay below 2^53: exact in float64 in any order.
    sums = [np.bincount(flat, weights=plane.reshape(-1), minlength=size).astype(np.int64) for plane in planes]
    return Histogram(counts=[np.bincount(flat, minlength=size).tolist(), *(row.tolist() for row in sums)])


def kmeans_clusters(cells: Histogram, params: Params) -> Figures:
    """Put a frame's colours into `k` clusters, so that the distance to the nearest centre is small.

    Works on the mean colours of the cells, by their counts. The first centre is the commonest colour, each next one
    the dearest by count and squared distance; then Lloyd's steps until nothing changes. Once more with each next centre
    the one of the 64 dearest that takes off the most. The better of both is told; no chance is in it.

    Args:
        cells: From `kmeans`, of all tiles.
        params: `k`, clusters.

    Returns:
        Figures: `centres`, lists of blue, green, red (or of one grey level), `shares` of the pixels, largest first;
        fewer than `k` if there are fewer colours; `distance`, root mean square distance in levels of the cells' means
        to their centres.

    Raises:
        BadMessage: reason "schema": neither grey nor colour cells.

    References:
        S. Lloyd, Least Squares Quantization in PCM, IEEE Transactions on Information Theory 28(2), 1982;
        D. Arthur, S. Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007.
    """
    if len(cells.counts) not in (2, 4):
        raise BadMessage("schema", f"cells of colours have 2 or 4 rows, got {len(cells.counts)}")
    counts, *sums = (np.array(row, np.float64) for row in cells.counts)
    used = counts > 0
    weights = counts[used]
    if not weights.size:
        return Figures(values={"centres": [], "shares": [], "distance": 0.0})
    colours = np.stack([row[used] for row in sums], axis=1) / weights[:, None]
    starts = [_first_centres(colours, weights, int(params["k"]), candidates) for candidates in (1, CANDIDATES)]
    cost, centres, nearest = min((_lloyd(colours, weights, start) for start in starts), key=itemgetter(0))
    shares = np.bincount(nearest, weights=weights, minlength=len(centres)) / weights.sum()
    order = [index for index in np.lexsort((*centres.T, -shares)).tolist() if shares[index] > 0]
    return Figures(
        values={
            "centres": np.round(centres[order], 3).tolist(),
            "shares": np.round(shares[order], 9).tolist(),
            "distance": round(cost**0.5, 4),
        }
    )


def _regions(stats: NDArray[Any], centroids: NDArray[Any], params: Params) -> dict[str, Any]:
    """Tell regions of rows left, top, width, height, area."""
    large = stats[:, cv2.CC_STAT_AREA] >= int(params["min_area"])
    stats, centroids = stats[large].astype(np.int64), centroids[large]
    order = np.lexsort((stats[:, 0], stats[:, 1], -stats[:, cv2.CC_STAT_AREA]))[: int(params["limit"])]
    left, top, width, height, area = stats[order].T
    return {
        "count": len(stats),
        "areas": area.tolist(),
        "boxes": np.stack([left, top, left + width, top + height], axis=1).tolist(),
        "centroids": np.round(centroids[order].astype(np.float64), 3).tolist(),
    }


def _watershed(mask: Pixels, apart: int) -> NDArray[np.int32]:
    """Labels from 1 on of the segments of a mask that has both black and white; 0 on black."""
    distance = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
    # Squares are taken apart into rows and columns, circles are not: 5 times as fast.
    around = np.ones((2 * apart + 1, 2 * apart + 1), np.uint8)
    peaks = ((distance >= cv2.dilate(distance, around)) & (mask > 0)).astype(np.uint8)
    # Equal heights close to each other are one middle.
    near = np.ones((2 * (apart // 2) + 1, 2 * (apart // 2) + 1), np.uint8)
    middles = np.where(mask > 0, np.asarray(cv2.dilate(peaks, near), np.uint8), np.uint8(0))
    count, markers = cv2.connectedComponents(middles, connectivity=8, ltype=cv2.CV_32S)
    # Float keeps numbers up to 2^24; half as many bytes are twice as fast where they do.
    return _flooded(distance, np.asarray(markers).astype(np.uint16 if count < 2**16 else np.float32))


def _flooded(distance: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.int32]:
    """Let labels grow from the furthest pixels to the nearest, level by level of one pixel.

    A level grows on until it is full, but all levels together for no longer than the way once around the picture, so
    that no maze takes for ever; what a maze hides behind that stays 0.
    """
    square = np.ones((3, 3), np.uint8)
    left = 2 * sum(distance.shape)
    for level in range(math.ceil(float(distance.max())), 0, -1):
        empty = (distance > level - 1) & (labels == 0)
        count = np.count_nonzero(empty)
        while left and count:
            left -= 1
            np.copyto(labels, np.asarray(cv2.dilate(labels, square)), where=empty)
            empty &= labels == 0
            before, count = count, np.count_nonzero(empty)
            if count == before:
                break
    return labels.astype(np.int32)


def _stats(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows left, top, width, height, area, and centroids (x, y), of the labels that have pixels."""
    y, x = np.nonzero(labels)
    label = labels[y, x] - 1
    size = int(label.max()) + 1 if label.size else 0
    area = np.bincount(label, minlength=size)
    low = np.full((2, size), np.iinfo(np.int64).max)
    high = np.zeros((2, size), np.int64)
    for axis, at in enumerate((x, y)):
        np.minimum.at(low[axis], label, at)
        np.maximum.at(high[axis], label, at + 1)
    sums = np.stack([np.bincount(label, weights=at, minlength=size) for at in (x, y)], axis=1)
    kept = area > 0
    stats = np.stack([*low, *(high - low), area], axis=1)[kept]
    return stats, sums[kept] / area[kept, None]


def _first_centres(
    colours: NDArray[np.float64], weights: NDArray[np.float64], k: int, candidates: int
) -> NDArray[np.float64]:
    chosen = [int(np.argmax(weights))]
    cost = np.sum((colours - colours[chosen[0]]) ** 2, axis=1)
    while len(chosen) < k and np.any(cost > 0):
        dear = np.argsort(-weights * cost, kind="stable")[:candidates]
        each = np.minimum(cost, np.sum((colours[dear, None, :] - colours[None]) ** 2, axis=2))
        best = int(np.argmin(each @ weights))
        chosen.append(int(dear[best]))
        cost = each[best]
    return colours[chosen]


def _lloyd(
    colours: NDArray[np.float64], weights: NDArray[np.float64], centres: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.int64]]:
    """Mean squared distance, centres, and the nearest of each colour."""
    nearest = np.full(len(colours), -1)
    for _ in range(LLOYD_STEPS):
        distances = np.sum((colours[:, None, :] - centres[None]) ** 2, axis=2)
        found = np.argmin(distances, axis=1)
        if np.array_equal(found, nearest):
            break
        nearest = found
        held = np.bincount(nearest, weights=weights, minlength=len(centres))
        for channel in range(colours.shape[1]):
            sums = np.bincount(nearest, weights=weights * colours[:, channel], minlength=len(centres))
            centres[held > 0, channel] = sums[held > 0] / held[held > 0]
    cost = float(weights @ np.sum((colours - centres[nearest]) ** 2, axis=1) / weights.sum())
    return cost, centres, nearest


_MIN_AREA = Parameter(name="min_area", default=1, low=1, high=2**31, meaning="smaller ones do not count, pixels")
_LIMIT = Parameter(name="limit", default=50, low=0, high=1000, meaning="largest ones that are told one by one")


def _edge(name: str, default: float, below: str = "") -> Parameter:
    meaning = f"{name} of the rectangle, share of the frame"
    return Parameter(name=name, default=default, low=0, high=1, below=below, meaning=meaning)


ROWS: tuple[Operator, ...] = (
    Operator(
        name="connected_components",
        family="segmentation",
        kind="measure",
        run=connected_components,
        scope="frame",
        parameters=(
            Parameter(name="connectivity", default=8, choices=(4, 8), meaning="neighbours: by sides, or corners too"),
            _MIN_AREA,
            _LIMIT,
        ),
        meaning="connected areas of a black-and-white picture: count, sizes, places",
    ),
    Operator(
        name="watershed",
        family="segmentation",
        kind="measure",
        run=watershed,
        scope="frame",
        parameters=(
            Parameter(name="inverse", default=False, meaning="take the dark areas"),
            Parameter(name="min_distance", default=10, low=1, high=100, meaning="between two middles, pixels"),
            _MIN_AREA,
            _LIMIT,
        ),
        meaning="bright areas, taken apart where they touch",
    ),
    Operator(
        name="grabcut",
        family="segmentation",
        kind="measure",
        run=grabcut,
        accepts=("color", "gray"),
        scope="frame",
        parameters=(
            _edge("left", 0.1, below="right"),
            _edge("top", 0.1, below="bottom"),
            _edge("right", 0.9),
            _edge("bottom", 0.9),
            Parameter(name="iterations", default=3, low=1, high=20, meaning="rounds of models and cuts"),
            Parameter(
                name="scale", default=2, choices=(1, 2, 4, 8, 16), meaning="the picture is reduced by this first"
            ),
        ),
        meaning="foreground of a rectangle, by colour",
    ),
    Operator(
        name="kmeans",
        family="segmentation",
        kind="measure",
        run=kmeans,
        accepts=("color", "gray"),
        exact="exact",
        finish=kmeans_clusters,
        parameters=(Parameter(name="k", default=4, low=1, high=32, meaning="clusters"),),
        meaning="main colours of a frame and their shares",
    ),
)
