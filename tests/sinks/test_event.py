"""Events as sinks read them: what they say of themselves, and what is no event."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from streamproc.errors import BadMessage
from streamproc.reader import Record
from streamproc.sinks import Choice, read_event
from streamproc.sinks.rows import emitted, found_objects, happened, number_or_none, text_or_none
from tests.event_schema import check_event
from tests.sinks.material import crossing, frame, record


def changed(one: Record, value: bytes | None = None, **headers: str | None) -> Record:
    """A record with other headers (None: without) and value."""
    kept = {**dict(one.headers), **{name: held.encode() for name, held in headers.items() if held is not None}}
    for name in [name for name, held in headers.items() if held is None]:
        del kept[name]
    return dataclasses.replace(one, headers=list(kept.items()), value=one.value if value is None else value)


def test_a_frame_event_is_read_with_its_line_of_json() -> None:
    event = read_event(record(frame(7, labels=("car", "cat")), 3, partition=2))
    assert (event.partition, event.offset, event.camera, event.run, event.sequence) == (2, 3, "gate", "run-1", 7)
    assert event.time == datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)
    assert emitted(event) == datetime(2026, 1, 1, 0, 0, 7, 500_000, tzinfo=UTC)
    assert b"\n" not in event.line
    check_event(json.loads(event.line))
    assert [(found.label, found.x2, found.track) for found in found_objects(event)] == [
        ("car", 30.0, "t1"),
        ("cat", 30.0, "t1"),
    ]
    assert happened(event) is None


def test_what_happened_is_told_apart_from_frames() -> None:
    event = read_event(crossing(frame(7), 0))
    told = happened(event)
    assert told is not None
    assert told == ("rule", "line", "crossed", "t1", "person")
    assert found_objects(event) == []


def test_an_event_of_a_camera_is_one_that_happened() -> None:
    said = {
        "camera": "gate",
        "run": "live-1",
        "sequence": 7,
        "at_ns": 1,
        "what": "offline",
        "data": {"reason": "refused"},
    }
    event = read_event(changed(record(frame(7), 0), json.dumps(said).encode(), ce_type="io.streamproc.camera.v1"))
    assert happened(event) == ("camera", None, "offline", None, None)
    assert Choice(kind="camera").wants(changed(record(frame(7), 0), ce_type="io.streamproc.camera.v1"))


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ({"ce_id": None}, None),
        ({"ce_id": ""}, None),
        ({"ce_id": "x" * 201}, None),
        ({"ce_id": "a\0b"}, None),
        ({"ce_type": None}, None),
        ({"ce_source": "/cameras/"}, None),
        ({}, b"{not json"),
        ({}, b""),
        ({}, b'{"label": "\\ud800"}'),
        ({}, b"\xff\xfe"),
    ],
)
def test_what_is_no_event_is_refused(headers: dict[str, str | None], value: bytes | None) -> None:
    with pytest.raises(BadMessage):
        read_event(changed(record(frame(0), 0), value, **headers))


@pytest.mark.parametrize(
    "subject", [None, "", "7", "/7", "run/", "run/x", "run/-1", "run/" + "9" * 30, "r" * 201 + "/7"]
)
def test_an_event_about_no_frame_has_no_sequence(subject: str | None) -> None:
    event = read_event(changed(record(frame(0), 0), ce_subject=subject, ce_time="yesterday"))
    assert (event.run, event.sequence, event.time) == (None, None, None)


@pytest.mark.parametrize(
    "data",
    [
        [],
        7,
        None,
        {"objects": 3},
        {"objects": [3, {}, {"label": 4}]},
        {"emitted_ns": True},
        {"emitted_ns": 10**40},
        {"coverage": "much"},
    ],
)
def test_data_of_any_shape_gives_no_columns_and_no_error(data: Any) -> None:
    event = read_event(changed(record(frame(0), 0), json.dumps(data).encode()))
    assert (found_objects(event), emitted(event), number_or_none(event.data.get("coverage"))) == ([], None, None)
    assert json.loads(event.line)["data"] == data


def test_texts_and_numbers_fit_into_columns() -> None:
    assert text_or_none("a\0" * 150) == "a\ufffd" * 100
    assert [number_or_none(value) for value in (True, 10**400, float("inf"), 3, "3")] == [None, None, None, 3.0, None]
    event = read_event(
        changed(record(frame(0), 0), json.dumps({"objects": [{"label": "a", "box": [1, 2, 3]}]}).encode())
    )
    assert found_objects(event) == [("a", None, None, None, None, None, None)]


@pytest.mark.parametrize(
    ("choice", "frames", "crossings"),
    [
        (Choice(), True, True),
        (Choice(camera="gate"), True, True),
        (Choice(camera="yard"), False, False),
        (Choice(kind="rule"), False, True),
        (Choice(camera="gate", kind="frame"), True, False),
    ],
)
def test_a_choice_is_of_camera_and_kind(choice: Choice, frames: bool, crossings: bool) -> None:
    assert (choice.wants(record(frame(0), 0)), choice.wants(crossing(frame(0), 0))) == (frames, crossings)
