from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import Grid, Rect, Statistics
from streamproc.operators import histograms
from streamproc.operators.histograms import as_levels, color_histogram, count_values, gray_histogram, statistics
from streamproc.operators.table import Window
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, cuts


def whole(pixels: NDArray[Any]) -> Window:
    return split(pixels, Grid(1, 1), 0)[0]


@given(cuts())
def test_grey_levels_are_counted(case: Cut) -> None:
    counts = np.bincount(case.pixels.reshape(-1), minlength=256)
    assert gray_histogram(whole(case.pixels), {"bins": 256}).counts == [counts.tolist()]
    assert gray_histogram(whole(case.pixels), {"bins": 8}).counts == [counts.reshape(8, 32).sum(axis=1).tolist()]


@given(cuts(channels=(1, 3)))
def test_each_channel_is_counted(case: Cut) -> None:
    planes = case.pixels.reshape(case.height, case.width, -1)
    expected = [np.bincount(planes[:, :, c].reshape(-1), minlength=256).tolist() for c in range(planes.shape[2])]
    assert color_histogram(whole(case.pixels), {"bins": 256}).counts == expected


@given(cuts(channels=(1, 3)))
def test_statistics_are_numpy_s(case: Cut) -> None:
    planes = case.pixels.reshape(-1, case.channels).astype(np.int64)
    assert statistics(whole(case.pixels), {}) == Statistics(
        count=planes.shape[0],
        total=planes.sum(axis=0).tolist(),
        squares=(planes**2).sum(axis=0).tolist(),
        low=planes.min(axis=0).tolist(),
        high=planes.max(axis=0).tolist(),
    )


def test_more_pixels_than_float32_can_count_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (50, 7), np.uint8)
    expected = gray_histogram(whole(pixels), {"bins": 256})
    monkeypatch.setattr(histograms, "EXACT_PIXELS", 20)
    assert gray_histogram(whole(pixels), {"bins": 256}) == expected


def test_values_of_two_bytes_are_counted_up_to_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).integers(0, 3000, (60, 41)).astype(np.uint16)
    expected = np.bincount(values[values < 2041], minlength=2041)
    assert np.array_equal(count_values(values, 2041), expected)
    monkeypatch.setattr(histograms, "EXACT_PIXELS", 100)
    assert np.array_equal(count_values(values, 2041), expected)
    assert not count_values(values[:, :0], 2041).any()


def test_squares_of_many_bright_pixels_are_summed_exactly() -> None:
    pixels = np.full((3000, 4000), 255, np.uint8)
    pixels[17, 4] = 254
    assert statistics(whole(pixels), {}).squares == [(pixels.size - 1) * 255**2 + 254**2]


def test_the_halo_is_not_counted() -> None:
    window = Window(
        pixels=np.arange(16, dtype=np.uint8).reshape(4, 4),
        rect=Rect(0, 0, 4, 4),
        core=Rect(1, 1, 2, 2),
        width=4,
        height=4,
    )
    assert statistics(window, {}).total == [5 + 6 + 9 + 10]


def test_floats_count_as_levels() -> None:
    pixels = np.array([[0, 0.5, 1, 2, -1, 1 / 255]], np.float32)
    assert as_levels(pixels).tolist() == [[0, 128, 255, 255, 0, 1]]
    assert statistics(whole(pixels), {}).total == [639]
    assert sum(gray_histogram(whole(pixels), {"bins": 4}).counts[0]) == 6


@pytest.mark.parametrize("measure", [gray_histogram, color_histogram, statistics])
@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.float64), np.zeros((4, 4, 2), np.uint8)])
def test_other_arrays_are_refused(measure: Any, pixels: NDArray[Any]) -> None:
    with pytest.raises(BadPixels, match="expected"):
        measure(whole(pixels), {"bins": 256})
