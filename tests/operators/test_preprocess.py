from __future__ import annotations

from fractions import Fraction
from itertools import product

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.aggregator.merging import merge_step
from streamproc.errors import BadPixels
from streamproc.model import Figures, Grid, Histogram, Pixels
from streamproc.operators.pixels import gray
from streamproc.operators.preprocess import (
    ROWS,
    adaptive_threshold,
    clahe,
    equalize_histogram,
    gamma,
    normalize,
    otsu,
    otsu_figures,
    otsu_level,
    otsu_threshold,
)
from streamproc.operators.tiling import split
from tests.operators.pictures import GALLERY, KINDS, Cut, astronaut, cuts, grey_picture, photograph, plane
from tests.operators.tiled import assert_exact, assert_halo_is_needed, parameters, whole

PREPROCESS = {row.name: row for row in ROWS}
TRANSFORMS = [name for name, row in PREPROCESS.items() if row.kind == "transform"]
GRAY = gray(astronaut())


@settings(max_examples=40)
@given(cuts(channels=(1, 3)), st.floats(0.05, 20))
def test_gamma_of_tiles_joins_to_gamma_of_the_frame(case: Cut, exponent: float) -> None:
    assert_exact(PREPROCESS["gamma"], case, parameters(PREPROCESS["gamma"], gamma=exponent))


@settings(max_examples=60)
@given(
    cuts(),
    st.sampled_from(["mean", "gaussian"]),
    st.sampled_from([3, 5, 11, 31, 63]),
    st.integers(-9, 9),
    st.booleans(),
)
def test_thresholded_tiles_join_to_the_thresholded_frame(
    case: Cut, method: str, block_size: int, c: int, inverse: bool
) -> None:
    row = PREPROCESS["adaptive_threshold"]
    assert_exact(row, case, parameters(row, method=method, block_size=block_size, c=c, inverse=inverse))


@pytest.mark.parametrize("block_size", [3, 11])
def test_the_halo_is_no_larger_than_needed(block_size: int) -> None:
    row = PREPROCESS["adaptive_threshold"]
    assert_halo_is_needed(row, parameters(row, block_size=block_size))


@pytest.mark.parametrize("block_size", [3, 11, 31, 63])
def test_adaptive_thresholds_are_opencv_s_but_for_few_pixels_of_gaussian(block_size: int) -> None:
    row = PREPROCESS["adaptive_threshold"]
    ways = {"mean": (cv2.ADAPTIVE_THRESH_MEAN_C, 0, 0), "gaussian": (cv2.ADAPTIVE_THRESH_GAUSSIAN_C, 0.0003, 0.004)}
    for name, (method, (kind, least, most)) in product(GALLERY, ways.items()):
        picture = grey_picture(name, 640, 384)
        params = parameters(row, method=method, block_size=block_size)
        expected = cv2.adaptiveThreshold(picture, 255, kind, cv2.THRESH_BINARY, block_size, int(params["c"]))
        assert least <= np.mean(adaptive_threshold(picture, params) != expected) <= most


def test_gamma_bends_between_black_and_white() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :]
    assert gamma(ramp, {"gamma": 1.0}).tolist() == ramp.tolist()
    bright, dark = gamma(ramp, {"gamma": 0.5}), gamma(ramp, {"gamma": 2.0})
    assert bright[0, [0, 64, 255]].tolist() == [0, 128, 255]  # 255 * sqrt(64 / 255) = 127.75
    assert dark[0, [0, 128, 255]].tolist() == [0, 64, 255]


def test_equalised_grey_is_opencv_s_and_colour_keeps_its_chroma() -> None:
    assert np.array_equal(equalize_histogram(GRAY, {}), cv2.equalizeHist(GRAY))
    before = np.asarray(cv2.cvtColor(astronaut(), cv2.COLOR_BGR2YCrCb))
    before[:, :, 0] = cv2.equalizeHist(before[:, :, 0].copy())
    assert np.array_equal(equalize_histogram(astronaut(), {}), cv2.cvtColor(before, cv2.COLOR_YCrCb2BGR))


@pytest.mark.parametrize(("clip_limit", "grid"), [(2.0, 8), (0.0, 1), (40.0, 3)])
def test_clahe_is_opencv_s(clip_limit: float, grid: int) -> None:
    expected = cv2.createCLAHE(clip_limit, (grid, grid)).apply(GRAY)
    assert np.array_equal(clahe(GRAY, {"clip_limit": clip_limit, "grid": grid}), expected)


