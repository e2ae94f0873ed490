"""Vital signs of a picture: few whole numbers, from each tile, that tell a healthy camera from a sick one.

They add up over tiles exactly, whatever the grid. `anomalies.py` follows them over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage
from streamproc.model import Pixels, Rect, Vitals
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Params, Window

HALO_PX: Final = 2  # 1 for smoothing, 1 for the 3x3 Laplacian
CELLS: Final = 48  # along the longer side of the frame
BRIGHT: Final = 250  # grey levels from which a pixel counts as burnt out
WORD: Final = 2**64
SMOOTH: Final = np.array([1, 2, 1], np.float32)  # noise of single pixels would pass for detail
SMOOTHED: Final = 16  # what smoothing multiplies grey levels by
LEVELS: Final = np.arange(256, dtype=np.int64)


def vitals(window: Window, _params: Params) -> Vitals:
    """Sum up what tells whether a camera is well: brightness by place, spread, fine detail, and a digest.

    The frame is divided into cells, 48 along its longer side, nearly square; each holds the sum of its grey levels. The
    digest tells whether two pictures are the same, pixel by pixel. `anomalies` takes these.

    Args:
        window: Grey, with HALO_PX of halo.

    Returns:
        Sums of whole numbers. In events: `mean` and `std` of the grey levels, `bright`, share of the pixels of 250 or
        above, `laplacian`, mean square of the Laplacian after smoothing by 3x3, grey levels, `digest` as text.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        J. L. Pech-Pacheco et al., Diatom Autofocusing in Brightfield Microscopy: a Comparative Study, ICPR 2000 (the
        Laplacian as a measure of sharpness).
    """
    require_gray(window.pixels)
    window = window.cropped(HALO_PX)
    core = window.core_pixels
    counts = _counts(core)
    columns, rows = grid_of(window.width, window.height)
    smooth = cv2.sepFilter2D(window.pixels, cv2.CV_16S, SMOOTH, SMOOTH)
    laplacian = np.asarray(cv2.Laplacian(smooth, cv2.CV_16S, ksize=1), np.int16)[window.core.within(window.rect)]
    area, cells = _cells(core, window)
    return Vitals(
        columns=columns,
        rows=rows,
        area=area,
        cells=cells.astype("<u4").tobytes(),
        pixels=int(counts.sum()),
        total=int(counts @ LEVELS),
        squares=int(counts @ LEVELS**2),
        bright=int(counts[BRIGHT:].sum()),
        # Not cv2.norm: it takes a root and squares it again.
        laplacian=int(np.einsum("ij,ij->", laplacian, laplacian, dtype=np.int64)),
        digest=_digest(core, window.core),
    )


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of cells of a frame of that size, pixels."""
    longer = max(width, height)
    most = min(CELLS, longer)
    columns, rows = (max(1, round(most * side / longer)) for side in (width, height))
    return columns, rows


def merge_vitals(parts: Sequence[Vitals]) -> Vitals:
    """Add the sums; their order does not matter.

    Args:
        parts: At least one; tiles may be missing, cells without pixels are 0.

    Raises:
        BadMessage: reason "schema": they are not of one frame, or a part does not fill its cells.
    """
    columns, rows = parts[0].columns, parts[0].rows
    cells = np.zeros((rows, columns), np.int64)
    for part in parts:
        area = part.area
        inside = area.x >= 0 and area.y >= 0 and area.right <= columns and area.bottom <= rows
        if (part.columns, part.rows) != (columns, rows) or not inside or len(part.cells) != 4 * area.area:
            raise BadMessage("schema", "vitals of one step do not fit each other")
        cells[area.within(Rect(0, 0, columns, rows))] += cells_of(part)
    return Vitals(
        columns=columns,
        rows=rows,
        area=Rect(0, 0, columns, rows),
        cells=cells.astype("<u4").tobytes(),
        pixels=sum(part.pixels for part in parts),
        total=sum(part.total for part in parts),
        squares=sum(part.squares for part in parts),
        bright=sum(part.bright for part in parts),
        laplacian=sum(part.laplacian for part in parts),
        digest=sum(part.digest for part in parts) % WORD,
    )


