"""A picture as a vector: pictures that look alike have vectors that point the same way.

No operator: vectors go into an index (`streamproc index`) and into the comparison of faces (`face_tags.py`).
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model import Pixels
from streamproc.operators.classifiers import (
    CELLS,
    COLOUR_CELLS,
    DIRECTIONS,
    LUMA_CELLS,
    RECIPE,
    pooled_features,
)
from streamproc.operators.pixels import gray, require_pixels

_PARTS: Final = (*(DIRECTIONS * cells**2 for cells in CELLS), LUMA_CELLS**2, 2 * COLOUR_CELLS**2)
_WEIGHTS: Final = (1.0, 1.5, 1.0, 0.5)  # coarse gradients bear a shift best, colour goes with the light
_LEAST: Final = (1e-4, 1e-4, 1e-4, 0.05)  # of a part's squared length: what is weaker than this stays weak
_SAME: Final = 0.1  # a value that all pictures share: so flat pictures have a vector, and all the same

DIMENSIONS: Final = sum(_PARTS) + 1
EMBEDDING: Final = f"pooled-{RECIPE['version']}.1"
"""Names what `embed` computes; raise the number after the point when the same picture gives another vector."""

LBP_SIDE_PX: Final = 64
LBP_CELLS: Final = 8
LBP_PATTERNS: Final = 59  # 58 uniform ones and all others
LBP_SIGMA: Final = 1.0  # noise and JPEG blocks turn patterns of single grey levels
_AROUND: Final = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # rows, columns

FACE_DIMENSIONS: Final = LBP_CELLS**2 * LBP_PATTERNS + sum(_PARTS[:2])


def embed(pixels: Pixels) -> NDArray[np.float32]:
    """Describe what a picture looks like as a whole, for comparison by the angle between vectors.

    Gradients, grey levels and colour of `pooled_features`, each part less its mean and of a length of its own. The
    picture's shape does not matter, nor do its size and its contrast; its layout does: a picture moved by a tenth of
    its width is another one. Grey and colour pictures of the same thing are alike.

    Cost: 0.4 ms for 640x384.

    Args:
        pixels: (rows, cols) or (rows, cols, 3) BGR, uint8, of any size: a frame, or what is in a box of it.

    Returns:
        DIMENSIONS values, float32, of length 1.

    Raises:
        BadPixels: Another shape or type.
    """
    values = pooled_features(pixels).astype(np.float64)
    parts = np.split(values, np.cumsum(_PARTS)[:-1])
    scaled = [
        weight * _unit(part - part.mean() if weight != _WEIGHTS[-1] else part, least)
        for part, weight, least in zip(parts, _WEIGHTS, _LEAST, strict=True)
    ]
    whole = np.concatenate([*scaled, [_SAME]])
    return np.asarray(whole / np.linalg.norm(whole), np.float32)


def embed_face(pixels: Pixels) -> NDArray[np.float32]:
    """Describe a face by its local binary patterns and its gradients, each counted in cells.

    The face is resized to 64x64 pixels. It is not turned upright and eyes are not laid on fixed places, so a face
    turned aside, or boxed otherwise, is described otherwise.

    Cost: 0.4 ms for a face of 100x100.

    Args:
        pixels: What is in the face's box, (rows, cols) or (rows, cols, 3) BGR, uint8; colour is turned grey.

    Returns:
        FACE_DIMENSIONS values, float32, of length 1; all equal where the picture is flat.

    Raises:
        BadPixels: Another shape or type.

    References:
        T. Ahonen, A. Hadid, M. Pietikainen, Face Description with Local Binary Patterns, IEEE TPAMI 28(12), 2006.
    """
    face = gray(pixels)
    values = pooled_features(face).astype(np.float64)
    coarse, fine = np.split(values[: sum(_PARTS[:2])], [_PARTS[0]])
    gradients = _unit(np.concatenate([_unit(part - part.mean(), 1e-4) for part in (coarse, fine)]), 1e-4)
    patterns = np.sqrt(_patterns(face))
    whole = np.concatenate([_unit(patterns - patterns.mean(), 1e-4), gradients])
    length = float(np.linalg.norm(whole))
    if length < math.sqrt(1e-4):
        return np.full(FACE_DIMENSIONS, 1 / math.sqrt(FACE_DIMENSIONS), np.float32)
    return np.asarray(whole / length, np.float32)


def _patterns(face: Pixels) -> NDArray[np.float64]:
    """Counts of uniform local binary patterns in each cell, one row."""
    require_pixels(face)
    wide = LBP_SIDE_PX + 2
    how = cv2.INTER_AREA if max(face.shape) > wide else cv2.INTER_LINEAR
    smooth = cv2.GaussianBlur(cv2.resize(face, (wide, wide), interpolation=how), (0, 0), LBP_SIGMA)
    levels = np.asarray(smooth, np.uint8)
    middle = levels[1:-1, 1:-1]
    codes = np.zeros(middle.shape, np.intp)
    for bit, (down, across) in enumerate(_AROUND):
        beside = levels[1 + down : wide - 1 + down, 1 + across : wide - 1 + across]
        codes |= (beside >= middle).astype(np.intp) << bit
    cell = np.arange(LBP_SIDE_PX) // (LBP_SIDE_PX // LBP_CELLS)
    places = cell[:, None] * LBP_CELLS + cell
    counts = np.bincount((places * LBP_PATTERNS + _UNIFORM[codes]).reshape(-1), minlength=LBP_CELLS**2 * LBP_PATTERNS)
    return counts.astype(np.float64)


def _uniform() -> NDArray[np.intp]:
    """Number of each pattern of eight bits; those that change more than twice around the circle share the last."""
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, LBP_PATTERNS - 1)


_UNIFORM: Final = _uniform()
_UNIFORM.setflags(write=False)


def _unit(values: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = values / np.sqrt((values * values).sum() + least)
    return scaled
