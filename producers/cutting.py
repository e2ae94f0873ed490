"""Frames to encoded tiles: measuring, the grid of a run, and a finer one when a tile comes out too large."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from producers.grids import Demand, GridChoice, choose_grid, finer, kilobytes, tile_halo
from streamproc import wire
from streamproc.errors import BadMessage, SourceError, UsageError
from streamproc.model import Codec, Frame, FrameKey, Grid, Pixels, TileHeader
from streamproc.operators import pixels as pixel_ops
from streamproc.operators import tiling

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.settings import Settings

_MEASURE_PX = 2048  # larger frames are measured piece by piece; JPEG itself ends at 65500 px a side
_TRIES = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedFrame:
    """One frame ready to be sent.

    Attributes:
        key: Camera, run, sequence.
        tiles: Header and encoded picture of each tile, row by row.
    """

    key: FrameKey
    tiles: tuple[tuple[TileHeader, bytes], ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all encoded pictures."""
        return sum(len(payload) for _, payload in self.tiles)


def encode_frame(
    frame: Frame,
    key: FrameKey,
    *,
    grid: Grid,
    halo: int,
    codec: Codec,
    jpeg_quality: int,
    preview: bool = False,
) -> list[tuple[TileHeader, bytes]]:
    """Cut and encode one frame.

    Args:
        frame: Pixels and capture time.
        key: Camera, run and sequence for the headers.
        grid: Rows and columns.
        halo: Pixels around each core that travel with it; see `tile_halo`.
        codec: How tiles are encoded.
        jpeg_quality: 1 to 100; for "jpeg" alone.
        preview: The frame was chosen for preview pictures.

    Raises:
        UsageError: The grid does not fit the frame.
        BadPixels: Neither grey nor BGR uint8.
        BadMessage: A tile the codec cannot hold.
    """
    height, width = frame.pixels.shape[:2]
    pixel_format = pixel_ops.format_of(frame.pixels)
    digest = wire.digest_frame(frame.pixels)
    tiles = []
    for index, window in enumerate(tiling.split(frame.pixels, grid, halo)):
        payload = pixel_ops.encode(window.pixels, codec, jpeg_quality)
        header = TileHeader(
            camera=key.camera,
            run=key.run,
            sequence=key.sequence,
            captured_ns=frame.captured_ns,
            frame_width=width,
            frame_height=height,
            rows=grid.rows,
            cols=grid.cols,
            row=index // grid.cols,
            col=index % grid.cols,
            core=window.core,
            halo=halo,
            codec=codec,
            pixel_format=pixel_format,
            tile_count=grid.count,
            frame_digest=digest,
            payload_digest=wire.digest_payload(payload),
            preview=preview,
        )
        tiles.append((header, payload))
    return tiles


def measure(pixels: Pixels, codec: Codec, *, jpeg_quality: int) -> float:
    """Bytes per pixel of a picture, by encoding it once."""
    area = int(pixels.shape[0]) * int(pixels.shape[1])
    if codec == "raw":
        return float(pixels.nbytes / area)
    total = 0.0
    for top in range(0, pixels.shape[0], _MEASURE_PX):
        for left in range(0, pixels.shape[1], _MEASURE_PX):
            piece = np.ascontiguousarray(pixels[top : top + _MEASURE_PX, left : left + _MEASURE_PX])
            total += len(pixel_ops.encode(piece, codec, jpeg_quality))
    return total / area


def fit_grid(pixels: Pixels, *, codec: Codec, halo: int, partitions: int, settings: Settings) -> GridChoice:
    """Choose a grid for frames like this one, and check it by encoding the tiles once.

    Uneven pictures have tiles far above the average; the choice is repeated with the densest tile found
    until it fits.

    Raises:
        UsageError: No grid keeps tiles under `Settings.max_tile_bytes`.
    """
    height, width = pixels.shape[:2]
    average = measure(pixels, codec, jpeg_quality=settings.jpeg_quality)
    demand = Demand(
        width=width,
        height=height,
        codec=codec,
        halo=halo,
        bytes_per_pixel=average,
        densest=average,
        partitions=partitions,
        target_bytes=min(settings.target_tile_bytes, settings.max_tile_bytes),
        max_bytes=settings.max_tile_bytes,
    )
    choice = choose_grid(demand)
    for _ in range(_TRIES):
        if codec == "raw" or choice.grid.count == 1:
            break
        densest, largest = _densest(pixels, choice.grid, halo=halo, codec=codec, quality=settings.jpeg_quality)
        if largest <= demand.target_bytes:
            break
        demand = replace(demand, densest=max(densest, demand.densest * 1.05))
        again = choose_grid(demand)
        if again.grid == choice.grid:
            break
        choice = again
    return choice


