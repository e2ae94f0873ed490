from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from streamproc.aggregator.merging import merge_points
from streamproc.errors import BadPixels
from streamproc.model import Grid, Pixels, Points
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.descriptors import ORB_BYTES, ORB_HALO_PX, orb
from streamproc.operators.pixels import gray
from streamproc.operators.points import MOST_POINTS, inside, unpack_points
from streamproc.operators.table import Params
from streamproc.operators.tiling import split
from tests.operators.pictures import GALLERY, Cut, cuts, grey_picture, photograph

DEFAULTS = OPERATORS["orb"].defaults()


def test_points_lie_in_the_core_and_carry_descriptors() -> None:
    for window in split(gray(photograph(400, 300)), Grid(2, 2), ORB_HALO_PX):
        xy, response, descriptors = unpack_points(orb(window, DEFAULTS))
        assert len(xy) > 50
        assert inside(xy, window.core).all()
        assert descriptors.shape == (len(xy), ORB_BYTES)
        assert (np.diff(response) <= 0).all()


def test_most_points_of_tiles_are_points_of_the_frame() -> None:
    picture = gray(photograph(640, 480))
    everything = {**DEFAULTS, "limit": 2000, "levels": 1}
    (whole,) = split(picture, Grid(1, 1), 0)
    xy, _, rows = unpack_points(orb(whole, everything))
    of_frame = {tuple(place): bytes(row) for place, row in zip(xy.tolist(), rows, strict=True)}
    of_tiles: dict[tuple[float, ...], bytes] = {}
    for window in split(picture, Grid(2, 2), ORB_HALO_PX):
        xy, _, rows = unpack_points(orb(window, everything))
        of_tiles |= {tuple(place): bytes(row) for place, row in zip(xy.tolist(), rows, strict=True)}
    common = of_frame.keys() & of_tiles.keys()
    assert len(common) > 0.9 * len(of_frame)
    assert sum(of_frame[place] == of_tiles[place] for place in common) > 0.9 * len(common)


def found(picture: Pixels, grid: Grid, params: Params) -> Points:
    return merge_points([orb(window, params) for window in split(picture, grid, ORB_HALO_PX)])


@pytest.mark.parametrize(
    ("grid", "limit", "least", "middle", "most"),
    [
        (Grid(2, 2), 500, 0.35, 0.54, 0.72),
        (Grid(3, 5), 500, 0.27, 0.39, 0.54),
        (Grid(2, 2), MOST_POINTS, 0.5, 0.64, 0.84),
        (Grid(3, 5), MOST_POINTS, 0.32, 0.52, 0.78),
    ],
)
def test_the_share_of_the_frame_s_points_that_tiles_find_is_what_the_page_says(
    grid: Grid, limit: int, least: float, middle: float, most: float
) -> None:
    params, shares, reverse = {**DEFAULTS, "limit": limit}, [], []
    for name, size in product(GALLERY, [(640, 384), (1280, 720)]):
        picture = grey_picture(name, *size)
        frame, tiles = (unpack_points(found(picture, cut, params))[0] for cut in (Grid(1, 1), grid))
        shares.append(np.mean(cKDTree(tiles).query(frame)[0] <= 0.5))
        reverse.append(np.mean(cKDTree(frame).query(tiles)[0] <= 0.5))
    assert least <= min(shares)
    assert max(shares) <= most
    assert np.median(shares) == pytest.approx(middle, abs=0.03)
    assert np.median(reverse) >= middle - 0.05


@pytest.mark.parametrize("grid", [Grid(2, 2), Grid(3, 5)])
def test_with_one_level_and_all_points_tiles_find_those_of_the_frame(grid: Grid) -> None:
    params = {**DEFAULTS, "limit": MOST_POINTS, "levels": 1}
    for name in GALLERY:
        picture = grey_picture(name, 640, 384)
        frame, tiles = (rows_by_place(found(picture, cut, params)) for cut in (Grid(1, 1), grid))
        assert len(frame) > 100
        assert tiles == frame


def rows_by_place(points: Points) -> dict[tuple[float, ...], bytes]:
    xy, _, rows = unpack_points(points)
    return {tuple(place): bytes(row) for place, row in zip(xy.tolist(), rows, strict=True)}


@settings(max_examples=50)
@given(cuts(), st.sampled_from([(1.2, 8), (2.0, 16), (1.05, 16), (1.2, 1)]))
def test_any_window_is_taken(case: Cut, pyramid: tuple[float, int]) -> None:
    for window in split(case.pixels, case.grid, ORB_HALO_PX)[:3]:
        points = orb(window, {**DEFAULTS, "scale_factor": pyramid[0], "levels": pyramid[1]})
        assert points.descriptor_bytes == ORB_BYTES
        unpack_points(points)


def test_the_limit_holds_in_a_tile() -> None:
    (window,) = split(gray(photograph(400, 300)), Grid(1, 1), 0)
    assert len(unpack_points(orb(window, {**DEFAULTS, "limit": 7}))[1]) == 7


def test_other_pixels_than_grey_are_refused() -> None:
    (window,) = split(np.zeros((64, 64, 3), np.uint8), Grid(1, 1), 0)
    with pytest.raises(BadPixels, match="expected"):
        orb(window, DEFAULTS)


def test_a_whole_frame_gives_opencv_s_points() -> None:
    picture = gray(photograph(400, 300))
    (window,) = split(picture, Grid(1, 1), 0)
    xy, _, _ = unpack_points(orb(window, DEFAULTS))
    expected = {point.pt for point in cv2.ORB.create(500).detect(picture)}
    assert {tuple(place) for place in xy.tolist()} == expected
