from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.errors import BadMessage, BadPixels
from streamproc.model import Grid, Histogram
from streamproc.operators.moments import ROWS
from streamproc.operators.pixels import gray
from streamproc.operators.table import Measure
from streamproc.operators.tiling import split
from tests.operators.partials import assert_tiles_are_the_frame, figures, merged, of_frame
from tests.operators.pictures import KINDS, Cut, astronaut, cuts, plane
from tests.operators.tiled import parameters

ROW = {row.name: row for row in ROWS}


@settings(max_examples=60)
@given(cuts(), st.booleans())
def test_moments_of_tiles_add_up_to_those_of_the_frame(case: Cut, binary: bool) -> None:
    assert_tiles_are_the_frame(ROW["moments"], case, parameters(ROW["moments"], binary=binary))


@given(cuts(channels=(1, 3)))
def test_colours_of_tiles_add_up_to_those_of_the_frame(case: Cut) -> None:
    assert_tiles_are_the_frame(ROW["color_moments"], case, {})


def assert_close(found: list[float], expected: list[float], rtol: float) -> None:
    assert np.allclose(found, expected, rtol=rtol, atol=rtol * max(map(abs, expected), default=0))


@settings(max_examples=40)
@given(cuts(), st.booleans())
def test_moments_are_opencv_s(case: Cut, binary: bool) -> None:
    found = of_frame(ROW["moments"], case.pixels, {"binary": binary})
    expected = cv2.moments(case.pixels, binary)
    raw = ("m00", "m10", "m01", "m20", "m11", "m02", "m30", "m21", "m12", "m03")
    assert found["raw"] == [expected[name] for name in raw]  # whole numbers below 2^53 in both
    orders = ("20", "11", "02", "30", "21", "12", "03")
    # OpenCV takes differences of large float64 numbers: what it loses grows with the raw moments.
    lost = 1e-12 * max(found["raw"])
    assert np.allclose(found["central"], [expected[f"mu{order}"] for order in orders], rtol=1e-9, atol=lost)
    if found["raw"][0]:
        assert found["centroid"] == [
            round(expected["m10"] / expected["m00"], 6),
            round(expected["m01"] / expected["m00"], 6),
        ]
    else:
        assert found["centroid"] == []


def test_invariants_are_opencv_s_and_do_not_change_with_place_and_turn() -> None:
    picture = np.zeros((300, 400), np.uint8)
    picture[40:140, 60:200] = gray(astronaut())[100:200, 150:290]
    found = of_frame(ROW["moments"], picture, {"binary": False})
    whole = cv2.moments(picture)
    orders = ("20", "11", "02", "30", "21", "12", "03")
    assert_close(found["normalised"], [whole[f"nu{order}"] for order in orders], 1e-9)
    assert np.allclose(found["hu"], cv2.HuMoments(whole).reshape(-1), rtol=1e-7, atol=0)
    moved = of_frame(ROW["moments"], np.roll(picture, (130, 170), axis=(0, 1)), {"binary": False})
    turned = of_frame(ROW["moments"], np.ascontiguousarray(np.rot90(picture)), {"binary": False})
    assert np.allclose(moved["hu"], found["hu"], rtol=1e-12, atol=0)
    assert np.allclose(turned["hu"], found["hu"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 117, 170])
def test_the_orientation_is_that_of_the_long_axis(angle: int) -> None:
    picture = np.zeros((201, 201), np.uint8)
    cv2.ellipse(picture, (100, 100), (80, 20), angle, 0, 360, 255, -1)
    found = of_frame(ROW["moments"], picture, {"binary": True})
    assert found["centroid"] == pytest.approx([100, 100], abs=0.05)
    assert min(abs(found["orientation_deg"] - angle), 180 - abs(found["orientation_deg"] - angle)) < 0.5


def test_sums_too_large_for_64_bits_stay_exact() -> None:
    for picture, grid, at in ((np.full((3, 60_000), 255, np.uint8), Grid(1, 7), 6), (None, Grid(9, 1), 9)):
        frame = np.full((60_000, 3), 255, np.uint8) if picture is None else picture
        counts = merged(ROW["moments"], frame, parameters(ROW["moments"]), grid)
        assert counts == merged(ROW["moments"], frame, parameters(ROW["moments"]))
        expected = 3 * 255 * sum(x**3 for x in range(60_000))
        assert expected > 2**63
        assert figures(ROW["moments"], counts, {})["raw"][at] == float(expected)


def test_a_black_frame_has_zeros() -> None:
    found = of_frame(ROW["moments"], np.zeros((30, 40), np.uint8), {"binary": False})
    assert found["centroid"] == []
    assert not any(found["raw"] + found["central"] + found["normalised"] + found["hu"])


# --- colours -------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.sampled_from(KINDS), st.integers(0, 99), st.integers(1, 40))
def test_the_distribution_is_scipy_s(kind: str, seed: int, width: int) -> None:
    picture = plane(width, 30, kind, seed)
    found = of_frame(ROW["color_moments"], picture, {})
    values = picture.reshape(-1).astype(float)
    assert found["mean"] == pytest.approx([values.mean()], abs=1e-6)
    assert found["std"] == pytest.approx([values.std()], abs=1e-6)
    if values.std():
        assert found["skewness"] == pytest.approx([scipy.stats.skew(values)], rel=1e-5, abs=1e-5)
        assert found["kurtosis"] == pytest.approx([scipy.stats.kurtosis(values, fisher=False)], rel=1e-5, abs=1e-5)
    else:
        assert found["skewness"] == found["kurtosis"] == [0.0]


def test_channels_are_told_one_by_one() -> None:
    found = of_frame(ROW["color_moments"], astronaut(), {})
    assert found["mean"] == pytest.approx(astronaut().reshape(-1, 3).mean(axis=0).tolist(), abs=1e-6)


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("pixels", [np.zeros((20, 20), np.float32), np.zeros((20, 20, 2), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(name: str, pixels: NDArray[Any]) -> None:
    (window,) = split(pixels, Grid(1, 1), 0)
    with pytest.raises(BadPixels, match="expected"):
        cast("Measure", ROW[name].run)(window, ROW[name].defaults())


@pytest.mark.parametrize("name", ["moments", "color_moments"])
def test_counts_of_another_operator_are_refused(name: str) -> None:
    with pytest.raises(BadMessage, match="expected"):
        figures(ROW[name], Histogram(counts=[[1, 2, 3]]), ROW[name].defaults())
