from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import Pixels
from streamproc.operators.pixels import gray
from streamproc.operators.restoration import (
    ROWS,
    deblur,
    denoise,
    gaussian_blur_kernel,
    inpaint,
    motion_blur_kernel,
    sharpen,
    super_resolution,
)
from streamproc.operators.table import Params
from tests.operators.pictures import Cut, astronaut, cuts, photograph
from tests.operators.tiled import assert_exact, assert_halo_is_needed, parameters, whole

RESTORATION = {row.name: row for row in ROWS}
FACE = np.ascontiguousarray(astronaut()[0:192, 128:320])


def given_parameters(name: str, **values: Any) -> Params:
    return parameters(RESTORATION[name], **values)


def psnr(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(cv2.PSNR(np.asarray(found, np.uint8), np.asarray(expected, np.uint8)))


# --- tiles --------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    cuts(channels=(1, 3)), st.sampled_from([3, 9, 31]), st.sampled_from([0.0, 1.5, 9.0]), st.floats(0, 20),
    st.integers(0, 40),
)  # fmt: skip
def test_sharpened_tiles_join_to_the_sharpened_frame(
    case: Cut, ksize: int, sigma: float, amount: float, threshold: int
) -> None:
    params = given_parameters("sharpen", ksize=ksize, sigma=sigma, amount=amount, threshold=threshold)
    assert_exact(RESTORATION["sharpen"], case, params)


@settings(max_examples=40)
@given(
    cuts(channels=(1, 3)), st.sampled_from([1.0, 3.3, 10.0, 60.0]), st.sampled_from([1, 3, 7]),
    st.sampled_from([1, 5, 11, 21]),
)  # fmt: skip
def test_denoised_tiles_join_to_the_denoised_frame(case: Cut, h: float, template: int, search: int) -> None:
    params = given_parameters("denoise", h=h, h_color=2 * h / 3, template=template, search=search)
    assert_exact(RESTORATION["denoise"], case, params)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sharpen", {"ksize": 9, "sigma": 4.0}),
        ("denoise", {"h": 80.0, "template": 3, "search": 5}),
        ("denoise", {"h": 80.0, "template": 7, "search": 11}),
    ],
)
def test_the_halo_is_no_larger_than_needed(name: str, values: dict[str, Any]) -> None:
    assert_halo_is_needed(RESTORATION[name], given_parameters(name, **values))


# --- sharpen and denoise ------------------------------------------------------------------------------------


def test_sharpening_adds_what_the_blur_takes_away() -> None:
    picture = astronaut()
    blurred = np.asarray(cv2.GaussianBlur(picture, (9, 9), 1.5), np.float64)
    found = sharpen(picture, given_parameters("sharpen", amount=1.25))
    assert np.array_equal(found, np.clip(np.rint(picture + 1.25 * (picture - blurred)), 0, 255))
    assert np.array_equal(sharpen(picture, given_parameters("sharpen", amount=0.0)), picture)


def test_every_pair_of_levels_is_sharpened_in_whole_64ths_as_in_float64() -> None:
    level, blurred = (np.ascontiguousarray(part, np.uint8) for part in np.mgrid[:256, :256])
    difference = level.astype(np.float64) - blurred
    for count in range(0, 20 * 64 + 1, 7):
        amount = count / 64
        wanted = np.clip(np.rint(level + amount * difference), 0, 255)
        assert np.array_equal(cv2.addWeighted(level, 1 + amount, blurred, -amount, 0), wanted), amount


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0, 1.015625, 0.7, 19.984375])
@pytest.mark.parametrize("threshold", [0, 1, 2, 9])
def test_sharpening_rounds_half_to_even(amount: float, threshold: int) -> None:
    picture = np.ascontiguousarray(astronaut()[:77, :131])
    params = given_parameters("sharpen", amount=amount, threshold=threshold)
    difference = picture.astype(np.float64) - cv2.GaussianBlur(picture, (9, 9), 1.5)
    difference[np.abs(difference) < threshold] = 0
    assert np.array_equal(sharpen(picture, params), np.clip(np.rint(picture + amount * difference), 0, 255))


