"""Points with descriptors by SIFT, AKAZE and BRISK: slower than ORB, and found again over larger changes.

None is exact across tiles: each resamples or blurs the picture it is given, in floats, and what is coarse looks
further than a halo. A pipeline that runs them on the frame (`on = "frame"`) gets OpenCV's points of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Points, Rect
from streamproc.operators.pixels import require_gray
from streamproc.operators.points import inside, limit_parameter, pack_points
from streamproc.operators.table import Operator, Parameter, Params, Window

SIFT_HALO_PX = 64  # a multiple of 16: windows begin where the pyramid of the frame has a pixel on four levels
SIFT_BYTES = 128
AKAZE_BYTES = 61
AKAZE_LEAST_PX = 16  # OpenCV 4.14 writes beyond its memory where a side is 1 px, and finds nothing below 16
BRISK_BYTES = 64
BRISK_STEP_PX = 24  # layers are 2/3, 1/2, ... 1/12 of the picture: on this step their pixels are those of the frame
BRISK_RADIUS_PX = 20  # with 19, points near seams are missing
BRISK_LEAST_PX = 8  # of the coarsest layer


def sift(window: Window, params: Params) -> Points:
    """Find SIFT points and their descriptors.

    Not exact across tiles. On photographs cut 2x2, at least 98 of 100 points of the frame are points of its tiles (to
    half a pixel), and the reverse; at least 95 have the same descriptor (to 5 percent of its length). The rest are
    coarse ones near seams. A point with two directions comes twice.

    Slow: about 40 ms for 640x384.

    Args:
        window: Grey, with SIFT_HALO_PX of halo.
        params: `limit`, points kept of a frame; `octave_layers` of each octave; `contrast_threshold`, the larger, the
            fewer weak points; `edge_threshold`, the larger, the more points on edges; `sigma` of the first blur,
            pixels.

    Returns:
        Points in frame coordinates; the response is the contrast; descriptors of 128 bytes: the values of
        `cv2.SIFT`, which are whole numbers 0 to 255, as uint8.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        D. G. Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 60(2), 2004.
    """
    require_gray(window.pixels)
    window = window.cropped(SIFT_HALO_PX)
    detector = cv2.SIFT.create(
        int(params["limit"]),
        int(params["octave_layers"]),
        float(params["contrast_threshold"]),
        float(params["edge_threshold"]),
        float(params["sigma"]),
        cv2.CV_8U,
    )
    return _found(detector, window, int(params["limit"]), SIFT_BYTES)


def akaze(window: Window, params: Params) -> Points:
    """Find AKAZE points and their binary descriptors (MLDB).

    Not exact across tiles: the contrast that counts as an edge is taken from the window's own gradients, and coarse
    points are dropped near a window's border. On photographs cut 2x2, at least 88 of 100 points of the frame are
    points of its tiles (to half a pixel), and at least 97 of 100 points of tiles are points of the frame.

    Args:
        window: Grey, with `akaze_halo` of halo.
        params: `limit`, points kept of a frame; `threshold` of the response; `octaves` and `octave_layers` of the
            scale space.

    Returns:
        Points in frame coordinates with descriptors of 61 bytes (486 bits, compared by Hamming distance); the
        response is the determinant of the Hessian. A window with a side below 16 pixels has none.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        P. F. Alcantarilla, J. Nuevo, A. Bartoli, Fast Explicit Diffusion for Accelerated Features in Nonlinear Scale
        Spaces, BMVC 2013.
    """
    require_gray(window.pixels)
    window = window.cropped(akaze_halo(params))
    limit = int(params["limit"])
    if min(window.pixels.shape) < AKAZE_LEAST_PX:
        return _none(limit, AKAZE_BYTES)
    detector = cv2.AKAZE.create(
        threshold=float(params["threshold"]),
        nOctaves=int(params["octaves"]),
        nOctaveLayers=int(params["octave_layers"]),
        max_points=limit,
    )
    return _found(detector, window, limit, AKAZE_BYTES)


def akaze_halo(params: Params) -> int:
    """Halo that most points of coarser octaves need, too."""
    return 64 if int(params["octaves"]) == 1 else 96


def brisk(window: Window, params: Params) -> Points:
    """Find BRISK points and their binary descriptors.

    Not exact across tiles: layers are resampled from each window. With no octaves the points are those of the frame up
    to rounding of their places. With octaves and both sides of the frame multiples of 24 pixels, of twelve pictures cut
    2x2 at least 97 of 100 points of the frame are points of its tiles (to half a pixel). With other sides (640x384,
    630x470, 1280x720) it was 48 to 93, median 78, and of 640x384 cut 3x5 64 to 88, median 80: OpenCV's layers are then
    not quite 2/3 of the picture, and points of the frame itself are moved. A `limit` that leaves points out makes it up
    to 15 less, as it leaves out others.

    Cost grows with the number of points, whatever `limit`: 40 to 50 ms for a photograph of 640x384, 0.5 s for noise.

    Args:
        window: Grey, with `brisk_halo` of halo.
        params: `limit`, points kept of a frame; `threshold`, contrast in grey levels; `octaves`, 0 for the picture as
            it is; `pattern_scale`, size of the pattern of a descriptor.

    Returns:
        Points in frame coordinates with descriptors of 64 bytes (512 bits, compared by Hamming distance); the response
        is the score of AGAST. No point lies near the frame's border.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        S. Leutenegger, M. Chli, R. Siegwart, BRISK: Binary Robust Invariant Scalable Keypoints, ICCV 2011.
    """
    require_gray(window.pixels)
    window = window.cropped(brisk_halo(params))
    if int(params["octaves"]):
        window = _aligned(window, BRISK_STEP_PX)
    limit = int(params["limit"])
    fitting = min(window.pixels.shape) * 2 // (3 * BRISK_LEAST_PX)
    if not fitting:
        return _none(limit, BRISK_BYTES)
    detector = cv2.BRISK.create(
        thresh=int(params["threshold"]),
        octaves=min(int(params["octaves"]), fitting.bit_length() - 1),
        patternScale=float(params["pattern_scale"]),
    )
    return _found(detector, window, limit, BRISK_BYTES)


def brisk_halo(params: Params) -> int:
    """Radius of the pattern on the layers, up to the second octave, and the step that windows are cut to."""
    octaves = int(params["octaves"])
    radius = math.ceil(BRISK_RADIUS_PX * float(params["pattern_scale"]))
    return radius if not octaves else (radius << min(octaves, 2)) + BRISK_STEP_PX


def _found(detector: Any, window: Window, limit: int, size: int) -> Points:
    """Strongest points in the core that a detector of OpenCV finds in a window."""
    found: Sequence[cv2.KeyPoint]
    found, rows = detector.detectAndCompute(np.ascontiguousarray(window.pixels), None)
    if not found:
        return _none(limit, size)
    descriptors: NDArray[np.uint8] = np.asarray(rows, np.uint8)
    xy = np.array([point.pt for point in found], np.float32) + np.array([window.rect.x, window.rect.y], np.float32)
    response = np.array([point.response for point in found], np.float32)
    mine = inside(xy, window.core)
    return pack_points(xy[mine], response[mine], limit=limit, descriptors=descriptors[mine])


def _none(limit: int, size: int) -> Points:
    return pack_points(np.zeros((0, 2)), np.zeros(0), limit=limit, descriptors=np.zeros((0, size), np.uint8))


def _aligned(window: Window, step_px: int) -> Window:
    """The largest part of a window that begins and ends on the step or at the frame's border, and holds the core."""
    left, right = _on_step(window.rect.x, window.rect.right, window.core.x, window.core.right, window.width, step_px)
    top, bottom = _on_step(window.rect.y, window.rect.bottom, window.core.y, window.core.bottom, window.height, step_px)
    rect = Rect(left, top, right - left, bottom - top)
    return replace(window, pixels=window.pixels[rect.within(window.rect)], rect=rect)


