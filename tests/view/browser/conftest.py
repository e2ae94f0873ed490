"""One Chromium for the tests of this folder; a stand-in server and a fresh page for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.view.browser.chromium import Console, chromium, watched_page
from tests.view.browser.stand_in import StandIn


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Not for the whole session: while Playwright runs, no other test of this process can run an event loop."""
    with chromium() as started:
        yield started


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A server over two synthetic cameras, which give nothing yet."""
    with StandIn() as server:
        yield server


@pytest.fixture
def opened(browser: Browser) -> Iterator[tuple[Page, Console]]:
    """A page, and what its console says: at the end nothing but what the test expected."""
    with watched_page(browser) as both:
        yield both


@pytest.fixture
def page(opened: tuple[Page, Console]) -> Page:
    """The page alone: its console is to stay silent."""
    return opened[0]
