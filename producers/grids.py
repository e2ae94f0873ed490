"""Choosing the grid by itself: pure functions from sizes and measured bytes to rows and columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamproc.errors import UsageError
from streamproc.model import Codec, Grid, Rect
from streamproc.operators import tiling

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOOR_BYTES = 50_000  # below this the cost of a record begins to show beside its pixels
MAX_TILES = 65_536  # of a frame on the wire
JPEG_BLOCK_PX = 16  # blocks of 4:2:0 colour
_STRIP = 3.0  # sides of a tile; longer ones share too much border for what they hold
_MOST_OVERLAP = 2.0  # halos may double the bytes before larger tiles are preferred to the target
_SAFE_SHARE = 0.9  # of the largest tile: estimates may be a little low


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a grid has to fit.

    Attributes:
        width, height: Of the frame, pixels.
        codec: Named in the reason.
        halo: Pixels around each tile that travel with it.
        bytes_per_pixel: Of the encoded frame, measured.
        densest: The same of its densest tile, as far as known; pictures are uneven.
        partitions: To spread over.
        target_bytes: Tiles should be at or under this.
        max_bytes: Tiles must be at or under this.
    """

    width: int
    height: int
    codec: Codec
    halo: int
    bytes_per_pixel: float
    densest: float
    partitions: int
    target_bytes: int
    max_bytes: int

    @property
    def frame_bytes(self) -> float:
        """Estimated bytes of the frame in one piece."""
        return self.bytes_per_pixel * self.width * self.height


@dataclass(frozen=True, slots=True)
class GridChoice:
    """A grid and one line that says why."""

    grid: Grid
    reason: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    grid: Grid
    core: Rect
    largest_bytes: float
    overlap: float


def choose_grid(demand: Demand) -> GridChoice:
    """Choose rows and columns.

    Largest tile at or under the target; as many tiles as there are partitions when they do not fall below
    about 50 kB by that; nearly square. Where halos alone would more than double the bytes, tiles may be
    larger than the target.

    Raises:
        UsageError: Not even the finest grid keeps tiles under `max_bytes`.
    """
    wanted = _wanted_tiles(demand)
    candidates = list(_candidates(demand, demand.target_bytes, wanted))
    if not candidates or min(one.overlap for one in candidates) > _MOST_OVERLAP:
        wanted = min(wanted, max(demand.partitions, math.ceil(demand.frame_bytes / demand.max_bytes)))
        candidates += list(_candidates(demand, int(demand.max_bytes * _SAFE_SHARE), wanted))
        if not candidates:
            raise UsageError(
                f"no grid cuts {demand.width}x{demand.height} as {demand.codec} into tiles of at most"
                f" {demand.max_bytes} bytes with {demand.halo} px of halo: raise STREAMPROC_MAX_TILE_BYTES,"
                " take --codec jpeg, or a pipeline with a smaller halo"
            )
    best = min(candidates, key=lambda one: (max(_MOST_OVERLAP, one.overlap), _cost(one, wanted, demand), one.grid))
    return GridChoice(best.grid, _explain(best, demand))


def finer(grid: Grid, width: int, height: int, *, shrink: float) -> Grid | None:
    """A grid whose tiles have about `shrink` (below 1) of the area of those of `grid`.

    The longer side of the tiles is cut first. None if the grid is the finest already.
    """
    most = tiling.largest_grid(width, height)
    rows, cols = grid.rows, grid.cols
    while rows * cols < grid.count / shrink:
        wide = width / cols >= height / rows
        if cols < most.cols and (wide or rows == most.rows):
            cols += 1
        elif rows < most.rows:
            rows += 1
        else:
            break
    return Grid(rows, cols) if grid.count < rows * cols <= MAX_TILES else None


