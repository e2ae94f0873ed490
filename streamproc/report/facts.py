"""Events as plain facts, read leniently: a report must also show what is incomplete, old or odd."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamproc.model import OUTCOMES
from streamproc.report.values import CloudEvent

FRAME_TYPE = "io.streamproc.frame.v1"
TOO_FAR = 1e5  # pixels, for the end of a line: no frame is so wide
TOO_LARGE = 1e15  # for anything an event tells in a fraction; beyond, plots overflow
_DRAWN = frozenset({"points", "density", "counts"})  # of features that are shown otherwise, or are too long to be
_SHORT = 4
FrameId: TypeAlias = tuple[str, str, int]
"""Camera, run, sequence."""
Point: TypeAlias = tuple[float, float, float]
"""x, y in pixels of the frame, and the response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One recognised object; `box` is x1, y1, x2, y2 in pixels of the frame, None if the event has none."""

    label: str
    score: float
    box: tuple[float, float, float, float] | None
    track: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeFact:
    """What an event says of the frame's edges."""

    operator: str
    pixels: int
    density: float
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """One frame event. Times that are not known are 0, latencies that are not known are absent."""

    camera: str
    run: str
    sequence: int
    outcome: str
    reason: str
    captured_ns: int
    emitted_ns: int
    width: int
    height: int
    coverage: float
    missing: tuple[tuple[int, int], ...]
    edges: EdgeFact | None
    objects: tuple[Thing, ...]
    classification: tuple[Thing, ...]
    hops: Mapping[str, float]
    total_ms: float | None
    event: CloudEvent

    @property
    def key(self) -> FrameId:
        """Which frame."""
        return (self.camera, self.run, self.sequence)


def frame_facts(events: Iterable[CloudEvent]) -> list[Facts]:
    """Facts of the frame events among `events`, by camera, run and sequence."""
    return sorted((facts_of(event) for event in events if is_frame(event)), key=lambda facts: facts.key)


def is_frame(event: CloudEvent) -> bool:
    """Whether an event tells what became of a frame."""
    return bool(event.get("type", FRAME_TYPE) == FRAME_TYPE)


def facts_of(event: CloudEvent) -> Facts:
    """Read one frame event; whatever is missing or of another type is left out, never an error."""
    data = mapping(event.get("data"))
    latency = {str(name): number(value) for name, value in mapping(data.get("latency_ms")).items()}
    total = latency.pop("total", None)
    outcome = str(data.get("outcome"))
    return Facts(
        camera=str(data.get("camera", "")),
        run=str(data.get("run", "")),
        sequence=whole(data.get("sequence")),
        outcome=outcome if outcome in OUTCOMES else "unknown",
        reason=str(data.get("reason") or ""),
        captured_ns=whole(data.get("captured_ns")),
        emitted_ns=whole(data.get("emitted_ns")),
        width=whole(data.get("width")),
        height=whole(data.get("height")),
        coverage=number(data.get("coverage")) or 0.0,
        missing=tuple(_missing(data.get("missing_tiles"))),
        edges=_edges(data.get("edges")),
        objects=tuple(_things(data.get("objects"))),
        classification=tuple(_things(data.get("classification"))),
        hops={name: max(0.0, value) for name, value in latency.items() if value is not None},
        total_ms=None if total is None else max(0.0, total),
        event=event,
    )


def points_of(facts: Facts) -> dict[str, list[Point]]:
    """Points of each feature that has some, strongest first as the event has them."""
    found: dict[str, list[Point]] = {}
    for name, feature in mapping(mapping(facts.event.get("data")).get("features")).items():
        points = [point for point in map(_point, _items(mapping(feature).get("points"))) if point is not None]
        if points:
            found[str(name)] = points
    return found


def feature_counts(facts: Facts) -> dict[str, int]:
    """How many points each feature found: its `count`, for an event lists the strongest alone."""
    counts: dict[str, int] = {}
    for name, feature in mapping(mapping(facts.event.get("data")).get("features")).items():
        about = mapping(feature)
        if "points" in about:
            counts[str(name)] = whole(about.get("count")) or len(_items(about.get("points")))
    return counts


