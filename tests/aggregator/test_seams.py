from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamproc.aggregator.seams import (
    count_packed,
    edge_digest,
    link_edges,
    link_packed,
    packed_digest,
    unpack,
)
from streamproc.errors import BadMessage
from streamproc.model import EdgeMap, Grid, Pixels, Rect
from streamproc.operators.edges import CANNY_HALO_PX, canny
from streamproc.operators.pixels import gray
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts, photograph

THRESHOLDS = st.sampled_from([0.0, 1.0, 7.5, 20.0, 50.0, 100.0, 150.0, 300.0, 900.0, 2040.0, 3000.0])


def maps_of(
    picture: Pixels,
    grid: Grid,
    low: float = 50,
    high: float = 150,
    *,
    l2: bool = False,
    halo: int = CANNY_HALO_PX,
) -> list[EdgeMap]:
    return [canny(window, {"low": low, "high": high, "l2": l2}) for window in split(picture, grid, halo)]


def linked(picture: Pixels, grid: Grid, low: float = 50, high: float = 150, *, l2: bool = False) -> Pixels:
    height, width = picture.shape
    return link_edges(maps_of(picture, grid, low, high, l2=l2), width, height)


ONE_PIXEL = Cut(width=1, height=1, kind="noise", seed=0, channels=1, grid=Grid(1, 1), extra_halo=0)
NEIGHBOURS_OF_ONE_PIXEL = Cut(width=17, height=17, kind="noise", seed=1, channels=1, grid=Grid(2, 2), extra_halo=0)
ONE_ROW = Cut(width=90, height=1, kind="specks", seed=2, channels=1, grid=Grid(1, 6), extra_halo=3)


@settings(max_examples=300)
@given(case=cuts(), low=THRESHOLDS, high=THRESHOLDS, l2=st.booleans())
@example(case=ONE_PIXEL, low=0.0, high=0.0, l2=False)
@example(case=NEIGHBOURS_OF_ONE_PIXEL, low=1.0, high=7.5, l2=True)
@example(case=ONE_ROW, low=1.0, high=50.0, l2=False)
def test_linked_tiles_equal_canny_of_the_whole_frame(case: Cut, low: float, high: float, l2: bool) -> None:
    picture = case.pixels
    maps = maps_of(picture, case.grid, low, high, l2=l2, halo=CANNY_HALO_PX + case.extra_halo)
    whole = cv2.Canny(picture, low, high, L2gradient=l2)
    assert np.array_equal(link_edges(maps, case.width, case.height), whole)
    packed = link_packed(maps, case.width, case.height)
    assert packed_digest(packed, case.width) == edge_digest(whole)
    assert count_packed(packed) == np.count_nonzero(whole)


@given(cuts(), st.randoms(use_true_random=False))
def test_the_order_of_tiles_changes_nothing(case: Cut, order: random.Random) -> None:
    maps = maps_of(case.pixels, case.grid, 10, 60)
    shuffled = list(maps)
    order.shuffle(shuffled)
    first, second = (link_edges(some, case.width, case.height) for some in (maps, shuffled))
    assert np.array_equal(first, second)


@given(cuts(), st.data())
def test_missing_tiles_only_take_edges_away(case: Cut, data: st.DataObject) -> None:
    maps = maps_of(case.pixels, case.grid, 10, 60)
    some = data.draw(st.lists(st.sampled_from(maps), unique_by=lambda one: one.core))
    part = link_edges(some, case.width, case.height) > 0
    whole = link_edges(maps, case.width, case.height) > 0
    present = np.zeros_like(whole)
    for edge_map in some:
        present[edge_map.core.y : edge_map.core.bottom, edge_map.core.x : edge_map.core.right] = True
    assert not (part & ~present).any()
    assert not (part & ~whole).any()


def test_no_tile_is_no_edge() -> None:
    assert not link_edges([], 20, 10).any()
    assert link_edges([], 20, 10).shape == (10, 20)


