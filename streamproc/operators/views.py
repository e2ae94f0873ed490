"""How like two views are, and how one is turned, zoomed and shifted against the other; on the cells of `vitals`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

SLOPE_CLIP: Final = 32.0  # grey levels between cells; a lamp or a white car may not outweigh the rest
LEAST_SLOPE: Final = 1.0  # root mean square below which a part has no structure
PART: Final = 8  # cells
LEAST_PARTS: Final = 4
QUANTILE: Final = 0.6
CROP: Final = 0.56  # of both sides: what is left of a 16:9 picture turned by 30 degrees
ANGLES: Final = range(-30, 31, 2)  # degrees that are tried, before the best is refined
ZOOMS: Final = (0.8, 0.9, 1.0, 1.1, 1.2)
LEAST_MATCH: Final = 0.7  # correlation of the middle of a view that is recognised though it cannot be refined
MOST_ZOOM: Final = 1.5
MOST_SHEAR: Final = 0.15  # a camera that turns and zooms does not shear its picture
LEAST_LIKENESS: Final = 0.6  # of a view that is recognised, once it is laid on the usual one
LEAST_ANGLE, LEAST_ZOOM, LEAST_SHIFT = 2.0, 1.03, 1.0  # degrees, factor, cells that count as a move
SURE, SURER = 0.7, 0.15  # likeness that a move must reach, and by which it must explain the picture better
SAME_PART, IN_PLACE = 0.9, 0.1  # likeness of a part that is as usual, and the share of such parts of a hidden view
LEAST_CELLS: Final = 6  # of a side that can be looked for
STEPS, LEAST_STEP = 40, 1e-4  # of the refinement


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """How a view has moved.

    Attributes:
        angle: Degrees by which the picture has turned, counter-clockwise.
        zoom: Factor by which it has grown.
        x: Cells by which its middle has moved to the right.
        y: The same, down.
        likeness: Of the view to the usual one, once it is moved back; see `likeness`.
    """

    angle: float
    zoom: float
    x: float
    y: float
    likeness: float

    @property
    def counts(self) -> bool:
        """Whether it is more than the cells can tell from none."""
        zoomed = max(self.zoom, 1 / self.zoom) >= LEAST_ZOOM
        return abs(self.angle) >= LEAST_ANGLE or zoomed or math.hypot(self.x, self.y) >= LEAST_SHIFT


def likeness(usual: NDArray[np.float64], now: NDArray[np.float64]) -> float | None:
    """Correlation of the slopes between neighbouring cells, at most 1; light that changes evenly does not change it.

    It is taken for each part of about 8 x 8 cells that has structure; the likeness is that of the part that 60 % of
    them are not better than. So what hides up to half of the view counts little.

    Args:
        usual: Mean grey levels of cells, shape (rows, columns).
        now: The same of another frame.

    Returns:
        None if the usual view has fewer than LEAST_PARTS parts with structure.
    """
    found = _likenesses(usual, now)
    return float(np.quantile(found, QUANTILE)) if len(found) >= LEAST_PARTS else None


def is_hidden(usual: NDArray[np.float64], now: NDArray[np.float64]) -> bool:
    """Whether some parts of the view are as usual, in their places, and no move explains the others.

    Args:
        usual: Mean grey levels of cells, shape (rows, columns).
        now: The same of another frame, unlike the usual one.
    """
    return _in_place(usual, now) and locate(usual, now) is None


def slight_move(usual: NDArray[np.float64], now: NDArray[np.float64], alike: float) -> Move | None:
    """A turn, zoom or shift by few cells that explains a picture clearly better than that nothing has moved.

    What passes before the camera does not pass for one: the rest of the picture speaks against it.

    Args:
        usual: Mean grey levels of cells, shape (rows, columns).
        now: The same of another frame.
        alike: Their likeness as they are.

    Returns:
        None if there is none.
    """
    found = _refined(usual, now, np.eye(2, 3, dtype=np.float32))
    if found is None or not found.counts or found.likeness < max(SURE, alike + SURER):
        return None
    return found


def locate(usual: NDArray[np.float64], now: NDArray[np.float64]) -> Move | None:
    """Look for the usual view in another one: turned by up to 30 degrees, zoomed by 0.8 to 1.2, or shifted.

    It is looked for near its place, and where its middle is found best: that may be up to 0.2 of a side away. Where
    the cells are too coarse to refine that place, it is told as it was found, to two degrees.

    Args:
        usual: Mean grey levels of cells, shape (rows, columns).
        now: The same of another frame.

    Returns:
        None if it is not recognised.

    References:
        G. Evangelidis, E. Psarakis, Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization,
        IEEE TPAMI 30(10), 2008.
    """
    if min(usual.shape) * CROP < LEAST_CELLS:
        return None
    nearest, match = _nearest(usual, now)
    moves = [_refined(usual, now, begin) for begin in (np.eye(2, 3, dtype=np.float32), nearest)]
    known = [one for one in moves if one is not None and one.likeness >= LEAST_LIKENESS]
    if not known and match >= LEAST_MATCH and not _in_place(usual, now):
        return _move(nearest, usual.shape, match)
    return max(known, key=lambda one: one.likeness, default=None)


def _nearest(usual: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """The turn, zoom and shift, in steps, by which the middle of the usual view is found best: a 2 x 3 matrix.

    And the correlation there.
    """
    rows, columns = usual.shape
    height, width = (max(1, round(CROP * side)) for side in usual.shape)
    top, left = (rows - height) // 2, (columns - width) // 2
    seen, view = now.astype(np.float32), usual.astype(np.float32)
    best, begin = 0.0, np.eye(2, 3)
    for angle, zoom in product(ANGLES, ZOOMS):
        turn = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), angle, zoom)
        turned = cv2.warpAffine(view, turn, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
        part = turned[top : top + height, left : left + width]
        if float(part.std()) < LEAST_SLOPE:
            continue
        match = np.nan_to_num(np.asarray(cv2.matchTemplate(seen, part, cv2.TM_CCOEFF_NORMED), np.float64), posinf=0)
        y, x = np.unravel_index(int(match.argmax()), match.shape)
        if best < match[y, x] <= 1.001:
            best, begin = float(match[y, x]), turn + np.array([[0, 0, int(x) - left], [0, 0, int(y) - top]])
    return begin.astype(np.float32), best


def _refined(usual: NDArray[np.float64], now: NDArray[np.float64], begin: NDArray[np.float32]) -> Move | None:
    """The move near `begin` that lays the view best on the usual one; None if there is none that a camera can make."""
    if min(usual.shape) < LEAST_CELLS:
        return None
    view, seen = usual.astype(np.float32), now.astype(np.float32)
    everywhere = np.ones(usual.shape, np.uint8)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, STEPS, LEAST_STEP)
    try:
        # Blurring first, as is advised for wide starts, recognised fewer views: of so few cells little is left.
        _, found = cv2.findTransformECC(view, seen, begin.copy(), cv2.MOTION_AFFINE, until, everywhere, 1)
    except cv2.error:  # it does not converge, or a picture is flat
        return None
    move = _move(found, usual.shape, 0.0)
    if move is None:
        return None
    size = (usual.shape[1], usual.shape[0])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    alike = likeness(usual, cv2.warpAffine(seen, found, size, flags=how, borderMode=cv2.BORDER_REPLICATE).astype(float))
    return None if alike is None else replace(move, likeness=alike)


def _move(found: Any, shape: tuple[int, ...], alike: float) -> Move | None:
    """What a matrix of 2 x 3 does to a view; None if no camera does."""
    turn = np.asarray(found, np.float64)
    if not np.isfinite(turn).all() or np.linalg.det(turn[:, :2]) <= 0:
        return None
    most, least = np.linalg.svd(turn[:, :2], compute_uv=False)
    zoom = float(np.sqrt(most * least))
    if most > least * (1 + MOST_SHEAR) or not 1 / MOST_ZOOM <= zoom <= MOST_ZOOM:
        return None
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    x, y = (turn @ [*middle, 1.0] - middle).tolist()
    angle = math.degrees(math.atan2(turn[0, 1] - turn[1, 0], turn[0, 0] + turn[1, 1]))
    return Move(angle=angle, zoom=zoom, x=x, y=y, likeness=alike)


def _in_place(usual: NDArray[np.float64], now: NDArray[np.float64]) -> bool:
    """Whether more parts than chance would have it are as usual: then the camera looks where it did."""
    found = _likenesses(usual, now)
    return len(found) >= LEAST_PARTS and float(np.mean(np.array(found) >= SAME_PART)) >= IN_PLACE


def _likenesses(usual: NDArray[np.float64], now: NDArray[np.float64]) -> list[float]:
    """Correlation of the slopes in each part that has structure."""
    return [
        float(first @ second) / float(np.sqrt(strength * max(float(second @ second), 1e-9)))
        for first, second in zip(_parts(usual), _parts(now), strict=True)
        if (strength := float(first @ first)) >= LEAST_SLOPE**2 * max(1, first.size)
    ]


def _parts(cells: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Slopes to the right and down, part by part, each as one row."""
    rows, columns = (max(1, round(side / PART)) for side in cells.shape)
    across, down = (np.clip(np.diff(cells, axis=axis), -SLOPE_CLIP, SLOPE_CLIP) for axis in (1, 0))
    return [
        np.concatenate([first.ravel(), second.ravel()])
        for bands in zip(np.array_split(across, rows), np.array_split(down, rows), strict=True)
        for first, second in zip(*(np.array_split(band, columns, axis=1) for band in bands), strict=True)
    ]
