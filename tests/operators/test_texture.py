from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import scipy.stats
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from streamproc.aggregator.merging import merge_histograms
from streamproc.errors import BadMessage, BadPixels
from streamproc.model import Grid, Histogram, Pixels
from streamproc.operators.table import Measure
from streamproc.operators.texture import DIRECTIONS_DEG, ROWS
from streamproc.operators.tiling import split
from tests.operators.halos import spoiled
from tests.operators.partials import assert_tiles_are_the_frame, figures, merged, of_frame
from tests.operators.pictures import Cut, cuts, plane
from tests.operators.tiled import parameters

ROW = {row.name: row for row in ROWS}


METHODS = st.sampled_from(["uniform", "nri_uniform"])


@settings(max_examples=60)
@given(cuts(), st.sampled_from([8, 16, 24]), st.sampled_from([1, 2, 3, 5, 16]), METHODS)
def test_patterns_of_tiles_add_up_to_those_of_the_frame(case: Cut, points: int, radius: int, method: str) -> None:
    assert_tiles_are_the_frame(ROW["lbp"], case, parameters(ROW["lbp"], points=points, radius=radius, method=method))


@settings(max_examples=60)
@given(cuts(), st.sampled_from([8, 16, 32]), st.integers(1, 16))
def test_pairs_of_tiles_add_up_to_those_of_the_frame(case: Cut, levels: int, distance: int) -> None:
    assert_tiles_are_the_frame(ROW["glcm"], case, parameters(ROW["glcm"], levels=levels, distance=distance))


@pytest.mark.parametrize(
    ("name", "given_values"),
    [
        ("lbp", {"radius": 3}),
        ("lbp", {"points": 24, "radius": 5}),
        ("glcm", {"distance": 1}),
        ("glcm", {"distance": 7}),
    ],
)
def test_the_halo_is_no_larger_than_needed(name: str, given_values: dict[str, int]) -> None:
    picture = plane(128, 96, "noise", 7)
    params = parameters(ROW[name], **given_values)
    run = cast("Measure", ROW[name].run)
    parts = [run(window, params) for window in spoiled(picture, Grid(2, 2), ROW[name].halo(params))]
    found = merge_histograms([part for part in parts if isinstance(part, Histogram)])
    assert found != merged(ROW[name], picture, params)


# --- local binary patterns -----------------------------------------------------------------------------------


def skimage_codes(picture: Pixels, points: int, radius: int, method: str) -> list[int]:
    codes = local_binary_pattern(picture, points, radius, method)  # type: ignore[no-untyped-call]  # no types there
    bins = points + 2 if method == "uniform" else points * (points - 1) + 3
    return cast("list[int]", np.bincount(codes.astype(int).reshape(-1), minlength=bins).tolist())


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 999), st.sampled_from([8, 16, 24]), METHODS, st.data())
def test_patterns_are_scikit_image_s_where_there_are_no_ties(
    width: int, height: int, seed: int, points: int, method: str, data: st.DataObject
) -> None:
    # No two pixels near each other are equal, and no interpolated neighbour is a pixel's equal.
    radius = data.draw(st.sampled_from([1, 2, 3, 7]))
    levels = np.random.default_rng(seed).permutation(255).astype(np.uint8) + np.uint8(1)
    picture = levels[np.arange(width * height) % 251].reshape(height, width)
    params = parameters(ROW["lbp"], points=points, radius=radius, method=method)
    assert merged(ROW["lbp"], picture, params).counts == [skimage_codes(picture, points, radius, method)]


@pytest.mark.parametrize(("points", "radius"), [(8, 1), (16, 2), (24, 3)])
@pytest.mark.parametrize("method", ["uniform", "nri_uniform"])
def test_patterns_of_photographs_are_scikit_image_s_but_for_ties(points: int, radius: int, method: str) -> None:
    for picture in photographs():
        (found,) = merged(
            ROW["lbp"], picture, parameters(ROW["lbp"], points=points, radius=radius, method=method)
        ).counts
        expected = skimage_codes(picture, points, radius, method)
        assert sum(found) == picture.size
        assert sum(abs(mine - theirs) for mine, theirs in zip(found, expected, strict=True)) / 2 <= 0.02 * picture.size


