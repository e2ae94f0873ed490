"""Boxes as arrays and as the value that travels, and which of two overlapping ones stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage
from streamproc.model import Boxes

NESTED = 0.7  # share of the smaller box inside the larger from which both are one object, seen twice at a seam


def pack_boxes(label: str, xyxy: NDArray[np.floating], score: NDArray[np.floating], *, iou: float) -> Boxes:
    """Order boxes by score, then from top to bottom and left to right, and store them.

    Args:
        label: What the boxes show.
        xyxy: Shape (N, 4), frame coordinates: left, top, right, bottom.
        score: Shape (N,).
        iou: Boxes that overlap by at least this share of their union are one object.
    """
    corners = np.asarray(xyxy, dtype="<f4").reshape(-1, 4)
    scores = np.asarray(score, dtype="<f4").reshape(-1)
    order = np.lexsort((corners[:, 3], corners[:, 2], corners[:, 0], corners[:, 1], -scores))
    return Boxes(label=label, xyxy=corners[order].tobytes(), score=scores[order].tobytes(), iou=iou)


def unpack_boxes(boxes: Boxes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give back (N, 4) corners and (N,) scores, as read-only views.

    Raises:
        BadMessage: The lengths do not fit together.
    """
    count = len(boxes.score) // 4
    if len(boxes.score) != 4 * count or len(boxes.xyxy) != 16 * count:
        raise BadMessage("schema", f"boxes of {count} scores have corners of another length")
    return np.frombuffer(boxes.xyxy, "<f4").reshape(count, 4), np.frombuffer(boxes.score, "<f4")


def suppress(boxes: Boxes) -> Boxes:
    """Keep the best of each group of boxes that overlap or lie in one another, the best boxes first."""
    corners, scores = unpack_boxes(boxes)
    corners, scores = unpack_boxes(pack_boxes(boxes.label, corners, scores, iou=boxes.iou))
    kept: list[int] = []
    for index in range(scores.size):
        if not any(_same(corners[index], corners[other], boxes.iou) for other in kept):
            kept.append(index)
    return pack_boxes(boxes.label, corners[kept], scores[kept], iou=boxes.iou)


def _same(first: NDArray[np.float32], second: NDArray[np.float32], iou: float) -> bool:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return False
    common = float(width) * float(height)
    areas = [float(box[2] - box[0]) * float(box[3] - box[1]) for box in (first, second)]
    return common >= iou * (sum(areas) - common) or common >= NESTED * min(areas)
