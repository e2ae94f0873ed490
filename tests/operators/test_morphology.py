from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import thin

from streamproc.errors import BadPixels
from streamproc.model import Pixels
from streamproc.operators.morphology import ROWS, skeleton
from tests.operators.pictures import KINDS, Cut, astronaut, cuts, plane
from tests.operators.tiled import assert_exact, assert_halo_is_needed, parameters, whole

MORPHOLOGY = {row.name: row for row in ROWS}
OPERATIONS: dict[str, int] = {
    "erode": cv2.MORPH_ERODE,
    "dilate": cv2.MORPH_DILATE,
    "open": cv2.MORPH_OPEN,
    "close": cv2.MORPH_CLOSE,
    "morphological_gradient": cv2.MORPH_GRADIENT,
    "top_hat": cv2.MORPH_TOPHAT,
    "black_hat": cv2.MORPH_BLACKHAT,
}
SHAPES: dict[str, int] = {"rect": cv2.MORPH_RECT, "ellipse": cv2.MORPH_ELLIPSE, "cross": cv2.MORPH_CROSS}


@settings(max_examples=40)
@pytest.mark.parametrize("name", list(OPERATIONS))
@given(cuts(channels=(1, 3)), st.sampled_from(list(SHAPES)), st.sampled_from([1, 3, 5, 9, 17, 31]), st.integers(1, 4))
def test_tiles_join_to_the_frame(name: str, case: Cut, shape: str, ksize: int, iterations: int) -> None:
    params = parameters(MORPHOLOGY[name], shape=shape, ksize=ksize, iterations=iterations)
    assert_exact(MORPHOLOGY[name], case, params)


@pytest.mark.parametrize("name", list(OPERATIONS))
@pytest.mark.parametrize(("shape", "ksize", "iterations"), [("rect", 3, 1), ("cross", 5, 2), ("ellipse", 7, 1)])
def test_the_halo_is_no_larger_than_needed(name: str, shape: str, ksize: int, iterations: int) -> None:
    params = parameters(MORPHOLOGY[name], shape=shape, ksize=ksize, iterations=iterations)
    assert_halo_is_needed(MORPHOLOGY[name], params)


@pytest.mark.parametrize("name", list(OPERATIONS))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_the_whole_frame_is_opencv_s(name: str, shape: str) -> None:
    element = cv2.getStructuringElement(SHAPES[shape], (5, 5))
    expected = cv2.morphologyEx(astronaut(), OPERATIONS[name], element, iterations=2)
    params = parameters(MORPHOLOGY[name], shape=shape, ksize=5, iterations=2)
    assert np.array_equal(whole(MORPHOLOGY[name], astronaut(), params), expected)


def spots() -> Pixels:
    """Grey, with one bright pixel, one dark pixel, and a bright square of 6 x 6."""
    picture = np.full((24, 32), 100, np.uint8)
    picture[5, 5], picture[5, 12], picture[10:16, 20:26] = 220, 10, 200
    return picture


@pytest.mark.parametrize(
    ("name", "bright", "dark", "corner"),
    [
        ("erode", 100, 10, 100),
        ("dilate", 220, 100, 200),
        ("open", 100, 10, 200),
        ("close", 220, 100, 200),
        ("morphological_gradient", 120, 90, 100),
        ("top_hat", 120, 0, 0),
        ("black_hat", 0, 90, 0),
    ],
)
def test_spots_are_treated_by_their_size(name: str, bright: int, dark: int, corner: int) -> None:
    found = whole(MORPHOLOGY[name], spots(), MORPHOLOGY[name].defaults())
    assert (int(found[5, 5]), int(found[5, 12]), int(found[10, 20])) == (bright, dark, corner)


# --- skeletons ----------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(KINDS), st.integers(0, 2**20), st.integers(0, 255))
def test_a_skeleton_is_scikit_image_s_thinning(width: int, height: int, kind: str, seed: int, level: int) -> None:
    picture = plane(width, height, kind, seed)
    expected = thin(picture > level)  # type: ignore[no-untyped-call]  # no types there
    assert np.array_equal(skeleton(picture, {"level": level}), expected * np.uint8(255))


@pytest.mark.parametrize("name", ["horse", "coins", "page"])
def test_a_skeleton_of_a_real_picture_is_scikit_image_s_thinning(name: str) -> None:
    loaded = getattr(skimage.data, name)()
    picture = loaded.astype(np.uint8) * 255 if loaded.dtype == bool else loaded
    expected = thin(picture > 127)  # type: ignore[no-untyped-call]  # no types there
    assert expected.any()
    assert np.array_equal(skeleton(picture, {"level": 127}), expected * np.uint8(255))


def test_a_skeleton_keeps_how_many_parts_and_holes_there_are() -> None:
    picture = np.zeros((60, 90), np.uint8)
    cv2.circle(picture, (25, 30), 18, 255, 7)
    cv2.rectangle(picture, (55, 10), (80, 50), 255, -1)
    lines = skeleton(picture, {"level": 127})
    assert cv2.connectedComponents(lines, connectivity=8)[0] == cv2.connectedComponents(picture, connectivity=8)[0] == 3
    assert cv2.connectedComponents(255 - lines, connectivity=4)[0] == 3  # none, outside, inside of the ring
    assert 0 < cv2.countNonZero(lines) < cv2.countNonZero(picture) / 8
    assert not (lines & ~picture).any()


@pytest.mark.parametrize("name", list(MORPHOLOGY))
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (1, 1, 3), (2, 5, 3)])
def test_the_smallest_pictures_are_changed(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) == 3 and "color" not in MORPHOLOGY[name].accepts:
        shape = shape[:2]
    found = whole(MORPHOLOGY[name], np.full(shape, 77, np.uint8), MORPHOLOGY[name].defaults())
    assert found.shape == shape
    assert found.dtype == np.uint8
    assert (found == (77 if name in ("erode", "dilate", "open", "close") else 0)).all()


@pytest.mark.parametrize("name", list(MORPHOLOGY))
def test_other_arrays_are_refused(name: str) -> None:
    with pytest.raises(BadPixels, match="expected"):
        whole(MORPHOLOGY[name], np.zeros((4, 4, 2), np.uint8), MORPHOLOGY[name].defaults())
