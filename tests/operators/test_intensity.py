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
from streamproc.operators.catalogue import BUILT_IN
from streamproc.operators.intensity import brightness_contrast, gaussian, gray, sobel, threshold
from streamproc.operators.table import Operator, Params, Transform
from streamproc.operators.tiling import join, split
from tests.operators.pictures import Cut, astronaut, cuts

TRANSFORMS = [
    operator
    for operator in BUILT_IN.values()
    if operator.kind == "transform" and operator.scope == "tile" and operator.exact == "exact"
]
VARIANTS: dict[str, list[Params]] = {
    "gaussian": [{"ksize": 1}, {"ksize": 3, "sigma": 0.3}, {"ksize": 31}, {"ksize": 63, "sigma": 20.0}],
    "brightness_contrast": [{"alpha": 1.7, "beta": -40.5}, {"alpha": 0.0, "beta": 255.0}],
    "threshold": [{"level": 100, "inverse": True}],
}

ALL_LEVELS = np.arange(256, dtype=np.uint8)[(np.arange(3)[:, None] * 7 + np.arange(259)[None, :]) % 256]
"""Each level in vector registers and in what is left over of a row."""

CHEAP: dict[str, Params] = {"denoise": {"template": 3, "search": 5}}
"""Instead of the defaults, of what costs 10 s with them; `test_restoration.py` holds it to more."""


def transform(operator: Operator) -> Transform:
    return operator.run  # type: ignore[return-value]  # the kind says so


@settings(max_examples=50, deadline=None)
@pytest.mark.parametrize("operator", TRANSFORMS, ids=lambda operator: operator.name)
@given(cuts(channels=(1, 3)), st.data())
def test_transformed_tiles_join_to_the_transformed_frame(operator: Operator, case: Cut, data: st.DataObject) -> None:
    picture = case.pixels
    if picture.ndim == 3 and "color" not in operator.accepts:
        picture = np.ascontiguousarray(picture[:, :, 0])
    params = {
        **operator.defaults(),
        **CHEAP.get(operator.name, {}),
        **data.draw(st.sampled_from([{}, *VARIANTS.get(operator.name, [])])),
    }
    halo = operator.halo(params) + case.extra_halo
    whole = transform(operator)(picture, params)
    parts: list[tuple[Any, NDArray[Any]]] = []
    for window in split(picture, case.grid, halo):
        done = transform(operator)(window.pixels, params)
        parts.append((window.core, done[window.core.within(window.rect)]))
    joined = join(parts, case.width, case.height)
    assert joined.dtype == whole.dtype
    assert np.array_equal(joined, whole)


@pytest.mark.parametrize("operator", TRANSFORMS, ids=lambda operator: operator.name)
@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_arrays_that_are_no_pictures_are_refused(operator: Operator, pixels: NDArray[Any]) -> None:
    with pytest.raises(BadPixels, match="expected"):
        transform(operator)(pixels, operator.defaults())


def test_grey_is_opencv_s() -> None:
    assert np.array_equal(gray(astronaut(), {}), cv2.cvtColor(astronaut(), cv2.COLOR_BGR2GRAY))


def test_brightness_and_contrast_saturate_and_round() -> None:
    picture = np.array([[0, 1, 3, 100, 200, 255]], np.uint8)
    assert brightness_contrast(picture, {"alpha": 1.5, "beta": -1.0}).tolist() == [[0, 0, 4, 149, 255, 255]]
    assert brightness_contrast(picture, {"alpha": 1.0, "beta": 0.0}).tolist() == picture.tolist()


def test_brightness_and_contrast_are_opencv_s_where_no_sign_is_lost() -> None:
    picture = astronaut()
    assert np.array_equal(
        brightness_contrast(picture, {"alpha": 1.25, "beta": 10.0}),
        cv2.convertScaleAbs(picture, alpha=1.25, beta=10),
    )


@settings(max_examples=300)
@given(
    st.one_of(st.integers(0, 6400).map(lambda count: count / 64), st.floats(0, 100), st.floats(0, 3)),
    st.one_of(st.integers(-255 * 64, 255 * 64).map(lambda count: count / 64), st.floats(-255, 255)),
)
def test_every_level_is_scaled_and_rounded_half_to_even_wherever_it_stands(alpha: float, beta: float) -> None:
    wanted = np.clip(np.rint(alpha * np.arange(256.0) + beta), 0, 255).astype(np.uint8)
    found = brightness_contrast(ALL_LEVELS, {"alpha": alpha, "beta": beta})
    assert np.array_equal(found, wanted[ALL_LEVELS])


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.5, 0.0), (1.5, -0.5), (2.25, 0.25), (0.1, 0.45), (1.6, 20.0), (0.3, -7.0)]
)
def test_ties_of_scaled_levels_go_to_the_even_level(alpha: float, beta: float) -> None:
    wanted = np.clip(np.rint(alpha * np.arange(256.0) + beta), 0, 255).astype(np.uint8)
    assert np.array_equal(brightness_contrast(ALL_LEVELS, {"alpha": alpha, "beta": beta}), wanted[ALL_LEVELS])


def test_what_is_above_the_level_is_white() -> None:
    picture = np.array([[0, 99, 100, 101, 255]], np.uint8)
    assert threshold(picture, {"level": 100, "inverse": False}).tolist() == [[0, 0, 0, 255, 255]]
    assert threshold(picture, {"level": 100, "inverse": True}).tolist() == [[255, 255, 255, 0, 0]]


@pytest.mark.parametrize(("ksize", "sigma"), [(3, 0.0), (5, 1.1), (21, 4.0)])
def test_blur_is_opencv_s(ksize: int, sigma: float) -> None:
    picture = astronaut()
    whole = cv2.GaussianBlur(picture, (ksize, ksize), sigma)
    found = gaussian(picture, {"ksize": ksize, "sigma": sigma})
    assert np.array_equal(found, whole)


def test_sobel_of_a_step_is_one_and_of_a_plain_is_zero() -> None:
    picture: Pixels = np.zeros((6, 8), np.uint8)
    picture[:, 4:] = 255
    found = sobel(picture, {})
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]] * 6
    picture[:, 4:] = 51
    assert np.allclose(sobel(picture, {})[:, 3:5], 0.2, rtol=1e-6)


@given(cuts())
def test_sobel_is_made_of_correctly_rounded_steps(case: Cut) -> None:
    dx, dy = (cv2.Sobel(case.pixels, cv2.CV_32F, x, y) for x, y in ((1, 0), (0, 1)))
    assert np.array_equal(sobel(case.pixels, {}), np.minimum(np.sqrt(dx * dx + dy * dy) / np.float32(1020), 1))


def test_sobel_is_the_root_of_the_squared_derivatives() -> None:
    picture = gray(astronaut(), {})
    dx, dy = (cv2.Sobel(picture, cv2.CV_64F, x, y) for x, y in ((1, 0), (0, 1)))
    assert np.allclose(sobel(picture, {}), np.minimum(np.hypot(dx, dy) / 1020, 1), rtol=1e-6, atol=0)
