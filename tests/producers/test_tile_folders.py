"""Tile files that together are one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.sources import open_source
from producers.sources.folder import FolderSource
from producers.sources.tilefolder import TileFolderSource, write_tiles
from streamproc.errors import SourceError, UsageError
from streamproc.model import Grid, Pixels
from streamproc.settings import load_settings
from tests.producers.material import SETTINGS, picture, save

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, *, pattern: str | None = None) -> Pixels:
    with open_source(str(folder), SETTINGS, tiles_pattern=pattern, notice=lambda _line: None) as source:
        assert isinstance(source, TileFolderSource)
        (frame,) = source
    return frame.pixels


def refused(folder: Path, *, pattern: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        list(open_source(str(folder), SETTINGS, tiles_pattern=pattern, notice=lambda _line: None))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(
    width=st.integers(33, 200),
    height=st.integers(33, 200),
    rows=st.integers(1, 3),
    cols=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
)
@settings(max_examples=30, deadline=None)
def test_what_was_split_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, rows: int, cols: int, channels: int
) -> None:
    if rows * cols == 1:
        return
    pixels = picture(width, height, channels=channels)
    folder = tmp_path_factory.mktemp("tiles")
    written = write_tiles(pixels, Grid(rows, cols), folder, name="photo", force=False)
    assert sorted(file.name for file in written) == sorted(
        f"photo_{r}_{c}.png" for r in range(rows) for c in range(cols)
    )
    assert np.array_equal(read(folder), pixels)


def test_more_than_ten_rows_are_in_order(tmp_path: Path) -> None:
    pixels = picture(176, 192)
    write_tiles(pixels, Grid(12, 11), tmp_path, name="photo", force=False)
    assert np.array_equal(read(tmp_path), pixels)


def test_recognising_tiles_is_told(tmp_path: Path) -> None:
    write_tiles(picture(), Grid(2, 3), tmp_path, name="photo", force=False)
    notices: list[str] = []
    source = open_source(str(tmp_path), SETTINGS, notice=notices.append)
    assert notices == [
        f"{tmp_path}: 6 tile files make one picture of 2x3; give '{tmp_path}/*.png' to read them as frames of their own"
    ]
    assert source.length == 1
    assert open_source(f"{tmp_path}/*.png", SETTINGS).length == 6


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("tile-r{row}-c{col}.png", "tile-r{r}-c{c}.png"),
        ("tile-r{row}-c{col}", "tile-r{r}-c{c}.png"),
        ("{col}x{row}.png", "{c}x{r}.png"),
        ("{name}.{row}.{col}.png", "a.b.{r:03d}.{c:03d}.png"),
    ],
)
def test_a_pattern_names_tiles_in_the_users_way(tmp_path: Path, pattern: str, named: str) -> None:
    pixels = picture(96, 64)
    for r in range(2):
        for c in range(3):
            save(tmp_path / named.format(r=r + 1, c=c + 1), pixels[32 * r : 32 * r + 32, 32 * c : 32 * c + 32])
    assert np.array_equal(read(tmp_path, pattern=pattern), pixels)
    save(tmp_path / "overview.png", pixels)
    assert np.array_equal(read(tmp_path, pattern=pattern), pixels)


@pytest.mark.parametrize(
    "names",
    [
        ["a.png", "b.png"],
        ["photo_0_0.png"],
        ["photo_0_0.png", "photo_0_1.png", "other.png"],
        ["a_0_0.png", "b_0_1.png"],
        ["cam_2024_0001.png", "cam_2024_0002.png"],
        ["cam_0_5.png", "cam_0_90.png"],
        ["frame_1.png", "frame_2.png"],
    ],
)
def test_other_names_are_frames_of_their_own(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        save(tmp_path / name, picture(16, 16))
    source = open_source(str(tmp_path), SETTINGS)
    assert isinstance(source, FolderSource)
    assert source.length == len(names)


def test_a_missing_tile_is_named(tmp_path: Path) -> None:
    write_tiles(picture(), Grid(3, 4), tmp_path, name="photo", force=False)
    (tmp_path / "photo_1_2.png").unlink()
    line = refused(tmp_path)
    assert "11 tiles of a 3x4 grid; missing is row 1, column 2, photo_1_2.png: add it" in line
    (tmp_path / "photo_2_0.png").unlink()
    assert "photo_1_2.png, and 1 more" in refused(tmp_path)


def test_two_files_for_one_tile_are_refused(tmp_path: Path) -> None:
    write_tiles(picture(), Grid(2, 2), tmp_path, name="photo", force=False)
    save(tmp_path / "photo_00_1.png", picture(16, 16))
    assert "same tile (row 0, column 1)" in refused(tmp_path)


@pytest.mark.parametrize(("size", "told"), [((48, 33), "px high"), ((47, 32), "px wide")])
def test_a_tile_that_does_not_fit_is_named(tmp_path: Path, size: tuple[int, int], told: str) -> None:
    write_tiles(picture(), Grid(2, 2), tmp_path, name="photo", force=False)
    save(tmp_path / "photo_1_1.png", picture(*size))
    line = refused(tmp_path)
    assert "photo_1_1.png" in line
    assert told in line


def test_a_grey_tile_among_colour_is_refused(tmp_path: Path) -> None:
    write_tiles(picture(), Grid(2, 2), tmp_path, name="photo", force=False)
    save(tmp_path / "photo_0_1.png", picture(48, 32, channels=1))
    assert "photo_0_1.png is grey, others are colour" in refused(tmp_path)


def test_a_damaged_tile_is_named(tmp_path: Path) -> None:
    write_tiles(picture(), Grid(2, 2), tmp_path, name="photo", force=False)
    path = tmp_path / "photo_1_0.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert "photo_1_0.png is cut short" in refused(tmp_path)


def test_a_whole_above_the_limit_is_refused(tmp_path: Path) -> None:
    write_tiles(picture(), Grid(2, 2), tmp_path, name="photo", force=False)
    with pytest.raises(SourceError, match="STREAMPROC_MAX_FRAME_PIXELS"):
        list(open_source(str(tmp_path), load_settings(max_frame_pixels=6000), notice=lambda _line: None))


@pytest.mark.parametrize("pattern", ["tile.png", "{row}.png", "{row}_{col}_{row}.png", "{name}{name}_{row}_{col}"])
def test_a_pattern_without_row_or_column_is_refused(tmp_path: Path, pattern: str) -> None:
    save(tmp_path / "a.png", picture(16, 16))
    with pytest.raises(UsageError, match="tile pattern"):
        open_source(str(tmp_path), SETTINGS, tiles_pattern=pattern)


def test_a_pattern_that_fits_nothing_or_several_pictures_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a_0_0.png", picture(16, 16))
    assert "no picture is named like" in refused(tmp_path, pattern="x{row}{col}.png")
    save(tmp_path / "b_0_0.png", picture(16, 16))
    assert "tiles of 2 pictures" in refused(tmp_path, pattern="{name}_{row}_{col}.png")
    assert read(tmp_path, pattern="b_{row}_{col}.png").shape == (16, 16, 3)


def test_writing_into_a_full_folder_needs_force(tmp_path: Path) -> None:
    write_tiles(picture(), Grid(2, 2), tmp_path / "out", name="photo", force=False)
    with pytest.raises(UsageError, match="is not empty"):
        write_tiles(picture(), Grid(1, 2), tmp_path / "out", name="photo", force=False)
    write_tiles(picture(seed=3), Grid(1, 2), tmp_path / "out", name="photo", force=True)
    assert np.array_equal(read(tmp_path / "out"), picture(seed=3))


def test_a_grid_that_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_tiles(picture(), Grid(9, 9), tmp_path / "out", name="photo", force=False)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="file"):
        write_tiles(picture(), Grid(2, 2), tmp_path / "file" / "out", name="photo", force=False)
