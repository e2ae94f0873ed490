"""The site builds without a warning, leads nowhere into the void, asks no other host, and can be used by everyone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # ships no types
from playwright.sync_api import Browser

from tests.docs.built import broken, foreign, is_foreign, read
from tests.docs.site import ACCESS, NAVIGATION, accessible, relinked
from tests.view.browser.chromium import chromium, watched_page

ROOT = Path(__file__).parent.parent.parent
SHOWN = (
    "index.html",
    "getting-started.html",
    "concepts.html",
    "faq.html",
    "metrics.html",
    "reference/commands.html",
    "search.html",
)
WIDE, NARROW = 1280, 390
CUT_OFF = """
() => [...document.querySelectorAll(".flowchart")].some(chart => chart.scrollWidth > chart.clientWidth)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-d", str(folder / "doctrees")]
    done = subprocess.run(
        [*words, "docs", folder / "html"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def test_every_page_of_the_navigation_is_there(site: Path) -> None:
    for pages in NAVIGATION.values():
        for page in pages:
            assert (site / f"{page}.html").is_file(), page


def test_links_inside_the_site_lead_somewhere(site: Path) -> None:
    assert list(broken(site)) == []


def test_nothing_is_asked_of_another_host(site: Path) -> None:
    assert list(foreign(site)) == []


def test_flowcharts_are_pictures(site: Path) -> None:
    for name in ("index.html", "architecture.html", "concepts.html"):
        text = (site / name).read_text()
        assert text.count("<svg xmlns") >= 1, name
        assert "flowchart LR" not in text, name


def test_what_would_be_asked_of_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="https://fonts.example/x.css"><script src="//cdn.example/m.js"></script>'
        '<style>a{b:url(https://x.example/p.png)}</style><a href="https://z.example/">x</a><img src="p.png">'
    )
    (tmp_path / "a.css").write_text('@import "https://y.example/z.css";')
    assert len(list(foreign(tmp_path))) == 4


def test_links_into_the_void_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here">x</a><a href="b.html#gone">x</a><a href="c.html">x</a>')
    (tmp_path / "b.html").write_text('<p id="here">')
    assert len(list(broken(tmp_path))) == 2
    assert read(tmp_path / "b.html").anchors == {"here"}


@pytest.mark.parametrize(
    ("text", "folder", "base", "wanted"),
    [
        ("[a](../CHANGELOG.md)", "", "docs", "[a](changelog.md)"),
        ("[a](../../CHANGELOG.md#x)", "reference", "docs/reference", "[a](../changelog.md#x)"),
        ("[a](docs/faq.md)", "", "", "[a](faq.md)"),
        ("[a](docs/decisions/)", "", "", "[a](decisions/README.md)"),
        ("[a](https://example.org/CHANGELOG.md)", "", "docs", "[a](https://example.org/CHANGELOG.md)"),
        ("[a](#here)", "", "docs", "[a](#here)"),
    ],
)
def test_links_that_leave_the_folder_are_turned_to_where_the_site_has_it(
    text: str, folder: str, base: str, wanted: str
) -> None:
    assert relinked(text, folder, base=base) == wanted


def test_what_the_theme_leaves_out_is_mended_once() -> None:
    page = "".join(wrong for wrong, _ in ACCESS)
    assert accessible(page) == "".join(right for _, right in ACCESS)
    assert accessible(accessible(page)) == accessible(page)


# --- in a browser -----------------------------------------------------------------------------------------------


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a port of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join(5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: while Playwright runs, no other test of this process can run an event loop."""
    with chromium() as started:
        yield started


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible_at_phone_width_and_ask_nobody_else(browser: Browser, address: str, scheme: str) -> None:
    asked: list[str] = []
    options = {"viewport": {"width": NARROW, "height": 800}, "color_scheme": scheme}
    with watched_page(browser, **options) as (page, _):
        page.on("request", lambda request: asked.append(request.url))
        for name in SHOWN:
            page.goto(address + name)
            assert page.evaluate("document.documentElement.scrollWidth") <= NARROW, name
            found = Axe().run(page)
            assert found.violations_count == 0, f"{name}, {scheme}: {found.generate_report()}"
    assert [url for url in asked if is_foreign(url) and not url.startswith(address)] == []


def test_no_page_scrolls_sideways_and_no_flowchart_is_cut_off(browser: Browser, site: Path) -> None:
    page = browser.new_page(java_script_enabled=False)  # nothing of it changes a width; faster
    names = [path for path in sorted(site.rglob("*.html")) if path.parent.name != "operators"]
    assert len(names) > 50
    for path in names:
        page.set_viewport_size({"width": WIDE, "height": 800})
        page.goto(path.as_uri())  # with its style sheets
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDE, path.name
        assert not page.evaluate(CUT_OFF), path.name
        page.set_viewport_size({"width": NARROW, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW, path.name
    page.close()


def test_search_finds_a_page_without_a_network(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}search.html?q=hysteresis")
    page.wait_for_selector("ul.search li a", timeout=10_000)
    assert "concepts.html" in " ".join(
        link.get_attribute("href") or "" for link in page.query_selector_all("ul.search a")
    )
    page.close()
