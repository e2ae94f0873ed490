"""The doctor's checks of a cluster: each mistake told with the command that mends it, a sound one without a warning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamproc.doctor.cluster import Cluster, Group, Topic, check_cluster
from streamproc.doctor.finding import Finding
from streamproc.settings import Settings, load_settings
from streamproc.topics import Topics

NOW_MS = 1_800_000_000_000
SETTINGS = load_settings(partitions=2, prefix="p.")
TOPICS = Topics("p.")
SPECS = {spec.name: spec for spec in TOPICS.specs(partitions=2)}


def topic(name: str, **changes: Any) -> Topic:
    """As it must be, with ten records in each partition but no dead letters."""
    end = {0: 0, 1: 0} if name == TOPICS.deadletters else {0: 10, 1: 10}
    made = Topic(
        partitions=2,
        replicas=3,
        in_sync=3,
        config={**SPECS[name].config, "min.insync.replicas": "2"},
        first={0: 0, 1: 0},
        end=end,
        newest_ms=NOW_MS - 100,
    )
    return replace(made, **changes)


SOUND = Cluster(
    brokers=("a:9092", "b:9092", "c:9092"),
    config={
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "3",
        "group.min.session.timeout.ms": "6000",
        "group.max.session.timeout.ms": "1800000",
    },
    topics={name: topic(name) for name in SPECS},
    group=Group(
        state="STABLE",
        members=("w-1", "w-2"),
        committed={TOPICS.tiles: {0: 10, 1: 10}, TOPICS.features: {0: 10, 1: 10}},
    ),
)


def troubles(cluster: Cluster, settings: Settings = SETTINGS) -> list[Finding]:
    return [one for one in check_cluster(cluster, settings, now_ms=NOW_MS) if one.verdict != "ok"]


def having(name: str, **changes: Any) -> Cluster:
    return replace(SOUND, topics={**SOUND.topics, name: topic(name, **changes)})


def configured(name: str, key: str, value: str) -> Cluster:
    return having(name, config={**topic(name).config, key: value})


def grouped(**changes: Any) -> Cluster:
    assert SOUND.group is not None
    return replace(SOUND, group=replace(SOUND.group, **changes))


def test_a_sound_cluster_gives_no_warning() -> None:
    assert troubles(SOUND) == []
    assert [one.what for one in check_cluster(SOUND, SETTINGS, now_ms=NOW_MS)] == [
        *("broker", "topics", "group", "clock", "dead letters"),
    ]


@pytest.mark.parametrize(
    ("cluster", "what", "verdict", "words"),
    [
        (
            replace(SOUND, config={"offsets.topic.replication.factor": "5"}),
            "group",
            "wrong",
            ["want 5 copies", "are 3"],
        ),
        (replace(SOUND, config={"auto.create.topics.enable": "true"}), "topics", "warning", ["set it to false"]),
        (
            replace(SOUND, config={"group.min.session.timeout.ms": "10000"}),
            *("group", "wrong", ["STREAMPROC_SESSION_TIMEOUT_S is 8", "10 to"]),
        ),
        (having(TOPICS.tiles, partitions=6), "topics", "wrong", ["partitions is 6, should be 2", "delete it"]),
        (
            configured(TOPICS.features, "max.message.bytes", "1048588"),
            *("record size", "wrong", ["max.message.bytes is 1048588, should be 8388608", "--entity-name p.features"]),
        ),
        (
            configured(TOPICS.events, "retention.ms", "604800001"),
            *("topics", "wrong", ["retention.ms is 604800001", "--add-config retention.ms=604800000"]),
        ),
        (having(TOPICS.tiles, leaderless=1), "replication", "wrong", ["1 partitions of p.tiles have no leader"]),
        (having(TOPICS.tiles, replicas=1, in_sync=1), "replication", "wrong", ["min.insync.replicas=2: nothing can"]),
        (having(TOPICS.tiles, in_sync=1), "replication", "wrong", ["only 1 copies of p.tiles keep up"]),
        (having(TOPICS.tiles, in_sync=2), "replication", "warning", ["only 2 of 3 copies of p.tiles keep up"]),
        (
            grouped(
                members=(), state="EMPTY", committed={TOPICS.tiles: {0: 4, 1: 10}, TOPICS.features: {0: 10, 1: 10}}
            ),
            *("group", "warning", ["6 records wait and group p.workers has no worker", "streamproc worker"]),
        ),
        (grouped(state="PREPARING_REBALANCING"), "group", "warning", ["sharing out", "/readyz"]),
        (
            having(TOPICS.tiles, first={0: 12, 1: 0}, end={0: 12, 1: 10}),
            *("lag", "wrong", ["2 records of p.tiles were removed before they were read", "retention.ms=7200000"]),
        ),
        (
            having(TOPICS.tiles, first={0: 12, 1: 0}, end={0: 12, 1: 10}),
            *("lag", "wrong", [f"retention.bytes={8 * 2**30}; set STREAMPROC_TILES_KEPT_BYTES={16 * 2**30} as"]),
        ),
        (
            grouped(waits_ms={TOPICS.tiles: NOW_MS - 1_900_000}),
            *("lag", "warning", ["1900 s old and the topic keeps 3600 s, or less: 4294967296 b", "workers (up to 2)"]),
        ),
        (
            grouped(waits_ms={TOPICS.features: NOW_MS - 1_900_000}),
            *("lag", "warning", ["1900 s old and the topic keeps 3600 s: add workers (up to 2)"]),
        ),
        (
            having(TOPICS.events, newest_ms=NOW_MS + 90_000),
            *("clock", "warning", ["p.events is 90 s in the future", "timedatectl"]),
        ),
        (
            replace(having(TOPICS.deadletters, end={0: 3, 1: 0}), cameras=("gate", "yard")),
            *("dead letters", "warning", ["3, the newest of gate, yard: streamproc deadletters list"]),
        ),
        (replace(SOUND, unanswered=("the group could not be asked for",)), "broker", "warning", ["not looked at"]),
    ],
)
def test_each_mistake_of_a_cluster_is_told_alone_with_what_to_do(
    cluster: Cluster, what: str, verdict: str, words: list[str]
) -> None:
    (found,) = troubles(cluster)
    assert (found.what, found.verdict) == (what, verdict)
    for word in words:
        assert word in found.told
    assert "\n" not in found.told


def test_topics_that_all_have_another_number_need_but_another_setting() -> None:
    found = troubles(SOUND, load_settings(partitions=5, prefix="p."))
    assert len(found) == len(SPECS)
    assert all(one.verdict == "wrong" and "set STREAMPROC_PARTITIONS=2" in one.told for one in found)


def test_a_missing_topic_is_told_and_all_missing_are_no_fault() -> None:
    without = {name: one for name, one in SOUND.topics.items() if name != TOPICS.edges}
    (found,) = troubles(replace(SOUND, topics=without))
    assert found.told == "topic p.edges is missing: run streamproc topics create"
    (none,) = troubles(replace(SOUND, topics={}))
    assert (none.what, none.verdict) == ("topics", "warning")


def test_more_copies_than_brokers_are_refused_before_topics_are_made() -> None:
    (found,) = troubles(
        replace(SOUND, brokers=("a:9092",), config={}), load_settings(replication=3, partitions=2, prefix="p.")
    )
    assert found.told.startswith("STREAMPROC_REPLICATION is 3, the cluster has 1 brokers")


def test_offsets_that_are_kept_already_need_no_new_copies() -> None:
    kept = replace(
        SOUND,
        brokers=("a:9092",),
        topics={**SOUND.topics, "__consumer_offsets": Topic(partitions=50, replicas=1, in_sync=1)},
    )
    assert [one for one in troubles(kept) if one.what == "group"] == []


def test_a_retention_below_the_wait_for_a_frame_is_told() -> None:
    cluster = configured(TOPICS.tiles, "retention.ms", "30000")
    found = troubles(cluster)
    assert [one.what for one in found] == ["topics", "retention"]
    assert "keeps 30 s and a frame may wait 30 s" in found[1].told


def test_spare_workers_are_no_fault() -> None:
    told = [one.told for one in check_cluster(grouped(idle=1), SETTINGS, now_ms=NOW_MS) if one.what == "group"]
    assert told == ["2 members in p.workers, 0 records wait, 1 without partitions stand by"]
