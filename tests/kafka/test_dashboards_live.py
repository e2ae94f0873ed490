"""Every query of every panel, run by a real Prometheus that scrapes a real running pipeline; and the books balance."""

from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.grafana import as_json
from dashboards.make import DASHBOARDS
from streamproc.exporter import Sample, read_counters
from streamproc.provision import create_topics
from streamproc.settings import load_settings
from streamproc.topics import Topics
from tests.dashboards.asking import filled
from tests.dashboards.live_system import PROCESSES, LiveSystem, live_system
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed (apt: prometheus)"),
]

PAGES = [as_json(one) for one in DASHBOARDS]
REPLAYED = 48  # eight seconds: rates need samples, also where the machine is busy


@pytest.fixture(scope="module")
def system(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSystem]:
    """Everything has happened once: frames, a replay, a rerun, a camera lost, a dead letter; all is quiet again."""
    settings = load_settings(bootstrap=bootstrap, prefix=f"t-{secrets.token_hex(4)}.", partitions=4)
    create_topics(settings)
    with live_system(settings, tmp_path_factory.mktemp("live")) as running:
        _until(running, "count(streamproc_frames_published_total > 5) == 4", "four cameras publish")
        _until(
            running, 'min(streamproc_frames_total{camera=~"gate|yard", outcome="complete"}) > 50', "frames are complete"
        )
        running.spoil()
        running.make_dark()
        with running.rerunning("again"):
            running.replay(limit=REPLAYED)
        running.stop_producers()
        running.check()
        wait_until(lambda: not _missing(running), "each frame has its outcome", timeout_s=30)
        time.sleep(2)  # two scrapes
        yield running


def _until(system: LiveSystem, expr: str, what: str) -> None:
    system.check()
    wait_until(lambda: bool(system.asked.ask("query", query=expr)["result"]), what, timeout_s=60)


def _counters(system: LiveSystem) -> list[Sample]:
    """Of all processes that run."""
    ended = {"replay", "rerun"}
    return [
        sample
        for name, port in system.ports.items()
        if name not in ended
        for sample in read_counters(f"http://127.0.0.1:{port}")
    ]


def _sum(samples: list[Sample], name: str, **labels: str) -> int:
    return sum(int(one.value) for one in samples if one.name == name and labels.items() <= one.labels.items())


def _missing(system: LiveSystem) -> int:
    samples = _counters(system)
    replayed = sum(int(one["frames"]) for one in system.replayed)
    sent = _sum(samples, "streamproc_frames_published_total") + replayed
    return sent - _sum(samples, "streamproc_frames_total")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
@pytest.mark.parametrize("camera", [".*", "gate|dock"])
def test_every_query_of_every_panel_returns_data(system: LiveSystem, page: dict[str, Any], camera: str) -> None:
    empty = []
    end_s = time.time()
    for panel in page["panels"]:
        for query in panel.get("targets", ()):
            expr = filled(query["expr"], rate="8s", span="60s", camera=camera, instance=".*")
            if not system.asked.range(expr, start_s=system.begun_s, end_s=end_s, step_s=1):
                empty.append(f"{panel['title']}: {expr}")
    assert not empty, "\n".join(empty)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_each_variable_has_the_values_that_there_are(system: LiveSystem, page: dict[str, Any]) -> None:
    found = {
        one["name"]: set(system.asked.variable(one["query"]["query"]))
        for one in page["templating"]["list"]
        if one["type"] == "query"
    }
    there = {"camera": {"gate", "yard", "dock", "door"}, "instance": set(PROCESSES)}
    assert found == {name: there[name] for name in found}


def test_what_the_overview_says_first_is_true(system: LiveSystem) -> None:
    """Both live cameras are dark, one record was no tile, no frame was lost."""
    overview = next(page for page in PAGES if page["uid"] == "streamproc-overview")
    told = {
        panel["title"]: system.asked.value(filled(panel["targets"][0]["expr"], rate="8s", span="60s"))
        for panel in overview["panels"]
        if panel["type"] == "stat"
    }
    assert (told["Cameras online"], told["Cameras blind"]) == (0, 2)
    assert told["Not complete, last hour"] == told["Never sent, last hour"] == 0
    dead = told["Dead letters, last hour"]
    assert dead is not None
    assert 0.9 < dead < 2
    worst = next(panel for panel in overview["panels"] if panel["title"].startswith("Which camera is blind"))
    series = system.asked.ask("query", query=worst["targets"][0]["expr"])["result"]
    assert [one["metric"]["camera"] for one in series] == ["dock", "door"]  # the oldest first
    assert float(series[0]["value"][1]) > float(series[1]["value"][1]) > 1


def test_frames_and_tiles_of_a_real_run_balance(system: LiveSystem) -> None:
    samples = _counters(system)
    replayed = Counter[str]()
    for one in system.replayed:
        replayed.update(frames=one["frames"], tiles=one["tiles_acked"])
    frames, tiles = (_sum(samples, f"streamproc_{what}_published_total") for what in ("frames", "tiles"))
    assert frames > 60
    assert frames + replayed["frames"] == _sum(samples, "streamproc_frames_total")
    assert _sum(samples, "streamproc_frames_total", outcome="complete") == frames + replayed["frames"]
    assert tiles + replayed["tiles"] == _sum(samples, "streamproc_tiles_total")
    assert _sum(samples, "streamproc_tiles_total", outcome="merged") == tiles + replayed["tiles"]
    assert _sum(samples, "streamproc_deadletters_total") == 1
    assert _sum(samples, "streamproc_tiles_extracted_total") == tiles + replayed["tiles"] + 1


def test_a_replay_and_a_rerun_told_how_far_they_were(system: LiveSystem) -> None:
    def most(expr: str) -> float | None:
        return system.asked.value(f"max(max_over_time({expr}[5m]))")

    sent = most('streamproc_replay_frames_total{source="log",target="same"}')
    assert sent is not None
    assert 20 < sent <= REPLAYED
    assert (most("streamproc_rerun_frames_begun_total") or 0) > 10
    behind = most("streamproc_replay_behind_seconds")
    assert behind is not None
    assert behind < 5


def test_each_hop_of_a_frame_is_timed_and_the_hops_add_up(system: LiveSystem) -> None:
    hops = {
        stage: system.asked.value(f'sum(streamproc_stage_seconds_sum{{stage="{stage}"}})')
        for stage in ("publish", "wait", "extract", "gather", "assemble", "deliver")
    }
    assert all(hops.values()), hops
    total = system.asked.value("sum(streamproc_event_latency_seconds_sum)")
    assert total == pytest.approx(sum(value or 0 for value in hops.values()) - (hops["deliver"] or 0), rel=0.01)


def test_buffers_of_all_kinds_stay_below_their_bounds(system: LiveSystem) -> None:
    shares = system.asked.range(
        "streamproc_buffer_bytes / streamproc_buffer_limit_bytes",
        start_s=system.begun_s,
        end_s=time.time(),
        step_s=1,
    )
    assert {one.labels["buffer"] for one in shares} == {
        "producer",
        "streams",
        "events",
        "references",
        "archive",
        "sink",
    }
    assert all(0 <= value <= 1 for one in shares for _, value in one.points)


def test_topics_of_lag_are_named_as_they_are(system: LiveSystem) -> None:
    topics = Topics(system.settings.prefix)
    found = set(system.asked.variable("label_values(streamproc_consumer_lag_records, topic)"))
    assert found == {topics.tiles, topics.features, topics.events}
