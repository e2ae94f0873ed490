"""Mistakes really made on real brokers: the doctor names each, says what to do, and ends in time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streamproc.broker import ephemeral
from streamproc.broker.ports import choose_ports
from streamproc.doctor import Finding, examine
from streamproc.provision import create_topics
from streamproc.publisher import Publisher
from streamproc.settings import Settings, known_variables, load_settings
from streamproc.topics import Topics
from tests.cameras.tls import TlsProxy
from tests.certificates import certificate

pytestmark = pytest.mark.kafka

CANARY = "canary-7781"


def seen(settings: Settings, variables: Collection[str] = ()) -> list[Finding]:
    return examine(settings, variables=variables, known=known_variables())


def troubles(settings: Settings) -> dict[str, str]:
    """What is not well, by what; those of this machine's own left out."""
    own = {"memory", "CPU", "open files", "disk", "Java for the local broker"}
    return {
        one.what: f"{one.verdict}: {one.told}" for one in seen(settings) if one.verdict != "ok" and one.what not in own
    }


def test_a_sound_set_up_gives_no_warning_and_a_dead_broker_takes_no_15_seconds(
    topics_ready: Callable[..., Settings],
) -> None:
    settings = topics_ready(partitions=2)
    assert troubles(settings) == {}
    assert {one.what for one in seen(settings)} >= {"advertised", "topics", "group", "clock", "dead letters", "broker"}
    with socket.create_server(("127.0.0.1", 0), backlog=8) as mute:  # takes connections and says nothing
        began_s = time.monotonic()
        told = troubles(settings.model_copy(update={"bootstrap": f"127.0.0.1:{mute.getsockname()[1]}"}))
        assert time.monotonic() - began_s < 15
    assert "does not answer as Kafka" in told["broker"]


def altered(settings: Settings, topic: str, **config: str) -> None:
    """Change a topic's configuration."""
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.incremental_alter_configs([resource])[resource].result(10)


