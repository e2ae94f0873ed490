"""Metrics: Prometheus' naming, bounded labels, and an exporter that says when its port is taken."""

from __future__ import annotations

import re
import urllib.request

import pytest

from streamproc.errors import SettingError
from streamproc.exporter import Exporter
from streamproc.metrics import MAX_CAMERAS, Metrics


def test_names_follow_the_conventions() -> None:
    for family in Metrics().registry.collect():
        assert re.fullmatch(r"streamproc_[a-z_]+", family.name)
        assert not family.name.endswith(("_ms", "_count", "_total"))
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        assert family.documentation


def test_each_metric_is_defined_with_what_to_do_when_it_moves() -> None:
    metrics = Metrics()
    families = {one.name + ("_total" if one.type == "counter" else ""): one for one in metrics.registry.collect()}
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


def test_labels_are_of_closed_sets() -> None:
    """Frames, runs, tiles, offsets and texts of errors would make as many series as there are of them."""
    labels = {label for one in Metrics().definitions for label in one.labels}
    assert labels == {
        *("camera", "reason", "stage", "ending", "outcome", "step", "kind", "what", "topic", "buffer", "version"),
    }


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
