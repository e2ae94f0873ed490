"""The grid where only changed tiles are sent: pure. Small tiles send little again, and cost more each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from producers.grids import GridChoice, kilobytes
from streamproc.errors import UsageError
from streamproc.model import Grid
from streamproc.operators import tiling

if TYPE_CHECKING:
    from producers.grids import Demand

REFERENCE_BYTES = 350  # of a tile that has not changed: its header and key
RECORD_BYTES = 1100  # beside the pixels of one that has: header, key, the tables of a JPEG
SMALL = 1 / 8  # of the frame's sides: the thing that moves, of which savings are told
WORTH = 0.6  # a smaller share saved is told to be little
_SHORTEST_PX = 48  # of a tile's sides; thinner ones are all border


def choose_changed_grid(demand: Demand) -> GridChoice:
    """Choose the grid in which a small thing that moves costs the fewest bytes.

    The thing takes an eighth of the frame's width and height; the tiles are counted whose pixels it touches, halo
    included, wherever it is. The reason says what share of the bytes is saved then, and when nothing moves.

    Args:
        demand: `target_bytes` is not looked at.

    Raises:
        UsageError: No grid keeps tiles under `max_bytes`.
    """
    most = tiling.largest_grid(demand.width, demand.height)
    finest = Grid(
        min(most.rows, max(1, demand.height // _SHORTEST_PX)), min(most.cols, max(1, demand.width // _SHORTEST_PX))
    )
    grids = [Grid(rows, cols) for rows in range(1, finest.rows + 1) for cols in range(1, finest.cols + 1)]
    fitting = [grid for grid in grids if _largest_bytes(demand, grid) <= demand.max_bytes]
    if not fitting:
        raise UsageError(
            f"no grid cuts {demand.width}x{demand.height} as {demand.codec} into tiles of at most {demand.max_bytes}"
            f" bytes with {demand.halo} px of halo: raise STREAMPROC_MAX_TILE_BYTES, take --codec jpeg, or a pipeline"
            " with a smaller halo"
        )
    best = min(fitting, key=lambda grid: (expected_bytes(demand, grid), grid.count))
    return GridChoice(best, _explain(demand, best))


def expected_bytes(demand: Demand, grid: Grid, *, moving: bool = True) -> float:
    """Of one frame, in which a small thing moves or nothing does."""
    if not moving:
        return grid.count * REFERENCE_BYTES
    width, height = _rect_sides(demand, grid)
    touched = min(grid.cols, _touched(demand.width, grid.cols, demand.halo)) * min(
        grid.rows, _touched(demand.height, grid.rows, demand.halo)
    )
    each = RECORD_BYTES + width * height * demand.bytes_per_pixel
    return touched * each + (grid.count - touched) * REFERENCE_BYTES


def _touched(side: int, parts: int, halo: int) -> float:
    """Tiles in a row of `parts` whose pixels a thing touches, on average over its places."""
    thing = side * SMALL + 2 * (halo if parts > 1 else 0) + tiling.CUT_PX
    return 1 + thing / (side / parts) if parts > 1 else 1


def _rect_sides(demand: Demand, grid: Grid) -> tuple[float, float]:
    """Mean width and height of a tile with its halo, clipped to the frame."""
    return (
        min(demand.width, demand.width / grid.cols + 2 * demand.halo * (grid.cols - 1) / grid.cols),
        min(demand.height, demand.height / grid.rows + 2 * demand.halo * (grid.rows - 1) / grid.rows),
    )


def _largest_bytes(demand: Demand, grid: Grid) -> float:
    most = tiling.largest_grid(demand.width, demand.height)
    width = min(demand.width, tiling.CUT_PX * math.ceil(most.cols / grid.cols) + demand.halo * min(2, grid.cols - 1))
    height = min(demand.height, tiling.CUT_PX * math.ceil(most.rows / grid.rows) + demand.halo * min(2, grid.rows - 1))
    return width * height * demand.densest


def _explain(demand: Demand, grid: Grid) -> str:
    def saved(*, moving: bool) -> float:
        return max(0.0, 1 - expected_bytes(demand, grid, moving=moving) / (demand.frame_bytes + RECORD_BYTES))

    told = (
        f"grid {grid}: {demand.width}x{demand.height} as {demand.codec} is about {kilobytes(demand.frame_bytes)}; of a"
        f" frame in which a small thing moves about {saved(moving=True):.0%} is saved, of one in which nothing does"
        f" {saved(moving=False):.0%}"
    )
    if saved(moving=True) >= WORTH or demand.halo <= tiling.CUT_PX:
        return told
    return f"{told}; it would be more with a pipeline that looks less than {demand.halo} px around its tiles"
