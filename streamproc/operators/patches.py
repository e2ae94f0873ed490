"""Pixels of tiles on their way to a step that works on the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage, BadPixels
from streamproc.model import Patch, Rect
from streamproc.operators.tiling import join

KINDS: Final[dict[str, np.dtype[Any]]] = {"u1": np.dtype("u1"), "f4": np.dtype("<f4")}


def pack_patch(pixels: NDArray[Any], core: Rect) -> Patch:
    """Store the pixels of a core.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8 or float32; fills `core`.
        core: In frame coordinates.

    Raises:
        BadPixels: Another type, or pixels that do not fill the core.
    """
    kind = next((name for name, dtype in KINDS.items() if pixels.dtype == dtype), None)
    if kind is None or pixels.shape[:2] != (core.height, core.width):
        raise BadPixels(f"{pixels.shape} {pixels.dtype} pixels do not fill {core}")
    return Patch(
        core=core,
        channels=0 if pixels.ndim == 2 else pixels.shape[2],
        kind=kind,
        data=np.ascontiguousarray(pixels).tobytes(),
    )


def join_patches(patches: Sequence[Patch], width: int, height: int) -> NDArray[Any]:
    """Put the pixels of a frame's tiles together; what no patch covers stays 0.

    Returns:
        Shape (height, width[, 3]), uint8 or float32.

    Raises:
        BadMessage: reason "schema": patches of different kinds.
        BadPixels: A patch lies outside the frame.
    """
    if len({(patch.kind, patch.channels) for patch in patches}) != 1:
        raise BadMessage("schema", "patches of one step are of different kinds")
    return join([(patch.core, _pixels(patch)) for patch in patches], width, height)


def _pixels(patch: Patch) -> NDArray[Any]:
    rows = (patch.core.height, patch.core.width)
    shape = rows if patch.channels == 0 else (*rows, patch.channels)
    pixels: NDArray[Any] = np.frombuffer(patch.data, KINDS[patch.kind]).reshape(shape)
    return pixels
