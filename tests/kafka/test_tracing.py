"""Traces through a real broker and real processes, into a collector over HTTP; and a collector that never answers."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from producers.publish import publish
from producers.sources import open_source
from streamproc import wire
from streamproc.demo import EventLog
from streamproc.model import FrameKey, Grid
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.provision import wait_for_group
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.tracing.spans import is_chosen
from tests.cli import streamproc
from tests.collector import Collector, Seen, check_traces
from tests.event_schema import check_event

pytestmark = pytest.mark.kafka

TILES = 4
PRODUCE = ["produce", "synthetic:128x96", "--camera", "gate", "--run", "r1", "--codec", "png", "--grid", "2x2"]
PRODUCE += ["--limit", "60", "--fps", "max", "--json"]
SPANS = TILES + 4  # of a frame: frame, encode, send, each tile, and the aggregator's


def produce(settings: Settings, run: str, frames: int, **changes: Any) -> list[dict[str, Any]]:
    """Publish frames of four tiles and wait for their events, which are checked and returned."""
    with (
        EventLog(settings, camera="gate", run=run) as log,
        open_source("synthetic:128x96", settings) as source,
    ):
        report = publish(
            source,
            settings.model_copy(update=changes),
            camera="gate",
            run=run,
            codec="png",
            grid=Grid(2, 2),
            fps="max",
            limit=frames,
            pipeline_halo=default_pipeline().halo,
            partitions=settings.partitions,
        )
        assert report.frames_published == frames
        assert log.wait_for(frames, timeout_s=60)
        events = log.events()
    assert set(log.seen.values()) == {1}
    for event in events:
        assert event["data"]["outcome"] == "complete"
        check_event({name: value for name, value in event.items() if name != "traceparent"})
    return events


def of_run(spans: list[Seen], run: str, frames: set[int]) -> list[Seen]:
    traces = {wire.trace_id(FrameKey("gate", run, number)) for number in frames}
    return [span for span in spans if span.trace in traces]


def test_each_frame_that_the_producer_chooses_is_one_trace_through_all_processes(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    roles = [WorkerSpec(role="extract"), WorkerSpec(role="extract"), WorkerSpec(role="aggregate")]
    with Collector() as collector:
        settings = topics_ready(traces="otlp", traces_endpoint=collector.url, traces_sample=0.0)
        with Workers(settings, roles, folder=tmp_path):
            wait_for_group(settings, members=len(roles), timeout_s=60, check=lambda: None)
            chosen = {
                "all": (1.0, set(range(6))),
                "some": (0.25, {n for n in range(40) if is_chosen(wire.trace_id(FrameKey("gate", "some", n)), 0.25)}),
                "none": (0.0, set[int]()),
            }
            events = {
                run: produce(settings, run, 6 if run == "all" else 40, traces_sample=chosen[run][0]) for run in chosen
            }
            events["off"] = produce(settings, "off", 6, traces="off")
        # the workers have ended, and sent what they had
        assert 3 < len(chosen["some"][1]) < 20
        for run, (_, frames) in chosen.items():
            found = check_traces(of_run(collector.spans, run, frames), tiles=TILES, prefix=settings.prefix)
            assert {one.attributes["streamproc.sequence"] for one in found.values()} == frames
            assert {one.attributes["streamproc.outcome"] for one in found.values()} <= {"complete"}
            told = {event["data"]["sequence"]: event["traceparent"] for event in events[run] if "traceparent" in event}
            assert told == {
                one.attributes["streamproc.sequence"]: f"00-{one.trace}-{one.id}-01" for one in found.values()
            }
        assert not [event for event in events["off"] if "traceparent" in event]
        assert len(collector.spans) == SPANS * (6 + len(chosen["some"][1]))
        assert Counter(span.service for span in collector.spans) == {
            "streamproc-producer": 3 * len(collector.spans) / SPANS,
            "streamproc-worker": (TILES + 1) * len(collector.spans) / SPANS,
        }


def test_a_collector_that_never_answers_changes_neither_results_nor_how_a_worker_ends(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    with Collector() as collector:
        collector.answers.clear()
        settings = topics_ready(traces="otlp", traces_endpoint=collector.url, traces_sample=1.0)
        with Workers(settings, [WorkerSpec()], folder=tmp_path) as workers:
            wait_for_group(settings, members=1, timeout_s=60, check=lambda: None)
            with EventLog(settings, camera="gate", run="r1") as log:
                produced = streamproc(
                    *PRODUCE,
                    **variables(settings),  # type: ignore[arg-type]  # none is named as an option
                )
                assert produced.code == 0, produced.err
                assert log.wait_for(60, timeout_s=60)
            assert log.seen == Counter(range(60))
            assert {event["data"]["outcome"] for event in log.events()} == {"complete"}
            began_s = time.monotonic()
            workers.stop()
            assert time.monotonic() - began_s < 9  # the exporter alone would wait for 10 s
    assert collector.headers
    assert lost(produced.err, collector.url) == 60 * 3
    words = (tmp_path / "worker-0.log").read_text()
    assert lost(words, collector.url) == 60 * (TILES + 1)
    assert "Traceback" not in words


def lost(words: str, url: str) -> int:
    """Spans that a process told could not be sent."""
    return sum(map(int, re.findall(rf"traces: (\d+) spans? could not be sent to {re.escape(url)} ", words)))


def variables(settings: Settings) -> dict[str, str]:
    return {f"STREAMPROC_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
