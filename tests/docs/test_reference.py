"""The pages of `docs/reference/` and the table of settings are what the code gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.errors import LostReason
from tests.docs.reference import PAGES, commands_page, events_page
from tests.docs.vocabulary import members


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_page_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), "write it anew: python -m tests.docs.reference"


def test_every_command_is_there_with_its_options() -> None:
    page = commands_page()
    for command in ("demo", "topics create", "archive run", "bench", "bench operators", "deadletters redrive"):
        assert f"\n## streamproc {command}\n" in page
    assert "| `--drop` | text | `block` |" in page
    assert "| `--camera` | text | required | Name of the camera. |" in page


def test_fields_of_events_are_there_with_what_they_are() -> None:
    page = events_page()
    assert "| `coverage` | number 0..1 | Share of the frame's area that results stand for. |" in page
    assert "| `objects[].box` | array of number | x1, y1, x2, y2. |" in page
    assert "| `clock` | *`wall`, `pts`, `rtcp`* |" in page


def test_words_of_a_union_are_told_once_each() -> None:
    assert members(LostReason | LostReason)[:2] == ["refused", "unauthorized"]
