"""What happened, in words: each kind of event, which frames deserve a look, and events that say nonsense."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamproc.demo.outputs import SAMPLES, choose_samples
from streamproc.model import Grid
from streamproc.operators.pipeline_file import parse
from streamproc.report import told_frames, write_report
from streamproc.report.facts import facts_of
from streamproc.report.happenings import LISTED, happenings_of, totals
from streamproc.report.pictures import OUTLINE_COLOUR, outlines_of, pictures_of
from tests.report.making import drawn, event_of, report_of, sample_of
from tests.report.reading import Page, read
from tests.report.test_pictures import decoded

Event = dict[str, Any]
Events = Sequence[Mapping[str, Any]]


def event(kind: str, what: str, subject: str = "", sequence: int = 7, step: str = "gate", **data: Any) -> Event:
    about = {"camera": "demo", "run": "r", "sequence": sequence, "step": step, "what": what, "subject": subject}
    return {"type": f"io.streamproc.{kind}.v1", "data": about | {"data": data}}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (event("track", "new", "7-0", label="person"), "person is seen, track 7-0"),
        (event("track", "end", "7-0", label="person", age_s=6.88), "person has gone after 6.9 s, track 7-0"),
        (
            event("rule", "crossed", "7-0", label="car", direction="left-to-right", left_to_right=3, right_to_left=1),
            "car crosses left-to-right, track 7-0; so far 3 left-to-right, 1 right-to-left",
        ),
        (event("rule", "enter", "7-0", label="car", inside=2), "car enters, track 7-0; 2 inside"),
        (event("rule", "dwell", "7-0", label="car", stayed_s=3.0), "car has stayed 3.0 s, track 7-0"),
        (
            event("rule", "leave", "7-0", label="car", stayed_s=4.0, lost=False, inside=1),
            "car leaves, after 4.0 s, track 7-0; 1 inside",
        ),
        (
            event("rule", "leave", "7-0", label="car", stayed_s=4.0, lost=True, inside=0),
            "car leaves, lost, track 7-0; 0 inside",
        ),
        (event("rule", "above", now=3, limit=2), "3 at once, more than 2"),
        (event("rule", "below", now=2, limit=2), "2 at once, not more than 2 again"),
        (
            event("anomaly", "begin", "frozen", measure="unchanged_s", value=1.52, usual=None, since_sequence=224),
            "frozen since frame 224: unchanged 1.52 s",
        ),
        (
            event("anomaly", "begin", "blurred", measure="sharpness", value=-10.2, usual=-4.99, since_sequence=360),
            "blurred since frame 360: sharpness -10.2, usually -4.99",
        ),
        (event("anomaly", "end", "black", lasted_s=3.0), "no longer black, after 3.0 s"),
        (event("parcel", "weighed", "p-1", grams=3), "weighed p-1"),
    ],
)
def test_events_are_told_in_words(told: Event, words: str) -> None:
    (found,) = happenings_of([told, event_of(0)])
    assert found.words == words
    assert found.frame == ("demo", "r", 7)
    assert found.kind == told["type"].split(".")[2]


def test_a_camera_that_is_unwell_stands_out() -> None:
    begin, end, other = happenings_of([event("anomaly", "begin"), event("anomaly", "end"), event("rule", "above")])
    assert (begin.tone, end.tone, other.tone) == ("bad", "ok", "")


@pytest.mark.parametrize(
    "nonsense",
    [
        {"type": "io.streamproc.rule.v1"},
        {"type": "io.streamproc.track.v1", "data": []},
        {"type": "x", "data": {"data": 3, "what": None, "sequence": "a"}},
        event("anomaly", "begin", "black", value="a", usual=[], since_sequence=None),
        event("rule", "crossed", left_to_right="many"),
        event("track", "end", age_s=1e300),
    ],
)
def test_events_that_say_nonsense_are_shown(nonsense: Event, tmp_path: Path) -> None:
    assert len(happenings_of([nonsense])) == 1
    page = page_of([event_of(0), nonsense], tmp_path)
    assert "What happened" in [heading.text for heading in page.all("h2")]


def test_frames_on_which_rules_and_anomalies_begin_are_told_before_those_of_tracks() -> None:
    tracks = [
        event("track", "new", sequence=3),
        event("track", "update", sequence=9),
        event("track", "end", sequence=12),
    ]
    assert told_frames([*tracks, event_of(1)]) == [3]
    rules = [
        event("rule", "leave", sequence=8),
        event("rule", "crossed", sequence=11),
        event("rule", "enter", sequence=5),
    ]
    assert told_frames([*tracks, *rules, event("anomaly", "begin", sequence=11)]) == [5, 11]


def test_totals_count_by_step_and_word() -> None:
    found = happenings_of(
        [event("rule", "crossed", "a"), event("rule", "crossed", "b"), event("rule", "above", step="crowd")]
    )
    assert totals(found) == "gate: 2 crossed; crowd: 1 above"


def test_frames_are_chosen_where_something_happened_then_where_objects_are() -> None:
    thing = {"label": "face", "score": 1.0, "box": [0, 0, 9, 9], "track": None, "source": "faces"}
    events = {number: event_of(number, objects=[thing] if number in {40, 50} else []) for number in range(60)}
    assert choose_samples(range(60), [31], events) == [0, 28, 31, 40, 50, 59]
    many = choose_samples(range(60), list(range(10, 30)), events)
    assert len(many) == SAMPLES
    assert {10, 29} < set(many)
    assert {40, 50} & set(many)
    assert choose_samples([], [4], events) == [4]
    assert choose_samples([], [], events) == []


def page_of(events: Events, folder: Path, **changes: Any) -> Page:
    page = read(write_report(report_of([dict(one) for one in events], **changes), folder).read_text(encoding="utf-8"))
    assert page.wrong == []
    return page


def test_the_page_lists_what_happened_and_links_the_frames_it_shows(tmp_path: Path) -> None:
    sample = sample_of(4, drawn(64, 48), grid=Grid(1, 1))
    run = sample.event["data"]["run"]
    told = [event("rule", "above", sequence=4, now=3, limit=2), event("track", "new", "9-0", sequence=9, label="cat")]
    for one in told:
        one["data"]["run"] = run
    updates = [event("track", "update", "9-0", sequence=number, label="cat") for number in range(10, 15)]
    page = page_of([sample.event, *told, *updates], tmp_path, samples=[sample])
    assert "3 at once, more than 2" in page.text
    assert "cat is seen, track 9-0" in page.text
    assert "cat is still seen" not in page.text
    assert "5 updates of tracks" in page.text
    assert [link.attributes["href"] for link in page.all("a")] == ["#sample-1"]
    assert page.all("article")[0].attributes["id"] == "sample-1"


def test_long_lists_are_cut_and_say_so(tmp_path: Path) -> None:
    many = [event("rule", "above", sequence=number, now=number, limit=2) for number in range(LISTED + 5)]
    page = page_of([event_of(0), *many], tmp_path)
    assert f"{LISTED - 1} at once" in page.text
    assert f"{LISTED} at once" not in page.text
    assert "5 more are in" in page.text


def test_a_run_without_edges_shows_none_and_tells_what_happened_instead(tmp_path: Path) -> None:
    sample = sample_of(0, drawn(64, 48), grid=Grid(1, 1))
    data = sample.event["data"] | {"edges": None}
    data["classification"] = [{"label": "cat", "score": 0.75, "source": "scene"}]
    data["features"] = {"gate": {"left_to_right": 3, "states": ["black"], "raw": [[1, 2]]}, "points": {"points": []}}
    bare = type(sample)(
        event={**sample.event, "data": data}, pixels=sample.pixels, edges=None, cores=sample.cores, halo=0
    )
    page = page_of([bare.event, event("rule", "above", now=3, limit=2)], tmp_path, samples=[bare])
    assert "Edges" not in [one.text for one in page.all("b")]
    assert Counter(one.text for one in page.all("dt"))["Happened"] == 1
    assert "Edge density" not in [one.text for one in page.all("dt")]
    assert "cat 0.75" in page.text
    assert "gate: left to right 3, states black" in page.text
    assert "edge pixels" not in page.text


def test_lines_and_zones_are_drawn_where_the_pipeline_has_them() -> None:
    pipeline = parse("""
