"""Canny on one tile, decided as far as the tile alone can decide it. `aggregator/seams.py` decides the rest.

Canny is local up to its last step: gradient (1 px), thinning (1 px) and then hysteresis, which follows weak
pixels to a strong one however far away. So a tile says which pixels are edges in any case (`decided`), and
which weak pixels hang together with its border and may still become edges by a neighbour (`loose`).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import EdgeMap, Pixels
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params, Window

CANNY_HALO_PX = 2  # 1 for Sobel 3x3, 1 for thinning; with 1, 208 to 1086 wrong pixels per 384x500 frame
WALL = 8192  # larger than any gradient of 8-bit pixels: |dx| + |dy| <= 2040
DEPTH_PX = 32  # of the first strips searched; of 48 tiles of photographs and films 22 needed no more, 39 at most 64
REACHED = 128

Gradient = NDArray[np.int16]


def canny(window: Window, params: Params) -> EdgeMap:
    """Find the edges of a tile so that tiles link to exactly `cv2.Canny` of the whole frame.

    The gradient is that of Sobel's 3x3 kernels (aperture 3, not normalised), its magnitude `|dx| + |dy|` unless `l2`.
    So thresholds are not differences of grey levels: a straight upright or level edge from grey level a to b has the
    magnitude 4 * |a - b|, a diagonal one 6 * |a - b| (with `l2` 4.2), and 1530 is the largest there is (with `l2`
    1140). The defaults, 50 and 150, keep upright and level edges of more than 37 levels, and of more than 12
    where they hang together with such. Thresholds found with `L2gradient = True` or with another aperture mean
    something else here.

    Args:
        window: Grey, with CANNY_HALO_PX of halo.
        params: `low`, `high`: gradient magnitude in grey levels of a weak and a strong edge (swapped if
            need be, as OpenCV does); `l2`: Euclidean instead of absolute magnitude.

    Returns:
        Packed masks of the core; see `EdgeMap`.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        J. Canny, A Computational Approach to Edge Detection, IEEE TPAMI 8(6), 1986.
    """
    require_gray(window.pixels)
    low, high = sorted((float(params["low"]), float(params["high"])))
    field = _Field(window.cropped(CANNY_HALO_PX), l2=bool(params["l2"]))
    decided = field.thinned(low, high)
    loose = _loose(field, decided, low)
    positions = np.flatnonzero(loose != 0)  # of booleans: 4 times faster than of bytes
    return EdgeMap(
        core=window.core,
        decided=np.packbits(decided, axis=1).tobytes(),
        loose_at=positions.astype("<u4").tobytes(),
        loose_bits=loose.reshape(-1)[positions].tobytes(),
    )


class _Field:
    """Gradient of a window whose halo can neither become an edge of the core nor carry hysteresis around it.

    Along each side with a neighbour the ring of pixels next to the core keeps its magnitude, so that core
    pixels are thinned against true values, but its direction is turned towards the ring outside it, which
    is made a wall: no pixel of the inner ring survives thinning, and the outer ring does not touch the
    core.

    Attributes:
        sides: left, top, right, bottom: whether a neighbour lies there.
    """

    def __init__(self, window: Window, *, l2: bool) -> None:
        core, rect = window.core, window.rect
        halo = (core.x - rect.x, core.y - rect.y, rect.right - core.right, rect.bottom - core.bottom)
        self.sides = tuple(width > 0 for width in halo)
        self.shape = (core.height, core.width)
        self.at = (halo[1], halo[0])
        self.l2 = l2
        # REPLICATE is what cv2.Canny takes at the frame's border.
        self.dx = _sobel(window.pixels, 1, 0)
        self.dy = _sobel(window.pixels, 0, 1)
        # A neighbour one pixel wide leaves no room for the wall, and diagonal gradients (L2 alone) would pass
        # it at the frame's border.
        if 1 in halo or (l2 and any(halo)):
            self.dx, self.dy = _framed(self.dx), _framed(self.dy)
            self.at = (halo[1] + 1, halo[0] + 1)
        self._build_walls()

    def thinned(self, low: float, high: float, part: tuple[slice, slice] | None = None) -> Pixels:
        """Canny of the core, or of `part` of it, with hysteresis inside it alone; 0 or 255."""
        rows, cols = part or (slice(0, self.shape[0]), slice(0, self.shape[1]))
        (top, left), (height, width) = self.at, self.dx.shape
        # 2 px around the part: the walls at the core's border; inside the core thinning looks 1 px far.
        y0, y1 = max(0, top + rows.start - 2), min(height, top + rows.stop + 2)
        x0, x1 = max(0, left + cols.start - 2), min(width, left + cols.stop + 2)
        near = (slice(y0, y1), slice(x0, x1))
        edges = cv2.Canny(self.dx[near], self.dy[near], low, high, L2gradient=self.l2)
        y, x = top + rows.start - y0, left + cols.start - x0
        return np.asarray(edges, np.uint8)[y : y + rows.stop - rows.start, x : x + cols.stop - cols.start]

    def _build_walls(self) -> None:
        (top, left), (rows, cols) = self.at, self.shape
        across = (self.dx, self.dy), (self.dy.T, self.dx.T)
        lines = (
            (left - 1, left - 2),
            (top - 1, top - 2),
            (left + cols, left + cols + 1),
            (top + rows, top + rows + 1),
        )
        for side, (inner, _) in enumerate(lines):
            if self.sides[side]:
                self._turn(*across[side % 2], inner)
        for side, (_, outer) in enumerate(lines):
            if self.sides[side]:
                across[side % 2][0][:, outer] = WALL

    def _turn(self, across: Gradient, along: Gradient, line: int) -> None:
        """Turn the gradients of one line towards the wall; their magnitude stays."""
        first, second = np.abs(across[:, line]), np.abs(along[:, line])
        if self.l2:
            across[:, line], along[:, line] = np.maximum(first, second), np.minimum(first, second)
        else:
            across[:, line], along[:, line] = first + second, 0


def _loose(field: _Field, decided: Pixels, low: float) -> NDArray[np.uint8]:
    """Packed mask of the weak pixels that hang together with a border of the core that has a neighbour.

    Searched in strips along those borders, made deeper where a component reaches a strip's inner end: most
    components end within a few pixels, and weak pixels of the whole tile cost as much as `decided`.
    """
    rows, cols = field.shape
    # One pixel more around the core, set along those borders: one fill then reaches all that touches them.
    framed = np.zeros((rows + 2, cols + 2), np.uint8)
    weak = framed[1:-1, 1:-1]
    depths = {side: 0 for side in range(4) if field.sides[side]}
    growing = set(depths)
    while growing:
        for side in growing:
            deeper = max(DEPTH_PX, 2 * depths[side])
            part = _strip(side, depths[side], deeper, field.shape)
            weak[part] = cv2.subtract(field.thinned(low, low, part), decided[part])
            depths[side] = deeper
        cv2.threshold(framed, 0, 255, cv2.THRESH_BINARY, dst=framed)
        _flood(framed, field.sides)
        growing = {side for side, depth in depths.items() if _reaches(weak, side, depth)}
    return np.packbits(weak == REACHED, axis=1)


def _strip(side: int, near: int, far: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the core between `near` and `far` pixels from one side."""
    extent = shape[1 - side % 2]
    along = slice(0, shape[side % 2])
    near, far = min(near, extent), min(far, extent)
    across = slice(near, far) if side < 2 else slice(extent - far, extent - near)
    return (along, across) if side % 2 == 0 else (across, along)