def test_mistakes_of_topics_are_found_where_they_were_made(new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(partitions=2)
    topics, admin = Topics(settings.prefix), AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.create_topics([NewTopic(topics.edges, 1, 1)])[topics.edges].result(10)  # as a broker does by itself
    create_topics(settings)
    altered(settings, topics.tiles, retention_ms="20000", min_insync_replicas="2")
    altered(settings, topics.features, max_message_bytes="1048588")
    with Publisher(settings, client_id="t") as publisher:
        for topic in (topics.deadletters, topics.events):
            publisher.send(topic=topic, partition=0, key=b"gate/run-1/0/0", value=b"x", headers=[])
    late = Producer({"bootstrap.servers": settings.bootstrap})
    late.produce(topics.events, b"x", partition=1, timestamp=int((time.time() + 600) * 1000))
    late.flush(10)
    found = [f"{one.what}: {one.told}" for one in seen(settings) if one.verdict != "ok"]
    for words in (
        f"topics: topic {topics.edges}: partitions is 1, should be 2, as all must have the same",
        "record size: topic " + topics.features + ": max.message.bytes is 1048588",
        f"replication: topic {topics.tiles} has 1 copies and min.insync.replicas=2: nothing can be written",
        f"retention: topic {topics.tiles} keeps 20 s and a frame may wait 30 s",
        f"clock: the newest record of {topics.events} is ",
        "dead letters: 1, the newest of gate: streamproc deadletters list",
    ):
        assert any(words in line for line in found), (words, found)


def test_lag_without_workers_and_records_that_were_lost_unread_are_found(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=2)
    topics, admin = Topics(settings.prefix), AdminClient({"bootstrap.servers": settings.bootstrap})
    with Publisher(settings, client_id="t") as publisher:
        for _ in range(6):
            publisher.send(topic=topics.tiles, partition=1, key=b"k", value=b"x", headers=[])
    committed = [ConsumerGroupTopicPartitions(topics.group, [TopicPartition(topics.tiles, 1, 1)])]
    admin.alter_consumer_group_offsets(committed)[topics.group].result(10)
    assert "6 records wait" not in (told := troubles(settings))["group"]
    assert "5 records wait and group" in told["group"]
    for deleted in admin.delete_records([TopicPartition(topics.tiles, 1, 4)]).values():
        deleted.result(10)
    assert f"3 records of {topics.tiles} were removed before they were read" in troubles(settings)["lag"]


def several_doors(ports: list[int]) -> Callable[[int, dict[str, str]], dict[str, str]]:
    """Make a broker of many mistakes, with a door that leads nowhere and one that wants a login."""
    lost, login = ports

    def amend(_node: int, settings: dict[str, str]) -> dict[str, str]:
        protocols = settings["listener.security.protocol.map"]
        return {
            **settings,
            "listeners": f"{settings['listeners']},LOST://127.0.0.1:{lost},LOGIN://127.0.0.1:{login}",
            "advertised.listeners": (
                f"{settings['advertised.listeners']},LOST://kafka.invalid:{lost},LOGIN://127.0.0.1:{login}"
            ),
            "listener.security.protocol.map": f"{protocols},LOST:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": (
                'org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="right";'
            ),
            "offsets.topic.replication.factor": "3",
            "auto.create.topics.enable": "true",
            "group.min.session.timeout.ms": "20000",
        }

    return amend


def test_brokers_that_are_set_up_or_addressed_wrongly_are_found(tmp_path: Path) -> None:
    lost, login = choose_ports(0, 2)
    file, key = certificate(tmp_path)
    with ephemeral(amend=several_doors([lost, login])) as status:
        assert status.bootstrap is not None
        here, port = status.bootstrap, int(status.bootstrap.rpartition(":")[2])
        plain = load_settings(bootstrap=here, prefix="t.", replication=3)
        told = [one.told for one in seen(plain) if one.verdict != "ok"]
        for words in (
            "STREAMPROC_REPLICATION is 3, the cluster has 1 brokers",
            "the brokers want 3 copies of the groups' offsets",
            "the brokers make topics by themselves",
            "STREAMPROC_SESSION_TIMEOUT_S is 8, the brokers take 20 to",
        ):
            assert any(words in line for line in told), (words, told)
        login_as = {
            "bootstrap": f"127.0.0.1:{login}",
            "security_protocol": "SASL_PLAINTEXT",
            "security_username": "bob",
            "security_sasl_mechanism": "PLAIN",
        }
        with TlsProxy(port, certificate_file=file, key_file=key) as proxy:
            away = f"localhost:{proxy.port}"
            cases: list[tuple[dict[str, Any], str, str]] = [
                ({"bootstrap": f"127.0.0.1:{lost}"}, "advertised", f"come to kafka.invalid:{lost}"),
                ({**login_as, "security_password": CANARY}, "security", "refuses the login of bob"),
                (
                    {**login_as, "security_password": CANARY, "security_sasl_mechanism": "SCRAM-SHA-512"},
                    *("security", "STREAMPROC_SECURITY_SASL_MECHANISM"),
                ),
                ({"bootstrap": f"127.0.0.1:{login}"}, "security", "wants a login"),
                ({"bootstrap": here, "security_protocol": "SSL"}, "security", "speaks no TLS"),
                ({"bootstrap": away}, "security", "speaks TLS"),
                ({"bootstrap": away, "security_protocol": "SSL"}, "security", "is not trusted"),
                (
                    {"bootstrap": away, "security_protocol": "SSL", "security_ca_file": file},
                    *("certificate", "ends in 24 hours"),
                ),
            ]
            with ThreadPoolExecutor(len(cases)) as pool:
                found = list(pool.map(lambda case: troubles(load_settings(prefix="t.", **case[0])), cases))
        for (_, what, words), said in zip(cases, found, strict=True):
            assert words in said.get(what, ""), (words, said)
        assert CANARY not in str(found)
