"""Sinks on a real broker, by the commands a user types: killed, taken over, stopped; then exactly the log's events."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamproc.metrics import Metrics
from streamproc.publisher import Publisher
from streamproc.reader import Record
from streamproc.settings import Settings
from streamproc.sinks import Choice, Options, drive, open_sink, parse_address, read_event
from streamproc.sinks.log import KafkaLog, Reached
from streamproc.sinks.querying import Asked, query
from streamproc.topics import Topics
from tests.cli import Running, started, streamproc
from tests.event_schema import check_event
from tests.kafka.whole_log import read_all
from tests.sinks.material import crossing, frame, record
from tests.sinks.targets import Redis, redis_server, webhook
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

PARTITIONS = 3


@pytest.fixture
def settings(topics_ready: Callable[..., Settings]) -> Settings:
    return topics_ready(partitions=PARTITIONS)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


def variables(settings: Settings, **more: str) -> dict[str, Any]:
    return {"STREAMPROC_BOOTSTRAP": settings.bootstrap, "STREAMPROC_PREFIX": settings.prefix, **more}


def publish(settings: Settings, first: int, end: int) -> None:
    """A frame of each of three cameras, and a crossing after each tenth."""
    with Publisher(settings, client_id="test") as publisher:
        for sequence in range(first, end):
            for partition in range(PARTITIONS):
                one = frame(sequence, camera=f"cam{partition}")
                records = [record(one, 0)] if sequence % 10 else [crossing(one, 0), record(one, 0)]
                for found in records:
                    publisher.send(
                        topic=Topics(settings.prefix).events,
                        partition=partition,
                        key=None,
                        value=found.value,
                        headers=found.headers,
                    )


def ids_in_log(settings: Settings, **choice: str) -> list[str]:
    records = read_all(settings, Topics(settings.prefix).events)
    return sorted(read_event(one).id for one in records if Choice(**choice).wants(one))


def command_of(url: str) -> list[str]:
    """One camera is enough for a webhook, which takes an event at a time."""
    return ["sink", *([url] if url else []), *(["--camera", "cam1"] if url.startswith("http") else [])]


def written(done_out: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(done_out)
    return told


def test_sinks_that_are_killed_and_restarted_write_exactly_the_events_of_the_log(
    settings: Settings, tmp_path: Path, redis: Redis
) -> None:
    lines, database = tmp_path / "events.jsonl", tmp_path / "events.db"
    publish(settings, 0, 300)
    with webhook() as server, ExitStack() as running:
        server.delay_s = 0.002
        targets = {
            "lines": (str(lines), variables(settings), lambda: lines.exists() and lines.stat().st_size > 0),
            "sql": (f"sqlite:///{database}", variables(settings), database.exists),
            "redis": (
                "",
                variables(settings, STREAMPROC_SINK_URL=redis.url("events")),
                lambda: redis.client().xlen("events") > 0,
            ),
            "webhook": (server.url, variables(settings), lambda: len(server.taken()) > 50),
        }
        begun = {
            name: running.enter_context(started(*command_of(url), **environment))
            for name, (url, environment, _) in targets.items()
        }
        for name, (_, _, has_begun) in targets.items():

            def begun_well(process: Running = begun[name], has_begun: Callable[[], bool] = has_begun) -> bool:
                process.check()
                return has_begun()

            wait_until(begun_well, f"first events of {name}", timeout_s=30)
            begun[name].send(signal.SIGKILL)
            begun[name].ended(timeout_s=10)
        publish(settings, 300, 400)
        again = [
            running.enter_context(started(*command_of(url), "--until-end", "--json", **environment))
            for url, environment, _ in targets.values()
        ]
        for one in again:
            done, _ = one.ended(timeout_s=60)
            assert done.code == 0, done.err
            assert written(done.out)["behind"] == 0
        log = ids_in_log(settings)
        taken = Counter(server.taken())
    assert sorted(json.loads(line)["id"] for line in lines.read_text().splitlines()) == log
    entries = redis.client().xrange("events")
    assert sorted(fields[b"id"].decode() for _, fields in entries) == log
    assert sorted(taken) == ids_in_log(settings, camera="cam1")
    assert sum(taken.values()) - len(taken) <= 16  # a batch of a webhook
    events = query(parse_address(f"sqlite:///{database}", visible=True), Asked(limit=10_000))
    assert sorted(event["id"] for event in events) == log
    for event in events:
        check_event(event)


def test_a_second_process_of_a_name_takes_over_and_a_signal_ends_it_with_everything_written(
    settings: Settings, tmp_path: Path
) -> None:
    publish(settings, 0, 50)
    with webhook() as server:
        command = ("sink", server.url, "--name", "hook", "--type", "rule", "--camera", "cam2", "--from", "beginning")
        with started(*command, **variables(settings)) as first:
            wait_until(lambda: len(server.taken()) == 5, "events of the first", timeout_s=30)
            with started(*command[:-2], **variables(settings)) as second:
                ended, _ = first.ended(timeout_s=30)
                assert ended.code == 1
                assert "another process" in ended.error_line
                publish(settings, 50, 100)
                wait_until(lambda: len(server.taken()) == 10, "events of the second", timeout_s=30)
                second.send(signal.SIGTERM)
                done, waited_s = second.ended(timeout_s=20)
        assert (done.code, waited_s < 10) == (143, True)
        assert "written" in done.out
        publish(settings, 100, 110)
        again = streamproc(*command[:-2], "--until-end", "--json", **variables(settings))
        assert written(again.out)["written"] == 1
        assert len(set(server.taken())) == len(server.taken()) == 11


def test_a_sink_from_now_on_writes_what_comes_after_its_first_start(settings: Settings, tmp_path: Path) -> None:
    topic = Topics(settings.prefix).events

    def run(start: Literal["committed", "now"]) -> int:
        address = parse_address(f"parquet:{tmp_path / 'late'}", visible=True)
        log = KafkaLog(settings, topic, group=f"{settings.prefix}sink-late", told=print)
        sink = open_sink(address, settings, name="late", topic=topic)
        options = Options(kind="parquet", topic=topic, start=start, until_end=True)
        return drive(log, sink, options, metrics=Metrics(), stop=lambda: False, told=print).written

    publish(settings, 0, 10)
    assert run("now") == 0
    publish(settings, 10, 12)
    assert run("committed") == 3 * PARTITIONS
    assert run("committed") == 0


def test_a_target_that_is_away_is_waited_for_and_a_signal_is_heard_meanwhile(
    settings: Settings, tmp_path: Path
) -> None:
    publish(settings, 0, 3)
    with webhook(*[(503, {})] * 3) as server:
        done = streamproc("sink", server.url, "--until-end", "--json", **variables(settings))
        assert (done.code, written(done.out)["retries"], len(set(server.taken()))) == (0, 3, 12)
        assert "503" in done.err
        assert "answers again" in done.err
    secret = variables(settings, STREAMPROC_SINK_URL=f"http://ann:canary-4471@127.0.0.1:{server.port}/canary-4472")
    with started("sink", **secret) as waiting:
        wait_until(lambda: "does not answer" in waiting.err, "the target is away", timeout_s=30)
        waiting.interrupt()
        ended, waited_s = waiting.ended(timeout_s=15)
    assert (ended.code, waited_s < 10) == (130, True)
    assert "12 read and not written" in ended.out
    assert f"http://ann:***@127.0.0.1:{server.port}/..." in ended.err
    assert "canary" not in ended.out + ended.err


def test_records_that_retention_takes_meanwhile_are_told_and_reading_goes_on(settings: Settings) -> None:
    publish(settings, 0, 30)
    topic, lines = Topics(settings.prefix).events, list[str]()
    admin, cut = AdminClient({"bootstrap.servers": settings.bootstrap}), TopicPartition(topic, 1, 20)
    admin.delete_records([cut])[cut].result(20)
    log = KafkaLog(settings, topic, group=f"{settings.prefix}g", told=lines.append)
    log.begin({0: 30, 1: 5, 2: 33})
    assert log.committed() == {}
    found: list[Record | Reached] = []

    def reached_the_end() -> bool:
        found.extend(log.read(10, timeout_s=0.5))
        return Reached(1, 33) in found

    wait_until(reached_the_end, "the end", timeout_s=30)
    assert [item.offset for item in found if isinstance(item, Record) and item.partition == 1] == list(range(20, 33))
    assert log.committed() == {0: 30, 1: 5, 2: 33}  # so that a kill before the first batch leaves a position
    assert [line for line in lines if "removed 15 records" in line] == lines
    assert log.behind({0: 30, 1: 30, 2: 33}) == 3 + 3
    assert log.ends([0, 1, 2]) == {0: 33, 1: 33, 2: 33}
    assert log.close({0: 33, 1: 33, 2: 33}, timeout_s=10)
    again = KafkaLog(settings, topic, group=f"{settings.prefix}g", told=lines.append)
    assert again.committed() == {0: 33, 1: 33, 2: 33}
    again.close({}, timeout_s=10)
