from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadPixels
from streamproc.model import EdgeMap, Grid, Pixels
from streamproc.operators.edges import CANNY_HALO_PX, canny
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, cuts

THRESHOLDS = st.sampled_from([0.0, 1.0, 7.5, 20.0, 50.0, 100.0, 150.0, 300.0, 900.0, 2040.0, 3000.0])


def unpacked(edge_map: EdgeMap) -> tuple[Pixels, Pixels]:
    """Masks of decided and loose pixels of a core, 0 or 1."""
    core = edge_map.core
    stride = -(-core.width // 8)
    loose = np.zeros(core.height * stride, np.uint8)
    loose[np.frombuffer(edge_map.loose_at, "<u4")] = np.frombuffer(edge_map.loose_bits, np.uint8)
    decided = np.frombuffer(edge_map.decided, np.uint8)
    first, second = (np.unpackbits(mask.reshape(-1, stride), axis=1, count=core.width) for mask in (decided, loose))
    return first, second


@given(cuts(), THRESHOLDS, THRESHOLDS, st.booleans())
def test_one_tile_is_the_whole_frame_and_leaves_nothing_open(case: Cut, low: float, high: float, l2: bool) -> None:
    (window,) = split(case.pixels, Grid(1, 1), 0)
    decided, loose = unpacked(canny(window, {"low": low, "high": high, "l2": l2}))
    assert np.array_equal(decided * 255, cv2.Canny(case.pixels, low, high, L2gradient=l2))
    assert not loose.any()


@given(cuts(), THRESHOLDS, THRESHOLDS, st.booleans())
def test_what_a_tile_decides_holds_and_what_it_drops_is_no_edge(case: Cut, low: float, high: float, l2: bool) -> None:
    whole = cv2.Canny(case.pixels, low, high, L2gradient=l2) > 0
    for window in split(case.pixels, case.grid, CANNY_HALO_PX):
        decided, loose = unpacked(canny(window, {"low": low, "high": high, "l2": l2}))
        core = whole[window.core.y : window.core.bottom, window.core.x : window.core.right]
        assert not (decided & loose).any()
        assert not (decided.astype(bool) & ~core).any()
        assert not (core & ~(decided | loose).astype(bool)).any()


@given(cuts(), st.booleans())
def test_more_halo_changes_nothing(case: Cut, l2: bool) -> None:
    params = {"low": 20.0, "high": 80.0, "l2": l2}
    least = split(case.pixels, case.grid, CANNY_HALO_PX)
    more = split(case.pixels, case.grid, CANNY_HALO_PX + 1 + case.extra_halo)
    assert [canny(window, params) for window in least] == [canny(window, params) for window in more]


def test_a_component_longer_than_the_strips_that_are_searched_is_followed_to_its_end() -> None:
    # A faint line that enters from the right tile, runs to the left end of this one, and comes half way back.
    picture = np.full((160, 320), 100, np.uint8)
    line = np.array([(250, 60), (8, 60), (8, 100), (80, 100)], np.int32)
    cv2.polylines(picture, [line], isClosed=False, color=130)
    left, _ = split(picture, Grid(1, 2), CANNY_HALO_PX)
    decided, loose = unpacked(canny(left, {"low": 20.0, "high": 400.0, "l2": False}))
    assert not decided.any()
    weak = cv2.Canny(picture, 20, 20)[:, :160] > 0
    _, labels = cv2.connectedComponents(weak.astype(np.uint8))
    reaching = np.isin(labels, np.unique(labels[:, -1])) & weak
    assert reaching[:, 10].any()
    assert np.array_equal(loose > 0, reaching)


@pytest.mark.parametrize("pixels", [np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.float32)])
def test_other_pixels_than_grey_are_refused(pixels: Pixels) -> None:
    (window,) = split(pixels, Grid(1, 1), 0)
    with pytest.raises(BadPixels, match=r"expected \(rows, cols\) uint8"):
        canny(window, {"low": 50.0, "high": 150.0, "l2": False})


def strongest_needed(picture: Pixels, *, l2: bool) -> int:
    """Highest pair of equal thresholds, whole numbers, at which something away from the border is an edge."""
    found = 0
    for level in range(2049):
        edges = canny(split(picture, Grid(1, 1), 0)[0], {"low": float(level), "high": float(level), "l2": l2})
        if not unpacked(edges)[0][4:-4, 4:-4].any():
            break
        found = level
    return found


@pytest.mark.parametrize(("l2", "upright", "diagonal"), [(False, 4 * 50, 6 * 50), (True, 4 * 50, 18**0.5 * 50)])
def test_thresholds_are_magnitudes_of_sobel_s_3x3_gradient(l2: bool, upright: float, diagonal: float) -> None:
    y, x = np.mgrid[:24, :24]
    for step, magnitude in ((x > 11, upright), (x > y, diagonal)):
        picture = np.where(step, 150, 100).astype(np.uint8)
        assert strongest_needed(picture, l2=l2) == int(np.ceil(magnitude)) - 1
