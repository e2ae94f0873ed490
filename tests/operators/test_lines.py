from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.aggregator.merging import merge_step
from streamproc.aggregator.seams import unpack
from streamproc.errors import BadPixels
from streamproc.model import Figures, Grid, Pixels
from streamproc.operators.edges import CANNY_HALO_PX, canny
from streamproc.operators.lines import ROWS
from streamproc.operators.pixels import gray
from streamproc.operators.table import Measure, Value
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts, plane
from tests.operators.tiled import parameters

ROW = {row.name: row for row in ROWS}
LINES = ["hough_lines", "hough_lines_standard"]


def found(name: str, picture: Pixels, **given_values: Value) -> dict[str, Any]:
    (window,) = split(picture, Grid(1, 1), 0)
    figures = cast("Measure", ROW[name].run)(window, parameters(ROW[name], **given_values))
    assert isinstance(figures, Figures)
    return figures.values


def drawn() -> Pixels:
    picture = np.zeros((200, 300), np.uint8)
    cv2.line(picture, (250, 20), (40, 20), 255)
    cv2.line(picture, (150, 180), (150, 60), 255)
    cv2.line(picture, (20, 150), (100, 70), 255)
    return picture


def test_lines_that_were_drawn_are_found_longest_first() -> None:
    told = found("hough_lines", drawn(), mask=True, threshold=40)
    assert told["count"] == 3
    assert told["lines"][:2] == [[40, 20, 250, 20], [150, 60, 150, 180]]
    assert np.abs(np.array(told["lines"][2]) - [20, 150, 100, 70]).max() <= 1


def test_lines_without_ends_are_told_by_distance_and_direction() -> None:
    told = found("hough_lines_standard", drawn(), mask=True, threshold=70)
    assert told["lines"][:2] == [[20.0, 90.0, 211], [150.0, 0.0, 122]]  # one pixel more where they cross
    distance, direction, votes = told["lines"][2]
    assert direction == 45.0
    assert distance == pytest.approx(170 / math.sqrt(2), abs=1)
    assert votes >= 70


@pytest.mark.parametrize(("threshold", "theta"), [(40, 1.0), (80, 0.5)])
def test_lines_of_photographs_are_opencv_s(threshold: int, theta: float) -> None:
    for picture in (gray(astronaut()), np.asarray(skimage.data.brick(), np.uint8)):  # type: ignore[no-untyped-call]  # no types there
        edges = cv2.Canny(picture, 50, 150)
        step = math.radians(theta)
        pieces = np.asarray(cv2.HoughLinesP(edges, 1, step, threshold, minLineLength=30, maxLineGap=5)).reshape(-1, 4)
        told = found("hough_lines", picture, threshold=threshold, theta=theta, limit=1000)
        expected = {tuple(sorted([(x1, y1), (x2, y2)])) for x1, y1, x2, y2 in pieces.tolist()}
        assert told["count"] == len(pieces) > 10
        assert {((x1, y1), (x2, y2)) for x1, y1, x2, y2 in told["lines"]} == expected
        lengths = [math.hypot(x2 - x1, y2 - y1) for x1, y1, x2, y2 in told["lines"]]
        assert lengths == sorted(lengths, reverse=True)
        lines = np.asarray(cv2.HoughLines(edges, 1, step, threshold + 90)).reshape(-1, 2)
        told = found("hough_lines_standard", picture, threshold=threshold + 90, theta=theta, limit=1000)
        assert told["count"] == len(lines) > 0
        mine = sorted((rho, angle) for rho, angle, _ in told["lines"])
        theirs = sorted(zip(lines[:, 0].tolist(), np.degrees(lines[:, 1].astype(float)).tolist(), strict=True))
        assert np.allclose(mine, theirs, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", LINES)
def test_edges_linked_over_tiles_give_the_lines_of_the_frame(name: str) -> None:
    picture = gray(astronaut())
    params = {"low": 50.0, "high": 150.0, "l2": False}
    parts = [canny(window, params) for window in split(picture, Grid(3, 4), CANNY_HALO_PX)]
    packed = merge_step(parts, 512, 512)
    assert isinstance(packed, np.ndarray)
    told = found(name, unpack(packed, 512), mask=True, threshold=100)
    assert told["count"] > 0
    assert told == found(name, picture, mask=False, threshold=100)


@pytest.mark.parametrize("name", LINES)
def test_the_limit_keeps_the_first(name: str) -> None:
    picture = gray(astronaut())
    everything = found(name, picture, threshold=60, limit=1000)
    some = found(name, picture, threshold=60, limit=5)
    assert some["count"] == everything["count"] > 5
    assert some["lines"] == everything["lines"][:5]


def discs() -> Pixels:
    picture = np.full((240, 320), 40, np.uint8)
    for x, y, radius in ((80, 100, 30), (220, 120, 55)):
        cv2.circle(picture, (x, y), radius, 210, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (5, 5), 0), np.uint8)