def _reaches(weak: Pixels, side: int, depth: int) -> bool:
    """Whether what was reached comes to the inner end of a strip, `depth` pixels from one side."""
    if depth >= weak.shape[1 - side % 2]:
        return False
    return bool((weak[_strip(side, depth - 1, depth, (weak.shape[0], weak.shape[1]))] == REACHED).any())


def _flood(framed: Pixels, sides: tuple[bool, ...]) -> None:
    """Mark with REACHED the frame along the given sides and what hangs together with it."""
    lines = (framed[:, 0], framed[0], framed[:, -1], framed[-1])
    ends = ((0, 1), (1, 0), (framed.shape[1] - 1, 1), (1, framed.shape[0] - 1))
    for line, neighbour in zip(lines, sides, strict=True):
        if neighbour:
            line[1:-1] = 255
    for at, neighbour in zip(ends, sides, strict=True):
        if neighbour and framed[at[1], at[0]] != REACHED:
            cv2.floodFill(framed, None, at, REACHED, flags=8)


def _sobel(gray: NDArray[Any], x: int, y: int) -> Gradient:
    return np.asarray(cv2.Sobel(gray, cv2.CV_16S, x, y, ksize=3, borderType=cv2.BORDER_REPLICATE), np.int16)


def _framed(gradient: Gradient) -> Gradient:
    return np.asarray(cv2.copyMakeBorder(gradient, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0), np.int16)


def _canny_halo(_params: Params) -> int:
    return CANNY_HALO_PX


ROWS: tuple[Operator, ...] = (
    Operator(
        name="canny",
        family="edges",
        kind="measure",
        run=canny,
        gives="gray",
        exact="exact",
        parameters=(
            Parameter(name="low", default=50.0, low=0, high=4096, meaning="gradient of a weak edge, grey levels"),
            Parameter(name="high", default=150.0, low=0, high=4096, meaning="gradient of a strong edge"),
            Parameter(name="l2", default=False, meaning="Euclidean gradient instead of |dx| + |dy|"),
        ),
        halo=_canny_halo,
        meaning="edges, linked over tiles to cv2.Canny of the frame",
    ),
)