def test_small_differences_are_not_sharpened() -> None:
    picture = gray(astronaut())
    blurred = np.asarray(cv2.GaussianBlur(picture, (9, 9), 1.5), np.int64)
    found = sharpen(picture, given_parameters("sharpen", threshold=12))
    small = np.abs(picture - blurred) < 12
    assert small.any()
    assert np.array_equal(found[small], picture[small])
    assert (found[~small] != picture[~small]).mean() > 0.9


def test_denoised_pictures_are_opencv_s() -> None:
    params = given_parameters("denoise", h=8.0, h_color=6.0, template=5, search=11)
    assert np.array_equal(denoise(gray(FACE), params), cv2.fastNlMeansDenoising(gray(FACE), None, 8, 5, 11))
    assert np.array_equal(denoise(FACE, params), cv2.fastNlMeansDenoisingColored(FACE, None, 8, 6, 5, 11))


def test_denoising_brings_a_noisy_picture_closer_to_the_clean_one() -> None:
    random = np.random.default_rng(1)
    for clean in (gray(FACE), FACE):
        noisy = np.clip(np.rint(clean + random.normal(0, 15, clean.shape)), 0, 255).astype(np.uint8)
        found = denoise(noisy, given_parameters("denoise", h=15.0, h_color=15.0, search=11))
        assert psnr(found, clean) > psnr(noisy, clean) + 3


# --- deblur -------------------------------------------------------------------------------------------------


def blurred_by(kernel: NDArray[np.float64], picture: Pixels) -> Pixels:
    return np.asarray(cv2.filter2D(picture, -1, cv2.flip(kernel, -1)), np.uint8)


@pytest.mark.parametrize(
    ("kernel", "values"),
    [
        (gaussian_blur_kernel(1.5), {"sigma": 1.5}),
        (motion_blur_kernel(9, 0), {"blur": "motion", "length": 9.0}),
        (motion_blur_kernel(7, 30), {"blur": "motion", "length": 7.0, "angle": 30.0}),
    ],
)
@pytest.mark.parametrize("method", ["wiener", "richardson_lucy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_known_blur_is_undone_in_part(
    kernel: NDArray[np.float64], values: dict[str, Any], method: str, channels: int
) -> None:
    whole_picture, place = (astronaut() if channels == 3 else gray(astronaut())), np.s_[64:256, 128:320]
    sharp = np.ascontiguousarray(whole_picture[place])
    blurred = np.ascontiguousarray(blurred_by(kernel, whole_picture)[place])
    found = deblur(blurred, given_parameters("deblur", method=method, noise=0.001, iterations=20, **values))
    assert found.shape == sharp.shape
    assert psnr(found, sharp) > psnr(blurred, sharp) + 2


def test_the_wrong_direction_of_motion_does_not_help() -> None:
    blurred = blurred_by(motion_blur_kernel(9, 0), gray(FACE))
    found = deblur(blurred, given_parameters("deblur", blur="motion", length=9.0, angle=90.0, noise=0.001))
    assert psnr(found, gray(FACE)) < psnr(blurred, gray(FACE))


@pytest.mark.parametrize("method", ["wiener", "richardson_lucy"])
def test_a_plain_picture_stays_plain(method: str) -> None:
    picture = np.full((40, 50), 90, np.uint8)
    assert (deblur(picture, given_parameters("deblur", method=method)) == 90).all()


def test_kernels_of_blurs_sum_to_one_and_lie_around_their_centre() -> None:
    for kernel in (gaussian_blur_kernel(0.3), gaussian_blur_kernel(7.7), motion_blur_kernel(1, 0)):
        assert kernel.sum() == pytest.approx(1)
        assert np.allclose(kernel, kernel[::-1, ::-1])
    for angle in (0.0, 30.0, 90.0, -45.0, 180.0):
        kernel = motion_blur_kernel(21, angle)
        y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
        assert kernel.sum() == pytest.approx(1)
        assert (kernel * x).sum() == pytest.approx(0, abs=1e-9)
        along = x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))
        across = x * np.sin(np.radians(angle)) + y * np.cos(np.radians(angle))
        assert (kernel * along**2).sum() == pytest.approx(21**2 / 12, rel=0.05)  # even speed
        assert (kernel * across**2).sum() < 0.4
    line = cv2.getGaussianKernel(13, 2.0)
    assert np.allclose(gaussian_blur_kernel(2.0), line @ line.T)


