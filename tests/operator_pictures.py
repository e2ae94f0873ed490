"""The picture of an operator's page: left the frame, right what its pipeline makes of it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import cv2
import msgspec
import numpy as np
import skimage.data
from numpy.typing import NDArray

from streamproc.aggregator.assembly import ClosedFrame
from streamproc.aggregator.merging import detected, summarise
from streamproc.aggregator.recognition import FrameView, merge_frame
from streamproc.aggregator.seams import unpack
from streamproc.aggregator.whole import WholeSteps
from streamproc.model import Boxes, Features, Grid, Histogram, Occurrence, Patch, Pixels, Points
from streamproc.operators.drawing import PALETTE, draw_boxes, draw_points, in_colour, overlay_edges
from streamproc.operators.pipeline import Pipeline, Step, Work
from streamproc.operators.points import unpack_points
from streamproc.operators.stitching import stitch
from streamproc.operators.table import Params
from streamproc.operators.tiling import join, split
from tests.features import features
from tests.operator_panels import PANEL, bars, captioned, heat, shortened, swatches, table, written
from tests.operator_scenes import FPS

GAP: Final = 8
GRID: Final = Grid(2, 2)
LINE: Final = (60, 60, 230)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pipeline made of its frames.

    Attributes:
        frame: The last one.
        given: The pixels that the last step took, where it takes pixels.
        found: Its result on the last frame: merged, finished; edges as a mask.
        params: Of the last step.
        below: The result of the step it takes, where it takes what another one found.
        told: What the event says of the step.
        occurrences: What happened on all frames.
    """

    frame: Pixels
    given: NDArray[Any]
    found: Any
    params: Params
    below: Any
    told: Mapping[str, Any]
    occurrences: Sequence[Occurrence]


def outcome(pipeline: Pipeline, frames: Sequence[Pixels]) -> Outcome:
    """Run a pipeline on frames as it runs on a stream: on tiles, merged, and on whole frames in order."""
    steps, last = Recorder(pipeline), pipeline.steps[-1]
    occurrences: list[Occurrence] = []
    for sequence, frame in enumerate(frames):
        view: FrameView = merge_frame(_closed(pipeline, frame, sequence), steps)
        if view.skipped:
            raise ValueError(f"{pipeline.name}: {view.features}")
        occurrences += [one for step, one in view.occurrences if step == last.name]
    found, below = (steps.found.get(name) for name in (last.name, last.input))
    told = view.features.get(last.name, {"classification": view.classification} if view.classification else {})
    if isinstance(found, np.ndarray):
        found = unpack(found, frames[-1].shape[1])
    return Outcome(
        frame=frames[-1],
        given=_given(pipeline, last, frames[-1]),
        found=found,
        params=last.parameters,
        below=below,
        told=told,
        occurrences=occurrences,
    )


class Recorder(WholeSteps):
    """The steps on whole frames, with what all steps gave on the last one."""

    def run(self, closed: ClosedFrame, merged: Mapping[str, Any], patches: Mapping[str, list[Patch]]) -> Any:
        whole = super().run(closed, merged, patches)
        self.found: dict[str, Any] = {**merged, **whole.results}
        return whole


def _closed(pipeline: Pipeline, frame: Pixels, sequence: int) -> ClosedFrame:
    height, width = frame.shape[:2]
    parts: list[Features] = []
    for index, window in enumerate(split(frame, GRID, pipeline.halo)):
        captured_ns = 1_700_000_000_000_000_000 + sequence * 10**9 // FPS
        part = features(index=index, grid=GRID, width=width, height=height, sequence=sequence, captured_ns=captured_ns)
        parts.append(msgspec.structs.replace(part, results=pipeline.run(window, sequence)))
    return ClosedFrame(
        header=parts[0].tile,
        outcome="complete",
        parts=tuple(parts),
        missing=(),
        tiles={},  # type: ignore[arg-type]  # counted elsewhere
        reason=None,
        arrived_s=0.0,
        pipeline=pipeline.digest,
        evidence=tuple(parts),
    )


