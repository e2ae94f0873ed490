"""The ways through Kafka: this pipeline at full load and at half, and Faust used naively."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamproc import cloudevents, wire
from streamproc.bench.loops import Rate
from streamproc.bench.material import Material, as_frame
from streamproc.bench.processes import cpu_seconds, peak_rss_bytes
from streamproc.errors import StreamprocError
from streamproc.provision import create_topics, wait_for_group
from streamproc.publisher import Publisher
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings, child_environment
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics, tile_key, tile_partition

CAMERAS = 8
# Shares of all results between which speed is measured: start and end are left out.
FROM, TO = 0.25, 0.9
_WAIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """This pipeline at full load and at half.

    Attributes:
        rss_bytes: The largest worker, with a full backlog.
        p50_ms, p99_ms: Capture to event at half load, open loop: a late frame counts from when it was due.
        offered: Share of the full-load speed that was offered for the latency.
    """

    rate: Rate
    rss_bytes: int | None
    p50_ms: float
    p99_ms: float
    offered: float


class PipelineBench:
    """Workers of one pipeline on fresh topics, and a producer that stays connected."""

    def __init__(
        self,
        settings: Settings,
        material: Material,
        *,
        broker_pids: Sequence[int],
        workers: Workers,
        publisher: Publisher,
    ) -> None:
        self._settings = settings
        self._material = material
        self._broker_pids = broker_pids
        self._workers = workers
        self._publisher = publisher
        self._topics = Topics(settings.prefix)
        self._sent: Counter[tuple[str, int]] = Counter()

    def full_load(self, frames: int, *, run: str) -> tuple[Rate, int | None]:
        """Publish a backlog at once, and measure while it is worked off."""
        pids = [*self._workers.pids, *self._broker_pids]
        before, cpu = self._ends(), cpu_seconds(pids)
        for number in range(frames):
            self._send(number % CAMERAS, run=run, captured_ns=time.time_ns())
        events = self._events(before, frames)
        cpu_after = cpu_seconds(pids)
        stamps = sorted(record.timestamp_ms for record in events)
        first, last = int(FROM * frames), int(TO * frames)
        tiles = (last - first) * self._material.shape.grid.count
        used = None
        if cpu is not None and cpu_after is not None:
            used = 1e6 * (cpu_after - cpu) / (frames * self._material.shape.grid.count)
        rss = [peak for pid in self._workers.pids if (peak := peak_rss_bytes(pid)) is not None]
        rate = Rate(tiles_per_s=1000 * tiles / max(1, stamps[last] - stamps[first]), cpu_us_per_tile=used)
        return rate, max(rss, default=None)

    def latency(self, tiles_per_s: float, *, seconds: float) -> tuple[float, float]:
        """Offer frames at a fixed pace, whatever comes out; capture to event in ms, median and 99th percentile.

        Cameras start one frame after another, so that steps which run on every n-th frame do not fall together.
        """
        before = self._ends()
        for camera in range(CAMERAS):
            for _ in range(camera):
                self._send(camera, run="half", captured_ns=time.time_ns())
        self._events(before, sum(range(CAMERAS)))
        pause_s = self._material.shape.grid.count / tiles_per_s
        frames = max(20, int(seconds / pause_s))
        before, started, started_ns = self._ends(), time.monotonic(), time.time_ns()
        for number in range(frames):
            due = started + number * pause_s
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            self._send(number % CAMERAS, run="half", captured_ns=started_ns + int(number * pause_s * 1e9))
        events = [cloudevents.decode_frame_event(record.value) for record in self._events(before, frames)]
        totals = sorted(event.latency_ms["total"] for event in events)
        return totals[len(totals) // 2], totals[min(len(totals) - 1, int(0.99 * len(totals)))]

    def _send(self, number: int, *, run: str, captured_ns: int) -> None:
        sequence = self._sent[run, number]
        self._sent[run, number] += 1
        camera = f"cam-{number}"
        frame = self._material.frames[(number + sequence) % len(self._material.frames)]
        for header, payload in as_frame(frame, camera=camera, run=run, sequence=sequence, captured_ns=captured_ns):
            self._publisher.send(
                topic=self._topics.tiles,
                partition=tile_partition(camera, header.index, self._settings.partitions),
                key=tile_key(header),
                value=payload,
                headers=wire.tile_headers(header),
            )

    def _ends(self) -> dict[int, int]:
        with TopicReader(self._settings, self._topics.events) as reader:
            return {number: reader.bounds(number)[1] for number in reader.partitions()}

    def _events(self, starts: dict[int, int], count: int) -> list[Record]:
        return wait_for_records(self._settings, self._topics.events, starts, count, check=self._workers.check)


def wait_for_records(
    settings: Settings, topic: str, starts: dict[int, int], count: int, *, check: object = None
) -> list[Record]:
    """The next `count` records of a topic.

    Raises:
        StreamprocError: They did not come in time.
    """
    found: list[Record] = []
    deadline = time.monotonic() + _WAIT_S
    with TopicReader(settings, topic) as reader:
        for record in reader.follow(starts, stop=lambda: time.monotonic() > deadline):
            if record is None:
                if callable(check):
                    check()
                continue
            found.append(record)
            if len(found) >= count:
                return found
    raise StreamprocError(f"bench: {len(found)} of {count} records of {topic} came within {_WAIT_S:.0f} s")


def run_pipeline(
    base: Settings,
    material: Material,
    pipeline_file: Path | None,
    *,
    broker_pids: Sequence[int],
    processes: int,
    expected_tiles_per_s: float,
    seconds: float,
    folder: Path,
) -> Load:
    """Start workers on fresh topics; measure full load, then latency at half of it."""
    settings = base.model_copy(update={"prefix": f"bench-{secrets.token_hex(3)}."})
    create_topics(settings)
    tiles_per_frame = material.shape.grid.count
    specs = [WorkerSpec(pipeline=pipeline_file) for _ in range(processes)]
    with Workers(settings, specs, folder=folder) as workers, Publisher(settings, client_id="bench") as publisher:
        wait_for_group(settings, members=processes, timeout_s=60, check=workers.check)
        bench = PipelineBench(settings, material, broker_pids=broker_pids, workers=workers, publisher=publisher)
        warm = max(4 * CAMERAS, int(expected_tiles_per_s * seconds / 3 / tiles_per_frame))
        bench.full_load(warm, run="warm")  # code paths, caches, the broker's compiler
        frames = max(40, int(expected_tiles_per_s * seconds / tiles_per_frame))
        rate, rss = bench.full_load(frames, run="full")
        p50, p99 = bench.latency(rate.tiles_per_s / 2, seconds=seconds)
    return Load(rate=rate, rss_bytes=rss, p50_ms=p50, p99_ms=p99, offered=0.5)


def run_naive(
    base: Settings,
    material: Material,
    pipeline_file: Path | None,
    *,
    processes: int,
    delivered: bool,
    seconds: float,
    expected: float,
) -> Rate:
    """Faust with one `await send` for each tile, on the same backlog; `delivered` awaits the delivery too."""
    prefix = f"naive-{secrets.token_hex(3)}."
    settings = base.model_copy(update={"prefix": prefix})
    create_topics(settings)
    topics = Topics(prefix)
    tiles = max(200, int(expected * seconds))
    with _naive_workers(settings, topics, pipeline_file, processes, delivered=delivered):
        with Publisher(settings, client_id="bench") as publisher:
            sent = 0
            while sent < tiles:
                number = sent // material.shape.grid.count
                frame = as_frame(
                    material.frames[number % len(material.frames)],
                    camera=f"cam-{number % CAMERAS}",
                    run="naive",
                    sequence=number // CAMERAS,
                    captured_ns=time.time_ns(),
                )
                for header, payload in frame:
                    publisher.send(
                        topic=topics.tiles,
                        partition=tile_partition(header.camera, header.index, settings.partitions),
                        key=tile_key(header),
                        value=payload,
                        headers=wire.tile_headers(header),
                    )
                    sent += 1
        starts = dict.fromkeys(range(settings.partitions), 0)
        stamps = sorted(
            record.timestamp_ms for record in wait_for_records(settings, topics.features, starts, int(TO * sent))
        )
    first = int(FROM * sent)
    return Rate(
        tiles_per_s=1000 * (len(stamps) - first) / max(1, stamps[-1] - stamps[first]),
        cpu_us_per_tile=None,
    )


@contextmanager
def _naive_workers(
    settings: Settings, topics: Topics, pipeline_file: Path | None, processes: int, *, delivered: bool
) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [
        sys.executable,
        "-m",
        "streamproc.bench.naive",
        settings.bootstrap,
        topics.tiles,
        topics.features,
    ]
    children = [
        subprocess.Popen(
            [*command, str(pipeline_file or ""), *(["--delivered"] if delivered else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            start_new_session=True,
        )
        for _ in range(processes)
    ]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait(timeout=10)