# --- holes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["telea", "navier_stokes"])
@pytest.mark.parametrize("channels", [1, 3])
def test_burnt_in_text_is_filled(method: str, channels: int) -> None:
    clean = np.minimum(FACE, 240) if channels == 3 else np.minimum(gray(FACE), 240)
    written = clean.copy()
    cv2.putText(written, "12:34", (20, 120), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 2)
    found = inpaint(written, given_parameters("inpaint", method=method))
    changed = written != clean
    assert psnr(found, clean) > psnr(written, clean) + 10
    far = cv2.dilate(
        changed.astype(np.uint8) if channels == 1 else changed.max(axis=2).astype(np.uint8), np.ones((5, 5))
    )
    assert np.array_equal(found[far == 0], written[far == 0])


def test_the_inside_of_a_polygon_is_filled_and_the_rest_stays() -> None:
    picture = photograph(80, 60)
    triangle = ((20.0, 10.0), (60.0, 10.0), (40.0, 40.0))
    marked = np.asarray(cv2.fillPoly(picture.copy(), [np.array(triangle, np.int32)], (0, 0, 255)), np.uint8)
    found = inpaint(marked, given_parameters("inpaint", holes="area", area=triangle, grow=0))
    inside = (marked == (0, 0, 255)).all(axis=2)
    assert np.array_equal(found[~inside], picture[~inside])
    assert psnr(found, picture) > psnr(marked, picture) + 5


def test_a_frame_of_nothing_but_hole_or_without_holes_stays() -> None:
    white = np.full((12, 15), 255, np.uint8)
    assert np.array_equal(inpaint(white, given_parameters("inpaint")), white)
    assert np.array_equal(inpaint(white // 2, given_parameters("inpaint")), white // 2)
    outside = given_parameters("inpaint", holes="area", area=((90.0, 90.0), (95.0, 90.0), (1e9, 1e9)), grow=0)
    assert np.array_equal(inpaint(photograph(15, 12), outside), photograph(15, 12))


# --- enlarging ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["lanczos", "cubic"])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_an_enlarged_picture_is_nearer_to_the_original_than_repeated_pixels(interpolation: str, factor: int) -> None:
    original = np.ascontiguousarray(FACE[:180, :180])
    small = np.asarray(cv2.resize(original, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA), np.uint8)
    found = super_resolution(small, {"factor": factor, "interpolation": interpolation})
    repeated = small.repeat(factor, axis=0).repeat(factor, axis=1)
    assert found.shape == original.shape
    assert psnr(found, original) > psnr(repeated, original) + 1


def test_points_of_an_enlarged_picture_come_back() -> None:
    move = RESTORATION["super_resolution"].back
    assert move is not None
    found = move(np.array([[0.5, 0.5], [199.5, 99.5], [-0.5, -0.5]]), 100, 50, {"factor": 2})
    assert found.tolist() == [[0, 0], [99.5, 49.5], [-0.5, -0.5]]


@pytest.mark.parametrize("name", list(RESTORATION))
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3, 3), (1, 1, 3)])
def test_the_smallest_pictures_are_restored(name: str, shape: tuple[int, ...]) -> None:
    found = whole(RESTORATION[name], np.full(shape, 77, np.uint8), RESTORATION[name].defaults())
    assert found.dtype == np.uint8
    assert found.ndim == len(shape)
    assert (found == 77).all()


@pytest.mark.parametrize("name", list(RESTORATION))
def test_other_arrays_are_refused(name: str) -> None:
    with pytest.raises(BadPixels, match="expected"):
        whole(RESTORATION[name], np.zeros((4, 4, 2), np.uint8), RESTORATION[name].defaults())