def _given(pipeline: Pipeline, step: Step, frame: Pixels) -> NDArray[Any]:
    """The pixels that a step takes: from tiles if all before it works on tiles."""
    chain = list(pipeline.chain(step))[1:]
    if any(link.operator.kind != "transform" for link in chain):
        return frame
    if all(link.on == "tile" for link in chain):
        height, width = frame.shape[:2]
        windows = split(frame, GRID, sum(link.halo for link in chain))
        taken = [Work(pipeline, window).patch(step.input) for window in windows]
        return join(
            [(window.core, _pixels(patch)) for window, patch in zip(windows, taken, strict=True)], width, height
        )
    (window,) = split(frame, Grid(1, 1), 0)
    return Work(pipeline, window).window(step).pixels


def _pixels(patch: Patch) -> NDArray[Any]:
    shape = (patch.core.height, patch.core.width, *([3] if patch.channels else []))
    return np.frombuffer(patch.data, np.uint8 if patch.kind == "u1" else "<f4").reshape(shape)


# --- drawing --------------------------------------------------------------------------------------------------


def draw(name: str, transform: bool, seen: Outcome) -> Pixels:
    """Frame and result side by side, 640 x 237 pixels, BGR."""
    return beside(in_colour(seen.frame), shown(seen.given) if transform else result(name, seen))