def _densest(pixels: Pixels, grid: Grid, *, halo: int, codec: Codec, quality: int) -> tuple[float, int]:
    """Bytes per pixel of the densest tile, and bytes of the largest one."""
    sizes = [
        (len(pixel_ops.encode(window.pixels, codec, quality)), window.rect.area)
        for window in tiling.split(pixels, grid, halo)
    ]
    return max(size / area for size, area in sizes), max(size for size, _ in sizes)


class Cutter:
    """Cuts and encodes the frames of one run; may be used from several threads.

    Frames of another size get a grid of their own. When a tile comes out above `Settings.max_tile_bytes`,
    that frame and all later ones of its size take a finer grid.

    Attributes:
        halo: Pixels that travel around each tile.
        last: The grid chosen last, None before the first frame.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        codec: Codec,
        grid: Grid | None,
        pipeline_halo: int,
        partitions: int,
        notice: Callable[[str], None],
    ) -> None:
        self.halo = tile_halo(pipeline_halo, codec)
        if self.halo > wire.MAX_HALO_PX:
            raise UsageError(f"the pipeline needs a halo of {self.halo} px, at most {wire.MAX_HALO_PX} are possible")
        self._settings = settings
        self._codec: Codec = codec
        self._asked = grid
        self._partitions = partitions
        self._choices: dict[tuple[int, ...], GridChoice] = {}
        self._lock = threading.Lock()
        self._notice = notice
        self.last: GridChoice | None = None

    def prepare(self, frame: Frame) -> GridChoice:
        """The grid for frames of this size; measured at the first one.

        Raises:
            UsageError: The asked grid does not fit, or no grid does.
        """
        with self._lock:
            found = self._choices.get(frame.pixels.shape)
            if found is None:
                found = self._choose(frame.pixels)
                self._take(frame.pixels, found)
            return found

    def _take(self, pixels: Pixels, choice: GridChoice) -> None:
        self._choices[pixels.shape] = choice
        if choice != self.last:
            self._notice(choice.reason)
        self.last = choice

    def _choose(self, pixels: Pixels) -> GridChoice:
        height, width = pixels.shape[:2]
        if self._asked is not None:
            tiling.cut(width, height, self._asked)
            return GridChoice(self._asked, f"grid {self._asked}: as asked")
        return fit_grid(pixels, codec=self._codec, halo=self.halo, partitions=self._partitions, settings=self._settings)

    def encode(self, frame: Frame, key: FrameKey, *, preview: bool = False) -> EncodedFrame:
        """Encode one frame in the grid for its size, or in a finer one if a tile would be too large.

        Raises:
            SourceError: Even the finest grid has a tile above the limit.
            UsageError, BadPixels: As `encode_frame`.
        """
        grid = self.prepare(frame).grid
        while True:
            try:
                tiles = encode_frame(
                    frame,
                    key,
                    grid=grid,
                    halo=self.halo,
                    codec=self._codec,
                    jpeg_quality=self._settings.jpeg_quality,
                    preview=preview,
                )
            except BadMessage as error:
                raise SourceError(f"frame {key.sequence} cannot be encoded: {error.detail}") from None
            largest = max(len(payload) for _, payload in tiles)
            if largest <= self._settings.max_tile_bytes:
                return EncodedFrame(key=key, tiles=tuple(tiles))
            grid = self._refine(frame, grid, largest=largest, sequence=key.sequence)

    def _refine(self, frame: Frame, grid: Grid, *, largest: int, sequence: int) -> Grid:
        height, width = frame.pixels.shape[:2]
        limit = self._settings.max_tile_bytes
        with self._lock:
            current = self._choices[frame.pixels.shape].grid
            if current.count > grid.count:  # another thread was faster
                return current
            better = finer(grid, width, height, shrink=min(0.8, 0.9 * limit / largest))
            if better is None or better == grid:
                raise SourceError(
                    f"frame {sequence} of {width}x{height} px has a tile of {largest} bytes in the"
                    f" finest grid {grid}, the limit is {limit}: raise STREAMPROC_MAX_TILE_BYTES or take"
                    " --codec jpeg"
                )
            reason = (
                f"grid {better}: frame {sequence} has a tile of {kilobytes(largest)} in grid {grid},"
                f" at most {kilobytes(limit)} are allowed; kept from here on"
            )
            self._take(frame.pixels, GridChoice(better, reason))
            return better


def parse_grid(text: str) -> Grid | None:
    """`RxC` as a grid; None for `auto`.

    Raises:
        UsageError: Neither.
    """
    if text == "auto":
        return None
    rows, times, cols = text.lower().partition("x")
    if not (times and rows.isdecimal() and cols.isdecimal() and int(rows) > 0 and int(cols) > 0):
        raise UsageError(f"grid {text!r} is neither ROWSxCOLUMNS, as in 2x3, nor auto")
    if math.prod((int(rows), int(cols))) > wire.MAX_TILES:
        raise UsageError(f"grid {text} has more than {wire.MAX_TILES} tiles")
    return Grid(int(rows), int(cols))
