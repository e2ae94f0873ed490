"""A folder of tile files that together are one picture, read and written."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from producers.sources.picture import read_picture
from producers.sources.source import Notices, Source, require_size
from streamproc.errors import SourceError, UsageError
from streamproc.model import Frame, Grid, Pixels, Rect
from streamproc.operators import tiling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_PATTERN = "{name}_{row}_{col}"
_PLACES = {"name": r"(?P<name>.*)", "row": r"(?P<row>[0-9]{1,5})", "col": r"(?P<col>[0-9]{1,5})"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TileFiles:
    """Files of one picture by row and column, counted from 0, row by row.

    Attributes:
        first: Row and column that the file names count from.
    """

    grid: Grid
    files: tuple[Path, ...]
    first: tuple[int, int]


def find_tiles(files: Sequence[Path], *, pattern: str | None = None) -> TileFiles | None:
    """Recognise a full grid of tile files.

    Args:
        files: The picture files of one folder.
        pattern: File name with {row} and {col}, and maybe {name}, with or without its ending. None tries
            `{name}_{row}_{col}`, which all files must match with one and the same name.

    Returns:
        None if the files do not look like tiles; never with a `pattern`.

    Raises:
        SourceError: Some tiles of a grid are missing, two files are the same tile, or none fits the pattern.
        UsageError: The pattern has no {row} or {col}.
    """
    matcher = _matcher(pattern or DEFAULT_PATTERN)
    found = [(file, match) for file in files if (match := matcher(file)) is not None]
    if pattern is not None and not found:
        raise SourceError(f"no picture is named like {pattern!r}: the first is {files[0]}")
    names = {match.groupdict().get("name") for _, match in found}
    if pattern is None and (len(found) != len(files) or len(found) < 2):
        return None
    if len(names) > 1:
        if pattern is None:
            return None
        raise SourceError(f"tiles of {len(names)} pictures fit {pattern!r}: write the name of one instead of {{name}}")
    return _grid_of(found, asked=pattern is not None)


def _grid_of(found: Sequence[tuple[Path, re.Match[str]]], *, asked: bool) -> TileFiles | None:
    at: dict[tuple[int, int], Path] = {}
    for file, match in found:
        place = int(match["row"]), int(match["col"])
        if place in at:
            raise SourceError(f"{at[place]} and {file.name} are the same tile (row {place[0]}, column {place[1]})")
        at[place] = file
    top, left = min(row for row, _ in at), min(col for _, col in at)
    if not asked and (top > 1 or left > 1):  # numbers of something else, as in camera_2024_0001.png
        return None
    grid = Grid(rows=max(row for row, _ in at) - top + 1, cols=max(col for _, col in at) - left + 1)
    if not asked and 2 * len(at) < grid.count:
        return None
    _require_all(at, grid, first=(top, left), match=found[0][1], file=found[0][0])
    order = [(top + row, left + col) for row in range(grid.rows) for col in range(grid.cols)]
    return TileFiles(grid=grid, files=tuple(at[place] for place in order), first=(top, left))


def _require_all(
    at: Mapping[tuple[int, int], Path],
    grid: Grid,
    *,
    first: tuple[int, int],
    match: re.Match[str],
    file: Path,
) -> None:
    missing = grid.count - len(at)
    if missing == 0:
        return
    places = ((first[0] + row, first[1] + col) for row in range(grid.rows) for col in range(grid.cols))
    row, col = next(place for place in places if place not in at)
    raise SourceError(
        f"{file.parent} holds {len(at)} tiles of a {grid} grid; missing is row {row}, column {col},"
        f" {_renamed(match, row=row, col=col)}{f', and {missing - 1} more' if missing > 1 else ''}:"
        f" add it, or give '{file.parent}/*{file.suffix}' to read the files as frames of their own"
    )


def _renamed(match: re.Match[str], *, row: int, col: int) -> str:
    """The name of the file that matched, with another row and column in the same number of digits."""
    name = match.string
    for place, value in sorted((("row", row), ("col", col)), key=lambda pair: -match.start(pair[0])):
        start, end = match.span(place)
        name = f"{name[:start]}{value:0{end - start if match[place].startswith('0') else 1}d}{name[end:]}"
    return name


def _matcher(pattern: str) -> _Matcher:
    for place in ("{row}", "{col}"):
        if pattern.count(place) != 1:
            raise UsageError(f"tile pattern {pattern!r} needs {place} exactly once, as in {DEFAULT_PATTERN}.png")
    if pattern.count("{name}") > 1:
        raise UsageError(f"tile pattern {pattern!r} has {{name}} more than once")
    parts = re.split(r"\{(name|row|col)\}", pattern)
    text = "".join(_PLACES[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return _Matcher(re.compile(text), whole_name=bool(Path(parts[-1]).suffix))


@dataclass(frozen=True, slots=True)
class _Matcher:
    pattern: re.Pattern[str]
    whole_name: bool

    def __call__(self, file: Path) -> re.Match[str] | None:
        found = self.pattern.fullmatch(file.name)
        if found is not None or self.whole_name:
            return found
        return re.compile(self.pattern.pattern + re.escape(file.suffix)).fullmatch(file.name)


class TileFolderSource(Source):
    """One frame, put together from tile files."""

    length = 1

    def __init__(self, tiles: TileFiles, *, name: str, max_pixels: int, notices: Notices) -> None:
        self.tiles = tiles
        self.name = name
        self._max_pixels = max_pixels
        self._notices = notices

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(pixels=self._join(), captured_ns=time.time_ns())

    def _join(self) -> Pixels:
        """Read all tiles into one picture.

        Raises:
            SourceError: A tile is unreadable or does not fit its row and column.
        """
        rows, cols = self.tiles.grid.rows, self.tiles.grid.cols
        parts: list[Pixels] = []
        pixels_so_far = 0
        for index, file in enumerate(self.tiles.files):
            part = read_picture(file, max_pixels=self._max_pixels, notices=self._notices)
            _require_fit(
                file,
                part,
                above=parts[index % cols] if index >= cols else None,
                left=parts[index - index % cols] if index % cols else None,
            )
            parts.append(part)
            pixels_so_far += part.shape[0] * part.shape[1]
            if pixels_so_far > self._max_pixels:
                raise SourceError(
                    f"the picture of {self.name} has more than {self._max_pixels} pixels: give a part of it,"
                    " or raise STREAMPROC_MAX_FRAME_PIXELS here and for the workers"
                )
        heights = [parts[row * cols].shape[0] for row in range(rows)]
        widths = [part.shape[1] for part in parts[:cols]]
        require_size(f"the picture of {self.name}", sum(widths), sum(heights), max_pixels=self._max_pixels)
        cores = [
            Rect(sum(widths[:col]), sum(heights[:row]), widths[col], heights[row])
            for row in range(rows)
            for col in range(cols)
        ]
        return tiling.join(zip(cores, parts, strict=True), sum(widths), sum(heights))

    def describe(self) -> str:
        """One line for a person."""
        return f"{len(self.tiles.files)} tile files of {self.name}, one picture of {self.tiles.grid}"


def _require_fit(file: Path, part: Pixels, *, above: Pixels | None, left: Pixels | None) -> None:
    rows, cols = part.shape[:2]
    if above is not None and above.shape[1] != cols:
        raise SourceError(f"tile {file} is {cols} px wide, the tiles above it are {above.shape[1]}: they do not fit")
    if left is not None and left.shape[0] != rows:
        raise SourceError(f"tile {file} is {rows} px high, the tiles left of it are {left.shape[0]}: they do not fit")
    other = left if left is not None else above
    if other is not None and other.ndim != part.ndim:
        kinds = ("grey", "colour") if part.ndim == 2 else ("colour", "grey")
        raise SourceError(f"tile {file} is {kinds[0]}, others are {kinds[1]}: save all alike")


def write_tiles(pixels: Pixels, grid: Grid, folder: Path, *, name: str, force: bool) -> list[Path]:
    """Cut a picture into PNG files `{name}_{row}_{col}.png`, losslessly; reading the folder gives it back.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        grid: Rows and columns of tiles.
        folder: Made if missing.
        name: First part of the file names.
        force: Write into a folder that is not empty; tiles of an earlier cut with the same name are removed.

    Raises:
        UsageError: The grid does not fit, or the folder is not empty.
        SourceError: The folder cannot be written.
    """
    windows = tiling.split(pixels, grid, 0)
    try:
        _make_ready(folder, name=name, force=force)
        written = []
        for index, window in enumerate(windows):
            file = folder / f"{name}_{index // grid.cols}_{index % grid.cols}.png"
            _done, encoded = cv2.imencode(".png", np.ascontiguousarray(window.pixels))
            file.write_bytes(encoded.tobytes())
            written.append(file)
    except OSError as error:
        raise SourceError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from None
    return written


def _make_ready(folder: Path, *, name: str, force: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    present = sorted(folder.iterdir())
    if present and not force:
        raise UsageError(f"{folder} is not empty ({present[0].name}, ...): choose another --out, or add --force")
    old = re.compile(re.escape(name) + r"_[0-9]+_[0-9]+\.png")
    for file in present:
        if old.fullmatch(file.name):
            file.unlink()
