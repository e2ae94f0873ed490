"""Points with descriptors, by which they are found again in another frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Points
from streamproc.operators.pixels import require_gray
from streamproc.operators.points import inside, limit_parameter, pack_points
from streamproc.operators.table import Operator, Parameter, Params, Window

ORB_BORDER_PX = 31  # ORB finds nothing nearer to a picture's border
ORB_HALO_PX = ORB_BORDER_PX + 1
ORB_BYTES = 32
ORB_HEADROOM = 2  # a tile may hold twice its share of the frame's points


def orb(window: Window, params: Params) -> Points:
    """Find ORB points and their descriptors.

    Not exact across tiles: the picture pyramid is resampled from each window, coarse levels lose a border
    of more than the halo, and the number of points of a level is shared out by window. Of twelve pictures of
    640x384 and 1280x720 cut 2x2, with the defaults, about half of the frame's points are points of its tiles (to
    half a pixel; 38 to 69 of 100, median 54), and the reverse; cut 3x5, 30 to 51 (39). With a `limit` of 10000 it
    is 54 to 81 (64) and 35 to 75 (52). With one level and such a limit all points are the same, and so are their
    descriptors. `on = "frame"` gives OpenCV's points of the frame.

    Args:
        window: Grey, with ORB_HALO_PX of halo.
        params: `limit`, points kept of a frame; `scale_factor` and `levels` of the pyramid;
            `fast_threshold`, grey levels.

    Returns:
        Points in frame coordinates with descriptors of 32 bytes; the response is Harris'.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        E. Rublee et al., ORB: an Efficient Alternative to SIFT or SURF, ICCV 2011.
    """
    require_gray(window.pixels)
    window = window.cropped(ORB_HALO_PX)
    limit = int(params["limit"])
    found, rows = _detect(window, params)
    xy = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    xy += np.array([window.rect.x, window.rect.y], np.float32)
    response = np.array([point.response for point in found], np.float32)
    mine = inside(xy, window.core)
    return pack_points(xy[mine], response[mine], limit=limit, descriptors=rows[mine])


def _detect(window: Window, params: Params) -> tuple[Sequence[cv2.KeyPoint], NDArray[np.uint8]]:
    scale_factor = float(params["scale_factor"])
    levels = min(int(params["levels"]), _useful_levels(window, scale_factor))
    nothing: NDArray[np.uint8] = np.zeros((0, ORB_BYTES), np.uint8)
    if not levels:
        return (), nothing
    detector = cv2.ORB.create(
        nfeatures=_share(window, int(params["limit"])),
        scaleFactor=scale_factor,
        nlevels=levels,
        edgeThreshold=ORB_BORDER_PX,
        fastThreshold=int(params["fast_threshold"]),
    )
    found, rows = detector.detectAndCompute(window.pixels, None)
    return found, np.asarray(rows, np.uint8) if found else nothing


def _share(window: Window, limit: int) -> int:
    """Points to look for in a window: its share of the frame's, with headroom, at most all."""
    return min(limit, math.ceil(ORB_HEADROOM * limit * window.rect.area / (window.width * window.height)))


def _useful_levels(window: Window, scale_factor: float) -> int:
    """Levels of the pyramid that are more than border; OpenCV fails on levels of no pixels."""
    inner = min(window.rect.width, window.rect.height) / (2 * ORB_BORDER_PX + 1)
    return 0 if inner < 1 else 1 + int(math.log(inner, scale_factor))


def _orb_halo(_params: Params) -> int:
    return ORB_HALO_PX


ROWS: tuple[Operator, ...] = (
    Operator(
        name="orb",
        family="descriptors",
        kind="measure",
        run=orb,
        exact="no",
        parameters=(
            limit_parameter(),
            Parameter(name="scale_factor", default=1.2, low=1.05, high=2, meaning="between levels of the pyramid"),
            Parameter(name="levels", default=8, low=1, high=16, meaning="levels of the pyramid"),
            Parameter(name="fast_threshold", default=20, low=1, high=255, meaning="contrast, grey levels"),
        ),
        halo=_orb_halo,
        meaning="points with descriptors of 32 bytes",
    ),
)
