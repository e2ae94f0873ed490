"""Draw the pictures of docs/viewer/ anew, from real cameras: `python -m tests.view.browser.pictures [FOLDER]`.

Needs Chromium, and a broker as the tests do (STREAMPROC_BOOTSTRAP, or it starts one).
"""

from __future__ import annotations

import io
import secrets
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page

from streamproc.provision import create_topics, wait_for_group
from streamproc.settings import load_settings
from streamproc.supervise import Workers, WorkerSpec
from tests.kafka.test_view import viewer
from tests.kafka_broker import broker_for_tests
from tests.view.browser.chromium import chromium, eventually, watched_page
from tests.view.browser.crew import PLACES, produce, write_pipeline

FOLDER: Final = Path(__file__).parents[3] / "docs" / "viewer"
WIDE: Final = {"width": 1200, "height": 750}
PHONE: Final = {"width": 360, "height": 740}
FPS: Final = 2.0
MOST_BYTES: Final = 200_000


def save(page: Page, file: Path) -> None:
    """A screenshot with as many colours as fit into the size for it."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    data = b""
    for colours in (256, 160, 96, 64):
        written = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
        data = written.getvalue()
        if len(data) <= MOST_BYTES:
            break
    assert len(data) <= MOST_BYTES, f"{file.name} has {len(data)} bytes"
    file.write_bytes(data)
    print(f"{file.name}: {len(data) // 1000} kB")


def ready(page: Page, url: str, *cameras: str) -> None:
    """Go there and wait until these cameras are seen."""
    page.goto(url)
    for camera in cameras:
        page.locator(f'.tile[data-camera="{camera}"][data-frame]').wait_for(timeout=90_000)
    calm = "!document.querySelector('.tile-stamp:not(:empty), [data-health=silent]')"
    eventually(page, lambda: bool(page.evaluate(calm)), "pictures of now: is the machine busy?", within_s=120)
    page.wait_for_timeout(500)


def draw(browser: Browser, url: str, folder: Path) -> None:
    """All pictures."""
    with watched_page(browser, viewport=WIDE, color_scheme="dark") as (page, _console):
        ready(page, url, *PLACES)
        save(page, folder / "grid-dark.png")
        page.locator("#feed button", has_text="face").first.click()
        page.locator("#event-dialog img").wait_for(timeout=20_000)
        page.wait_for_timeout(300)
        save(page, folder / "event.png")
        page.keyboard.press("Escape")
        page.wait_for_timeout(4000)  # so that each camera has pictures of the moment that is gone back to
        for _ in range(3):
            page.keyboard.press(",")
        page.locator(".tile-stamp:not(:empty)").nth(len(PLACES) - 1).wait_for(timeout=20_000)
        page.wait_for_timeout(500)
        save(page, folder / "past.png")
    with watched_page(browser, viewport=WIDE, color_scheme="light") as (page, _console):
        ready(page, url, *PLACES)
        page.keyboard.press("2")
        page.locator(".chart").first.wait_for()
        save(page, folder / "grid-light.png")
    with watched_page(browser, viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True) as (page, _console):
        ready(page, url, "dock-east")
        save(page, folder / "phone.png")


def main() -> None:
    """Start everything, draw, stop everything."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with broker_for_tests() as bootstrap, tempfile.TemporaryDirectory() as scratch:
        settings = load_settings(bootstrap=bootstrap, prefix=f"t-{secrets.token_hex(4)}.", preview_per_s=5)
        create_topics(settings)
        pipeline = write_pipeline(Path(scratch))
        stop = threading.Event()
        how = {"fps": FPS, "width": 640, "frames": 10_000, "stop": stop}
        work = threading.Thread(target=produce, args=(settings, pipeline), kwargs=how)
        with (
            Workers(settings, [WorkerSpec(pipeline=pipeline)], folder=Path(scratch) / "workers") as workers,
            viewer(settings, "--pipeline", pipeline) as (_process, url),
            chromium() as browser,
        ):
            wait_for_group(settings, members=1, timeout_s=60, check=workers.check)
            work.start()
            try:
                draw(browser, url, folder)
            finally:
                stop.set()
                work.join()


if __name__ == "__main__":
    main()
