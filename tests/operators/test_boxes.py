from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadMessage
from streamproc.model import Boxes
from streamproc.operators.boxes import pack_boxes, suppress, unpack_boxes


def boxes(*rows: tuple[float, float, float, float, float]) -> Boxes:
    values = np.array(rows, float).reshape(-1, 5)
    return pack_boxes("face", values[:, :4], values[:, 4], iou=0.4)


def kept(found: Boxes) -> list[list[float]]:
    corners, _ = unpack_boxes(suppress(found))
    listed: list[list[float]] = corners.tolist()
    return listed


def test_no_boxes_stay_none() -> None:
    assert kept(boxes()) == []


def test_of_two_that_overlap_the_better_stays() -> None:
    assert kept(boxes((0, 0, 10, 10, 1), (1, 1, 11, 11, 2))) == [[1, 1, 11, 11]]


def test_two_that_touch_or_overlap_a_little_both_stay() -> None:
    assert len(kept(boxes((0, 0, 10, 10, 1), (10, 0, 20, 10, 1)))) == 2
    assert len(kept(boxes((0, 0, 10, 10, 1), (6, 0, 16, 10, 1)))) == 2


def test_one_inside_the_other_is_the_same_object() -> None:
    assert kept(boxes((0, 0, 30, 30, 2), (10, 10, 20, 20, 1))) == [[0, 0, 30, 30]]


def test_equal_scores_are_told_apart_by_place() -> None:
    assert kept(boxes((1, 0, 11, 10, 1), (0, 0, 10, 10, 1))) == [[0, 0, 10, 10]]


coordinates = st.integers(0, 40)


@given(
    st.lists(st.tuples(coordinates, coordinates, st.integers(1, 20), st.integers(1, 20), st.integers(0, 3))),
    st.randoms(),
)
def test_suppression_needs_no_order_and_nothing_more_after_it(
    rows: list[tuple[int, ...]], order: random.Random
) -> None:
    listed = [(float(x), float(y), float(x + w), float(y + h), float(score)) for x, y, w, h, score in rows]
    shuffled = list(listed)
    order.shuffle(shuffled)
    once = suppress(boxes(*listed))
    assert once == suppress(boxes(*shuffled)) == suppress(once)


@pytest.mark.parametrize("changes", [{"xyxy": b"1" * 15}, {"score": b"123"}])
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadMessage, match="schema"):
        unpack_boxes(msgspec.structs.replace(boxes((0, 0, 1, 1, 1)), **changes))
