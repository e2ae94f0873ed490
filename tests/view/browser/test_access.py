"""For everybody: the keyboard alone, axe, phones, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it ships no types
from playwright.sync_api import Browser, Page, expect

from tests.view.browser.chromium import watched_page
from tests.view.browser.looking import open_page, shows_frame, tile
from tests.view.browser.stand_in import StandIn, event_of

TOKEN = "a-token-of-some-length"
PHONE = {"width": 360, "height": 740}


def fill(stand_in: StandIn) -> None:
    """Something of everything."""
    for number in range(4):
        for camera in ("gate", "yard"):
            stand_in.frame(camera, number)
    stand_in.event(event_of("gate", 4, outcome="partial", text="frame 4 is partial"))
    stand_in.event(event_of("yard", 5, outcome="expired", text="frame 5 is expired"))
    stand_in.event(event_of("yard", 6, type="camera", what="offline", text="yard is offline: unreachable"))
    stand_in.event(event_of("gate", 7, type="anomaly", what="start", text="an unusual picture"))


def open_event(page: Page) -> None:
    page.locator("#feed button").first.click()
    page.locator("#event-dialog img").wait_for()
    page.get_by_text("The whole event as JSON").click()


def open_charts(page: Page) -> None:
    page.keyboard.press("2")
    page.locator(".chart summary").first.click()


def look_back(page: Page) -> None:
    page.keyboard.press(" ")
    page.keyboard.press("<")
    page.wait_for_timeout(300)


PLACES: dict[str, Callable[[Page], object]] = {
    "all": lambda page: None,
    "event": open_event,
    "charts": open_charts,
    "hour": lambda page: page.keyboard.press("3"),
    "help": lambda page: page.keyboard.press("?"),
    "alone": lambda page: tile(page, "gate").locator(".stage").click(),
    "menu": lambda page: page.locator("#view-menu summary").click(),
    "past": look_back,
}


@pytest.mark.parametrize(
    ("scheme", "viewport", "places"),
    [
        ("dark", {"width": 1280, "height": 800}, list(PLACES)),
        ("light", {"width": 1280, "height": 800}, ["all", "event", "charts"]),
        ("light", PHONE, ["all", "event"]),
    ],
    ids=["dark", "light", "phone"],
)
def test_axe_finds_nothing(
    browser: Browser, stand_in: StandIn, scheme: str, viewport: dict[str, int], places: list[str]
) -> None:
    fill(stand_in)
    with watched_page(browser, color_scheme=scheme, viewport=viewport) as (page, _console):
        for place in places:
            open_page(page, stand_in)
            shows_frame(page, "gate", 3)
            PLACES[place](page)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{place}: {found.generate_report()}"
            page.goto("about:blank")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_pressed_buttons_can_be_read_under_the_mouse(browser: Browser, stand_in: StandIn, scheme: str) -> None:
    fill(stand_in)
    with watched_page(browser, color_scheme=scheme, reduced_motion="reduce") as (page, _console):
        open_page(page, stand_in)
        shows_frame(page, "gate", 3)
        page.locator("#troubled").click()
        for name in ("#live", "#troubled"):
            page.locator(name).hover()
            found = Axe().run(page)
            assert found.violations_count == 0, f"{name}: {found.generate_report()}"


def test_the_login_page_and_the_empty_page_are_clean_too(browser: Browser) -> None:
    with StandIn(token=TOKEN) as stand_in, watched_page(browser) as (page, console):
        console.expected.append("status of 401")
        page.goto(stand_in.url)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#empty-title")).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_the_keyboard_alone_reaches_all(page: Page, stand_in: StandIn) -> None:
    fill(stand_in)
    open_page(page, stand_in)
    shows_frame(page, "gate", 3)
    page.locator("#feed button").first.wait_for()
    stops = list[str]()
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate("((e) => e.id || e.name || e.className || e.tagName)(document.activeElement)")
        if stops and stop == stops[0]:
            break
        stops.append(stop)
        ring = page.evaluate(
            """(() => { const e = document.activeElement, t = e.closest('.tile') ?? e;
              return getComputedStyle(e).outlineStyle !== 'none' || getComputedStyle(t).outlineStyle !== 'none'; })()"""
        )
        assert ring or stop == "BODY", f"the focus on {stop} can be seen"
    for wanted in ("skip", "search", "troubled", "button", "help-button", "stage", "tab-events", "type", "camera"):
        assert wanted in stops, stops
    for wanted in ("outcome", "label", "text", "event", "live", "slider", "window"):
        assert wanted in stops, stops
    assert stops.count("stage") == 1, "tiles take one stop; arrows go on from there"
    assert stops.count("event") == 1


def test_keys_open_and_close_and_the_focus_comes_back(page: Page, stand_in: StandIn) -> None:
    fill(stand_in)
    open_page(page, stand_in)
    shows_frame(page, "gate", 3)
    page.locator("#feed button").first.wait_for()
    page.locator(".skip").focus()
    while page.evaluate("document.activeElement.className") != "stage":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(tile(page, "yard").locator(".stage")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#single-name")).to_have_text("yard")
    page.keyboard.press("Escape")
    expect(tile(page, "gate")).to_be_visible()
    expect(tile(page, "yard").locator(".stage")).to_be_focused()
    page.keyboard.press("g")
    expect(page.locator("#feed button").first).to_be_focused()  # once the log was read for all cameras again
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#event-title")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#feed button").nth(1)).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("e?b")
    expect(page.locator("#search")).to_have_value("e?b")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_have_value("")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#help-title")).to_be_visible()
    page.get_by_label("Shortcuts of a single key").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#panel-charts")).to_be_hidden()


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_never_scrolls_sideways(browser: Browser, stand_in: StandIn, width: int) -> None:
    stand_in.frame("a-camera-whose-name-is-as-long-as-names-may-be-" + "x" * 50, 1)
    for number in range(5):
        stand_in.frame(f"cam-{number}", 1)
    stand_in.event(event_of("cam-1", 2, outcome="partial", text="a-word-without-any-place-to-break-it-" * 8))
    viewport = {"width": width, "height": 700}
    with watched_page(browser, viewport=viewport, has_touch=True, is_mobile=True) as (page, _console):
        open_page(page, stand_in)
        shows_frame(page, "cam-0", 1)
        for step in ("", "2", "3", "1"):
            if step:
                page.keyboard.press(step)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        for name in ("#search", "#help-button", "#live", "#slider", "#window"):
            box = page.locator(name).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width, name
        page.locator("#feed button").first.click()
        page.locator("#event-dialog img").wait_for()
        assert page.evaluate("document.getElementById('event-dialog').scrollWidth") <= width


def test_light_and_dark_follow_the_system_until_someone_chooses(browser: Browser, stand_in: StandIn) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with watched_page(browser, color_scheme="dark") as (page, _console):
        open_page(page, stand_in)
        dark = page.evaluate(ground)
        page.emulate_media(color_scheme="light")
        light = page.evaluate(ground)
        assert dark != light
        page.keyboard.press("d")
        assert page.evaluate(ground) == dark
        page.reload()
        assert page.evaluate(ground) == dark, "kept"


def test_charts_have_words_and_tables(page: Page, stand_in: StandIn) -> None:
    for number in range(8):
        at_ms = stand_in.state.now_ms() - 60_000 + 5000 * number
        stand_in.event(event_of("gate", number, emitted_ms=at_ms, latency_ms=80.0 + number))
    open_page(page, stand_in)
    page.keyboard.press("2")
    expect(page.locator(".chart")).to_have_count(4)
    latency = page.locator(".chart").first
    expect(latency.locator("svg")).to_have_attribute(
        "aria-label", "Latency, capture to event, ms; newest: p50 87, p95 87"
    )
    latency.locator("summary").click()
    expect(latency.locator("tbody tr", has_text="87")).to_have_count(1)
