"""The feed, its filters, and the dialog that shows an event's pixels."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from streamproc.view.shown import ShownObject
from tests.view.browser.chromium import eventually, watched_page
from tests.view.browser.looking import open_page, shows_count, shows_events, texts, tile
from tests.view.browser.stand_in import StandIn, event_of

HOSTILE = '<img src=x onerror="window.harmed=1">'


def tell_some(stand_in: StandIn) -> None:
    """Events of all types, a second apart, the last newest."""
    now_ms = int(time.time() * 1000)
    told: tuple[tuple[str, dict[str, Any]], ...] = (
        ("gate", {"type": "camera", "what": "offline", "text": "gate is offline: unreachable", "objects": []}),
        ("yard", {"type": "track", "what": "new", "text": "a new person", "objects": [found("person")]}),
        ("yard", {"type": "rule", "what": "crossed", "text": "a car crossed the line", "objects": [found("car")]}),
        ("gate", {"outcome": "partial", "text": "frame 4 is partial: 3 of 4 tiles", "objects": []}),
        ("gate", {"text": "frame 5 is complete", "objects": []}),
    )
    for number, (camera, change) in enumerate(told):
        at_ms = now_ms - 5000 + 1000 * number
        stand_in.event(event_of(camera, number + 1, at_ms=at_ms, emitted_ms=at_ms, **change))


def found(label: str) -> ShownObject:
    return ShownObject(label=label, score=0.8, box=(10, 10, 200, 200))


def test_the_feed_is_filtered_by_camera_type_label_text_and_outcome(page: Page, stand_in: StandIn) -> None:
    tell_some(stand_in)
    open_page(page, stand_in)
    partial, crossed, person, offline = (
        "frame 4 is partial: 3 of 4 tiles",
        "a car crossed the line",
        "a new person",
        "gate is offline: unreachable",
    )
    form = page.locator("#filters")
    shows_events(page, [partial, crossed, person, offline])
    form.locator("[name=camera]").select_option("yard")
    shows_events(page, [crossed, person])
    form.locator("[name=label]").fill("PERS")
    shows_events(page, [person])
    form.locator("[type=reset]").click()
    shows_events(page, [partial, crossed, person, offline])
    form.locator("[name=type]").select_option("rule")
    shows_events(page, [crossed])
    form.locator("[name=type]").select_option("")
    shows_events(page, ["frame 5 is complete", partial, crossed, person, offline])
    form.locator("[name=outcome]").select_option("partial")
    shows_events(page, [partial])
    form.locator("[type=reset]").click()
    form.locator("[name=text]").fill("Unreach")
    shows_events(page, [offline])
    form.locator("[name=text]").fill("no such word")
    shows_events(page, [])
    expect(page.locator("#feed-told")).to_have_text("No event fits")


def test_new_events_come_by_themselves_but_do_not_move_what_is_read(page: Page, stand_in: StandIn) -> None:
    stand_in.event(event_of("gate", 1, outcome="partial", text="first"))
    open_page(page, stand_in)
    shows_events(page, ["first"])
    stand_in.event(event_of("gate", 2, outcome="partial", text="second"))
    shows_events(page, ["second", "first"])
    page.keyboard.press("g")
    stand_in.event(event_of("gate", 3, outcome="partial", text="third"))
    expect(page.locator("#feed-new")).to_have_text("Show 1 new")
    assert texts(page) == ["second", "first"]
    page.locator("#feed-new").click()
    shows_events(page, ["third", "second", "first"])


def test_older_events_are_read_from_the_log_page_by_page(page: Page, stand_in: StandIn) -> None:
    now_ms = int(time.time() * 1000)
    for number in range(250):
        at_ms = now_ms - 100_000 + number
        stand_in.past.log.append(event_of("gate", number, outcome="partial", text=f"event {number}", at_ms=at_ms))
    open_page(page, stand_in)
    shows_count(page, 100)
    for count in (199, 250):  # a page ends with the event that it begins below
        page.locator("#feed-older").click()
        shows_count(page, count)
    assert texts(page) == [f"event {number}" for number in range(249, -1, -1)]
    expect(page.locator("#feed-older")).to_be_hidden()


def test_an_event_opens_with_its_pixels_and_its_evidence(page: Page, stand_in: StandIn) -> None:
    stand_in.event(event_of("gate", 6, outcome="partial", text="frame 6 is partial", captured_ns="1700000000123456789"))
    stand_in.event(event_of("gate", 7, outcome="expired", text="frame 7 is expired"))
    open_page(page, stand_in)
    page.locator("#feed button", has_text="frame 6").click()
    dialog = page.locator("#event-dialog")
    image = dialog.locator("img")
    image.wait_for()
    assert image.evaluate("(i) => [i.complete, i.naturalWidth, i.naturalHeight]") == [True, 320, 180]
    facts = dialog.locator(".event-facts")
    for words in ("partial", "offsets 24 to 27", "offset 17", "7f0c2a9be4d1", "canny v3", "run-1", "square 0.90"):
        expect(facts).to_contain_text(words)
    dialog.get_by_text("The whole event as JSON").click()
    assert '"captured_ns": 1700000000123456789' in dialog.locator("pre").inner_text(), "no digit is lost"
    assert re.search(r"#event=[0-9a-f]{32}&camera=gate&ms=\d+$", page.url)
    address = page.url
    page.keyboard.press("ArrowLeft")
    expect(dialog.locator("#event-title")).to_have_text("gate, frame, expired")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    eventually(page, lambda: page.evaluate("held.urls") == 0, "the picture is given back")
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#event-title")).to_contain_text("gate, frame, partial")
    page.locator("#event-dialog img").wait_for()


def test_an_event_whose_pixels_are_gone_says_so(page: Page, stand_in: StandIn) -> None:
    event = event_of("gate", 6, outcome="partial", text="frame 6 is partial")
    stand_in.past.gone.add(event.id)
    stand_in.event(event)
    open_page(page, stand_in)
    page.locator("#feed button").click()
    expect(page.locator(".event-stage")).to_contain_text("the pixels of frame gate/run-1/6 are gone")
    expect(page.locator(".event-facts")).to_contain_text("offsets 24 to 27")


def test_labels_and_words_of_messages_stay_text(page: Page, stand_in: StandIn) -> None:
    hostile = ShownObject(label=HOSTILE, score=0.5, box=(10, 10, 300, 300), track=HOSTILE)
    stand_in.frame("gate", 3)
    stand_in.event(
        event_of("gate", 3, id="x", outcome="partial", text=f"frame {HOSTILE}", objects=[hostile], run="run-1")
    )
    open_page(page, stand_in)
    shows_events(page, [f"frame {HOSTILE}"])
    page.locator("#feed button").click()
    expect(page.locator(".event-facts")).to_contain_text(f"{HOSTILE} 0.50")
    expect(page.locator("#event-told")).to_have_text(f"frame {HOSTILE}")
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.harmed") is None


def test_updates_of_tracks_are_not_notable_and_push_no_trouble_out(page: Page, stand_in: StandIn) -> None:
    stand_in.event(event_of("gate", 1, type="camera", what="offline", subject="refused", text="offline: refuses it"))
    open_page(page, stand_in)
    shows_events(page, ["refuses it"])
    for number in range(220):
        stand_in.event(event_of("gate", number, id=f"u{number}", type="track", what="update", text="track update face"))
    stand_in.event(event_of("gate", 230, type="track", what="end", text="track end face 0-7 (seen)"))
    shows_events(page, ["face 0-7 (seen)", "refuses it"])
    page.locator("#filters [name=type]").select_option("track")
    eventually(page, lambda: len(texts(page)) >= 200, "updates, once they are asked for")  # 200 live rows, or all


def test_names_of_cameras_stay_text(browser: Browser, stand_in: StandIn) -> None:
    """The server takes no such name from a topic; should one come through, it is harmless."""
    camera = {
        "name": HOSTILE,
        "online": False,
        "finished": False,
        "last_event_ms": 1,
        "last_frame_ms": None,
        "last_picture_ms": None,
        "not_complete_ms": None,
        "last_outcome": None,
        "fps": 0,
        "width": None,
        "outcomes": {HOSTILE: 3},
        "not_complete": 3,
        "latency_ms": {"p50": None, "p95": None},
        "why": HOSTILE,
        "blind": [[1, None]],
        "seen": [],
        "height": None,
    }
    told = {"ok": True, "told": HOSTILE}
    state = {"server_ms": time.time() * 1000, "version": "1", "broker": told, "cameras": [camera]}

    def on_socket(socket: WebSocketRoute) -> None:
        socket.send(json.dumps({"type": "hello", "state": state}))

    with watched_page(browser) as (page, _console):
        page.route_web_socket(re.compile("/api/live"), on_socket)
        open_page(page, stand_in)
        expect(page.locator(".tile .name")).to_have_text(HOSTILE)
        expect(page.locator(".tile .figures")).to_contain_text(HOSTILE)
        page.keyboard.press("3")
        expect(page.locator("#hour")).to_contain_text(HOSTILE)
        page.locator(".tile .stage").click()
        expect(page.locator("#single-name")).to_have_text(HOSTILE)
        assert page.locator("img").count() == 0
        assert page.evaluate("window.harmed") is None


def test_events_that_are_kept_are_bounded(page: Page, stand_in: StandIn) -> None:
    open_page(page, stand_in)
    sizes = page.evaluate(
        """async () => {
          const {Store} = await import('./static/store.js');
          const store = new Store();
          const told = (n) => ({id: `n${n}`, type: 'frame', outcome: n % 3 ? 'complete' : 'partial', at_ms: n,
                                objects: [], text: ''});
          for (let n = 0; n < 20000; n += 1) store.add(told(n));
          const all = store.matching({camera: '', type: '', label: '', text: '', outcome: ''}, 5000);
          return [store.size, all.length, all[0].id, store.add(told(19999))];
        }"""
    )
    assert sizes == [3000, 3000, "n19999", False]


def test_what_is_told_of_a_frame_counts_at_its_camera(page: Page, stand_in: StandIn) -> None:
    for number, outcome in enumerate(("complete", "partial", "complete", "expired")):
        stand_in.event(event_of("gate", number, outcome=outcome))
    open_page(page, stand_in)
    expect(tile(page, "gate").locator(".figures")).to_contain_text("2 complete")
    expect(tile(page, "gate").locator(".figures .warn")).to_have_text("1 partial, 1 expired")
    expect(page.locator("#summary")).to_have_text("1 camera, 2 frames not complete in the last hour")
