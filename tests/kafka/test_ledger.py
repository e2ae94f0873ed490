"""Ledger and log side by side on a real broker: a producer killed, a broker that stalls, a broker that stays away."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from producers.publish import PublishReport, publish
from producers.sources import Source
from producers.sources.synthetic import SyntheticSource, synthetic_frame
from producers.waiting import DropPolicy
from streamproc import wire
from streamproc.broker import LocalCluster, ephemeral
from streamproc.errors import BrokerError
from streamproc.ledger import Ledger, LedgerWriter, read_ledger
from streamproc.metrics import Metrics
from streamproc.model import Frame, FrameKey, Grid
from streamproc.provision import create_topics
from streamproc.settings import Settings, load_settings
from streamproc.topics import Topics
from tests.cli import started
from tests.kafka.whole_log import read_all
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

STALL_S = 4.0
FPS = 30.0
WIDTH, HEIGHT = 320, 240


def tiles_in_log(settings: Settings) -> dict[FrameKey, set[int]]:
    """Which tiles of which frames stand in the log; fails on a tile that stands there twice."""
    headers = [wire.read_tile_header(record.headers) for record in read_all(settings, Topics(settings.prefix).tiles)]
    counts = Counter((header.key, header.index) for header in headers)
    assert max(counts.values(), default=1) == 1
    found: dict[FrameKey, set[int]] = {}
    for header in headers:
        found.setdefault(header.key, set()).add(header.index)
    return found


def require_truth(found: Ledger, settings: Settings) -> dict[FrameKey, set[int]]:
    """The log bears out what the ledger says; returns the tiles in the log."""
    tiles = tiles_in_log(settings)
    assert set(tiles) <= set(found.frames), "a frame is in the log that the ledger does not know"
    for key, frame in found.frames.items():
        if frame.status == "acked":
            assert tiles[key] == set(range(frame.line.tiles))
        if frame.status == "failed":
            assert len(tiles.get(key, ())) < frame.line.tiles
    return tiles


def variables(settings: Settings, **more: str) -> dict[str, Any]:
    return {"STREAMPROC_BOOTSTRAP": settings.bootstrap, "STREAMPROC_PREFIX": settings.prefix, **more}


def test_a_producer_killed_in_the_middle_leaves_a_ledger_that_is_true(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings, file = topics_ready(partitions=4), tmp_path / "cam.ledger"
    words = ("produce", f"synthetic:{WIDTH}x{HEIGHT}", "--camera", "cam", "--codec", "png", "--grid", "2x2")
    more = ("--fps", "max", "--ledger", file)
    with started(*words, *more, "--run", "killed", **variables(settings)) as running:

        def well_under_way() -> bool:
            running.check()
            return file.exists() and read_ledger(file).counts()["acked"] >= 100

        wait_until(well_under_way, "100 frames are acknowledged", timeout_s=60)

        def stopped_with_frames_under_way() -> bool:
            running.send(signal.SIGSTOP)
            time.sleep(0.02)
            if read_ledger(file).counts()["unknown"]:
                return True
            running.send(signal.SIGCONT)
            return False

        wait_until(stopped_with_frames_under_way, "frames are under way", timeout_s=20)
        running.send(signal.SIGKILL)
        running.ended(timeout_s=20)
    counts = read_ledger(file).counts()
    assert counts["acked"] >= 100
    assert counts["unknown"] > 0
    assert (counts["failed"], counts["dropped"]) == (0, 0)

    with started(*words, *more, "--run", "whole", "--limit", "50", **variables(settings)) as running:
        done, _ = running.ended(timeout_s=60)
    assert done.code == 0, done.err
    found = read_ledger(file)
    assert found.runs == {("cam", "killed"), ("cam", "whole")}
    assert found.counts() == {**counts, "acked": counts["acked"] + 50}
    require_truth(found, settings)
    for frame in found.frames.values():
        pixels = synthetic_frame(frame.key.sequence, width=WIDTH, height=HEIGHT)
        assert frame.line.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
        assert bytes.fromhex(frame.line.digest) == wire.digest_frame(pixels)

    with started(*words, *more, "--run", "whole", **variables(settings)) as running:
        done, _ = running.ended(timeout_s=60)
    assert done.code == 2
    assert "choose another --run" in done.error_line


@contextmanager
def own_broker(**options: Any) -> Iterator[tuple[Settings, int]]:
    """A broker of this test's own, because it is stopped: settings with topics, and its process."""
    with ephemeral() as status:
        settings = load_settings(bootstrap=status.bootstrap, partitions=4, **options)
        create_topics(settings)
        yield settings, status.nodes[0].pid


class Watched(Source):
    """Synthetic frames at a camera's speed; notes how many were read and the most bytes the producer held."""

    name = "watched"

    def __init__(self, count: int, metrics: Metrics) -> None:
        self._frames = SyntheticSource(WIDTH, HEIGHT, max_pixels=10**6)
        self._metrics = metrics
        self.length = count
        self.fps = FPS
        self.read = 0
        self.most_bytes = 0.0

    def describe(self) -> str:
        return "frames of a test"

    def __iter__(self) -> Iterator[Frame]:
        for _, frame in zip(range(self.length or 0), self._frames, strict=False):
            held = self._metrics.registry.get_sample_value("streamproc_buffer_bytes", {"buffer": "producer"})
            self.read, self.most_bytes = self.read + 1, max(self.most_bytes, held or 0)
            yield frame


