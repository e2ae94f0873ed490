"""Facts of the cluster, asked for; every question has a bound, and one without answer spoils no other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, OffsetSpec, ResourceType

from streamproc.client import client_config
from streamproc.deadletters.letter import read_letter
from streamproc.doctor.cluster import Cluster, Group, Topic
from streamproc.errors import BrokerError
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics

ASK_S: Final = 3.0
_TRIES: Final = 3
_NO_GROUP: Final = 69  # GROUP_ID_NOT_FOUND of the protocol; the client has no name for it
_NOT_YET: Final = (14, 15, 16)  # COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
_PAUSE_S: Final = 0.3
_NEWEST: Final = 4  # dead letters of each partition
_MOST_LETTERS: Final = 64
_MOST_ERRORS: Final = 20

_T = TypeVar("_T")


class Asking:
    """One client, and what it says when things go wrong."""

    def __init__(self, settings: Settings) -> None:
        self._errors: list[str] = []
        self._settings = settings
        config: dict[str, Any] = client_config(settings, client_id="streamproc-doctor")
        more: dict[str, Any] = {"error_cb": self._note, "socket.timeout.ms": int(ASK_S * 1000)}
        self.admin = AdminClient(config | more)
        self.unanswered: list[str] = []

    @property
    def errors(self) -> tuple[str, ...]:
        """Told by the client, oldest first."""
        return tuple(self._errors)

    def metadata(self) -> ClusterMetadata | None:
        """The cluster's; None if no broker answers."""
        began_s = time.monotonic()
        for _ in range(_TRIES):
            try:
                return self.admin.list_topics(timeout=ASK_S / _TRIES)
            except KafkaException:
                self.admin.poll(0.1)  # what went wrong is told there
                if self._errors:
                    break  # it would not become right by waiting
        if time.monotonic() - began_s > 0.9 * ASK_S and self._errors:  # not closed, but silent until the client gave up
            self._errors = [f"no answer within {ASK_S:g} s"]
        return None

    def group(self, name: str) -> Any:
        """A group's description; None if there is no such group, or, which is noted, no answer."""
        deadline_s = time.monotonic() + ASK_S
        while True:
            future = self.admin.describe_consumer_groups([name], request_timeout=ASK_S)[name]
            try:
                return future.result(timeout=ASK_S)
            except (KafkaException, TimeoutError) as error:
                code = error.args[0].code() if error.args and isinstance(error.args[0], KafkaError) else None
                if code == _NO_GROUP:
                    return None
                if code not in _NOT_YET or time.monotonic() > deadline_s:
                    self.unanswered.append(f"group {name} could not be asked for ({_words(error)})")
                    return None
                time.sleep(_PAUSE_S)  # its coordinator is being chosen

    def answer(self, what: str, future: Future[_T]) -> _T | None:
        """What comes of a question; None if nothing does, which is noted."""
        try:
            return future.result(timeout=ASK_S)
        except (KafkaException, TimeoutError) as error:
            self.unanswered.append(f"{what} could not be asked for ({_words(error)})")
            return None

    def _note(self, error: KafkaError) -> None:
        if len(self._errors) < _MOST_ERRORS:
            self._errors.append(error.str())


def _words(error: Exception) -> str:
    found = error.args[0] if error.args else None
    return f"{found.name()} {found.str()}".strip() if isinstance(found, KafkaError) else "no answer in time"


def addresses_of(metadata: ClusterMetadata) -> tuple[str, ...]:
    """Where the brokers tell their clients to come."""
    return tuple(_address(str(broker.host), int(broker.port)) for broker in metadata.brokers.values())


def look_at_cluster(asking: Asking, metadata: ClusterMetadata, settings: Settings) -> Cluster:
    """All of it, of the topics of our prefix."""
    topics = Topics(settings.prefix)
    known = {name: one for name, one in metadata.topics.items() if name in topics.names and one.partitions}
    numbers = sorted(metadata.brokers)
    configs = _configs(asking, [(ResourceType.TOPIC, name) for name in known])
    config = _configs(asking, [(ResourceType.BROKER, str(numbers[0]))] if numbers else [])
    offsets = {
        which: _offsets(asking, known, spec)
        for which, spec in (
            ("first", OffsetSpec.earliest()),  # type: ignore[no-untyped-call]
            ("end", OffsetSpec.latest()),  # type: ignore[no-untyped-call]
            ("newest", OffsetSpec.max_timestamp()),  # type: ignore[no-untyped-call]
        )
    }
    found = {
        name: Topic(
            partitions=len(one.partitions),
            replicas=min(len(partition.replicas) for partition in one.partitions.values()),
            in_sync=min(len(partition.isrs) for partition in one.partitions.values()),
            leaderless=sum(partition.leader < 0 for partition in one.partitions.values()),
            config=configs.get(name, {}),
            first={at: offset for at, (offset, _) in offsets["first"].get(name, {}).items()},
            end={at: offset for at, (offset, _) in offsets["end"].get(name, {}).items()},
            newest_ms=max((ms for _, ms in offsets["newest"].get(name, {}).values() if ms > 0), default=None),
        )
        for name, one in known.items()
    }
    internal = {name: _internal(one) for name, one in metadata.topics.items() if name == "__consumer_offsets"}
    return Cluster(
        brokers=addresses_of(metadata),
        config=next(iter(config.values()), {}),
        topics=found | internal,
        group=_group(asking, settings, found),
        cameras=_cameras(settings, found.get(topics.deadletters)),
        unanswered=tuple(dict.fromkeys(asking.unanswered)),
    )


