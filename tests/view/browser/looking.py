"""What tests see on the page: pixels of a tile in frame coordinates, rows of the feed, the moment that is shown."""

from __future__ import annotations

from typing import cast

from playwright.sync_api import Locator, Page

from tests.view.browser.chromium import eventually
from tests.view.browser.stand_in import HEIGHT, WIDTH, StandIn


def open_page(page: Page, stand_in: StandIn, *, fragment: str = "") -> None:
    """Go there and wait until it is connected."""
    page.goto(stand_in.url + fragment)
    page.locator("#link:is([data-kind=ok], [data-kind=warn])").wait_for()


def tile(page: Page, camera: str) -> Locator:
    """The tile of a camera."""
    return page.locator(f'.tile[data-camera="{camera}"]')


def shows_frame(page: Page, camera: str, number: int) -> None:
    """Wait until a tile shows a frame."""
    page.locator(f'.tile[data-camera="{camera}"][data-frame="run-1/{number}"]').wait_for()


def pixels(page: Page, camera: str, x: float, y: float, *, around: int = 0) -> list[tuple[int, int, int]]:
    """Colours (red, green, blue) of a tile's canvas at a place of the frame and so many canvas pixels around it."""
    found = page.evaluate(
        """([camera, x, y, around, width, height]) => {
          const canvas = document.querySelector(`.tile[data-camera="${camera}"] canvas`);
          const copy = document.createElement('canvas');
          copy.width = copy.height = 2 * around + 1;
          const context = copy.getContext('2d', {willReadFrequently: true});
          const scale = Math.min(canvas.width / width, canvas.height / height);  // the frame lies in the middle
          const left = (canvas.width - width * scale) / 2, top = (canvas.height - height * scale) / 2;
          context.drawImage(canvas, around - Math.round(left + x * scale), around - Math.round(top + y * scale));
          const data = context.getImageData(0, 0, copy.width, copy.height).data;
          return Array.from({length: data.length / 4}, (_, n) => [...data.slice(4 * n, 4 * n + 3)]);
        }""",
        [camera, x, y, around, WIDTH, HEIGHT],
    )
    return cast("list[tuple[int, int, int]]", [tuple(one) for one in found])


def has(found: list[tuple[int, int, int]], wanted: tuple[int, int, int], *, within: int = 75) -> bool:
    """Whether one of some colours is like this one."""
    return any(all(abs(one - other) <= within for one, other in zip(colour, wanted, strict=True)) for colour in found)


def shows_colour(page: Page, camera: str, x: float, y: float, wanted: tuple[int, int, int]) -> None:
    """Wait until a tile has a colour at a place of the frame, or two pixels from it."""
    what = f"{wanted} at {x}, {y} of {camera}"
    eventually(page, lambda: has(pixels(page, camera, x, y, around=2), wanted), what)


def shows_count(page: Page, count: int) -> None:
    """Wait until the feed has so many events."""
    try:
        eventually(page, lambda: len(texts(page)) == count, f"{count} events")
    except AssertionError as error:
        raise AssertionError(f"{error}, there are {len(texts(page))}") from None


def newest_frame(page: Page, camera: str) -> int:
    """The number of the frame that a tile shows; -1: none."""
    return int((tile(page, camera).get_attribute("data-frame") or "/-1").split("/")[1])


def texts(page: Page) -> list[str]:
    """The events of the feed, newest first."""
    return page.locator("#feed .event-text").all_text_contents()


def shows_events(page: Page, wanted: list[str]) -> None:
    """Wait until the feed has these, newest first."""
    eventually(page, lambda: texts(page) == wanted, f"{wanted}; there are {texts(page)}")


def look_back_to(page: Page, ms: float) -> None:
    """Move the slider to a moment, as a hand would."""
    page.evaluate(
        """(ms) => {
          const slider = document.getElementById('slider');
          slider.value = String(Math.round((ms - Date.now()) / 1000));
          slider.dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        ms,
    )
