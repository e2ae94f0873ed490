"""Regions of a picture that are blacked out before anything else sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from producers.cameras_file import Region
    from streamproc.model import Frame, Pixels


class Mask:
    """Blacks out what lies in `hidden`, and what lies outside all of `shown` if there is any.

    Regions are in shares of the picture, so pictures of every size are covered alike. In doubt a pixel is hidden: what
    is hidden is grown by one pixel, what is shown shrinks by one.
    """

    def __init__(self, hidden: Sequence[Region], shown: Sequence[Region]) -> None:
        self._hidden, self._shown = tuple(hidden), tuple(shown)
        self._size: tuple[int, int] | None = None
        self._keep: NDArray[np.uint8] | None = None

    def apply(self, frame: Frame) -> Pixels:
        """The frame's pixels with hidden ones black; a copy unless nothing is hidden."""
        if not (self._hidden or self._shown):
            return frame.pixels
        size = (int(frame.pixels.shape[0]), int(frame.pixels.shape[1]))
        if self._keep is None or self._size != size:
            self._size, self._keep = size, self._kept(*size)
        keep = self._keep if frame.pixels.ndim == 2 else self._keep[:, :, None]
        return np.multiply(frame.pixels, keep, dtype=np.uint8)

    def _kept(self, rows: int, cols: int) -> NDArray[np.uint8]:
        """1 where a pixel stays, shape (rows, cols)."""
        keep = np.ones((rows, cols), bool)
        if self._shown:
            keep = ~_grown(~_union(self._shown, rows, cols))
        for region in self._hidden:
            keep &= ~_grown(inside(region.corners, rows=rows, cols=cols))
        return keep.astype(np.uint8)


def inside(corners: Sequence[tuple[float, float]], *, rows: int, cols: int) -> NDArray[np.bool_]:
    """The pixels whose centre lies in a polygon, by the even-odd rule.

    Args:
        corners: x and y in shares of width and height, at least three.
        rows: Of the picture.
        cols: Of the picture.

    Returns:
        Shape (rows, cols).

    References:
        M. Shimrat, "Algorithm 112: Position of point relative to polygon", CACM 5(8), 1962.
    """
    x, y = np.arange(cols) + 0.5, (np.arange(rows) + 0.5)[:, None]
    found = np.zeros((rows, cols), bool)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        top, bottom = y1 * rows, y2 * rows
        crossed = ((top <= y) != (bottom <= y))[:, 0]
        if not crossed.any():
            continue
        along = (y[crossed] - top) / (bottom - top)  # from 0 to 1
        found[crossed] ^= x < (x1 + along * (x2 - x1)) * cols
    return found


def _union(regions: Sequence[Region], rows: int, cols: int) -> NDArray[np.bool_]:
    found = np.zeros((rows, cols), bool)
    for region in regions:
        found |= inside(region.corners, rows=rows, cols=cols)
    return found


def _grown(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One pixel more on each side: pixels that the border runs through, and what chroma of video mixes in."""
    wide = found.copy()
    wide[1:] |= found[:-1]
    wide[:-1] |= found[1:]
    tall = wide.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide
