"""Checks of the cluster, its topics and the workers' group: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamproc.doctor.finding import Finding, ok, warning, wrong
from streamproc.settings import Settings
from streamproc.topics import Topics, TopicSpec

CLOCK_S: Final = 5.0
"""A record may be so much younger than now before clocks are said to differ."""
NEAR_RETENTION: Final = 0.5
"""Share of the retention by which lag is told of."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic as it is.

    Attributes:
        replicas: Of the partition that has fewest.
        in_sync: The same of those that keep up.
        leaderless: Partitions without a leader.
        config: Its settings.
        first, end: Offsets by partition: of the oldest record, and after the newest.
        newest_ms: Timestamp of the newest record; None if there is none.
    """

    partitions: int
    replicas: int
    in_sync: int
    leaderless: int = 0
    config: Mapping[str, str] = field(default_factory=dict)
    first: Mapping[int, int] = field(default_factory=dict)
    end: Mapping[int, int] = field(default_factory=dict)
    newest_ms: int | None = None

    @property
    def records(self) -> int:
        """How many it keeps."""
        return sum(self.end.values()) - sum(self.first.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The workers' consumer group.

    Attributes:
        state: Of Kafka: stable, empty, dead, …
        members: Client ids.
        idle: Members that hold no partition.
        committed: Offsets by topic and partition.
        waits_ms: By topic: timestamp of the oldest record that is not finished; missing if there is none.
    """

    state: str
    members: tuple[str, ...] = ()
    idle: int = 0
    committed: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    waits_ms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the cluster says of itself.

    Attributes:
        brokers: Advertised addresses.
        config: Of one broker; empty if we may not ask.
        topics: Of our prefix, by name.
        group: The workers'; None if it could not be asked for.
        cameras: Of the newest dead letters.
        unanswered: What could not be asked in time, in words.
    """

    brokers: tuple[str, ...]
    config: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, Topic] = field(default_factory=dict)
    group: Group | None = None
    cameras: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()


def check_cluster(cluster: Cluster, settings: Settings, *, now_ms: int) -> Iterator[Finding]:
    """All of it."""
    yield ok("broker", f"{len(cluster.brokers)} at {settings.bootstrap}")
    for told in cluster.unanswered:
        yield warning("broker", f"{told}: what is not said below was not looked at")
    yield from _brokers(cluster, settings)
    specs = Topics(settings.prefix).specs(partitions=settings.partitions, tiles_bytes=settings.tiles_kept_bytes)
    missing = [spec for spec in specs if spec.name not in cluster.topics]
    if len(missing) == len(specs):
        yield warning("topics", f"{len(missing)} missing: run streamproc topics create")
        return
    yield from _topics(cluster, specs)
    yield from _copies(cluster)
    yield from _retention(cluster, settings)
    yield from _group(cluster, settings)
    yield from _lag(cluster, settings, now_ms=now_ms)
    yield _clock(cluster, now_ms=now_ms)
    yield _deadletters(cluster, settings)


def _brokers(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    count = len(cluster.brokers)
    if count < settings.replication:
        yield wrong(
            "replication",
            f"STREAMPROC_REPLICATION is {settings.replication}, the cluster has {count} brokers: set it to {count}, or"
            " start more",
        )
    copies = int(cluster.config.get("offsets.topic.replication.factor", 1))
    if copies > count and "__consumer_offsets" not in cluster.topics:
        yield wrong(
            "group",
            f"the brokers want {copies} copies of the groups' offsets (offsets.topic.replication.factor) and are"
            f" {count}: no worker can join a group; set it to {count} in server.properties, and restart",
        )
    if cluster.config.get("auto.create.topics.enable") == "true":
        yield warning(
            "topics",
            "the brokers make topics by themselves (auto.create.topics.enable=true), with defaults that are wrong"
            " here: set it to false in server.properties",
        )
    low = int(cluster.config.get("group.min.session.timeout.ms", 0))
    high = int(cluster.config.get("group.max.session.timeout.ms", 10**9))
    if not low <= settings.session_timeout_s * 1000 <= high:
        yield wrong(
            "group",
            f"STREAMPROC_SESSION_TIMEOUT_S is {settings.session_timeout_s:g}, the brokers take {low / 1000:g} to"
            f" {high / 1000:g} s (group.min.session.timeout.ms, group.max.session.timeout.ms): set it to one of those",
        )


def _topics(cluster: Cluster, specs: Sequence[TopicSpec]) -> Iterator[Finding]:
    well = True
    counts = {spec.name: cluster.topics[spec.name].partitions for spec in specs if spec.name in cluster.topics}
    alike = len(set(counts.values())) == 1
    for spec in specs:
        topic = cluster.topics.get(spec.name)
        if topic is None:
            well = False
            yield wrong("topics", f"topic {spec.name} is missing: run streamproc topics create")
            continue
        if topic.partitions != spec.partitions:
            well = False
            yield _partitions(spec, topic, alike=alike)
            continue  # some of the configuration goes with the number
        differing = {key: want for key, want in spec.config.items() if topic.config.get(key) not in (want, None)}
        if differing:
            well = False
            yield _configs(spec, topic, differing)
    if well:
        yield ok("topics", f"as they must be, {specs[0].partitions} partitions each")


def _partitions(spec: TopicSpec, topic: Topic, *, alike: bool) -> Finding:
    said = f"topic {spec.name}: partitions is {topic.partitions}, should be {spec.partitions}"
    if alike:
        return wrong("topics", f"{said}: set STREAMPROC_PARTITIONS={topic.partitions}, as all topics have")
    return wrong(
        "topics",
        f"{said}, as all must have the same: was it made by the broker? delete it and run streamproc topics create,"
        " or take another STREAMPROC_PREFIX",
    )


def _configs(spec: TopicSpec, topic: Topic, differing: Mapping[str, str]) -> Finding:
    said = ", ".join(f"{key} is {topic.config.get(key)}, should be {want}" for key, want in differing.items())
    change = ",".join(f"{key}={want}" for key, want in differing.items())
    command = f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} --add-config {change}"
    key = "max.message.bytes"
    if key in differing and int(topic.config[key]) < int(differing[key]):
        return wrong(
            "record size", f"topic {spec.name}: {said}: records that the pipeline makes are refused; {command}"
        )
    return wrong("topics", f"topic {spec.name}: {said}: {command}")


def _copies(cluster: Cluster) -> Iterator[Finding]:
    for name, topic in cluster.topics.items():
        least = int(topic.config.get("min.insync.replicas", 1))
        if topic.leaderless:
            yield wrong(
                "replication",
                f"{topic.leaderless} partitions of {name} have no leader: nothing of them is read or written; start the"
                " brokers that hold them",
            )
        elif topic.replicas < least:
            yield wrong(
                "replication",
                f"topic {name} has {topic.replicas} copies and min.insync.replicas={least}: nothing can be written;"
                f" kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config"
                f" min.insync.replicas={topic.replicas}",
            )
        elif topic.in_sync < least:
            yield wrong(
                "replication",
                f"only {topic.in_sync} copies of {name} keep up and min.insync.replicas={least}: nothing can be"
                " written; start the brokers that are away",
            )
        elif topic.in_sync < topic.replicas:
            yield warning(
                "replication",
                f"only {topic.in_sync} of {topic.replicas} copies of {name} keep up: see the brokers that are away"
                " or slow",
            )


def _retention(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    topics = Topics(settings.prefix)
    for name in (topics.tiles, topics.features):
        topic = cluster.topics.get(name)
        kept_ms = int(topic.config.get("retention.ms", -1)) if topic is not None else -1
        if 0 <= kept_ms < 2 * settings.frame_deadline_s * 1000:
            yield wrong(
                "retention",
                f"topic {name} keeps {kept_ms / 1000:g} s and a frame may wait {settings.frame_deadline_s:g} s"
                " (STREAMPROC_FRAME_DEADLINE_S): tiles may go before they are read again; kafka-configs.sh --alter"
                f" --entity-type topics --entity-name {name} --add-config retention.ms=3600000",
            )


def _group(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    group, topics = cluster.group, Topics(settings.prefix)
    if group is None:
        return
    waiting = _waiting(cluster, topics.tiles) + _waiting(cluster, topics.features)
    state = group.state.lower()
    if not group.members:
        if waiting:
            told = f"{waiting} records wait and group {topics.group} has no worker"
            yield warning("group", f"{told}: start one, streamproc worker")
        else:
            yield ok("group", f"group {topics.group} has no worker, and nothing waits")
    elif "rebalanc" in state:
        yield warning(
            "group",
            f"group {topics.group} of {len(group.members)} is sharing out its partitions ({group.state}): ask again"
            " in a minute; if it lasts a worker hangs, see /readyz and the log of each",
        )
    else:
        spare = f", {group.idle} without partitions stand by" if group.idle else ""
        yield ok("group", f"{len(group.members)} members in {topics.group}, {waiting} records wait{spare}")


def _waiting(cluster: Cluster, name: str) -> int:
    topic = cluster.topics.get(name)
    committed = cluster.group.committed.get(name, {}) if cluster.group is not None else {}
    if topic is None:
        return 0
    return sum(max(0, end - max(topic.first.get(at, 0), committed.get(at, 0))) for at, end in topic.end.items())


def _keep_more(name: str, topic: Topic, *, is_tiles: bool) -> str:
    """How a topic is told to keep twice as much: it deletes by time and, if it has a bound of bytes, by that."""
    kept = {"retention.ms": 3_600_000, "retention.bytes": -1}
    kept |= {key: int(topic.config[key]) for key in kept if key in topic.config}
    wanted = ",".join(f"{key}={2 * most}" for key, most in kept.items() if most > 0)
    command = f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {wanted}"
    if is_tiles and kept["retention.bytes"] > 0:
        command += f"; set STREAMPROC_TILES_KEPT_BYTES={2 * kept['retention.bytes'] * topic.partitions} as well"
    return command


def _kept(topic: Topic) -> str:
    kept_bytes = int(topic.config.get("retention.bytes", -1))
    by_bytes = f", or less: {kept_bytes} bytes of each partition (retention.bytes)" if kept_bytes > 0 else ""
    return f"{int(topic.config['retention.ms']) / 1000:.0f} s{by_bytes}"


def _lag(cluster: Cluster, settings: Settings, *, now_ms: int) -> Iterator[Finding]:
    if cluster.group is None:
        return
    tiles = Topics(settings.prefix).tiles
    for name, committed in cluster.group.committed.items():
        topic = cluster.topics.get(name)
        if topic is None:
            continue
        lost = sum(max(0, topic.first.get(at, 0) - offset) for at, offset in committed.items())
        if lost:
            yield wrong(
                "lag",
                f"{lost} records of {name} were removed before they were read: add workers (up to"
                f" {topic.partitions}), or keep more, {_keep_more(name, topic, is_tiles=name == tiles)}",
            )
        kept_ms, oldest_ms = int(topic.config.get("retention.ms", -1)), cluster.group.waits_ms.get(name)
        if kept_ms > 0 and oldest_ms is not None and now_ms - oldest_ms > NEAR_RETENTION * kept_ms:
            yield warning(
                "lag",
                f"the oldest record of {name} that waits is {(now_ms - oldest_ms) / 1000:.0f} s old and the topic keeps"
                f" {_kept(topic)}: add workers (up to {topic.partitions}), or it is removed unread",
            )


def _clock(cluster: Cluster, *, now_ms: int) -> Finding:
    newest = {name: one.newest_ms for name, one in cluster.topics.items() if one.newest_ms is not None}
    ahead = {name: (at_ms - now_ms) / 1000 for name, at_ms in newest.items() if at_ms - now_ms > CLOCK_S * 1000}
    if ahead:
        name = max(ahead, key=lambda one: ahead[one])
        return warning(
            "clock",
            f"the newest record of {name} is {ahead[name]:.0f} s in the future: the clock of this machine or of who"
            " wrote it is wrong; timedatectl on both says which, chronyc makestep sets it",
        )
    return ok("clock", "no record is from the future")


def _deadletters(cluster: Cluster, settings: Settings) -> Finding:
    topic = cluster.topics.get(Topics(settings.prefix).deadletters)
    count = 0 if topic is None else topic.records
    if not count:
        return ok("dead letters", "none")
    shown = ", ".join(cluster.cameras[:_SHOWN]) + (" and more" if len(cluster.cameras) > _SHOWN else "")
    by = f", the newest of {shown}" if shown else ""
    return warning("dead letters", f"{count}{by}: streamproc deadletters list says why, then show and redrive")
