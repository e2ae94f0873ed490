"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamproc.settings import Settings
from tests.docs.links import leading_out, pages, wrong
from tests.metrics_page import metrics_page

ROOT = Path(__file__).parent.parent
PAGES = pages()


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| `STREAMPROC_{name.upper()}`")), None)
        assert row is not None, name
        assert field.description
        assert field.description in row
        assert field.default in (None, "") or f"`{field.default}`" in row, name
    for name in re.findall(r"`STREAMPROC_([A-Z_]+)`", page):
        assert name.lower() in {*Settings.model_fields, "settings", "test_broker"}, name


def test_the_page_of_metrics_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(wrong(page)) == []


def test_decisions_have_their_number_in_the_heading() -> None:
    for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        assert re.match(rf"# {page.name[:4]}: [A-Z]", page.read_text()), page.name


def test_wrong_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "# One, *two*\n## Same\n## Same\n[x](#one-two) [x](#same-1) [x](b.md) [x](#gone) [x](http://example.org/)\n"
        "[x](https://user:secret@example.org/) [x](https://example.org/) `[x](c.md)`\n```\n[x](d.md)\n```\n"
    )
    assert [told.split(": ")[0] for told in wrong(page)] == [
        "b.md",
        "#gone",
        "http://example.org/",
        "https://user:secret@example.org/",
    ]


def test_links_that_lead_out_are_listed() -> None:
    assert ("docs/reference/events.md", "https://github.com/cloudevents/spec") in leading_out()


def test_the_project_speaks_of_itself_alone() -> None:
    forbidden = re.compile(
        r"(^|[^A-Za-z0-9_.])/(work|root|opt(?!/(streamproc|build|kafka)\b))/"  # those are of images
        r"|pypi\.org|pythonhosted|maven\.org|npmjs",
        re.MULTILINE,
    )
    kinds = {".py", ".js", ".css", ".html", ".yaml", ".yml", ".json", ".toml", ".md", ""}
    folders = ("streamproc", "producers", "compose", "dashboards", "tests")
    within = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    read = [path for path in within if path.suffix in kinds and path != Path(__file__)]
    read += [*PAGES, *ROOT.glob("*.toml"), ROOT / "Makefile"]
    assert {path.suffix for path in read} == kinds
    for path in read:
        found = forbidden.search(path.read_text())
        assert found is None, f"{path.relative_to(ROOT)} says {found[0]!r}"
