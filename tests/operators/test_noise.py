from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.restoration
from hypothesis import given, settings

from streamproc.aggregator.merging import merge_step
from streamproc.errors import BadPixels
from streamproc.model import Figures, Grid, Histogram, Pixels
from streamproc.operators.noise import MASK, NOISE_HALO_PX, ROWS, noise_estimate, noise_sigma
from streamproc.operators.pixels import gray
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, cuts, photograph

PHOTOGRAPHS = ("astronaut", "chelsea", "rocket", "moon", "brick")


def sizes(picture: Pixels, grid: Grid = Grid(1, 1)) -> Histogram:  # noqa: B008  # frozen
    found = merge_step([noise_estimate(window, {}) for window in split(picture, grid, NOISE_HALO_PX)], 1, 1)
    assert isinstance(found, Histogram)
    return found


def estimate(picture: Pixels) -> Figures:
    return noise_sigma(sizes(picture), {})


def builtin(name: str) -> Pixels:
    picture = np.ascontiguousarray(getattr(skimage.data, name)())
    return gray(np.ascontiguousarray(picture[:, :, ::-1])) if picture.ndim == 3 else picture


def noisy(picture: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(11).normal(0, sigma, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("sigma", [10, 20])
def test_planted_noise_is_measured_on_photographs_within_a_tenth(name: str, sigma: float) -> None:
    (found,) = estimate(noisy(builtin(name), sigma)).values["sigma"]
    assert found == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("name", ["camera", "coffee", "coins"])
@pytest.mark.parametrize("sigma", [1, 2, 5, 10, 20])
def test_planted_noise_is_measured_without_fine_texture_from_one_level_on(name: str, sigma: float) -> None:
    smooth = np.asarray(cv2.GaussianBlur(builtin(name), (0, 0), 2), np.uint8)
    found = estimate(noisy(smooth, sigma)).values
    assert found["sigma"] == pytest.approx([sigma], rel=0.1)
    assert found["sigma_mean"] == pytest.approx([sigma], rel=0.1)


@settings(max_examples=60)
@given(cuts(channels=(1, 3)))
def test_the_counts_of_tiles_are_those_of_the_frame(case: Cut) -> None:
    once = sizes(case.pixels)
    parts = [noise_estimate(window, {}) for window in split(case.pixels, case.grid, NOISE_HALO_PX + case.extra_halo)]
    assert merge_step(parts, case.width, case.height) == once


@settings(max_examples=40)
@given(cuts())
def test_the_counted_sizes_are_those_of_the_mask(case: Cut) -> None:
    picture = case.pixels.astype(np.int64)
    found = np.abs(scipy.ndimage.convolve(picture, MASK.astype(np.int64)))[1:-1, 1:-1]
    low, high = (
        each(picture, size=3)[1:-1, 1:-1] for each in (scipy.ndimage.minimum_filter, scipy.ndimage.maximum_filter)
    )
    expected = np.sort(found[(low > 0) & (high < 255)])
    (row,) = sizes(case.pixels).counts
    assert np.array_equal(np.repeat(np.arange(len(row)), row), expected)
    told = noise_sigma(Histogram(counts=[row]), {}).values
    assert told["pixels"] == [expected.size]
    if expected.size:
        assert told["sigma_mean"][0] == pytest.approx(math.sqrt(math.pi / 2) * expected.mean() / 6, abs=1e-4)
        low, high = expected[(expected.size - 1) // 2], expected[expected.size // 2]
        assert low - 0.5 <= told["sigma"][0] * 6 * 0.67449 <= high + 0.5


def test_halo_is_as_small_as_it_can_be() -> None:
    (row,) = ROWS
    assert row.halo({}) == NOISE_HALO_PX == 1
    picture = noisy(np.full((32, 64), 120, np.uint8), 9)
    bare = merge_step([noise_estimate(window, {}) for window in split(picture, Grid(1, 2), 0)], 64, 32)
    assert bare != sizes(picture)


def test_each_channel_has_its_own_noise() -> None:
    flat = np.full((200, 200), 120, np.uint8)
    found = estimate(np.stack([noisy(flat, sigma) for sigma in (3, 12, 30)], axis=2)).values
    assert found["sigma"] == pytest.approx([3, 12, 30], rel=0.05)


def test_it_agrees_with_the_wavelet_estimate() -> None:
    picture = noisy(gray(photograph(400, 300)), 15)
    other = skimage.restoration.estimate_sigma(picture)  # type: ignore[no-untyped-call]  # no types there
    assert estimate(picture).values["sigma"][0] == pytest.approx(other, rel=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 40), (40, 2), (3, 3)])
def test_pictures_with_little_inside_have_no_noise(size: tuple[int, int]) -> None:
    found = estimate(np.full(size, 120, np.uint8)).values
    assert found["sigma"] == found["sigma_mean"] == [0]
    assert found["pixels"] == [1 if size == (3, 3) else 0]


def test_cut_off_noise_does_not_count() -> None:
    black = np.clip(np.random.default_rng(5).normal(0, 10, (100, 100)), 0, 255).astype(np.uint8)
    assert estimate(np.zeros((50, 50), np.uint8)).values["pixels"] == [0]
    half = np.concatenate([np.zeros((100, 100), np.uint8), noisy(np.full((100, 100), 128, np.uint8), 10)])
    assert estimate(half).values["sigma"][0] == pytest.approx(10, rel=0.05)
    assert estimate(black).values["pixels"][0] < 100


def test_other_arrays_are_refused() -> None:
    (window,) = split(np.zeros((8, 8), np.float32), Grid(1, 1), 0)
    with pytest.raises(BadPixels, match="expected"):
        noise_estimate(window, {})
