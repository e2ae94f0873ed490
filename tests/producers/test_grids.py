"""The automatic grid: bounds it keeps whatever the frame, and the choices people see."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from producers.grids import MAX_TILES, Demand, choose_grid, finer, kilobytes, tile_halo
from streamproc.errors import UsageError
from streamproc.model import CODECS, Grid
from streamproc.operators import tiling

PHOTO = Demand(
    width=1280,
    height=720,
    codec="jpeg",
    halo=0,
    bytes_per_pixel=190_000 / (1280 * 720),
    densest=190_000 / (1280 * 720),
    partitions=8,
    target_bytes=200_000,
    max_bytes=900_000,
)


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    codec = draw(st.sampled_from(CODECS))
    bytes_per_pixel = draw(st.sampled_from((1.0, 3.0)) if codec == "raw" else st.floats(0.01, 3.2))
    max_bytes = draw(st.integers(20_000, 8_000_000))
    return Demand(
        width=draw(st.integers(1, 9000)),
        height=draw(st.integers(1, 9000)),
        codec=codec,
        halo=draw(st.sampled_from((0, 2, 16, 64, 96))),
        bytes_per_pixel=bytes_per_pixel,
        densest=bytes_per_pixel * (1 if codec == "raw" else draw(st.floats(1, 3))),
        partitions=draw(st.integers(1, 64)),
        target_bytes=min(max_bytes, draw(st.integers(10_000, 900_000))),
        max_bytes=max_bytes,
    )


def largest_tile(demand: Demand, grid: Grid) -> float:
    """Estimated bytes of the largest tile, from the very rectangles that are cut."""
    cores = tiling.cut(demand.width, demand.height, grid)
    rects = [core.grown(demand.halo, width=demand.width, height=demand.height) for core in cores]
    return max(rect.area for rect in rects) * demand.densest


@given(demand=demands())
def test_a_chosen_grid_fits_and_its_tiles_stay_below_the_limit(demand: Demand) -> None:
    try:
        grid = choose_grid(demand).grid
    except UsageError:
        smallest = (16 + 2 * demand.halo) ** 2 * demand.densest
        assert smallest > 0.8 * demand.target_bytes or demand.width * demand.height > 4_000_000
        return
    most = tiling.largest_grid(demand.width, demand.height)
    assert grid.rows <= most.rows
    assert grid.cols <= most.cols
    assert grid.count <= MAX_TILES
    assert largest_tile(demand, grid) <= demand.max_bytes


@given(demand=demands())
def test_tiles_stay_at_or_under_the_target_while_halos_are_small(demand: Demand) -> None:
    plain = replace(demand, halo=0)
    assert largest_tile(plain, choose_grid(plain).grid) <= plain.target_bytes


@given(demand=demands())
def test_tiles_of_even_frames_do_not_fall_below_the_floor_needlessly(demand: Demand) -> None:
    even = replace(demand, halo=0, densest=demand.bytes_per_pixel, target_bytes=200_000, max_bytes=900_000)
    assume(min(even.width, even.height) >= 256)
    grid = choose_grid(even).grid
    assert even.frame_bytes / grid.count >= 25_000 or grid.count == 1


@given(
    width=st.integers(1500, 4500),
    height=st.integers(1500, 4500),
    bytes_per_pixel=st.floats(0.1, 3),
    partitions=st.integers(1, 64),
)
def test_large_frames_reach_all_partitions_and_their_tiles_are_nearly_square(
    width: int, height: int, bytes_per_pixel: float, partitions: int
) -> None:
    even = replace(
        PHOTO,
        width=width,
        height=height,
        bytes_per_pixel=bytes_per_pixel,
        densest=bytes_per_pixel,
        partitions=partitions,
    )
    assume(even.frame_bytes > partitions * 60_000)
    grid = choose_grid(even).grid
    assert grid.count >= 0.7 * even.partitions
    assert 1 / 4 <= (even.width / grid.cols) / (even.height / grid.rows) <= 4


def test_the_reason_is_one_line_with_the_numbers() -> None:
    assert choose_grid(PHOTO).reason == (
        "grid 2x2: 1280x720 as jpeg is about 190 kB; 4 tiles of about 640x368 px, 49 kB each, over 8 partitions"
    )
    assert choose_grid(replace(PHOTO, halo=64, partitions=1)).reason == (
        "grid 1x1: 1280x720 as jpeg is about 190 kB, one tile"
    )
    dense = replace(PHOTO, densest=2 * PHOTO.densest, halo=16).densest
    assert "at most with 16 px of halo" in choose_grid(replace(PHOTO, densest=dense, halo=16)).reason


@pytest.mark.parametrize(
    ("width", "height", "bytes_per_pixel", "partitions", "grid"),
    [
        (1, 1, 3.0, 8, "1x1"),
        (16, 16, 3.0, 8, "1x1"),
        (640, 480, 0.2, 8, "1x1"),
        (1280, 720, 0.2, 1, "1x1"),
        (1280, 720, 0.2, 4, "2x2"),
        (1920, 1080, 0.2, 8, "2x4"),
        (1080, 1920, 0.2, 8, "4x2"),
        (3840, 2160, 0.2, 8, "4x4"),
        (3840, 2160, 0.2, 16, "3x5"),
        (7680, 4320, 0.2, 32, "8x8"),
        (1280, 720, 3.0, 8, "3x5"),
    ],
)
def test_common_frames(width: int, height: int, bytes_per_pixel: float, partitions: int, grid: str) -> None:
    demand = replace(
        PHOTO,
        width=width,
        height=height,
        bytes_per_pixel=bytes_per_pixel,
        densest=bytes_per_pixel,
        partitions=partitions,
    )
    assert str(choose_grid(demand).grid) == grid


def test_wide_halos_take_larger_tiles_instead_of_sending_everything_many_times() -> None:
    raw = replace(PHOTO, codec="raw", bytes_per_pixel=3.0, densest=3.0, halo=96)
    grid = choose_grid(raw).grid
    assert grid.count <= 9
    assert largest_tile(raw, grid) > raw.target_bytes


def test_a_demand_that_cannot_be_met_says_what_to_change() -> None:
    with pytest.raises(UsageError, match="STREAMPROC_MAX_TILE_BYTES"):
        choose_grid(replace(PHOTO, codec="raw", densest=3.0, halo=96, target_bytes=10_000, max_bytes=10_000))


@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    rows=st.integers(1, 20),
    cols=st.integers(1, 20),
    shrink=st.floats(0.05, 0.95),
)
def test_a_finer_grid_is_finer_and_fits(width: int, height: int, rows: int, cols: int, shrink: float) -> None:
    most = tiling.largest_grid(width, height)
    assume(rows <= most.rows and cols <= most.cols)
    found = finer(Grid(rows, cols), width, height, shrink=shrink)
    if found is None:
        assert (rows, cols) == (most.rows, most.cols)
        return
    assert rows <= found.rows <= most.rows
    assert cols <= found.cols <= most.cols
    assert found.count >= min(most.count, math.floor(rows * cols / shrink))


@pytest.mark.parametrize(
    ("halo", "codec", "expected"),
    [(0, "jpeg", 0), (1, "jpeg", 16), (16, "jpeg", 16), (17, "jpeg", 32), (17, "png", 17), (2, "raw", 2)],
)
def test_the_halo_of_a_tile(halo: int, codec: str, expected: int) -> None:
    assert tile_halo(halo, codec) == expected  # type: ignore[arg-type]  # literals, from a table


def test_numbers_of_bytes_are_said_as_people_say_them() -> None:
    assert [kilobytes(count) for count in (3, 999, 1000, 48_400, 999_499, 999_500, 2.76e6)] == [
        "3 bytes",
        "999 bytes",
        "1 kB",
        "48 kB",
        "999 kB",
        "1.0 MB",
        "2.8 MB",
    ]
