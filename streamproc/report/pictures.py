"""The pictures of a sampled frame: reduced, drawn on, encoded in so many bytes. No files, no pages."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamproc.model import Codec, DetectedObject, Pixels, Points, Rect
from streamproc.operators import drawing
from streamproc.operators.pixels import encode, thumbnail
from streamproc.report import text
from streamproc.report.facts import Facts, Point, feature_counts, points_of, segments_of
from streamproc.report.resize import mask_to_page, to_page
from streamproc.report.values import Sample

if TYPE_CHECKING:
    from streamproc.operators.pipeline import Pipeline

QUALITIES = (80, 65, 50, 35)
POINT_COLOURS: tuple[drawing.Colour, ...] = (drawing.POINT, (250, 220, 60), (200, 110, 255), (90, 240, 130))
HALO_COLOUR: drawing.Colour = drawing.GRID
HALO_SHARE = 0.35
OUTLINE_COLOUR: drawing.Colour = (60, 220, 255)
OUTLINE_PX = 2
DIMMED = 0.65  # the picture below points and boxes, so that they stand out
MOST_POINTS = 2_000  # of one feature; more hide the picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """One encoded picture with its words; without `data` the words stand in its place.

    Attributes:
        kind: Ends the name of its file: "original", "tiles", "edges" or "features".
        alt: What it shows, for who cannot see it.
        legend: (CSS colour, meaning).
    """

    kind: str
    title: str
    caption: str
    alt: str
    legend: Sequence[tuple[str, str]] = ()
    data: bytes = b""
    codec: Codec = "jpeg"
    width: int = 0
    height: int = 0

    @property
    def uri(self) -> str:
        """The picture as a `data:` address; empty without a picture."""
        return f"data:image/{self.codec};base64,{base64.b64encode(self.data).decode()}" if self.data else ""

    @property
    def suffix(self) -> str:
        """How the name of its file ends."""
        return ".jpg" if self.codec == "jpeg" else f".{self.codec}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A line or a closed outline that a rule watches.

    Attributes:
        name: Of the rule's step.
        path: Corners, x and y in pixels of the frame; of an outline the first one is the last one too.
    """

    name: str
    path: tuple[tuple[float, float], ...]


def outlines_of(pipeline: Pipeline) -> list[Outline]:
    """What the pipeline's rules watch."""
    found = []
    for step in pipeline.steps:
        line, polygon = (step.parameters.get(name) for name in ("line", "polygon"))
        if step.operator.family == "rules" and isinstance(line, tuple):
            found.append(Outline(name=step.name, path=line))
        if step.operator.family == "rules" and isinstance(polygon, tuple):
            found.append(Outline(name=step.name, path=(*polygon, polygon[0])))
    return found


def pictures_of(sample: Sample, facts: Facts, *, most_bytes: int, outlines: Sequence[Outline] = ()) -> list[Picture]:
    """Draw the four pictures of a frame: as it came, how it was cut, its edges, what was found.

    Args:
        sample: Pixels and tiles.
        facts: Of its event.
        most_bytes: Of each encoded picture.
        outlines: Drawn with what was found.

    Raises:
        BadPixels: The sample's pixels are no picture.
    """
    as_it_is = [one(sample, facts, most_bytes) for one in (_original, _tiles, _edges)]
    return [*as_it_is, _features(sample, facts, most_bytes, outlines)]


def _original(sample: Sample, facts: Facts, most_bytes: int) -> Picture:
    alt = f"Frame {facts.sequence} of {facts.camera}, put together again from its tiles"
    page = drawing.in_colour(to_page(sample.pixels))
    return _picture("original", "Original", "read back from Kafka", alt, page, "jpeg", most_bytes)


def _tiles(sample: Sample, facts: Facts, most_bytes: int) -> Picture:
    page = to_page(sample.pixels)
    scale = _scale(sample.pixels, page)
    missing = _missing_cores(sample.cores, facts)
    picture = drawing.in_colour(page)
    has_halo = sample.halo > 0 and len(sample.cores) > 1
    if has_halo:
        picture = _shade_halo(picture, sample, _middle(sample.cores, sample.pixels), scale)
    drawn = drawing.draw_grid(picture, _thick(_scaled(sample.cores, scale)), _thick(_scaled(missing, scale)))
    tiles = text.plural(len(sample.cores), "tile")
    caption = tiles + (f", {len(missing):,} missing (crossed out)" if missing else "")
    caption += f"; shaded: the {sample.halo} px of halo that one of them carries" if has_halo else ""
    alt = f"Frame {facts.sequence} of {facts.camera} with the borders of its {caption}"
    return _picture("tiles", "Tiles", caption, alt, drawn, "jpeg", most_bytes)


