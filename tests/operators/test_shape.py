from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import hog as skimage_hog

from streamproc.errors import BadPixels
from streamproc.model import Figures, Grid, Pixels
from streamproc.operators.pixels import gray
from streamproc.operators.shape import ROWS
from streamproc.operators.table import Measure, Value
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts
from tests.operators.tiled import parameters

ROW = {row.name: row for row in ROWS}


def found(name: str, picture: NDArray[Any], **given_values: Value) -> dict[str, Any]:
    (window,) = split(picture, Grid(1, 1), 0)
    figures = cast("Measure", ROW[name].run)(window, parameters(ROW[name], **given_values))
    assert isinstance(figures, Figures)
    return figures.values


# --- gradients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height", "cell", "bins"), [(64, 64, 16, 9), (64, 128, 8, 9), (32, 96, 16, 18)])
def test_the_descriptor_is_opencv_s_of_the_resized_frame(width: int, height: int, cell: int, bins: int) -> None:
    for picture in (astronaut(), gray(astronaut())):
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        size = (2 * cell, 2 * cell)
        expected = cv2.HOGDescriptor((width, height), size, (cell, cell), (cell, cell), bins).compute(small)
        told = found("hog", picture, width=width, height=height, cell=cell, bins=bins)
        assert len(told["descriptor"]) == (width // cell - 1) * (height // cell - 1) * 4 * bins
        assert np.allclose(told["descriptor"], np.asarray(expected).reshape(-1), atol=1e-6)
        assert len(told["orientations"]) == bins
        assert sum(told["orientations"]) == pytest.approx(1, abs=1e-5)


def test_the_descriptor_agrees_with_scikit_image_s() -> None:
    # That one neither weights by place nor shares votes between cells and bins, and its blocks are in another order.
    for picture in (gray(astronaut()), np.asarray(skimage.data.camera(), np.uint8)):  # type: ignore[no-untyped-call]  # no types there
        small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
        blocks = skimage_hog(small, 9, (16, 16), (2, 2), "L2-Hys", feature_vector=False)
        theirs = np.asarray(blocks).transpose(1, 0, 3, 2, 4).reshape(-1)
        mine = np.array(found("hog", picture)["descriptor"])
        assert float(mine @ theirs / np.linalg.norm(mine) / np.linalg.norm(theirs)) > 0.85


@pytest.mark.parametrize(("angle", "bin_"), [(10, 0), (30, 1), (50, 2), (90, 4), (130, 6), (170, 8)])
def test_stripes_fill_the_bin_of_their_gradient(angle: int, bin_: int) -> None:
    rows, cols = np.mgrid[:64, :64]
    across = cols * math.cos(math.radians(angle)) + rows * math.sin(math.radians(angle))
    picture = (127 + 100 * np.sin(across / 3)).astype(np.uint8)
    shares = found("hog", picture)["orientations"]
    assert int(np.argmax(shares)) == bin_
    assert shares[bin_] > 0.4


def test_brightness_and_contrast_hardly_change_the_descriptor() -> None:
    picture = gray(astronaut())
    faint = np.asarray(picture // 2 + 60, np.uint8)
    assert np.allclose(found("hog", picture)["descriptor"], found("hog", faint)["descriptor"], atol=0.05)
    assert found("hog", np.full((50, 40), 90, np.uint8))["orientations"] == [0.0] * 9


@settings(max_examples=25)
@given(cuts(channels=(1, 3)), st.sampled_from([32, 64, 128]), st.sampled_from([8, 16]))
def test_any_frame_is_described(case: Cut, width: int, cell: int) -> None:
    told = found("hog", case.pixels, width=width, cell=cell)
    assert all(0 <= number <= 1 for number in told["descriptor"])


# --- outlines ------------------------------------------------------------------------------------------------


def shapes() -> Pixels:
    picture = np.zeros((120, 200), np.uint8)
    picture[10:51, 20:101] = 255
    picture[20:30, 30:60] = 0  # a hole
    picture[23:27, 40:45] = 255  # and what lies in it
    cv2.circle(picture, (150, 60), 30, 1, -1)
    picture[100, 10:60] = 255
    return picture


def test_outlines_are_told_largest_first() -> None:
    told = found("contours", shapes(), min_area=0.0)
    assert told["count"] == 3
    assert told["areas"][0] == 40 * 80
    assert told["perimeters"][0] == 240
    assert told["boxes"] == [[20, 10, 101, 51], [120, 30, 181, 91], [10, 100, 60, 101]]
    assert told["areas"][1] == pytest.approx(math.pi * 900, rel=0.04)
    assert told["circularity"][0] == pytest.approx(4 * math.pi * 3200 / 240**2, abs=1e-6)
    assert 0.85 < told["circularity"][1] <= 1
    assert told["solidity"][0] == 1
    assert told["areas"][2] == told["circularity"][2] == told["solidity"][2] == 0


def test_small_outlines_are_left_out_and_the_limit_cuts_the_rest() -> None:
    assert found("contours", shapes())["count"] == 2
    told = found("contours", shapes(), min_area=0.0, limit=1)
    assert told["count"] == 3
    assert all(len(told[name]) == 1 for name in told if name != "count")


def test_a_bay_lowers_the_solidity() -> None:
    picture = np.zeros((60, 60), np.uint8)
    picture[10:51, 10:51] = 255
    picture[20:51, 20:41] = 0
    assert found("contours", picture)["solidity"] == pytest.approx([1 - (22 * 31) / 1600], abs=0.03)


@settings(max_examples=40)
@given(cuts(), st.integers(1, 254))
def test_there_is_one_outline_for_each_area_that_lies_in_no_other(case: Cut, level: int) -> None:
    mask = np.asarray(case.pixels > level, np.uint8)
    # Corners connect white areas, sides alone connect black ones: what the outside does not reach is enclosed.
    outside = ndimage.label(np.pad(mask == 0, 1, constant_values=True))[0]
    filled = outside[1:-1, 1:-1] != outside[0, 0]
    areas, count = ndimage.label(filled, structure=np.ones((3, 3)))
    boxes = sorted([cols.start, rows.start, cols.stop, rows.stop] for rows, cols in ndimage.find_objects(areas)[:count])
    told = found("contours", mask, min_area=0.0, limit=1000)
    assert told["count"] == count
    if count <= 1000:
        assert sorted(told["boxes"]) == boxes


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("pixels", [np.zeros((20, 20), np.float32), np.zeros((20, 20, 2), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(name: str, pixels: NDArray[Any]) -> None:
    with pytest.raises(BadPixels, match="expected"):
        found(name, pixels)
