"""Regions that are blacked out: what is hidden stays hidden in pictures of every size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.cameras_file import Region
from producers.ingest_mask import Mask, inside
from streamproc.model import Frame, Pixels

SHARES = st.floats(0, 1)
CORNERS = st.lists(st.tuples(SHARES, SHARES), min_size=3, max_size=8)
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def masked(size: tuple[int, ...], *, hidden: list[Region] | None = None, shown: list[Region] | None = None) -> Pixels:
    white = np.full(size, 255, np.uint8)
    found = Mask(hidden or [], shown or []).apply(Frame(pixels=white, captured_ns=0))
    assert (white == 255).all()
    assert found.shape == size
    return found


@pytest.mark.parametrize("size", [(40, 80), (40, 80, 3), (480, 640, 3)])
def test_a_rectangle_is_black_with_a_margin_of_one_pixel(size: tuple[int, ...]) -> None:
    found = masked(size, hidden=[Region(x=0.25, y=0.5, width=0.25, height=0.25)])
    rows, cols = size[:2]
    expected = np.full(size, 255, np.uint8)
    expected[rows // 2 - 1 : rows // 4 * 3 + 1, cols // 4 - 1 : cols // 2 + 1] = 0
    assert np.array_equal(found, expected)


def test_only_what_is_included_is_shown_and_a_mask_hides_of_that() -> None:
    shown = [Region(x=0, y=0, width=0.5, height=1)]
    found = masked((40, 40), shown=shown, hidden=[Region(polygon=((0, 0.5), (1, 0.5), (1, 1), (0, 1)))])
    assert np.array_equal(np.argwhere(found)[[0, -1]], [[0, 0], [18, 18]])
    assert found[:19, :19].all()


@given(corners=CORNERS, size=SIZES)
def test_a_polygon_hides_all_pixels_that_opencv_says_are_inside(
    corners: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    rows, cols = size
    found = masked(size, hidden=[Region(polygon=tuple(corners))])
    inner = inside(corners, rows=rows, cols=cols)
    contour = np.array([[x * cols, y * rows] for x, y in corners], np.float32)
    for row, col in np.argwhere(inner)[:50]:
        assert found[row, col] == 0
        if len(corners) == 3:
            assert cv2.pointPolygonTest(contour, (float(col) + 0.5, float(row) + 0.5), measureDist=True) >= -1e-2


@given(corners=CORNERS, size=SIZES)
def test_hiding_a_region_and_showing_it_have_no_pixel_in_common(
    corners: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    region = [Region(polygon=tuple(corners))]
    assert not (masked(size, hidden=region) & masked(size, shown=region)).any()


def test_without_regions_nothing_is_copied() -> None:
    frame = Frame(pixels=np.zeros((4, 4), np.uint8), captured_ns=0)
    assert Mask([], []).apply(frame) is frame.pixels
