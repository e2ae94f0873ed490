from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadPixels
from streamproc.operators.derivatives import ROWS, laplacian, scharr
from streamproc.operators.intensity import sobel
from streamproc.operators.pixels import gray
from tests.operators.pictures import Cut, astronaut, cuts
from tests.operators.tiled import assert_exact, assert_halo_is_needed, parameters, whole

DERIVATIVES = {row.name: row for row in ROWS}
KSIZES = (1, 3, 5)


@settings(max_examples=60)
@given(cuts())
def test_scharr_of_tiles_joins_to_scharr_of_the_frame(case: Cut) -> None:
    assert_exact(DERIVATIVES["scharr"], case, {})


@settings(max_examples=60)
@given(cuts(), st.sampled_from(KSIZES))
def test_laplacians_of_tiles_join_to_the_laplacian_of_the_frame(case: Cut, ksize: int) -> None:
    assert_exact(DERIVATIVES["laplacian"], case, parameters(DERIVATIVES["laplacian"], ksize=ksize))


@pytest.mark.parametrize("ksize", KSIZES)
def test_the_halo_is_no_larger_than_needed(ksize: int) -> None:
    assert_halo_is_needed(DERIVATIVES["laplacian"], {"ksize": ksize})
    assert_halo_is_needed(DERIVATIVES["scharr"], {})


@given(cuts())
def test_scharr_is_made_of_correctly_rounded_steps(case: Cut) -> None:
    dx, dy = (cv2.Scharr(case.pixels, cv2.CV_32F, x, y) for x, y in ((1, 0), (0, 1)))
    assert np.array_equal(scharr(case.pixels, {}), np.minimum(np.sqrt(dx * dx + dy * dy) / np.float32(4080), 1))


def test_scharr_of_a_step_is_one_and_of_a_plain_is_zero() -> None:
    picture = np.zeros((6, 8), np.uint8)
    picture[:, 4:] = 255
    found = scharr(picture, {})
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]] * 6


def test_scharr_is_the_root_of_the_squared_derivatives() -> None:
    picture = gray(astronaut())
    dx, dy = (cv2.Scharr(picture, cv2.CV_64F, x, y) for x, y in ((1, 0), (0, 1)))
    assert np.allclose(scharr(picture, {}), np.minimum(np.hypot(dx, dy) / 4080, 1), rtol=1e-6, atol=0)


def test_scharr_depends_less_on_direction_than_sobel() -> None:
    y, x = np.mgrid[:96, :96]
    strengths = []
    for angle in np.radians(range(0, 91, 15)):
        wave = np.rint(128 + 100 * np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / 5)).astype(np.uint8)
        inner = np.s_[8:-8, 8:-8]
        strengths.append([np.sqrt((found[inner] ** 2).mean()) for found in (scharr(wave, {}), sobel(wave, {}))])
    (low, low_sobel), (high, high_sobel) = np.min(strengths, axis=0), np.max(strengths, axis=0)
    assert high / low < 1.01
    assert high_sobel / low_sobel > 1.05


@pytest.mark.parametrize("ksize", KSIZES)
def test_laplacian_is_opencv_s_divided_by_its_largest_value(ksize: int) -> None:
    picture = gray(astronaut())
    expected = np.abs(cv2.Laplacian(picture, cv2.CV_64F, ksize=ksize)) / {1: 1020, 3: 2040, 5: 14280}[ksize]
    assert np.array_equal(laplacian(picture, {"ksize": ksize}), expected.astype(np.float32))


@pytest.mark.parametrize("ksize", KSIZES)
def test_the_largest_laplacian_is_one(ksize: int) -> None:
    spot = np.zeros((21, 21), np.uint8)
    spot[10, 10] = 1
    kernel = np.asarray(cv2.Laplacian(spot, cv2.CV_64F, ksize=ksize))
    answering = np.where(kernel > 0, 255, 0).astype(np.uint8)  # white where the kernel is positive
    assert laplacian(answering, {"ksize": ksize}).max() == 1
    assert laplacian(255 - answering, {"ksize": ksize}).max() == 1


@pytest.mark.parametrize("name", list(DERIVATIVES))
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_the_smallest_pictures_of_one_level_have_no_edges(name: str, shape: tuple[int, ...]) -> None:
    found = whole(DERIVATIVES[name], np.full(shape, 200, np.uint8), DERIVATIVES[name].defaults())
    assert found.tolist() == np.zeros(shape).tolist()


@pytest.mark.parametrize("name", list(DERIVATIVES))
def test_colour_and_other_arrays_are_refused(name: str) -> None:
    with pytest.raises(BadPixels, match="expected"):
        whole(DERIVATIVES[name], np.zeros((4, 4, 3), np.uint8), DERIVATIVES[name].defaults())