def _edges(sample: Sample, facts: Facts, most_bytes: int) -> Picture:
    if sample.edges is None:
        height, width = sample.pixels.shape[:2]
        if facts.edges is not None:
            why = f"no picture of them was kept; the event counts {facts.edges.pixels:,} pixels"
        else:
            why = f"the frame is {facts.outcome}" if facts.outcome != "complete" else "the event has none"
        return Picture(kind="edges", title="Edges", caption="", alt=f"No edges: {why}.", width=width, height=height)
    density = facts.edges.density if facts.edges else float(np.count_nonzero(sample.edges) / sample.edges.size)
    caption = f"{text.percent(density)} of the frame"
    alt = f"Edges of frame {facts.sequence} of {facts.camera}, white on black: {caption}"
    return _picture("edges", "Edges", caption, alt, mask_to_page(sample.edges), "png", most_bytes)


def _features(sample: Sample, facts: Facts, most_bytes: int, outlines: Sequence[Outline]) -> Picture:
    page = to_page(sample.pixels)
    scale = _scale(sample.pixels, page)
    drawn = np.asarray(drawing.in_colour(page) * np.float32(DIMMED), np.uint8)
    legend = []
    counts = feature_counts(facts)
    for index, (name, points) in enumerate(points_of(facts).items()):
        colour = POINT_COLOURS[index % len(POINT_COLOURS)]
        strongest = points[:MOST_POINTS]
        for shift in ((0, 0), (1, 0), (0, 1), (1, 1)):  # rings of two pixels, as in `_thick`
            drawn = drawing.draw_points(drawn, _packed(strongest, scale, page, shift), colour)
        told = f"{text.short(name, 24)} {counts[name]:,}"
        told += f", the strongest {len(strongest):,} drawn" if len(strongest) < counts[name] else ""
        legend.append((_css(colour), told))
    for index, (name, segments) in enumerate(segments_of(facts).items(), start=1):
        colour = POINT_COLOURS[-index % len(POINT_COLOURS)]
        for x1, y1, x2, y2 in segments:
            drawn = _with_path(drawn, ((x1, y1), (x2, y2)), scale, colour)
        legend.append((_css(colour), f"{text.short(name, 24)}, {len(segments):,} drawn"))
    for outline in outlines:
        drawn = _with_path(drawn, outline.path, scale, OUTLINE_COLOUR)
        legend.append((_css(OUTLINE_COLOUR), text.short(outline.name, 24)))
    for inset in (1, 0):  # twice, as in `_thick`
        drawn = drawing.draw_boxes(drawn, _objects(facts, scale, page, inset))
    objects = text.plural(len(facts.objects), "object")
    caption = objects if facts.objects else "no objects"
    told = ", ".join(name for _, name in legend)
    alt = f"Frame {facts.sequence} of {facts.camera} with what was found: {caption}" + (f", {told}" if told else "")
    return _picture("features", "Features and objects", caption, alt, drawn, "jpeg", most_bytes, legend)


def _picture(
    kind: str,
    title: str,
    caption: str,
    alt: str,
    pixels: Pixels,
    codec: Codec,
    most_bytes: int,
    legend: Sequence[tuple[str, str]] = (),
) -> Picture:
    data, encoded = _encoded(pixels, codec, most_bytes)
    height, width = encoded.shape[:2]
    return Picture(
        kind=kind,
        title=title,
        caption=caption,
        alt=alt,
        legend=legend,
        data=data,
        codec=codec,
        width=width,
        height=height,
    )


def _encoded(pixels: Pixels, codec: Codec, most_bytes: int) -> tuple[bytes, Pixels]:
    """Encode within a size: by less quality first, then by fewer pixels."""
    while True:
        for quality in QUALITIES if codec == "jpeg" else (0,):
            data = encode(pixels, codec, quality)
            if len(data) <= most_bytes or max(pixels.shape[:2]) <= 16:
                return data, pixels
        pixels = thumbnail(pixels, 2)


# --- from frame to page -----------------------------------------------------------------------------------


def _scale(frame: Pixels, page: Pixels) -> tuple[float, float]:
    return page.shape[1] / frame.shape[1], page.shape[0] / frame.shape[0]


