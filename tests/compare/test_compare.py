from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.compare import KINDS, Change, Comparison, FrameChanges, Tolerances, compare, match
from streamproc.errors import UsageError
from streamproc.evidence.store import Frame
from streamproc.model import FrameKey
from tests.compare.events import START_NS, Event, a_run, again, an_object, frame_event, happening, runs, store

EXACT = Tolerances()
SWAPPED = {"lost": "added", "added": "lost"}


def compared(
    a: Iterable[Event], b: Iterable[Event], tolerances: Tolerances = EXACT
) -> tuple[Comparison, list[FrameChanges]]:
    with store(a, "A") as first, store(b, "B") as second:
        comparison = compare(first, second, tolerances)
        return comparison, list(comparison.differences())


def changes(a: Iterable[Event], b: Iterable[Event], tolerances: Tolerances = EXACT) -> list[Change]:
    return [change for found in compared(a, b, tolerances)[1] for change in found.changes]


def swapped_kind(kind: str) -> str:
    group, _, what = kind.partition(".")
    return f"{group}.{SWAPPED.get(what, what)}"


@given(runs(), st.randoms(use_true_random=False))
def test_a_run_does_not_differ_from_itself_nor_from_a_replay_whatever_the_order_of_frames(
    events: list[Event], random: Any
) -> None:
    frames = [one for one in events if "what" not in one["data"]]
    random.shuffle(frames)
    shuffled = [*frames, *(one for one in events if "what" in one["data"])]
    for other in (events, again(events), again(shuffled)):
        comparison, found = compared(events, other)
        assert (found, comparison.is_same) == ([], True)
        assert comparison.same == comparison.pairs == len(frames)


@given(runs(), runs())
def test_turned_round_what_was_lost_was_added_and_all_else_is_the_same(a: list[Event], b: list[Event]) -> None:
    there, back = (compared(*sides)[0].counts for sides in ((a, b), (b, a)))
    assert Counter({swapped_kind(kind): count for kind, count in there.items()}) == Counter(back)


@given(runs(), runs())
def test_each_change_turned_round_has_its_values_on_the_other_side(a: list[Event], b: list[Event]) -> None:
    def told(found: list[Change], *, turned: bool) -> list[str]:
        return sorted(
            repr((swapped_kind(one.kind), one.size, one.b, one.a) if turned else (one.kind, one.size, one.a, one.b))
            for one in found
        )

    assert told(changes(a, b), turned=True) == told(changes(b, a), turned=False)


def with_frame(change: Callable[[dict[str, Any]], object]) -> list[Event]:
    events = again(a_run())
    change(events[2]["data"])
    return events


def drop(events: list[Event], place: int) -> list[Event]:
    return events[:place] + events[place + 1 :]


