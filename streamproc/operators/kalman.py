"""A Kalman filter for boxes that move with constant velocity, all boxes of a camera at once.

A state is a row of six: centre x, centre y, width, height (pixels), velocity x, y (pixels in one frame interval).
Its uncertainty is a row of three: variance of the position, covariance, variance of the velocity, in units of the
box's size squared. All coordinates of a box share it: noise is taken to grow with the box, so the gain does not depend
on the size.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.float64]

MEASURED: Final = (1 / 20) ** 2  # variance of a detector's box: a twentieth of its size
MOVED: Final = (1 / 40) ** 2  # variance a position gains in one frame
TURNED: Final = (1 / 100) ** 2  # variance a velocity gains in one frame
FIRST: Final = (MEASURED, 0.0, (1 / 4) ** 2)  # a new object may cross a quarter of its size in one frame


def born(boxes: Rows) -> tuple[Rows, Rows]:
    """Begin with boxes whose velocity is not known.

    Args:
        boxes: Shape (N, 4): left, top, right, bottom.

    Returns:
        States (N, 6) and uncertainties (N, 3).
    """
    states = np.hstack([to_centre(boxes), np.zeros((len(boxes), 2))])
    return states, np.tile(np.array(FIRST), (len(boxes), 1))


def predict(states: Rows, doubts: Rows, frames: float) -> tuple[Rows, Rows]:
    """Move states on by a time of `frames` intervals; sizes stay as they are."""
    moved = states.copy()
    moved[:, :2] += frames * states[:, 4:]
    position, shared, velocity = doubts.T
    grown = np.column_stack(
        [
            position + 2 * frames * shared + frames**2 * velocity + frames * MOVED,
            shared + frames * velocity,
            velocity + frames * TURNED,
        ]
    )
    return moved, grown


def correct(states: Rows, doubts: Rows, boxes: Rows) -> tuple[Rows, Rows]:
    """Take in one measured box, (left, top, right, bottom), for each state."""
    position, shared, velocity = doubts.T
    total = position + MEASURED
    near, far = position / total, shared / total
    surprise = to_centre(boxes) - states[:, :4]
    corrected = states.copy()
    corrected[:, :4] += near[:, None] * surprise
    corrected[:, 4:] += far[:, None] * surprise[:, :2]
    return corrected, np.column_stack([(1 - near) * position, (1 - near) * shared, velocity - far * shared])


def to_centre(boxes: Rows) -> Rows:
    """Corners (N, 4) to centre x, centre y, width, height."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.hstack([(low + high) / 2, high - low])


def to_corners(states: Rows) -> Rows:
    """States (N, 4 or more) to left, top, right, bottom."""
    half = states[:, 2:4] / 2
    return np.hstack([states[:, :2] - half, states[:, :2] + half])