def cells_of(found: Vitals) -> NDArray[np.int64]:
    """Sums of the cells of `area`, shape (rows, columns)."""
    return np.frombuffer(found.cells, "<u4").reshape(found.area.height, found.area.width).astype(np.int64)


def spread(found: Vitals) -> float:
    """Standard deviation of the grey levels."""
    count = max(1, found.pixels)
    return float(max(0, count * found.squares - found.total**2) ** 0.5) / count


def energy(found: Vitals) -> float:
    """Mean square of the smoothed picture's Laplacian, grey levels: how much fine detail there is."""
    return found.laplacian / (SMOOTHED**2 * max(1, found.pixels))


def summary(found: Vitals) -> dict[str, Any]:
    """What a frame's event says of them."""
    count = max(1, found.pixels)
    return {
        "mean": round(found.total / count, 4),
        "std": round(spread(found), 4),
        "bright": round(found.bright / count, 6),
        "laplacian": round(energy(found), 4),
        "digest": f"{found.digest:016x}",
    }


def edges_of(length: int, parts: int) -> NDArray[np.int64]:
    """Where the cells of one side begin, and its end."""
    return np.arange(parts + 1, dtype=np.int64) * length // parts


def _cells(core: Pixels, window: Window) -> tuple[Rect, NDArray[np.uint32]]:
    columns, rows = grid_of(window.width, window.height)
    left, across = _cuts(edges_of(window.width, columns), window.core.x, window.core.right)
    top, down = _cuts(edges_of(window.height, rows), window.core.y, window.core.bottom)
    bands = np.split(core, down[1:])
    by_row = np.vstack([cv2.reduce(band, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S) for band in bands])
    sums = np.add.reduceat(by_row, across, axis=1, dtype=np.uint32)
    return Rect(left, top, across.size, down.size), sums


def _cuts(edges: NDArray[np.int64], begin: int, end: int) -> tuple[int, NDArray[np.int64]]:
    """First cell that a stretch of pixels touches, and where in it the cells begin."""
    first = int(np.searchsorted(edges, begin, side="right")) - 1
    last = int(np.searchsorted(edges, end, side="left"))
    return first, np.maximum(edges[first:last] - begin, 0)


def _counts(pixels: Pixels) -> NDArray[np.int64]:
    """How often each grey level occurs; calcHist counts in float32, which is exact up to 2^24."""
    counts = np.zeros(256, np.int64)
    step = max(1, 2**24 // pixels.shape[1])
    for top in range(0, pixels.shape[0], step):
        found = cv2.calcHist([pixels[top : top + step]], [0], None, [256], [0, 256])
        counts += np.asarray(found, np.float32).reshape(256).astype(np.int64)
    return counts


def _digest(core: Pixels, place: Rect) -> int:
    """Rows weighted by 20-bit numbers, so that float64 sums them exactly; those sums by 64-bit numbers."""
    across = (_mixed(place.x, place.right) >> np.uint64(44)).astype(np.float64)
    # BLAS would take threads of its own for so large a product.
    sums = np.einsum("ij,j->i", core, across + 1).astype(np.uint64)
    down = _mixed(place.y + 2**32, place.bottom + 2**32) | np.uint64(1)
    return int((sums * down).sum(dtype=np.uint64))


def _mixed(begin: int, end: int) -> NDArray[np.uint64]:
    """A 64-bit number for each whole number, without pattern (SplitMix64: Steele et al., OOPSLA 2014)."""
    mixed = np.arange(begin + 1, end + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def _halo(_params: Params) -> int:
    return HALO_PX


ROWS: tuple[Operator, ...] = (
    Operator(
        name="vitals",
        family="anomalies",
        kind="measure",
        run=vitals,
        gives="vitals",
        exact="exact",
        halo=_halo,
        meaning="brightness, spread, detail and a digest of the picture, for anomalies",
    ),
)
