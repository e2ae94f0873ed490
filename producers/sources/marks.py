"""Machine-readable marks in synthetic frames: each 64 px cell says which frame and place it belongs to.

A cell is 8x8 squares of 8 px, one bit each, dark for 0 and bright for 1, aligned to JPEG's blocks, so that
even strong compression leaves them readable. Bits, highest first: 4 fixed ones, 24 of frame number, 10 of
cell row, 10 of cell column, 16 of checksum. Loss, mixing and shifting of tiles can be proven from the
picture alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamproc.model import Pixels

CELL_PX = 64
FRAME_NUMBERS = 1 << 24  # painted numbers start again at 0 here: after 7 days at 25 fps
_SQUARE_PX = 8
_FIXED = 0b1011
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: the upper bits of a product mix well (Knuth 6.4)
_DARK = np.array([(40, 20, 20), (20, 40, 20), (20, 20, 40), (50, 10, 40)], dtype=np.uint8)
_BRIGHT = np.array([(230, 190, 200), (190, 230, 210), (200, 220, 240), (240, 230, 180)], dtype=np.uint8)
_THRESHOLD = 120


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """What one cell says, and where it was found.

    Attributes:
        frame: Frame number, modulo 2**24.
        row, col: The place it was painted for, in cells of the frame.
        at_row, at_col: The place it stands at.
    """

    frame: int
    row: int
    col: int
    at_row: int
    at_col: int

    @property
    def in_place(self) -> bool:
        """It stands where it was painted."""
        return (self.row, self.col) == (self.at_row, self.at_col)


@dataclass(frozen=True, slots=True)
class Marks:
    """All whole cells of a picture.

    Attributes:
        read: Readable cells, row by row.
        unreadable: Row and column of cells whose checksum is wrong.
    """

    read: tuple[Mark, ...]
    unreadable: tuple[tuple[int, int], ...]

    @property
    def frames(self) -> frozenset[int]:
        """Frame numbers that occur; more than one means that frames were mixed."""
        return frozenset(mark.frame for mark in self.read)

    def proves(self, frame: int) -> bool:
        """Every cell is readable, in its place and of this frame (and there is at least one)."""
        good = all(mark.in_place and mark.frame == frame % FRAME_NUMBERS for mark in self.read)
        return bool(self.read) and not self.unreadable and good


def paint_marks(pixels: Pixels, frame: int) -> None:
    """Paint all whole cells of a frame, in place.

    Args:
        pixels: Shape (rows, cols, 3), uint8.
        frame: Frame number.
    """
    rows, cols = pixels.shape[0] // CELL_PX, pixels.shape[1] // CELL_PX
    row, col = np.meshgrid(np.arange(rows, dtype=np.uint64), np.arange(cols, dtype=np.uint64), indexing="ij")
    bits = _bits(_codes(frame % FRAME_NUMBERS, row, col))
    tint = ((row + col) % 4).astype(np.intp)[:, :, None]
    squares = np.where(bits[..., None] == 1, _BRIGHT[tint], _DARK[tint]).reshape(rows, cols, 8, 8, 3)
    flat = squares.transpose(0, 2, 1, 3, 4).reshape(rows * 8, cols * 8, 3)
    painted = flat.repeat(_SQUARE_PX, axis=0).repeat(_SQUARE_PX, axis=1)
    pixels[: rows * CELL_PX, : cols * CELL_PX] = painted


def read_marks(pixels: Pixels, *, left: int = 0, top: int = 0) -> Marks:
    """Read the marks of all whole cells in a picture or in a part of one.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        left: Column of the frame that the first column of `pixels` is, pixels.
        top: The same for rows.
    """
    gray = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    first_row, first_col = -(-top // CELL_PX), -(-left // CELL_PX)
    skip_y, skip_x = first_row * CELL_PX - top, first_col * CELL_PX - left
    rows, cols = max(0, gray.shape[0] - skip_y) // CELL_PX, max(0, gray.shape[1] - skip_x) // CELL_PX
    if rows == 0 or cols == 0:
        return Marks((), ())
    cells = gray[skip_y : skip_y + rows * CELL_PX, skip_x : skip_x + cols * CELL_PX]
    middles = cells.reshape(rows, 8, _SQUARE_PX, cols, 8, _SQUARE_PX)[:, :, 2:6, :, :, 2:6].mean(axis=(2, 5))
    bits = (middles > _THRESHOLD).transpose(0, 2, 1, 3).reshape(rows, cols, 64)
    codes = np.packbits(bits, axis=2).view(">u8")[:, :, 0].astype(np.uint64)
    return _judge(codes, first_row, first_col)


def _judge(codes: NDArray[np.uint64], first_row: int, first_col: int) -> Marks:
    read: list[Mark] = []
    unreadable: list[tuple[int, int]] = []
    good = _with_check(codes & ~np.uint64(0xFFFF)) == codes
    good &= codes >> np.uint64(60) == _FIXED
    for (row, col), code in np.ndenumerate(codes):
        place = first_row + row, first_col + col
        if not good[row, col]:
            unreadable.append(place)
            continue
        value = int(code)
        read.append(Mark(value >> 36 & 0xFFFFFF, value >> 26 & 0x3FF, value >> 16 & 0x3FF, *place))
    return Marks(tuple(read), tuple(unreadable))


def _codes(frame: int, row: NDArray[np.uint64], col: NDArray[np.uint64]) -> NDArray[np.uint64]:
    head = np.uint64(_FIXED << 60 | frame << 36)
    return _with_check(head | (row & np.uint64(0x3FF)) << np.uint64(26) | (col & np.uint64(0x3FF)) << np.uint64(16))


def _with_check(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put 16 bits of checksum into the lowest 16 bits, which are 0."""
    with np.errstate(over="ignore"):
        mixed = codes * _GOLDEN
        mixed = (mixed ^ mixed >> np.uint64(29)) * _GOLDEN
    return np.asarray(codes | mixed >> np.uint64(48), dtype=np.uint64)


def _bits(codes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """(rows, cols) codes to (rows, cols, 64) bits, highest first."""
    raw = codes.astype(">u8")[..., None].view(np.uint8)
    return np.unpackbits(raw, axis=2)
