"""Topics on the broker: create them with explicit configs, and say what differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic, OffsetSpec, ResourceType

from streamproc.client import client_config, unreachable
from streamproc.errors import BrokerError
from streamproc.settings import Settings
from streamproc.topics import Topics, TopicSpec

ANSWER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which a topic is not as it must be; `have` is None when the topic is missing."""

    topic: str
    what: str
    want: str
    have: str | None

    def __str__(self) -> str:
        if self.have is None:
            return f"topic {self.topic} is missing: run streamproc topics create"
        return f"topic {self.topic}: {self.what} is {self.have}, should be {self.want}"


def cluster_metadata(settings: Settings, *, timeout_s: float = ANSWER_S) -> ClusterMetadata:
    """Ask the cluster for its topics.

    Raises:
        BrokerError: Nobody answered within `timeout_s`.
    """
    try:
        return _admin(settings).list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise BrokerError(unreachable(settings, error.args[0])) from None


def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing, with explicit configs; returns the names created.

    Topics that exist are left as they are: `check_topics` says what differs.

    Raises:
        BrokerError: The broker is unreachable or refuses.
    """
    existing = cluster_metadata(settings).topics
    missing = [spec for spec in _specs(settings) if spec.name not in existing]
    if not missing:
        return []
    new = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=settings.replication,
            config={**spec.config, **_min_isr(settings)},
        )
        for spec in missing
    ]
    admin = _admin(settings)  # must outlive its futures
    futures = admin.create_topics(new, operation_timeout=ANSWER_S, request_timeout=2 * ANSWER_S)
    created = [name for name, future in futures.items() if _created(name, future, settings)]
    _wait_until_visible(settings, [spec.name for spec in missing])
    return created


def _wait_until_visible(settings: Settings, names: Sequence[str]) -> None:
    """A topic that this or another process has just created takes a moment to reach each broker's metadata.

    Each is asked: measured on three brokers, the next question was answered without the topics 23 times of 25.
    """
    deadline = time.monotonic() + ANSWER_S
    for broker in cluster_metadata(settings).brokers.values():
        host = str(broker.host)
        one = settings.model_copy(update={"bootstrap": f"{f'[{host}]' if ':' in host else host}:{broker.port}"})
        while not _all_led(cluster_metadata(one).topics, names):
            if time.monotonic() > deadline:
                raise BrokerError(f"{_what(names)} created but not visible on {one.bootstrap} after {ANSWER_S:.0f} s")
            time.sleep(0.05)
    while not _all_online(settings, names):
        if time.monotonic() > deadline:
            raise BrokerError(
                f"{_what(names)} created but cannot be written after {ANSWER_S:.0f} s: see the broker's log"
            )
        time.sleep(0.05)


def _all_online(settings: Settings, names: Sequence[str]) -> bool:
    """Whether the leader of each partition has made it ready; it is named in the metadata some time before that."""
    topics = cluster_metadata(settings).topics
    ends: dict[TopicPartition, OffsetSpec] = {
        TopicPartition(name, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
        for name in names
        for number in topics[name].partitions
    }
    admin = _admin(settings)  # must outlive its futures
    try:
        futures = admin.list_offsets(ends, request_timeout=ANSWER_S)
        # One that is not ready may be answered without error and without offset.
        return all(future.result(timeout=2 * ANSWER_S).offset >= 0 for future in futures.values())
    except KafkaException:
        return False


def _all_led(topics: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether all are there and each of their partitions has a leader."""
    return all(
        name in topics and all(partition.leader >= 0 for partition in topics[name].partitions.values())
        for name in names
    )


def check_topics(settings: Settings) -> list[Difference]:
    """Compare the topics on the broker with what they must be.

    Raises:
        BrokerError: The broker is unreachable.
    """
    existing = cluster_metadata(settings).topics
    specs = _specs(settings)
    present = [spec for spec in specs if spec.name in existing]
    configs = _topic_configs(settings, present)
    differences = []
    for spec in specs:
        if spec not in present:
            differences.append(Difference(topic=spec.name, what="topic", want="present", have=None))
            continue
        have = len(existing[spec.name].partitions)
        if have != spec.partitions:
            differences.append(
                Difference(topic=spec.name, what="partitions", want=str(spec.partitions), have=str(have))
            )
        differences += [
            Difference(topic=spec.name, what=key, want=want, have=configs[spec.name].get(key, "unset"))
            for key, want in spec.config.items()
            if configs[spec.name].get(key) != want
        ]
    return differences


