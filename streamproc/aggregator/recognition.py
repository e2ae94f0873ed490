"""From the tiles of a closed frame to its event: link, merge, summarise, and say where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamproc.aggregator.assembly import ClosedFrame
from streamproc.aggregator.merging import Merged, detected, merge_step, summarise, summarise_edges
from streamproc.aggregator.seams import unpack
from streamproc.aggregator.whole import Whole, WholeSteps
from streamproc.errors import BadMessage
from streamproc.model import (
    Boxes,
    DetectedObject,
    EdgeSummary,
    Evidence,
    Features,
    FrameEvent,
    Labels,
    Occurrence,
    Patch,
    Pixels,
    Result,
)
from streamproc.operators.pipeline import PATCH
from streamproc.operators.pixels import decode, thumbnail_rect
from streamproc.operators.tiling import join

NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameView:
    """What the tiles of a frame gave, merged.

    Attributes:
        features: JSON-able summary by step.
        classification: Labels of all classifiers, best first.
        occurrences: Step and what happened on this frame, in order.
        skipped: Steps that were due and gave nothing.
        edges: Shape (height, width), 0 or 255; None without an edge step, or unless a preview was asked for.
        preview: Reduced picture of the frame; None unless its tiles carry thumbnails.
    """

    summary: EdgeSummary | None
    features: dict[str, Any]
    objects: list[DetectedObject]
    edges: Pixels | None
    preview: Pixels | None
    classification: list[dict[str, Any]]
    occurrences: list[tuple[str, Occurrence]]
    skipped: tuple[str, ...] = ()


def merge_frame(closed: ClosedFrame, steps: WholeSteps | None = None, *, shown: bool = True) -> FrameView:
    """Merge the results of all tiles that count; the order they came in does not matter.

    Args:
        closed: The frame.
        steps: Runs the steps on the whole frame; None, or those of another pipeline than the tiles', runs none.
        shown: Whether its pictures are wanted.

    Raises:
        BadMessage: Results of one step do not fit each other (workers of different versions).
    """
    width, height = closed.header.frame_width, closed.header.frame_height
    by_step: dict[str, list[Result]] = {}
    patches: dict[str, list[Patch]] = {}
    for part in closed.parts:
        for step, result in part.results.items():
            if isinstance(result, Patch):
                patches.setdefault(step.removeprefix(PATCH), []).append(result)
            else:
                by_step.setdefault(step, []).append(result)
    merged: dict[str, Merged] = {step: merge_step(results, width, height) for step, results in sorted(by_step.items())}
    preview = _preview(closed) if shown else None
    summary, edges = _first_edges(merged, width, wanted=preview is not None)
    whole = Whole()
    if steps is not None and steps.pipeline.digest == closed.pipeline:
        merged, failed = steps.finish(merged)
        whole = steps.run(closed, merged, patches)
        whole.skipped |= failed
    found = {**merged, **whole.results}
    return FrameView(
        summary=summary,
        features={step: {"skipped": why} for step, why in whole.skipped.items()} | _told(found, width),
        objects=_objects(found, steps),
        classification=[
            {"label": label, "score": round(score, 6), "source": step}
            for step, labels in found.items()
            if isinstance(labels, Labels)
            for label, score in labels.scores
        ],
        occurrences=whole.occurrences,
        skipped=tuple(whole.skipped),
        edges=edges,
        preview=preview,
    )


def _first_edges(merged: Mapping[str, Merged], width: int, *, wanted: bool) -> tuple[EdgeSummary | None, Pixels | None]:
    """The edges that the event tells apart from other features, and their picture if it is wanted."""
    for step, found in merged.items():
        if isinstance(found, np.ndarray):
            return summarise_edges(found, width, operator=step), unpack(found, width) if wanted else None
    return None, None


def _told(found: Mapping[str, Merged], width: int) -> dict[str, dict[str, Any]]:
    """What the event says of each step, but for boxes and labels, which have places of their own."""
    features: dict[str, dict[str, Any]] = {}
    for step, result in found.items():
        if isinstance(result, np.ndarray):
            edges = summarise_edges(result, width, operator=step)
            features[step] = {"pixels": edges.pixels, "density": edges.density, "digest": edges.digest}
        elif isinstance(result, Boxes):
            features |= {step: dict(result.figures)} if result.figures else {}
        elif not isinstance(result, Labels):
            features[step] = summarise(result)
    return features


def _objects(found: Mapping[str, Merged], steps: WholeSteps | None) -> list[DetectedObject]:
    """The boxes of all steps; those that a tracker follows are told once, with their tracks."""
    followed = {
        steps.pipeline[step].input
        for step, result in found.items()
        if steps and isinstance(result, Boxes) and result.tracks
    }
    boxes = {step: result for step, result in found.items() if isinstance(result, Boxes)}
    return [one for step, result in boxes.items() if step not in followed for one in detected(result, source=step)]


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
        clock=header.clock,
        held_tiles=header.held,
        emitted_ns=emitted_ns,
        width=header.frame_width,
        height=header.frame_height,
        outcome=closed.outcome,
        coverage=sum(part.tile.core.area for part in closed.parts) / area,
        missing_tiles=list(closed.missing),
        edges=view.summary,
        features=view.features,
        objects=view.objects,
        classification=view.classification,
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
    painted = []
    for part in parts:
        rect = thumbnail_rect(part.tile.core, scale)
        try:
            pixels = decode(
                part.thumbnail, part.thumbnail_codec, closed.header.pixel_format, width=rect.width, height=rect.height
            )
        except BadMessage:
            continue  # stays black
        painted.append((rect, pixels))
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
