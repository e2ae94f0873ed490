"""Windows whose outermost halo is not the frame's: what does not notice needs less halo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamproc.model import Grid, Pixels
from streamproc.operators.table import Window
from streamproc.operators.tiling import split


def spoiled(picture: Pixels, grid: Grid, halo: int) -> list[Window]:
    """Windows of a frame, with other pixels in the outermost line of their halo on each side with a neighbour."""
    return [_spoiled(window) for window in split(picture, grid, halo)]


def _spoiled(window: Window) -> Window:
    rect, core = window.rect, window.core
    wrong = np.zeros(window.pixels.shape[:2], np.bool_)
    wrong[0] |= rect.y < core.y
    wrong[-1] |= rect.bottom > core.bottom
    wrong[:, 0] |= rect.x < core.x
    wrong[:, -1] |= rect.right > core.right
    pixels = window.pixels.copy()
    pixels[wrong] += 128
    return replace(window, pixels=pixels)
