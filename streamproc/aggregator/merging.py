"""Results of tiles to results of frames, and those to plain values for events. No order of tiles matters."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from streamproc.aggregator.seams import Packed, count_packed, link_packed, packed_digest
from streamproc.errors import BadMessage
from streamproc.model import (
    Boxes,
    DetectedObject,
    EdgeMap,
    EdgeSummary,
    Figures,
    Histogram,
    Labels,
    Patch,
    Points,
    Result,
    Statistics,
    Vitals,
)
from streamproc.operators.boxes import box_labels, merged_boxes, unpack_boxes
from streamproc.operators.points import pack_points, unpack_points
from streamproc.operators.vitals import merge_vitals, summary

Merged: TypeAlias = Packed | Points | Boxes | Histogram | Statistics | Figures | Labels | Vitals
"""A frame's result: a bit-packed mask of its edges (`seams.unpack`), or a value as tiles give it."""

EVENT_POINTS = 50
"""Points told in an event; all of them are in its digest."""

_Kind = TypeVar("_Kind", EdgeMap, Points, Boxes, Histogram, Statistics, Vitals)


def merge_step(results: Sequence[Result], width: int, height: int) -> Merged:
    """Make one result of those that the tiles of a frame gave for one step.

    Args:
        results: At least one, all of one kind; tiles may be missing.
        width: Of the frame, pixels.
        height: Of the frame, pixels.

    Raises:
        BadMessage: reason "schema": no result, different kinds, or results that do not fit each other.
    """
    if not results:
        raise BadMessage("schema", "no results to merge")
    match results[0]:
        case EdgeMap():
            return link_packed(_only(EdgeMap, results), width, height)
        case Points():
            return merge_points(_only(Points, results))
        case Boxes():
            return merge_boxes(_only(Boxes, results))
        case Histogram():
            return merge_histograms(_only(Histogram, results))
        case Statistics():
            return merge_statistics(_only(Statistics, results))
        case Vitals():
            return merge_vitals(_only(Vitals, results))
        case Figures() | Labels() as found:
            _require_one(results)
            return found
        case Patch():
            raise BadMessage("schema", "pixels are no result of a step")


def merge_points(parts: Sequence[Points]) -> Points:
    """Keep the strongest points of a frame, at most the `limit` they carry."""
    _same("points", [(part.limit, part.descriptor_bytes) for part in parts])
    arrays = [unpack_points(part) for part in parts]
    xy, response, descriptors = (np.concatenate(column) for column in zip(*arrays, strict=True))
    return pack_points(xy, response, limit=parts[0].limit, descriptors=descriptors)


def merge_boxes(parts: Sequence[Boxes]) -> Boxes:
    """Make one box of those that several tiles drew around one object; keep every box of partial results."""
    _same("boxes", [(part.label, part.iou) for part in parts])
    return merged_boxes(parts)


def merge_histograms(parts: Sequence[Histogram]) -> Histogram:
    """Add the counts."""
    _same("histograms", [[len(row) for row in part.counts] for part in parts])
    rows = zip(*(part.counts for part in parts), strict=True)
    return Histogram(counts=[[sum(column) for column in zip(*row, strict=True)] for row in rows])


def merge_statistics(parts: Sequence[Statistics]) -> Statistics:
    """Add the sums; take the lowest and the highest value."""
    _same("statistics", [len(part.total) for part in parts])
    _same("statistics", [len(row) for part in parts for row in (part.total, part.squares, part.low, part.high)])
    return Statistics(
        count=sum(part.count for part in parts),
        total=[sum(column) for column in zip(*(part.total for part in parts), strict=True)],
        squares=[sum(column) for column in zip(*(part.squares for part in parts), strict=True)],
        low=[min(column) for column in zip(*(part.low for part in parts), strict=True)],
        high=[max(column) for column in zip(*(part.high for part in parts), strict=True)],
    )


# --- for events -------------------------------------------------------------------------------------------


def summarise(
    merged: Points | Boxes | Histogram | Statistics | Figures | Labels | Vitals, points: int = EVENT_POINTS
) -> dict[str, Any]:
    """Say a frame's result in values that JSON knows.

    Args:
        merged: From `merge_step`; edges have `summarise_edges`.
        points: How many of the strongest points are told.
    """
    match merged:
        case Points():
            return _points_summary(merged, points)
        case Boxes():
            corners, scores = unpack_boxes(merged)
            boxes = [[*_short(box), *_short([score])] for box, score in zip(corners, scores, strict=True)]
            return {"label": merged.label, "count": len(boxes), "boxes": boxes, "labels": box_labels(merged)}
        case Histogram():
            return {"bins": len(merged.counts[0]) if merged.counts else 0, "counts": merged.counts}
        case Statistics():
            return _statistics_summary(merged)
        case Figures():
            return merged.values
        case Vitals():
            return summary(merged)
        case Labels():
            return {"labels": [[label, score] for label, score in merged.scores]}


def summarise_edges(packed: Packed, width: int, operator: str = "canny") -> EdgeSummary:
    """Say how many pixels of a linked, packed mask (`seams.link_packed`) are edges, and its fingerprint."""
    pixels = count_packed(packed)
    return EdgeSummary(
        operator=operator,
        pixels=pixels,
        density=round(pixels / (width * packed.shape[0]), 6),
        digest=packed_digest(packed, width),
    )


def detected(merged: Boxes, source: str) -> list[DetectedObject]:
    """Give a frame's boxes as objects, best first; `source` is the step that found them."""
    corners, scores = unpack_boxes(merged)
    labels = box_labels(merged)
    tracks = merged.tracks or [""] * scores.size
    return [
        DetectedObject(
            label=label,
            score=float(f"{score:.6g}"),
            box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            track=track or None,
            source=source,
        )
        for box, score, label, track in zip(corners.tolist(), scores.tolist(), labels, tracks, strict=True)
    ]


def _points_summary(points: Points, most: int) -> dict[str, Any]:
    xy, response, _ = unpack_points(points)
    told = np.column_stack([xy[:most], response[:most]])
    return {
        "count": int(response.size),
        "digest": hashlib.sha256(points.xy + points.response + points.descriptors).hexdigest(),
        "points": [_short(row) for row in told],
    }


def _statistics_summary(sums: Statistics) -> dict[str, Any]:
    count = max(1, sums.count)
    # Whole numbers up to the root: no cancellation between two large squares.
    variances = [count * square - total**2 for total, square in zip(sums.total, sums.squares, strict=True)]
    return {
        "count": sums.count,
        "mean": [round(total / count, 4) for total in sums.total],
        "std": [round(math.sqrt(max(0, variance)) / count, 4) for variance in variances],
        "min": sums.low,
        "max": sums.high,
    }


def _short(values: Any) -> list[float]:
    """Six digits: more than float32 carries is noise in JSON."""
    return [float(f"{value:.6g}") for value in values]


def _require_one(results: Sequence[Result]) -> None:
    if len(results) != 1:
        raise BadMessage("schema", "figures and labels tell of a whole frame, they cannot be merged")


def _only(kind: type[_Kind], results: Sequence[Result]) -> list[_Kind]:
    right = [result for result in results if isinstance(result, kind)]
    if len(right) != len(results):
        raise BadMessage("schema", f"results of one step are of different kinds, not all {kind.__name__}")
    return right


def _same(what: str, values: Sequence[Any]) -> None:
    if any(value != values[0] for value in values):
        raise BadMessage("schema", f"{what} of one step do not fit each other: {values[0]} and others")
