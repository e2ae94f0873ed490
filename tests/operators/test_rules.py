from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadMessage, PipelineError
from streamproc.model import Boxes, Figures, Occurrence
from streamproc.operators.parameters import checked
from streamproc.operators.pipeline_file import parse
from streamproc.operators.rules import ROWS
from streamproc.operators.table import Follower, Memory, Operator, Params, Scene, Sighting

RULES = {row.name: row for row in ROWS}
INTERVAL_NS = 100_000_000
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "rule.v1.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)
LINE = ((0.0, 100.0), (200.0, 100.0))
SQUARE = ((50.0, 50.0), (150.0, 50.0), (150.0, 150.0), (50.0, 150.0))

Stand = tuple[str, float, float]
"""Name, x and y of the middle of the base."""


def tracks(*stands: Stand, labels: Sequence[str] = ()) -> Boxes:
    corners = np.array([(x - 5, y - 20, x + 5, y) for _, x, y in stands], "<f4").reshape(-1, 4)
    return Boxes(
        label="person",
        xyxy=corners.tobytes(),
        score=np.ones(len(corners), "<f4").tobytes(),
        labels=list(labels),
        tracks=[name for name, _, _ in stands],
    )


def scene(sequence: int, found: Boxes | None) -> Scene:
    return Scene(
        window=None,
        found=found,
        camera="gate",
        run="live-1",
        sequence=sequence,
        captured_ns=10**18 + sequence * INTERVAL_NS,
        width=200,
        height=200,
    )


def follow(rule: str, frames: Sequence[Boxes | None], **params: Any) -> list[Sighting]:
    memory: Memory = {}
    given_params = {**RULES[rule].defaults(), **params}
    return [run(RULES[rule], scene(number, found), memory, given_params) for number, found in enumerate(frames)]


def run(row: Operator, one: Scene, memory: Memory, params: Params) -> Sighting:
    return cast("Follower", row.run)(one, memory, params)


def told(seen: Sequence[Sighting]) -> list[tuple[int, str, str]]:
    return [(number, one.what, one.subject) for number, each in enumerate(seen) for one in each.occurrences]


def figures(seen: Sighting) -> dict[str, Any]:
    assert isinstance(seen.result, Figures)
    return seen.result.values


def walk(*ys: float, x: float = 100.0, name: str = "1-0") -> list[Boxes | None]:
    return [tracks((name, x, y)) for y in ys]


# --- lines ----------------------------------------------------------------------------------------------------


def test_a_crossing_is_told_once_with_its_direction() -> None:
    seen = follow("line_crossing", walk(80, 90, 99, 101, 110, 120), line=LINE)
    assert told(seen) == [(4, "crossed", "1-0")]
    (crossing,) = seen[4].occurrences
    assert crossing.data == {
        "label": "person",
        "point": [100.0, 110.0],
        "direction": "left-to-right",
        "left_to_right": 1,
        "right_to_left": 0,
    }
    assert figures(seen[-1]) == {"left_to_right": 1, "right_to_left": 0}


def test_the_way_back_is_a_crossing_of_the_other_direction() -> None:
    seen = follow("line_crossing", walk(80, 120, 80, 120), line=LINE)
    assert figures(seen[-1]) == {"left_to_right": 2, "right_to_left": 1}


def test_the_other_end_of_the_line_first_turns_the_directions() -> None:
    seen = follow("line_crossing", walk(80, 120), line=(LINE[1], LINE[0]))
    assert figures(seen[-1]) == {"left_to_right": 0, "right_to_left": 1}


def test_who_stands_on_the_line_counts_once_at_most() -> None:
    trembling = [80.0, *([99.0, 101.0] * 20), 98.5, 120.0, 101.9, 99.0, 121.0]
    assert figures(follow("line_crossing", walk(*trembling), line=LINE)[-1]) == {"left_to_right": 1, "right_to_left": 0}


def test_who_goes_around_the_end_of_the_line_does_not_cross_it() -> None:
    around = [tracks(("1-0", x, y)) for x, y in [(90, 50), (120, 50), (120, 150), (90, 150)]]
    assert told(follow("line_crossing", around, line=((0.0, 100.0), (100.0, 100.0)))) == []
    through = [tracks(("1-0", x, y)) for x, y in [(90, 50), (95, 150)]]
    assert len(told(follow("line_crossing", through, line=((0.0, 100.0), (100.0, 100.0))))) == 1