def _scaled(rects: Sequence[Rect], scale: tuple[float, float]) -> list[Rect]:
    """Rectangles on the page; neighbours stay neighbours."""
    across, down = scale
    found = []
    for rect in rects:
        x, y = round(rect.x * across), round(rect.y * down)
        found.append(Rect(x, y, max(1, round(rect.right * across) - x), max(1, round(rect.bottom * down) - y)))
    return found


def _thick(rects: Sequence[Rect]) -> list[Rect]:
    """Each rectangle, and one a pixel inside of it: lines of one pixel are lost when a browser reduces them."""
    inner = [Rect(one.x + 1, one.y + 1, one.width - 2, one.height - 2) for one in rects]
    return [*rects, *(one for one in inner if min(one.width, one.height) > 8)]


def _shade_halo(page: Pixels, sample: Sample, core: Rect, scale: tuple[float, float]) -> Pixels:
    """Tint what a tile carries of its neighbours."""
    height, width = sample.pixels.shape[:2]
    reach, own = _scaled([core.grown(sample.halo, width=width, height=height), core], scale)
    ring = np.zeros((*page.shape[:2], 1), np.bool_)
    ring[reach.y : reach.bottom, reach.x : reach.right] = True
    ring[own.y : own.bottom, own.x : own.right] = False
    tint = page * (1 - HALO_SHARE) + np.asarray(HALO_COLOUR) * HALO_SHARE
    return np.where(ring, tint.astype(np.uint8), page)


def _with_path(
    picture: Pixels, path: Sequence[tuple[float, float]], scale: tuple[float, float], colour: drawing.Colour
) -> Pixels:
    """Draw straight lines from corner to corner; what lies beyond the picture is left out."""
    picture, (height, width) = picture.copy(), picture.shape[:2]
    for start, end in itertools.pairwise(np.asarray(path, np.float64) * scale):
        steps = int(np.abs(end - start).max()) + 2
        places = np.rint(np.linspace(start, end, steps)).astype(np.intp)
        for shift in np.ndindex(OUTLINE_PX, OUTLINE_PX):
            x, y = (places + shift).T
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            picture[y[inside], x[inside]] = colour
    return picture


def _middle(cores: Sequence[Rect], pixels: Pixels) -> Rect:
    """The tile whose middle is next to the middle of the frame."""
    height, width = pixels.shape[:2]
    return min(cores, key=lambda core: abs(core.x + core.right - width) + abs(core.y + core.bottom - height))


def _missing_cores(cores: Sequence[Rect], facts: Facts) -> list[Rect]:
    """Cores of the tiles that the event says are missing."""
    xs, ys = sorted({core.x for core in cores}), sorted({core.y for core in cores})
    places = {(core.x, core.y): core for core in cores}
    found = [places.get((xs[col], ys[row])) for row, col in facts.missing if 0 <= row < len(ys) and 0 <= col < len(xs)]
    return [core for core in found if core is not None]


def _packed(points: Sequence[Point], scale: tuple[float, float], page: Pixels, shift: tuple[int, int]) -> Points:
    """Points on the page, moved by `shift` pixels; those outside of it are left out."""
    xy = np.asarray([point[:2] for point in points], np.float64) * scale + shift
    height, width = page.shape[:2]
    inside = (xy[:, 0] >= 0) & (xy[:, 0] < width) & (xy[:, 1] >= 0) & (xy[:, 1] < height)
    response = np.asarray([point[2] for point in points], "<f4")
    return Points(xy=xy[inside].astype("<f4").tobytes(), response=response[inside].tobytes())


def _objects(facts: Facts, scale: tuple[float, float], page: Pixels, inset: int) -> list[DetectedObject]:
    """Objects on the page, their boxes held within it, `inset` pixels smaller on each side."""
    across, down = scale
    height, width = page.shape[:2]
    found = []
    for thing in facts.objects:
        if thing.box is None:
            continue
        x1, y1, x2, y2 = thing.box
        box = (
            min(max(x1 * across + inset, 0), width - 1),
            min(max(y1 * down + inset, 0), height - 1),
            min(max(x2 * across - inset, 0), width - 1),
            min(max(y2 * down - inset, 0), height - 1),
        )
        found.append(
            DetectedObject(label=thing.label, score=thing.score, box=box, track=thing.track, source=thing.source)
        )
    return found


def _css(colour: drawing.Colour) -> str:
    blue, green, red = colour
    return f"rgb({red} {green} {blue})"