@contextmanager
def publishing(source: Source, settings: Settings, **options: Any) -> Iterator[list[PublishReport]]:
    """Publish on a thread of its own; the report is there when the block ends."""
    reports: list[PublishReport] = []

    def run() -> None:
        reports.append(publish(source, settings, camera="cam", partitions=4, codec="raw", grid=Grid(2, 2), **options))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield reports
    finally:
        thread.join(90)


@pytest.mark.parametrize("policy", ["drop-oldest", "block"])
def test_a_broker_that_stalls_costs_what_the_policy_says_and_no_more(policy: DropPolicy, tmp_path: Path) -> None:
    count, bound = 300, 4 * 2**20
    with own_broker(producer_queue_bytes=bound) as (settings, broker), LedgerWriter(tmp_path / "ledger") as writer:
        metrics = Metrics()
        source = Watched(count, metrics)
        with publishing(source, settings, run="r1", drop=policy, ledger=writer, metrics=metrics) as reports:
            wait_until(lambda: source.read >= 60, "60 frames are read", timeout_s=60)
            os.kill(broker, signal.SIGSTOP)
            try:
                time.sleep(STALL_S)
                read_in_stall = source.read - 60
            finally:
                os.kill(broker, signal.SIGCONT)
        (report,) = reports
        report.raise_for_problem()
        found = read_ledger(tmp_path / "ledger")
        tiles = require_truth(found, settings)
    assert report.frames_read == count == report.frames_published + report.frames_dropped
    assert found.counts() == {
        "acked": report.frames_published,
        "failed": 0,
        "unknown": 0,
        "dropped": report.frames_dropped,
    }
    assert sorted(key.sequence for key in tiles) == list(range(report.frames_published))
    assert source.most_bytes <= bound + WIDTH * HEIGHT * 3 // 4
    captured = [frame.line.captured_ns for frame in found.frames.values()]
    assert captured == sorted(captured)
    if policy == "block":
        assert report.frames_dropped == 0
        assert read_in_stall < STALL_S * FPS * 0.8
    else:
        assert report.frames_dropped > 20
        assert read_in_stall > STALL_S * FPS * 0.5
        assert {frame.reason for frame in found.dropped} == {"drop-oldest"}
        last_drop = max(frame.captured_ns for frame in found.dropped)
        assert sum(at > last_drop for at in captured) >= 10  # frames flow again


def test_under_block_a_broker_killed_and_started_again_costs_nothing(tmp_path: Path) -> None:
    with ephemeral() as status, LedgerWriter(tmp_path / "ledger") as writer:
        settings = load_settings(bootstrap=status.bootstrap, partitions=4)
        create_topics(settings)
        source = Watched(200, metrics := Metrics())
        with publishing(source, settings, run="r1", ledger=writer, metrics=metrics) as reports:
            wait_until(lambda: source.read >= 50, "50 frames are read", timeout_s=60)
            os.kill(status.nodes[0].pid, signal.SIGKILL)
            time.sleep(1)
            LocalCluster(status.folder).start()
        (report,) = reports
        report.raise_for_problem()
        found = read_ledger(tmp_path / "ledger")
        tiles = require_truth(found, settings)
    assert (report.frames_read, report.frames_published) == (200, 200)
    assert sorted(key.sequence for key in tiles) == list(range(200))


def test_a_broker_that_stays_away_ends_the_run_in_one_line_with_an_honest_ledger(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    with own_broker() as (settings, broker):
        words = ("produce", f"synthetic:{WIDTH}x{HEIGHT}", "--camera", "cam", "--codec", "png", "--fps", "20")
        limits = {"STREAMPROC_DELIVERY_TIMEOUT_S": "3"}
        with started(*words, "--ledger", file, **variables(settings, **limits)) as running:

            def under_way() -> bool:
                running.check()
                return file.exists() and read_ledger(file).counts()["acked"] >= 20

            wait_until(under_way, "20 frames are acknowledged", timeout_s=60)
            os.kill(broker, signal.SIGSTOP)
            try:
                done, waited_s = running.ended(timeout_s=60)
            finally:
                os.kill(broker, signal.SIGCONT)
        assert done.code == 1
        assert "is the broker up?" in done.error_line
        assert waited_s >= 2
        found = read_ledger(file)
        counts = found.counts()
        assert counts["unknown"] > 0
        assert counts["failed"] == len(found.unsent)
        assert {"acked", "unknown"} == {frame.status for frame in found.frames.values()}

        def answers() -> bool:
            try:
                return bool(tiles_in_log(settings))
            except BrokerError:  # a broker that was taken for dead is not whole at once
                return False

        wait_until(answers, "the broker answers again", timeout_s=60)
        require_truth(found, settings)