def test_clahe_raises_the_contrast_of_dark_parts() -> None:
    dark = (astronaut() // 6).astype(np.uint8)
    found = clahe(dark, PREPROCESS["clahe"].defaults())
    assert found.shape == dark.shape
    assert gray(found).std() > 1.5 * gray(dark).std()


# --- Otsu ---------------------------------------------------------------------------------------------------


def level_of(picture: Pixels) -> int:
    return int(cv2.threshold(picture, 0, 255, cv2.THRESH_OTSU)[0])


def variance_at(counts: list[int], level: int) -> Fraction:
    """Between the classes, exactly."""
    dark, total = sum(counts[: level + 1]), sum(counts)
    if dark in (0, total):
        return Fraction(0)
    dark_mean = Fraction(sum(value * counts[value] for value in range(level + 1)), dark)
    bright_mean = Fraction(sum(value * counts[value] for value in range(level + 1, 256)), total - dark)
    return Fraction(dark, total) * Fraction(total - dark, total) * (dark_mean - bright_mean) ** 2


def assert_is_best(counts: list[int], level: int, opencv_s: int) -> None:
    """The level is the lowest of the best, and OpenCV's is as good up to rounding."""
    variances = [variance_at(counts, value) for value in range(256)]
    assert level == variances.index(max(variances))
    assert variances[opencv_s] >= max(variances) * (1 - Fraction(1, 10**9))


@settings(max_examples=40)
@given(cuts())
def test_otsu_s_level_of_merged_tiles_is_the_best_of_the_frame(case: Cut) -> None:
    merged = merge_step([otsu(window, {}) for window in split(case.pixels, case.grid, case.extra_halo)], 1, 1)
    assert isinstance(merged, Histogram)
    found = otsu_figures(merged, {}).values
    counts = np.bincount(case.pixels.reshape(-1), minlength=256).tolist()
    assert_is_best(counts, found["level"], level_of(case.pixels))
    assert found["between_class_variance"] == pytest.approx(float(variance_at(counts, found["level"])), abs=1e-6)


@pytest.mark.parametrize("name", ["camera", "coins", "page", "text", "moon", "brick"])
def test_otsu_s_level_of_real_pictures_is_opencv_s(name: str) -> None:
    picture = np.asarray(getattr(skimage.data, name)(), np.uint8)
    picture = picture if picture.ndim == 2 else np.ascontiguousarray(picture[:, :, 0])
    counts = np.bincount(picture.reshape(-1), minlength=256).tolist()
    level, variance = otsu_level(counts)
    assert level == level_of(picture)
    dark, bright = picture[picture <= level].astype(float), picture[picture > level].astype(float)
    between = dark.size * bright.size / picture.size**2 * (dark.mean() - bright.mean()) ** 2
    assert variance == pytest.approx(between, rel=1e-9)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=256, max_size=256).filter(any))
def test_of_equal_levels_the_lowest_counts(counts: list[int]) -> None:
    counts = [
        first + second for first, second in zip(counts, reversed(counts), strict=True)
    ]  # best levels come in pairs
    picture = np.repeat(np.arange(256, dtype=np.uint8), counts)[None, :]
    assert_is_best(counts, otsu_level(counts)[0], level_of(picture))


def best_by_whole_numbers(counts: list[int]) -> tuple[int, float]:
    """Every level compared with the best so far."""
    total, mass = sum(counts), sum(level * count for level, count in enumerate(counts))
    best_level, best, share, dark, dark_mass = 0, 0, 1, 0, 0
    for level, count in enumerate(counts):
        dark, dark_mass = dark + count, dark_mass + level * count
        gap, pairs = total * dark_mass - dark * mass, dark * (total - dark)
        if gap * gap * share > best * pairs:
            best_level, best, share = level, gap * gap, pairs
    return best_level, best / (share * total * total) if total else 0.0


COUNTS = [
    st.integers(0, 3),
    st.integers(0, 2**20),
    st.integers(0, 2**40),
    st.sampled_from([0, 0, 0, 1, 2**27 - 1, 2**27, 2**33]),
]


@settings(max_examples=300)
@given(st.sampled_from(COUNTS).flatmap(lambda count: st.lists(count, min_size=256, max_size=256)), st.booleans())
def test_few_levels_compared_in_whole_numbers_find_what_all_do(counts: list[int], mirrored: bool) -> None:
    if mirrored:
        counts = [one + other for one, other in zip(counts, reversed(counts), strict=True)]
    assert otsu_level(counts) == best_by_whole_numbers(counts)


def test_one_pixel_among_the_most_is_split_off() -> None:
    for most in (2**20, 2**27 - 2, 2**27 + 5, 2**60):
        for level in (0, 253, 254):
            counts = [0] * 256
            counts[level], counts[255] = 1, most
            assert otsu_level(counts) == best_by_whole_numbers(counts)
            assert otsu_level(counts)[0] == level