SHORT = ((0.0, 100.0), (100.0, 100.0))


@pytest.mark.parametrize("margin_px", [0.0, 2.0, 20.0])
def test_who_goes_around_the_end_within_the_margin_does_not_cross_the_line(margin_px: float) -> None:
    # The straight way between the clear places, (80, 70) and (80, 130), meets the line; the way itself does not.
    ways = [[(80, 70), (110, 90), (110, 110), (80, 130)], [(80, 70), (101, 99), (101, 101), (80, 130)]]
    for way in ways:
        assert told(follow("line_crossing", [tracks(("1-0", *place)) for place in way], line=SHORT)) == []
        back = [tracks(("1-0", *place)) for place in reversed(way)]
        assert told(follow("line_crossing", back, line=SHORT, margin_px=margin_px)) == []


def test_who_crosses_slowly_and_goes_off_sideways_has_crossed() -> None:
    # The straight way between the clear places, (95, 97) and (140, 103), does not meet the line; the way itself does.
    way = [(95, 97), (95, 99), (96, 101), (120, 101.5), (140, 103)]
    seen = follow("line_crossing", [tracks(("1-0", *place)) for place in way], line=SHORT)
    assert told(seen) == [(4, "crossed", "1-0")]


def test_who_turns_back_through_the_line_and_goes_around_its_end_has_not_crossed() -> None:
    way = [(95, 97), (95, 101), (95, 99), (105, 99), (105, 101), (95, 103)]
    assert told(follow("line_crossing", [tracks(("1-0", *place)) for place in way], line=SHORT)) == []


PLACES = st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), min_size=2, max_size=40)
ENDS = st.tuples(*[st.tuples(st.integers(4, 20), st.integers(4, 20))] * 2).filter(lambda ends: ends[0] != ends[1])


@settings(max_examples=400, deadline=None)
@given(PLACES, ENDS, st.sampled_from([0, 1, 2, 5]))
def test_crossings_are_those_of_the_way_itself(
    places: list[tuple[int, int]], ends: tuple[tuple[int, int], tuple[int, int]], margin_px: int
) -> None:
    line = tuple((float(x), float(y)) for x, y in ends)
    seen = follow("line_crossing", [tracks(("1-0", *place)) for place in places], line=line, margin_px=float(margin_px))
    directions = [(number, one.data["direction"]) for number, each in enumerate(seen) for one in each.occurrences]
    assert directions == crossings(places, ends, margin_px)


def crossings(
    places: list[tuple[int, int]], ends: tuple[tuple[int, int], tuple[int, int]], margin_px: int
) -> list[tuple[int, str]]:
    """The same in whole numbers and fractions: along and across the line, squares in place of roots."""
    (ax, ay), (bx, by) = ends
    length = (bx - ax) ** 2 + (by - ay) ** 2
    along = [(x - ax) * (bx - ax) + (y - ay) * (by - ay) for x, y in places]
    across = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in places]
    clear = [number for number, one in enumerate(across) if one**2 > margin_px**2 * length]
    found = []
    for first, last in pairwise(clear):
        net = 0
        for before, now in pairwise(range(first, last + 1)):
            if (across[before] > 0) != (across[now] > 0):
                share = Fraction(across[before], across[before] - across[now])
                meets = 0 <= along[before] + share * (along[now] - along[before]) <= length
                net += meets * (1 if across[now] > 0 else -1)
        if across[first] * across[last] < 0 and net * across[last] > 0:
            found.append((last, "left-to-right" if across[last] > 0 else "right-to-left"))
    return found


def test_one_direction_and_one_label_alone_count_if_so_wished() -> None:
    frames = [
        tracks(("a", 50, y), ("b", 90, y), ("c", 150, 200 - y), labels=("car", "person", "car")) for y in (80, 120)
    ]
    assert told(follow("line_crossing", frames, line=LINE, label="car")) == [(1, "crossed", "a"), (1, "crossed", "c")]
    assert told(follow("line_crossing", frames, line=LINE, direction="right-to-left")) == [(1, "crossed", "c")]


def test_the_anchor_is_the_base_or_the_centre() -> None:
    frames = walk(95, 105)  # centres 85 and 95
    assert len(told(follow("line_crossing", frames, line=LINE))) == 1
    assert told(follow("line_crossing", frames, line=LINE, anchor="center")) == []


