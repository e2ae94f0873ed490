"""The picture of an event: its pixels with what was found, and in words below it where that came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from streamproc.cloudevents import event_time
from streamproc.evidence.frames import Sight
from streamproc.evidence.store import Told
from streamproc.model import DetectedObject, Pixels, Rect
from streamproc.operators import drawing

LEAST_WIDTH: Final = 640  # so that the words below can be read
MAX_OBJECTS: Final = 1000
MAX_BLANK_PX: Final = 8192  # side of a ground without pixels: a frame may be refused for the size that it claims
TOLD_COLOUR: Final = (60, 220, 255)


def objects_of(data: Mapping[str, Any]) -> list[DetectedObject]:
    """The objects of a frame event that have a box of four numbers."""
    found = []
    for one in data.get("objects", ())[:MAX_OBJECTS]:
        box: Any = one.get("box") or ()
        if len(box) == 4 and all(isinstance(side, int | float) for side in box):
            score = one.get("score")
            found.append(
                DetectedObject(
                    label=str(one.get("label")),
                    score=score if isinstance(score, int | float) else 0.0,
                    box=(box[0], box[1], box[2], box[3]),
                    track=one.get("track"),
                    source=str(one.get("source")),
                )
            )
    return found


def marks_of(happened: Sequence[Mapping[str, Any]]) -> list[drawing.Mark]:
    """Boxes of what happened on a frame."""
    marks = []
    for event in happened:
        about = event["data"]
        box: Any = about.get("data", {}).get("box") or ()
        if len(box) == 4 and all(isinstance(side, int | float) for side in box):
            words = f"{about['step']}: {about['what']}"
            marks.append(
                drawing.Mark(
                    box=(box[0], box[1], box[2], box[3]), words=words, colour=TOLD_COLOUR, line_px=3, below=True
                )
            )
    return marks


def draw_sight(sight: Sight, told: Told, *, edges: Pixels | None = None) -> Pixels:
    """Draw what is left of a frame: edges, missing tiles crossed out, boxes, tracks, what happened.

    Args:
        sight: Pixels; none at all give a dark ground, so that the boxes can be seen.
        told: The frame's events.
        edges: (rows, cols) 0 or 255.

    Returns:
        (rows, cols, 3) of the frame's size.
    """
    data = told.data
    if sight.seen is None:
        height, width = (min(max(1, int(data[side])), MAX_BLANK_PX) for side in ("height", "width"))
        pixels = np.full((height, width, 3), drawing.UNKNOWN_GRAY, np.uint8)
    else:
        pixels = drawing.in_colour(sight.seen.pixels)
    missing = [tile.core for tile in sight.lost if tile.core is not None]
    if sight.seen is None:
        missing = [Rect(0, 0, pixels.shape[1], pixels.shape[0])]
    for core in missing:
        pixels[core.y : core.bottom, core.x : core.right] = drawing.UNKNOWN_GRAY
    if edges is not None:
        pixels[edges > 0] = drawing.EDGE
    pixels = drawing.draw_grid(pixels, (), missing) if missing else pixels
    return drawing.draw_marks(drawing.draw_boxes(pixels, objects_of(data)), marks_of(told.happened))


def with_words(picture: Pixels, lines: Sequence[str]) -> Pixels:
    """Add words below a picture; one that is narrower than they need stands on a wider ground."""
    height, width = picture.shape[:2]
    if width < LEAST_WIDTH:
        wide = np.full((height, LEAST_WIDTH, 3), drawing.GROUND, np.uint8)
        wide[:, (LEAST_WIDTH - width) // 2 : (LEAST_WIDTH - width) // 2 + width] = picture
        picture = wide
    return drawing.caption(picture, lines)


def words_of(event: Mapping[str, Any], told: Told, sight: Sight) -> list[str]:
    """What stands below the picture of an event: which, when, what became of it, where it came from."""
    data = told.data
    evidence = data["evidence"]
    missing = f", {len(sight.lost)} tiles are not here" if sight.lost else ""
    pixels = "pixels: " + (", ".join(sight.places) if sight.places else "gone") + missing
    about = event["data"]
    happening = f", {about['step']}: {about['what']} {about.get('subject', '')}" if "what" in about else ""
    return [
        f"event {event['id']} ({str(event['type']).removeprefix('io.streamproc.')}{happening})",
        f"{data['camera']}/{data['run']}/{data['sequence']}  captured {event_time(data['captured_ns'])}"
        f"  {data['outcome']}, {100 * data['coverage']:.0f} % of the frame, objects: {len(data['objects'])}",
        f"{evidence['topic']} {offsets_text(evidence['offsets'])}  pipeline {evidence['pipeline']}",
        pixels,
    ]


def offsets_text(offsets: Mapping[str, Sequence[int]]) -> str:
    """Offsets by partition: "[3] 100-102, [4] 98"."""
    spans = sorted((int(partition), span) for partition, span in offsets.items())
    return ", ".join(f"[{number}] {first}" + (f"-{last}" if last != first else "") for number, (first, last) in spans)
