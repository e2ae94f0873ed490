"""Rules about tracks: a line that is crossed, a zone that is entered and left, how many there are.

A rule knows a track by its name as long as it has seen it within the last `lost_frames` frames; after that the track
is gone. Frames without tracks (tiles are missing) change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np

from streamproc.errors import PipelineError
from streamproc.model import Boxes, Figures, Occurrence
from streamproc.operators.boxes import unpack_boxes
from streamproc.operators.stream_time import Moment, advance, fps_parameter
from streamproc.operators.table import Memory, Operator, Parameter, Params, Path2D, Scene, Sighting

MAX_SIDE_PX: Final = 65_535
LEAST_AREA_PX: Final = 0.25
MAX_KNOWN: Final = 500  # tracks that a rule remembers; the longest unseen are forgotten first
KIND: Final = "rule"
LEFT_TO_RIGHT, RIGHT_TO_LEFT = "left-to-right", "right-to-left"
BOTH: Final = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a track stands on a frame: its anchor in pixels."""

    track: str
    label: str
    x: float
    y: float

    @property
    def data(self) -> dict[str, Any]:
        """For an event."""
        return {"label": self.label, "point": [round(self.x, 2), round(self.y, 2)]}


def line_crossing(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Count tracks that cross a line, by direction.

    Left and right are as seen by somebody who walks along the line from its first corner to its second, on the
    picture as it is shown: with the line [[0, 100], [200, 100]] what comes down the picture goes left-to-right. A
    crossing counts when the anchor has been more than `margin_px` on one side and then is on the other, and its way
    between, place by place and straight from each to the next, has led through the line between its ends more often
    in this direction than back. So standing on the line counts nothing, crossing it slowly counts once, and going
    around its end never counts, however near the end; to meet the very end is to meet the line.

    Args:
        scene: Tracks, or None.
        memory: Of each track its last clear side, its last place and how often it has been through since; the counts;
            plain values.
        params: `line`, its two ends, pixels, not one point; `direction` that is counted; `label`, text, of the tracks
            that count, empty for all; `anchor` of a box; `margin_px`; `lost_frames`.

    Returns:
        Figures `left_to_right` and `right_to_left`: crossings so far in this run. Occurrences "rule", "crossed",
        subject the track; their data: `label`, `point` (the anchor), `direction`, and the counts.

    Raises:
        BadMessage: Boxes whose parts do not fit each other.
    """
    counts: dict[str, int] = memory.setdefault("counts", {LEFT_TO_RIGHT: 0, RIGHT_TO_LEFT: 0})
    known: dict[str, list[Any]] = memory.setdefault("known", {})
    crossed: list[Occurrence] = []
    for one in _standing(scene, params) or ():
        direction = _direction(known, one, scene.sequence, params)
        if direction and params["direction"] in {direction, BOTH}:
            counts[direction] += 1
            crossed.append(_happened("crossed", one.track, {**one.data, "direction": direction}))
    _forget(known, scene, params)
    told = {name.replace("-", "_"): count for name, count in counts.items()}
    for occurrence in crossed:
        occurrence.data.update(told)
    return Sighting(result=Figures(values=told), occurrences=tuple(crossed))


def _direction(known: dict[str, list[Any]], one: Standing, sequence: int, params: Params) -> str:
    """Remember where a track stands now; the direction in which it has just crossed the line, or nothing."""
    line, margin_px = params["line"], float(params["margin_px"])
    distance = _distance(line, one.x, one.y)
    side = 0 if abs(distance) <= margin_px else (1 if distance > 0 else -1)
    before = known.pop(one.track, None)
    if before is None:
        if side:
            known[one.track] = [sequence, side, one.x, one.y, 0]
        return ""
    _, clear_side, x, y, through = before
    through += _through(line, (x, y), (one.x, one.y))
    known[one.track] = [sequence, side or clear_side, one.x, one.y, 0 if side else through]
    if side in {0, clear_side} or through * side <= 0:
        return ""
    return LEFT_TO_RIGHT if side > 0 else RIGHT_TO_LEFT


def zone(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Tell which tracks enter a zone, stay in it and leave it.

    A track is inside once its anchor is more than `margin_px` inside the polygon, and outside once it is that far
    outside; a track that is first seen inside enters. `dwell` is told once for each stay.

    A rule sees where tracks are, not that they end. One that is no longer seen is taken to be inside still, and leaves,
    as lost, when `lost_frames` frames have passed since it was last seen: so many frames after it went, and later than
    its track's own event "end" where `track` gives it up sooner. A stay that is open when the run ends has no "leave";
    `inside` of the last frame counts these.

    Args:
        scene: Tracks, or None.
        memory: The tracks inside, and the counts; plain values.
        params: `polygon`, its corners in order, pixels, sides that do not cross; `dwell_s`, seconds of stream time, 0
            for never; `label`, text, of the tracks that count, empty for all; `anchor` of a box; `margin_px`;
            `lost_frames`; `fps`.

    Returns:
        Figures `inside` now; `entered`, `left`, `dwelled` so far in this run. Occurrences "rule", "enter", "dwell" and
        "leave", subject the track; their data: `label`, `point` (the anchor), `inside` and, but for "enter",
        `stayed_s` and `lost` (the track has gone without being seen to leave).

    Raises:
        BadMessage: Boxes whose parts do not fit each other.
    """
    moment = advance(memory, scene, params)
    inside: dict[str, dict[str, Any]] = memory.setdefault("inside", {})
    happened: list[tuple[str, str, dict[str, Any]]] = []
    polygon = np.array(params["polygon"], np.float32).reshape(-1, 1, 2)
    for one in _standing(scene, params) or ():
        depth = float(cv2.pointPolygonTest(polygon, (one.x, one.y), measureDist=True))
        stay = inside.get(one.track)
        if stay is None:
            if depth > float(params["margin_px"]) and len(inside) < MAX_KNOWN:
                inside[one.track] = {
                    "since_s": moment.now_s,
                    "dwelled": False,
                    "seen": [scene.sequence, moment.now_s],
                    **one.data,
                }
                happened.append(("enter", one.track, one.data))
            continue
        stay |= {"seen": [scene.sequence, moment.now_s], **one.data}
        stayed = {**one.data, "stayed_s": round(moment.since(stay["since_s"]), 3), "lost": False}
        if depth < -float(params["margin_px"]):
            del inside[one.track]
            happened.append(("leave", one.track, stayed))
        elif not stay["dwelled"] and 0 < float(params["dwell_s"]) <= moment.since(stay["since_s"]):
            stay["dwelled"] = True
            happened.append(("dwell", one.track, stayed))
    happened += _lost(inside, scene, params)
    return _zone_sighting(memory, happened)


def _lost(inside: dict[str, dict[str, Any]], scene: Scene, params: Params) -> list[tuple[str, str, dict[str, Any]]]:
    """Take out the tracks that have gone."""
    gone = [name for name, stay in inside.items() if scene.sequence - stay["seen"][0] > int(params["lost_frames"])]
    happened: list[tuple[str, str, dict[str, Any]]] = []
    for name in gone:
        stay = inside.pop(name)
        stayed_s = round(stay["seen"][1] - stay["since_s"], 3)
        data = {"label": stay["label"], "point": stay["point"], "stayed_s": stayed_s, "lost": True}
        happened.append(("leave", name, data))
    return happened


def _zone_sighting(memory: Memory, happened: list[tuple[str, str, dict[str, Any]]]) -> Sighting:
    counts: dict[str, int] = memory.setdefault("counts", {"entered": 0, "left": 0, "dwelled": 0})
    for what, _, _ in happened:
        counts[{"enter": "entered", "leave": "left", "dwell": "dwelled"}[what]] += 1
    now = {"inside": len(memory["inside"])}
    occurrences = tuple(_happened(what, track, {**data, **now}) for what, track, data in happened)
    return Sighting(result=Figures(values={**now, **counts}), occurrences=occurrences)


def count(scene: Scene, memory: Memory, params: Params) -> Sighting:
    """Count the tracks: at the moment and, each one once, so far.

    With a `limit`, an event tells when more tracks than that have been there for `hold_s` seconds, and when so many or
    fewer have been there again for as long.

    Args:
        scene: Tracks, or None.
        memory: Names of tracks of late, and the counts; plain values.
        params: `limit`, tracks that may be there at once, 0 for no limit; `hold_s`, seconds of stream time; `label`,
            text, of the tracks that count, empty for all; `lost_frames`; `fps`.

    Returns:
        Figures `now` and `unique` so far in this run. Occurrences "rule", "above" and "below", without subject;
        their data: `now`, `limit`, `unique`.

    Raises:
        BadMessage: Boxes whose parts do not fit each other.
    """
    moment = advance(memory, scene, params)
    known: dict[str, list[Any]] = memory.setdefault("known", {})
    standing = _standing(scene, params)
    if standing is not None:
        memory["now"] = len(standing)
        memory["unique"] = memory.get("unique", 0) + sum(one.track not in known for one in standing)
        for one in standing:
            known.pop(one.track, None)
            known[one.track] = [scene.sequence]
    _forget(known, scene, params)
    told = {"now": memory.get("now", 0), "unique": memory.get("unique", 0)}
    happened: tuple[Occurrence, ...] = ()
    if standing is not None and _turned(memory, told["now"] > int(params["limit"]) > 0, moment, params):
        what = "above" if memory["above"] else "below"
        happened = (_happened(what, "", {**told, "limit": int(params["limit"])}),)
    return Sighting(result=Figures(values=told), occurrences=happened)


def _turned(memory: Memory, above: bool, moment: Moment, params: Params) -> bool:
    """Say whether the count has just passed the limit, for long enough."""
    if above == memory.setdefault("above", False):
        memory["since_s"] = None
        return False
    if memory.get("since_s") is None:
        memory["since_s"] = moment.now_s
    if moment.since(memory["since_s"]) < float(params["hold_s"]):
        return False
    memory["above"], memory["since_s"] = above, None
    return True


# --- places ---------------------------------------------------------------------------------------------------


def _standing(scene: Scene, params: Params) -> list[Standing] | None:
    """Where the tracks of a frame stand, those of the label; None if nothing is known of the frame."""
    if not isinstance(scene.found, Boxes):
        return None
    corners, _ = unpack_boxes(scene.found)
    labels = scene.found.labels or [scene.found.label] * len(corners)
    wanted, bottom = str(params["label"]), params.get("anchor") == "bottom"
    return [
        Standing(track=track, label=label, x=(x1 + x2) / 2, y=y2 if bottom else (y1 + y2) / 2)
        for track, label, (x1, y1, x2, y2) in zip(scene.found.tracks, labels, corners.tolist(), strict=False)
        if wanted in {"", label} and track
    ]


def _distance(line: Path2D, x: float, y: float) -> float:
    """Pixels from the straight line through both ends; positive on its right."""
    (ax, ay), (bx, by) = line
    return ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / (float(np.hypot(bx - ax, by - ay)) or 1.0)


def _through(line: Path2D, before: tuple[float, float], now: tuple[float, float]) -> int:
    """1 if the straight way between two places leads through the line to its right, -1 to its left, 0 if it does not.

    A place on the line itself belongs to the left, so that a way with a corner there is through once.
    """
    sides = [_distance(line, *place) > 0 for place in (before, now)]
    if sides[0] == sides[1]:
        return 0
    (px, py), (qx, qy) = before, now
    first, second = ((qx - px) * (y - py) - (qy - py) * (x - px) for x, y in line)
    return 0 if first * second > 0 else (1 if sides[1] else -1)


def _forget(known: dict[str, list[Any]], scene: Scene, params: Params) -> None:
    """Drop tracks that have gone; `known` is in the order of when they were last seen."""
    gone = [name for name, entry in known.items() if scene.sequence - entry[0] > int(params["lost_frames"])]
    for name in [*gone, *list(known)[len(gone) : len(known) - MAX_KNOWN]]:
        known.pop(name, None)


def _happened(what: str, subject: str, data: dict[str, Any]) -> Occurrence:
    return Occurrence(kind=KIND, what=what, subject=subject, data=data)


_LABEL = Parameter(name="label", default="", label=True, meaning="of the tracks that count; empty: all")
_ANCHOR = Parameter(
    name="anchor",
    default="bottom",
    choices=("bottom", "center"),
    meaning="point of a box: middle of its base, or centre",
)
_MARGIN = Parameter(name="margin_px", default=2.0, low=0, high=1000, meaning="pixels to both sides that decide nothing")
_LOST = Parameter(name="lost_frames", default=50, low=1, high=10000, meaning="frames unseen, then a track is gone")


def check_line(params: Params) -> None:
    """Refuse a line that nothing can cross.

    Raises:
        PipelineError: Its ends are the same point, or lie beyond any frame.
    """
    (x1, y1), (x2, y2) = _within_frames(params["line"], "line")
    if abs(x1 - x2) + abs(y1 - y2) < 1:
        raise PipelineError(f"line: its ends must be different points, got {[[x1, y1], [x2, y2]]}")


def check_zone(params: Params) -> None:
    """Refuse a zone that has no inside.

    Raises:
        PipelineError: Its corners lie on one line, its sides cross, or they lie beyond any frame.
    """
    corners = _within_frames(params["polygon"], "polygon")
    if cv2.contourArea(np.asarray(corners, np.float32)) < LEAST_AREA_PX:
        raise PipelineError(f"polygon: its corners must enclose an area, got {[list(one) for one in corners]}")
    sides = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    for index, first in enumerate(sides):
        for other in sides[index + 2 : len(sides) - (index == 0)]:
            if _cross(first, other):
                raise PipelineError(f"polygon: its sides must not cross, {first} and {other} do: give corners in order")


def _within_frames(path: Path2D, name: str) -> Path2D:
    if any(abs(value) > MAX_SIDE_PX for point in path for value in point):
        raise PipelineError(f"{name}: corners are pixels of the frame, at most {MAX_SIDE_PX}, got {path}")
    return path


def _cross(first: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether two sides share a point other than by touching with their ends' neighbours."""

    def turn(a: Any, b: Any, c: Any) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    (a, b), (c, d) = first, other
    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


ROWS: tuple[Operator, ...] = (
    Operator(
        name="line_crossing",
        family="rules",
        kind="follower",
        run=line_crossing,
        check=check_line,
        accepts=("tracks",),
        scope="frame",
        durable=True,
        parameters=(
            Parameter(
                name="line", default=((0.0, 0.0), (1.0, 0.0)), low=2, high=2, required=True, meaning="its ends, pixels"
            ),
            Parameter(
                name="direction", default=BOTH, choices=(BOTH, LEFT_TO_RIGHT, RIGHT_TO_LEFT), meaning="which counts"
            ),
            _LABEL,
            _ANCHOR,
            _MARGIN,
            _LOST,
        ),
        meaning="tracks that cross a line, counted by direction, with events",
    ),
    Operator(
        name="zone",
        family="rules",
        kind="follower",
        run=zone,
        check=check_zone,
        accepts=("tracks",),
        scope="frame",
        durable=True,
        parameters=(
            Parameter(
                name="polygon",
                default=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),
                low=3,
                high=100,
                required=True,
                meaning="its corners in order, pixels",
            ),
            Parameter(name="dwell_s", default=0.0, low=0, high=86400, meaning="s inside that are told; 0: none"),
            _LABEL,
            _ANCHOR,
            _MARGIN,
            _LOST,
            fps_parameter(),
        ),
        meaning="tracks that enter a zone, stay in it and leave it, with events",
    ),
    Operator(
        name="count",
        family="rules",
        kind="follower",
        run=count,
        accepts=("tracks",),
        scope="frame",
        durable=True,
        parameters=(
            Parameter(
                name="limit", default=0, low=0, high=1000, meaning="tracks at once, above which is told; 0: none"
            ),
            Parameter(name="hold_s", default=0.5, low=0, high=3600, meaning="s that a count must last to be told"),
            _LABEL,
            _LOST,
            fps_parameter(),
        ),
        meaning="tracks at the moment and so far, with events at a limit",
    ),
)
