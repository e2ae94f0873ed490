"""The archive on a real broker: killed and resumed it holds each record once, as the log had it."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from streamproc.archive import ArchiveReader, patience, run, session, topic_id
from streamproc.archive.storage import Storage
from streamproc.archive.verify import verify
from streamproc.archive.writer import Rules
from streamproc.broker import LocalCluster, ephemeral
from streamproc.errors import ArchiveError, BrokerError
from streamproc.reader import Record
from streamproc.settings import Settings, load_settings
from tests.cli import Done, started, streamproc
from tests.kafka.whole_log import read_all
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

ANSWER_S = 20.0
NewLog = Callable[..., tuple[Settings, str]]


@pytest.fixture
def new_log(new_settings: Callable[..., Settings]) -> NewLog:
    """Make a topic of its own, and settings for it."""

    def make(*, partitions: int = 3) -> tuple[Settings, str]:
        settings = new_settings()
        topic = f"{settings.prefix}log-{secrets.token_hex(2)}"
        admin = AdminClient({"bootstrap.servers": settings.bootstrap})
        admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])[topic].result(ANSWER_S)
        return settings, topic

    return make


class Sender:
    """Sends records of all kinds: null keys and values, headers twice and null, old timestamps."""

    def __init__(self, settings: Settings, topic: str, *, partitions: int) -> None:
        self._producer = Producer({"bootstrap.servers": settings.bootstrap, "linger.ms": 5})
        self._topic = topic
        self._partitions = partitions
        self._random = random.Random(7)
        self.sent = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            number = self.sent = self.sent + 1
            kinds: list[tuple[str, str | bytes | None]]
            kinds = [("a", b"1"), ("a", None), ("bytes", bytes(range(256))), ("empty", b"")]
            self._producer.produce(
                self._topic,
                None if number % 11 == 0 else self._random.randbytes(number % 3000),
                None if number % 7 == 0 else f"gate-{number % 3}/run-1".encode(),
                partition=self._random.randrange(self._partitions),
                headers=kinds[: number % 5],
                timestamp=int(time.time() * 1000) - (86_400_000 if number % 13 == 0 else 0),
            )
            self._producer.poll(0)
        assert self._producer.flush(ANSWER_S) == 0


def command(settings: Settings, *arguments: str | Path) -> Done:
    return streamproc("archive", *arguments, STREAMPROC_BOOTSTRAP=settings.bootstrap, STREAMPROC_PREFIX=settings.prefix)


def by_partition(records: list[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for one in records:
        found.setdefault(one.partition, []).append(one)
    return found


def archived(url: str | Path, topic: str) -> list[Record]:
    with ArchiveReader(str(url), topic) as reader:
        return list(reader.read({number: reader.bounds(number) for number in reader.partitions()}))


def test_killed_at_any_moment_and_resumed_it_holds_every_record_once_in_order_with_equal_bytes(
    new_log: NewLog, tmp_path: Path
) -> None:
    settings, topic = new_log()
    url = tmp_path / "archive"
    stop = threading.Event()
    sender = Sender(settings, topic, partitions=3)

    def send_on() -> None:
        while not stop.is_set() and sender.sent < 60_000:
            sender.send(200)
            time.sleep(0.02)

    def written() -> int:
        return len(Storage(str(url)).files(topic))

    sending = threading.Thread(target=send_on)
    sending.start()
    moments = random.Random()
    options = ("--topics", topic, "--rotate-bytes", "65536", "--rotate-s", "1")
    try:
        for _ in range(3):
            files = written()
            with started("archive", "run", url, *options, STREAMPROC_BOOTSTRAP=settings.bootstrap) as running:
                wait_until(lambda: written() > files + 1, "files more", timeout_s=60)  # noqa: B023 - asked here
                running.check()
                time.sleep(moments.uniform(0, 0.3))  # leaving the block is kill -9
    finally:
        stop.set()
        sending.join()
    done = command(settings, "run", url, *options, "--until-end", "--json")
    assert done.code == 0, done.err
    log = by_partition(read_all(settings, topic))
    assert by_partition(archived(url, topic)) == log
    assert sum(map(len, log.values())) == sender.sent
    judged = verify(Storage(str(url)), topic)
    assert (judged.problems, judged.gaps, judged.records) == ([], [], sender.sent)
    assert command(settings, "verify", url).code == 0


def make_anew(settings: Settings, topic: str, *, partitions: int) -> None:
    """Delete a topic and create it again."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.delete_topics([topic])[topic].result(ANSWER_S)

    def created() -> bool:
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1)
        return admin.create_topics([new])[topic].exception(ANSWER_S) is None  # until the old one is gone

    wait_until(created, "the topic is there again", timeout_s=ANSWER_S)


