"""Records become what pages get; what is no record of ours is refused, whatever it is."""

from __future__ import annotations

import json

import msgspec
import pytest

from producers.keeping import OFFLINE_REASONS
from streamproc.errors import BadMessage
from streamproc.reader import Record
from streamproc.view.past import Query
from streamproc.view.shown import MAX_OBJECTS, MAX_WORDS, Shown, encoded, event_of, picture_of
from streamproc.view.words import camera_words, reason_words
from tests.view.material import (
    NOW_MS,
    camera_shown,
    frame_record,
    frame_shown,
    happening_record,
    picture_record,
    record,
)


def test_a_frame_is_told_with_times_that_keep_their_digits() -> None:
    shown = frame_shown(7, outcome="partial", objects=(("face", 0.9),))
    told = json.loads(encoded(shown))
    assert told["captured_ns"] == str((NOW_MS - 40) * 10**6)
    assert (told["captured_ms"], told["emitted_ms"], told["at_ms"]) == (NOW_MS - 40, NOW_MS, NOW_MS)
    assert told["objects"] == [{"label": "face", "score": 0.9, "box": [1, 2, 30, 40], "track": None}]
    assert (told["type"], told["outcome"], told["width"], told["latency_ms"]) == ("frame", "partial", 640, 40)
    assert told["text"] == "frame 7 partial: face 0.90"
    assert told["edges_density"] == 0.25


@pytest.mark.parametrize(
    ("options", "plain"),
    [({}, True), ({"outcome": "expired"}, False), ({"objects": (("face", 0.5),)}, False)],
)
def test_a_complete_frame_without_objects_is_plain(options: dict[str, object], plain: bool) -> None:
    assert frame_shown(**options).is_plain is plain  # type: ignore[arg-type]  # names of `frame`


def test_a_track_has_its_box_and_its_own_name() -> None:
    shown = event_of(happening_record())
    assert (shown.type, shown.what, shown.subject) == ("track", "new", "0-7")
    assert [(one.label, one.track, one.box) for one in shown.objects] == [("face", "0-7", (1, 2, 3, 4))]
    assert shown.text == "track new face 0-7 (seen)"


@pytest.mark.parametrize("box", [None, [1, 2, 3], [1, 2, 3, "x"], [1, 2, 3, True], {"x": 1}, 7])
def test_a_happening_without_a_right_box_has_none(box: object) -> None:
    assert event_of(happening_record(data={"box": box, "label": ["odd"]})).objects == []


def test_a_camera_event_says_what_and_why() -> None:
    offline = camera_shown("offline", NOW_MS, reason="timeout")
    assert (offline.type, offline.what, offline.subject) == ("camera", "offline", "timeout")
    assert offline.text == "offline: does not answer in time"
    gap = camera_shown("gap", NOW_MS, from_ns=(NOW_MS - 5000) * 10**6, to_ns=NOW_MS * 10**6, length_s=5)
    assert (gap.captured_ms, gap.until_ms) == (NOW_MS - 5000, NOW_MS)


def test_the_first_online_is_no_blind_span() -> None:
    first = camera_shown("online", NOW_MS, width=1280, height=720, clock="camera", again=False, down_s=0.294429)
    assert (first.captured_ms, first.text) == (NOW_MS, "online: 1280 x 720")
    again = camera_shown("online", NOW_MS, width=1280, height=720, clock="camera", again=True, down_s=12.2)
    assert (again.captured_ms, again.text) == (NOW_MS - 12_200, "online: 1280 x 720, after 12 s")


@pytest.mark.parametrize(
    ("what", "data", "words"),
    [
        ("offline", {"reason": "refused"}, "offline: refuses the connection"),
        ("offline", {"reason": "of-another-kind"}, "offline: of another kind"),
        ("offline", {}, "offline"),
        ("gap", {"length_s": 125.0, "frames_missed": 40}, "gap: no frame for 2 min, 40 frames missed"),
        ("clock-step", {"step_s": -3.25}, "clock set: 3.25 s back"),
        ("fps-sag", {"measured_fps": 3.0, "expected_fps": 15.0}, "gives fewer frames: 3.0 of 15.0 a second"),
        ("fps-restored", {"measured_fps": "x", "expected_fps": float("nan")}, "gives all frames again"),
        ("online", {"width": [1], "height": None, "down_s": True}, "online"),
    ],
)
def test_camera_events_have_words_for_people(what: str, data: dict[str, object], words: str) -> None:
    assert camera_words(what, data) == words


