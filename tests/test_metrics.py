"""Metrics: Prometheus' naming, bounded labels, and an exporter that says when its port is taken."""

from __future__ import annotations

import math
import re
import urllib.request
from typing import get_args

import pytest
from prometheus_client import Metric

from producers.deliveries import LOAD, THINNED
from producers.keeping import OfflineReason
from producers.waiting import DROP_POLICIES
from streamproc import metric_types
from streamproc.aggregator.assembly import TileOutcome
from streamproc.decoding.decoder import Ending
from streamproc.errors import SettingError
from streamproc.exporter import Exporter
from streamproc.metric_types import LATENCY_S, OTHER, Capped, Closed
from streamproc.metrics import MAX_CAMERAS, Metrics
from streamproc.sinks.address import Kind


def ours(metrics: Metrics) -> list[Metric]:
    """Without those of the operating system's process."""
    return [family for family in metrics.registry.collect() if not family.name.startswith("process_")]


def test_names_follow_the_conventions() -> None:
    for family in ours(Metrics()):
        assert re.fullmatch(r"streamproc_[a-z_]+", family.name)
        assert not family.name.endswith(("_ms", "_count", "_total", "_percent"))
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
    for one in Metrics().definitions:
        if one.unit:  # Prometheus: the unit is the last word, before _total
            assert one.name.removesuffix("_total").endswith(f"_{one.unit}"), one.name


def test_each_metric_is_defined_with_what_to_do_when_it_moves() -> None:
    metrics = Metrics()
    families = {one.name + ("_total" if one.type == "counter" else ""): one for one in ours(metrics)}
    defined = {one.name: one for one in metrics.definitions}
    assert families.keys() == defined.keys()
    for name, one in defined.items():
        assert (families[name].type, families[name].documentation) == (one.kind, one.meaning)
        assert one.part
        assert re.fullmatch(r"[A-Za-z0-9].*\.", one.moves), name
        assert len(one.moves) > 10, name
        assert "|" not in one.meaning + one.moves
        if one.kind == "histogram":
            assert one.unit == "seconds"


def test_each_label_is_a_closed_set_or_capped() -> None:
    """Frames, runs, tiles, offsets and texts of errors would make as many series as there are of them."""
    for one in Metrics().definitions:
        for label in one.labels:
            assert isinstance(label, Closed | Capped), one.name
            assert label.name not in {"frame", "run", "sequence", "tile", "offset", "detail", "partition"}
        without_cameras = [label for label in one.labels if label.name != "camera"]
        assert math.prod(label.most + 1 for label in without_cameras) <= 150, one.name


@pytest.mark.parametrize("name", [one.name for one in Metrics().definitions if one.labels])
def test_no_metric_grows_beyond_its_bound_whatever_it_is_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.metrics.MAX_CAMERAS", 30)
    metrics = Metrics()
    one = next(one for one in metrics.definitions if one.name == name)
    metric = next(
        value for value in vars(metrics).values() if getattr(value, "_name", "") == name.removesuffix("_total")
    )
    for number in range(100):
        metric.labels(*(f"strange-{number}" for _ in one.labels))
    series = {tuple(sorted(sample.labels.items())) for family in metric.collect() for sample in family.samples}
    buckets = len(LATENCY_S) + 2 if one.kind == "histogram" else 1
    assert len(series) <= buckets * math.prod(label.most + 1 for label in one.labels)
    for number, label in enumerate(one.labels):
        values = {dict(labels)[label.name] for labels in series}
        assert OTHER in values, number
        if isinstance(label, Closed):
            assert values <= {*label.values, OTHER}


def test_closed_sets_are_those_of_the_code() -> None:
    assert metric_types.TILE_OUTCOME.values == get_args(TileOutcome)
    assert set(metric_types.DROPPED.values) == {THINNED, *DROP_POLICIES}
    assert metric_types.SHED.values == (LOAD,)
    offline = {reason for part in get_args(OfflineReason) for reason in (get_args(part) or (part,))}
    assert set(metric_types.LOST.values) == offline - {"finished", "stopped", "removed"}  # nothing is lost by these
    assert metric_types.ENDING.values == get_args(Ending)
    assert metric_types.SINK.values == get_args(Kind)


def test_a_counter_of_a_closed_set_begins_at_0_so_that_its_first_increase_is_seen() -> None:
    metrics = Metrics()
    metrics.deadletters.expect("extract")
    told = metrics.registry.get_sample_value
    assert told("streamproc_deadletters_total", {"stage": "extract", "reason": "decode"}) == 0
    assert told("streamproc_deadletters_total", {"stage": "assemble", "reason": "decode"}) is None
    metrics.frames.labels("gate", "partial").inc()
    assert told("streamproc_frames_total", {"camera": "gate", "outcome": "expired"}) == 0


def test_cameras_beyond_the_bound_share_one_label() -> None:
    metrics = Metrics()
    labels = {metrics.camera(f"cam-{number}") for number in range(3 * MAX_CAMERAS)}
    assert len(labels) == MAX_CAMERAS + 1
    assert metrics.camera("one-more") == "other"
    assert metrics.camera("cam-0") == "cam-0"


def test_the_exporter_serves_this_process_alone_on_loopback() -> None:
    metrics = Metrics()
    metrics.tiles_extracted.inc(3)
    exporter = Exporter(metrics, host="127.0.0.1", port=0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        assert "streamproc_tiles_extracted_total 3.0" in text
        assert "python_info" not in text
        with pytest.raises(SettingError, match=f"{exporter.port}.*--metrics-port"):
            Exporter(metrics, host="127.0.0.1", port=exporter.port)
    finally:
        exporter.close()