def test_what_retention_took_is_told_and_new_partitions_are_taken_in(new_log: NewLog, tmp_path: Path) -> None:
    settings, topic = new_log(partitions=2)
    url = tmp_path / "archive"
    sender = Sender(settings, topic, partitions=2)
    sender.send(60)
    options = ("--topics", topic, "--until-end", "--json")
    assert command(settings, "run", url, *options).code == 0
    first = by_partition(archived(url, topic))
    sender.send(60)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    ends = {number: len(found) for number, found in first.items()}
    at = TopicPartition(topic, 0, ends[0] + 5)
    admin.delete_records([at])[at].result(ANSWER_S)
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(ANSWER_S)
    wait_until(
        lambda: len(admin.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions) == 3,
        "the third partition",
        timeout_s=ANSWER_S,
    )
    Sender(settings, topic, partitions=3).send(90)
    done = command(settings, "run", url, *options)
    assert done.code == 0, done.err
    (told,) = json.loads(done.out)["topics"]
    assert told["gaps"] == [{"partition": 0, "first": ends[0], "last": ends[0] + 4, "why": "retention"}]
    assert f"gap: {topic}[0] offsets {ends[0]} to {ends[0] + 4}: retention removed them" in done.err
    log = by_partition(read_all(settings, topic))
    assert by_partition(archived(url, topic)) == {**log, 0: first[0] + log[0]}
    judged = verify(Storage(str(url)), topic)
    assert (judged.problems, len(judged.gaps)) == ([], 1)


def test_a_topic_made_anew_between_two_runs_has_a_part_of_its_own(new_log: NewLog, tmp_path: Path) -> None:
    settings, topic = new_log(partitions=2)
    url = tmp_path / "archive"
    Sender(settings, topic, partitions=2).send(60)
    options = ("--topics", topic, "--until-end", "--json")
    assert command(settings, "run", url, *options).code == 0
    kept = by_partition(archived(url, topic))
    make_anew(settings, topic, partitions=2)
    Sender(settings, topic, partitions=2).send(400)  # more than the old one had
    done = command(settings, "run", url, *options)
    assert done.code == 0, done.err
    assert f"topic {topic}: it was deleted and made anew; it goes on in {url}/epoch-2" in done.err
    assert by_partition(archived(url, topic)) == kept
    assert by_partition(archived(url / "epoch-2", topic)) == by_partition(read_all(settings, topic))
    listed = json.loads(command(settings, "ls", url, "--json").out)
    assert [(one["topic"], one["epoch"], one["records"]) for one in listed][1:] == [(topic, 2, 400)]
    assert command(settings, "verify", url).code == 0


def test_a_topic_made_anew_while_it_is_archived_mixes_with_nothing(
    new_log: NewLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOOK_S", 2)
    settings, topic = new_log(partitions=2)
    url, stop, told = str(tmp_path), threading.Event(), list[str]()
    Sender(settings, topic, partitions=2).send(20)
    archiving = run.ArchiveRun(settings, url, [topic], rules=Rules(), stop=stop, told=told.append)
    (one,) = archiving.topics
    thread = threading.Thread(target=archiving.run)
    thread.start()
    try:
        wait_until(lambda: one.written.taken == 20, "the first records", timeout_s=ANSWER_S)
        old = by_partition(read_all(settings, topic))
        make_anew(settings, topic, partitions=2)
        Sender(settings, topic, partitions=2).send(500)  # the client goes on in it where it was in the old one
        wait_until(lambda: one.written.taken == 520, "all records", timeout_s=2 * ANSWER_S)
    finally:
        stop.set()
        thread.join()
    assert any("it was deleted and made anew" in line for line in told)
    assert one.error is None
    parts = Storage(url).epochs(topic)
    assert by_partition(archived(url, topic)) == old
    assert by_partition(archived(parts[1].url, topic)) == by_partition(read_all(settings, topic))
    assert [verify(part, topic).problems for part in parts] == [[], []]


def test_a_broker_that_is_killed_and_started_again_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOOK_S", 1)
    monkeypatch.setattr(topic_id, "_ANSWER_S", 2)
    monkeypatch.setattr(patience, "LONGEST_S", 1)
    with ephemeral() as status:
        settings, topic, told = load_settings(bootstrap=status.bootstrap), "outage.log", list[str]()
        admin = AdminClient({"bootstrap.servers": settings.bootstrap})
        admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])[topic].result(ANSWER_S)
        sender = Sender(settings, topic, partitions=2)
        sender.send(50)
        stop = threading.Event()
        archiving = run.ArchiveRun(settings, str(tmp_path), [topic], rules=Rules(), stop=stop, told=told.append)
        (one,) = archiving.topics
        thread = threading.Thread(target=archiving.run)
        thread.start()
        try:
            wait_until(lambda: one.written.taken == 50, "the first records", timeout_s=ANSWER_S)
            os.kill(status.nodes[0].pid, signal.SIGKILL)
            wait_until(lambda: len(told) == 1, "that it waits", timeout_s=ANSWER_S)
            LocalCluster(status.folder).start()
            sender.send(50)
            wait_until(lambda: one.written.taken == 100 and len(told) == 2, "all records", timeout_s=2 * ANSWER_S)
        finally:
            stop.set()
            thread.join()
        assert one.error is None
        assert "no Kafka broker answers" in told[0]
        assert told[0].endswith("trying again for up to 24 hours")
        assert told[1].startswith(f"topic {topic}: it goes on after ")
        log = by_partition(read_all(settings, topic))
        assert sum(map(len, log.values())) == 100
        assert by_partition(archived(str(tmp_path), topic)) == log
    assert verify(Storage(str(tmp_path)), topic).problems == []


