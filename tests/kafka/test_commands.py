"""The commands on a real broker, as a user runs them: exit codes, one clear line, JSON, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from prometheus_client.parser import text_string_to_metric_families

from producers.publish import publish
from producers.sources.synthetic import SyntheticSource
from streamproc import wire
from streamproc.broker.ports import choose_ports
from streamproc.demo import EventLog
from streamproc.model import Grid
from streamproc.provision import create_topics, wait_for_group
from streamproc.publisher import Publisher
from streamproc.settings import Settings, load_settings
from streamproc.topics import Topics, camera_partition, tile_key, tile_partition
from tests.cli import Done, Running, started, streamproc
from tests.event_schema import check_event
from tests.kafka.whole_log import frames_published, frames_told_of, read_all
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

EDGES = 'name = "edges"\n[[step]]\noperator = "canny"\nname = "edges"\n'
NOWHERE = "127.0.0.1:1"
GRID = Grid(2, 2)


def variables(settings: Settings, **more: str) -> dict[str, Any]:
    """Settings as a user exports them."""
    return {"STREAMPROC_BOOTSTRAP": settings.bootstrap, "STREAMPROC_PREFIX": settings.prefix, **more}


def at_once(commands: Sequence[Sequence[str]], **environment: Any) -> list[Done]:
    """Run commands that do not touch each other side by side."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda command: streamproc(*command, **environment), commands))


def send_frames(settings: Settings, *, camera: str, run: str, count: int, size: tuple[int, int] = (160, 96)) -> None:
    """Frames of four tiles each, published by this process."""
    report = publish(
        SyntheticSource(*size, max_pixels=10**6),
        settings,
        camera=camera,
        run=run,
        codec="png",
        grid=GRID,
        fps="max",
        limit=count,
        pipeline_halo=2,
        partitions=settings.partitions,
    )
    assert (report.frames_published, report.tiles_acked) == (count, 4 * count)


def lines_of(done: Done) -> list[dict[str, Any]]:
    """The JSON lines of a command that succeeded."""
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def edges_only(tmp_path: Path) -> Path:
    """A pipeline file of edges alone, so that many frames fit into a test."""
    file = tmp_path / "edges.toml"
    file.write_text(EDGES)
    return file


# --- topics, doctor ------------------------------------------------------------------------------------------------


def test_topics_are_created_once_and_checked_with_exit_codes_and_json(new_settings: Callable[..., Settings]) -> None:
    settings = new_settings()
    environment = variables(settings)
    missing, missing_json = at_once([["topics", "check"], ["topics", "check", "--json"]], **environment)
    assert (missing.code, missing_json.code) == (1, 1)
    told = [f"topic {settings.prefix}{name} is missing" for name in ("tiles", "features", "events")]
    assert all(line in missing.out for line in told)
    assert json.loads(missing_json.out)["ok"] is False
    assert len(json.loads(missing_json.out)["differences"]) == 5

    created = streamproc("topics", "create", "--partitions", "3", "--json", **environment)
    assert created.code == 0
    assert len(json.loads(created.out)["created"]) == 5
    again, good, good_json, other = at_once(
        [
            ["topics", "create", "--partitions", "3"],
            ["topics", "check", "--partitions", "3", "--bootstrap", settings.bootstrap],
            ["topics", "check", "--partitions", "3", "--json"],
            ["topics", "check", "--partitions", "5"],
        ],
        **environment,
    )
    assert (again.code, again.out.strip()) == (0, f"all topics exist on {settings.bootstrap}")
    assert (good.code, "as they must be" in good.out) == (0, True)
    assert json.loads(good_json.out) == {"ok": True, "differences": []}
    assert other.code == 1
    assert f"topic {settings.prefix}tiles: partitions is 3, should be 5" in other.out.splitlines()


def test_the_doctor_says_what_is_wrong_and_exits_with_1_only_then(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=2)
    with ThreadPoolExecutor(4) as pool:
        healthy, differing, empty, gone = pool.map(
            lambda environment: streamproc("doctor", "--json", **environment),
            [
                variables(settings, STREAMPROC_PARTITIONS="2"),
                variables(settings, STREAMPROC_PARTITIONS="7"),
                variables(settings, STREAMPROC_PREFIX="nobody."),
                variables(settings, STREAMPROC_BOOTSTRAP=NOWHERE),
            ],
        )
    assert [one.code for one in (healthy, differing, empty, gone)] == [0, 1, 0, 1]
    found = {one["what"]: one for one in json.loads(healthy.out)}
    assert {found[what]["verdict"] for what in ("Python", "OpenCV", "broker", "topics")} == {"ok"}
    wrong = [one["told"] for one in json.loads(differing.out) if one["verdict"] == "wrong"]
    said = (
        f"topic {settings.prefix}tiles: partitions is 2, should be 7: set STREAMPROC_PARTITIONS=2, as all topics have"
    )
    assert said in wrong
    assert [one["verdict"] for one in json.loads(empty.out) if one["what"] == "topics"] == ["warning"]
    (broken,) = [one for one in json.loads(gone.out) if one["verdict"] == "wrong"]
    assert (broken["what"], NOWHERE in broken["told"]) == ("broker", True)


