"""What of a fixed camera's picture has changed, so that the rest need not be sent again.

A *canvas* holds the picture as it was sent. A new frame is compared with it, not with the frame before, so slow changes
are not missed for ever; where it differs the canvas is brought up to date, in blocks, and what is sent is the canvas.
Tiles whose pixels, halo included, are the same on the canvas as when they were last sent need no pixels: they name the
record that has them. So whatever is worked out from tiles is as exact on the canvas as it is on a frame without this;
and at level 0 the canvas is the frame.

Conditional replenishment: F. W. Mounts, "A Video Encoding System With Conditional Picture-Element Replenishment",
Bell System Technical Journal 48 (7), 1969.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamproc.operators import tiling
from streamproc.operators.replenish import BLOCK_PX, changed_blocks, replenish

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from producers.changed_only import ChangedOnly
    from streamproc.model import Frame, Grid, Pixels, Rect

EASY = 0.5  # of the memory filled: up to here no tile is held back
FULL = 0.9  # and from here all but the one that changed most


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Update:
    """The canvas after a frame.

    Attributes:
        pixels: The canvas itself: valid until the next frame.
        changed: For each tile, row by row: its pixels differ from those before, or all are to be sent.
        held: How many tiles have changed and are shown as they were, because there is no room for all. Parts of others
            may be, where their halos overlap.
        full: All tiles are to be sent.
    """

    pixels: Pixels
    changed: tuple[bool, ...]
    held: int
    full: bool


class Canvas:
    """The picture of one run as it was sent. Not thread-safe.

    Args:
        policy: What counts as a change, and when all is sent anyway.
    """

    def __init__(self, policy: ChangedOnly) -> None:
        self._policy = policy
        self._pixels: Pixels | None = None
        self._grid: tuple[Grid, int] | None = None
        self._rects: list[Rect] = []
        self._full_captured_ns = 0
        self._full_now_s = 0.0

    def update(self, frame: Frame, grid: Grid, halo: int, *, now_s: float, pressure: float = 0.0) -> Update:
        """Take the next frame.

        Args:
            frame: Any size; another size than before, or another grid, sends all.
            grid: Rows and columns of tiles.
            halo: Pixels around a tile that travel with it.
            now_s: A monotonic clock.
            pressure: How full the memory for what waits to be sent is, 0..1. Above a half, tiles that have changed are
                held back: those that changed least first.

        Raises:
            UsageError: The grid does not fit.
        """
        if self._is_full_due(frame, (grid, halo), now_s):
            return self._take_all(frame, (grid, halo), now_s)
        canvas = self._canvas
        blocks = changed_blocks(canvas, frame.pixels, self._policy.level)
        held = self._hold_back(blocks, pressure)
        replenish(canvas, frame.pixels, blocks)
        changed = tuple(bool(blocks[_covering(rect)].any()) for rect in self._rects)
        return Update(pixels=canvas, changed=changed, held=held, full=False)

    def forget(self) -> None:
        """What was taken last was not sent: the next frame is sent in full."""
        self._pixels = None

    @property
    def _canvas(self) -> Pixels:
        assert self._pixels is not None  # noqa: S101 - a frame without one is sent in full
        return self._pixels

    def _is_full_due(self, frame: Frame, cut: tuple[Grid, int], now_s: float) -> bool:
        if self._pixels is None or self._pixels.shape != frame.pixels.shape or self._grid != cut:
            return True
        passed_s = (frame.captured_ns - self._full_captured_ns) / 1e9  # of a film that is read fast or slowly
        longest_s = self._policy.full_every_s
        return not 0 <= passed_s < longest_s or now_s - self._full_now_s >= longest_s

    def _take_all(self, frame: Frame, cut: tuple[Grid, int], now_s: float) -> Update:
        grid, halo = cut
        height, width = frame.pixels.shape[:2]
        self._rects = [core.grown(halo, width=width, height=height) for core in tiling.cut(width, height, grid)]
        self._pixels, self._grid = frame.pixels.copy(), cut
        self._full_captured_ns, self._full_now_s = frame.captured_ns, now_s
        return Update(pixels=self._pixels, changed=(True,) * grid.count, held=0, full=True)

    def _hold_back(self, blocks: NDArray[np.bool_], pressure: float) -> int:
        """Clear the blocks of tiles that there is no room for; returns how many tiles that are."""
        share = min(1.0, max(0.0, (pressure - EASY) / (FULL - EASY)))
        if not share:
            return 0
        amounts = [(int(blocks[_covering(rect)].sum()), index) for index, rect in enumerate(self._rects)]
        moved = sorted(one for one in amounts if one[0])
        if not moved:
            return 0
        most = _covering(self._rects[moved.pop()[1]])  # is sent: a frame of which nothing is would be a dropped one
        kept = blocks[most].copy()
        for _, index in moved[: round(share * len(moved))]:
            blocks[_covering(self._rects[index])] = False
        blocks[most] = kept
        return sum(1 for count, index in amounts if count and not blocks[_covering(self._rects[index])].any())


def _covering(rect: Rect) -> tuple[slice, slice]:
    """The blocks that a rectangle touches."""
    return (
        slice(rect.y // BLOCK_PX, -(-rect.bottom // BLOCK_PX)),
        slice(rect.x // BLOCK_PX, -(-rect.right // BLOCK_PX)),
    )


@dataclass(frozen=True, slots=True)
class Base:
    """A tile in the log that others may refer to."""

    offset: int
    payload_digest: bytes


@dataclass(slots=True)
class _Sent:
    sequence: int
    payload_digest: bytes
    offset: int | None = None


class Bases:
    """The tile sent last of each place with its pixels; told of deliveries on another thread.

    Only what the broker has acknowledged can be referred to: so no reference ever names a record that was lost.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sent: dict[int, _Sent] = {}

    def sending(self, index: int, *, sequence: int, payload_digest: bytes) -> None:
        """A tile is about to be sent with its pixels; what was sent before of its place is forgotten."""
        with self._changed:
            self._sent[index] = _Sent(sequence, payload_digest)

    def delivered(self, index: int, *, sequence: int, offset: int) -> None:
        """The broker has it."""
        with self._changed:
            sent = self._sent.get(index)
            if sent is not None and sent.sequence == sequence:
                sent.offset = offset
                self._changed.notify_all()

    def await_delivery(self, indices: Sequence[int], *, longest_s: float) -> dict[int, Base]:
        """Those of these tiles that can be referred to, after waiting a while for what is under way."""
        until_s = time.monotonic() + longest_s
        with self._changed:
            while any(self._sent[index].offset is None for index in indices):
                if (left_s := until_s - time.monotonic()) <= 0:
                    break
                self._changed.wait(left_s)
            found = [(index, self._sent[index]) for index in indices]
            return {index: Base(sent.offset, sent.payload_digest) for index, sent in found if sent.offset is not None}
