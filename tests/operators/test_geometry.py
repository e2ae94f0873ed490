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
from streamproc.operators.geometry import INTERPOLATIONS, ROWS, crop, flip, resize, rotate
from streamproc.operators.table import Params
from tests.operators.pictures import astronaut, photograph
from tests.operators.tiled import parameters, whole

GEOMETRY = {row.name: row for row in ROWS}
DIRECTIONS = ("horizontal", "vertical", "both")


def given_parameters(name: str, **values: Any) -> Params:
    return parameters(GEOMETRY[name], **values)


def back(name: str, places: NDArray[Any], picture: Pixels, params: Params) -> NDArray[np.float64]:
    move = GEOMETRY[name].back
    assert move is not None
    return move(np.asarray(places, np.float64), picture.shape[1], picture.shape[0], params)


def spot(x: int, y: int, width: int = 120, height: int = 90) -> Pixels:
    """Black with one soft bright spot."""
    cols, rows = np.arange(width)[None, :], np.arange(height)[:, None]
    return np.asarray(np.rint(250 * np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / 18)), np.uint8)


def center(picture: Pixels) -> NDArray[np.float64]:
    """Where the bright spot is: (1, 2) x, y."""
    rows, cols = np.mgrid[: picture.shape[0], : picture.shape[1]]
    weights = picture.astype(np.float64)
    return np.asarray(np.array([[(cols * weights).sum(), (rows * weights).sum()]]) / weights.sum(), np.float64)


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("resize", {"factor": 0.5, "interpolation": "area"}),
    ("resize", {"factor": 2.6}),
    ("resize", {"width": 77, "height": 200, "interpolation": "cubic"}),
    ("resize", {"width": 60}),
    ("resize", {"height": 45, "interpolation": "lanczos"}),
    ("crop", {"x": 15, "y": 20}),
    ("crop", {"x": 10, "y": 5, "width": 90, "height": 70}),
    *[("rotate", {"angle": float(angle), "expand": True}) for angle in (0, 17, 45, 90, 133.5, 180, 270, -90, -31)],
    *[("rotate", {"angle": float(angle), "expand": False}) for angle in (0, 17, 90, 180, 270, -200)],
    *[("flip", {"direction": direction}) for direction in DIRECTIONS],
]


@pytest.mark.parametrize(("name", "values"), CHANGES)
@pytest.mark.parametrize("place", [(50, 40), (68, 52)])
def test_a_spot_of_the_changed_picture_is_found_back(name: str, values: dict[str, Any], place: tuple[int, int]) -> None:
    params = given_parameters(name, **values)
    picture = spot(*place)
    changed = whole(GEOMETRY[name], picture, params)
    assert changed.max() > 200
    assert np.abs(back(name, center(changed), picture, params) - place).max() < 0.1


@pytest.mark.parametrize(("name", "values"), CHANGES)
def test_points_come_back_one_by_one(name: str, values: dict[str, Any]) -> None:
    params = given_parameters(name, **values)
    places = np.array([[1.0, 2.0], [30.5, 7.25], [12.0, 44.0]])
    together = back(name, places, spot(1, 1), params)
    assert together.shape == (3, 2)
    for index in range(3):
        assert np.allclose(back(name, places[index : index + 1], spot(1, 1), params), together[index])
    assert back(name, np.empty((0, 2)), spot(1, 1), params).shape == (0, 2)
    assert places.tolist() == [[1.0, 2.0], [30.5, 7.25], [12.0, 44.0]]


# --- sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", list(INTERPOLATIONS))
def test_a_resized_picture_is_opencv_s(interpolation: str) -> None:
    flag = getattr(cv2, "INTER_" + {"lanczos": "LANCZOS4"}.get(interpolation, interpolation.upper()))
    picture = photograph(100, 60)
    found = resize(picture, given_parameters("resize", width=37, height=90, interpolation=interpolation))
    assert np.array_equal(found, cv2.resize(picture, (37, 90), interpolation=flag))


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({}, (50, 30)),
        ({"factor": 2.0}, (200, 120)),
        ({"width": 50}, (50, 30)),
        ({"height": 120}, (200, 120)),
        ({"width": 7, "height": 9, "factor": 3.0}, (7, 9)),
        ({"width": 1}, (1, 1)),
        ({"factor": 0.01}, (1, 1)),
    ],
)
def test_sizes_are_given_or_follow_from_each_other(values: dict[str, Any], size: tuple[int, int]) -> None:
    found = resize(photograph(100, 60), given_parameters("resize", **values))
    assert (found.shape[1], found.shape[0]) == size


