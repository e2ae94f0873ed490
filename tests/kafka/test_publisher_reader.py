"""The two clients of our own: every record sent has one report, and what is read is exactly what was asked for."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streamproc.errors import BrokerError, DeliveryError
from streamproc.publisher import Publisher
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings, load_settings
from tests.kafka.whole_log import read_all

pytestmark = pytest.mark.kafka

ANSWER_S = 20.0
NOWHERE = "127.0.0.1:1"

NewLog = Callable[..., tuple[Settings, str]]


@pytest.fixture
def new_log(new_settings: Callable[..., Settings]) -> NewLog:
    """Make a topic of its own, and settings for it."""

    def make(*, partitions: int = 4, **config: str) -> tuple[Settings, str]:
        settings = new_settings(delivery_timeout_s=ANSWER_S)
        topic = f"{settings.prefix}log-{secrets.token_hex(2)}"
        named = {name.replace("_", "."): value for name, value in config.items()}
        admin = AdminClient({"bootstrap.servers": settings.bootstrap})
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=named)
        admin.create_topics([new])[topic].result(ANSWER_S)
        return settings, topic

    return make


class Reports:
    """What the publisher said of each record."""

    def __init__(self) -> None:
        self.offsets: dict[str, int] = {}
        self.errors: dict[str, Exception] = {}
        self.twice: list[str] = []

    def of(self, name: str) -> Callable[[Exception | None, int | None], None]:
        def take(error: Exception | None, offset: int | None) -> None:
            if name in self.offsets or name in self.errors:
                self.twice.append(name)
            if error is not None:
                assert offset is None
                self.errors[name] = error
            else:
                assert offset is not None
                self.offsets[name] = offset

        return take


def fill(settings: Settings, topic: str, counts: dict[int, int]) -> None:
    """So many records into each partition; the value of record 3 of partition 1 is b"1:3"."""
    with Publisher(settings, client_id="test") as publisher:
        for partition, count in counts.items():
            for number in range(count):
                value = f"{partition}:{number}".encode()
                publisher.send(topic=topic, partition=partition, key=b"k", value=value, headers=[])


def values(records: list[Record], partition: int) -> list[bytes]:
    return [record.value for record in records if record.partition == partition]


def test_records_arrive_where_they_were_sent_as_they_were_sent_and_each_is_reported_once(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=4)
    reports = Reports()
    sent: dict[str, tuple[int, bytes, bytes, list[tuple[str, bytes]]]] = {}
    with Publisher(settings, client_id="test") as publisher:
        for number in range(90):
            name = f"n{number}"
            headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("bytes", bytes(range(256)))][: number % 5]
            sent[name] = (number % 3, name.encode(), bytes([number]) * (number * 300), headers)
            partition, key, value, _ = sent[name]
            publisher.send(
                topic=topic,
                partition=partition,
                key=key,
                value=value,
                headers=headers,
                on_delivery=reports.of(name),
            )
        assert publisher.flush(ANSWER_S) == 0
        assert (publisher.acked, publisher.failed, publisher.queued_bytes) == (90, 0, 0)
    assert (len(reports.offsets), reports.twice) == (90, [])
    arrived = {record.key.decode(): record for record in read_all(settings, topic)}
    assert sorted(arrived) == sorted(sent)
    for name, record in arrived.items():
        assert (record.partition, record.key, record.value, record.headers) == sent[name]
        assert record.offset == reports.offsets[name] == int(name[1:]) // 3
        assert abs(record.timestamp_ms - time.time() * 1000) < 60_000


def test_a_record_larger_than_its_topic_takes_fails_by_name_and_later_ones_are_delivered(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=1, max_message_bytes="60000")
    reports = Reports()
    with Publisher(settings, client_id="test") as publisher:

        def send(name: str, size: int) -> None:
            value = bytes(size)
            publisher.send(topic=topic, partition=0, key=b"k", value=value, headers=[], on_delivery=reports.of(name))
            assert publisher.flush(ANSWER_S) == 0

        for name, size in (("before", 100), ("large", 100_000), ("after", 100), ("last", 50_000)):
            send(name, size)
        assert (publisher.acked, publisher.failed, publisher.queued_bytes) == (3, 1, 0)
        with pytest.raises(DeliveryError, match=f"topic {topic} refused a record of 10000000 bytes"):
            send("larger than any topic takes", 10_000_000)
        assert publisher.queued_bytes == 0
    assert reports.offsets == {"before": 0, "after": 1, "last": 2}
    (error,) = reports.errors.values()
    assert isinstance(error, DeliveryError)
    for word in (topic, "100000 bytes", "max.message.bytes", "--grid"):
        assert word in str(error)
    assert [len(record.value) for record in read_all(settings, topic)] == [100, 100, 50_000]


def test_a_partition_that_does_not_exist_is_named_at_once(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=1)
    with Publisher(settings, client_id="test") as publisher:
        publisher.send(topic=topic, partition=0, key=b"", value=b"so that the topic is known", headers=[])
        assert publisher.flush(ANSWER_S) == 0
        with pytest.raises(DeliveryError, match=f"topic {topic} does not exist or has fewer partitions"):
            publisher.send(topic=topic, partition=5, key=b"", value=b"x", headers=[])
        assert (publisher.acked, publisher.queued_bytes) == (1, 0)


def test_without_a_broker_the_queue_stays_within_its_bytes_and_sending_fails_in_its_time() -> None:
    reports = Reports()
    publisher = Publisher(load_settings(bootstrap=NOWHERE, producer_queue_bytes=2**20), client_id="test").start()

    def send(number: int) -> None:
        report = reports.of(str(number))
        value = bytes(30_000)
        publisher.send(topic="any", partition=0, key=b"", value=value, headers=[], on_delivery=report, timeout_s=1)

    room = 2**20 // 30_000
    for number in range(room):
        send(number)
        assert publisher.queued_bytes == 30_000 * (number + 1)
    started_s = time.monotonic()
    with pytest.raises(DeliveryError, match=r"^topic any: the queue of unsent records stayed full[^\n]*$"):
        send(room)
    assert 0.9 < time.monotonic() - started_s < 3
    assert publisher.queued_bytes == 30_000 * room
    assert publisher.close(timeout_s=0.1) == room
    assert (len(reports.errors), reports.offsets, reports.twice) == (room, {}, [])
    assert (publisher.failed, publisher.acked, publisher.queued_bytes) == (room, 0, 0)


def test_without_a_broker_a_record_fails_after_the_delivery_timeout() -> None:
    reports = Reports()
    with Publisher(load_settings(bootstrap=NOWHERE, delivery_timeout_s=1), client_id="test") as publisher:
        publisher.send(topic="any", partition=0, key=b"", value=b"x", headers=[], on_delivery=reports.of("x"))
        assert publisher.flush(8) == 0
        assert (publisher.failed, publisher.queued_bytes) == (1, 0)
    assert "topic any: a record was not acknowledged in time" in str(reports.errors["x"])


def test_ranges_are_read_exactly_over_several_partitions_empty_ones_and_ends(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=4)
    fill(settings, topic, {0: 10, 2: 5, 3: 7})
    with TopicReader(settings, topic) as reader:
        assert reader.partitions() == [0, 1, 2, 3]
        assert [reader.bounds(number) for number in range(4)] == [(0, 10), (0, 0), (0, 5), (0, 7)]
        records = list(reader.read({0: (2, 7), 1: (0, 0), 2: (0, 5), 3: (3, 3)}))
        assert values(records, 0) == [b"0:2", b"0:3", b"0:4", b"0:5", b"0:6"]
        assert values(records, 2) == [b"2:0", b"2:1", b"2:2", b"2:3", b"2:4"]
        assert len(records) == 10
        assert [record.value for record in reader.read({3: (6, 7), 0: (9, 10)})] in (
            [b"3:6", b"0:9"],
            [b"0:9", b"3:6"],
        )
        assert list(reader.read({})) == list(reader.read({1: (0, 0)})) == []
        abandoned = reader.read({0: (0, 10)})
        assert next(abandoned).value == b"0:0"
        assert values(list(reader.read({2: (1, 3)})), 2) == [b"2:1", b"2:2"]


def test_records_that_retention_took_are_not_waited_for(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=2)
    fill(settings, topic, {0: 10, 1: 6})
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    for partition, before in ((0, 4), (1, 6)):
        at = TopicPartition(topic, partition, before)
        admin.delete_records([at])[at].result(ANSWER_S)
    with TopicReader(settings, topic) as reader:
        assert [reader.bounds(number) for number in (0, 1)] == [(4, 10), (6, 6)]
        records = list(reader.read({0: (2, 7), 1: (0, 6)}, stall_s=8))
        assert list(reader.read({0: (0, 4)}, stall_s=8)) == []
    assert [record.value for record in records] == [b"0:4", b"0:5", b"0:6"]


def test_a_range_beyond_the_end_is_given_up_after_the_stall_time(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=1)
    fill(settings, topic, {0: 3})
    got: list[Record] = []
    with TopicReader(settings, topic) as reader, pytest.raises(BrokerError, match=f"topic {topic}: no record came for"):
        got.extend(reader.read({0: (1, 9)}, stall_s=0.5))
    assert values(got, 0) == [b"0:1", b"0:2"]


def test_an_offset_is_found_by_time(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=2)
    now_ms = int(time.time() * 1000)
    stamps = [now_ms - 50_000 + 10_000 * number for number in range(5)]
    producer = Producer({"bootstrap.servers": settings.bootstrap})
    for stamp in stamps:
        producer.produce(topic, b"x", partition=0, timestamp=stamp)
    assert producer.flush(ANSWER_S) == 0
    with TopicReader(settings, topic) as reader:

        def at(since_ms: int) -> int:
            return reader.offset_at(0, since_ms=since_ms)

        assert [at(stamp) for stamp in stamps] == [0, 1, 2, 3, 4]
        assert [at(stamp - 1) for stamp in stamps] == [0, 1, 2, 3, 4]
        assert [at(stamp + 1) for stamp in stamps] == [1, 2, 3, 4, 5]
        assert (at(0), at(-5), at(now_ms + 10**9)) == (0, 0, 5)
        assert reader.offset_at(1, since_ms=stamps[0]) == 0


def test_following_gives_what_comes_says_when_nothing_comes_and_stops_when_told(new_log: NewLog) -> None:
    settings, topic = new_log(partitions=3)
    fill(settings, topic, {0: 3, 1: 2})
    got: list[Record] = []
    quiet = 0
    deadline_s = time.monotonic() + ANSWER_S
    with TopicReader(settings, topic) as reader:
        for record in reader.follow({0: 2, 1: 2, 2: 0}, stop=lambda: len(got) == 7 or time.monotonic() > deadline_s):
            if record is not None:
                got.append(record)
            elif (quiet := quiet + 1) == 1:
                fill(settings, topic, {1: 2, 2: 4})
        asked = iter((False, True))
        started_s = time.monotonic()
        assert list(reader.follow({0: 3}, stop=lambda: next(asked))) in ([None], [])
        assert time.monotonic() - started_s < 2
    assert quiet
    assert values(got, 0) == [b"0:2"]
    assert values(got, 1) == [b"1:0", b"1:1"]
    assert values(got, 2) == [b"2:0", b"2:1", b"2:2", b"2:3"]


@pytest.mark.parametrize(
    "question",
    [
        lambda reader: reader.partitions(),
        lambda reader: reader.bounds(0),
        lambda reader: reader.offset_at(0, since_ms=0),
    ],
)
def test_a_topic_that_is_not_there_is_named_and_not_made(bootstrap: str, question: Callable[[Any], object]) -> None:
    settings = load_settings(bootstrap=bootstrap)
    name = f"nobody-{secrets.token_hex(3)}"
    with (
        TopicReader(settings, name) as reader,
        pytest.raises(BrokerError, match=f"topic {name} does not exist on {bootstrap}.*: run streamproc topics create"),
    ):
        question(reader)
    assert name not in AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=ANSWER_S).topics


def test_a_leader_that_is_not_there_yet_is_waited_for(bootstrap: str) -> None:
    refusals = [KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)) for _ in range(2)]

    def bounds() -> tuple[int, int]:
        if refusals:
            raise refusals.pop()
        return 0, 7

    with TopicReader(load_settings(bootstrap=bootstrap), "any") as reader:
        assert reader._ask(bounds) == (0, 7)
