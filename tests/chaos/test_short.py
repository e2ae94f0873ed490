"""The short tier: every kind of death and cut that takes seconds, on one broker; `make chaos` is the long one."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.fleet import Member, Start, members
from tests.chaos.proxy import GOOD, Link
from tests.chaos.trial import one_camera_for_each_partition, trial

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

SESSION_S = 6
CAMERAS = one_camera_for_each_partition()

# Each life of a worker ends at its failpoint; the last has none.
FIRST = ("after-poll@8", "before-ack@8", "in-read-back@2", "after-send@60")
SECOND = ("after-decode@60", "after-event@8", "frames-open@4", "after-commit@2")


def _lives(failpoints: tuple[str, ...]) -> Member:
    return Member(starts=[*(Start(failpoint=failpoint) for failpoint in failpoints), Start()])


def test_workers_killed_at_each_failpoint_lose_nothing_and_double_nothing(cluster: Cluster, tmp_path: Path) -> None:
    workers = [_lives(FIRST), _lives(SECOND)]
    with trial(cluster, tmp_path, workers, CAMERAS, frames=10_000, fps=4) as one:

        def each_was_reached() -> bool:
            by_itself = [death for death in one.fleet.deaths if death.status != -signal.SIGKILL]
            assert not by_itself, f"ended by themselves: {by_itself}; see {one.folder}"
            return all(one.fleet.died_of(failpoint) for failpoint in (*FIRST, *SECOND))

        one.wait_for(each_was_reached, "a death at each failpoint", timeout_s=240)
        one.wait_for_flow("the last death")
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        assert {death.status for death in one.fleet.deaths} == {-signal.SIGKILL}
        verdict = one.require_all_well()
    assert verdict.acked > 8 * len(CAMERAS)


def test_a_broker_killed_and_a_network_cut_delay_frames_and_lose_none(cluster: Cluster, tmp_path: Path) -> None:
    with trial(cluster, tmp_path, members(2), CAMERAS[:4], frames=10_000, fps=6, through_proxy=True) as one:
        one.wait_until_steady("the start")
        cluster.kill(1)
        time.sleep(1)
        cluster.restore()
        one.wait_for_flow("the broker's death")
        for cut in (Link(kind="drop"), Link(kind="half-open"), Link(cut_after_bytes=100_000)):
            cluster.link(cut)
            time.sleep(3)
            cluster.link(GOOD)
            one.wait_for_flow(f"{cut}")
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        verdict = one.require_all_well()
        assert cluster.proxies[1].connections > 0
    assert verdict.unknown == 0


def test_a_worker_frozen_past_its_session_and_thawed_doubles_nothing(cluster: Cluster, tmp_path: Path) -> None:
    with trial(cluster, tmp_path, members(2), CAMERAS, frames=10_000, fps=4) as one:
        one.wait_until_steady("the start")
        at_ns = one.fleet.signal(0, signal.SIGSTOP)
        time.sleep(SESSION_S)
        one.wait_for(lambda: one.flows(at_ns), "events of all cameras while a worker is frozen")
        one.fleet.signal(0, signal.SIGCONT)
        one.wait_for_flow("its return")
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        one.require_all_well()


def test_a_worker_cut_off_past_its_session_and_healed_doubles_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """What it could not send while others took its partitions over must not come out when it can send again."""
    with trial(cluster, tmp_path, members(2), CAMERAS, frames=10_000, fps=8) as one:
        one.fleet.members[0].settings = one.settings.model_copy(update={"bootstrap": cluster.proxied})
        one.fleet.retire(0)
        one.fleet.recall(0)  # behind the proxy now, alone
        one.wait_until_steady("the start")
        cluster.link(Link(kind="half-open"))
        at_ns = time.time_ns()
        time.sleep(SESSION_S)
        one.wait_for(lambda: one.flows(at_ns), "the other worker takes over")
        cluster.link(GOOD)
        one.wait_until_steady("the healing")
        time.sleep(2)  # a second event would come now
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        one.require_all_well()


def test_workers_that_come_and_go_lose_nothing_and_double_nothing(cluster: Cluster, tmp_path: Path) -> None:
    chance = random.Random(1)
    with trial(cluster, tmp_path, members(2), CAMERAS, frames=10_000, fps=4, frame_deadline_s=30) as one:
        one.wait_until_steady("the start")
        passing = [one.fleet.add(Member(named=False)) for _ in range(2)]
        for _ in range(6):
            for number in passing:
                time.sleep(chance.uniform(0.2, 2))
                one.fleet.retire(number)
                time.sleep(chance.uniform(0.1, 0.8))
                one.fleet.recall(number)
        one.wait_for_flow("the last return")
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        one.require_all_well()
