"""What each operator costs on one frame: plain calls and the operator, each on the whole frame and on 2x2 tiles.

The sides are measured in turns, each round beginning with another one, and ratios are taken within rounds. Time is the
CPU time of one thread: on a quiet machine that is the time it takes, and a busy one hardly moves it.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.grids import tile_halo
from producers.sources import open_source
from streamproc import __version__
from streamproc.aggregator.merging import merge_step
from streamproc.bench.plain import NO_PLAIN, PLAIN, TEMPLATE
from streamproc.errors import UsageError
from streamproc.memory import keep_freed_memory
from streamproc.model import Grid, Pixels
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.pixels import gray
from streamproc.operators.table import PIXEL_KINDS, Follower, Measure, Memory, Operator, Params, Scene, Transform
from streamproc.operators.tiling import split

GRID: Final = Grid(2, 2)
RATIO_LIMIT: Final = 1.15
"""What an exact operator on tiles may cost, compared with plain calls."""
LEAST_ROUNDS, MOST_ROUNDS = 2, 400
FILM_FRAMES: Final = 40  # after which every follower has something to say

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """What is compared, each to be called again and again.

    Attributes:
        plain: None where no plain call gives the same.
        plain_tiles: The plain call on the very tiles; None where the frame's answer needs totals of all tiles.
        whole: The operator's answer on the whole frame, as the frame's event tells it.
        tiles: What it gives of each tile; None where it works on the whole frame alone.
        merge: From that the frame's answer; None for transforms, whose tiles stay apart.
    """

    plain: Callable[[], Any] | None
    whole: Callable[[], Any]
    tiles: Callable[[], list[Any]] | None = None
    merge: Callable[[list[Any]], Any] | None = None
    plain_tiles: Callable[[], Any] | None = None


def choose(family: str | None, name: str | None) -> list[Operator]:
    """Take the operators to be measured.

    Args:
        family: Only of this family; None for every one.
        name: Only this one; None for every one.

    Raises:
        UsageError: There is no such family or operator, or it is of another family.
    """
    rows = list(OPERATORS.values())
    families = list(dict.fromkeys(row.family for row in rows))
    if family is not None and family not in families:
        raise UsageError(f"no family {family!r}; there are: {', '.join(families)}")
    if name is not None and name not in OPERATORS:
        near = get_close_matches(name, list(OPERATORS), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "streamproc operators lists all"
        raise UsageError(f"no operator {name!r}; {hint}")
    chosen = [row for row in rows if family in (None, row.family) and name in (None, row.name)]
    if not chosen:
        raise UsageError(f"operator {name!r} is of family {OPERATORS[str(name)].family!r}, not {family!r}")
    return chosen


def measure_operators(rows: Sequence[Operator], *, seconds: float, told: Told) -> dict[str, Any]:
    """Measure operators one after the other on a frame of the builtin camera.

    Args:
        rows: Operators, as `choose` gives them.
        seconds: For each; at least two rounds are measured, however long they take.
        told: Takes the name of each operator before it is measured.

    Returns:
        JSON-able: versions, and in `operators` one entry for each.

    Raises:
        SourceError: scikit-image, whose photographs are the frame, is not installed.
    """
    keep_freed_memory()
    measured = []
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as scratch, _one_thread():
        frames = pictures()
        given = example_values(Path(scratch), frames[0])
        for operator in rows:
            told(operator.name)
            measured.append(_entry(operator, given.get(operator.name, {}), frames, seconds))
    return {
        "streamproc": __version__,
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "scikit_image": metadata.version("scikit-image"),
        "cores": os.cpu_count(),
        "seconds": seconds,
        "frame": "{1}x{0}".format(*frames[0].shape),
        "grid": str(GRID),
        "ratio_limit": RATIO_LIMIT,
        "operators": measured,
    }


def pictures() -> list[Pixels]:
    """Two frames of the builtin camera one after the other, (720, 1280, 3), BGR.

    Raises:
        SourceError: scikit-image is not installed.
    """
    from streamproc.settings import load_settings

    with open_source("builtin", load_settings()) as source:
        return [frame.pixels for frame in islice(source, 2)]


def example_values(folder: Path, frame: Pixels) -> dict[str, dict[str, Any]]:
    """Values other than the defaults, by operator: where there is none, or it does nothing; `folder` gets files."""
    template = folder / "template.png"
    cv2.imwrite(str(template), gray(frame)[TEMPLATE.y : TEMPLATE.bottom, TEMPLATE.x : TEMPLATE.right])
    return {"template_match": {"templates": str(template)}, "brightness_contrast": {"alpha": 1.6, "beta": 20.0}}


def sides_of(operator: Operator, params: Params, frames: Sequence[Pixels]) -> Sides:
    """Make the calls that are compared.

    Args:
        operator: One that takes pixels.
        params: All of its parameters.
        frames: Two colour frames of one size; turned grey for one that takes grey alone.
    """
    taken = [_as_taken(operator, frame) for frame in frames]
    picture = taken[0]
    call = PLAIN.get(operator.name)
    plain = None if call is None else lambda: call(picture)
    if operator.kind == "follower":
        return Sides(plain=plain, whole=_following(operator, params, taken))
    halo = tile_halo(operator.halo(params), "png") if operator.scope == "tile" else 0
    # A tile comes out of its decoder in memory of its own.
    windows = [replace(one, pixels=np.ascontiguousarray(one.pixels)) for one in split(picture, GRID, halo)]
    plain_tiles = None
    if call is not None and operator.scope == "tile" and operator.finish is None:
        plain_tiles = lambda: [call(one.pixels) for one in windows]  # noqa: E731 - one of a set of calls
    if operator.kind == "transform":
        transform = cast("Transform", operator.run)
        return Sides(
            plain=plain,
            whole=lambda: transform(picture, params),
            tiles=(lambda: [transform(one.pixels, params) for one in windows]) if operator.scope == "tile" else None,
            plain_tiles=plain_tiles,
        )
    measure = cast("Measure", operator.run)
    height, width = picture.shape[:2]

    def merge(results: list[Any]) -> Any:
        merged = merge_step(results, width, height)
        return merged if operator.finish is None else operator.finish(merged, params)

    frame = split(picture, Grid(1, 1), 0)[0]
    whole: Callable[[], Any] = lambda: merge([measure(frame, params)])  # noqa: E731 - one of a set of calls
    if operator.scope == "frame":
        return Sides(plain=plain, whole=whole)
    tiles: Callable[[], list[Any]] = lambda: [measure(one, params) for one in windows]  # noqa: E731 - as above
    return Sides(plain=plain, whole=whole, tiles=tiles, merge=merge, plain_tiles=plain_tiles)


def _as_taken(operator: Operator, frame: Pixels) -> NDArray[Any]:
    if "color" in operator.accepts:
        return frame
    return gray(frame) if "gray" in operator.accepts else gray(frame).astype(np.float32) / np.float32(255)


def _following(operator: Operator, params: Params, taken: Sequence[NDArray[Any]]) -> Callable[[], Any]:
    """A camera that has been followed for a while: each call is its next frame, one picture and the other in turn."""
    follow, memory = cast("Follower", operator.run), cast("Memory", {})
    windows = [split(one, Grid(1, 1), 0)[0] for one in taken]
    height, width = taken[0].shape[:2]
    passed = 0

    def step() -> Any:
        nonlocal passed
        passed += 1
        scene = Scene(
            window=windows[passed % len(windows)],
            found=None,
            camera="bench",
            run="bench",
            sequence=passed,
            captured_ns=passed * 40_000_000,
            width=width,
            height=height,
        )
        return follow(scene, memory, params)

    for _ in range(FILM_FRAMES):
        if step().result is not None:
            break
    return step


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in workers, for every side
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _entry(operator: Operator, given: Mapping[str, Any], frames: Sequence[Pixels], seconds: float) -> dict[str, Any]:
    params = {**operator.defaults(), **given}
    note = _why_not(operator, given)
    figures: dict[str, Any] = dict.fromkeys(FIGURES)
    if note is None:
        note = NO_PLAIN.get(operator.name)
        try:
            figures = _figures(measure_rounds(sides_of(operator, params, frames), seconds))
        except ImportError:
            note = f"needs {operator.needs[0] if operator.needs else 'a package'}, which is not installed: not measured"
    tiled = operator.scope == "tile" and operator.kind != "follower"
    return {
        "name": operator.name,
        "family": operator.family,
        "kind": operator.kind,
        "scope": operator.scope,
        "exact": operator.exact,
        "halo_px": operator.halo(params) if tiled else None,
        **figures,
        "note": note,
    }


def _why_not(operator: Operator, given: Mapping[str, Any]) -> str | None:
    """Why an operator cannot be measured here; None if it can."""
    if PIXEL_KINDS.isdisjoint(operator.accepts):
        return f"takes {' or '.join(operator.accepts)}, not pixels: not measured"
    missing = [one.name for one in operator.parameters if one.required and one.name not in given]
    return f"needs a file ({', '.join(missing)}): not measured" if missing else None


# --- time ------------------------------------------------------------------------------------------------------

SIDES: Final = ("plain", "plain_tiles", "whole", "tiled", "merge")
RATIOS: Final = ("whole_ratio", "tiled_ratio", "same_tiles_ratio")
FIGURES: Final = (*(f"{side}_ms" for side in SIDES), *RATIOS, "rounds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """CPU time of each side in one round, milliseconds; None for a side that there is not."""

    whole: float
    plain: float | None = None
    plain_tiles: float | None = None
    tiled: float | None = None
    merge: float | None = None

    def ratios(self) -> tuple[float | None, ...]:
        """Whole to plain; tiles with merging to plain; tiles to plain on the same tiles."""
        return (
            self.whole / self.plain if self.plain else None,
            (self.tiled + (self.merge or 0)) / self.plain if self.plain and self.tiled is not None else None,
            self.tiled / self.plain_tiles if self.plain_tiles and self.tiled is not None else None,
        )


def measure_rounds(sides: Sides, seconds: float) -> list[Round]:
    """Call the sides in turns for about `seconds`, after a round that does not count."""
    _round(sides, 0)
    rounds: list[Round] = []
    end = time.monotonic() + seconds
    while len(rounds) < LEAST_ROUNDS or (len(rounds) < MOST_ROUNDS and time.monotonic() < end):
        rounds.append(_round(sides, len(rounds)))
    return rounds


def _round(sides: Sides, number: int) -> Round:
    found: dict[str, float] = {}

    def time_tiles() -> None:
        if sides.tiles is not None:
            parts, found["tiled"] = _timed(sides.tiles)
            if sides.merge is not None:
                merge = sides.merge
                _, found["merge"] = _timed(lambda: merge(parts))

    def time_plain() -> None:
        if sides.plain is not None:
            _, found["plain"] = _timed(sides.plain)

    def time_plain_tiles() -> None:
        if sides.plain_tiles is not None:
            _, found["plain_tiles"] = _timed(sides.plain_tiles)

    def time_whole() -> None:
        _, found["whole"] = _timed(sides.whole)

    # Tiles always after the frame: none of the two finds its tiles in the caches.
    turns = (time_plain, time_tiles, time_whole, time_plain_tiles)
    for turn in range(len(turns)):
        turns[(turn + number) % len(turns)]()
    return Round(**found)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.process_time_ns()
    answer = call()
    return answer, (time.process_time_ns() - begin) / 1e6


def _figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """Medians, and medians of the ratios within rounds."""
    times = [_median([getattr(one, side) for one in rounds], 4) for side in SIDES]
    ratios = [_median(found, 3) for found in zip(*(one.ratios() for one in rounds), strict=True)]
    return dict(zip(FIGURES, (*times, *ratios, len(rounds)), strict=True))


def _median(values: Sequence[float | None], digits: int) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), digits) if known else None