@pytest.mark.parametrize(("method", "high"), [("gradient_alt", 300.0), ("gradient", 150.0)])
def test_circles_that_were_drawn_are_found(method: str, high: float) -> None:
    told = found("hough_circles", discs(), method=method, high=high, votes=25.0, dp=1.0)
    assert told["count"] == 2
    assert np.allclose(sorted(told["circles"]), [[80, 100, 30], [220, 120, 55]], atol=2)
    one = found("hough_circles", discs(), method=method, high=high, votes=25.0, dp=1.0, min_radius=45, max_radius=70)
    assert np.allclose(one["circles"], [[220, 120, 55]], atol=2)


@pytest.mark.parametrize("method", ["gradient_alt", "gradient"])
def test_circles_of_coins_are_opencv_s_in_its_order(method: str) -> None:
    coins = np.asarray(cv2.medianBlur(np.asarray(skimage.data.coins(), np.uint8), 5), np.uint8)  # type: ignore[no-untyped-call]  # no types there
    alternative = method == "gradient_alt"
    flag, last = (cv2.HOUGH_GRADIENT_ALT, 0.7) if alternative else (cv2.HOUGH_GRADIENT, 30)
    high = 300 if alternative else 150
    expected = cv2.HoughCircles(coins, flag, 1.5, 20, param1=high, param2=last, minRadius=10, maxRadius=40)
    told = found(
        "hough_circles",
        coins,
        method=method,
        high=float(high),
        votes=30.0,
        perfectness=0.7,
        min_radius=10,
        max_radius=40,
    )
    assert told["count"] == len(np.asarray(expected)[0]) >= 10
    assert np.allclose(told["circles"], np.asarray(expected)[0][:50], atol=0.006)
    first = found("hough_circles", coins, method=method, high=float(high), votes=30.0, min_radius=10, limit=3)
    assert len(first["circles"]) == 3


@settings(max_examples=40)
@pytest.mark.parametrize("name", ROW)
@given(cuts(), st.data())
def test_any_frame_is_taken(name: str, case: Cut, data: st.DataObject) -> None:
    chosen: dict[str, Value] = {"limit": 5}
    if name == "hough_circles":
        alternative = data.draw(st.booleans())
        chosen |= {"method": "gradient_alt" if alternative else "gradient", "votes": 20.0}
        chosen |= {"perfectness": data.draw(st.sampled_from([0.0, 0.9, 0.99]))}
    else:
        chosen |= {"mask": data.draw(st.booleans()), "threshold": data.draw(st.sampled_from([1, 10]))}
    told = found(name, case.pixels, **chosen)
    places = told["circles" if name == "hough_circles" else "lines"]
    assert len(places) == min(5, told["count"])


@pytest.mark.parametrize("name", ROW)
def test_one_picture_gives_one_answer_and_an_empty_one_none(name: str) -> None:
    picture = gray(astronaut())[:160, :240]
    assert found(name, picture) == found(name, picture)
    told = found(name, plane(80, 60, "flat", 3))
    assert told["count"] == 0


@pytest.mark.parametrize("name", ROW)
def test_other_pixels_than_grey_are_refused(name: str) -> None:
    with pytest.raises(BadPixels, match="expected"):
        found(name, np.zeros((16, 16, 3), np.uint8))
