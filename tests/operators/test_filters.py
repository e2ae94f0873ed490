from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadPixels
from streamproc.model import Grid, Pixels
from streamproc.operators.filters import ROWS, frequency_filter
from tests.operators.pictures import KINDS, Cut, astronaut, cuts, photograph, plane
from tests.operators.tiled import assert_exact, assert_halo_is_needed, parameters, tiled, whole

FILTERS = {row.name: row for row in ROWS}


@settings(max_examples=60)
@pytest.mark.parametrize("name", ["mean", "median"])
@given(cuts(channels=(1, 3)), st.sampled_from([1, 3, 5, 7, 13, 31, 63]))
def test_means_and_medians_of_tiles_join_to_those_of_the_frame(name: str, case: Cut, ksize: int) -> None:
    assert_exact(FILTERS[name], case, parameters(FILTERS[name], ksize=ksize))


@settings(max_examples=60)
@given(cuts(channels=(1, 3)), st.sampled_from([3, 5, 9, 15]), st.floats(1, 255), st.floats(0.1, 100))
def test_bilateral_tiles_differ_from_the_frame_by_at_most_one_level(
    case: Cut, d: int, sigma_color: float, sigma_space: float
) -> None:
    params = parameters(FILTERS["bilateral"], d=d, sigma_color=sigma_color, sigma_space=sigma_space)
    expected = whole(FILTERS["bilateral"], case.pixels, params).astype(int)
    found = tiled(FILTERS["bilateral"], case.pixels, params, case.grid, d // 2 + case.extra_halo)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("d", [5, 9])
def test_bilateral_tiles_of_a_photograph_differ_in_less_than_one_pixel_of_a_hundred(d: int) -> None:
    params = parameters(FILTERS["bilateral"], d=d, sigma_color=25.0)
    expected = whole(FILTERS["bilateral"], astronaut(), params)
    found = tiled(FILTERS["bilateral"], astronaut(), params, Grid(5, 7), d // 2)
    assert (found != expected).mean() < 0.01


@pytest.mark.parametrize(
    ("name", "given_values"),
    [
        ("mean", {"ksize": 7}),
        ("median", {"ksize": 5}),
        ("bilateral", {"d": 9, "sigma_color": 255.0, "sigma_space": 50.0}),
    ],
)
def test_the_halo_is_no_larger_than_needed(name: str, given_values: dict[str, int | float | str]) -> None:
    assert_halo_is_needed(FILTERS[name], parameters(FILTERS[name], **given_values))


@settings(max_examples=40)
@given(st.sampled_from([3, 5, 11, 21, 63]), st.sampled_from(KINDS), st.integers(0, 99), st.sampled_from([1, 3, 97]))
def test_a_mean_is_the_sum_rounded_to_the_nearest_level(ksize: int, kind: str, seed: int, width: int) -> None:
    picture = plane(width, 41, kind, seed)
    radius, area = ksize // 2, ksize * ksize
    framed = cv2.copyMakeBorder(picture, radius, radius, radius, radius, cv2.BORDER_REFLECT_101).astype(np.int64)
    total = np.pad(framed.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = total[ksize:, ksize:] - total[:-ksize, ksize:] - total[ksize:, :-ksize] + total[:-ksize, :-ksize]
    found = whole(FILTERS["mean"], picture, {"ksize": ksize})
    assert np.array_equal(found, (2 * sums + area) // (2 * area))


@pytest.mark.parametrize("ksize", [1, 3, 9, 31])
def test_mean_and_median_are_opencv_s(ksize: int) -> None:
    picture = astronaut()
    assert np.array_equal(whole(FILTERS["mean"], picture, {"ksize": ksize}), cv2.blur(picture, (ksize, ksize)))
    assert np.array_equal(whole(FILTERS["median"], picture, {"ksize": ksize}), cv2.medianBlur(picture, ksize))


def test_a_median_removes_specks() -> None:
    picture = np.full((20, 20), 90, np.uint8)
    picture[3::7, 4::7] = 255
    assert (whole(FILTERS["median"], picture, {"ksize": 3}) == 90).all()


# --- frequencies --------------------------------------------------------------------------------------------


def waves(period_px: float, rows: int = 64, cols: int = 96) -> Pixels:
    x = np.arange(cols)[None, :].repeat(rows, axis=0)
    return np.asarray(np.rint(128 + 100 * np.cos(2 * np.pi * x / period_px)), np.uint8)


@pytest.mark.parametrize("shape", ["ideal", "butterworth", "gaussian"])
def test_a_low_pass_keeps_slow_waves_and_flattens_fast_ones(shape: str) -> None:
    params = parameters(FILTERS["frequency_filter"], shape=shape, high=0.1, order=6)
    assert np.ptp(frequency_filter(waves(48), params)) > 190
    assert np.ptp(frequency_filter(waves(2), params)) < 2


@pytest.mark.parametrize("shape", ["ideal", "butterworth", "gaussian"])
def test_a_high_pass_keeps_fast_waves_and_removes_slow_ones(shape: str) -> None:
    params = parameters(FILTERS["frequency_filter"], passes="high_pass", shape=shape, low=0.1, order=6, offset=128.0)
    assert np.ptp(frequency_filter(waves(2), params)) > 190
    assert np.ptp(frequency_filter(waves(48), params)) < 20


def test_a_band_pass_keeps_what_lies_between() -> None:
    params = parameters(
        FILTERS["frequency_filter"], passes="band_pass", shape="ideal", low=0.05, high=0.2, offset=128.0
    )
    mixed = waves(8).astype(int) + waves(48) + waves(2)
    found = frequency_filter(np.rint(mixed / 3).astype(np.uint8), params).astype(int)
    assert np.abs(found - 128 - (waves(8).astype(int) - 128) / 3).max() <= 2


def test_low_and_high_pass_of_one_cutoff_add_up_to_the_picture() -> None:
    picture = photograph(75, 50)
    low = parameters(FILTERS["frequency_filter"], shape="butterworth", high=0.08)
    high = parameters(FILTERS["frequency_filter"], shape="butterworth", low=0.08, passes="high_pass", offset=128.0)
    both = frequency_filter(picture, low).astype(int) + frequency_filter(picture, high) - 128
    inside = (both > 2) & (both < 253)
    kept = np.abs(both - picture)[inside & (frequency_filter(picture, high) % 255 != 0)]
    assert kept.size > 9_000
    assert kept.max() <= 1


def test_a_gaussian_low_pass_is_the_periodic_gaussian_blur() -> None:
    picture = np.ascontiguousarray(photograph(90, 70)[:, :, 1])
    sigma = 2.0
    params = parameters(FILTERS["frequency_filter"], high=1 / (2 * np.pi * sigma))
    wrapped = np.pad(picture, 20, mode="wrap").astype(np.float64)
    blurred = cv2.GaussianBlur(wrapped, (33, 33), sigma)[20:-20, 20:-20]
    assert np.abs(frequency_filter(picture, params) - blurred).max() < 0.6


@pytest.mark.parametrize("name", list(FILTERS))
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3, 3), (1, 1, 3)])
def test_the_smallest_pictures_are_filtered(name: str, shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 77, np.uint8)
    found = whole(FILTERS[name], picture, FILTERS[name].defaults())
    assert found.shape == shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - 77).max() == 0


@pytest.mark.parametrize("name", list(FILTERS))
def test_other_arrays_are_refused(name: str) -> None:
    with pytest.raises(BadPixels, match="expected"):
        whole(FILTERS[name], np.zeros((4, 4, 2), np.uint8), FILTERS[name].defaults())