[[step]]
operator = "people"
on = "frame"
[[step]]
operator = "track"
[[step]]
name = "gate"
operator = "line_crossing"
line = [[100, -50], [100, 900]]
[[step]]
name = "yard"
operator = "zone"
polygon = [[200, 100], [300, 100], [300, 180]]
""")
    outlines = outlines_of(pipeline)
    assert [(one.name, one.path[0] == one.path[-1]) for one in outlines] == [("gate", False), ("yard", True)]
    sample = sample_of(0, np.zeros((240, 400, 3), np.uint8), grid=Grid(1, 1))
    sample.event["data"]["features"] = {}
    features = pictures_of(sample, facts_of(sample.event), most_bytes=400_000, outlines=outlines)[3]
    assert [name for _, name in features.legend] == ["gate", "yard"]
    lit = decoded(features).max(axis=2) > max(OUTLINE_COLOUR) // 2
    assert lit[:, 100:102].all()
    assert lit[100:102, 200:300].all()
    assert not lit[:, 110:195].any()
    assert not lit[120:, 320:].any()


def test_pieces_of_lines_are_drawn_where_the_event_says_and_nonsense_is_not() -> None:
    sample = sample_of(0, np.zeros((240, 400, 3), np.uint8), grid=Grid(1, 1))
    lines = [[40, 60, 300, 60], [1, 2, 3], ["a", 0, 1, 2], [0, 0, 1e9, 5], None]
    sample.event["data"]["features"] = {"lines": {"count": 9, "lines": lines}, "other": {"lines": 3}}
    features = pictures_of(sample, facts_of(sample.event), most_bytes=400_000)[3]
    assert [name for _, name in features.legend] == ["lines, 1 drawn"]
    lit = decoded(features).max(axis=2) > 100
    assert lit[60:62, 40:300].all()
    assert not lit[80:].any()
    assert not lit[:50].any()


def test_parameters_of_rules_read_as_in_the_file(tmp_path: Path) -> None:
    pipeline = parse(
        '[[step]]\noperator = "people"\non = "frame"\n[[step]]\noperator = "track"\n'
        '[[step]]\noperator = "line_crossing"\nline = [[100, 0], [100, 90]]\n'
    )
    page = page_of([event_of(0)], tmp_path, pipeline=pipeline)
    assert "line [[100, 0], [100, 90]]" in page.text
    assert "sees the whole frame" in page.text
    assert "label ," not in page.text