def _internal(one: Any) -> Topic:
    """Of a topic that is Kafka's own: how many copies it has."""
    partitions = one.partitions.values()
    return Topic(
        partitions=len(partitions),
        replicas=min((len(partition.replicas) for partition in partitions), default=0),
        in_sync=min((len(partition.isrs) for partition in partitions), default=0),
        leaderless=sum(partition.leader < 0 for partition in partitions),
    )


def _configs(asking: Asking, names: Sequence[tuple[ResourceType, str]]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    futures = asking.admin.describe_configs([ConfigResource(*name) for name in names], request_timeout=ASK_S)
    found = {one.name: asking.answer("the configuration", future) for one, future in futures.items()}
    return {
        name: {key: str(entry.value) for key, entry in entries.items() if entry.value is not None}
        for name, entries in found.items()
        if entries is not None
    }


def _offsets(asking: Asking, topics: Mapping[str, Any], spec: OffsetSpec) -> dict[str, dict[int, tuple[int, int]]]:
    """Offset and timestamp by topic and partition, of those that have one."""
    wanted = {TopicPartition(name, number): spec for name, one in topics.items() for number in one.partitions}
    if not wanted:
        return {}
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for at, future in asking.admin.list_offsets(wanted, request_timeout=ASK_S).items():
        answer = asking.answer("the offsets", future)
        if answer is not None and answer.offset >= 0:
            found.setdefault(at.topic, {})[at.partition] = (answer.offset, answer.timestamp)
    return found


def _group(asking: Asking, settings: Settings, topics: Mapping[str, Topic]) -> Group | None:
    name = Topics(settings.prefix).group
    described = asking.group(name)
    if described is None:
        return None if asking.unanswered else Group(state="DEAD")
    request = [ConsumerGroupTopicPartitions(name)]
    answered = asking.answer(
        "the group's offsets", asking.admin.list_consumer_group_offsets(request, request_timeout=ASK_S)[name]
    )
    committed: dict[str, dict[int, int]] = {}
    for one in (answered.topic_partitions or []) if answered is not None else []:
        if one.offset >= 0 and one.topic in topics:
            committed.setdefault(one.topic, {})[one.partition] = one.offset
    return Group(
        state=described.state.name,
        members=tuple(member.client_id for member in described.members),
        idle=sum(not (member.assignment and member.assignment.topic_partitions) for member in described.members),
        committed=committed,
        waits_ms=_waits(settings, topics, committed),
    )


def _waits(
    settings: Settings, topics: Mapping[str, Topic], committed: Mapping[str, Mapping[int, int]]
) -> dict[str, int]:
    """The timestamp of the oldest record that is not finished, by topic."""
    found: dict[str, int] = {}
    for name, offsets in committed.items():
        topic = topics[name]
        spans = {
            at: (offset, offset + 1)
            for at, offset in offsets.items()
            if topic.first.get(at, 0) <= offset < topic.end.get(at, 0)
        }
        times = [record.timestamp_ms for record in _records(settings, name, spans)]
        if times:
            found[name] = min(times)
    return found


def _cameras(settings: Settings, topic: Topic | None) -> tuple[str, ...]:
    """Cameras of the newest dead letters."""
    if topic is None or not topic.records:
        return ()
    spans = {
        at: (max(topic.first.get(at, 0), end - _NEWEST), end)
        for at, end in topic.end.items()
        if end > topic.first.get(at, 0)
    }
    letters = [read_letter(record) for record in _records(settings, Topics(settings.prefix).deadletters, spans)]
    return tuple(dict.fromkeys(camera for letter in letters if (camera := letter.camera) is not None))


def _records(settings: Settings, topic: str, spans: Mapping[int, tuple[int, int]]) -> list[Record]:
    """Some records, as far as they come in time."""
    if not spans:
        return []
    found: list[Record] = []
    try:
        with TopicReader(settings, topic) as reader:
            for record in reader.read(dict(spans), stall_s=ASK_S):
                found.append(record)
                if len(found) >= _MOST_LETTERS:
                    break
    except BrokerError:
        return found  # what came
    return found


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