PLANTED: list[tuple[list[Event], str, str]] = [
    (drop(again(a_run()), 3), "frame.lost", "only in A: complete, 2 objects"),
    ([*again(a_run()), *again([frame_event(9)])], "frame.added", "only in B: complete, 2 objects"),
    (with_frame(lambda d: d.update(outcome="partial", coverage=0.75, missing_tiles=[[0, 1]])), "frame.outcome",
     "partial instead of complete"),
    (with_frame(lambda d: d.update(coverage=0.75, missing_tiles=[[0, 1]])), "frame.outcome",
     "complete, but other tiles: 1 missing instead of 0"),
    (with_frame(lambda d: d.update(width=640)), "frame.size", "640x240 pixels instead of 320x240"),
    (with_frame(lambda d: d["objects"].pop(1)), "object.lost",
     "dog 0.6 at [100, 100, 180, 160] is no longer found"),
    (with_frame(lambda d: d["objects"].append(an_object("cat"))), "object.added",
     "cat 0.9 at [10, 10, 50, 90] is new"),
    (with_frame(lambda d: d["objects"][0].update(box=[14, 10, 54, 90])), "object.moved",
     "person moved by 4 px, from [10, 10, 50, 90] to [14, 10, 54, 90]"),
    (with_frame(lambda d: d["objects"][0].update(score=0.5)), "object.score", "person scores 0.5 instead of 0.9"),
    (with_frame(lambda d: d["objects"][0].update(label="dog")), "object.label", "person is called dog"),
    (with_frame(lambda d: d["objects"][0].update(track="t9")), "object.track", "person is track t9 instead of none"),
    (with_frame(lambda d: d["objects"][0].update(source="hog")), "object.source",
     "person is found by hog instead of people"),
    (with_frame(lambda d: d.update(classification=[{"label": "night", "score": 0.7, "source": "light"}])),
     "classification.changed", "light: night 0.7 instead of day 0.8"),
    (with_frame(lambda d: d["edges"].update(pixels=1010, density=0.0132, digest="ef" * 32)), "edges.changed",
     "1,010 pixels (1.32 %) instead of 1,000 (1.30 %)"),
    (with_frame(lambda d: d["edges"].update(digest="ef" * 32)), "edges.changed",
     "as many pixels, 1,000, at other places"),
    (with_frame(lambda d: d.update(edges=None)), "edges.changed", "0 pixels (none) instead of 1,000 (1.30 %)"),
    (with_frame(lambda d: d["features"].clear()), "feature.lost", "step corners tells nothing any more"),
    (with_frame(lambda d: d["features"].update(blobs={"count": 1})), "feature.added", "step blobs is new"),
    (with_frame(lambda d: d["features"]["corners"]["points"][1].__setitem__(2, 21.0)), "feature.changed",
     "corners: points[1][2] 21 instead of 20"),
    (drop(again(a_run()), 5), "occurrence.lost", "only in A: walkers: new 1-0 (track)"),
    ([*again(a_run()), *again([happening(3, "end", "1-0")])], "occurrence.added",
     "only in B: walkers: end 1-0 (track)"),
    (again([*a_run()[:5], happening(1, "new", "1-0", box=[10, 10, 50, 90], hits=4)]), "occurrence.changed",
     "walkers: new 1-0 (track): hits 4 instead of 3"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("events", "kind", "words"), PLANTED, ids=[f"{kind}-{at}" for at, (_, kind, _) in enumerate(PLANTED)]
)
def test_a_planted_change_is_found_as_exactly_that_change(events: list[Event], kind: str, words: str) -> None:
    assert [(one.kind, one.words) for one in changes(a_run(), events)] == [(kind, words)]


def test_each_kind_has_a_planted_change() -> None:
    assert {kind for _, kind, _ in PLANTED} == set(KINDS)


@given(st.floats(-0.05, 0.05), st.floats(-1, 1), st.floats(-1e-7, 1e-7))
def test_what_lies_within_the_tolerances_is_no_change(score: float, box_px: float, number: float) -> None:
    def change(data: dict[str, Any]) -> None:
        found = data["objects"][0]
        found["score"] += score
        found["box"] = [side + box_px for side in found["box"]]
        data["features"]["corners"]["points"][0] = [value * (1 + number) for value in (1.5, 2.5, 30.0)]

    loose = Tolerances(score=0.0501, box_px=1.0001)
    assert changes(a_run(), with_frame(change), loose) == []


def test_the_order_of_objects_in_an_event_is_no_change_and_equal_boxes_keep_their_scores() -> None:
    objects = [an_object(score=0.2), an_object(score=0.9), an_object(score=0.5), an_object("dog")]
    turned = [frame_event(0, objects=objects[::-1])]
    assert changes([frame_event(0, objects=objects)], again(turned)) == []
    fewer = again([frame_event(0, objects=[objects[2], objects[0]])])
    found = changes([frame_event(0, objects=objects)], fewer)
    assert [(one.kind, one.a["score"]) for one in found] == [("object.lost", 0.9), ("object.lost", 0.9)]


def test_the_assignment_is_the_best_of_all_not_the_first_that_fits() -> None:
    ours = [an_object(box=(0, 0, 100, 100)), an_object(box=(30, 0, 130, 100))]
    theirs = [an_object(box=(15, 0, 115, 100)), an_object(box=(-15, 0, 85, 100))]
    found = changes([frame_event(0, objects=ours)], again([frame_event(0, objects=theirs)]))
    assert [one.kind for one in found] == ["object.moved", "object.moved"]
    assert {one.size for one in found} == {15.0}


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], [5, 5, 5, 9], ["a", 1, 2, 3], [1e16, 0, 2e16, 1]])
def test_objects_without_a_box_that_can_be_compared_are_lost_or_equal(box: Any) -> None:
    odd = [frame_event(0, objects=[an_object() | {"box": box}])]
    assert changes(odd, again(odd)) == []
    assert [one.kind for one in changes(odd, again([frame_event(0, objects=[])]))] == ["object.lost"]


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ("edges", {"feature.changed", "object.lost"}),
        ("feature", {"edges.changed", "object.lost"}),
        ("feature:corners", {"edges.changed", "object.lost"}),
        ("feature:blobs", {"edges.changed", "feature.changed", "object.lost"}),
        ("object.lost:dog", {"edges.changed", "feature.changed"}),
        ("digests", {"edges.changed", "object.lost"}),
    ],
)
def test_what_is_to_be_ignored_is(ignore: str, left: set[str]) -> None:
    def change(data: dict[str, Any]) -> None:
        data["edges"]["digest"] = "00"
        data["features"]["corners"]["digest"] = "00"
        data["objects"].pop()

    found = changes(a_run(), with_frame(change), Tolerances(ignore=frozenset({ignore})))
    assert {one.kind for one in found} == left


