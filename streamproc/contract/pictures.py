"""Pictures, grids and films that operators are tried on; the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamproc.model import Boxes, Grid, Pixels, Result
from streamproc.operators.boxes import pack_boxes
from streamproc.operators.table import PIXEL_KINDS, Operator, Scene, Window
from streamproc.operators.tiling import largest_grid, split
from streamproc.operators.vitals import vitals

KINDS: Final = ("noise", "smooth noise", "lines", "specks", "plateaus", "ramp", "flat")
TINY: Final = ((1, 1), (1, 2), (2, 1), (3, 3), (1, 40), (40, 1), (7, 16), (17, 5), (33, 18))  # rows, cols
WIDE: Final = (53, 70)
TALL: Final = (66, 49)
SECOND_NS: Final = 10**9
START_NS: Final = 1_700_000_000 * SECOND_NS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """Frames of one run of one camera."""

    scenes: tuple[Scene, ...]


def picture(kind: str, shape: tuple[int, int], seed: int = 0, *, color: bool = False) -> Pixels:
    """A picture of (rows, cols), grey or BGR."""
    if color:
        return np.stack([_plane(kind, shape, seed + 100 * channel) for channel in range(3)], axis=2)
    return _plane(kind, shape, seed)


def kinds_of(operator: Operator) -> list[str]:
    """Which kinds of pixels an operator is handed."""
    return [kind for kind in ("gray", "color", "float") if kind in operator.accepts]


def of_kind(kind: str, shape: tuple[int, int], seed: int = 0, look: str = "smooth noise") -> NDArray[Any]:
    """A picture of a `PixelKind`."""
    made = picture(look, shape, seed, color=kind == "color")
    return made.astype(np.float32) / np.float32(255) if kind == "float" else made


def grids(rows: int, cols: int) -> Iterator[Grid]:
    """Few ways to cut a picture, the finest among them."""
    most = largest_grid(cols, rows)
    yield most
    for grid in (Grid(min(2, most.rows), min(2, most.cols)), Grid(1, most.cols)):
        if grid not in (most, Grid(1, 1)):
            yield grid


def film(operator: Operator, seed: int, frames: int = 8, shape: tuple[int, int] = (96, 128)) -> Film:
    """Frames of what a follower takes: pixels on which a square moves, or what other steps find on such."""
    return Film(scenes=tuple(_scene(operator, seed, number, shape) for number in range(frames)))


def broken_film(operator: Operator, seed: int) -> Film:
    """A film as a bad day gives it.

    Frames are missing, times stand still, jump and go back; findings are missing or empty; the camera changes its size
    and turns grey.
    """
    steps = ((0, 0), (1, 0), (4, 3600), (5, -86400), (6, 2), (500, 2), (501, 3), (100_000, 4), (100_001, 4))
    scenes: list[Scene] = []
    for index, (sequence, second) in enumerate(steps):
        shape = (1, 1) if index == 2 else (50, 40) if index in (4, 5) else (96, 128)
        scenes.append(
            _scene(operator, seed, sequence, shape, second=second, found=index not in (1, 5, 7), empty=index == 6)
        )
    return Film(scenes=tuple(scenes))


def spoiled(window: Window) -> Window:
    """The same window with other pixels in the outermost line of its halo, on each side that has a neighbour."""
    rect, core = window.rect, window.core
    wrong = np.zeros(window.pixels.shape[:2], np.bool_)
    wrong[0] |= rect.y < core.y
    wrong[-1] |= rect.bottom > core.bottom
    wrong[:, 0] |= rect.x < core.x
    wrong[:, -1] |= rect.right > core.right
    pixels = window.pixels.copy()
    if pixels.dtype == np.uint8:
        pixels[wrong] += 128
    else:
        pixels[wrong] = 1 - pixels[wrong]
    return Window(pixels=pixels, rect=rect, core=core, width=window.width, height=window.height)


def _plane(kind: str, shape: tuple[int, int], seed: int) -> Pixels:
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, shape, np.uint8)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    match kind:
        case "noise":
            made = noise
        case "smooth noise":
            padded = np.pad(noise.astype(np.uint16), 2, mode="edge")
            views = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
            made = np.clip((views.mean(axis=(2, 3)) - 128) * 3 + 128, 0, 255).astype(np.uint8)
        case "lines":
            made = np.full(shape, 100, np.uint8)
            made[(rows * 2 + cols * 3 + seed) % 23 == 0] = 131
            made[(rows * 5 - cols + seed) % 31 == 0] = 60
        case "specks":
            made = np.where(noise < 20, 255 - noise, 0).astype(np.uint8)
        case "plateaus":
            made = (noise[::7, ::7].repeat(7, axis=0).repeat(7, axis=1) // 64 * 60)[: shape[0], : shape[1]]
        case "ramp":
            made = ((rows * 3 + cols * 2 + seed) % 256).astype(np.uint8)
        case _:
            made = np.full(shape, noise[0, 0], np.uint8)
    return np.ascontiguousarray(made)


def _scene(
    operator: Operator,
    seed: int,
    sequence: int,
    shape: tuple[int, int],
    *,
    second: float | None = None,
    found: bool = True,
    empty: bool = False,
) -> Scene:
    rows, cols = shape
    window: Window | None = None
    findings: Result | None = None
    if not PIXEL_KINDS.isdisjoint(operator.accepts):
        window = _whole(_moving(seed, sequence, shape, color="color" in operator.accepts and not empty))
    elif found:
        findings = _findings(operator, seed, sequence, shape, empty=empty)
    return Scene(
        window=window,
        found=findings,
        camera=f"camera-{seed}",
        run="run",
        sequence=sequence,
        captured_ns=START_NS + int((sequence / 25 if second is None else second) * SECOND_NS),
        width=cols,
        height=rows,
    )


def _whole(pixels: NDArray[Any]) -> Window:
    return split(pixels, Grid(1, 1), 0)[0]


def _moving(seed: int, sequence: int, shape: tuple[int, int], *, color: bool) -> Pixels:
    rows, cols = shape
    ground = picture("smooth noise", shape, seed, color=color)
    left, top = (3 * sequence + 5 * seed) % cols, (2 * sequence + 7 * seed) % rows
    ground[top : top + 20, left : left + 24] = 255 - ground[top : top + 20, left : left + 24] // 4
    return ground


def _findings(operator: Operator, seed: int, sequence: int, shape: tuple[int, int], *, empty: bool) -> Any:
    if "vitals" in operator.accepts:
        return vitals(_whole(_moving(seed, sequence, shape, color=False)), {})
    return _boxes(seed, 0 if empty else sequence, shape, tracks="tracks" in operator.accepts, count=0 if empty else 3)


def _boxes(seed: int, sequence: int, shape: tuple[int, int], *, tracks: bool, count: int) -> Boxes:
    rows, cols = shape
    number = np.arange(count)
    left = (number * 37 + 2 * sequence + seed) % max(1, cols - 20) + 0.25
    top = (number * 23 + sequence + seed) % max(1, rows - 24) + 0.5
    corners = np.stack([left, top, left + 20, top + 24], axis=1).reshape(-1, 4)
    names = [f"{seed}-{index}" for index in number] if tracks else ()
    return pack_boxes("thing", corners, 0.9 - 0.1 * number, iou=0.4, tracks=names)
