"""The pictures of `docs/concepts.md`, from photographs and the project's own operators.

`python -m tests.docs.pictures` draws them anew into `docs/concepts/`; a test says when one is no longer what the code
gives. The photographs ship with scikit-image: coffee by R. Michetti, CC0; the astronaut is NASA's,
public domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from producers.changed_only import ChangedOnly
from producers.changes import Canvas
from streamproc.aggregator.seams import link_edges
from streamproc.model import Frame, Grid, Pixels, Rect
from streamproc.operators.edges import CANNY_HALO_PX, canny
from streamproc.operators.pixels import gray
from streamproc.operators.tiling import cut, join, split
from streamproc.topics import camera_partition, tile_partition

ROOT: Final = Path(__file__).parent.parent.parent
FOLDER: Final = ROOT / "docs" / "concepts"
INK: Final = (60, 44, 30)
PAPER: Final = (250, 248, 246)
WRONG: Final = (60, 60, 230)
CORE: Final = (3, 183, 255)
HUES: Final = ("#2a6f97", "#e07a5f", "#81b29a", "#b5838d", "#6a4c93", "#c9a227", "#3d5a80", "#7f9c3b")
LOW, HIGH = 20, 200
SEAMS: Final = Grid(3, 3)
FRAME: Final = Rect(0, 0, 600, 400)
SHOWN: Final = Rect(384, 140, 200, 200)
GRID: Final = Grid(2, 3)
HALO: Final = 16


def coffee() -> Pixels:
    """A photograph, (400, 600, 3) BGR."""
    return _bgr(skimage.data.coffee())  # type: ignore[no-untyped-call]


def _bgr(rgb: Any) -> Pixels:
    return np.ascontiguousarray(np.asarray(rgb, np.uint8)[..., ::-1])


def tiles() -> Pixels:
    """A photograph cut into tiles, pulled apart: the core bright, the halo around it pale."""
    frame = coffee()
    gap, margin = 22, 12
    windows = split(frame, GRID, HALO)
    height = frame.shape[0] + (GRID.rows - 1) * (gap + 2 * HALO) + 2 * margin
    width = frame.shape[1] + (GRID.cols - 1) * (gap + 2 * HALO) + 2 * margin
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    for index, window in enumerate(windows):
        row, col = divmod(index, GRID.cols)
        x = margin + window.rect.x + col * (gap + 2 * HALO)
        y = margin + window.rect.y + row * (gap + 2 * HALO)
        part = (window.pixels * 0.45 + 255 * 0.55).astype(np.uint8)
        inside = window.core.within(window.rect)
        part[inside] = window.pixels[inside]
        canvas[y : y + window.rect.height, x : x + window.rect.width] = part
        left, top = x + window.core.x - window.rect.x, y + window.core.y - window.rect.y
        corner = (left + window.core.width - 1, top + window.core.height - 1)
        cv2.rectangle(canvas, (left, top), corner, CORE, 2)
    return canvas


def seams() -> Pixels:
    """Edges around a seam: of the whole frame, of tiles joined without care, and linked as streamproc does."""
    grey = np.asarray(cv2.GaussianBlur(gray(coffee()), (5, 5), 0), np.uint8)
    height, width = grey.shape
    whole = np.asarray(cv2.Canny(grey, LOW, HIGH), np.uint8)
    alone = [
        (window.core, np.asarray(cv2.Canny(np.ascontiguousarray(window.pixels), LOW, HIGH), np.uint8))
        for window in split(grey, SEAMS, 0)
    ]
    careless = join(alone, width, height)
    maps = [canny(window, {"low": LOW, "high": HIGH, "l2": False}) for window in split(grey, SEAMS, CANNY_HALO_PX)]
    linked = link_edges(maps, width, height)
    return _row(
        [
            (_seen(whole, whole), "the whole frame, cv2.Canny"),
            (_seen(careless, whole), f"tiles on their own: {int((careless != whole).sum())} pixels wrong"),
            (_seen(linked, whole), f"streamproc, tiles linked: {int((linked != whole).sum())} pixels wrong"),
        ]
    )


def _seen(edges: Pixels, oracle: Pixels) -> Pixels:
    """A part of an edge map around seams, enlarged; what differs from the oracle is red."""
    picture = np.full((*edges.shape, 3), 255, np.uint8)
    picture[(edges > 0) & (oracle > 0)] = INK
    picture[edges != oracle] = WRONG
    large = cv2.resize(picture[SHOWN.within(FRAME)], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    for core in cut(FRAME.width, FRAME.height, SEAMS):
        x, y = 2 * (core.right - SHOWN.x), 2 * (core.bottom - SHOWN.y)
        cv2.line(large, (x, 0), (x, large.shape[0]), CORE, 1)
        cv2.line(large, (0, y), (large.shape[1], y), CORE, 1)
    return np.asarray(large, np.uint8)


def _row(panels: Iterable[tuple[Pixels, str]]) -> Pixels:
    gap, below = 12, 30
    pictures = list(panels)
    high = max(picture.shape[0] for picture, _ in pictures)
    canvas = np.full((high + below + gap, sum(one.shape[1] + gap for one, _ in pictures) + gap, 3), PAPER, np.uint8)
    texts: list[tuple[int, int, str]] = []
    x = gap
    for picture, words in pictures:
        canvas[gap : gap + picture.shape[0], x : x + picture.shape[1]] = picture
        texts.append((x, gap + high + 4, words))
        x += picture.shape[1] + gap
    return _written(canvas, [(left, top, text, 15, "#1e2c3c") for left, top, text in texts])


def _written(canvas: Pixels, texts: Iterable[tuple[int, int, str, int, str]]) -> Pixels:
    image = Image.fromarray(canvas[..., ::-1])
    pen = ImageDraw.Draw(image)
    for x, y, text, size, colour in texts:
        pen.text((x, y), text, font=ImageFont.load_default(size=size), fill=colour)
    return np.ascontiguousarray(np.asarray(image, np.uint8)[..., ::-1])


def partitions() -> Pixels:
    """Which partition each tile of two cameras goes to, and where their features and events meet."""
    count, grid, side, left = 8, Grid(2, 4), 64, 14
    cameras = ("gate", "yard")
    image = Image.new("RGB", (2 * (grid.cols * side + 60) + 2 * left, 300), "#f6f8fa")
    pen = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(size=15), ImageFont.load_default(size=22)
    for number, camera in enumerate(cameras):
        x0 = left + number * (grid.cols * side + 60)
        pen.text((x0, 10), f"a frame of camera {camera}, {grid.cols * grid.rows} tiles", font=small, fill="#1e2c3c")
        for index in range(grid.count):
            row, col = divmod(index, grid.cols)
            partition = tile_partition(camera, index, count)
            x, y = x0 + col * side, 36 + row * side
            pen.rectangle((x, y, x + side - 4, y + side - 4), fill=HUES[partition])
            pen.text((x + side / 2 - 2, y + side / 2 - 2), str(partition), font=large, fill="white", anchor="mm")
        meet = camera_partition(camera, count)
        y = 36 + grid.rows * side + 16
        pen.text((x0, y), "its number is the tile's partition;", font=small, fill="#1e2c3c")
        pen.text((x0, y + 20), "all its features, events and edges meet in", font=small, fill="#1e2c3c")
        pen.rectangle((x0, y + 46, x0 + side - 4, y + 46 + side - 4), fill=HUES[meet])
        pen.text((x0 + side / 2 - 2, y + 44 + side / 2), str(meet), font=large, fill="white", anchor="mm")
    return np.ascontiguousarray(np.asarray(image, np.uint8)[..., ::-1])


def references() -> Pixels:
    """A camera that stands still, something moves: which tiles of the second frame are sent, which are references."""
    grid = Grid(4, 6)
    still = cv2.resize(coffee(), (672, 448), interpolation=cv2.INTER_AREA)
    first, second = (_with_mover(np.asarray(still, np.uint8), x) for x in (120, 150))
    canvas = Canvas(ChangedOnly())
    canvas.update(Frame(pixels=first, captured_ns=10**9), grid, HALO, now_s=0.0)
    update = canvas.update(Frame(pixels=second, captured_ns=10**9 + 40_000_000), grid, HALO, now_s=0.04)
    shown = (second * 0.3 + 255 * 0.7).astype(np.uint8)
    whole = Rect(0, 0, 672, 448)
    for core, changed in zip(cut(672, 448, grid), update.changed, strict=True):
        if changed:
            shown[core.within(whole)] = second[core.within(whole)]
    for core, changed in zip(cut(672, 448, grid), update.changed, strict=True):
        if changed:
            cv2.rectangle(shown, (core.x + 1, core.y + 1), (core.right - 2, core.bottom - 2), CORE, 2)
    sent = sum(update.changed)
    return _row(
        [(shown, f"{sent} of {grid.count} tiles are sent; {grid.count - sent} are references to the frame before")]
    )


def _with_mover(still: Pixels, x: int) -> Pixels:
    frame = still.copy()
    face = _bgr(skimage.data.astronaut())[40:180, 160:290]  # type: ignore[no-untyped-call]
    part = np.asarray(cv2.resize(face, (78, 84), interpolation=cv2.INTER_AREA), np.uint8)
    frame[40 : 40 + part.shape[0], x : x + part.shape[1]] = part
    return frame


PICTURES: Final[Mapping[str, tuple[Callable[[], Pixels], str]]] = {
    "tiles": (tiles, ".jpg"),
    "seams": (seams, ".png"),
    "partitions": (partitions, ".png"),
    "references": (references, ".jpg"),
}


def encoded(name: str) -> bytes:
    """The file of a picture."""
    draw, kind = PICTURES[name]
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if kind == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    return bytes(cv2.imencode(kind, draw(), options)[1].tobytes())


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, (_, kind) in PICTURES.items():
        (FOLDER / f"{name}{kind}").write_bytes(encoded(name))


if __name__ == "__main__":
    main()
