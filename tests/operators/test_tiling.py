from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadPixels, UsageError
from streamproc.model import Grid, Rect
from streamproc.operators.tiling import CUT_PX, cut, join, largest_grid, split, window_of
from tests.operators.pictures import Cut, cuts


@given(cuts(channels=(1, 3)))
def test_cores_partition_the_frame_and_are_cut_at_multiples_of_16(case: Cut) -> None:
    cores = cut(case.width, case.height, case.grid)
    covered = np.zeros((case.height, case.width), int)
    for core in cores:
        assert core.x % CUT_PX == core.y % CUT_PX == 0
        assert core.area > 0
        covered[core.y : core.bottom, core.x : core.right] += 1
    assert (covered == 1).all()
    assert len(cores) == case.grid.count
    assert cores == sorted(cores, key=lambda core: (core.y, core.x))


@given(cuts(channels=(1, 3)), st.integers(0, 40))
def test_split_and_join_give_the_picture_back(case: Cut, halo: int) -> None:
    windows = split(case.pixels, case.grid, halo)
    parts = [(window.core, window.core_pixels) for window in windows]
    assert np.array_equal(join(reversed(parts), case.width, case.height), case.pixels)
    for window in windows:
        assert window.rect == window.core.grown(halo, width=case.width, height=case.height)
        assert window.pixels.shape[:2] == (window.rect.height, window.rect.width)
        assert np.shares_memory(window.pixels, windows[0].pixels) or case.grid.count > 1


@given(cuts())
def test_tiles_differ_by_at_most_one_block(case: Cut) -> None:
    cores = cut(case.width, case.height, case.grid)
    blocks = [-(-core.width // CUT_PX) for core in cores]
    assert max(blocks) - min(blocks) <= 1


@pytest.mark.parametrize(
    ("width", "height", "most"), [(1, 1, Grid(1, 1)), (16, 17, Grid(2, 1)), (640, 480, Grid(30, 40))]
)
def test_the_largest_grid_fits_and_no_larger_one(width: int, height: int, most: Grid) -> None:
    assert largest_grid(width, height) == most
    assert len(cut(width, height, most)) == most.count
    for grid in (Grid(most.rows + 1, most.cols), Grid(most.rows, most.cols + 1), Grid(0, 1), Grid(1, -1)):
        with pytest.raises(UsageError, match=f"grid {grid} does not fit .* 1x1 to {most}"):
            cut(width, height, grid)


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one pixel"):
        cut(0, 5, Grid(1, 1))


def test_a_negative_halo_and_a_vector_are_refused() -> None:
    with pytest.raises(UsageError, match="halo must be 0 or more"):
        split(np.zeros((4, 4), np.uint8), Grid(1, 1), -1)
    with pytest.raises(BadPixels, match=r"\(4,\)"):
        split(np.zeros(4, np.uint8), Grid(1, 1), 0)


def test_parts_that_do_not_fit_are_refused() -> None:
    part = np.zeros((4, 4), np.uint8)
    with pytest.raises(BadPixels, match="no tiles"):
        join([], 4, 4)
    with pytest.raises(BadPixels, match="do not fill"):
        join([(Rect(0, 0, 4, 5), part)], 8, 8)
    with pytest.raises(BadPixels, match="do not fill"):
        join([(Rect(6, 0, 4, 4), part)], 8, 8)
    with pytest.raises(BadPixels, match="do not fill"):
        join([(Rect(-1, 0, 4, 4), part)], 8, 8)


def test_a_missing_part_stays_black() -> None:
    joined = join([(Rect(0, 0, 2, 2), np.full((2, 2), 9, np.uint8))], 4, 2)
    assert joined.tolist() == [[9, 9, 0, 0], [9, 9, 0, 0]]


def test_a_window_must_be_filled_by_its_pixels() -> None:
    window = window_of(np.zeros((20, 18), np.uint8), Rect(0, 16, 16, 16), 2, 100, 34)
    assert window.rect == Rect(0, 14, 18, 20)
    assert window.cropped(0).pixels.shape == (16, 16)
    assert window.cropped(2) is window
    with pytest.raises(BadPixels, match=r"expected \(20, 18\)"):
        window_of(np.zeros((20, 20), np.uint8), Rect(0, 16, 16, 16), 2, 100, 34)