def test_two_levels_are_split_with_the_largest_variance() -> None:
    counts = [0] * 256
    counts[0] = counts[255] = 50
    assert otsu_figures(Histogram(counts=[counts]), {}) == Figures(
        values={"level": 0, "between_class_variance": 127.5**2}
    )
    assert otsu_level([0] * 99 + [12] + [0] * 156) == (0, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_split_at_its_level(kind: str) -> None:
    picture = plane(70, 40, kind, 5)
    level, _ = otsu_level(np.bincount(picture.reshape(-1), minlength=256).tolist())
    assert np.array_equal(otsu_threshold(picture, {"inverse": False}), np.where(picture > level, 255, 0))
    assert np.array_equal(otsu_threshold(picture, {"inverse": True}), np.where(picture > level, 0, 255))


@pytest.mark.parametrize("kind", [cv2.THRESH_BINARY, cv2.THRESH_BINARY_INV])
def test_a_photograph_at_otsu_s_level_is_opencv_s(kind: int) -> None:
    expected = cv2.threshold(GRAY, 0, 255, kind | cv2.THRESH_OTSU)[1]
    assert np.array_equal(otsu_threshold(GRAY, {"inverse": kind == cv2.THRESH_BINARY_INV}), expected)


# --- local means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [3, 11, 31, 63])
@pytest.mark.parametrize("c", [-4, 0, 2])
def test_the_mean_threshold_is_opencv_s(block_size: int, c: int) -> None:
    params = parameters(PREPROCESS["adaptive_threshold"], block_size=block_size, c=c)
    for kind, inverse in ((cv2.THRESH_BINARY, False), (cv2.THRESH_BINARY_INV, True)):
        expected = cv2.adaptiveThreshold(GRAY, 255, cv2.ADAPTIVE_THRESH_MEAN_C, kind, block_size, c)
        assert np.array_equal(adaptive_threshold(GRAY, {**params, "inverse": inverse}), expected)


@pytest.mark.parametrize("block_size", [3, 11, 31, 63])
@pytest.mark.parametrize("inverse", [False, True])
def test_the_gaussian_threshold_differs_from_opencv_s_at_the_level_alone(block_size: int, inverse: bool) -> None:
    row = PREPROCESS["adaptive_threshold"]
    kind = cv2.THRESH_BINARY_INV if inverse else cv2.THRESH_BINARY
    expected = cv2.adaptiveThreshold(GRAY, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, kind, block_size, 2)
    found = adaptive_threshold(GRAY, parameters(row, method="gaussian", block_size=block_size, inverse=inverse))
    differs = found != expected
    mean = cv2.GaussianBlur(GRAY.astype(np.float64), (block_size, block_size), 0, borderType=cv2.BORDER_REPLICATE)
    assert differs.mean() < 0.005
    assert np.abs(GRAY - mean + 2)[differs].max(initial=0) <= 1


def test_a_page_in_uneven_light_is_read_by_local_means_and_not_by_one_level() -> None:
    page = np.asarray(skimage.data.page(), np.uint8)  # type: ignore[no-untyped-call]  # no types there
    local = adaptive_threshold(page, parameters(PREPROCESS["adaptive_threshold"], block_size=31, c=10))
    one = otsu_threshold(page, {"inverse": False})
    shadow = np.s_[100:, :60]  # the dark corner: paper, with a few letters
    assert (local[shadow] == 255).mean() > 0.75
    assert (one[shadow] == 255).mean() < 0.25


# --- normalise ----------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(cuts(channels=(1, 3)), st.integers(0, 255), st.integers(0, 255))
def test_values_are_stretched_as_opencv_does_to_a_level(case: Cut, low: int, high: int) -> None:
    picture = case.pixels
    found = normalize(picture, parameters(PREPROCESS["normalize"], low=low, high=high)).astype(int)
    if picture.min() == picture.max():
        assert (found == low).all()
        return
    assert (found[picture == picture.min()] == low).all()
    assert (found[picture == picture.max()] == high).all()
    if low < high:
        assert np.abs(found - cv2.normalize(picture, None, low, high, cv2.NORM_MINMAX)).max() <= 1  # type: ignore[call-overload]  # None makes a new array


def test_values_get_the_wanted_mean_and_deviation() -> None:
    params = parameters(PREPROCESS["normalize"], method="mean_std", mean=120.0, std=30.0)
    for picture in (GRAY, astronaut(), photograph(33, 21)):
        found = normalize(picture, params)
        assert found.mean() == pytest.approx(120, abs=0.6)
        assert found.std() == pytest.approx(30, abs=0.6)
    assert (normalize(np.full((4, 5), 9, np.uint8), params) == 120).all()


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3, 3), (1, 1, 3)])
def test_the_smallest_pictures_are_changed(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) == 3 and "color" not in PREPROCESS[name].accepts:
        shape = shape[:2]
    found = whole(PREPROCESS[name], np.full(shape, 77, np.uint8), PREPROCESS[name].defaults())
    assert found.shape == shape
    assert found.dtype == np.uint8


@pytest.mark.parametrize("name", TRANSFORMS)
def test_other_arrays_are_refused(name: str) -> None:
    with pytest.raises(BadPixels, match="expected"):
        whole(PREPROCESS[name], np.zeros((4, 4, 2), np.uint8), PREPROCESS[name].defaults())


def test_otsu_refuses_colour() -> None:
    (window,) = split(astronaut(), Grid(1, 1), 0)
    with pytest.raises(BadPixels, match="expected"):
        otsu(window, {})
