"""For cameras that stand still: where two pictures differ, in blocks, and one brought up to date there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import Pixels

BLOCK_PX = 16  # a block of JPEG's 4:2:0 colour; cuts between tiles are multiples of it
CELL_PX = 4


def changed_blocks(before: Pixels, now: Pixels, level: float) -> NDArray[np.bool_]:
    """Blocks of 16x16 px that have changed.

    A block has changed if one of its cells of 4x4 px has: if the mean of their absolute differences is above `level`
    in the channel that differs most. So noise, which averages out, does not count, and a small thing does. Above level
    0 the cells around it count as changed, too: the soft border of what moves lies there.

    Args:
        before: Shape (rows, cols) or (rows, cols, 3).
        now: The same shape.
        level: Grey levels, 0..255; at 0 every difference counts.

    Returns:
        Shape (ceil(rows / 16), ceil(cols / 16)), bool.

    Raises:
        BadPixels: The shapes differ.
    """
    if before.shape != now.shape:
        raise BadPixels(f"a picture of {now.shape} cannot be compared with one of {before.shape}")
    apart = cv2.absdiff(before, now)
    if apart.ndim == 3:
        first, second, third = cv2.split(apart)
        apart = cv2.max(cv2.max(first, second), third)
    sums = cv2.boxFilter(
        apart, cv2.CV_32F, (CELL_PX, CELL_PX), anchor=(0, 0), normalize=False, borderType=cv2.BORDER_REPLICATE
    )
    cells = (np.ascontiguousarray(sums[::CELL_PX, ::CELL_PX]) > level * CELL_PX**2).astype(np.uint8)
    if level:
        cells = cv2.dilate(cells, np.ones((3, 3), np.uint8)).astype(np.uint8)
    rows, cols = -(-before.shape[0] // BLOCK_PX), -(-before.shape[1] // BLOCK_PX)
    per_block = BLOCK_PX // CELL_PX
    padded = np.zeros((rows * per_block, cols * per_block), dtype=np.uint8)
    padded[: cells.shape[0], : cells.shape[1]] = cells
    hit: NDArray[np.bool_] = padded.reshape(rows, per_block, cols, per_block).max(axis=(1, 3)).astype(bool)
    return hit


def replenish(canvas: Pixels, now: Pixels, blocks: NDArray[np.bool_]) -> None:
    """Copy the pixels of some blocks of 16x16 px into `canvas`.

    Args:
        canvas: Shape (rows, cols) or (rows, cols, 3); changed in place.
        now: The same shape.
        blocks: Shape (ceil(rows / 16), ceil(cols / 16)).
    """
    mask = np.repeat(np.repeat(blocks.astype(np.uint8), BLOCK_PX, axis=0), BLOCK_PX, axis=1)
    cv2.copyTo(now, np.ascontiguousarray(mask[: canvas.shape[0], : canvas.shape[1]]), canvas)
