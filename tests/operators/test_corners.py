from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadPixels
from streamproc.model import Grid, Pixels
from streamproc.operators.corners import fast, harris, harris_response
from streamproc.operators.pixels import gray
from streamproc.operators.points import unpack_points
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts


@given(cuts(), st.sampled_from([0.0, 0.04, 0.06]))
def test_the_harris_response_is_opencv_s_up_to_rounding(case: Cut, k: float) -> None:
    found = harris_response(case.pixels, k)
    whole = cv2.cornerHarris(case.pixels, 2, 3, k)
    assert np.allclose(found, whole, rtol=1e-4, atol=max(1e-9, 1e-6 * float(np.abs(whole).max())))


@given(cuts(), st.sampled_from([0.0, 0.04, 0.06]))
def test_the_harris_response_is_made_of_correctly_rounded_steps(case: Cut, k: float) -> None:
    dx, dy = (np.asarray(cv2.Sobel(case.pixels, cv2.CV_64F, x, y)) for x, y in ((1, 0), (0, 1)))
    xx, yy, xy = (cv2.boxFilter(product, -1, (2, 2), normalize=False) for product in (dx * dx, dy * dy, dx * dy))
    trace = xx + yy
    expected = (xx * yy - xy * xy - k * trace * trace) * (1 / (4 * 2 * 255)) ** 4
    assert np.array_equal(harris_response(case.pixels, k), expected)


def test_a_square_has_four_harris_corners() -> None:
    picture: Pixels = np.zeros((40, 50), np.uint8)
    picture[10:30, 15:40] = 200
    (window,) = split(picture, Grid(1, 1), 0)
    xy, response, _ = unpack_points(harris(window, {"k": 0.04, "threshold": 0.001, "limit": 10}))
    near = {(round(x / 5) * 5, round(y / 5) * 5) for x, y in xy.tolist()}
    assert near == {(15, 10), (40, 10), (15, 30), (40, 30)}
    assert (response > 0.001).all()


def test_the_strongest_come_first_and_the_limit_cuts_the_rest() -> None:
    (window,) = split(gray(astronaut()), Grid(1, 1), 0)
    everything = harris(window, {"k": 0.04, "threshold": 0.0001, "limit": 10_000})
    some = harris(window, {"k": 0.04, "threshold": 0.0001, "limit": 20})
    xy, response, _ = unpack_points(everything)
    assert len(response) > 500
    assert (np.diff(response) <= 0).all()
    assert np.array_equal(unpack_points(some)[0], xy[:20])


@given(cuts(), st.sampled_from([1, 10, 40]))
def test_fast_of_one_tile_is_opencv_s(case: Cut, threshold: int) -> None:
    (window,) = split(case.pixels, Grid(1, 1), 0)
    xy, response, _ = unpack_points(fast(window, {"threshold": threshold, "limit": 0}))
    found = cv2.FastFeatureDetector.create(threshold).detect(case.pixels)
    expected = sorted((-point.response, point.pt[1], point.pt[0]) for point in found)
    assert [(-r, y, x) for (x, y), r in zip(xy.tolist(), response.tolist(), strict=True)] == expected


@pytest.mark.parametrize("measure", [harris, fast])
def test_other_pixels_than_grey_are_refused(measure: object) -> None:
    (window,) = split(np.zeros((16, 16, 3), np.uint8), Grid(1, 1), 0)
    with pytest.raises(BadPixels, match=r"expected \(rows, cols\) uint8"):
        measure(window, {"k": 0.04, "threshold": 1, "limit": 1})  # type: ignore[operator]  # both are measures
