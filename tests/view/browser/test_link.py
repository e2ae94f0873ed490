"""The connection: a server that ends and comes back, a broker that is gone, a browser that is too slow, a token."""

from __future__ import annotations

import itertools
import re

from playwright.sync_api import Browser, Page, expect

from tests.view.browser.chromium import Console, eventually, watched_page
from tests.view.browser.looking import newest_frame, open_page, shows_frame, tile
from tests.view.browser.stand_in import StandIn

TOKEN = "a-token-of-some-length"
REFUSED = "(ERR_CONNECTION_REFUSED|WebSocket connection to)"


def test_the_page_reconnects_when_the_server_is_back(opened: tuple[Page, Console], stand_in: StandIn) -> None:
    page, console = opened
    console.expected.append(REFUSED)
    stand_in.frame("gate", 3)
    open_page(page, stand_in)
    shows_frame(page, "gate", 3)
    stand_in.stop_serving()
    expect(page.locator("#link-text")).to_have_text("Not connected")
    expect(page.locator("#banner-text")).to_contain_text("Connection to the viewer lost")
    expect(page.locator("#banner-more")).to_contain_text("Next try in")
    expect(tile(page, "gate").locator(".state")).to_have_text("No news")
    stand_in.serve()
    page.locator("#link[data-kind=ok]").wait_for()
    expect(page.locator("#banner")).to_be_hidden()
    stand_in.frame("gate", 4)
    shows_frame(page, "gate", 4)


def test_pauses_between_tries_grow_up_to_a_bound(page: Page, stand_in: StandIn) -> None:
    open_page(page, stand_in)
    pauses = page.evaluate(
        """async () => {
          const {pauseMs} = await import('./static/connection.js');
          return [0, 1].map((chance) => Array.from({length: 40}, (_, attempt) => pauseMs(attempt, chance)));
        }"""
    )
    for row in pauses:
        assert all(before <= after for before, after in itertools.pairwise(row))
    assert pauses[0][0] == 375
    assert pauses[1][0] == 500
    assert pauses[1][-1] == 15_000


def test_a_broker_that_is_gone_is_told_and_blames_no_camera(page: Page, stand_in: StandIn) -> None:
    stand_in.frame("gate", 3)
    open_page(page, stand_in)
    told = "no Kafka broker answers at 127.0.0.1:9092: start one with: streamproc broker start"
    stand_in.break_broker(told)
    expect(page.locator("#banner-text")).to_have_text(re.compile(f"{told}$"))  # the command stands alone
    expect(page.locator("#link-text")).to_have_text("No broker")
    expect(tile(page, "gate").locator(".state")).to_have_text("No news")
    page.locator("#filters [name=type]").select_option("camera")  # asks the log: its 503 is told, and no red line
    expect(page.locator("#feed-told")).to_contain_text(told)
    stand_in.break_broker("")
    expect(page.locator("#banner")).to_be_hidden()


def test_a_slow_page_passes_over_pictures_says_so_and_keeps_its_memory(browser: Browser) -> None:
    cameras = [f"cam-{number}" for number in range(4)]
    with StandIn(cameras) as stand_in, watched_page(browser) as (page, _console):
        stand_in.play(fps=10)
        open_page(page, stand_in)
        page.locator("[data-frame]").first.wait_for()
        before = page.evaluate("performance.memory.usedJSHeapSize")
        page.evaluate(
            """window.slow = setInterval(() => {
              const start = performance.now();
              while (performance.now() - start < 900) {}
            }, 950)"""
        )
        link = page.locator("#link-text")
        eventually(page, lambda: "too slow" in link.inner_text(), "it says that it is too slow", within_s=15)
        assert stand_in.browsers[0].pictures_skipped >= 8
        assert stand_in.state.hub.waiting_bytes < 2**20
        page.evaluate("clearInterval(window.slow)")
        assert page.evaluate("held.most") <= 6 * len(cameras), "shown, held and decoded pictures of each camera"
        assert page.evaluate("performance.memory.usedJSHeapSize") < before + 30 * 2**20
        number = stand_in.number
        eventually(page, lambda: newest_frame(page, "cam-0") > number, "the newest again")


def test_a_viewer_with_a_token_asks_for_it(browser: Browser) -> None:
    with StandIn(token=TOKEN) as stand_in, watched_page(browser) as (page, console):
        console.expected.append("status of 401")
        stand_in.frame("gate", 3)
        page.goto(stand_in.url)
        expect(page.get_by_label("Token")).to_be_focused()
        page.get_by_label("Token").fill("a-token-of-another-length")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That token is not right.")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        shows_frame(page, "gate", 3)
        page.context.clear_cookies()
        stand_in.stop_serving()
        stand_in.serve()
        expect(page.locator("#link-text")).to_have_text("Not logged in")
        expect(page.locator("#banner-login")).to_be_visible()
        console.expected.append(REFUSED)