def test_a_track_out_of_sight_is_remembered_for_some_frames_alone() -> None:
    for away, crossings in ((9, 1), (11, 0)):
        frames = [*walk(80), *[tracks()] * away, *walk(120)]
        assert len(told(follow("line_crossing", frames, line=LINE, lost_frames=10))) == crossings


# --- zones ----------------------------------------------------------------------------------------------------


def test_a_zone_tells_who_enters_stays_and_leaves() -> None:
    seen = follow("zone", walk(30, 60, *[100] * 20, 160, 170), polygon=SQUARE, dwell_s=1.5)
    assert told(seen) == [(1, "enter", "1-0"), (16, "dwell", "1-0"), (22, "leave", "1-0")]
    assert seen[1].occurrences[0].data == {"label": "person", "point": [100.0, 60.0], "inside": 1}
    assert seen[16].occurrences[0].data["stayed_s"] == 1.5
    left = seen[22].occurrences[0].data
    assert left == {"label": "person", "point": [100.0, 160.0], "stayed_s": 2.1, "lost": False, "inside": 0}
    assert figures(seen[-1]) == {"inside": 0, "entered": 1, "left": 1, "dwelled": 1}


def test_a_track_that_ends_inside_leaves_as_lost() -> None:
    seen = follow("zone", [*walk(100, 100, 100), *[tracks()] * 20], polygon=SQUARE, lost_frames=5)
    assert told(seen) == [(0, "enter", "1-0"), (8, "leave", "1-0")]
    assert seen[8].occurrences[0].data == {
        "label": "person",
        "point": [100.0, 100.0],
        "stayed_s": 0.2,
        "lost": True,
        "inside": 0,
    }


def test_trembling_at_the_border_of_a_zone_is_one_visit() -> None:
    seen = follow("zone", walk(30, *[51.9, 48.1] * 10, 53, *[48.1, 51.9] * 10, 47, 52), polygon=SQUARE)
    assert [what for _, what, _ in told(seen)] == ["enter", "leave"]


def test_a_zone_may_be_hollow() -> None:
    hook = ((0.0, 0.0), (190.0, 0.0), (190.0, 190.0), (150.0, 190.0), (150.0, 40.0), (0.0, 40.0))
    frames = [tracks(("1-0", x, y)) for x, y in [(20, 20), (170, 100), (75, 115)]]
    assert [what for _, what, _ in told(follow("zone", frames, polygon=hook))] == ["enter", "leave"]


def test_frames_without_findings_change_nothing_in_a_zone() -> None:
    seen = follow("zone", [*walk(100), *[None] * 5, *walk(100)], polygon=SQUARE)
    assert [figures(one)["inside"] for one in seen] == [1] * 7
    assert told(seen) == [(0, "enter", "1-0")]


# --- counts ---------------------------------------------------------------------------------------------------


def test_tracks_are_counted_now_and_each_once_so_far() -> None:
    frames = [tracks(("a", 10, 50)), tracks(("a", 12, 50), ("b", 90, 50)), tracks(("b", 90, 50)), None, tracks()]
    seen = [figures(one) for one in follow("count", frames)]
    assert [(one["now"], one["unique"]) for one in seen] == [(1, 1), (2, 2), (1, 2), (1, 2), (0, 2)]


def test_a_count_above_its_limit_is_told_when_it_lasts() -> None:
    two, one = tracks(("a", 10, 50), ("b", 90, 50)), tracks(("a", 10, 50))
    frames = [one, two, one, *[two] * 10, one, two, *[one] * 10]
    seen = follow("count", frames, limit=1, hold_s=0.5)
    assert told(seen) == [(8, "above", ""), (20, "below", "")]
    assert seen[8].occurrences[0].data == {"now": 2, "unique": 2, "limit": 1}
    assert told(follow("count", frames)) == []


# --- all ------------------------------------------------------------------------------------------------------

