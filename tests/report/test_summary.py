"""Counting: each frame once, the verdict, the strip, the key figures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.model import OUTCOMES
from streamproc.report.facts import frame_facts
from streamproc.report.summary import (
    SILENT,
    STRIP_CELLS,
    Tally,
    frames_per_second,
    outcome_rows,
    strip,
    tally,
    tile_rows,
    verdict,
)
from tests.report.making import event_of


def counted(events: list[dict[str, Any]], published: int = 0) -> Tally:
    return tally(frame_facts(events), events, {"frames_published": published})


def test_all_complete_is_green() -> None:
    told = verdict(counted([event_of(index) for index in range(3)]), ())
    assert (told.tone, told.headline) == ("ok", "3 of 3 frames complete")


def test_a_problem_is_never_green() -> None:
    assert verdict(counted([event_of(0)]), ["a worker was killed"]).tone == "warn"


@pytest.mark.parametrize(
    ("outcomes", "published", "tone", "headline"),
    [
        (["partial"], 0, "warn", "1 of 1 frame partial"),
        (["complete", "expired"], 0, "bad", "1 of 2 frames expired"),
        (["complete", "partial", "rejected"], 0, "bad", "2 of 3 frames not complete"),
        (["complete"], 3, "bad", "2 of 3 frames without an event"),
        (["?"], 0, "bad", "1 of 1 frame of unknown outcome"),
        ([], 0, "bad", "No frames"),
    ],
)
def test_the_verdict_says_the_worst(outcomes: list[str], published: int, tone: str, headline: str) -> None:
    events = [event_of(index, outcome=outcome) for index, outcome in enumerate(outcomes)]
    told = verdict(counted(events, published), ())
    assert (told.tone, told.headline) == (tone, headline)


def test_an_event_that_came_twice_counts_once_and_is_told() -> None:
    twice = counted([event_of(0), event_of(1), event_of(1)])
    assert (twice.expected, twice.complete, twice.repeated) == (2, 2, 1)
    assert verdict(twice, ()).tone == "warn"


def test_other_events_are_not_frames() -> None:
    found = counted([event_of(0), {"type": "io.streamproc.track.v1", "data": {}}])
    assert found.expected == 1
    assert found.other_types == {"io.streamproc.track.v1": 1}


@given(
    outcomes=st.lists(st.sampled_from([*OUTCOMES, "?"]), max_size=40),
    extra=st.integers(0, 30),
)
def test_outcomes_always_add_up_to_the_frames(outcomes: list[str], extra: int) -> None:
    events = [event_of(index, outcome=outcome) for index, outcome in enumerate(outcomes)]
    found = counted(events, len(outcomes) + extra)
    assert sum(found.outcomes.values()) == found.expected == len(outcomes) + extra
    assert sum(int(row["frames"]) for row in outcome_rows(found)) == found.expected
    assert sum(cell.length for cell in strip(found)) == min(found.expected, STRIP_CELLS)


def test_the_strip_shows_where_frames_are_missing() -> None:
    events = [event_of(index, outcome="partial" if index == 4 else "complete") for index in range(6) if index != 2]
    cells = strip(counted(events, published=7))
    assert [cell.outcome for cell in cells] == [
        "complete",
        "complete",
        SILENT,
        "complete",
        "partial",
        "complete",
        SILENT,
    ]
    assert cells[4].title == "frame 4: partial"


def test_one_bad_frame_among_many_can_be_seen() -> None:
    events = [event_of(index, outcome="expired" if index == 5_000 else "complete") for index in range(9_000)]
    cells = strip(counted(events))
    assert [cell.outcome for cell in cells] == ["complete", "expired", "complete"]
    assert cells[1].length == 1


def test_sequence_numbers_of_another_run_do_not_make_holes() -> None:
    cells = strip(counted([event_of(index) for index in (900, 901)], published=3))
    assert [cell.outcome for cell in cells] == ["complete", "complete", SILENT]


def test_reasons_are_counted() -> None:
    events = [event_of(index, outcome="partial", reason="deadline: 3 of 4") for index in range(2)]
    rows = {row["name"]: row for row in outcome_rows(counted(events))}
    assert rows["partial"]["reasons"] == "deadline: 3 of 4 (2)"
    assert rows["complete"]["frames"] == "0"


def test_tiles_that_are_not_accounted_for_are_told() -> None:
    assert tile_rows({"merged": 8, "duplicate": 3}, 10) == [
        ("merged", "8", True),
        ("duplicate", "3", False),
        ("not accounted for", "2", False),
    ]
    assert tile_rows({"merged": 10}, 10) == [("merged", "10", True)]
    assert tile_rows({}, 10) == []


def test_speed_is_from_the_first_capture_to_the_last_event() -> None:
    events = [event_of(index) for index in range(2)]
    for index, event in enumerate(events):
        event["data"] |= {"captured_ns": 10**18 + index * 10**9, "emitted_ns": 10**18 + (index + 1) * 10**9}
    facts = frame_facts(events)
    assert frames_per_second(facts, 60.0) == pytest.approx(1.0)
    for event in events:
        event["data"]["captured_ns"] = 10**15  # captured years ago, played again
    assert frames_per_second(frame_facts(events), 4.0) == pytest.approx(0.5)
    assert frames_per_second([], 0.0) == 0.0
