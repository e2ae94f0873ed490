from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadMessage
from streamproc.model import Rect
from streamproc.operators.points import inside, pack_points, set_pixels, unpack_points


def test_no_points_are_packed_and_unpacked() -> None:
    xy, response, descriptors = unpack_points(pack_points(np.zeros((0, 2)), np.zeros(0), limit=5))
    assert (xy.shape, response.shape, descriptors.shape) == ((0, 2), (0,), (0, 0))


def test_points_come_by_strength_then_down_then_right_with_their_descriptors() -> None:
    xy = np.array([[5, 1], [1, 1], [9, 0], [2, 7]], np.float32)
    response = np.array([1, 1, 1, 3], np.float32)
    rows = np.arange(8, dtype=np.uint8).reshape(4, 2)
    points = pack_points(xy, response, limit=3, descriptors=rows)
    found, strength, descriptors = unpack_points(points)
    assert found.tolist() == [[2, 7], [9, 0], [1, 1]]
    assert strength.tolist() == [3, 1, 1]
    assert descriptors.tolist() == [[6, 7], [4, 5], [2, 3]]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), unique_by=lambda p: p[:2]),
    st.randoms(),
)
def test_the_order_they_are_given_in_changes_nothing(points: list[tuple[int, int, int]], order: random.Random) -> None:
    shuffled = list(points)
    order.shuffle(shuffled)
    packed = [
        pack_points(
            np.array([p[:2] for p in some]).reshape(-1, 2) * 1.0,
            np.array([p[2] for p in some]) * 1.0,
            limit=4,
        )
        for some in (points, shuffled)
    ]
    assert packed[0] == packed[1]


@given(st.integers(0, 60), st.integers(1, 70), st.integers(1, 9), st.integers(0, 999))
def test_a_limit_keeps_the_first_of_all(count: int, limit: int, strengths: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    places = random.permutation(100)[:count]
    xy, response = (
        np.stack([places % 10, places // 10], axis=1).astype(np.float32),
        random.integers(0, strengths, count) / 1,
    )
    every, strengths_of_all, _ = unpack_points(pack_points(xy, response, limit=0))
    some, strengths_of_some, _ = unpack_points(pack_points(xy, response, limit=limit))
    assert np.array_equal(every[:limit], some)
    assert np.array_equal(strengths_of_all[:limit], strengths_of_some)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_set_pixels_come_from_top_to_bottom_then_from_left_to_right(rows: int, cols: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, (rows, cols)).astype(bool)
    y, x = np.nonzero(mask)
    assert set_pixels(mask).tolist() == [[int(col), int(row)] for col, row in zip(x, y, strict=True)]


def test_values_that_differ_in_float64_alone_are_equal() -> None:
    xy = np.array([[1, 0], [0, 0]], np.float32)
    found, _, _ = unpack_points(pack_points(xy, np.array([1 + 1e-12, 1]), limit=0))
    assert found.tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    "changes", [{"xy": b"12345678"}, {"response": b"1234567"}, {"descriptors": b"1"}, {"descriptor_bytes": 3}]
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    points = pack_points(np.zeros((2, 2)), np.zeros(2), limit=0)
    with pytest.raises(BadMessage, match="schema"):
        unpack_points(msgspec.structs.replace(points, **changes))


def test_a_point_on_a_seam_lies_in_one_core() -> None:
    xy = np.array([[15.5, 3], [16, 3], [0, 16], [31.9, 15.9]])
    cores = [Rect(0, 0, 16, 16), Rect(16, 0, 16, 16), Rect(0, 16, 16, 16)]
    assert [inside(xy, core).tolist() for core in cores] == [
        [True, False, False, False],
        [False, True, False, True],
        [False, False, True, False],
    ]
