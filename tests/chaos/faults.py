"""What can happen to a running system: each fault strikes, heals, and waits until every camera flows again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from streamproc.topics import Topics
from tests.chaos.fleet import Member, Start
from tests.chaos.patches import FAILPOINTS
from tests.chaos.proxy import GOOD, Link
from tests.chaos.trial import Trial

FLOW_S = 180.0
SESSION_S = 6.0
_EXTRACTING = ("after-poll", "after-decode", "after-send", "before-ack", "after-commit")
_AGGREGATING = ("after-poll", "after-send", "before-ack", "after-event", "after-commit", "in-read-back", "frames-open")
_FAILPOINT_S = 90.0
_MOST_PASSES = {"in-read-back": 1, "after-commit": 4, "frames-open": 4}  # rare places


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """One fault as it was.

    Attributes:
        flow_s: From the stroke (kills), or from its healing (outages), until each camera had an event of a frame
            captured later.
    """

    fault: str
    detail: str
    at_ns: int
    flow_s: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Where faults strike; all chance comes from `chance`."""

    trial: Trial
    chance: random.Random

    def flow(self, fault: str, at_ns: int, detail: str = "") -> Struck:
        """Wait until all cameras flow again, and say how long it took from `at_ns`."""
        trial = self.trial
        trial.wait_for(lambda: trial.flows(at_ns), f"events of all cameras after {fault} {detail}", timeout_s=FLOW_S)
        firsts = [trial.tail.first_after(camera.name, at_ns) or at_ns for camera in trial.cameras]
        return Struck(fault=fault, detail=detail, at_ns=at_ns, flow_s=(max(firsts) - at_ns) / 1e9)

    def pick(self, *roles: str) -> int:
        """A worker that runs and has one of these roles."""
        numbers = [
            number
            for number, member in enumerate(self.trial.fleet.members)
            if member.role in roles and member.wanted and member.process is not None and member.process.poll() is None
        ]
        return self.chance.choice(numbers)

    @property
    def busiest_leader(self) -> int:
        """The node that leads the partition of the first camera's features."""
        topic = Topics(self.trial.settings.prefix).features
        return self.trial.cluster.leader(topic, self.trial.cameras[0].partition)


Fault: TypeAlias = Callable[[Scene], Struck]


# --- workers -------------------------------------------------------------------------------------------------------


def worker_killed(scene: Scene) -> Struck:
    """SIGKILL at any moment; started again at once under its name."""
    number = scene.pick("extract", "all")
    return scene.flow("worker killed", scene.trial.fleet.signal(number, signal.SIGKILL), f"worker {number}")


def aggregator_killed(scene: Scene) -> Struck:
    """The same to an aggregator, which holds open frames."""
    number = scene.pick("aggregate", "all")
    return scene.flow("aggregator killed", scene.trial.fleet.signal(number, signal.SIGKILL), f"worker {number}")


def worker_lost(scene: Scene) -> Struck:
    """SIGKILL, and it stays away until others have taken over."""
    fleet, number = scene.trial.fleet, scene.pick("extract", "aggregate", "all")
    fleet.members[number].wanted = False
    struck = scene.flow("worker lost", fleet.signal(number, signal.SIGKILL), f"worker {number}")
    fleet.recall(number)
    return struck


def killed_at_a_failpoint(scene: Scene) -> Struck:
    """Killed once, and in its next life at a named place."""
    fleet, number = scene.trial.fleet, scene.pick("extract", "aggregate", "all")
    member = fleet.members[number]
    name = scene.chance.choice({"extract": _EXTRACTING, "aggregate": _AGGREGATING}.get(member.role, (*FAILPOINTS,)))
    failpoint = f"{name}@{scene.chance.randint(1, _MOST_PASSES.get(name, 20))}"
    deaths = len(fleet.deaths)
    member.starts = [*[Start()] * member.lives, Start(failpoint=failpoint), Start()]
    fleet.signal(number, signal.SIGKILL)

    def died() -> bool:
        return any(death.start.failpoint == failpoint for death in fleet.deaths[deaths:])

    scene.trial.wait_for(died, f"a death at {failpoint} of worker {number}", timeout_s=_FAILPOINT_S)
    at_ns = next(death.at_ns for death in fleet.deaths[deaths:] if death.start.failpoint == failpoint)
    return scene.flow("killed at a failpoint", at_ns, f"worker {number} {failpoint}")


def zombie(scene: Scene) -> Struck:
    """SIGSTOP past the session timeout, then SIGCONT."""
    fleet, number = scene.trial.fleet, scene.pick("extract", "aggregate", "all")
    fleet.signal(number, signal.SIGSTOP)
    time.sleep(SESSION_S + scene.chance.uniform(1, 6))
    at_ns = fleet.signal(number, signal.SIGCONT)
    return scene.flow("zombie", at_ns, f"worker {number}")


