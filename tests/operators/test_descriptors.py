from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadPixels
from streamproc.model import Grid
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.descriptors import ORB_BYTES, ORB_HALO_PX, orb
from streamproc.operators.pixels import gray
from streamproc.operators.points import inside, unpack_points
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, cuts, photograph

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
