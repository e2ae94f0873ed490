"""The long tier beside the ledger runs: hand-over, full load, bad tiles and decompression bombs."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from streamproc.publisher import Publisher
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics, tile_partition
from tests.chaos.bad_tiles import BadTile, bad_tile, jpeg_bomb, png_bomb
from tests.chaos.cluster import cluster_for_chaos
from tests.chaos.fleet import Fleet, Member, members
from tests.chaos.ledger_run import percentile, processed_again
from tests.chaos.trial import Trial, one_camera_for_each_partition, trial

Say = Callable[[str], None]

HAND_OVERS = 10
HAND_OVER_S = 3.0
BAD_TILE_MS = 5.0
BOMB_MS = 100
BOMB_BYTES = 64 * 2**20
SAMPLE_S = 5.0
WARM_UP_S = 60.0
IN_FLIGHT_FRAMES = 150  # of each camera: enough that no worker ever waits
FLAT_MB_PER_HOUR = 30.0


def hand_over(*, folder: Path, say: Say) -> dict[str, Any]:
    """Stop a worker in good order, again and again: how long until all flows, and what is worked on twice."""
    stops: list[float] = []
    flows: list[float] = []
    with (
        cluster_for_chaos() as cluster,
        trial(cluster, folder, members(2, named=False), one_camera_for_each_partition(), frames=10_000, fps=5) as one,
    ):
        for number in range(HAND_OVERS):
            one.wait_until_steady("the start")
            at_ns = time.time_ns()
            status = one.fleet.retire(number % 2)
            stops.append((time.time_ns() - at_ns) / 1e9)
            assert status == 0, f"a worker asked to stop ended with {status}: see {one.fleet.log(number % 2)}"
            one.wait_for(lambda at_ns=at_ns: one.flows(at_ns), "events after a worker was stopped")  # type: ignore[misc] # bound now
            flows.append(max((one.tail.first_after(camera.name, at_ns) or 0) - at_ns for camera in one.cameras) / 1e9)
            say(f"stopped in {stops[-1]:.1f} s, all cameras flow after {flows[-1]:.1f} s")
            one.fleet.recall(number % 2)
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        verdict = one.verdict()
        again = processed_again(one.settings)
    wrong = dict(verdict.faults)
    if percentile(flows, 95) > HAND_OVER_S:
        wrong["hand-over"] = [f"p95 {percentile(flows, 95):.2f} s"]
    if again:
        wrong["processed again"] = [str(again)]
    return {
        "stops": HAND_OVERS,
        "frames": verdict.acked,
        "stopped after, longest s": round(max(stops), 2),
        "flow after a stop, median s": round(statistics.median(flows), 2),
        "flow after a stop, p95 s": round(percentile(flows, 95), 2),
        "tiles processed again": again,
        "wrong": wrong,
    }


# --- full load -----------------------------------------------------------------------------------------------------


def full_load(*, minutes: float, folder: Path, say: Say) -> dict[str, Any]:
    """Workers that always have something to do; the slope of their memory."""
    names = one_camera_for_each_partition()[:4]
    trials: list[Trial] = []

    def gate(name: str) -> Callable[[int], None]:
        def wait(number: int) -> None:
            while trials and number - trials[0].tail.count(name) > IN_FLIGHT_FRAMES:
                if trials[0].fleet.problem:
                    return
                time.sleep(0.02)

        return wait

    with (
        cluster_for_chaos() as cluster,
        trial(cluster, folder, members(2), names, frames=10**7, fps=0, camera=lambda name: {"gate": gate(name)}) as one,
    ):
        trials.append(one)
        samples = sample_memory(one.fleet, seconds=60 * minutes, say=say)
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        verdict = one.verdict()
    wrong = dict(verdict.faults)
    figures: dict[str, Any] = {
        "minutes": minutes,
        "frames": verdict.acked,
        "tiles/s": round(4 * verdict.acked / (60 * minutes)),
    }
    for number, taken in enumerate(samples):
        slope, noise = slope_of(taken)
        figures[f"worker {number}"] = {
            "RSS MB, first and last": [round(taken[0][1]), round(taken[-1][1])],
            "slope MB/h": round(slope, 1),
            "standard error MB/h": round(noise, 1),
        }
        if slope > max(FLAT_MB_PER_HOUR, 3 * noise):
            wrong[f"memory of worker {number}"] = [f"{slope:.1f} MB/h"]
    return {**figures, "restarts": len(one.fleet.deaths), "wrong": wrong}


def sample_memory(fleet: Fleet, *, seconds: float, say: Say) -> list[list[tuple[float, float]]]:
    """(s, MB) of each worker and its children, after a warm-up."""
    began_s = time.monotonic()
    samples: list[list[tuple[float, float]]] = [[] for _ in fleet.members]
    told_s = began_s
    while (now_s := time.monotonic()) - began_s < seconds:
        if now_s - began_s >= min(WARM_UP_S, seconds / 5):
            for number in range(len(fleet.members)):
                samples[number].append((now_s - began_s, memory_mb(fleet.pid(number))))
        if now_s - told_s > 60:
            told_s = now_s
            say(f"RSS MB {[round(taken[-1][1]) for taken in samples if taken]}")
        time.sleep(SAMPLE_S)
    return samples


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    own = psutil.Process(pid)
    return float(sum(process.memory_info().rss for process in (own, *own.children(recursive=True)))) / 2**20


def slope_of(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope of a straight line through (s, MB), and its standard error, MB an hour."""
    at, mb = np.array(samples).T
    (slope, _), covariance = np.polyfit(at, mb, 1, cov=True)
    return float(slope) * 3600, float(np.sqrt(covariance[0, 0])) * 3600


