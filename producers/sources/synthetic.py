"""Frames with machine-readable marks: what was lost, mixed or moved can be read off the pictures."""

from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING

import numpy as np

from producers.sources.marks import CELL_PX, paint_marks
from producers.sources.source import Source, require_size
from streamproc.errors import UsageError
from streamproc.model import Frame, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_SIZE = (1280, 720)
_SPEC = re.compile(r"synthetic(?::([0-9]{1,5})[xX]([0-9]{1,5}))?")


def parse_size(spec: str) -> tuple[int, int]:
    """Width and height, pixels, of `synthetic` or `synthetic:WIDTHxHEIGHT`.

    Raises:
        UsageError: Written in another way, or smaller than one mark.
    """
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise UsageError(f"{spec!r} is not synthetic:WIDTHxHEIGHT, as in synthetic:1920x1080")
    width, height = (int(found[1]), int(found[2])) if found[1] else DEFAULT_SIZE
    if min(width, height) < CELL_PX:
        raise UsageError(f"{spec}: a frame needs at least {CELL_PX}x{CELL_PX} px to hold a mark")
    return width, height


class SyntheticSource(Source):
    """Endless marked frames at 25 fps; frame n is always the same picture."""

    fps = 25.0

    def __init__(self, width: int, height: int, *, max_pixels: int) -> None:
        require_size("a synthetic frame", width, height, max_pixels=max_pixels)
        self.width, self.height = width, height
        self.name = f"synthetic {width}x{height}"

    def __iter__(self) -> Iterator[Frame]:
        for number in itertools.count():
            yield Frame(
                pixels=synthetic_frame(number, width=self.width, height=self.height),
                captured_ns=time.time_ns(),
            )

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.name}: frame number and place painted into each {CELL_PX} px, 25 fps, endless"


def synthetic_frame(number: int, *, width: int, height: int) -> Pixels:
    """Paint frame `number`: marks in each whole 64 px cell, a ramp in what is left at the right and bottom.

    Returns:
        Shape (height, width, 3), uint8.
    """
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    right, bottom = width // CELL_PX * CELL_PX, height // CELL_PX * CELL_PX
    pixels[:, right:] = (np.arange(height) % 256).astype(np.uint8)[:, None, None]
    pixels[bottom:] = (np.arange(width) % 256).astype(np.uint8)[None, :, None]
    paint_marks(pixels, number)
    return pixels