def test_every_reason_that_cameras_give_has_words() -> None:
    assert all(reason_words(reason) != reason for reason in OFFLINE_REASONS)


@pytest.mark.parametrize(
    ("shown", "notable"),
    [
        (frame_shown(), False),
        (frame_shown(outcome="partial"), True),
        (event_of(happening_record("new")), True),
        (event_of(happening_record("update")), False),
        (event_of(happening_record("update", kind="rule")), True),
        (camera_shown("online", NOW_MS), True),
    ],
)
def test_notable_is_what_does_not_go_on_and_on(shown: Shown, notable: bool) -> None:
    assert shown.is_notable is notable
    assert Query(kind="notable").fits(shown) is notable


def changed(original: Record, **values: object) -> Record:
    data = json.loads(original.value)
    return record(original.headers, json.dumps({**data, **values}).encode())


@pytest.mark.parametrize(
    "foreign",
    [
        record([], b""),
        record([], b"hello"),
        record([("ce_type", b"com.example.order.v1"), ("ce_id", b"1")], b"{}"),
        record([("ce_type", b"io.streamproc.frame.v1"), ("ce_id", b"<script>")], frame_record().value),
        record([("ce_type", b"io.streamproc.frame.v1")], frame_record().value),
        record(frame_record().headers, b"{not json"),
        record(frame_record().headers, b"[]"),
        record(frame_record().headers, b'{"camera":' * 100_000),
        record(frame_record().headers, b"\xff\xfe"),
        changed(frame_record(), camera='<img src=x onerror="1">'),
        changed(frame_record(), run=""),
        changed(frame_record(), camera="gate\n"),
        changed(frame_record(), sequence=-1),
        changed(frame_record(), captured_ns=2**64),
        changed(frame_record(), outcome="lovely"),
        changed(frame_record(), width=10**9),
        changed(frame_record(), objects=[{"label": "x", "score": 1, "box": [1, 2]}]),
        changed(frame_record(), objects="none"),
    ],
)
def test_what_is_no_event_of_ours_is_refused(foreign: Record) -> None:
    with pytest.raises(BadMessage):
        event_of(foreign)


def test_words_and_objects_of_a_message_are_cut_to_what_a_page_can_bear() -> None:
    objects = [{"label": "x" * 10_000, "score": None, "box": [0, 0, 1, 1], "source": "s"}] * (MAX_OBJECTS + 1)
    shown = event_of(changed(frame_record(), objects=objects, reason="why" * 10_000))
    assert len(shown.objects) == MAX_OBJECTS
    assert {len(one.label) for one in shown.objects} == {MAX_WORDS}
    assert len(shown.text) == MAX_WORDS


def test_a_picture_is_one_message_that_says_its_frame() -> None:
    shown = picture_of(picture_record(5, size=10))
    length = int.from_bytes(shown.message[:4], "big")
    about = json.loads(shown.message[4 : 4 + length])
    assert about == {
        "camera": "gate",
        "run": "run-1",
        "sequence": 5,
        "kind": "preview",
        "captured_ns": str(NOW_MS * 10**6 + 1),
        "published_ms": NOW_MS,
        "content_type": "image/jpeg",
    }
    assert shown.message[4 + length :] == shown.pixels == b"\x05" * 10


def odd_picture(**about: object) -> Record:
    whole = {"camera": "gate", "run": "r", "sequence": 0, "kind": "edges", "captured_ns": 1, **about}
    return record([("picture", msgspec.msgpack.encode(whole)), ("content-type", b"image/png")], b"x")


@pytest.mark.parametrize(
    "foreign",
    [
        record([], b"picture"),
        record([("picture", b"\xc1"), ("content-type", b"image/png")], b"x"),
        record(picture_record().headers, b""),
        record(
            [(name, b"text/html" if name == "content-type" else value) for name, value in picture_record().headers],
            b"x",
        ),
        record([("picture", b"\x81\xa1a" * 100_000), ("content-type", b"image/png")], b"x"),
        odd_picture(camera="a b"),
        odd_picture(camera="gate\n"),
        odd_picture(kind="other"),
        odd_picture(captured_ns="soon"),
        odd_picture(captured_ns=-1),
        odd_picture(sequence="x"),
    ],
)
def test_what_is_no_picture_of_ours_is_refused(foreign: Record) -> None:
    with pytest.raises(BadMessage):
        picture_of(foreign)
