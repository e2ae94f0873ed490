"""The ledger run of the long tier: many frames under many faults, on one broker or on three, judged from outside."""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streamproc import wire
from streamproc.model import FrameKey
from streamproc.publisher import UNCONFIRMED
from streamproc.reader import TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics
from tests.chaos.cluster import cluster_for_chaos
from tests.chaos.faults import ONE_BROKER, THREE_BROKERS, Scene, Struck, schedule
from tests.chaos.fleet import Member
from tests.chaos.trial import Trial, one_camera_for_each_partition, trial

ROLES = ("extract", "extract", "aggregate", "aggregate")
MOST_RESTARTS = 400
Say = Callable[[str], None]


def ended_in_caution(folder: Path) -> int:
    """Lives of workers that ended, as they must, because the client library took a record for delivered unseen."""
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("worker-*.log")]
    return sum(line.startswith("error: ") and UNCONFIRMED in line for log in logs for line in log.splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How long a run is."""

    frames: int = 20_000
    faults: int = 50
    fps: float = 5.0  # of each of eight cameras


def run(brokers: int, *, seed: int, size: Size, folder: Path, say: Say) -> dict[str, Any]:
    """Run until there were enough frames and enough faults; returns the figures."""
    chance = random.Random(seed)
    cameras = one_camera_for_each_partition()
    started_s = time.monotonic()
    struck: list[Struck] = []
    with (
        cluster_for_chaos(brokers) as cluster,
        trial(
            cluster,
            folder,
            [Member(role=role) for role in ROLES],
            cameras,
            frames=10 * size.frames,
            fps=size.fps,
            through_proxy=True,
            replication=brokers,
            delivery_timeout_s=300,
        ) as one,
    ):
        one.fleet.most_restarts = MOST_RESTARTS
        try:
            one.wait_until_steady("the start")
            strike(one, chance, size, struck, folder=folder, say=say)
            if brokers == 3:
                lose_one_for_good(one, struck)
            for camera in one.cameras:
                camera.stop.set()
            one.wait_for_events(timeout_s=300)
            verdict = one.verdict()
            wrong = verdict.faults | ({"streamproc verify": [found]} if (found := one.verify()) else {})
        finally:
            cluster.keep_logs(folder / "brokers")
        say(str(verdict))
        again = processed_again(one.settings)
        ended = Counter(death.status for death in one.fleet.deaths if death.status != -signal.SIGKILL)
        cautious = ended_in_caution(folder)
        ended[1] -= cautious
        if ended := +ended:
            wrong["ended by themselves"] = [f"{count} workers with status {status}" for status, count in ended.items()]
    return {
        "brokers": brokers,
        "seed": seed,
        "seconds": round(time.monotonic() - started_s, 1),
        "frames": verdict.acked,
        "tiles": 4 * verdict.acked,
        "faults": len(struck),
        "by fault": dict(sorted(Counter(one.fault for one in struck).items())),
        "deaths of workers": len(one.fleet.deaths),
        "ended in caution": cautious,
        "unknown": verdict.unknown,
        **{name: len(getattr(verdict, name)) for name in ("lost", "twice", "wrong_pixels", "reordered", "unfinished")},
        "tiles processed again": again,
        "flow_s": flow_times(struck),
        "wrong": wrong,
    }


def strike(one: Trial, chance: random.Random, size: Size, struck: list[Struck], *, folder: Path, say: Say) -> None:
    """One fault after the other, noted in faults.jsonl, until there were enough of them and enough frames."""
    scene = Scene(one, chance)
    kinds = ONE_BROKER if len(one.cluster.proxies) == 1 else THREE_BROKERS
    with (folder / "faults.jsonl").open("ab") as file:
        while len(struck) < size.faults or sum(camera.sent for camera in one.cameras) < size.frames:
            for fault in schedule(kinds, chance):
                if len(struck) >= size.faults and sum(camera.sent for camera in one.cameras) >= size.frames:
                    return
                try:
                    struck.append(fault(scene))
                    one.wait_until_steady(struck[-1].fault)
                except AssertionError as error:
                    raise AssertionError(f"fault {len(struck) + 1}, {fault.__doc__}: {error}") from error
                file.write(msgspec.json.encode(struck[-1]) + b"\n")
                file.flush()
                sent = sum(camera.sent for camera in one.cameras)
                say(f"{len(struck):3} {struck[-1].fault} {struck[-1].detail}: {struck[-1].flow_s:.1f} s; {sent} frames")
                time.sleep(chance.uniform(0, 1))


def lose_one_for_good(one: Trial, struck: list[Struck]) -> None:
    """The leader of a busy partition dies and does not come back before the end."""
    scene = Scene(one, random.Random(0))
    node, at_ns = scene.busiest_leader, time.time_ns()
    one.cluster.kill(node)
    struck.append(scene.flow("broker lost for good", at_ns, f"broker {node}"))


def flow_times(struck: Sequence[Struck]) -> dict[str, dict[str, float]]:
    """Median, 95th percentile and longest time to flow, by fault, and for the two promised figures."""
    groups: dict[str, list[float]] = {}
    for one in struck:
        groups.setdefault(one.fault, []).append(one.flow_s)
    workers = ("worker killed", "aggregator killed", "worker lost", "killed at a failpoint")
    brokers = ("leader broker killed", "coordinator killed", "broker lost for good")
    for name, kinds in (("any worker killed", workers), ("any broker killed", brokers)):
        groups[name] = [one.flow_s for one in struck if one.fault in kinds]
    return {
        name: {
            "n": len(times),
            "median": round(statistics.median(times), 2),
            "p95": round(percentile(times, 95), 2),
            "longest": round(max(times), 2),
        }
        for name, times in sorted(groups.items())
        if times
    }


def percentile(values: Sequence[float], share: int) -> float:
    """The smallest value that at least `share` percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def processed_again(settings: Settings) -> int:
    """Tiles that were worked on more than once, counted in the features topic."""
    seen: Counter[tuple[FrameKey, int]] = Counter()
    with TopicReader(settings, Topics(settings.prefix).features) as reader:
        for record in reader.read({number: reader.bounds(number) for number in reader.partitions()}):
            tile = wire.decode_features(record.value).tile
            seen[tile.key, tile.index] += 1
    return sum(count - 1 for count in seen.values())