def test_ignoring_what_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--ignore edge: use one of classification, .*digests, .*edges"):
        Tolerances(ignore=frozenset({"edge"}))


def test_runs_of_other_capture_times_are_matched_by_sequence_and_others_are_told_apart_by_time() -> None:
    later = [frame_event(n, run="b", captured_ns=START_NS + 10**15 + n) for n in range(5)]
    comparison, found = compared(a_run()[:5], later)
    assert (comparison.how, found) == ({"gate": "sequence"}, [])
    shifted = [frame_event(n + 2, run="b", captured_ns=START_NS + n * 40_000_000) for n in range(5)]
    comparison, found = compared(a_run()[:5], shifted)
    assert (comparison.how, found) == ({"gate": "capture time"}, [])


def test_frames_of_one_capture_time_are_matched_by_sequence_first() -> None:
    def frames(run: str, numbers: Iterable[int]) -> list[Frame]:
        return [Frame(FrameKey("gate", run, number), START_NS) for number in numbers]

    pairs, _ = match(frames("a", [1, 2, 3]), frames("b", [2, 3, 4, 5]))
    numbers = [tuple(side.key.sequence if side else None for side in pair) for pair in pairs]
    assert sorted(numbers, key=str) == sorted([(2, 2), (3, 3), (1, 4), (None, 5)], key=str)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)))
)
def test_each_frame_is_in_exactly_one_pair(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    sides = [
        list({FrameKey("gate", run, number): Frame(FrameKey("gate", run, number), at) for number, at in side}.values())
        for run, side in (("a", first), ("b", second))
    ]
    pairs, _ = match(*sides)
    assert Counter(pair.a for pair in pairs if pair.a) == Counter(sides[0])
    assert Counter(pair.b for pair in pairs if pair.b) == Counter(sides[1])


def test_runs_without_frames_or_without_a_common_camera_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="B has no frames"):
        compared(a_run(), [])
    with pytest.raises(UsageError, match="no camera in common: A has gate; B has yard"):
        compared(a_run(), [frame_event(0, camera="yard")])


def test_the_worst_come_first_and_each_kind_gets_its_turn() -> None:
    many = again([frame_event(n, objects=[]) for n in range(30)])
    many[7]["data"]["outcome"] = "expired"
    comparison, found = compared([frame_event(n) for n in range(30)], many)
    assert (len(found), comparison.differing, comparison.same) == (30, 30, 0)
    worst = comparison.worst()
    assert worst[0].changes[0].kind == "frame.outcome"
    assert [one.changes[0].kind for one in comparison.varied(3)] == ["frame.outcome", "object.lost", "object.lost"]
    assert copy.copy(worst) == sorted(worst, key=lambda one: one.rank)
