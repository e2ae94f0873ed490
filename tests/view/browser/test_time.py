"""The time bar: pictures and events of the past, and back to live."""

from __future__ import annotations

import time

from playwright.sync_api import Page, expect

from tests.view.browser.chromium import eventually
from tests.view.browser.looking import (
    has,
    look_back_to,
    newest_frame,
    open_page,
    pixels,
    shows_colour,
    shows_events,
    shows_frame,
    tile,
)
from tests.view.browser.stand_in import StandIn, box_of, event_of

YELLOW = (255, 209, 102)


def past_of(stand_in: StandIn) -> float:
    """Two frames of each camera some minutes ago, with their events and a partial one; gives that time."""
    then_ms = int(time.time() * 1000) - 300_000
    for camera in ("gate", "yard"):
        for number, at_ms in ((30, then_ms), (40, then_ms + 20_000)):
            stand_in.past.frames.append((camera, number, at_ms))
            stand_in.past.log.append(event_of(camera, number, at_ms=at_ms, emitted_ms=at_ms))
    stand_in.past.log.append(
        event_of("yard", 41, outcome="partial", text="frame 41 is partial", at_ms=then_ms + 5000, objects=[])
    )
    return then_ms


def test_the_slider_shows_all_cameras_and_events_of_that_time_and_comes_back(page: Page, stand_in: StandIn) -> None:
    then_ms = past_of(stand_in)
    stand_in.play(fps=5)
    stand_in.event(event_of("gate", 900, outcome="expired", text="just now"))
    open_page(page, stand_in)
    shows_events(page, ["just now", "frame 41 is partial"])
    look_back_to(page, then_ms + 8000)
    expect(page.locator("#link-text")).to_have_text("Looking back")
    for camera in ("gate", "yard"):
        shows_frame(page, camera, 30)
        x1, y1, _, y2 = box_of(30)
        shows_colour(page, camera, x1, (y1 + y2) / 2, YELLOW)
        assert has(pixels(page, camera, x1 + 80, y1 + 80), (235, 235, 235)), "the picture of that frame"
        expect(tile(page, camera).locator(".tile-stamp")).to_contain_text("before that moment")
    shows_events(page, ["frame 41 is partial"])
    page.keyboard.press(">")
    page.keyboard.press(">")
    shows_frame(page, "gate", 40)
    newest = stand_in.number
    eventually(page, lambda: stand_in.browsers[0]._cameras == frozenset(), "no live pictures meanwhile")
    page.locator("#live").click()
    expect(page.locator("#link-text")).to_have_text("Live")
    eventually(page, lambda: newest_frame(page, "gate") > newest, "frames of now")


def test_the_keyboard_steps_through_time(page: Page, stand_in: StandIn) -> None:
    then_ms = past_of(stand_in)
    stand_in.frame("gate", 90)
    stand_in.frame("yard", 90)
    open_page(page, stand_in)
    expect(tile(page, "gate")).to_have_attribute("data-frame", "run-1/90")
    page.locator("#slider").focus()
    for key in ("ArrowLeft", "PageDown"):
        page.keyboard.press(key)
    moment = page.locator("#now").inner_text()
    expect(page.locator("#slider")).to_have_attribute("aria-valuetext", moment)
    look_back_to(page, then_ms + 1000)
    shows_frame(page, "gate", 30)
    expect(page.locator("#slider")).not_to_have_attribute("aria-valuetext", "live")
    page.keyboard.press("l")
    expect(page.locator("#slider")).to_have_attribute("aria-valuetext", "live")
    page.locator("#search").focus()
    page.keyboard.press("Escape")
    page.keyboard.press(" ")
    expect(page.locator("#live")).to_have_text("Back to live")
    page.keyboard.press(",")
    page.keyboard.press(" ")
    expect(page.locator("#live")).to_have_text("Live")


def test_a_time_without_pictures_says_so(page: Page, stand_in: StandIn) -> None:
    stand_in.frame("gate", 1)
    open_page(page, stand_in)
    shows_frame(page, "gate", 1)
    look_back_to(page, time.time() * 1000 - 200_000)
    expect(tile(page, "gate").locator(".tile-note")).to_contain_text("no frame event at that time")
    expect(tile(page, "gate").locator(".tile-stamp")).to_have_text("")
    expect(page.locator("#feed-told")).to_contain_text("No event fits within 30 s")


def test_a_stamp_goes_with_its_picture_and_what_is_of_now_is_called_so(page: Page, stand_in: StandIn) -> None:
    then_ms = past_of(stand_in)
    stand_in.frame("gate", 90)
    open_page(page, stand_in)
    shows_frame(page, "gate", 90)
    look_back_to(page, then_ms + 8000)
    stamp = tile(page, "gate").locator(".tile-stamp")
    expect(stamp).to_contain_text("before that moment")
    expect(tile(page, "gate").locator(".state")).to_contain_text("Now: ")
    expect(tile(page, "gate").locator(".figures")).to_be_hidden()
    expect(page.locator("#summary")).to_contain_text("Now: ")
    look_back_to(page, then_ms - 60_000)
    expect(tile(page, "gate").locator(".tile-note")).to_contain_text("no frame event at that time")
    expect(stamp).to_have_text("")


def test_the_feed_is_scrolled_to_the_moment_and_marks_it(page: Page, stand_in: StandIn) -> None:
    then_ms = past_of(stand_in)
    for number in range(240):
        at_ms = then_ms - 15_000 + 150 * number
        change = {"outcome": "partial", "text": f"number {number}", "at_ms": at_ms, "emitted_ms": at_ms}
        stand_in.past.log.append(event_of("gate", 100 + number, **change))
    stand_in.past.log.sort(key=lambda event: event.at_ms)
    stand_in.frame("gate", 90)
    open_page(page, stand_in)
    look_back_to(page, then_ms)
    mark = page.locator(".feed-moment")
    expect(mark).to_contain_text("the moment that is shown")
    expect(mark).to_be_in_viewport()
    around = mark.evaluate(
        "(e) => [e.previousSibling, e.nextSibling].map((o) => o.textContent.match(/number ([0-9]+)/)[1])"
    )
    after, before = map(int, around)
    assert after == before + 1
    assert abs(100 - before) <= 7, "a slider moves by seconds"


def test_an_event_leads_to_its_moment(page: Page, stand_in: StandIn) -> None:
    past_of(stand_in)
    stand_in.frame("yard", 90)
    open_page(page, stand_in)
    page.locator("#feed button", has_text="frame 41").click()
    page.get_by_role("button", name="Go to this moment").click()
    expect(page.locator("#event-dialog")).to_be_hidden()
    shows_frame(page, "yard", 30)
    expect(page.locator("#link-text")).to_have_text("Looking back")
