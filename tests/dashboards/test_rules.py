"""Rules: metrics and labels that there are, a runbook for each alert, and what they say of recorded series."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.prometheus import REAL, Alert, Record, Timing, duration
from dashboards.recording import COUNTED
from dashboards.rules import FILE, rules, text
from streamproc.metrics import Metrics
from streamproc.model import OUTCOMES
from tests.dashboards import rule_cases
from tests.dashboards.rule_cases import CASES, TEST_FILE
from tests.dashboards.rule_series import Case

RUNBOOK = Path(__file__).parents[2] / "docs" / "alerts.md"
DEFINED = {one.name: one for one in Metrics().definitions}
PROMETHEUS_ITSELF = {"job", "instance", "le", "alertname", "alertstate"}
ALERTS = [rule for group in rules() for rule in group.rules if isinstance(rule, Alert)]
RECORDS = [rule for group in rules() for rule in group.rules if isinstance(rule, Record)]
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def asked(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Metrics of ours in an expression, each with the labels it is selected by."""
    for name, _, selectors in re.findall(r"(?<![:\w])(streamproc_[a-z_]+)(\{([^}]*)\})?", expr):
        yield name, set(re.findall(r"([a-z_]+)(?:=~|!=|!~|=)", selectors))


def labels_of(series: str) -> set[str]:
    """Labels of a metric, or of the histogram that a series is part of."""
    for suffix in ("", "_bucket", "_sum", "_count"):
        found = DEFINED.get(series.removesuffix(suffix))
        if found is not None and (not suffix or found.kind == "histogram"):
            return {label.name for label in found.labels}
    raise AssertionError(f"there is no metric {series}")


def test_the_files_are_what_their_source_says() -> None:
    assert FILE.read_text() == text()
    assert TEST_FILE.read_text() == rule_cases.text()


@pytest.mark.parametrize("rule", [*RECORDS, *ALERTS], ids=lambda rule: rule.name)
def test_rules_ask_for_metrics_and_labels_that_there_are(rule: Record | Alert) -> None:
    recorded = {one.name for one in RECORDS}
    known = set(PROMETHEUS_ITSELF)
    for name, selected in asked(rule.expr):
        labels = labels_of(name)
        assert selected <= labels | PROMETHEUS_ITSELF, (name, selected)
        known |= labels
    for name in re.findall(r"[a-z_]+:streamproc_[a-z_]+:[a-z0-9_]+", rule.expr):
        assert name in recorded, name
        known |= set(name.split(":")[0].split("_"))
    grouped = {
        label.strip() for names in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule.expr) for label in names.split(",")
    }
    assert grouped - {""} <= known


@pytest.mark.parametrize("metric", COUNTED)
def test_what_is_counted_is_a_counter_with_those_labels(metric: str) -> None:
    found = DEFINED[f"streamproc_{metric}_total"]
    assert found.kind == "counter"
    assert set(COUNTED[metric]) <= {label.name for label in found.labels}


def test_recorded_names_are_level_metric_operation() -> None:
    for one in RECORDS:
        assert re.fullmatch(r"[a-z_]+:streamproc_[a-z_]+:[a-z0-9_]+", one.name), one.name


def test_each_alert_says_what_happened_to_what_and_what_to_do() -> None:
    sections = RUNBOOK.read_text(encoding="utf-8")
    for alert in ALERTS:
        made = alert.as_yaml()
        assert made["labels"]["severity"] in {"critical", "warning"}
        assert re.fullmatch(r"Streamproc[A-Za-z]+", alert.name)
        assert "\n" not in alert.summary + alert.description
        assert alert.description.endswith("."), alert.name
        assert len(alert.description) > 60, alert.name
        page, _, anchor = made["annotations"]["runbook_url"].partition("#")
        assert page == "docs/alerts.md"
        assert f"\n## {alert.name}\n" in sections, f"{page} says nothing of {alert.name}"
        assert anchor == alert.name.lower()


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    sections = re.findall(r"^## (Streamproc\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == list(dict.fromkeys(alert.name for alert in ALERTS))


def test_each_outcome_but_complete_is_told_once_and_only_frames_that_are_lost_call_somebody_up() -> None:
    told: dict[str, list[str]] = {one: [] for one in OUTCOMES}
    for alert in ALERTS:
        if alert.name == "StreamprocFramesIncomplete":
            ((how, what),) = re.findall(r'outcome(=|!~)"([^"]+)"', alert.expr)
            for one in OUTCOMES:
                told[one] += [alert.severity] * ((re.fullmatch(what, one) is not None) == (how == "="))
    assert told == {"complete": [], "partial": ["warning"], "rejected": ["warning"], "expired": ["critical"]}


def test_templates_name_labels_that_the_alert_has() -> None:
    """A label that is not there is shown as nothing: `camera  is blind`."""
    for alert in ALERTS:
        shown = set(re.findall(r"\$labels\.([a-z_]+)", alert.summary + alert.description))
        known = {"job", "instance"}
        for name, _ in asked(alert.expr):
            known |= labels_of(name)
        for level in re.findall(r"([a-z_]+):streamproc_", alert.expr):
            known |= set(level.split("_"))
        assert shown <= known, alert.name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(15, "15s"), (90, "90s"), (60, "1m"), (900, "15m"), (1020, "17m"), (21_600, "6h"), (0.2, "1s")],
)
def test_lengths_of_time_are_as_prometheus_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shorter_windows_leave_the_expressions_as_they_are() -> None:
    short = text(Timing(interval_s=1, settle_s=8, balance_s=25, scale=1 / 120))

    def shape(of: str) -> str:
        return re.sub(r"\d+(\.\d+)?[smhd]?\b", "N", of)

    assert shape(short).splitlines()[2:] == shape(text()).splitlines()[2:]
    assert short != text()


def test_a_frame_has_settled_when_its_deadline_is_over() -> None:
    from streamproc.settings import load_settings

    settings = load_settings()
    assert REAL.settle_s >= settings.frame_deadline_s + settings.session_timeout_s + 2 * REAL.interval_s


def test_windows_hold_four_samples() -> None:
    assert Timing(interval_s=15, scale=0.001).window(300) == "1m"


@promtool
def test_promtool_finds_nothing_wrong() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    count: list[dict[str, Any]] = [
        rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
    ]
    assert f"{len(count)} rules found" in done.stdout


@promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_alerts_fire_and_stay_silent(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "test.yml"
    file.write_text(rule_cases.as_test((case,), file=str(FILE)))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_in_some_case() -> None:
    fired = {name for case in CASES for names in case.alerts.values() for name in names if not name.endswith("*")}
    assert fired == {alert.name for alert in ALERTS}