# --- commands that cannot do what they are asked ---------------------------------------------------------------------


def test_without_topics_produce_worker_and_events_end_with_one_line_that_says_what_to_do(
    new_settings: Callable[..., Settings],
) -> None:
    settings = new_settings()
    commands = [["produce", "builtin", "--camera", "gate", "--json"], ["worker"], ["events"]]
    for done in at_once(commands, **variables(settings)):
        assert (done.code, done.out) == (1, "")
        for word in (f"{settings.prefix}events", settings.bootstrap, "streamproc topics create"):
            assert word in done.error_line


def test_topics_of_differing_partition_counts_end_worker_and_produce_with_one_line(
    topics_ready: Callable[..., Settings],
) -> None:
    settings = topics_ready(partitions=2)
    tiles = Topics(settings.prefix).tiles
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.create_partitions([NewPartitions(tiles, 3)])[tiles].result(20)
    for done in at_once([["worker"], ["produce", "synthetic", "--camera", "gate"]], **variables(settings)):
        assert done.code == 1
        for word in (f"{tiles} 3", f"{settings.prefix}features 2", "same count"):
            assert word in done.error_line


def test_a_metrics_port_that_is_taken_ends_worker_and_produce_with_one_line(
    topics_ready: Callable[..., Settings],
) -> None:
    settings = topics_ready(partitions=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        commands = [["worker"], ["produce", "synthetic", "--camera", "gate"]]
        ended = at_once([[*command, "--metrics-port", port] for command in commands], **variables(settings))
    for done in ended:
        assert done.code == 2
        assert f"127.0.0.1:{port}" in done.error_line
        assert "--metrics-port" in done.error_line


# --- one worker, looked at from all sides ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Worked:
    """A worker that goes on, what it was given, and when."""

    settings: Settings
    port: int
    worker: Running
    folder: Path
    report: dict[str, Any]
    between: datetime
    neighbour: str

    @property
    def environment(self) -> dict[str, Any]:
        return variables(self.settings)


@pytest.fixture(scope="module")
def worked(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worked]:
    """A worker; 12 frames of camera gate by command, later 8 more, 3 of another camera, 12 again, a stranger."""
    settings = load_settings(bootstrap=bootstrap, prefix=f"t-{os.urandom(4).hex()}.", partitions=4)
    create_topics(settings)
    folder = tmp_path_factory.mktemp("empty")
    pipeline = tmp_path_factory.mktemp("files") / "edges.toml"
    pipeline.write_text(EDGES)
    (port,) = choose_ports(0, 1)
    here = camera_partition("gate", 4)
    neighbour = next(f"yard-{number}" for number in range(99) if camera_partition(f"yard-{number}", 4) == here)
    options = ["--metrics-port", str(port), "--pipeline", str(pipeline)]
    with started("worker", *options, cwd=folder, **variables(settings)) as worker:
        made = streamproc(
            *["produce", "synthetic:160x96", "--camera", "gate", "--run", "run-a", "--limit", "12", "--fps", "max"],
            *["--codec", "png", "--grid", "2x2", "--pipeline", str(pipeline), "--json", "--bootstrap", bootstrap],
            STREAMPROC_PREFIX=settings.prefix,
        )
        assert made.code == 0, made.err
        _wait_for_events(settings, worker, 12)
        between = datetime.now(UTC)
        time.sleep(0.05)
        send_frames(settings, camera="gate", run="run-b", count=8)
        send_frames(settings, camera=neighbour, run="run-n", count=3)
        send_frames(settings, camera="gate", run="run-a", count=12)
        with Publisher(settings, client_id="test") as publisher:
            tiles = Topics(settings.prefix).tiles
            publisher.send(topic=tiles, partition=0, key=b"stranger", value=b"hello", headers=[])
        _wait_for_events(settings, worker, 23)
        yield Worked(
            settings=settings,
            port=port,
            worker=worker,
            folder=folder,
            report=json.loads(made.out),
            between=between,
            neighbour=neighbour,
        )


def _wait_for_events(settings: Settings, worker: Running, count: int) -> None:
    def enough() -> bool:
        worker.check()
        return len(frames_told_of(settings)) >= count

    wait_until(enough, f"{count} events", timeout_s=60)


def scrape(port: int) -> Counter[tuple[str, ...]]:
    """All counters of an exporter, by name and label values in the order of the labels' names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    assert families
    assert all(family.name.startswith(("streamproc_", "process_")) for family in families)
    return Counter(
        {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name.endswith("_total")
        }
    )


def _sum(samples: Counter[tuple[str, ...]], name: str) -> int:
    return sum(value for key, value in samples.items() if key[0] == name)


def test_produce_reports_what_was_acknowledged_for_machines(worked: Worked) -> None:
    report = worked.report
    assert set(report) >= {"source", "reason", "bytes", "seconds"}
    expected = {
        "camera": "gate",
        "run": "run-a",
        "frames_read": 12,
        "frames_published": 12,
        "frames_failed": 0,
        "tiles_acked": 48,
        "tiles_failed": 0,
        "grid": "2x2",
        "stopped": False,
        "problem": None,
    }
    assert {name: report[name] for name in expected} == expected
    records = read_all(worked.settings, Topics(worked.settings.prefix).tiles)
    ours = [record for record in records if record.key.startswith(b"gate/run-a/")]
    assert sum(len(record.value) for record in ours) == 2 * report["bytes"]  # it was sent twice
    for record in ours:
        header = wire.read_tile_header(record.headers)
        assert (header.camera, header.run, header.codec, header.halo) == ("gate", "run-a", "png", 2)
        assert record.partition == tile_partition("gate", header.index, 4)
        assert record.key == tile_key(header)


def test_the_books_of_a_quiet_worker_balance_with_repeated_tiles_and_strangers_too(worked: Worked) -> None:
    tiles = len(read_all(worked.settings, Topics(worked.settings.prefix).tiles)) - 1  # one is a stranger
    frames = len(frames_published(worked.settings))
    assert tiles >= 4 * 35 > 4 * frames  # 12 frames were sent twice

    def quiet() -> bool:
        worked.worker.check()
        return _sum(scrape(worked.port), "streamproc_tiles_total") >= tiles

    wait_until(quiet, f"{tiles} tiles with an outcome", timeout_s=30)
    samples = scrape(worked.port)
    assert _sum(samples, "streamproc_tiles_total") == tiles
    assert samples["streamproc_tiles_total", "merged"] == 4 * frames
    assert samples["streamproc_tiles_total", "duplicate"] == 48
    assert _sum(samples, "streamproc_frames_total") == frames == len(frames_told_of(worked.settings))
    assert samples["streamproc_frames_total", "gate", "complete"] >= 20
    assert samples["streamproc_frames_total", worked.neighbour, "complete"] == 3
    assert _sum(samples, "streamproc_deadletters_total") == 1
    assert samples["streamproc_deadletters_total", "envelope", "extract"] == 1  # reason, stage
    assert samples["streamproc_tiles_extracted_total",] == tiles + 1


def test_a_worker_leaves_nothing_in_the_folder_it_was_started_in(worked: Worked) -> None:
    worked.worker.check()
    assert list(worked.folder.iterdir()) == []


def test_events_are_told_by_camera_and_each_json_line_is_a_valid_event(worked: Worked) -> None:
    gate, other, nobody, text = at_once(
        [
            ["events", "--camera", "gate", "--json"],
            ["events", "--camera", worked.neighbour, "--json", "--bootstrap", worked.settings.bootstrap],
            ["events", "--camera", "nobody", "--json"],
            ["events", "--camera", worked.neighbour],
        ],
        **worked.environment,
    )
    events = lines_of(gate)
    for event in [*events, *lines_of(other)]:
        check_event(event)
    subjects = [event["subject"] for event in events]
    assert subjects[:20] == [f"run-a/{number}" for number in range(12)] + [f"run-b/{number}" for number in range(8)]
    assert {event["source"] for event in events} == {"/cameras/gate"}
    assert [event["subject"] for event in lines_of(other)] == ["run-n/0", "run-n/1", "run-n/2"]
    assert lines_of(nobody) == []
    told = text.out.splitlines()
    assert len(told) == 3
    assert all(f"{worked.neighbour}/run-n/{number}  complete" in line for number, line in enumerate(told))


def test_events_are_told_by_time(worked: Worked) -> None:
    moment = worked.between.isoformat()
    naive = worked.between.replace(tzinfo=None).isoformat()
    elsewhere = (worked.between + timedelta(hours=3)).replace(tzinfo=None).isoformat() + "+03:00"
    before, after, both, age = at_once(
        [
            ["events", "--camera", "gate", "--json", "--to", moment],
            ["events", "--camera", "gate", "--json", "--from", naive],
            ["events", "--camera", "gate", "--json", "--from", "1d", "--to", elsewhere],
            ["events", "--json", "--from", "1h"],
        ],
        **worked.environment,
    )
    first = [f"run-a/{number}" for number in range(12)]
    assert [event["subject"] for event in lines_of(before)] == first
    assert [event["subject"] for event in lines_of(both)] == first
    later = [event["subject"] for event in lines_of(after)]
    assert later[:8] == [f"run-b/{number}" for number in range(8)]
    assert not set(later) & set(first)
    assert len(lines_of(age)) >= 23


def test_followed_events_are_printed_as_they_come_until_ctrl_c(worked: Worked) -> None:
    options = ["--follow", "--camera", "gate", "--json", "--from", worked.between.isoformat()]
    with started("events", *options, **worked.environment) as following:

        def subjects() -> list[str]:
            following.check()
            return [json.loads(line)["subject"] for line in following.out.splitlines(keepends=True) if line[-1] == "\n"]

        wait_until(lambda: len(subjects()) == 8, "the 8 events that are there", timeout_s=20)
        send_frames(worked.settings, camera="gate", run="run-c", count=2)
        wait_until(lambda: len(subjects()) == 10, "the 2 new events", timeout_s=20)
        assert subjects()[8:] == ["run-c/0", "run-c/1"]
        following.interrupt()
        done, seconds = following.ended(timeout_s=10)
    assert done.code in {0, 130}
    assert seconds < 5
    assert "Traceback" not in done.err


# --- events that are odd ---------------------------------------------------------------------------------------------


def test_events_are_printed_untouched_and_what_is_no_event_is_skipped_by_name(
    topics_ready: Callable[..., Settings],
) -> None:
    settings = topics_ready(partitions=1)
    data = {"camera": "odd", "outcome": "rejected", "reason": "tile :x: of [red]grid[/] :100: \u2603 \\ \x07"}
    headers = [("ce_source", b"/cameras/odd"), ("ce_subject", b"r/0"), ("content-type", b"application/json")]
    events = Topics(settings.prefix).events
    with Publisher(settings, client_id="test") as publisher:
        for value in (b"no json", json.dumps(data).encode()):
            publisher.send(topic=events, partition=0, key=b"odd", value=value, headers=headers)
    done = streamproc("events", "--json", **variables(settings))
    (event,) = lines_of(done)
    assert event["data"] == data
    assert f"skipped {events}[0]@0" in done.err
    assert "Traceback" not in done.err


def test_an_age_beyond_all_calendars_is_one_line_and_no_traceback() -> None:
    done = streamproc("events", "--from", "99999999999999999999d", "--bootstrap", NOWHERE)
    assert done.code == 2
    assert "--from" in done.error_line


# --- workers under signals -------------------------------------------------------------------------------------------


def test_a_worker_told_to_stop_under_load_leaves_in_time_and_another_gives_each_frame_its_one_event(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready(partitions=4)
    command = ["worker", "--pipeline", str(edges_only)]
    with started(*command, cwd=tmp_path, **variables(settings)) as first, ThreadPoolExecutor(1) as pool:
        wait_for_group(settings, members=1, timeout_s=60, check=first.check)
        with EventLog(settings, camera="gate", run="run-1") as log:
            sending = pool.submit(
                partial(send_frames, settings, camera="gate", run="run-1", count=250, size=(480, 288))
            )
            assert log.wait_for(30, timeout_s=60)
            first.send(signal.SIGTERM)
            done, seconds = first.ended(timeout_s=settings.shutdown_s + 10)
            assert (done.code, log.count < 250) == (0, True)
            assert seconds < settings.shutdown_s
            sending.result(timeout=60)
            with started(*command, cwd=tmp_path, **variables(settings)) as second:
                assert log.wait_for(250, timeout_s=90)
                time.sleep(0.5)  # a second event for a frame would come now
                second.interrupt()
                done, seconds = second.ended(timeout_s=settings.shutdown_s + 10)
        assert (done.code, "Traceback" in done.err) == (0, False)
        assert seconds < settings.shutdown_s
        assert {event["data"]["outcome"] for event in log.events()} == {"complete"}
    assert [key.sequence for key in frames_told_of(settings)] == list(range(250))