def test_what_would_become_too_large_is_refused() -> None:
    with pytest.raises(BadPixels, match="got 16384x16384"):
        resize(np.zeros((4, 4), np.uint8), given_parameters("resize", width=16384))
    with pytest.raises(BadPixels, match="got 24000x8"):
        resize(np.zeros((1, 3000), np.uint8), given_parameters("resize", factor=8.0))
    with pytest.raises(BadPixels, match="16384 px"):
        rotate(np.zeros((1, 20000), np.uint8), given_parameters("rotate", angle=1.0))


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 70), st.integers(0, 70), st.integers(0, 70))
def test_a_crop_is_what_lies_in_the_frame(width: int, height: int, x: int, y: int, size: int) -> None:
    picture = photograph(width, height)
    params = given_parameters("crop", x=x, y=y, width=size, height=size)
    if x >= width or y >= height:
        with pytest.raises(BadPixels, match="inside the frame"):
            crop(picture, params)
        return
    stop = (y + size, x + size) if size else (height, width)
    assert np.array_equal(crop(picture, params), picture[y : stop[0], x : stop[1]])


# --- turns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quarters", [-4, -3, -2, -1, 0, 1, 2, 3, 4])
def test_quarter_turns_move_whole_pixels(quarters: int) -> None:
    picture = photograph(41, 26)
    found = rotate(picture, given_parameters("rotate", angle=90.0 * quarters))
    assert np.array_equal(found, np.rot90(picture, quarters))


def test_a_quarter_turn_that_keeps_the_size_keeps_the_centre() -> None:
    picture = photograph(41, 27)
    found = rotate(picture, given_parameters("rotate", angle=90.0, expand=False, fill=9))
    assert found.shape == picture.shape
    assert np.array_equal(found[:, 7:34], np.rot90(picture)[7:34])
    assert (found[:, :7] == 9).all()
    assert (found[:, 34:] == 9).all()


@pytest.mark.parametrize("angle", [12.5, 45.0, -100.0])
def test_a_turn_without_room_is_opencv_s(angle: float) -> None:
    picture = photograph(101, 61)
    matrix = cv2.getRotationMatrix2D((50, 30), angle, 1)
    found = rotate(picture, given_parameters("rotate", angle=angle, expand=False, fill=40)).astype(int)
    expected = cv2.warpAffine(picture, matrix, (101, 61), borderValue=(40, 40, 40))
    assert np.abs(found - expected).max() <= 1


@settings(max_examples=40)
@given(st.integers(1, 80), st.integers(1, 80), st.floats(-360, 360))
def test_a_turn_with_room_loses_no_corner(width: int, height: int, angle: float) -> None:
    picture = np.full((height, width), 200, np.uint8)
    params = given_parameters("rotate", angle=angle)
    found = rotate(picture, params)
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], np.float64)
    size = np.array([found.shape[1], found.shape[0]])
    # Turned back, the four corners of the new picture hold those of the old between them.
    outside = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (size - 1)
    area = cv2.convexHull(back("rotate", outside, picture, params).astype(np.float32))
    assert all(cv2.pointPolygonTest(area, (x, y), measureDist=True) > -0.75 for x, y in corners.tolist())
    assert size.max() <= width + height


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_flips_mirror(direction: str) -> None:
    picture = astronaut()
    expected = {"horizontal": picture[:, ::-1], "vertical": picture[::-1], "both": picture[::-1, ::-1]}[direction]
    assert np.array_equal(flip(picture, {"direction": direction}), expected)


@pytest.mark.parametrize("name", list(GEOMETRY))
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3, 3), (1, 1, 3)])
def test_the_smallest_pictures_are_changed(name: str, shape: tuple[int, ...]) -> None:
    found = whole(GEOMETRY[name], np.full(shape, 77, np.uint8), GEOMETRY[name].defaults())
    assert (found == 77).all()
    assert found.ndim == len(shape)
    assert found.dtype == np.uint8
    assert found.size


@pytest.mark.parametrize("name", list(GEOMETRY))
def test_other_arrays_are_refused(name: str) -> None:
    with pytest.raises(BadPixels, match="expected"):
        whole(GEOMETRY[name], np.zeros((4, 4, 2), np.uint8), GEOMETRY[name].defaults())
