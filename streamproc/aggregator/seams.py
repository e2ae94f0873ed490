"""Edges of the tiles to edges of the frame: the last step of Canny, which no tile can do alone.

A weak pixel is an edge if weak pixels lead from it to a strong one. Tiles have answered that for all pixels
but the few that hang together with their borders (`EdgeMap`). Those are linked here, across all seams at
once; the price goes with their number, not with the area of the frame. Masks stay bit-packed until a
picture is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from streamproc.errors import BadMessage
from streamproc.model import EdgeMap, Pixels, Rect

Packed = NDArray[np.uint8]
"""Shape (rows, ceil(cols / 8)), the leftmost pixel in the highest bit: `np.packbits(mask, axis=1)`."""


def link_edges(maps: Sequence[EdgeMap], width: int, height: int) -> Pixels:
    """Edges of a frame from those of its tiles, equal to `cv2.Canny` of the whole frame.

    Tiles may be missing: what depends on them is no edge. The order of tiles does not matter.

    Args:
        maps: One for each tile that is there.
        width: Of the frame, pixels.
        height: Of the frame, pixels.

    Returns:
        Shape (height, width), 0 or 255.

    Raises:
        BadMessage: A map does not fit the frame or itself.
    """
    return unpack(link_packed(maps, width, height), width)


def link_packed(maps: Sequence[EdgeMap], width: int, height: int) -> Packed:
    """Do as `link_edges` does, and leave the mask bit-packed by rows: 10 times cheaper on quiet pictures."""
    # One row and one byte of zeros around the frame, so that neighbours need no bounds.
    frame = np.zeros((height + 2, -(-width // 8) + 2), np.uint8)
    for edge_map in maps:
        _paint(frame, edge_map, width, height)
    pixels = _loose_pixels(maps, frame.shape[1])
    if pixels.size:
        linked = pixels[_linked(frame, pixels)]
        np.bitwise_or.at(frame.reshape(-1), linked >> 3, _bit(linked))
    return frame[1:-1, 1:-1]


def unpack(packed: Packed, width: int) -> Pixels:
    """Turn a packed mask into a picture of 0 and 255."""
    edges = np.unpackbits(packed, axis=1, count=width)
    return np.negative(edges, out=edges)


def count_packed(packed: Packed) -> int:
    """Count the pixels of a packed mask that are set."""
    return int(np.bitwise_count(packed).sum(dtype=np.int64))


def edge_digest(edge_map: NDArray[Any]) -> str:
    """Fingerprint of an edge picture: sha256 hex of `np.packbits(edge_map > 0)` over the whole frame."""
    return hashlib.sha256(np.packbits(edge_map > 0).tobytes()).hexdigest()


def packed_digest(packed: Packed, width: int) -> str:
    """Do as `edge_digest` does, for a packed mask of `width` columns."""
    if width % 8:  # rows of the whole frame follow each other without filling
        return edge_digest(unpack(packed, width))
    return hashlib.sha256(packed.tobytes()).hexdigest()


def _paint(frame: Packed, edge_map: EdgeMap, width: int, height: int) -> None:
    core = edge_map.core
    stride = -(-core.width // 8)
    inside = min(core.x, core.y) >= 0 and core.right <= width and core.bottom <= height
    if not inside or core.area < 1 or core.x % 8 or (core.width % 8 and core.right != width):
        raise BadMessage("schema", f"edges of {core} do not fit a frame of {width}x{height}")
    if len(edge_map.decided) != core.height * stride or len(edge_map.loose_at) != 4 * len(edge_map.loose_bits):
        raise BadMessage("schema", f"edges of {core} have masks of another size")
    decided = np.frombuffer(edge_map.decided, np.uint8).reshape(core.height, stride)
    left = core.x // 8 + 1
    target = frame[core.y + 1 : core.bottom + 1, left : left + stride]
    target[...] = decided
    target[:, -1] &= _last_byte(core)


def _loose_pixels(maps: Sequence[EdgeMap], stride: int) -> NDArray[np.int64]:
    """Sorted positions of all loose pixels in the padded frame, whose rows take `stride` bytes."""
    positions: list[NDArray[np.int64]] = []
    masks: list[NDArray[np.uint8]] = []
    for edge_map in maps:
        core = edge_map.core
        columns = -(-core.width // 8)
        at = np.frombuffer(edge_map.loose_at, "<u4").astype(np.int64)
        mask = np.frombuffer(edge_map.loose_bits, np.uint8)
        if at.size and at.max() >= core.height * columns:
            raise BadMessage("schema", f"loose edges of {core} lie outside it")
        row, column = np.divmod(at, columns)
        positions.append((row + core.y + 1) * stride + column + core.x // 8 + 1)
        masks.append(np.where(column == columns - 1, mask & _last_byte(core), mask))
    if not positions:
        return np.zeros(0, np.int64)
    at, mask = np.concatenate(positions), np.concatenate(masks)
    order = np.argsort(at)
    bits = np.flatnonzero(np.unpackbits(mask[order]))
    pixels: NDArray[np.int64] = at[order][bits >> 3] * 8 + (bits & 7)
    return pixels


def _last_byte(core: Rect) -> int:
    """Bits of the last byte of a packed row that are pixels."""
    return 0xFF << (-core.width % 8) & 0xFF


def _linked(frame: Packed, pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the sorted positions hang together, over each other, with an edge that is decided."""
    stride = frame.shape[1] * 8
    flat = frame.reshape(-1)
    touching = np.zeros(pixels.size, np.bool_)
    for step in (-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1):
        beside = pixels + step
        touching |= (flat[beside >> 3] & _bit(beside)) != 0
    if not touching.any():
        return touching
    firsts, seconds = [], []
    for step in (1, stride - 1, stride, stride + 1):
        found = np.searchsorted(pixels, pixels + step)
        first = np.flatnonzero(pixels[np.minimum(found, pixels.size - 1)] == pixels + step)
        firsts.append(first)
        seconds.append(found[first])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    links = sparse.csr_array((np.ones(first.size, np.int8), (first, second)), shape=(pixels.size,) * 2)
    count, component = csgraph.connected_components(links, directed=False)
    kept = np.zeros(count, np.bool_)
    kept[component[touching]] = True
    return kept[component]


def _bit(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    bit: NDArray[np.uint8] = np.right_shift(128, positions & 7).astype(np.uint8)
    return bit