def _on_step(first: int, last: int, core_first: int, core_last: int, length: int, step: int) -> tuple[int, int]:
    low, high = -(-first // step) * step, last if last == length else last // step * step
    return (low if low <= core_first else first), (high if high >= core_last else last)


def _sift_halo(_params: Params) -> int:
    return SIFT_HALO_PX


ROWS: tuple[Operator, ...] = (
    Operator(
        name="sift",
        family="descriptors",
        kind="measure",
        run=sift,
        exact="no",
        parameters=(
            limit_parameter(),
            Parameter(name="octave_layers", default=3, low=1, high=8, meaning="layers of each octave"),
            Parameter(name="contrast_threshold", default=0.04, low=0, high=1, meaning="larger: fewer weak points"),
            Parameter(name="edge_threshold", default=10.0, low=1, high=1000, meaning="larger: more points on edges"),
            Parameter(name="sigma", default=1.6, low=0.5, high=8, meaning="blur of the first layer, pixels"),
        ),
        halo=_sift_halo,
        meaning="points with descriptors of 128 bytes, by scale and direction",
    ),
    Operator(
        name="akaze",
        family="descriptors",
        kind="measure",
        run=akaze,
        exact="no",
        parameters=(
            limit_parameter(),
            Parameter(name="threshold", default=0.001, low=1e-6, high=1, meaning="response of a point, at least"),
            Parameter(name="octaves", default=4, low=1, high=8, meaning="octaves of the scale space"),
            Parameter(name="octave_layers", default=4, low=1, high=8, meaning="layers of each octave"),
        ),
        halo=akaze_halo,
        meaning="points with descriptors of 61 bytes, from a scale space that keeps edges",
    ),
    Operator(
        name="brisk",
        family="descriptors",
        kind="measure",
        run=brisk,
        exact="no",
        parameters=(
            limit_parameter(),
            Parameter(name="threshold", default=30, low=1, high=255, meaning="contrast, grey levels"),
            Parameter(name="octaves", default=3, low=0, high=4, meaning="octaves; 0: the picture as it is"),
            Parameter(name="pattern_scale", default=1.0, low=1, high=2, meaning="size of the descriptor's pattern"),
        ),
        halo=brisk_halo,
        meaning="points with descriptors of 64 bytes, by comparing brightness",
    ),
)
