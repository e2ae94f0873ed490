from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadMessage
from streamproc.model import Boxes
from streamproc.operators.boxes import EVERY_BOX, box_labels, merged_boxes, pack_boxes, suppress, unpack_boxes


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


def labelled(*rows: tuple[str, float, float, float, float, float], tracks: list[str] | None = None) -> Boxes:
    values = np.array([row[1:] for row in rows], float).reshape(-1, 5)
    return pack_boxes(
        "object", values[:, :4], values[:, 4], iou=0.4, labels=[row[0] for row in rows], tracks=tracks or ()
    )


def test_labels_and_tracks_stay_with_their_boxes_when_boxes_are_ordered() -> None:
    found = labelled(("cat", 0, 0, 10, 10, 1), ("dog", 50, 0, 60, 10, 3), ("eel", 90, 0, 99, 9, 2), tracks=list("abc"))
    assert box_labels(found) == ["dog", "eel", "cat"]
    assert found.tracks == ["b", "c", "a"]
    assert unpack_boxes(found)[0][:, 0].tolist() == [50, 90, 0]


def test_one_name_may_stand_for_all_boxes() -> None:
    assert box_labels(boxes((0, 0, 1, 1, 1), (5, 5, 6, 6, 1))) == ["face", "face"]
    assert box_labels(boxes()) == []


def test_boxes_of_different_labels_are_different_objects_wherever_they_lie() -> None:
    found = suppress(labelled(("cat", 0, 0, 10, 10, 1), ("dog", 0, 0, 10, 10, 2), ("cat", 1, 0, 11, 10, 3)))
    assert box_labels(found) == ["cat", "dog"]
    assert unpack_boxes(found)[1].tolist() == [3, 2]


def test_tracks_of_boxes_that_stay_stay() -> None:
    found = suppress(labelled(("cat", 0, 0, 10, 10, 1), ("cat", 1, 0, 11, 10, 3), tracks=["old", "new"]))
    assert found.tracks == ["new"]


def test_merging_tiles_keeps_one_of_each_object_and_its_label() -> None:
    first = labelled(("cat", 0, 0, 10, 10, 1), ("dog", 50, 50, 60, 60, 1))
    second = labelled(("cat", 1, 0, 11, 10, 2))
    empty = labelled()
    merged = merged_boxes([first, empty, second])
    assert merged == merged_boxes([second, first, empty])
    assert box_labels(merged) == ["cat", "dog"]
    assert unpack_boxes(merged)[0].tolist() == [[1, 0, 11, 10], [50, 50, 60, 60]]


def test_merging_fills_in_the_common_name_and_no_track_where_only_some_tiles_tell_them() -> None:
    plain = pack_boxes("object", np.array([[50, 0, 60, 10]]), np.array([1.0]), iou=0.4)
    merged = merged_boxes([plain, labelled(("cat", 0, 0, 10, 10, 2), tracks=["7"])])
    assert box_labels(merged) == ["cat", "object"]
    assert merged.tracks == ["7", ""]


def test_partial_results_are_merged_without_loss() -> None:
    parts = [pack_boxes("face", np.array([[0, 0, 10, 10]]), np.ones(1), iou=EVERY_BOX) for _ in range(3)]
    assert unpack_boxes(merged_boxes(parts))[1].size == 3


@pytest.mark.parametrize("names", [{"labels": ["a"]}, {"tracks": ["a", "b", "c"]}])
def test_names_of_another_number_than_boxes_are_refused(names: dict[str, list[str]]) -> None:
    two = boxes((0, 0, 1, 1, 1), (5, 5, 6, 6, 1))
    with pytest.raises(BadMessage, match="2 boxes have"):
        unpack_boxes(msgspec.structs.replace(two, **names))
    with pytest.raises(BadMessage, match="2 boxes have"):
        pack_boxes("face", np.zeros((2, 4)), np.zeros(2), iou=0.4, **names)


@given(
    st.lists(st.tuples(coordinates, coordinates, st.integers(1, 20), st.integers(0, 3), st.sampled_from("ab"))),
    st.randoms(),
)
def test_suppression_of_one_label_knows_nothing_of_others(
    rows: list[tuple[int, int, int, int, str]], order: random.Random
) -> None:
    listed = [(label, x, y, x + w, y + w, score) for x, y, w, score, label in rows]
    shuffled = list(listed)
    order.shuffle(shuffled)
    together = suppress(labelled(*shuffled))
    apart = [suppress(labelled(*(row for row in listed if row[0] == label))) for label in "ab"]
    assert together == merged_boxes([*apart, labelled()])
    assert len(together.score) == sum(len(part.score) for part in apart)
