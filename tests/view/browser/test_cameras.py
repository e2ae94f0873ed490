"""Tiles: moving pictures, edges and boxes of the frame that is shown, how each camera is."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Browser, Page, expect

from streamproc.view.shown import ShownObject
from tests.view.browser.chromium import Console, eventually, watched_page
from tests.view.browser.looking import has, open_page, pixels, shows_colour, shows_frame, tile
from tests.view.browser.stand_in import StandIn, box_of, event_of

YELLOW = (255, 209, 102)
DIFFERENT = """async ([camera, count]) => {
  const canvas = document.querySelector(`[data-camera=${camera}] canvas`), seen = new Set();
  for (const end = Date.now() + 6000; seen.size < count && Date.now() < end;) {
    seen.add(canvas.toDataURL());
    await new Promise(requestAnimationFrame);
  }
  return [...seen];
}"""
MAGENTA = (244, 114, 182)


def test_the_page_shows_moving_pictures_of_all_cameras(page: Page, stand_in: StandIn) -> None:
    stand_in.play(fps=5)
    open_page(page, stand_in)
    expect(page.locator(".tile")).to_have_count(2)
    expect(page.locator("#summary")).to_have_text("2 cameras, all well")
    for camera in ("gate", "yard"):
        assert len(page.evaluate(DIFFERENT, [camera, 4])) == 4, f"different pictures of {camera}"
    expect(tile(page, "gate").locator(".state")).to_have_text("Seeing")
    expect(tile(page, "gate").locator(".figures")).to_contain_text("fps")
    expect(tile(page, "gate").locator(".figures")).to_contain_text("complete")


def test_boxes_stand_where_the_event_of_the_shown_frame_says(page: Page, stand_in: StandIn) -> None:
    stand_in.frame("gate", 5)
    open_page(page, stand_in)
    page.keyboard.press("e")  # without edges the box's line alone is there
    page.keyboard.press("t")
    for number in (11, 30):
        stand_in.frame("gate", number)
        shows_frame(page, "gate", number)
        x1, y1, x2, y2 = box_of(number)
        middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
        for x, y in ((x1, middle_y), (x2, middle_y), (middle_x, y1), (middle_x, y2)):
            shows_colour(page, "gate", x, y, YELLOW)
        assert has(pixels(page, "gate", middle_x, middle_y), (235, 235, 235))
        assert not has(pixels(page, "gate", x1 - 60, middle_y, around=2), YELLOW)
    page.keyboard.press("b")
    eventually(page, lambda: not has(pixels(page, "gate", x1, middle_y, around=2), YELLOW), "no box any more")


def test_a_box_of_another_frame_is_not_drawn(page: Page, stand_in: StandIn) -> None:
    stand_in.frame("gate", 8)
    open_page(page, stand_in)
    shows_frame(page, "gate", 8)
    other = ShownObject(label="other", score=1.0, box=(900, 500, 1100, 700))
    stand_in.event(event_of("gate", 9, objects=[other]))
    tile(page, "gate").and_(page.locator('[data-sequence="9"]')).wait_for()
    assert not has(pixels(page, "gate", 900, 600, around=2), YELLOW)
    stand_in.event(event_of("gate", 8, id="again", objects=[other]))
    shows_colour(page, "gate", 900, 600, YELLOW)


def test_edges_have_the_chosen_colour_and_can_be_switched_off(page: Page, stand_in: StandIn) -> None:
    stand_in.frame("gate", 10)
    open_page(page, stand_in)
    page.keyboard.press("b")
    page.keyboard.press("t")
    page.locator("#view-menu summary").click()
    page.locator("#view-form [name=colour]").select_option("magenta")
    page.locator("#view-form [name=opacity]").fill("1")
    x1, y1, _, y2 = box_of(10)

    def has_edge() -> bool:
        return has(pixels(page, "gate", x1, (y1 + y2) / 2, around=3), MAGENTA)

    eventually(page, has_edge, "the square's edge in magenta")
    assert has(pixels(page, "gate", x1 + 80, (y1 + y2) / 2), (235, 235, 235)), "no edge inside"
    page.locator("#view-form [name=edges]").uncheck()
    eventually(page, lambda: not has_edge(), "no edges")
    page.reload()
    page.locator("#view-menu summary").click()
    expect(page.locator("#view-form [name=edges]")).not_to_be_checked()
    expect(page.locator("#view-form [name=colour]")).to_have_value("magenta")


def test_a_blind_camera_is_seen_at_once(page: Page, stand_in: StandIn) -> None:
    stand_in.play(fps=5)
    open_page(page, stand_in)
    expect(tile(page, "gate").locator(".state")).to_have_text("Seeing")
    now_ms = int(time.time() * 1000)
    stand_in.event(
        event_of(
            "gate",
            1,
            type="camera",
            what="offline",
            subject="refused",
            text="gate is offline",
            emitted_ms=now_ms - 65_000,
        )
    )
    expect(tile(page, "gate").locator(".state")).to_contain_text("Blind for 1 min")
    expect(page.locator("#summary")).to_have_text("2 cameras, 1 blind (gate)")
    expect(tile(page, "gate").locator(".blind-bar rect.blind")).to_have_count(1)
    expect(tile(page, "gate").locator(".tile-stamp")).to_contain_text("refuses the connection")
    expect(tile(page, "gate").locator(".blind-bar title")).to_contain_text("Blind 1 time in the last hour, 1 min")
    page.keyboard.press("r")
    expect(tile(page, "yard")).to_be_hidden()
    expect(tile(page, "gate")).to_be_visible()
    page.keyboard.press("3")
    expect(page.locator("#hour-told")).to_have_text("1 of 2 were blind within the last hour.")


def test_a_film_that_was_read_to_its_end_is_finished_and_no_trouble(page: Page, stand_in: StandIn) -> None:
    stand_in.frame("yard", 1)
    stand_in.frame("gate", 1)
    now_ms = int(time.time() * 1000)
    stand_in.event(event_of("gate", 2, type="camera", what="offline", subject="finished", emitted_ms=now_ms - 65_000))
    open_page(page, stand_in)
    expect(tile(page, "gate").locator(".state")).to_have_text("Finished", timeout=20_000)  # once no frame comes
    stand_in.frame("yard", 2)
    expect(page.locator("#summary")).to_have_text("2 cameras, 1 finished, all well")
    expect(tile(page, "gate").locator(".blind-bar rect.blind")).to_have_count(0)
    expect(tile(page, "gate").locator(".tile-stamp")).to_be_empty()
    page.locator("#feed button").first.click()
    expect(page.locator("#event-dialog .check")).to_have_count(0)
    expect(page.locator("#event-dialog")).not_to_contain_text("streamproc show")


def test_a_camera_whose_events_lag_is_told_but_not_one_that_is_played_again(page: Page, stand_in: StandIn) -> None:
    stand_in.event(event_of("gate", 1, latency_ms=72_000.0))
    stand_in.event(event_of("yard", 1, latency_ms=86_400_000.0))
    open_page(page, stand_in)
    expect(tile(page, "gate").locator(".state")).to_have_text("1 min 12 s behind")
    expect(tile(page, "yard").locator(".state")).to_have_text("Seeing")
    expect(page.locator("#summary")).to_have_text("2 cameras, 1 behind")
    expect(page.locator("#link-text")).to_have_text("Live, 1 of 2 cameras 1 min 12 s behind")
    expect(page.locator("#link")).to_have_attribute("data-kind", "warn")


def test_a_picture_is_as_old_as_what_it_shows(page: Page, stand_in: StandIn) -> None:
    stand_in.frame("gate", 3, captured_ago_s=60)
    stand_in.frame("yard", 3, captured_ago_s=86_400)
    open_page(page, stand_in)
    shows_frame(page, "gate", 3)
    expect(tile(page, "gate").locator(".tile-stamp")).to_contain_text("Picture is 1 min")
    expect(tile(page, "yard").locator(".tile-stamp")).to_have_text("")


def test_a_camera_of_which_no_frame_is_complete_is_in_trouble(page: Page, stand_in: StandIn) -> None:
    now_ms = int(time.time() * 1000)
    for number, (ago_ms, outcome) in enumerate([(50_000, "complete"), (40_000, "expired"), (500, "expired")]):
        at_ms = now_ms - ago_ms
        stand_in.event(event_of("gate", number, outcome=outcome, at_ms=at_ms, emitted_ms=at_ms))
    open_page(page, stand_in)
    expect(tile(page, "gate")).to_have_attribute("data-health", "lost")
    expect(tile(page, "gate").locator(".state")).to_have_text(re.compile("^No complete frame for 4. s: expired$"))
    expect(page.locator("#summary")).to_contain_text("1 without complete frames")
    stand_in.frame("gate", 9)
    expect(tile(page, "gate").locator(".state")).to_have_text("Seeing")


def test_the_bar_tells_silence_and_claims_nothing_that_is_not_known(page: Page, stand_in: StandIn) -> None:
    now_ms = int(time.time() * 1000)
    for number, ago_s in enumerate([*range(600, 400, -5), *range(360, -5, -5)]):
        at_ms = now_ms - ago_s * 1000
        stand_in.event(event_of("gate", number, at_ms=at_ms, emitted_ms=at_ms))
    open_page(page, stand_in)
    bar = tile(page, "gate").locator(".blind-bar")
    expect(bar.locator("rect.seen")).to_have_count(2)
    expect(bar.locator("rect.silent")).to_have_count(1)
    words = re.compile(
        "^Not blind in what is known of the last hour; no frames 1 time, 45 s together; not known for (50|49) min"
    )
    expect(bar.locator("title")).to_have_text(words)
    assert float(bar.locator("rect.seen").first.get_attribute("x") or 0) > 800


def test_no_camera_yet_says_what_to_do(page: Page, stand_in: StandIn) -> None:
    open_page(page, stand_in)
    expect(page.locator("#empty-title")).to_have_text("No camera yet")
    expect(page.locator("#empty-command")).to_contain_text("streamproc produce builtin --camera gate")
    stand_in.frame("gate", 1)
    shows_frame(page, "gate", 1)
    expect(page.locator("#empty")).to_be_hidden()


def test_cameras_are_found_by_name(page: Page, stand_in: StandIn) -> None:
    for camera in ("dock-2", "dock-10", "gate"):
        stand_in.frame(camera, 1)
    open_page(page, stand_in)
    expect(page.locator(".tile .name")).to_have_text(["dock-2", "dock-10", "gate"])
    page.locator("#search").fill("DOCK")
    expect(page.locator(".tile:visible")).to_have_count(2)
    page.locator("#search").fill("cellar")
    expect(page.locator("#empty-title")).to_have_text("No camera has this name")


def test_a_camera_alone_is_the_only_one_that_is_watched(page: Page, stand_in: StandIn) -> None:
    stand_in.play(fps=5)
    open_page(page, stand_in)
    tile(page, "yard").locator(".stage").click()
    expect(tile(page, "gate")).to_be_hidden()
    expect(page.locator("#single-name")).to_have_text("yard")
    assert page.url.endswith("#camera=yard")
    eventually(page, lambda: stand_in.browsers[0]._cameras == frozenset({"yard"}), "the server told to send yard alone")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#single-name")).to_have_text("gate")
    page.keyboard.press("Escape")
    expect(tile(page, "yard")).to_be_visible()
    expect(tile(page, "gate").locator(".stage")).to_be_focused()


def test_of_64_cameras_only_those_in_view_are_watched(browser: Browser) -> None:
    cameras = [f"cam-{number:02d}" for number in range(64)]
    with StandIn(cameras) as stand_in, watched_page(browser) as (page, _console):
        stand_in.play(fps=2)
        open_page(page, stand_in)
        expect(page.locator(".tile")).to_have_count(64)
        in_view = page.evaluate(
            "[...document.querySelectorAll('.tile')].filter((t) => t.getBoundingClientRect().top < innerHeight).length"
        )
        assert in_view < 32
        eventually(
            page,
            lambda: stand_in.browsers[0]._cameras is not None and 0 < len(stand_in.browsers[0]._cameras) <= in_view,
            "watching what is in view",
        )
        page.locator('.tile[data-camera="cam-63"]').scroll_into_view_if_needed()
        page.locator('.tile[data-camera="cam-63"][data-frame]').wait_for()
        assert page.evaluate("held.bitmaps") <= 4 * in_view, "pictures out of view are closed"


def test_the_console_is_held_against_a_page(browser: Browser) -> None:
    heard = Console()
    with watched_page(browser) as (page, console):
        page.evaluate("console.error('something')")
        heard.told, console.told = console.told, []
    assert heard.told == ["error: something "]
