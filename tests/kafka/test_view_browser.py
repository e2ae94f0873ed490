"""From a real pipeline to what Chromium has drawn: how soon, and that pixels, past and boxes are real."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from streamproc.provision import wait_for_group
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec
from tests.kafka.test_view import viewer
from tests.view.browser.chromium import chromium, eventually, watched_page
from tests.view.browser.crew import PLACES, produce, write_pipeline

pytestmark = pytest.mark.kafka

FPS = 5.0
FRAMES = 60
WARM = 5  # first frames of each camera: the worker loads its kernels, the page builds its tiles
# When the page has drawn an event: its figures and boxes are set, and the frame of the screen with them is out.
DRAWN = """
window.drawn = [];
new MutationObserver((changes) => {
  const seen = changes.map(({target}) => [target.dataset.camera, Number(target.dataset.sequence)]);
  requestAnimationFrame(() => setTimeout(() => window.drawn.push(...seen.map((one) => [...one, Date.now()]))));
}).observe(document, {subtree: true, attributes: true, attributeFilter: ['data-sequence']});
"""


def emitted_ms(url: str) -> dict[tuple[str, int], float]:
    """When each frame's event was emitted, by camera and sequence number."""
    found = {}
    for camera in PLACES:
        with urllib.request.urlopen(f"{url}api/events?camera={camera}&type=frame&limit=500", timeout=20) as answer:  # noqa: S310 - our own server
            for event in json.load(answer)["events"]:
                found[camera, event["sequence"]] = event["emitted_ms"]
    return found


def check_past_and_pixels(page: Page) -> None:
    """What the log still has, asked by the page."""
    page.locator("#filters [name=type]").select_option("frame")
    page.locator("#feed button").nth(5).click()
    image = page.locator("#event-dialog img")
    image.wait_for(timeout=20_000)
    assert image.evaluate("(image) => image.naturalWidth") >= 480
    expect(page.locator(".event-facts")).to_contain_text("Partition")
    page.get_by_role("button", name="Go to this moment").click()
    for camera in PLACES:
        page.locator(f'.tile[data-camera="{camera}"] .tile-stamp:not(:empty)').wait_for(timeout=20_000)
        assert page.locator(f'.tile[data-camera="{camera}"][data-frame]').count() == 1


@pytest.mark.alone
def test_events_of_four_cameras_are_drawn_within_300_ms(topics_ready: Callable[..., Settings], tmp_path: Path) -> None:
    settings = topics_ready(preview_per_s=5)
    pipeline = write_pipeline(tmp_path)
    producing = threading.Thread(
        target=produce, args=(settings, pipeline), kwargs={"fps": FPS, "width": 480, "frames": FRAMES}
    )
    with (
        Workers(settings, [WorkerSpec(pipeline=pipeline)], folder=tmp_path / "workers") as workers,
        viewer(settings, "--pipeline", pipeline) as (_process, url),
        chromium() as browser,
        watched_page(browser, viewport={"width": 1440, "height": 900}) as (page, _console),
    ):
        wait_for_group(settings, members=1, timeout_s=60, check=workers.check)
        page.add_init_script(DRAWN)
        page.goto(url)
        page.locator("#link[data-kind=ok]").wait_for(timeout=20_000)
        expect(page.locator("#empty-title")).to_have_text("No camera yet")
        producing.start()
        last = [f'.tile[data-camera="{camera}"][data-sequence="{FRAMES - 1}"]' for camera in PLACES]
        eventually(page, lambda: all(page.locator(one).count() for one in last), "all frames", within_s=60)
        producing.join()
        told = emitted_ms(url)
        drawn = page.evaluate("window.drawn")
        ages = np.array([at_ms - told[camera, sequence] for camera, sequence, at_ms in drawn if sequence >= WARM])
        print(f"{len(ages)} events drawn, p50 {np.quantile(ages, 0.5):.0f} ms, p95 {np.quantile(ages, 0.95):.0f} ms")
        assert {camera for camera, _, _ in drawn} == set(PLACES)
        assert len(ages) >= 100
        assert np.quantile(ages, 0.95) < 300
        check_past_and_pixels(page)
