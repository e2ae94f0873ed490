"""What waits for browsers is bounded whatever they do; pictures are dropped, events are told of as skipped."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.view.hub import (
    EVENTS_TO_A_PICTURE,
    MAX_AWAY_BYTES,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_PICTURE_BYTES,
    Browser,
    Hub,
    Message,
)
from tests.view.material import frame_shown, picture


def browser_of(hub: Hub) -> Browser:
    browser = Browser(wake=lambda: None)
    hub.join(browser)
    return browser


def sent(browser: Browser, now_s: float = 0.0, *, most: int = 10_000) -> list[Message]:
    """All that it gets now."""
    found: list[Message] = []
    while len(found) < most and (message := browser.next(now_s)) is not None:
        found.append(message)
    return found


def about(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.data[4 : 4 + int.from_bytes(message.data[:4], "big")])
    return found


def pictures(messages: list[Message]) -> list[tuple[str, str, int]]:
    found = [about(message) for message in messages if message.kind == "picture"]
    return [(one["camera"], one["kind"], one["sequence"]) for one in found]


def events(messages: list[Message]) -> list[int]:
    return [json.loads(message.data)["event"]["sequence"] for message in messages if message.kind == "event"]


def news(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in messages if message.kind == "news"]


def test_of_pictures_that_wait_the_newest_of_each_camera_and_kind_wins() -> None:
    hub = Hub()
    browser = browser_of(hub)
    for sequence in range(5):
        for camera in ("a", "b"):
            for kind in ("preview", "edges"):
                hub.picture(picture(sequence, camera=camera, kind=kind))
    messages = sent(browser)
    assert sorted(pictures(messages)) == [(c, k, 4) for c in "ab" for k in ("edges", "preview")]
    assert {"type": "skipped", "events": 0, "pictures": 16} in news(messages)


def test_a_browser_that_acknowledges_nothing_gets_two_pictures_a_camera_and_no_more() -> None:
    hub = Hub()
    browser = browser_of(hub)
    got = 0
    for sequence in range(5000):
        hub.picture(picture(sequence, camera=f"c{sequence % 4}"))
        got += len(pictures(sent(browser)))
    assert got == 8
    assert browser.picture_bytes < 4 * 1500
    assert browser.pictures_skipped == 5000 - 8 - 4
    browser.got(8)
    assert len(pictures(sent(browser))) == 4


def test_bytes_under_way_are_bounded_but_one_picture_always_goes() -> None:
    hub = Hub()
    browser = browser_of(hub)
    for number in range(8):
        hub.picture(picture(camera=f"c{number}", size=3 * 2**20))
    assert len(pictures(sent(browser))) == MAX_AWAY_BYTES // (3 * 2**20)
    browser.got(100)
    huge = Hub()
    browser = browser_of(huge)
    huge.picture(picture(size=2 * MAX_AWAY_BYTES))
    assert len(pictures(sent(browser))) == 1


def test_pictures_that_wait_are_bounded_in_bytes() -> None:
    hub = Hub()
    browser = browser_of(hub)
    for number in range(100):
        hub.picture(picture(camera=f"c{number}", size=2**20))
        assert browser.picture_bytes <= MAX_PICTURE_BYTES
    assert hub.waiting_bytes < 130 * 2**20


def test_each_camera_has_its_turn_with_a_browser_that_takes_one_at_a_time() -> None:
    hub = Hub()
    browser = browser_of(hub)
    got: list[str] = []
    for sequence in range(9):
        for camera in ("a", "b", "c"):
            hub.picture(picture(sequence, camera=camera, size=MAX_AWAY_BYTES))
        got += [camera for camera, _, _ in pictures(sent(browser))]
        browser.got(1)
    assert {camera: got.count(camera) for camera in "abc"} == {"a": 3, "b": 3, "c": 3}


def test_events_that_matter_come_each_and_in_order_until_too_many_wait() -> None:
    hub = Hub()
    browser = browser_of(hub)
    shown = [frame_shown(sequence, outcome="partial") for sequence in range(3 * MAX_EVENTS)]
    for event in shown[:MAX_EVENTS]:
        hub.event(event)
    messages = sent(browser)
    assert events(messages) == list(range(MAX_EVENTS))
    assert news(messages) == []
    for event in shown:
        hub.event(event)
    messages = sent(browser, 10.0)
    assert events(messages) == list(range(2 * MAX_EVENTS, 3 * MAX_EVENTS))
    assert news(messages) == [{"type": "skipped", "events": 2 * MAX_EVENTS, "pictures": 0}]


def test_events_that_wait_are_bounded_in_bytes() -> None:
    hub = Hub()
    browser = browser_of(hub)
    large = tuple(("x" * 200, 0.5) for _ in range(200))
    event = frame_shown(objects=large)
    for _ in range(200):
        hub.event(event)
        assert browser.event_bytes <= MAX_EVENT_BYTES
    assert browser.events_skipped > 0


def test_plain_frames_are_conflated_to_ten_a_second_for_each_camera() -> None:
    hub = Hub()
    browser = browser_of(hub)
    got: list[int] = []
    for step in range(1000):  # 100 frames a second for ten seconds
        hub.event(frame_shown(step))
        got += events(sent(browser, step / 100))
    assert 100 <= len(got) <= 106
    hub.event(frame_shown(5000))
    assert events(sent(browser, 9.991)) == []
    wait_s = browser.wait_s(9.991)
    assert wait_s is not None
    assert 0 < wait_s <= 0.1
    assert events(sent(browser, 9.991 + wait_s)) == [5000]  # the newest is never held back for good
    assert browser.wait_s(20.0) is None
    assert browser.events_skipped == 0


def test_a_camera_of_ten_frames_a_second_that_come_in_bursts_is_told_of_at_once() -> None:
    hub = Hub()
    browser = browser_of(hub)
    got = 0
    for burst in range(20):
        for frame in range(4):
            hub.event(frame_shown(4 * burst + frame))
            got += len(events(sent(browser, burst * 0.4 + frame * 0.001)))
    assert got == 80


def test_events_and_pictures_take_turns() -> None:
    hub = Hub()
    browser = browser_of(hub)
    for sequence in range(100):
        hub.event(frame_shown(sequence, outcome="partial"))
    hub.picture(picture(1))
    kinds = [message.kind for message in sent(browser, most=EVENTS_TO_A_PICTURE + 1)]
    assert kinds == ["event"] * EVENTS_TO_A_PICTURE + ["picture"]


def test_a_browser_gets_pictures_of_what_it_watches_alone() -> None:
    hub = Hub()
    browser = browser_of(hub)
    for camera in ("a", "b"):
        for kind in ("preview", "edges"):
            hub.picture(picture(1, camera=camera, kind=kind))
    browser.watch(["b"], ["edges"])
    assert pictures(sent(browser)) == [("b", "edges", 1)]
    browser.got(1)
    browser.watch([], ["edges", "preview"])
    hub.picture(picture(2, camera="b"))
    assert sent(browser) == []
    browser.watch(None, ["preview"])
    hub.resend(browser)
    assert sorted(pictures(sent(browser))) == [("a", "preview", 1), ("b", "preview", 2)]


def test_who_comes_later_gets_the_newest_pictures_at_once() -> None:
    hub = Hub()
    for sequence in range(3):
        hub.picture(picture(sequence))
    assert pictures(sent(browser_of(hub))) == [("gate", "preview", 2)]


def test_of_news_the_newest_of_each_kind_is_told() -> None:
    hub = Hub()
    browser = browser_of(hub)
    for number in range(3):
        hub.tell("cameras", cameras=[number])
        hub.tell("broker", ok=True, told=str(number))
    assert news(sent(browser)) == [
        {"type": "cameras", "cameras": [2]},
        {"type": "broker", "ok": True, "told": "2"},
    ]


def test_who_has_left_gets_nothing_more() -> None:
    hub = Hub()
    browser = browser_of(hub)
    hub.leave(browser)
    hub.event(frame_shown(outcome="partial"))
    hub.picture(picture())
    assert (len(hub), browser.next(0.0)) == (0, None)


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("picture"), st.integers(0, 5)),
            st.tuples(st.just("event"), st.integers(0, 5)),
            st.tuples(st.just("next"), st.integers(1, 5)),
            st.tuples(st.just("got"), st.integers(0, 3)),
            st.tuples(st.just("watch"), st.integers(0, 5)),
        ),
        max_size=60,
    )
)
def test_whatever_happens_the_bounds_hold_and_nothing_sent_was_not_asked_for(steps: list[tuple[str, int]]) -> None:
    hub = Hub()
    browser = browser_of(hub)
    away = told = 0
    watched: str | None = None
    for at_s, (what, number) in enumerate(steps):
        if what == "picture":
            hub.picture(picture(at_s, camera=f"c{number}"))
        elif what == "event":
            hub.event(frame_shown(at_s, outcome="partial"))
            told += 1
        elif what == "got":
            browser.got(number)
            away = max(0, away - number)
        elif what == "watch":
            watched = f"c{number}"
            browser.watch([watched], ["preview"])
        else:
            messages = sent(browser, at_s, most=number)
            shown = pictures(messages)
            assert watched is None or all(camera == watched for camera, _, _ in shown)
            away += len(shown)
            told -= len(events(messages))
        assert away <= 12
        assert browser.picture_bytes <= 6 * 1500
    assert len(events(sent(browser, 1e6))) == told