def tile_halo(pipeline_halo: int, codec: Codec) -> int:
    """Halo a tile travels with, pixels.

    PNG and raw take what the pipeline needs. For JPEG it is rounded up to blocks of 16 px, so that a tile's
    blocks are the frame's: it then decodes to the very pixels of the whole frame's JPEG, apart from its
    outermost ones, over which the decoder interpolates colour.
    """
    return -(-pipeline_halo // JPEG_BLOCK_PX) * JPEG_BLOCK_PX if codec == "jpeg" else pipeline_halo


def _wanted_tiles(demand: Demand) -> int:
    least = math.ceil(demand.frame_bytes / demand.target_bytes)
    floor = min(FLOOR_BYTES, demand.target_bytes)
    return max(1, least, min(demand.partitions, round(demand.frame_bytes / floor)))


def _candidates(demand: Demand, limit_bytes: int, wanted: int) -> Iterator[_Candidate]:
    """For each number of rows: the fewest columns within the limit, those near `wanted`, an even number."""
    most = tiling.largest_grid(demand.width, demand.height)
    for rows in range(1, most.rows + 1):
        fewest = _fewest_cols(demand, rows, most.cols, limit_bytes)
        if fewest is None:
            continue
        near = wanted // rows
        step = demand.partitions // math.gcd(rows, demand.partitions)
        even = step * math.ceil(max(near, fewest) / step)
        for cols in sorted({min(most.cols, max(fewest, cols)) for cols in (fewest, near, near + 1, even)}):
            if rows * cols <= MAX_TILES:
                yield _candidate(demand, Grid(rows, cols))
        if rows > 2 * wanted and fewest == 1:  # only thinner strips follow
            return


def _fewest_cols(demand: Demand, rows: int, most_cols: int, limit_bytes: int) -> int | None:
    if _candidate(demand, Grid(rows, most_cols)).largest_bytes > limit_bytes:
        return None
    low, high = 1, most_cols
    while low < high:
        middle = (low + high) // 2
        if _candidate(demand, Grid(rows, middle)).largest_bytes <= limit_bytes:
            high = middle
        else:
            low = middle + 1
    return low


def _candidate(demand: Demand, grid: Grid) -> _Candidate:
    blocks = tiling.largest_grid(demand.width, demand.height)
    width = min(demand.width, tiling.CUT_PX * math.ceil(blocks.cols / grid.cols))
    height = min(demand.height, tiling.CUT_PX * math.ceil(blocks.rows / grid.rows))
    grown_width = min(demand.width, width + demand.halo * min(2, grid.cols - 1))
    grown_height = min(demand.height, height + demand.halo * min(2, grid.rows - 1))
    largest = math.ceil(grown_width * grown_height * demand.densest)
    overlap = grown_width * grown_height / (width * height)
    return _Candidate(grid, Rect(0, 0, width, height), largest, overlap)


def _cost(one: _Candidate, wanted: int, demand: Demand) -> float:
    """Distance from the ideal: number, shape, evenness (a tile position stays on its partition)."""
    count = one.grid.count
    uneven = math.ceil(count / demand.partitions) * demand.partitions / count - 1 if count > demand.partitions else 0
    stretch = abs(math.log(one.core.width / one.core.height))
    strip = max(0.0, stretch - math.log(_STRIP)) if count > 1 else 0.0
    return abs(math.log(count / wanted)) + 0.5 * stretch + 3 * strip + 2 * uneven + 0.3 * math.log(one.overlap)


def _explain(one: _Candidate, demand: Demand) -> str:
    frame = f"{demand.width}x{demand.height} as {demand.codec} is about {kilobytes(demand.frame_bytes)}"
    if one.grid.count == 1:
        return f"grid 1x1: {frame}, one tile"
    halo = f" with {demand.halo} px of halo" if demand.halo else ""
    each = "at most" if demand.densest > demand.bytes_per_pixel else "each"
    return (
        f"grid {one.grid}: {frame}; {one.grid.count} tiles of about {one.core.width}x{one.core.height} px,"
        f" {kilobytes(one.largest_bytes)} {each}{halo}, over {demand.partitions}"
        f" partition{'s' if demand.partitions > 1 else ''}"
    )


def kilobytes(count: float) -> str:
    """A number of bytes as people say it."""
    if count < 1000:
        return f"{count:.0f} bytes"
    return f"{count / 1000:.0f} kB" if count < 999_500 else f"{count / 1_000_000:.1f} MB"
