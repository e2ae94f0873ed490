"""Topics as the broker has them: created with every config said, and whatever differs is named."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    ResourceType,
)

from streamproc.broker import ephemeral
from streamproc.errors import BrokerError, StreamprocError
from streamproc.provision import Difference, check_topics, create_topics, require_topics, wait_for_group
from streamproc.reader import TopicReader
from streamproc.settings import Settings, load_settings
from streamproc.topics import Topics
from tests.cli import streamproc
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

ANSWER_S = 20.0
HOUR, DAY = 3_600_000, 86_400_000
RETENTION_MS = {"tiles": HOUR, "features": HOUR, "events": 7 * DAY, "edges": HOUR // 6, "deadletters": 7 * DAY}
MEBIBYTES = {"tiles": 2, "features": 8, "events": 2, "edges": 8, "deadletters": 9}
SAID = {"cleanup.policy", "compression.type", "max.message.bytes", "message.timestamp.type", "min.insync.replicas"}


def admin_of(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.bootstrap})


def configs_said(settings: Settings, topic: str) -> dict[str, str]:
    """The configs that were given with the topic itself; not what the broker takes for granted."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = admin_of(settings)
    entries = admin.describe_configs([resource])[resource].result(ANSWER_S)
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {name: str(entry.value) for name, entry in entries.items() if entry.source == own}


def set_config(settings: Settings, topic: str, name: str, value: str) -> None:
    change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    admin = admin_of(settings)
    admin.incremental_alter_configs([resource])[resource].result(ANSWER_S)


def add_partitions(settings: Settings, topic: str, total: int) -> None:
    admin = admin_of(settings)
    admin.create_partitions([NewPartitions(topic, total)])[topic].result(ANSWER_S)


def test_all_topics_are_created_with_every_config_said_and_nothing_is_created_twice(
    new_settings: Callable[..., Settings],
) -> None:
    settings = new_settings(partitions=3)
    names = {f"{settings.prefix}{name}" for name in RETENTION_MS}
    assert set(create_topics(settings)) == names
    assert create_topics(settings) == []
    assert check_topics(settings) == []
    assert require_topics(settings) == 3
    for name, retention_ms in RETENTION_MS.items():
        said = configs_said(settings, f"{settings.prefix}{name}")
        assert said["retention.ms"] == str(retention_ms)
        assert set(said) >= SAID
        assert (said["max.message.bytes"], said["min.insync.replicas"]) == (str(MEBIBYTES[name] * 2**20), "1")
    assert int(configs_said(settings, f"{settings.prefix}tiles")["retention.bytes"]) == 8 * 2**30 // 3


def test_two_that_create_at_once_create_each_topic_once(new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(partitions=1)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(create_topics, [settings, settings]))
    assert sorted(both[0] + both[1]) == sorted(f"{settings.prefix}{name}" for name in RETENTION_MS)


def test_a_changed_config_a_wrong_count_and_a_missing_topic_are_named(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=2)
    topics = Topics(settings.prefix)
    set_config(settings, topics.events, "retention.ms", "1000")
    add_partitions(settings, topics.features, 5)
    admin = admin_of(settings)
    admin.delete_topics([topics.edges])[topics.edges].result(ANSWER_S)
    wanted = [
        Difference(topic=topics.features, what="partitions", want="2", have="5"),
        Difference(topic=topics.events, what="retention.ms", want=str(7 * DAY), have="1000"),
        Difference(topic=topics.edges, what="topic", want="present", have=None),
    ]
    wait_until(lambda: check_topics(settings) == wanted, "the three differences", timeout_s=ANSWER_S)
    assert [str(one) for one in wanted] == [
        f"topic {topics.features}: partitions is 5, should be 2",
        f"topic {topics.events}: retention.ms is 1000, should be {7 * DAY}",
        f"topic {topics.edges} is missing: run streamproc topics create",
    ]
    with pytest.raises(BrokerError, match=rf"^topic {topics.edges} is missing on {settings.bootstrap}: run streamproc"):
        require_topics(settings)
    assert create_topics(settings) == [topics.edges]
    assert check_topics(settings) == wanted[:2]