def rebalance_storm(scene: Scene) -> Struck:
    """Workers come and go every 3 s."""
    fleet = scene.trial.fleet
    extra = fleet.add(Member(role="all", named=False))
    for _ in range(scene.chance.randint(2, 4)):
        time.sleep(3)
        fleet.retire(extra)
        time.sleep(1)
        fleet.recall(extra)
    time.sleep(3)
    fleet.retire(extra)
    return scene.flow("rebalance storm", time.time_ns())


# --- brokers -------------------------------------------------------------------------------------------------------


def broker_killed(scene: Scene) -> Struck:
    """SIGKILL of the leader of a busy partition; on one broker it is started again after some seconds."""
    cluster, node = scene.trial.cluster, scene.busiest_leader
    at_ns = time.time_ns()
    cluster.kill(node)
    if len(cluster.proxies) == 1:
        time.sleep(scene.chance.uniform(0, 4))
        cluster.restore()
    struck = scene.flow("leader broker killed", at_ns, f"broker {node}")
    cluster.restore()
    return struck


def coordinator_killed(scene: Scene) -> Struck:
    """SIGKILL of the broker that coordinates the workers' group."""
    cluster = scene.trial.cluster
    node = cluster.coordinator(Topics(scene.trial.settings.prefix).group)
    at_ns = time.time_ns()
    cluster.kill(node)
    struck = scene.flow("coordinator killed", at_ns, f"broker {node}")
    cluster.restore()
    return struck


def broker_frozen(scene: Scene) -> Struck:
    """SIGSTOP for some seconds, then SIGCONT."""
    cluster, node = scene.trial.cluster, scene.busiest_leader
    held_s = scene.chance.uniform(3, 12)
    cluster.freeze(node)
    time.sleep(held_s)
    at_ns = time.time_ns()
    cluster.thaw(node)
    return scene.flow("broker frozen", at_ns, f"broker {node} for {held_s:.1f} s")


def rolling_restart(scene: Scene) -> Struck:
    """Each broker in turn: SIGTERM, wait, start, wait."""
    cluster = scene.trial.cluster
    for node in cluster.nodes:
        cluster.terminate(node)
        cluster.restore()
    return scene.flow("rolling restart", time.time_ns())


def two_brokers_lost(scene: Scene) -> Struck:
    """Two of three are killed: nothing is acknowledged until they are back."""
    cluster = scene.trial.cluster
    for node in scene.chance.sample(cluster.nodes, 2):
        cluster.kill(node)
    time.sleep(scene.chance.uniform(5, 12))
    cluster.restore()
    return scene.flow("two brokers lost and back", time.time_ns())


# --- network -------------------------------------------------------------------------------------------------------


def _network(name: str, link: Link, shortest_s: float, longest_s: float) -> Fault:
    def strike(scene: Scene) -> Struck:
        held_s = scene.chance.uniform(shortest_s, longest_s)
        scene.trial.cluster.link(link)
        time.sleep(held_s)
        scene.trial.cluster.link(GOOD)
        return scene.flow(name, time.time_ns(), f"for {held_s:.1f} s")

    strike.__doc__ = f"{name}, between all clients and all brokers."
    return strike


partition = _network("partition", Link(kind="drop"), 3, 12)
half_open = _network("half-open", Link(kind="half-open"), 3, 10)
slow = _network("100 ms and 3 Mbit/s", Link(delay_s=0.1, bits_per_s=3e6), 8, 12)
cut = _network("cut every 200 kB", Link(cut_after_bytes=200_000), 6, 10)

COMMON: Mapping[Fault, int] = {
    worker_killed: 9,
    aggregator_killed: 7,
    worker_lost: 5,
    killed_at_a_failpoint: 9,
    zombie: 3,
    rebalance_storm: 2,
    broker_frozen: 3,
    rolling_restart: 1,
    partition: 2,
    half_open: 2,
    slow: 2,
    cut: 2,
}
"""How many of each on any number of brokers."""

ONE_BROKER: Mapping[Fault, int] = {**COMMON, broker_killed: 5}
THREE_BROKERS: Mapping[Fault, int] = {**COMMON, broker_killed: 6, coordinator_killed: 3, two_brokers_lost: 1}


def schedule(faults: Mapping[Fault, int], chance: random.Random) -> list[Fault]:
    """All of them, in random order."""
    order = [fault for fault, count in faults.items() for _ in range(count)]
    chance.shuffle(order)
    return order
