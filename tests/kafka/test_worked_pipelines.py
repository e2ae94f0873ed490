"""Two of the worked pipelines through `streamproc demo`: what their page claims stands in the events and the report."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli import streamproc
from tests.event_schema import check_event
from tests.report.reading import Page, read

pytestmark = pytest.mark.kafka

FOLDER = Path(__file__).parents[2] / "docs" / "pipelines"


def shown(bootstrap: str, out: Path, name: str, *options: str | Path) -> tuple[list[dict[str, Any]], Page]:
    """The events and the report of a demo of `docs/pipelines/NAME.toml`."""
    done = streamproc(
        *("demo", "--pipeline", FOLDER / f"{name}.toml", "--out", out, "--workers", "1", *options),
        *("--bootstrap", bootstrap),
        STREAMPROC_PREFIX=f"t-{secrets.token_hex(4)}.",
    )
    assert done.code == 0, done.err
    events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    for event in events:
        check_event(event)
    return events, read((out / "report.html").read_text(encoding="utf-8"))


def test_the_astronaut_is_told_of_by_name(bootstrap: str, tmp_path: Path) -> None:
    events, page = shown(bootstrap, tmp_path / "out", "faces", "--frames", "31")
    frames = {event["data"]["sequence"]: event["data"] for event in events if event["type"].endswith("frame.v1")}
    assert len(frames) == 31
    for number in range(0, 31, 5):
        (face,) = frames[number]["objects"]
        assert (face["label"], face["source"]) == ("astronaut", "seen" if number else "who")
    (came,) = [event["data"] for event in events if event["data"].get("what") == "new"]
    assert (came["sequence"], came["step"], came["data"]["label"]) == (5, "seen", "astronaut")
    assert "astronaut is seen, track 0-0" in page.text
    assert "Frame 5" in page.text


def test_sheets_of_digits_are_read(bootstrap: str, tmp_path: Path) -> None:
    events, page = shown(bootstrap, tmp_path / "out", "digits", "--source", FOLDER / "digits", "--codec", "png")
    read_digits = Counter(one["label"] for event in events for one in event["data"]["objects"])
    assert set(read_digits) == set("0123456789")
    assert read_digits.total() == 79
    assert "79" in [value.text for value in page.all("span", "value")]
    assert "Edges" not in [heading.text for heading in page.all("b")]
    assert len(page.all("article")) == 4
