"""Boxes as arrays and as the value that travels, and which of two overlapping ones stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage
from streamproc.model import Boxes

NESTED: Final = 0.7  # share of the smaller box inside the larger from which both are one object, seen twice at a seam
EVERY_BOX: Final = 0.0
"""As `iou`: these are partial results, each box stays, `Operator.finish` says what they amount to."""
MAX_LABEL: Final = 256  # characters


def pack_boxes(
    label: str,
    xyxy: NDArray[np.floating],
    score: NDArray[np.floating],
    *,
    iou: float,
    labels: Sequence[str] = (),
    tracks: Sequence[str] = (),
) -> Boxes:
    """Order boxes by score, then from top to bottom and left to right, then by label, and store them.

    Args:
        label: What the boxes show.
        xyxy: Shape (N, 4), frame coordinates: left, top, right, bottom.
        score: Shape (N,).
        iou: Boxes of one label that overlap by at least this share of their union are one object.
        labels: One for each box, or none.
        tracks: One for each box, or none.

    Raises:
        BadMessage: Labels or tracks are not as many as boxes.
    """
    corners = np.asarray(xyxy, dtype="<f4").reshape(-1, 4)
    scores = np.asarray(score, dtype="<f4").reshape(-1)
    _require_count(scores.size, labels, tracks)
    keys: list[NDArray[Any]] = [np.array(names) for names in (tracks, labels) if names]
    keys += [corners[:, 3], corners[:, 2], corners[:, 0], corners[:, 1], -scores]
    order = np.lexsort(keys)
    return Boxes(
        label=label,
        xyxy=corners[order].tobytes(),
        score=scores[order].tobytes(),
        iou=iou,
        labels=[labels[index] for index in order] if labels else [],
        tracks=[tracks[index] for index in order] if tracks else [],
    )


def unpack_boxes(boxes: Boxes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give back (N, 4) corners and (N,) scores, as read-only views.

    Raises:
        BadMessage: The lengths do not fit together.
    """
    count = len(boxes.score) // 4
    if len(boxes.score) != 4 * count or len(boxes.xyxy) != 16 * count:
        raise BadMessage("schema", f"boxes of {count} scores have corners of another length")
    _require_count(count, boxes.labels, boxes.tracks)
    return np.frombuffer(boxes.xyxy, "<f4").reshape(count, 4), np.frombuffer(boxes.score, "<f4")


def box_labels(boxes: Boxes) -> list[str]:
    """What each box shows.

    Raises:
        BadMessage: The lengths do not fit together.
    """
    _, scores = unpack_boxes(boxes)
    return list(boxes.labels) or [boxes.label] * scores.size


def merged_boxes(parts: Sequence[Boxes]) -> Boxes:
    """Put together what several tiles found: one box for each object, or every box of partial results.

    Args:
        parts: At least one, of one `label` and `iou`.

    Raises:
        BadMessage: The lengths do not fit together.
    """
    corners, scores = (np.concatenate(column) for column in zip(*map(unpack_boxes, parts), strict=True))
    named = any(part.labels for part in parts)
    followed = any(part.tracks for part in parts)
    together = pack_boxes(
        parts[0].label,
        corners,
        scores,
        iou=parts[0].iou,
        labels=[label for part in parts for label in box_labels(part)] if named else (),
        tracks=[track for part in parts for track in part.tracks or [""] * (len(part.score) // 4)] if followed else (),
    )
    return together if together.iou == EVERY_BOX else suppress(together)


def suppress(boxes: Boxes) -> Boxes:
    """Keep the best of each group of boxes of one label that overlap or lie in one another, the best boxes first."""
    unpack_boxes(boxes)
    corners, scores = unpack_boxes(boxes)
    boxes = pack_boxes(boxes.label, corners, scores, iou=boxes.iou, labels=boxes.labels, tracks=boxes.tracks)
    corners, scores = unpack_boxes(boxes)
    kept = _best(corners, box_labels(boxes), boxes.iou)
    return pack_boxes(
        boxes.label,
        corners[kept],
        scores[kept],
        iou=boxes.iou,
        labels=[boxes.labels[index] for index in kept] if boxes.labels else (),
        tracks=[boxes.tracks[index] for index in kept] if boxes.tracks else (),
    )


def _best(corners: NDArray[np.float32], labels: Sequence[str], iou: float) -> list[int]:
    """Indices of those that stay, of boxes the best first."""
    places = corners.astype(np.float64)
    names = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    kinds = np.array([names[label] for label in labels], np.intp)
    left = np.ones(len(places), bool)
    kept: list[int] = []
    for index in range(len(places)):
        if left[index]:
            kept.append(index)
            left &= ~((kinds == kinds[index]) & _same(places[index], places, iou))
    return kept


def _same(one: NDArray[np.float64], others: NDArray[np.float64], iou: float) -> NDArray[np.bool_]:
    width = np.minimum(one[2], others[:, 2]) - np.maximum(one[0], others[:, 0])
    height = np.minimum(one[3], others[:, 3]) - np.maximum(one[1], others[:, 1])
    common = np.maximum(width, 0) * np.maximum(height, 0)
    area = (one[2] - one[0]) * (one[3] - one[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    enough = (common >= iou * (area + areas - common)) | (common >= NESTED * np.minimum(area, areas))
    same: NDArray[np.bool_] = (common > 0) & enough
    return same


def _require_count(count: int, labels: Sequence[str], tracks: Sequence[str]) -> None:
    for what, names in (("labels", labels), ("tracks", tracks)):
        if names and len(names) != count:
            raise BadMessage("schema", f"{count} boxes have {len(names)} {what}")
