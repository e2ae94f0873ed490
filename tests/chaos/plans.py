"""Five faults, each made for one planted bug: without the bug all is well, with it the verdict must be red."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streamproc.model import TileHeader
from streamproc.topics import Topics
from tests.chaos.cameras import RUN, Road
from tests.chaos.cluster import Cluster
from tests.chaos.fleet import Member, Start
from tests.chaos.judge import Verdict
from tests.chaos.trial import Trial, trial

DEADLINE_S = 8.0  # of a frame; a bug that loses a tile is seen when it passes
_QUIET_S = DEADLINE_S + 10.0
_TIME_S = 90.0
_COMMITTED_S = 2.5  # two commit intervals
_REFUSED_S = 2.5

Plan: TypeAlias = Callable[[Cluster, Path, str], Verdict]
"""(cluster, folder, bug or nothing) -> verdict."""


def _one_worker(bug: str, failpoint: str = "") -> list[Member]:
    return [Member(starts=[Start(failpoint=failpoint, bug=bug), Start(bug=bug)])]


def _judged(one: Trial, bug: str) -> Verdict:
    """Judge when all events are here; with a bug that may never be, so when no more come."""
    if bug:
        one.settle(timeout_s=_TIME_S, quiet_s=_QUIET_S)
    else:
        one.wait_for_events()
    return one.verdict()


def killed_after_a_commit(cluster: Cluster, folder: Path, bug: str) -> Verdict:
    """A worker with a backlog dies right after a commit: what it committed must have been delivered."""
    workers = _one_worker(bug, "after-commit@1")
    with trial(
        cluster,
        folder,
        [],
        frames=400,
        fps=0,
        commit_interval_s=0.2,
        frame_deadline_s=DEADLINE_S,
    ) as one:
        one.cameras[0].join(timeout_s=30)
        one.fleet.add(workers[0])
        one.wait_for(lambda: one.fleet.died_of("after-commit@1"), "a commit")
        return _judged(one, bug)


def killed_after_an_event(cluster: Cluster, folder: Path, bug: str) -> Verdict:
    """A worker dies when an event is out and its input not yet committed: the event must not come again."""
    with trial(
        cluster, folder, _one_worker(bug, "after-event@1"), frames=10_000, fps=20, frame_deadline_s=DEADLINE_S
    ) as one:
        one.wait_for(lambda: one.fleet.died_of("after-event@1"), "an event")
        one.wait_for_flow("its death")  # the second life has read all that the first had not committed
        one.cameras[0].stop.set()
        return _judged(one, bug)


def damaged_under_way(cluster: Cluster, folder: Path, bug: str) -> Verdict:
    """A tile's pixels change on their way: the frame must not be told as complete."""

    def damage(header: TileHeader) -> bool:
        return (header.sequence, header.index) == (10, 2)

    with trial(
        cluster,
        folder,
        _one_worker(bug),
        frames=30,
        fps=20,
        camera=lambda _name: {"codec": "raw", "road": Road(damage=damage)},
        frame_deadline_s=DEADLINE_S,
    ) as one:
        one.damaged.append(f"gate/{RUN}/10")
        one.letters.append("checksum")
        return _judged(one, bug)


def killed_with_frames_open(cluster: Cluster, folder: Path, bug: str) -> Verdict:
    """The aggregator dies with three of four tiles of many frames in its memory, read long ago."""
    camera: dict[str, Any] = {
        "road": Road(hold=lambda header: header.sequence >= 10 and header.index == header.sequence % 4)
    }
    with trial(
        cluster, folder, _one_worker(bug), frames=30, fps=20, camera=lambda _name: camera, frame_deadline_s=DEADLINE_S
    ) as one:
        one.wait_for(lambda: one.tail.count("gate") == 10 and one.cameras[0].sent == 30, "the frames before")
        time.sleep(_COMMITTED_S)
        one.fleet.signal(0, signal.SIGKILL)
        one.wait_for(lambda: one.fleet.members[0].lives == 2, "a second life")
        sender = one.cameras[0].sender
        assert sender is not None
        sender.release()
        return _judged(one, bug)


def results_refused(cluster: Cluster, folder: Path, bug: str) -> Verdict:
    """For some seconds the broker refuses results: tiles worked on meanwhile must not count as done."""
    with trial(
        cluster,
        folder,
        _one_worker(bug),
        frames=400,  # long enough that tiles still come when the first events are seen
        fps=25,
        frame_deadline_s=DEADLINE_S,
    ) as one:
        features = Topics(one.settings.prefix).features
        one.wait_for(lambda: one.tail.count("gate") >= 20, "events")
        kept = next(
            spec.config["max.message.bytes"] for spec in Topics("").specs(partitions=1) if spec.name == "features"
        )
        _set(cluster, features, "max.message.bytes", "100")
        if bug:
            time.sleep(_REFUSED_S)
        else:
            one.wait_for_deaths(1, timeout_s=_TIME_S)
        _set(cluster, features, "max.message.bytes", kept)
        return _judged(one, bug)


def _set(cluster: Cluster, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = cluster.admin()  # must outlive its futures
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(timeout=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A bug, the fault that brings it out, and what the verdict must then say."""

    plan: Plan
    faults: frozenset[str]


PLANTED: Mapping[str, Planted] = {
    "ack-before-delivery": Planted(plan=killed_after_a_commit, faults=frozenset({"lost", "unfinished"})),
    "no-dedupe": Planted(plan=killed_after_an_event, faults=frozenset({"twice"})),
    "no-digest-check": Planted(plan=damaged_under_way, faults=frozenset({"wrong pixels"})),
    "commit-above-open": Planted(plan=killed_with_frames_open, faults=frozenset({"lost", "unfinished"})),
    "swallowed-send-error": Planted(plan=results_refused, faults=frozenset({"lost", "unfinished"})),
}