# --- bad tiles -----------------------------------------------------------------------------------------------------


def bad_tiles(count: int, *, seed: int, folder: Path, say: Say) -> dict[str, Any]:
    """Mixed bad tiles in one go, then good frames, then bombs."""
    chance = random.Random(seed)
    with (
        cluster_for_chaos() as cluster,
        trial(cluster, folder, [], ["good"], frames=100, fps=20, frame_deadline_s=60) as one,
    ):
        topics = Topics(one.settings.prefix)
        one.cameras[0].join(timeout_s=60)
        kinds = send(one.settings, [bad_tile(number, chance) for number in range(count)])
        say(f"{count} bad tiles sent")
        one.fleet.add(Member())
        one.wait_for(lambda: ends(one.settings, topics.deadletters) >= count, "a letter for each", timeout_s=600)
        letters = read_all(one.settings, topics.deadletters)
        one.wait_for(lambda: one.tail.count("good") == 100, "events of the good frames", timeout_s=300)
        restarts = len(one.fleet.deaths)
        times = sorted(letter.timestamp_ms for letter in letters)
        each_ms = (times[-1] - times[0]) / max(1, len(letters) - 1)
        bombs = bomb_figures(one)
    wrong: dict[str, list[str]] = {}
    if len(letters) != count:
        wrong["letters"] = [f"{len(letters)} for {count} bad tiles"]
    if restarts:
        wrong["restarts"] = [str(restarts)]
    if each_ms > BAD_TILE_MS:
        wrong["bad tiles"] = [f"{each_ms:.2f} ms each"]
    for name, found in bombs.items():
        if found["ms"] > BOMB_MS or found["bytes"] > BOMB_BYTES:
            wrong[name] = [str(found)]
    return {
        "bad tiles": count,
        "sent": dict(sorted(kinds.items())),
        "letters": told_by(letters, "dl_reason"),
        "letters by stage": told_by(letters, "dl_stage"),
        "restarts": restarts,
        "ms each": round(each_ms, 3),
        "bombs": bombs,
        "wrong": wrong,
    }


def told_by(letters: Sequence[Record], header: str) -> dict[str, int]:
    """Letters by what a header of theirs says."""
    return dict(sorted(Counter((dict(letter.headers)[header] or b"").decode() for letter in letters).items()))


def bomb_figures(one: Trial) -> dict[str, dict[str, Any]]:
    """Time from a bomb's publishing to that of its dead letter, and the worker's highest memory meanwhile."""
    figures: dict[str, dict[str, Any]] = {}
    with Publisher(one.settings, client_id="bombs") as publisher:
        send_one(publisher, one.settings, bad_tile(10**6, random.Random(0)), 0)  # a producer's first record is slow
        publisher.flush(10)
        for name, bomb in (("PNG 20000x20000", png_bomb()), ("JPEG 65500x65500", jpeg_bomb())):
            time.sleep(2)
            figures[name] = explode(one, publisher, bomb)
    return figures


def explode(one: Trial, publisher: Publisher, bomb: BadTile) -> dict[str, Any]:
    """Send a bomb and watch the worker."""
    topics = Topics(one.settings.prefix)
    before = ends(one.settings, topics.deadletters)
    own = psutil.Process(one.fleet.pid(0))
    rss = {process.pid: process.memory_info().rss for process in (own, *own.children(recursive=True))}
    for pid in rss:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # the high-water mark starts anew
    send_one(publisher, one.settings, bomb, 1)
    one.wait_for(lambda: ends(one.settings, topics.deadletters) > before, "the letter of a bomb")
    letter = max(read_all(one.settings, topics.deadletters), key=lambda record: record.timestamp_ms)
    tile = next(record for record in read_all(one.settings, topics.tiles) if record.value == bomb.value)
    return {
        "payload bytes": len(bomb.value),
        "reason": dict(letter.headers)["dl_reason"].decode(),
        "ms": letter.timestamp_ms - tile.timestamp_ms,
        "bytes": sum(max(0, highest(pid) - before_bytes) for pid, before_bytes in rss.items()),
    }


def highest(pid: int) -> int:
    """The high-water mark of a process's memory, bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


def send(settings: Settings, tiles: Sequence[BadTile]) -> Counter[str]:
    """Publish tiles; returns how many of each kind."""
    with Publisher(settings, client_id="bad-tiles") as publisher:
        for number, tile in enumerate(tiles):
            send_one(publisher, settings, tile, number)
    return Counter(tile.kind for tile in tiles)


def send_one(publisher: Publisher, settings: Settings, tile: BadTile, number: int) -> None:
    """Publish one tile, as if it were tile `number` of a frame."""
    publisher.send(
        topic=Topics(settings.prefix).tiles,
        partition=tile_partition("bad", number, settings.partitions),
        key=b"bad",
        value=tile.value,
        headers=tile.headers,
    )


def ends(settings: Settings, topic: str) -> int:
    """Records a topic ever got."""
    with TopicReader(settings, topic) as reader:
        return sum(reader.bounds(number)[1] for number in reader.partitions())


def read_all(settings: Settings, topic: str) -> list[Record]:
    """Everything a topic holds."""
    with TopicReader(settings, topic) as reader:
        return list(reader.read({number: reader.bounds(number) for number in reader.partitions()}))
