"""From the tiles of a closed frame to its event: link, merge, summarise, and say where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamproc.aggregator.assembly import ClosedFrame
from streamproc.aggregator.merging import detected, merge_step, summarise, summarise_edges
from streamproc.aggregator.seams import unpack
from streamproc.model import (
    Boxes,
    DetectedObject,
    EdgeSummary,
    Evidence,
    Features,
    FrameEvent,
    Pixels,
    Result,
)
from streamproc.operators.pixels import thumbnail_rect
from streamproc.operators.tiling import join

NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameView:
    """What the tiles of a frame gave, merged.

    Attributes:
        features: JSON-able summary by step.
        edges: Shape (height, width), 0 or 255; None without an edge step, or unless a preview was asked for.
        preview: Reduced picture of the frame; None unless its tiles carry thumbnails.
    """

    summary: EdgeSummary | None
    features: dict[str, Any]
    objects: list[DetectedObject]
    edges: Pixels | None
    preview: Pixels | None


def merge_frame(closed: ClosedFrame) -> FrameView:
    """Merge the results of all tiles that count; the order they came in does not matter.

    Raises:
        BadMessage: Results of one step do not fit each other (workers of different versions).
    """
    width, height = closed.header.frame_width, closed.header.frame_height
    by_step: dict[str, list[Result]] = {}
    for part in closed.parts:
        for step, result in part.results.items():
            by_step.setdefault(step, []).append(result)
    summary: EdgeSummary | None = None
    edges: Pixels | None = None
    features: dict[str, Any] = {}
    objects: list[DetectedObject] = []
    preview = _preview(closed)
    for step, results in sorted(by_step.items()):
        merged = merge_step(results, width, height)
        if isinstance(merged, Boxes):
            objects += detected(merged, source=step)
        elif isinstance(merged, np.ndarray):
            found = summarise_edges(merged, width, operator=step)
            features[step] = {"pixels": found.pixels, "density": found.density, "digest": found.digest}
            if summary is None:
                summary = found
                edges = unpack(merged, width) if preview is not None else None
        else:
            features[step] = summarise(merged)
    return FrameView(summary=summary, features=features, objects=objects, edges=edges, preview=preview)


def frame_event(
    closed: ClosedFrame, view: FrameView, *, tiles_topic: str, assembling_ns: int, emitted_ns: int
) -> FrameEvent:
    """The event of a closed frame.

    Args:
        closed: What became of the frame.
        view: What its tiles gave.
        tiles_topic: Where its tiles stand, for evidence.
        assembling_ns: Wall clock when merging began.
        emitted_ns: Wall clock now.
    """
    header = closed.header
    area = header.frame_width * header.frame_height
    first = closed.evidence[0] if closed.evidence else None
    return FrameEvent(
        camera=header.camera,
        run=header.run,
        sequence=header.sequence,
        captured_ns=header.captured_ns,
        emitted_ns=emitted_ns,
        width=header.frame_width,
        height=header.frame_height,
        outcome=closed.outcome,
        coverage=sum(part.tile.core.area for part in closed.parts) / area,
        missing_tiles=list(closed.missing),
        edges=view.summary,
        features=view.features,
        objects=view.objects,
        evidence=Evidence(
            topic=tiles_topic,
            offsets=_offsets(closed.evidence),
            pipeline=closed.pipeline,
            operators=dict(first.operators) if first else {},
        ),
        latency_ms=_latency(closed, assembling_ns=assembling_ns, emitted_ns=emitted_ns),
        reason=closed.reason,
    )


def _preview(closed: ClosedFrame) -> Pixels | None:
    """Thumbnails of the tiles' cores put together; missing ones stay black."""
    scale = next((part.thumbnail_scale for part in closed.parts if part.thumbnail), 0)
    parts = [part for part in closed.parts if part.thumbnail and part.thumbnail_scale == scale]
    if not parts:
        return None
    channels = 1 if closed.header.pixel_format == "gray8" else 3
    painted = []
    for part in parts:
        rect = thumbnail_rect(part.tile.core, scale)
        if len(part.thumbnail) != rect.area * channels:
            continue
        shape = (rect.height, rect.width) if channels == 1 else (rect.height, rect.width, 3)
        painted.append((rect, np.frombuffer(part.thumbnail, np.uint8).reshape(shape)))
    if not painted:
        return None
    width, height = (-(-side // scale) for side in (closed.header.frame_width, closed.header.frame_height))
    return join(painted, width, height)


def _offsets(parts: tuple[Features, ...]) -> dict[str, tuple[int, int]]:
    """First and last offset of the frame's tiles, by partition of the tiles topic."""
    offsets: dict[str, tuple[int, int]] = {}
    for part in parts:
        low, high = offsets.get(str(part.partition), (part.offset, part.offset))
        offsets[str(part.partition)] = (min(low, part.offset), max(high, part.offset))
    return offsets


def _latency(closed: ClosedFrame, *, assembling_ns: int, emitted_ns: int) -> dict[str, float]:
    """Milliseconds of each hop along the tile that was finished last; they add up to `total`."""
    captured_ns = closed.header.captured_ns
    total = (emitted_ns - captured_ns) / NS_PER_MS
    if not closed.evidence:
        return {"total": round(total, 3)}
    last = max(closed.evidence, key=lambda part: part.finished_ns)
    hops = {
        "publish": last.published_ns - captured_ns,
        "wait": last.started_ns - last.published_ns,
        "extract": last.finished_ns - last.started_ns,
        "gather": assembling_ns - last.finished_ns,
        "assemble": emitted_ns - assembling_ns,
        "total": emitted_ns - captured_ns,
    }
    return {hop: round(ns / NS_PER_MS, 3) for hop, ns in hops.items()}
