"""The verifier as a process of its own, on a real broker: clean logs, planted faults, counters, a cut log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from producers.publish import publish
from producers.sources import open_source
from streamproc import cloudevents
from streamproc.broker.ports import choose_ports
from streamproc.exporter import exported
from streamproc.ledger import LedgerWriter, read_ledger
from streamproc.model import Codec, FrameEvent, Grid
from streamproc.provision import wait_for_group
from streamproc.publisher import Publisher
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics, camera_partition
from tests.cli import Done, started, streamproc
from tests.kafka.whole_log import read_all
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

EDGES = 'name = "edges"\n[[step]]\noperator = "canny"\nname = "edges"\n'


def variables(settings: Settings) -> dict[str, Any]:
    return {"STREAMPROC_BOOTSTRAP": settings.bootstrap, "STREAMPROC_PREFIX": settings.prefix}


def verify(settings: Settings, *arguments: str | Path) -> tuple[Done, dict[str, Any]]:
    """Run the command for machines; how it ended and what it said."""
    done = streamproc("verify", *arguments, "--json", **variables(settings))
    return done, json.loads(done.out) if done.out else {}


def produce(settings: Settings, ledger: Path, *, run: str, codec: Codec, count: int, **more: Any) -> None:
    """Frames of 2x2 tiles, noted in a ledger."""
    with LedgerWriter(ledger) as writer:
        report = publish(
            open_source("synthetic:160x96", settings),
            settings,
            camera="gate",
            run=run,
            codec=codec,
            grid=Grid(2, 2),
            fps="max",
            limit=count,
            pipeline_halo=2,
            partitions=settings.partitions,
            ledger=writer,
            **more,
        )
    assert report.frames_published == count


def wrong(told: dict[str, Any]) -> dict[str, int]:
    return {kind: count for kind, count in told["wrong"].items() if count}


def add_events(settings: Settings, *events: FrameEvent) -> None:
    """Append events as a faulty aggregator would."""
    with Publisher(settings, client_id="test") as publisher:
        for event in events:
            headers, value = cloudevents.encode_frame_event(event)
            publisher.send(
                topic=Topics(settings.prefix).events,
                partition=camera_partition(event.camera, settings.partitions),
                key=b"gate",
                value=value,
                headers=headers,
            )


def test_a_clean_log_is_clean_and_its_books_balance_and_each_planted_fault_is_named(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    ports = choose_ports(0, 2)
    settings = topics_ready(metrics_port=ports[0])
    quiet = settings.model_copy(update={"metrics_port": 0})
    pipeline = tmp_path / "edges.toml"
    pipeline.write_text(EDGES)
    ledger = tmp_path / "ledger.jsonl"
    spec = WorkerSpec(role="all", pipeline=pipeline, metrics_port=ports[1])
    urls = [word for port in ports for word in ("--metrics", f"http://127.0.0.1:{port}")]
    with exported(settings) as metrics, Workers(quiet, [spec], folder=tmp_path) as workers:
        for run, codec in (("r-png", "png"), ("r-raw", "raw"), ("r-jpeg", "jpeg")):
            produce(settings, ledger, run=run, codec=codec, count=20, metrics=metrics)  # type: ignore[arg-type] # above
        early, told = verify(settings, ledger, "--no-pixels")
        assert (early.code, wrong(told)) in [(1, {"lost": 60}), (0, {})]
        wait_for_group(settings, members=1, timeout_s=60, check=workers.check)
        done, told = verify(settings, ledger, "--wait", "60", *urls)
        assert (done.code, told["clean"], told["findings"], told["notes"]) == (0, True, [], [])
        assert (told["outcomes"], told["pixels_checked"], told["frames"]["acked"]) == ({"complete": 60}, 60, 60)
        shown = streamproc("verify", ledger, **variables(settings))
        assert (shown.code, "all is well: 60 acknowledged frames" in shown.out) == (0, True)

        metrics.frames_published.labels("gate").inc()
        done, told = verify(settings, ledger, "--no-pixels", *urls)
        assert (done.code, wrong(told)) == (1, {"counters": 1})
        assert told["findings"][0]["told"] == "frames_published gate: counters say 61, the ledger 60"
    _planted_faults_are_named(quiet, ledger)


def _planted_faults_are_named(settings: Settings, ledger: Path) -> None:
    records = read_all(settings, Topics(settings.prefix).events)
    events = [cloudevents.decode_frame_event(record.value) for record in records]
    by_run = {(event.run, event.sequence): event for event in events}
    add_events(
        settings,
        msgspec.structs.replace(by_run["r-png", 3], emitted_ns=1, latency_ms={}),
        msgspec.structs.replace(by_run["r-png", 4], outcome="expired"),
        msgspec.structs.replace(by_run["r-raw", 0], sequence=99),
        msgspec.structs.replace(by_run["r-raw", 0], run="another", sequence=0),
    )
    lines = ledger.read_text().splitlines(keepends=True)
    lost = [line.replace('"sequence":19', '"sequence":500') for line in lines if "r-raw" in line and ":19," in line]
    other = [line.replace('"sha256":"', '"sha256":"00', 1) for line in lines if '"kind":"frame"' in line][7]
    other = other.replace(other.split('"sha256":"')[1][:66], other.split('"sha256":"')[1][:64])
    lines[[line[:90] for line in lines].index(other[:90])] = other
    assert len(lost) == 2
    changed = ledger.with_name("changed.jsonl")
    changed.write_text("".join([*lines, *lost]))
    assert len(read_ledger(changed).frames) == 61
    done, told = verify(settings, changed)
    assert done.code == 1
    assert wrong(told) == {"lost": 1, "twice": 1, "differing": 1, "foreign": 1, "pixels": 2}
    named = {(one["kind"], one["frame"]["run"], one["frame"]["sequence"]) for one in told["findings"]}
    assert named == {
        ("twice", "r-png", 3),
        ("differing", "r-png", 4),
        ("foreign", "r-raw", 99),
        ("lost", "r-raw", 500),
        ("pixels", "r-raw", 500),
        ("pixels", "r-png", 7),
    }
    assert told["other_events"] == 1


def test_it_waits_for_events_that_are_still_to_come(topics_ready: Callable[..., Settings], tmp_path: Path) -> None:
    settings = topics_ready()
    ledger = tmp_path / "ledger.jsonl"
    produce(settings, ledger, run="r1", codec="png", count=3)
    with started("verify", ledger, "--wait", "60", "--no-pixels", "--json", **variables(settings)) as running:
        wait_until(lambda: running.err == "" and running.out == "", "it runs", timeout_s=5)
        with pytest.raises(AssertionError, match="still running"):
            running.ended(timeout_s=3)
        (frame, *_) = read_ledger(ledger).frames.values()
        add_events(settings, *(made_up(frame.key.camera, "r1", sequence) for sequence in range(3)))
        done, _ = running.ended(timeout_s=30)
    assert (done.code, json.loads(done.out)["outcomes"]) == (0, {"complete": 3})


def made_up(camera: str, run: str, sequence: int) -> FrameEvent:
    """An event of a complete frame, without any worker."""
    from streamproc.model import Evidence

    return FrameEvent(
        camera=camera,
        run=run,
        sequence=sequence,
        captured_ns=1,
        emitted_ns=2,
        width=160,
        height=96,
        outcome="complete",
        coverage=1.0,
        missing_tiles=[],
        edges=None,
        features={},
        objects=[],
        evidence=Evidence(topic="tiles", offsets={}, pipeline="p", operators={}),
        latency_ms={},
    )


def test_a_log_that_begins_after_the_ledgers_frames_is_said_to_be_cut(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=2)
    ledger = tmp_path / "ledger.jsonl"
    produce(settings, ledger, run="r1", codec="raw", count=5)
    add_events(settings, *(made_up("gate", "r1", sequence) for sequence in range(5)))
    topics, number = Topics(settings.prefix), camera_partition("gate", 2)
    cuts = [
        TopicPartition(topics.events, number, 2),
        TopicPartition(topics.tiles, 0, 4),
        TopicPartition(topics.tiles, 1, 4),
    ]
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})  # must live as long as its futures
    for future in admin.delete_records(cuts).values():
        future.result(timeout=30)
    done, told = verify(settings, ledger)
    assert (done.code, told["clean"], wrong(told)) == (2, True, {})
    assert f"partition {number} of the events begins at offset 2" in told["cut"][0]
    assert "2 frames" in told["cut"][0]
    assert "the tiles of 2 frames are no longer in the log (retention)" in told["cut"][1]
    assert (told["pixels_checked"], told["pixels_unchecked"]) == (3, 2)
    shown = streamproc("verify", ledger, **variables(settings))
    assert (shown.code, "not all could be judged" in shown.out) == (2, True)