def faint_line(width: int, height: int, points: Sequence[tuple[int, int]]) -> Pixels:
    """A faint line with a clear beginning of ten pixels."""
    picture = np.full((height, width), 100, np.uint8)
    cv2.polylines(picture, [np.array(points, np.int32)], isClosed=False, color=115, thickness=3)
    x, y = points[0]
    picture[y - 5 : y + 5, x - 5 : x + 5][picture[y - 5 : y + 5, x - 5 : x + 5] == 115] = 180
    return picture


@pytest.mark.parametrize("grid", [Grid(1, 1), Grid(1, 20), Grid(12, 1), Grid(12, 20), Grid(5, 7)], ids=str)
@pytest.mark.parametrize(
    "points",
    [
        [(6, 100), (316, 100)],
        [(6 + 38 * ((i + 1) // 2), 10 + 21 * (i // 2)) for i in range(17)],
        [(6, 95), (317, 96), (317, 112), (2, 111)],
        [(8 + 15 * (i // 2), 172 if (i + 1) // 2 % 2 else 20) for i in range(40)],
    ],
    ids=["level", "stairs", "along a seam and back", "over many seams"],
)
def test_a_strong_end_lights_a_faint_line_through_all_tiles(grid: Grid, points: list[tuple[int, int]]) -> None:
    picture = faint_line(320, 192, points)
    whole = cv2.Canny(picture, 30, 200)
    assert np.count_nonzero(whole) > 250
    assert whole[:, 290:].any()
    assert np.array_equal(linked(picture, grid, 30, 200), whole)


@pytest.mark.parametrize("grid", [Grid(1, 1), Grid(2, 2), Grid(3, 5), Grid(12, 20)], ids=str)
@pytest.mark.parametrize("l2", [False, True])
def test_a_photograph_is_exact(grid: Grid, l2: bool) -> None:
    for picture in (gray(astronaut())[:200, :333], gray(photograph(320, 192))):
        for low, high in ((50, 150), (20, 60), (100, 101)):
            assert np.array_equal(linked(picture, grid, low, high, l2=l2), cv2.Canny(picture, low, high, L2gradient=l2))


def test_the_digest_is_that_of_the_contract() -> None:
    edges = linked(gray(astronaut())[:100, :99], Grid(2, 2))
    assert edge_digest(edges) == hashlib.sha256(np.packbits(edges > 0).tobytes()).hexdigest()
    assert edge_digest(edges > 0) == edge_digest(edges)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64])
def test_packed_masks_are_unpacked_counted_and_fingerprinted(width: int) -> None:
    mask = np.random.default_rng(width).integers(0, 2, (5, width)).astype(bool)
    packed = np.packbits(mask, axis=1)
    assert np.array_equal(unpack(packed, width), mask * 255)
    assert count_packed(packed) == mask.sum()
    assert packed_digest(packed, width) == edge_digest(mask)


GOOD = EdgeMap(core=Rect(16, 0, 17, 2), decided=bytes(6), loose_at=b"\1\0\0\0", loose_bits=b"\xff")


@pytest.mark.parametrize(
    "changes",
    [
        {"decided": bytes(5)},
        {"loose_at": b"\1\0\0"},
        {"loose_at": b"\6\0\0\0"},
        {"loose_at": b"\xff\xff\xff\xff"},
        {"loose_bits": b""},
        {"core": Rect(17, 0, 16, 3)},
        {"core": Rect(0, 0, 17, 2)},
        {"core": Rect(16, 1, 17, 2)},
        {"core": Rect(-8, 0, 17, 2)},
        {"core": Rect(16, 0, 17, 0)},
    ],
    ids=str,
)
def test_maps_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    link_edges([GOOD], 33, 2)
    with pytest.raises(BadMessage, match=r"schema: .*edges of Rect"):
        link_edges([msgspec.structs.replace(GOOD, **changes)], 33, 2)


def test_bits_beyond_the_last_column_are_no_pixels() -> None:
    forged = msgspec.structs.replace(GOOD, decided=b"\xff" * 6, loose_at=b"\2\0\0\0")
    packed = link_packed([forged], 33, 2)
    assert count_packed(packed) == 34
    assert packed_digest(packed, 33) == edge_digest(unpack(packed, 33))