def require_topics(settings: Settings) -> int:
    """The partition count of the pipeline's topics.

    Raises:
        BrokerError: The broker is unreachable, a topic is missing, or the counts differ: a camera's features and
            events must have the same partition, so all topics need the same count.
    """
    existing = cluster_metadata(settings).topics
    names = [spec.name for spec in _specs(settings)]
    missing = [name for name in names if name not in existing]
    if missing:
        raise BrokerError(
            f"{_what(missing)} missing on {settings.bootstrap}: run streamproc topics create"
            " (or set STREAMPROC_PREFIX to the prefix of existing ones)"
        )
    counts = {name: len(existing[name].partitions) for name in names}
    if len(set(counts.values())) != 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise BrokerError(f"topics have different partition counts ({told}): create them anew with the same count")
    return counts[names[0]]


def topics_changed(settings: Settings, *, partitions: int) -> str | None:
    """What makes it impossible for a worker to go on: a topic that is gone, or has other partitions; None if nothing.

    Raises:
        BrokerError: The broker does not answer.
    """
    existing = cluster_metadata(settings).topics
    for spec in _specs(settings):
        if spec.name not in existing:
            return f"topic {spec.name} was deleted while the worker ran: run streamproc topics create, start it again"
        have = len(existing[spec.name].partitions)
        if have != partitions:
            return (
                f"topic {spec.name} has {have} partitions now, it had {partitions} when the worker started: all topics"
                " need the same number for good; create topics anew with another STREAMPROC_PREFIX"
            )
    return None


def wait_for_group(settings: Settings, *, members: int, timeout_s: float, check: Callable[[], None]) -> None:
    """Wait until the workers' group has `members` members and has shared out its partitions.

    Args:
        settings: Where the broker is, and the group's prefix.
        members: Workers to wait for; more are fine.
        timeout_s: Longest wait.
        check: Called while waiting; raises when waiting makes no sense any more.

    Raises:
        BrokerError: The group was not ready in time.
    """
    group = Topics(settings.prefix).group
    admin = _admin(settings)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        check()
        try:
            found = admin.describe_consumer_groups([group], request_timeout=2)[group].result(timeout=3)
        except (KafkaException, TimeoutError):
            found = None  # the coordinator is not there yet
        if found is not None and found.state == ConsumerGroupState.STABLE and len(found.members) >= members:
            return
        time.sleep(0.1)
    raise BrokerError(
        f"group {group} on {settings.bootstrap} was not ready within {timeout_s:g} s: see the workers' logs"
    )


def _what(names: Sequence[str]) -> str:
    return f"topic {names[0]} is" if len(names) == 1 else f"topics {', '.join(names)} are"


def _specs(settings: Settings) -> tuple[TopicSpec, ...]:
    return Topics(settings.prefix).specs(partitions=settings.partitions, tiles_bytes=settings.tiles_kept_bytes)


def _admin(settings: Settings) -> AdminClient:
    return AdminClient(client_config(settings, client_id="streamproc-provision"))


def _min_isr(settings: Settings) -> dict[str, str]:
    return {"min.insync.replicas": str(max(1, settings.replication - 1))}


def _created(name: str, future: Future[None], settings: Settings) -> bool:
    try:
        future.result(timeout=3 * ANSWER_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
            return False
        raise BrokerError(f"topic {name} could not be created on {settings.bootstrap}: {error.args[0].str()}") from None
    return True


def _topic_configs(settings: Settings, specs: Sequence[TopicSpec]) -> dict[str, dict[str, str]]:
    if not specs:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
    admin = _admin(settings)  # must outlive its futures
    futures = admin.describe_configs(resources, request_timeout=ANSWER_S)
    try:
        return {
            resource.name: {name: str(entry.value) for name, entry in future.result(timeout=2 * ANSWER_S).items()}
            for resource, future in futures.items()
        }
    except KafkaException as error:
        raise BrokerError(unreachable(settings, error.args[0])) from None
