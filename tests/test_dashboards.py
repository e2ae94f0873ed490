"""Dashboards ask for metrics and labels that there are, say what to do, and are what their source says."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.grafana import OVERVIEW_UID
from dashboards.make import DASHBOARDS, FOLDER, files
from dashboards.prometheus import Record
from dashboards.rules import rules
from streamproc.metric_types import Definition
from streamproc.metrics import Metrics

DEFINED = {one.name: one for one in Metrics().definitions}
UNITS = {"short", "s", "bytes", "Bps", "percentunit", "suffix: /s"}
SCRAPED = {"instance", "job", "le", "alertname", "alertstate"}
RECORDED = {one.name for group in rules() for one in group.rules if isinstance(one, Record)}
OF_THE_SYSTEM = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
PAGES = [json.loads(text) for text in files().values()]


def panels(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in page["panels"] if panel["type"] != "row")


def definition(series: str) -> Definition | None:
    """Of the metric that a series belongs to."""
    for suffix in ("", "_bucket", "_sum", "_count"):
        name = series.removesuffix(suffix)
        if name in DEFINED and (not suffix or DEFINED[name].kind == "histogram"):
            return DEFINED[name]
    return None


def test_the_files_are_what_their_source_says() -> None:
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == files()


def test_every_metric_is_on_some_dashboard() -> None:
    asked = " ".join(query["expr"] for page in PAGES for panel in panels(page) for query in panel["targets"])
    missing = {name for name in DEFINED if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", asked)}
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_each_query_asks_for_metrics_and_labels_that_there_are(page: dict[str, Any]) -> None:
    for panel in panels(page):
        for query in panel["targets"]:
            expr = query["expr"]
            recorded = re.findall(r"[a-z_]+:streamproc_[a-z_]+:[a-z0-9_]+", expr)
            assert set(recorded) <= RECORDED
            found = [definition(series) for series in re.findall(r"(?<![:\w])streamproc_[a-z_]+", expr)]
            assert set(re.findall(r"process_[a-z_]+", re.sub(r"streamproc_[a-z_]+", "", expr))) <= OF_THE_SYSTEM
            assert found or recorded, expr
            assert None not in found, expr
            labels = SCRAPED.union(*({label.name for label in one.labels} for one in found if one is not None))
            labels |= {label for series in recorded for label in series.split(":")[0].split("_")}
            selected = set(re.findall(r"([a-z_]+)(?:=~|!=|!~|=)\"", expr))
            grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", expr) for name in names.split(",")}
            shown = set(re.findall(r"{{([a-z_]+)}}", query["legendFormat"]))
            assert selected | grouped | shown <= labels, expr
            if grouped:
                assert shown <= grouped, expr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_a_counter_is_never_shown_as_it_stands(page: dict[str, Any]) -> None:
    for panel in panels(page):
        for query in panel["targets"]:
            values = re.sub(r" and on \([a-z, ]+\) \w+", "", query["expr"])  # which series, not what they say
            for series in re.findall(r"(?:streamproc|process)_[a-z_]+_total", values):
                assert re.search(rf"(rate|increase|last_over_time)\({series}", values), query["expr"]
                if "last_over_time" in values:  # compared with what it was, see `grown`
                    assert len(re.findall(rf"{series}(?:{{[^}}]*}})? offset", values)) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_panels_say_what_they_show_and_lie_side_by_side(page: dict[str, Any]) -> None:
    assert page["description"].endswith(".")
    variables = {one["name"] for one in page["templating"]["list"]}
    uids = {one.uid for one in DASHBOARDS}
    seen = [panel["id"] for panel in page["panels"]]
    assert len(set(seen)) == len(seen)
    for panel in panels(page):
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        used = set(re.findall(r"\$(?!__)([a-z]+)", json.dumps(panel["targets"]).replace("${datasource}", "")))
        assert used <= variables
        for link in panel["links"]:
            assert re.fullmatch(r"/d/([a-z-]+)\?.*", link["url"])
            assert link["url"][3:].split("?")[0] in uids
    places = [panel["gridPos"] for panel in page["panels"]]
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_every_page_leads_to_the_others_and_back_to_the_overview(page: dict[str, Any]) -> None:
    assert page["links"][-1]["tags"] == page["tags"]
    back = [link["url"] for link in page["links"] if link["type"] == "link"]
    assert back == ([] if page["uid"] == OVERVIEW_UID else [f"/d/{OVERVIEW_UID}"])


def test_the_overview_leads_to_every_place_that_it_may_ask_for() -> None:
    overview = next(page for page in PAGES if page["uid"] == OVERVIEW_UID)
    led_to = {link["url"][3:].split("?")[0] for panel in panels(overview) for link in panel["links"]}
    assert led_to == {"streamproc-camera", "streamproc-pipeline", "streamproc-workers"}
    of_camera = [
        link["url"] for panel in panels(overview) for link in panel["fieldConfig"]["defaults"].get("links", ())
    ]
    assert of_camera
    assert all("var-camera=${__field.labels.camera}" in url for url in of_camera)


def test_what_the_overview_answers_first_stands_at_its_top() -> None:
    """Three questions, in what a screen shows without scrolling: 18 rows of the grid are 630 px."""
    overview = next(page for page in PAGES if page["uid"] == OVERVIEW_UID)
    first = [panel["title"] for panel in panels(overview) if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= 18]
    assert {"Alerts", "Processes that answer", "Cameras blind", "Frames behind"} <= set(first)
    assert {"Never ended, last hour", "Not complete, last hour", "Dead letters, last hour"} <= set(first)
    assert any("Which camera is blind" in title for title in first)
    assert any("Where frames wait" in title for title in first)
    assert any("What was lost" in title for title in first)