def test_a_plain_picture_is_all_ones_inside_and_a_tie_is_one_everywhere() -> None:
    for level in range(1, 256, 7):
        picture = np.full((20, 30), level, np.uint8)
        (found,) = merged(ROW["lbp"], picture, parameters(ROW["lbp"], points=16, radius=2)).counts
        assert found[16] == 16 * 26


def photographs() -> list[Pixels]:
    sources: list[Callable[[], Any]] = [skimage.data.brick, skimage.data.grass, skimage.data.camera]
    return [np.asarray(source(), np.uint8) for source in sources]


# --- co-occurrence -------------------------------------------------------------------------------------------


def skimage_pairs(picture: Pixels, levels: int, distance: int, *, symmetric: bool) -> NDArray[Any]:
    angles = np.radians(DIRECTIONS_DEG)
    reduced = picture // (256 // levels)
    matrix = graycomatrix(reduced, [distance], angles, levels, symmetric)  # type: ignore[no-untyped-call]  # no types there
    return np.asarray(matrix)


@settings(max_examples=40)
@given(cuts(), st.sampled_from([8, 16, 32]), st.integers(1, 16))
def test_pairs_are_scikit_image_s(case: Cut, levels: int, distance: int) -> None:
    params = parameters(ROW["glcm"], levels=levels, distance=distance)
    expected = skimage_pairs(case.pixels, levels, distance, symmetric=False)[:, :, 0].transpose(2, 0, 1)
    assert merged(ROW["glcm"], case.pixels, params).counts == expected.reshape(4, -1).tolist()


@settings(max_examples=40)
@given(cuts(), st.sampled_from([8, 32]), st.integers(1, 3))
def test_properties_are_scikit_image_s(case: Cut, levels: int, distance: int) -> None:
    matrix = skimage_pairs(case.pixels, levels, distance, symmetric=True)
    found = of_frame(ROW["glcm"], case.pixels, parameters(ROW["glcm"], levels=levels, distance=distance))
    pairs = matrix.sum(axis=(0, 1, 2))
    assert found["pairs"] == (pairs // 2).tolist()
    for name in ("contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation"):
        expected = graycoprops(matrix, name)[0]  # type: ignore[no-untyped-call]  # no types there
        known = pairs > 0  # there is nothing to say of no pairs
        assert np.allclose(np.array(found[name.lower()])[known], expected[known], rtol=1e-6, atol=2e-7), name
        assert not np.array(found[name.lower()])[~known].any()
    for at in range(4):
        entropy = scipy.stats.entropy(matrix[:, :, 0, at].reshape(-1), base=2) if pairs[at] else 0
        assert math.isclose(found["entropy"][at], entropy, abs_tol=1e-8)


def test_stripes_differ_across_and_agree_along() -> None:
    picture = np.zeros((40, 60), np.uint8)
    picture[:, ::2] = 255
    found = of_frame(ROW["glcm"], picture, ROW["glcm"].defaults())
    assert found["directions"] == [0, 45, 90, 135]
    assert found["contrast"] == [225.0, 225.0, 0.0, 225.0]
    assert found["homogeneity"][2] == found["correlation"][2] == 1.0
    assert found["correlation"][0] == -1.0
    assert found["entropy"] == [1.0] * 4


def test_directions_run_from_x_towards_y_which_points_down() -> None:
    picture = np.zeros((40, 40), np.uint8)
    rows, cols = np.indices(picture.shape)
    picture[(rows - cols) % 4 < 2] = 255  # each line runs right and down
    found = of_frame(ROW["glcm"], picture, ROW["glcm"].defaults())
    assert found["contrast"][1] == 0.0
    assert min(found["contrast"][0], found["contrast"][2], found["contrast"][3]) > 50


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("pixels", [np.zeros((20, 20), np.float32), np.zeros((20, 20, 2), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(name: str, pixels: NDArray[Any]) -> None:
    (window,) = split(pixels, Grid(1, 1), 0)
    with pytest.raises(BadPixels, match="expected"):
        cast("Measure", ROW[name].run)(window, ROW[name].defaults())


@pytest.mark.parametrize("name", ["glcm"])
def test_counts_of_another_operator_are_refused(name: str) -> None:
    with pytest.raises(BadMessage, match="expected"):
        figures(ROW[name], Histogram(counts=[[1, 2, 3]]), ROW[name].defaults())
