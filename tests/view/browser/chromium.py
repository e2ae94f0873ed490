"""Chromium for tests: Debian's, driven by Playwright; whatever a page's console complains of fails its test."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Counts what must be given back: decoded pictures and object URLs.
_COUNTING: Final = """
window.held = {bitmaps: 0, most: 0, urls: 0};
const make = window.createImageBitmap.bind(window);
window.createImageBitmap = async (...given) => {
  const bitmap = await make(...given);
  held.bitmaps += 1;
  held.most = Math.max(held.most, held.bitmaps);
  const close = bitmap.close.bind(bitmap);
  bitmap.close = () => { held.bitmaps -= 1; close(); };
  return bitmap;
};
const url = URL.createObjectURL.bind(URL), revoke = URL.revokeObjectURL.bind(URL);
URL.createObjectURL = (blob) => { held.urls += 1; return url(blob); };
URL.revokeObjectURL = (text) => { held.urls -= 1; revoke(text); };
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; skips where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Console:
    """What a page complained of; `expected` are patterns of what a test provokes."""

    told: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Fail if there is anything that no test provoked."""
        found = [line for line in self.told if not any(re.search(pattern, line) for pattern in self.expected)]
        assert found == []


@contextmanager
def watched_page(browser: Browser, **options: Any) -> Iterator[tuple[Page, Console]]:
    """A page in a context of its own, whose console is held against it at the end."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(8000)
    context.add_init_script(_COUNTING)
    page, console = context.new_page(), Console()

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            console.told.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: console.told.append(f"uncaught: {error}"))
    try:
        yield page, console
    finally:
        context.close()
    console.check()


def eventually(page: Page, true: Callable[[], bool], what: str, *, within_s: float = 20.0) -> None:
    """Let the page go on until it is true."""
    for _ in range(int(within_s / 0.04)):
        if true():
            return
        page.wait_for_timeout(40)
    raise AssertionError(f"not within {within_s:g} s: {what}")
