"""What the overview says first is green in health, and not when those who would tell are gone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.grafana import FIXED, GREEN, Panel, as_json
from dashboards.make import DASHBOARDS
from dashboards.overview import NOW, OVERVIEW
from dashboards.rules import FILE
from tests.dashboards.asking import filled
from tests.dashboards.rule_series import (
    AGGREGATE,
    ENDED,
    EXPIRED,
    EXTRACT,
    HEALTHY,
    OPEN,
    PRODUCER,
    PUBLISHED,
    SINK,
    STEPS,
    vanished,
)

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

QUIET = {"Alerts"}
"""They say that something is wrong, when others say nothing."""
GONE: Mapping[str, set[str]] = {
    PRODUCER: {"Cameras online", "Cameras blind", "Never sent, last hour"},
    EXTRACT: {"Frames behind", "Dead letters, last hour"},
    AGGREGATE: {
        *("Frames behind", "Capture to event, p95", "Never ended, last hour"),
        *("Not complete, last hour", "Dead letters, last hour"),
    },
}
"""Numbers that a process tells, or that nobody else makes up for."""


def green(panel: Panel) -> str:
    """A query that has a series if the panel is green."""
    steps = list(panel.thresholds)
    assert steps[0][1] != GREEN, "without a value a panel has its first colour"
    (at,) = (number for number, (_, colour) in enumerate(steps) if colour == GREEN)
    (query,) = panel.queries
    below = f" < {steps[at + 1][0]}" if at + 1 < len(steps) else ""
    return f"count(({filled(query.expr, rate='1m', span='10m')}) >= {steps[at][0]}{below}) > bool 0"


def asked(changes: Mapping[str, str], greens: Mapping[str, bool], folder: Path) -> None:
    """Ask each panel at its tenth minute."""
    panels = {panel.title: panel for panel in NOW.panels}
    test: dict[str, Any] = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in {**HEALTHY, **changes}.items()],
        "promql_expr_test": [
            {
                "expr": green(panels[title]),
                "eval_time": "12m",
                "exp_samples": [{"labels": "{}", "value": 1}] if is_green else [],
            }
            for title, is_green in greens.items()
        ],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(FILE)], "evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_is_green_in_health(tmp_path: Path) -> None:
    asked({}, {panel.title: True for panel in NOW.panels}, tmp_path)


@pytest.mark.parametrize("one", GONE, ids=["ingest", "extract", "aggregate"])
def test_nothing_is_green_whose_process_is_gone(one: str, tmp_path: Path) -> None:
    asked(vanished(one, 20), dict.fromkeys((*GONE[one], *QUIET), False), tmp_path)


def test_nothing_is_green_when_all_are_gone(tmp_path: Path) -> None:
    gone = {name: values for one in (PRODUCER, EXTRACT, AGGREGATE, SINK) for name, values in vanished(one, 20).items()}
    asked(gone, {panel.title: False for panel in NOW.panels}, tmp_path)


def test_frames_that_never_ended_and_that_expired_are_told(tmp_path: Path) -> None:
    lost = {PUBLISHED: "0+150x20 3000x180", ENDED: "0+150x19 2995x180", OPEN: f"0x{STEPS}", EXPIRED: "0x8 1x192"}
    greens = {"Never ended, last hour": False, "Not complete, last hour": False, "Never sent, last hour": True}
    asked(lost, greens, tmp_path)


def test_no_single_number_is_green_without_a_value() -> None:
    for page in DASHBOARDS:
        for panel in (panel for row in page.rows for panel in row.panels if panel.kind == "stat"):
            assert panel.thresholds[0][1] != GREEN, panel.title


def test_outcomes_have_one_colour_each() -> None:
    (panel,) = (one for one in as_json(OVERVIEW)["panels"] if one["title"] == "Published, and ended by outcome")
    colours = {
        one["matcher"]["options"]: one["properties"][0]["value"]["fixedColor"]
        for one in panel["fieldConfig"]["overrides"]
    }
    assert colours["/(^| )complete$/"] == colours["/(^| )merged$/"] == GREEN
    assert len(colours) == len(FIXED)
