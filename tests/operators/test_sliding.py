from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Boxes, Grid, Pixels
from streamproc.operators.boxes import box_labels, merged_boxes, unpack_boxes
from streamproc.operators.sliding import ROWS, best_windows, check_sliding, sliding_halo, sliding_window
from streamproc.operators.table import Params
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts

(ROW,) = ROWS


class Disks:
    """A classifier with an answer worked out by hand: how like a bright or a dark disk on grey a window is."""

    labels = ("nothing", "bright", "dark")

    def scores(self, patches: Sequence[Pixels]) -> NDArray[np.float32]:
        rows = []
        for patch in patches:
            y, x = np.mgrid[: patch.shape[0], : patch.shape[1]]
            centre = (patch.shape[0] - 1) / 2
            disk = np.hypot(x - centre, y - centre) <= patch.shape[0] * 0.4
            contrast = (patch[disk].mean() - patch[~disk].mean()) / 128
            bright, dark = max(0.0, min(1.0, contrast)), max(0.0, min(1.0, -contrast))
            rows.append((1 - bright - dark, bright, dark))
        return np.array(rows, np.float32).reshape(-1, 3)


@pytest.fixture(scope="module", autouse=True)
def _classifier() -> object:
    patch = pytest.MonkeyPatch()
    named = SimpleNamespace(load_classifier=lambda _path: Disks())
    patch.setitem(sys.modules, "streamproc.operators.classifiers", named)
    yield
    patch.undo()


def params(**changes: object) -> Params:
    return {**ROW.defaults(), "model": "disks.onnx", "ignore": "nothing", "threshold": 0.6, **changes}


def hits_in(picture: Pixels, grid: Grid, given_params: Params, extra_halo: int = 0) -> Boxes:
    windows = split(picture, grid, sliding_halo(given_params) + extra_halo)
    return merged_boxes([sliding_window(window, given_params) for window in windows])


def found_in(picture: Pixels, grid: Grid, given_params: Params) -> Boxes:
    return best_windows(hits_in(picture, grid, given_params), given_params)


def disks(width: int, height: int, *placed: tuple[int, int, int, int]) -> Pixels:
    """Disks (x, y, side, level) on grey."""
    picture = np.full((height, width), 110, np.uint8)
    y, x = np.mgrid[:height, :width]
    for left, top, side, level in placed:
        centre = (side - 1) / 2
        picture[np.hypot(x - left - centre, y - top - centre) <= side * 0.4] = level
    return picture


@settings(max_examples=25, deadline=None)
@given(case=cuts())
def test_tiles_judge_the_very_windows_of_the_whole_frame(case: Cut) -> None:
    wanted = params(window_px=8, step_px=3, max_size_px=20, threshold=0.05, ignore="")
    assert hits_in(case.pixels, case.grid, wanted, case.extra_halo) == hits_in(case.pixels, Grid(1, 1), wanted)


@pytest.mark.parametrize("grid", [Grid(1, 1), Grid(2, 2), Grid(3, 3), Grid(2, 4)], ids=str)
def test_objects_of_several_sizes_are_found_once_each_under_their_label(grid: Grid) -> None:
    picture = disks(320, 256, (140, 108, 32, 250), (30, 30, 48, 0), (250, 180, 48, 250))
    found = found_in(picture, grid, params(step_px=4, max_size_px=48))
    centres = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in unpack_boxes(found)[0].tolist()]
    told = sorted(zip(box_labels(found), centres, strict=True), key=lambda one: one[1])
    assert [label for label, _ in told] == ["dark", "bright", "bright"]
    for (_, (x, y)), (left, top, side) in zip(told, ((30, 30, 48), (140, 108, 32), (250, 180, 48)), strict=True):
        assert abs(x - left - side / 2) <= 4
        assert abs(y - top - side / 2) <= 4
    assert found == found_in(picture, Grid(1, 1), params(step_px=4, max_size_px=48))


def test_labels_that_are_ignored_are_not_told() -> None:
    picture = disks(96, 64, (0, 0, 32, 250), (64, 32, 32, 0))
    assert sorted(box_labels(found_in(picture, Grid(1, 1), params()))) == ["bright", "dark"]
    assert box_labels(found_in(picture, Grid(1, 1), params(ignore="nothing, bright"))) == ["dark"]
    assert "nothing" in box_labels(found_in(picture, Grid(1, 1), params(ignore="")))


def test_a_check_knows_the_labels_that_are_ignored() -> None:
    check_sliding(params(ignore="nothing, dark"))
    check_sliding(params(ignore=""))
    with pytest.raises(PipelineError, match="ignore names 'dusk', the labels are: nothing, bright, dark"):
        check_sliding(params(ignore="nothing, dusk"))


@pytest.mark.parametrize("size", [(1, 1), (31, 200), (200, 31), (32, 32)])
def test_pictures_smaller_than_a_window_have_nothing(size: tuple[int, int]) -> None:
    assert found_in(np.full(size, 9, np.uint8), Grid(1, 1), params()).xyxy == b""


def test_the_halo_shows_the_largest_window_whole() -> None:
    assert sliding_halo(params(window_px=32, max_size_px=64)) == 32 + 2 * 2 + 2
    assert sliding_halo(params(window_px=64, max_size_px=8)) == 32 + 2 + 2


def test_colour_and_floats_are_refused() -> None:
    for picture in (astronaut(), np.zeros((90, 90), np.float32)):
        with pytest.raises(BadPixels, match="expected"):
            sliding_window(split(picture, Grid(1, 1), 0)[0], params())
