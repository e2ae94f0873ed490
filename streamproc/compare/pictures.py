"""The two pictures of a frame that differs: the same pixels with what each run found, the differences in colour."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamproc.compare.values import FrameChanges
from streamproc.errors import BadMessage
from streamproc.evidence.picture import objects_of
from streamproc.evidence.store import Told
from streamproc.model import DetectedObject, Pixels
from streamproc.operators import drawing
from streamproc.operators.pixels import announced, decode, encode

LOST: Final[drawing.Colour] = (60, 60, 235)
ADDED: Final[drawing.Colour] = (90, 200, 60)
CHANGED: Final[drawing.Colour] = (40, 190, 250)
SAME: Final[drawing.Colour] = (200, 200, 200)
LEGEND: Final = (("lost", LOST), ("added", ADDED), ("changed", CHANGED), ("the same in both", SAME))
WIDTH_PX: Final = 720
HEIGHT_PX: Final = 960
QUALITY: Final = 80
MAX_FILE_BYTES: Final = 32 * 2**20

Finder = Callable[[Told], "Pixels | str"]
"""The pixels of a frame (of any size), or a line that says why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run's picture of a frame.

    Attributes:
        name: "A" or "B".
        data: JPEG.
        alt: What it shows, for who cannot see it.
        note: Why there are no pixels, or where they come from; may be empty.
    """

    name: str
    data: bytes
    width: int
    height: int
    alt: str
    note: str

    @property
    def uri(self) -> str:
        """As a `data:` address."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.data).decode()}"


def sides_of(found: FrameChanges, a: Told | None, b: Told | None, finder_a: Finder, finder_b: Finder) -> list[Side]:
    """Draw a frame as each run that knows it sees it.

    Pixels that one run cannot give are taken from the other where both frames have one capture time.

    Args:
        found: The frame's differences.
        a: What run A tells.
        b: What run B tells.
        finder_a: Finds pixels of run A's frames.
        finder_b: Finds pixels of run B's frames.
    """
    pixels = [None if told is None else finder(told) for told, finder in ((a, finder_a), (b, finder_b))]
    shared = a is not None and b is not None and _same_picture(a.data, b.data)
    sides = []
    for place, (name, told) in enumerate((("A", a), ("B", b))):
        if told is None:
            continue
        own, other = pixels[place], pixels[1 - place]
        note = f"the boxes alone: {own}" if isinstance(own, str) else ""
        if isinstance(own, str) and shared and not isinstance(other, str | None):
            own, note = other, f"pixels of run {'BA'[place]}: the same frame"
        sides.append(_side(name, told, found, own, note))
    return sides


def file_finder(folder: Path) -> Finder:
    """Finds frames among the pictures that lie beside a report; they may be smaller than the frames."""
    files = {_sequence(path): path for path in sorted((folder / "pictures").glob("*-frame*-original.*"))}

    def found(told: Told) -> Pixels | str:
        path = files.get(int(told.data["sequence"]))
        if path is None:
            return f"no picture of this frame lies in {folder / 'pictures'}" if files else f"{folder} has no pictures"
        try:
            payload = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else b""
            codec, pixel_format, width, height = announced(payload)
            return decode(payload, codec=codec, pixel_format=pixel_format, width=width, height=height)
        except (OSError, BadMessage) as error:
            return f"{path} cannot be read: {error}"

    return found


def first_of(finders: Sequence[Finder]) -> Finder:
    """Asks one after the other."""

    def found(told: Told) -> Pixels | str:
        why = []
        for finder in finders:
            pixels = finder(told)
            if not isinstance(pixels, str):
                return pixels
            why.append(pixels)
        return "; ".join(dict.fromkeys(why)) or "nowhere to look: name a broker with --bootstrap or an archive"

    return found


def _sequence(path: Path) -> int:
    digits = path.name.partition("-frame")[2].partition("-")[0]
    return int(digits) if digits.isdecimal() else -1


def _same_picture(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return all(a.get(name) == b.get(name) for name in ("captured_ns", "sequence", "width", "height"))


def _side(name: str, told: Told, found: FrameChanges, pixels: Pixels | str | None, note: str) -> Side:
    data = told.data
    width, height = max(1, int(data["width"])), max(1, int(data["height"]))
    share = min(1.0, WIDTH_PX / width, HEIGHT_PX / height)
    if max(width, height) <= WIDTH_PX // 2:
        share = WIDTH_PX // max(width, height)
    size = max(1, round(width * share)), max(1, round(height * share))
    if isinstance(pixels, str) or pixels is None:
        ground = np.full((size[1], size[0], 3), drawing.UNKNOWN_GRAY, np.uint8)
    else:
        ground = drawing.fit(pixels, *size)
    marks = _marks(name, objects_of(data), found, share)
    counts = f"{len(marks)} objects" if marks else "no objects"
    return Side(
        name=name,
        data=encode(drawing.draw_marks(ground, marks), "jpeg", QUALITY),
        width=size[0],
        height=size[1],
        alt=f"Frame {data['sequence']} of {data['camera']} as run {name} sees it: {counts}",
        note=note,
    )


def _marks(name: str, objects: Sequence[DetectedObject], found: FrameChanges, share: float) -> list[drawing.Mark]:
    """Boxes, those that differ last and in colour."""
    colours: dict[tuple[str, tuple[float, ...]], drawing.Colour] = {}
    for change in found.changes:
        raw = change.a if name == "A" else change.b
        if change.kind.startswith("object.") and isinstance(raw, dict) and isinstance(raw.get("box"), list):
            colour = {"object.lost": LOST, "object.added": ADDED}.get(change.kind, CHANGED)
            colours.setdefault((str(raw.get("label")), tuple(raw["box"])), colour)
    all_alone = {"frame.lost": LOST, "frame.added": ADDED}.get(found.changes[0].kind, SAME)
    marks = []
    for one in objects:
        colour = colours.get((one.label, one.box), all_alone)
        x1, y1, x2, y2 = (side * share for side in one.box)
        words = f"{one.label} {one.score:.3g}" + (f" {one.track}" if one.track else "")
        marks.append(drawing.Mark(box=(x1, y1, x2, y2), words=words, colour=colour, line_px=1 if colour is SAME else 3))
    return sorted(marks, key=lambda mark: mark.colour != SAME)