def test_missing_topics_and_differing_counts_are_refused_in_one_line(new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(partitions=2)
    with pytest.raises(BrokerError) as missing:
        require_topics(settings)
    create_topics(settings)
    add_partitions(settings, Topics(settings.prefix).tiles, 4)
    with pytest.raises(BrokerError) as differing:
        wait_until(lambda: require_topics(settings) != 2, "another count", timeout_s=ANSWER_S)
    for name in RETENTION_MS:
        assert f"{settings.prefix}{name}" in str(missing.value)
        assert f"{settings.prefix}{name} {4 if name == 'tiles' else 2}" in str(differing.value)
    assert "streamproc topics create" in str(missing.value)
    assert "\n" not in str(missing.value) + str(differing.value)


def test_a_broker_that_refuses_a_topic_is_quoted_in_one_line(new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(replication=7)
    with pytest.raises(BrokerError, match=r"could not be created.*[Rr]eplicat") as refused:
        create_topics(settings)
    assert "\n" not in str(refused.value)


def _complaint(question: Callable[[], object]) -> tuple[str, float]:
    started_s = time.monotonic()
    with pytest.raises(StreamprocError) as raised:
        question()
    assert isinstance(raised.value, BrokerError)
    return str(raised.value), time.monotonic() - started_s


def test_a_broker_that_is_not_there_or_never_answers_is_one_error_within_12_s() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(5) as pool:
        deaf = load_settings(bootstrap=f"127.0.0.1:{silent.getsockname()[1]}")
        nobody = load_settings(bootstrap="127.0.0.1:1")

        def partitions() -> list[int]:
            with TopicReader(nobody, "any") as reader:
                return reader.partitions()

        questions: list[Callable[[], object]] = [
            lambda: require_topics(deaf),
            lambda: create_topics(nobody),
            lambda: check_topics(nobody),
            partitions,
        ]
        command = pool.submit(streamproc, "events", "--bootstrap", nobody.bootstrap)
        told = list(pool.map(_complaint, questions))
    for words, seconds in told:
        assert seconds < 12
        assert "\n" not in words
    assert [deaf.bootstrap in told[0][0], *(nobody.bootstrap in words for words, _ in told[1:])] == [True] * 4
    assert all("no Kafka broker answers" in words and "STREAMPROC_BOOTSTRAP" in words for words, _ in told[:3])
    done = command.result()
    assert done.err.splitlines() == [done.error_line]  # and no line of the library for each attempt
    assert nobody.bootstrap in done.error_line


def test_waiting_for_workers_ends_in_words_or_when_it_makes_no_sense_any_more(
    topics_ready: Callable[..., Settings],
) -> None:
    settings = topics_ready(partitions=1)
    asked: list[None] = []
    started_s = time.monotonic()
    with pytest.raises(BrokerError) as late:
        wait_for_group(settings, members=1, timeout_s=0.5, check=lambda: asked.append(None))
    assert time.monotonic() - started_s < 6
    assert asked
    for word in (Topics(settings.prefix).group, settings.bootstrap, "within 0.5 s", "logs"):
        assert word in str(late.value)

    def gone() -> None:
        raise StreamprocError("a worker ended")

    with pytest.raises(StreamprocError, match="a worker ended"):
        wait_for_group(settings, members=1, timeout_s=60, check=gone)


def test_created_topics_are_known_to_every_broker_of_a_cluster_when_create_returns() -> None:
    with ephemeral(3) as cluster:
        for number in range(5):
            settings = load_settings(
                bootstrap=cluster.bootstrap, prefix=f"n{number}.", partitions=4, replication=3, session_timeout_s=6
            )
            assert len(create_topics(settings)) == 5
            assert require_topics(settings) == 4
            assert check_topics(settings) == []
        assert configs_said(settings, "n0.tiles")["min.insync.replicas"] == "2"