SET: dict[str, dict[str, Any]] = {
    "line_crossing": {"line": LINE},
    "zone": {"polygon": SQUARE, "dwell_s": 0.3},
    "count": {"limit": 2, "hold_s": 0},
}
STANDS = st.tuples(st.sampled_from("abcdef"), st.floats(0, 200, width=32), st.floats(0, 200, width=32))
FRAMES = st.lists(
    st.one_of(st.none(), st.lists(STANDS, max_size=5, unique_by=lambda stand: stand[0])), min_size=2, max_size=30
)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=40, deadline=None)
@given(FRAMES, st.data())
def test_rules_go_on_from_their_stored_memory_and_their_counts_agree(
    rule: str, plan: list[list[Stand] | None], data: st.DataObject
) -> None:
    params = {**RULES[rule].defaults(), **SET[rule], "lost_frames": 4}
    cut = data.draw(st.integers(0, len(plan) - 1))
    whole: Memory = {}
    broken: Memory = {}
    happened: list[str] = []
    for number, stands in enumerate(plan):
        if number >= cut:
            broken = msgspec.msgpack.decode(msgspec.msgpack.encode(broken), type=dict[str, Any])
        one = scene(number, None if stands is None else tracks(*stands))
        first, second = run(RULES[rule], one, whole, params), run(RULES[rule], one, broken, params)
        assert (first.result, first.occurrences) == (second.result, second.occurrences)
        assert whole == broken
        subjects = [(each.what, each.subject) for each in first.occurrences]
        assert len(set(subjects)) == len(subjects)
        happened += [each.data.get("direction", each.what) for each in first.occurrences]
        for each in first.occurrences:
            VALID.validate(event(each))
    values = figures(first)
    if rule == "line_crossing":
        assert values["left_to_right"] == happened.count("left-to-right")
        assert values["right_to_left"] == happened.count("right-to-left")
    elif rule == "zone":
        assert [values[name] for name in ("entered", "left", "dwelled")] == [
            happened.count(what) for what in ("enter", "leave", "dwell")
        ]
        assert values["inside"] == values["entered"] - values["left"]
    else:
        assert happened.count("above") - happened.count("below") in {0, 1}


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_remembers_is_bounded(rule: str) -> None:
    params = {**RULES[rule].defaults(), **SET[rule], "lost_frames": 10000}
    memory: Memory = {}
    for number in range(10):
        found = tracks(*[(f"{number}-{index}", 60.0 + index % 50, 60.0 + index // 50) for index in range(200)])
        run(RULES[rule], scene(number, found), memory, params)
    assert len(msgspec.msgpack.encode(memory)) < 100_000


@pytest.mark.parametrize("rule", RULES)
def test_boxes_that_do_not_fit_together_are_refused(rule: str) -> None:
    with pytest.raises(BadMessage, match="boxes of 1 scores"):
        follow(rule, [Boxes(label="a", xyxy=b"", score=b"\0\0\0\0")], **SET[rule])


def test_lines_have_two_ends_and_polygons_three_corners_or_more() -> None:
    line = next(each for each in RULES["line_crossing"].parameters if each.name == "line")
    polygon = next(each for each in RULES["zone"].parameters if each.name == "polygon")
    with pytest.raises(PipelineError, match="2 corners"):
        checked([[0, 0]], line, "line")
    with pytest.raises(PipelineError, match="3 to 100 corners"):
        checked([[0, 0], [1, 1]], polygon, "polygon")


def event(one: Occurrence) -> dict[str, Any]:
    about = {"camera": "gate", "run": "live-1", "sequence": 3, "captured_ns": 5, "step": "rule", "pipeline": "ab12"}
    return {**about, "what": one.what, "subject": one.subject, "data": one.data}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ('operator = "line_crossing"\nline = [[5, 5], [5, 5]]', "line: its ends must be different points"),
        ('operator = "line_crossing"\nline = [[-5, 5], [1e9, 5]]', "line: corners are pixels of the frame"),
        ('operator = "zone"\npolygon = [[0, 0], [10, 10], [20, 20]]', "polygon: its corners must enclose an area"),
        ('operator = "zone"\npolygon = [[0, 0], [10, 14], [10, 0], [0, 10]]', "polygon: its sides must not cross"),
    ],
)
def test_a_rule_that_can_never_say_anything_is_refused(step: str, words: str) -> None:
    above = '[[step]]\noperator = "people"\n[[step]]\noperator = "track"\n[[step]]\n'
    with pytest.raises(PipelineError, match=words):
        parse(above + step).check()


def test_a_zone_with_a_dent_is_one() -> None:
    dented = 'operator = "zone"\npolygon = [[0, 0], [20, 0], [20, 20], [10, 5], [0, 20]]'
    parse('[[step]]\noperator = "people"\n[[step]]\noperator = "track"\n[[step]]\n' + dented).check()