def beside(*pictures: Pixels) -> Pixels:
    """Two pictures on white, to one scale, 640 x 237 pixels."""
    largest = [max(picture.shape[axis] for picture in pictures) for axis in (1, 0)]
    scale = min(PANEL[0] / largest[0], PANEL[1] / largest[1])
    canvas = np.full((PANEL[1], 2 * PANEL[0] + GAP, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        factor = 1.0 if picture.shape[:2] == PANEL[::-1] else scale
        put = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        height, width = min(put.shape[0], PANEL[1]), min(put.shape[1], PANEL[0])
        x = index * (PANEL[0] + GAP) + (PANEL[0] - width) // 2
        y = (PANEL[1] - height) // 2
        canvas[y : y + height, x : x + width] = put[:height, :width]
    return canvas


def stitched() -> Pixels:
    """Left three pictures that overlap by a third, right what they are joined into."""
    whole = np.ascontiguousarray(skimage.data.astronaut()[100:400, :, ::-1])  # type: ignore[no-untyped-call]
    views = [np.ascontiguousarray(whole[:, x : x + 220]) for x in (0, 146, 292)]
    gap = np.full((whole.shape[0], 12, 3), 255, np.uint8)
    left = np.hstack([views[0], gap, views[1], gap, views[2]])
    return beside(np.asarray(left, np.uint8), stitch(views).pixels)


def shown(pixels: NDArray[Any]) -> Pixels:
    """Pixels of any kind as BGR; floats brightened so that their largest is white."""
    if pixels.dtype == np.uint8:
        return in_colour(cast("Pixels", pixels))
    bright = pixels / max(float(np.quantile(pixels, 0.995)), 1e-6)
    return in_colour(np.clip(bright * 255, 0, 255).astype(np.uint8))


def result(name: str, seen: Outcome) -> Pixels:
    """What a measure or a follower found, drawn or told."""
    if name in ABOUT_BOXES:
        return _told_below(_places(seen), seen)
    match seen.found:
        case np.ndarray():
            return overlay_edges(seen.frame, seen.found)
        case Points() if name == "blob":
            return _spots(seen.frame, seen.found)
        case Points():
            return draw_points(seen.frame, seen.found)
        case Boxes():
            return _boxes(seen.frame, seen.found, name)
        case Histogram():
            return bars([[float(count) for count in row] for row in seen.found.counts])
        case _:
            return _figures(name, seen)


ABOUT_BOXES: Final = frozenset({"line_crossing", "zone", "count"})


def _places(seen: Outcome) -> Pixels:
    """The tracks, and the line or the zone that they are held against."""
    picture = _boxes(seen.frame, seen.below, "track")
    for path in (value for value in seen.params.values() if isinstance(value, tuple)):
        corners = np.rint(np.array(path)).astype(np.int32)
        cv2.polylines(picture, [corners], len(path) > 2, (0, 230, 255), 2, cv2.LINE_AA)
    return picture


def _told_below(picture: Pixels, seen: Outcome) -> Pixels:
    words = ", ".join(f"{key}: {shortened(value)}" for key, value in seen.told.items())
    return captioned(picture, words)


PANELS: Final[dict[str, Callable[[Mapping[str, Any]], Pixels]]] = {
    "dct": lambda told: heat(np.log10(np.array(told["energy"]) + 1e-3)),
    "dft": lambda told: bars([told["profile"]]),
    "hog": lambda told: bars([told["orientations"]]),
    "kmeans": lambda told: swatches(told["centres"], told["shares"]),
    "compression_report": table,
    "classify": lambda told: written([f"{one['label']}: {one['score']:.3f}" for one in told["classification"]]),
}


def _figures(name: str, seen: Outcome) -> Pixels:
    if name in PANELS:
        return PANELS[name](seen.told)
    if name in {"optical_flow", "sparse_flow"}:
        return _told_below(_places_told(name, seen), seen)
    return _places_told(name, seen) if name in PLACED else written(event_lines(seen))


BOXED: Final = frozenset({"mser", "contours", "connected_components", "watershed"})
PLACED: Final = BOXED | {"hough_lines", "hough_lines_standard", "hough_circles", "grabcut", "moments"}


def _places_told(name: str, seen: Outcome) -> Pixels:
    told, picture = seen.told, in_colour(seen.frame)
    match name:
        case "hough_lines":
            for x1, y1, x2, y2 in told["lines"]:
                cv2.line(picture, (x1, y1), (x2, y2), LINE, 2, cv2.LINE_AA)
        case "hough_lines_standard":
            for distance, degrees, _ in told["lines"]:
                _endless(picture, distance, math.radians(degrees))
        case "hough_circles":
            for x, y, radius in told["circles"]:
                cv2.circle(picture, (round(x), round(y)), round(radius), LINE, 2, cv2.LINE_AA)
        case "moments":
            _axis(picture, told["centroid"], math.radians(told["orientation_deg"]), 130)
        case "optical_flow" | "sparse_flow":
            centre = (picture.shape[1] // 2, picture.shape[0] // 2)
            tip = (round(centre[0] + 12 * told["dx"]), round(centre[1] + 12 * told["dy"]))
            cv2.arrowedLine(picture, centre, tip, LINE, 3, cv2.LINE_AA)
        case _:
            for index, (x1, y1, x2, y2) in enumerate(told["boxes"] if name in BOXED else [told["box"]]):
                cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), PALETTE[index % len(PALETTE)], 2)
    return picture


def _boxes(picture: Pixels, boxes: Boxes, source: str) -> Pixels:
    found = detected(boxes, source=source)
    picture = in_colour(picture)
    for one in found:
        left, top, right, bottom = (round(value) for value in one.box)
        colour = PALETTE[zlib.crc32(one.label.encode()) % len(PALETTE)]
        cv2.rectangle(picture, (left, top), (right, bottom), colour, 3)
    return draw_boxes(picture, found)


def _spots(picture: Pixels, points: Points) -> Pixels:
    """Points whose response is their diameter."""
    picture = in_colour(picture)
    for (x, y), diameter in zip(*unpack_points(points)[:2], strict=True):
        cv2.circle(picture, (round(float(x)), round(float(y))), round(float(diameter) / 2), LINE, 2, cv2.LINE_AA)
    return picture


def _endless(picture: Pixels, distance: float, angle: float) -> None:
    normal, along = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    first, second = (np.rint(distance * normal + far * along).astype(int).tolist() for far in (-1000, 1000))
    cv2.line(picture, tuple(first), tuple(second), LINE, 2, cv2.LINE_AA)


def _axis(picture: Pixels, centre: Sequence[float], angle: float, length: int) -> None:
    dx, dy = length * math.cos(angle), length * math.sin(angle)
    first, last = ((round(centre[0] + sign * dx), round(centre[1] + sign * dy)) for sign in (-1, 1))
    cv2.line(picture, first, last, LINE, 2, cv2.LINE_AA)
    cv2.circle(picture, (round(centre[0]), round(centre[1])), 5, LINE, -1, cv2.LINE_AA)


def event_lines(seen: Outcome) -> list[str]:
    """What the event says of the step, and what has happened so far."""
    told = seen.told or (summarise(seen.found) if seen.found is not None else {})
    lines = [f"{key}: {shortened(value)}" for key, value in told.items()]
    for one in seen.occurrences:
        data = {key: value for key, value in one.data.items() if key in {"value", "angle", "lasted_s", "box"}}
        lines.append(f"event {one.kind} {one.what} {one.subject} {shortened(data)}")
    return lines


def write(path: Path, picture: Pixels) -> None:
    """Write a JPEG."""
    path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
