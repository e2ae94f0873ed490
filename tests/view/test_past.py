"""Questions to a log in memory: newest first, in blocks, within a budget."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from streamproc.cloudevents import encode_occurrence
from streamproc.model import Occurrence
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.reader import Record
from streamproc.settings import load_settings
from streamproc.topics import camera_partition
from streamproc.view import bounded
from streamproc.view.bounded import Budget, Busy, Desk, Gone, NotThere, TooLong
from streamproc.view.past import Past, Query
from streamproc.view.shown import event_of
from tests.view.material import NOW_MS, camera_record, frame, frame_record, frame_shown, picture_record, record
from tests.view.serving import run

EVENTS, EDGES, TILES = "streamproc.events", "streamproc.edges", "tiles"


class Reader:
    """What `TopicReader` is to a real broker."""

    logs: dict[str, dict[int, list[Record]]]
    read_records: int
    spend: Callable[[], None]

    def __init__(self, _settings: object, topic: str, **_options: object) -> None:
        self.topic = topic

    def __exit__(self, *_exc: object) -> None:
        pass

    def partitions(self) -> list[int]:
        return sorted(self.logs[self.topic])

    def bounds(self, partition: int) -> tuple[int, int]:
        return 0, len(self.logs[self.topic][partition])

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        log = self.logs[self.topic][partition]
        return next((at for at, one in enumerate(log) if one.timestamp_ms >= since_ms), len(log))

    def follow(self, starts: Mapping[int, int], *, stop: Callable[[], bool]) -> Iterator[None]:
        assert not starts
        assert stop()
        yield from ()

    def read(self, ranges: Mapping[int, tuple[int, int]], *, stall_s: float) -> Iterator[Record]:
        assert stall_s > 0
        for partition, (start, end) in ranges.items():
            for one in self.logs[self.topic][partition][start:end]:
                type(self).read_records += 1
                self.spend()
                yield one


def placed(log: list[Record], partition: int) -> list[Record]:
    """Records with the offsets that they have in a partition."""
    return [
        Record(
            topic=one.topic,
            partition=partition,
            offset=offset,
            timestamp_ms=one.timestamp_ms,
            key=b"",
            value=one.value,
            headers=one.headers,
        )
        for offset, one in enumerate(log)
    ]


@cache
def two_cameras() -> dict[str, dict[int, list[Record]]]:
    """Two cameras in two partitions: 1000 frames each, one a second, some with a face, some partial."""
    logs: dict[int, list[Record]] = {0: [], 1: []}
    pictures: dict[int, list[Record]] = {0: [], 1: []}
    for camera in ("gate", "roof"):
        number = camera_partition(camera, 2)
        for sequence in range(1000):
            at_ms = NOW_MS + sequence * 1000 + (camera == "roof")
            one = frame_record(
                sequence,
                camera=camera,
                at_ms=at_ms,
                outcome="partial" if sequence % 100 == 99 else "complete",
                objects=(("Face", 0.5),) if sequence % 50 == 0 else (),
            )
            logs[number] += [one, record([], b"foreign", at_ms=at_ms)]
            pictures[number].append(picture_record(sequence, camera=camera, kind="preview", at_ms=at_ms))
    made: dict[str, dict[int, list[Record]]] = {EVENTS: logs, EDGES: pictures, TILES: {0: []}}
    return {topic: {number: placed(log, number) for number, log in of.items()} for topic, of in made.items()}


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch) -> Past:
    """The log of `two_cameras`, asked."""
    logs = {topic: dict(of) for topic, of in two_cameras().items()}
    assert all(logs[EVENTS].values())
    monkeypatch.setattr(Reader, "logs", logs, raising=False)
    monkeypatch.setattr(Reader, "read_records", 0, raising=False)
    monkeypatch.setattr(Reader, "spend", staticmethod(lambda: None), raising=False)
    monkeypatch.setattr(bounded, "TopicReader", Reader)
    monkeypatch.setattr("streamproc.evidence.sources.TopicReader", Reader)
    return Past(load_settings(), place_of=lambda _id: None, pipeline=default_pipeline(), stop=lambda: False)


def at(sequence: int) -> int:
    return NOW_MS + sequence * 1000


def test_events_come_newest_first_from_all_cameras_and_little_is_read(past: Past) -> None:
    events, more = past.events(Query(limit=10))
    assert more
    assert [(one.camera, one.sequence) for one in events[:4]] == [
        ("roof", 999),
        ("gate", 999),
        ("roof", 998),
        ("gate", 998),
    ]
    assert len(events) == 10
    assert Reader.read_records <= 500


def test_going_back_by_the_time_of_the_oldest_leaves_none_out(past: Past) -> None:
    found: dict[str, tuple[str, int]] = {}
    to_ms: int | None = None
    while True:
        events, more = past.events(Query(limit=500, to_ms=to_ms))
        found |= {one.id: (one.camera, one.sequence) for one in events}
        if not more:
            break
        to_ms = events[-1].at_ms
    assert sorted(found.values()) == [(camera, sequence) for camera in ("gate", "roof") for sequence in range(1000)]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (Query(camera="gate", from_ms=at(5), to_ms=at(8)), [8, 7, 6, 5]),
        (Query(camera="gate", outcome="partial", limit=3), [999, 899, 799]),
        (Query(camera="gate", label="fac", from_ms=at(800)), [950, 900, 850, 800]),
        (Query(camera="gate", kind="notable"), [99 + 100 * step for step in range(9, -1, -1)]),
        (Query(camera="gate", text="FRAME 123 "), [123]),
        (Query(camera="gate", kind="track"), []),
        (Query(camera="gate", from_ms=at(5000)), []),
        (Query(camera="gate", to_ms=at(-5)), []),
        (Query(camera="nobody"), []),
    ],
)
def test_filters_choose(past: Past, query: Query, wanted: list[int]) -> None:
    events, more = past.events(query)
    assert [one.sequence for one in events] == wanted
    assert more is (query.limit == 3)


def test_a_spent_budget_gives_what_was_found_and_says_that_there_is_more(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MAX_RECORDS", 0)
    monkeypatch.setattr(Past, "_budget", lambda *_args, **_options: Budget(records=700))
    events, more = past.events(Query(outcome="rejected"))
    assert (events, more) == ([], True)
    assert Reader.read_records == 700
    with pytest.raises(NotThere, match="camera makes the search shorter"):
        past.event("nowhere", camera=None, near_ms=None)


def test_an_event_is_found_by_its_place_its_time_or_by_looking(past: Past) -> None:
    wanted = frame_shown(3, camera="gate").id
    number = camera_partition("gate", 2)
    assert past.event(wanted, camera="gate", near_ms=at(3))["id"] == wanted
    assert Reader.read_records < 50
    assert past.event(wanted, camera=None, near_ms=None)["subject"] == "run-1/3"
    placing = Past(load_settings(), place_of=lambda _id: (number, 6), pipeline=default_pipeline(), stop=lambda: False)
    Reader.read_records = 0
    assert placing.event(wanted, camera=None, near_ms=None)["id"] == wanted
    assert Reader.read_records == 1
    with pytest.raises(NotThere, match=r"is not in streamproc\.events"):
        past.event("nowhere", camera="gate", near_ms=at(3))


def test_the_last_hour_has_camera_events_and_frames_now_and_then(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.view.past.time", SimpleNamespace(time=lambda: at(1000) / 1000))
    number = camera_partition("gate", 2)
    log = Reader.logs[EVENTS][number]
    Reader.logs[EVENTS][number] = placed([*log, camera_record("offline", at(1000), reason="refused")], number)
    found = list(past.last_hour(seconds=100))
    seen = [one.sequence for one in found if (one.camera, one.type) == ("roof", "frame")]
    assert seen == list(range(900, 1000, 4))
    assert [(one.camera, one.subject) for one in found if one.type == "camera"] == [("gate", "refused")]


def test_pictures_of_a_moment_are_the_last_before_it(past: Past) -> None:
    assert past.picture_at("gate", at(500) + 999, "preview").published_ms == at(500)
    assert past.picture_at("gate", at(500), "preview").published_ms == at(500)
    assert past.picture_at("gate", at(10_000), "preview").published_ms == at(999)
    with pytest.raises(NotThere):
        past.picture_at("gate", at(0) - 1, "preview")
    with pytest.raises(NotThere, match="no edges picture"):
        past.picture_at("gate", at(500), "edges")
    assert past.span("gate") == (at(0), at(999))
    assert past.span("nobody") is None


def test_pixels_that_are_gone_are_told_so(past: Past) -> None:
    with pytest.raises(Gone, match="pixels of frame gate/run-1/5 are gone"):
        past.picture(frame_shown(5).id, camera="gate", near_ms=None, edges=True)
    with pytest.raises(Gone):
        past.frame_at("gate", at(5))
    with pytest.raises(NotThere):
        past.frame_at("gate", at(0) - 1)


def test_what_happened_on_a_frame_leads_to_that_frame_and_a_camera_event_to_none(past: Past) -> None:
    number = camera_partition("gate", 2)
    headers, value = encode_occurrence(frame(7), "seen", Occurrence(kind="track", what="new", subject="1"))
    alone, lost = record(headers, value), encode_occurrence(frame(5000), "seen", Occurrence(kind="track", what="new"))
    camera = camera_record("offline", NOW_MS, reason="timeout")
    log = [alone, camera, *Reader.logs[EVENTS][number], record(*lost)]
    Reader.logs[EVENTS][number] = placed(log, number)
    with pytest.raises(Gone, match="gate/run-1/7"):
        past.picture(event_of(alone).id, camera="gate", near_ms=None, edges=False)
    with pytest.raises(NotThere, match="event of frame gate/run-1/5000"):
        past.picture(event_of(record(*lost)).id, camera="gate", near_ms=None, edges=False)
    with pytest.raises(NotThere, match="it has no picture"):
        past.picture(event_of(camera).id, camera="gate", near_ms=None, edges=False)


def test_a_budget_ends_with_its_records_and_with_the_process() -> None:
    budget = Budget(records=3)
    budget.take()
    budget.take()
    with pytest.raises(TooLong):
        budget.take()
    with pytest.raises(TooLong):
        Budget(stop=lambda: True).take()


def test_a_question_that_does_not_end_is_told_of_and_keeps_its_place_until_it_does() -> None:
    async def test() -> None:
        desk, hold = Desk(at_once=1, waiting=0), threading.Event()
        with pytest.raises(TooLong):
            await desk.ask(lambda: hold.wait(10), limit_s=0.05)
        with pytest.raises(Busy):
            await desk.ask(lambda: 1, limit_s=0.05)
        hold.set()
        for _ in range(200):
            try:
                answer: Any = await desk.ask(lambda: 2, limit_s=1)
            except Busy:
                await asyncio.sleep(0.01)
                continue
            assert answer == 2
            return
        raise AssertionError("the place was never free again")

    run(test)


def test_an_error_of_a_question_is_raised_where_it_was_asked_and_others_go_on() -> None:
    async def test() -> None:
        desk = Desk(at_once=1, waiting=1)

        def fail() -> int:
            raise NotThere("no")

        for _ in range(3):
            with pytest.raises(NotThere):
                await desk.ask(fail)
        assert await desk.ask(lambda: 3) == 3

    run(test)
