"""What is measured: real photographs as JPEG tiles of a given size, and the same frames whole."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import cv2
import msgspec
import numpy as np

from producers.cutting import encode_frame
from producers.grids import tile_halo
from producers.sources import open_source
from streamproc.model import Frame, FrameKey, Grid, TileHeader
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pixels import encode
from streamproc.settings import Settings

FRAMES = 12
QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Frames of one size, cut into tiles of one size."""

    name: str
    width: int
    height: int
    grid: Grid


SHAPES = (
    Shape(name="640x384", width=1280, height=768, grid=Grid(2, 2)),
    Shape(name="256x256", width=1280, height=768, grid=Grid(3, 5)),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """Encoded once, used by every way of processing.

    Attributes:
        frames: For each frame its tiles: header and JPEG.
        whole: The same frames as one JPEG each.
    """

    shape: Shape
    frames: list[list[tuple[TileHeader, bytes]]]
    whole: list[bytes]

    @property
    def tile_bytes(self) -> float:
        """Mean size of a tile's JPEG."""
        sizes = [len(payload) for tiles in self.frames for _, payload in tiles]
        return sum(sizes) / len(sizes)


def make_material(shape: Shape, pipeline: Pipeline, settings: Settings) -> Material:
    """Take frames of the builtin camera, bring them to size, cut and encode them."""
    frames, whole = [], []
    halo = tile_halo(pipeline.halo, "jpeg")
    with open_source("builtin", settings) as source:
        for number, frame in enumerate(islice(source, 0, FRAMES * 8, 8)):
            size = (shape.width, shape.height)
            pixels = np.asarray(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
            sized = Frame(pixels=pixels, captured_ns=frame.captured_ns)
            key = FrameKey("bench", "bench", number)
            frames.append(encode_frame(sized, key, grid=shape.grid, halo=halo, codec="jpeg", jpeg_quality=QUALITY))
            whole.append(encode(pixels, "jpeg", QUALITY))
    return Material(shape=shape, frames=frames, whole=whole)


def as_frame(
    tiles: list[tuple[TileHeader, bytes]], *, camera: str, run: str, sequence: int, captured_ns: int
) -> list[tuple[TileHeader, bytes]]:
    """The tiles of a frame under another name."""
    return [
        (
            msgspec.structs.replace(header, camera=camera, run=run, sequence=sequence, captured_ns=captured_ns),
            payload,
        )
        for header, payload in tiles
    ]