def segments_of(facts: Facts) -> dict[str, list[tuple[float, float, float, float]]]:
    """Pieces of straight lines of each step that tells some: x1, y1, x2, y2 in pixels of the frame."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for name, feature in mapping(mapping(facts.event.get("data")).get("features")).items():
        rows = [[number(end) for end in _items(one)] for one in _items(mapping(feature).get("lines"))]
        known = [[end for end in row if end is not None] for row in rows if len(row) == 4]
        pieces = [(row[0], row[1], row[2], row[3]) for row in known if len(row) == 4 and max(map(abs, row)) < TOO_FAR]
        if pieces:
            found[str(name)] = pieces
    return found


def figures_of(facts: Facts) -> dict[str, dict[str, str]]:
    """Named figures of each step that gives nothing else: numbers, words and short lists of them, as text."""
    found: dict[str, dict[str, str]] = {}
    for name, feature in mapping(mapping(facts.event.get("data")).get("features")).items():
        about = mapping(feature)
        if _DRAWN.isdisjoint(about):
            told = {str(key): _figure(value) for key, value in about.items()}
            found[str(name)] = {key: figure for key, figure in told.items() if figure}
    return {name: figures for name, figures in found.items() if figures}


def evidence_of(facts: Facts) -> dict[str, Any]:
    """Topic, offsets by partition, pipeline digest and operator versions, as lists of pairs for a page."""
    evidence = mapping(mapping(facts.event.get("data")).get("evidence"))
    offsets = mapping(evidence.get("offsets"))
    ranges = {str(partition): _items(span) for partition, span in offsets.items()}
    return {
        "topic": str(evidence.get("topic", "")),
        "offsets": [
            (partition, *(map(whole, span)))
            for partition, span in sorted(ranges.items(), key=_by_number)
            if len(span) == 2
        ],
        "pipeline": str(evidence.get("pipeline", "")),
        "operators": [(str(name), str(version)) for name, version in mapping(evidence.get("operators")).items()],
    }


def _by_number(item: tuple[str, object]) -> tuple[int, str]:
    return (int(item[0]) if item[0].isdecimal() else 0, item[0])


def _figure(value: object) -> str:
    if isinstance(value, (list, tuple)):
        told = [_figure(one) for one in value] if len(value) <= _SHORT else []
        flat = all(told) and not any(isinstance(one, (list, tuple)) for one in value)
        return ", ".join(told) if flat else ""
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    found = number(value)
    if found is None:
        return ""
    return f"{int(found):,}" if found.is_integer() else f"{found:.5g}"


def _point(value: object) -> Point | None:
    numbers = [number(one) for one in _items(value)[:3]]
    if len(numbers) < 2 or numbers[0] is None or numbers[1] is None:
        return None
    return (numbers[0], numbers[1], (numbers[2] if len(numbers) > 2 else None) or 0.0)


def _edges(value: object) -> EdgeFact | None:
    about = mapping(value)
    if not about:
        return None
    return EdgeFact(
        operator=str(about.get("operator", "")),
        pixels=whole(about.get("pixels")),
        density=number(about.get("density")) or 0.0,
        digest=str(about.get("digest", "")),
    )


def _things(value: object) -> Iterator[Thing]:
    for one in map(mapping, _items(value)):
        corners = [number(corner) for corner in _items(one.get("box"))]
        known = [corner for corner in corners if corner is not None]
        track = one.get("track")
        yield Thing(
            label=str(one.get("label", "")),
            score=number(one.get("score")) or 0.0,
            box=(known[0], known[1], known[2], known[3]) if len(known) == len(corners) == 4 else None,
            track=None if track is None else str(track),
            source=str(one.get("source", "")),
        )


def _missing(value: object) -> Iterator[tuple[int, int]]:
    for one in map(_items, _items(value)):
        if len(one) == 2:
            yield (whole(one[0]), whole(one[1]))


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def number(value: object) -> float | None:
    """The value if it is a number that plots can bear, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < TOO_LARGE else None


def whole(value: object) -> int:
    """The value as a whole number of 64 bits; 0 if it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else 0
    return int(number(value) or 0)
