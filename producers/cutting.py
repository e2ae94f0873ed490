"""Frames to encoded tiles: measuring, the grid of a run, and a finer one when a tile comes out too large."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from producers.changed_grid import choose_changed_grid
from producers.changes import Bases, Canvas
from producers.grids import Demand, GridChoice, choose_grid, finer, kilobytes, tile_halo
from streamproc import wire
from streamproc.errors import BadMessage, SourceError, UsageError
from streamproc.model import Codec, Frame, FrameKey, Grid, Pixels, TileHeader
from streamproc.operators import pixels as pixel_ops
from streamproc.operators import tiling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from producers.changed_only import ChangedOnly
    from producers.changes import Base
    from streamproc.settings import Settings

_MEASURE_PX = 2048  # larger frames are measured piece by piece; JPEG itself ends at 65500 px a side
_TRIES = 6
PATIENCE_S = 0.05  # where reading may wait: for the broker to acknowledge what a frame can refer to


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedFrame:
    """One frame ready to be sent.

    Attributes:
        key: Camera, run, sequence.
        tiles: Header and encoded picture of each tile, row by row; empty for one that refers to an earlier record.
        pixels: What the tiles show; where only changed tiles are sent, valid until the next frame is encoded.
        held: Tiles that have changed and are sent as they were before.
    """

    key: FrameKey
    tiles: tuple[tuple[TileHeader, bytes], ...]
    pixels: Pixels
    held: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all encoded pictures."""
        return sum(len(payload) for _, payload in self.tiles)

    @property
    def unchanged(self) -> int:
        """Tiles without a picture of their own."""
        return sum(header.same_as is not None for header, _ in self.tiles)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    pixels: Pixels
    same: Mapping[int, Base] = field(default_factory=dict)
    bases: Collection[int] = ()
    held: int = 0


def encode_frame(
    frame: Frame,
    key: FrameKey,
    *,
    grid: Grid,
    halo: int,
    codec: Codec,
    jpeg_quality: int,
    preview: bool = False,
    same: Mapping[int, Base] | None = None,
    bases: Collection[int] = (),
    held: int = 0,
    small: bool = False,
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
        same: Tiles, by their position, whose pixels stand in the log already.
        bases: Tiles that later ones may refer to.
        held: Tiles that have changed and are shown as they were before.
        small: Fewer bytes count more than time.

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
        base = same.get(index) if same else None
        payload = b"" if base is not None else pixel_ops.encode(window.pixels, codec, jpeg_quality, small=small)
        header = TileHeader(
            schema=wire.TILE_SCHEMA if base is None else wire.REFERENCE_SCHEMA,
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
            payload_digest=wire.digest_payload(payload) if base is None else base.payload_digest,
            preview=preview,
            clock=frame.clock,
            base=index in bases,
            same_as=None if base is None else base.offset,
            held=held,
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


def fit_grid(
    pixels: Pixels, *, codec: Codec, halo: int, partitions: int, settings: Settings, changed_only: bool = False
) -> GridChoice:
    """Choose a grid for frames like this one, and check it by encoding the tiles once.

    Uneven pictures have tiles far above the average; the choice is repeated with the densest tile found
    until it fits. With `changed_only` a small thing that moves is to cost little instead.

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
    if changed_only:
        return choose_changed_grid(demand)
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

    Args:
        settings: Sizes and quality.
        codec: How tiles are encoded.
        grid: Rows and columns; None chooses.
        pipeline_halo: Pixels around a tile that the pipeline's operators need.
        partitions: Of the tiles topic.
        notice: Told of the grid and why.
        changed: Send only tiles that have changed, the others as references; then frames must be encoded in their
            order, one at a time, and `delivered` told of what was acknowledged. None sends all.
        patience_s: Then wait up to so long, for each frame, until what it can refer to is acknowledged.

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
        changed: ChangedOnly | None = None,
        patience_s: float = 0.0,
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
        self._canvas = None if changed is None else Canvas(changed)
        self._bases, self._patience_s = Bases(), patience_s
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
        return fit_grid(
            pixels,
            codec=self._codec,
            halo=self.halo,
            partitions=self._partitions,
            settings=self._settings,
            changed_only=self._canvas is not None,
        )

    def delivered(self, sequence: int, index: int, offset: int) -> None:
        """The broker has acknowledged a tile; told on any thread."""
        if self._canvas is not None:
            self._bases.delivered(index, sequence=sequence, offset=offset)

    def encode(self, frame: Frame, key: FrameKey, *, preview: bool = False, pressure: float = 0.0) -> EncodedFrame:
        """Encode one frame in the grid for its size, or in a finer one if a tile would be too large.

        Args:
            frame: Pixels and capture time.
            key: Camera, run and sequence.
            preview: The frame was chosen for preview pictures.
            pressure: How full the memory for what waits to be sent is, 0..1; see `Canvas.update`.

        Raises:
            SourceError: Even the finest grid has a tile above the limit.
            UsageError, BadPixels: As `encode_frame`.
        """
        try:
            return self._encode(frame, key, preview=preview, pressure=pressure)
        except BaseException:
            if self._canvas is not None:
                self._canvas.forget()  # it shows what was never sent
            raise

    def _encode(self, frame: Frame, key: FrameKey, *, preview: bool, pressure: float) -> EncodedFrame:
        grid = self.prepare(frame).grid
        while True:
            part = self._part(frame, grid, pressure)
            try:
                tiles = encode_frame(
                    replace(frame, pixels=part.pixels),
                    key,
                    grid=grid,
                    halo=self.halo,
                    codec=self._codec,
                    jpeg_quality=self._settings.jpeg_quality,
                    preview=preview,
                    same=part.same,
                    bases=part.bases,
                    held=part.held,
                    small=self._canvas is not None,
                )
            except BadMessage as error:
                raise SourceError(f"frame {key.sequence} cannot be encoded: {error.detail}") from None
            largest = max(len(payload) for _, payload in tiles)
            if largest <= self._settings.max_tile_bytes:
                for index in part.bases:
                    self._bases.sending(index, sequence=key.sequence, payload_digest=tiles[index][0].payload_digest)
                return EncodedFrame(key=key, tiles=tuple(tiles), pixels=part.pixels, held=part.held)
            grid = self._refine(frame, grid, largest=largest, sequence=key.sequence)

    def _part(self, frame: Frame, grid: Grid, pressure: float) -> _Part:
        """What of a frame is to be sent with its pixels."""
        if self._canvas is None:
            return _Part(pixels=frame.pixels)
        update = self._canvas.update(frame, grid, self.halo, now_s=time.monotonic(), pressure=pressure)
        bases = {index for index, changed in enumerate(update.changed) if changed}
        rest = [index for index in range(grid.count) if index not in bases]
        same = self._bases.await_delivery(rest, longest_s=self._patience_s)
        return _Part(pixels=update.pixels, same=same, bases=bases, held=update.held)

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