def test_it_goes_on_with_what_comes_completes_its_files_on_a_signal_and_keeps_a_second_writer_out(
    new_log: NewLog, tmp_path: Path
) -> None:
    settings, topic = new_log(partitions=1)
    url = tmp_path / "archive"
    sender = Sender(settings, topic, partitions=1)
    sender.send(20)
    options = ("--topics", topic, "--from", "now")
    with started("archive", "run", url, *options, STREAMPROC_BOOTSTRAP=settings.bootstrap) as running:
        wait_until(lambda: bool(Storage(str(url)).files(topic)), "the mark of its start", timeout_s=60)
        sender.send(30)
        partial = url / topic
        wait_until(lambda: any(partial.glob("*.partial")), "an open file", timeout_s=30)
        second = command(settings, "run", url, *options, "--until-end")
        assert (second.code, "another process archives this topic" in second.error_line) == (1, True)
        time.sleep(1)
        running.interrupt()
        done, seconds = running.ended(timeout_s=30)
    assert (done.code, seconds < 15) == (130, True)
    assert "30 records" in done.out
    assert not any(partial.glob("*.partial"))
    kept = archived(url, topic)
    assert [one.offset for one in kept] == list(range(20, 50))
    assert kept == [one for one in read_all(settings, topic) if one.offset >= 20]
    with ArchiveReader(str(url), topic) as reader:
        assert reader.bounds(0) == (20, 50)
        with pytest.raises(ArchiveError, match="has no partition 4"):
            reader.bounds(4)


def test_partitions_added_while_it_runs_are_taken_in_and_one_topic_that_fails_ends_the_others_whole(
    new_log: NewLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOOK_S", 0.5)
    settings, topic = new_log(partitions=1)
    url, stop = str(tmp_path), threading.Event()
    Sender(settings, topic, partitions=1).send(10)
    archiving = run.ArchiveRun(settings, url, [topic], rules=Rules(), stop=stop)
    (one,) = archiving.topics
    thread = threading.Thread(target=archiving.run)
    thread.start()
    try:
        wait_until(lambda: one.written.taken == 10, "the first records", timeout_s=ANSWER_S)
        admin = AdminClient({"bootstrap.servers": settings.bootstrap})
        admin.create_partitions([NewPartitions(topic, 2)])[topic].result(ANSWER_S)
        wait_until(lambda: len(one.positions) == 2, "the second partition", timeout_s=ANSWER_S)
        Sender(settings, topic, partitions=2).send(40)
        wait_until(lambda: one.written.taken == 50, "all records", timeout_s=ANSWER_S)
    finally:
        stop.set()
        thread.join()
    assert by_partition(archived(url, topic)) == by_partition(read_all(settings, topic))
    assert verify(Storage(url), topic).problems == []

    Sender(settings, topic, partitions=2).send(5)
    both = run.ArchiveRun(settings, url, [topic, f"{topic}-missing"], rules=Rules())
    with pytest.raises(BrokerError, match=f"topic {topic}-missing does not exist"):
        both.run()
    errors = [one.error is None for one in both.topics]
    assert errors == [True, False]
    assert verify(Storage(url), topic).problems == []
    assert both.topics[0].written.records == both.topics[0].written.taken
