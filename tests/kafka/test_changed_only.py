"""A camera that stands still, of which only changed tiles are sent: fewer bytes, the same events, through kill -9."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producers.changed_only import ChangedOnly
from producers.publish import publish
from producers.runs import PublishReport
from producers.sources import Source
from streamproc.demo import EventLog
from streamproc.evidence import read_frame
from streamproc.ledger import LedgerWriter, read_ledger
from streamproc.model import Frame, Grid, Pixels
from streamproc.reader import Record
from streamproc.settings import Settings
from streamproc.topics import Topics
from streamproc.verify import verify
from streamproc.wire import read_tile_header
from tests.kafka.test_pipeline import EDGES, read_all, running, whole_frame_digest

pytestmark = pytest.mark.kafka

HEIGHT, WIDTH = 288, 384
GRID = Grid(4, 5)
MOVING = """
name = "what moves"
[[step]]
name = "moving"
operator = "background_subtraction"
min_area = 200
[[step]]
name = "followed"
operator = "track"
fps = 25
"""


class StillCamera(Source):
    """A block that crosses a still room, 25 frames a second by its clock.

    Args:
        noise: Of the camera, in grey levels (standard deviation); every frame has its own.
    """

    name = "still camera"

    def __init__(self, count: int, *, noise: float = 0.0) -> None:
        rng = np.random.default_rng(5)
        coarse = rng.integers(40, 170, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
        fine = rng.integers(0, 12, (HEIGHT, WIDTH, 3), np.uint8)
        self._ground: Pixels = np.kron(coarse, np.ones((4, 4, 1), np.uint8)) + fine
        self._noise, self.length, self.fps = noise, count, 25.0

    def picture(self, number: int) -> Pixels:
        pixels = self._ground.copy()
        x = (-30 + 3 * number) % (WIDTH + 60) - 30
        pixels[120:168, max(0, x) : max(0, x + 40)] = (20, 220, 250)
        if self._noise:
            shaken = pixels + np.random.default_rng(number).normal(0, self._noise, pixels.shape)
            return np.clip(shaken, 0, 255).astype(np.uint8)
        return pixels

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.length or 0):
            yield Frame(pixels=self.picture(number), captured_ns=10**18 + number * 40_000_000, clock="pts")

    def describe(self) -> str:
        return self.name


def size_of(record: Record) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key) + len(record.value) + headers


def references_among(records: list[Record]) -> int:
    return sum(read_tile_header(record.headers).same_as is not None for record in records)


def test_events_are_those_of_the_whole_picture_though_workers_are_killed(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(session_timeout_s=6)
    (tmp_path / "edges.toml").write_text(EDGES)
    source, reports = StillCamera(240), list[PublishReport]()
    with (
        LedgerWriter(tmp_path / "ledger") as ledger,
        running(settings, ["all", "all"], tmp_path, tmp_path / "edges.toml") as workers,
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        thread = threading.Thread(
            target=lambda: reports.append(
                publish(
                    source,
                    settings,
                    camera="gate",
                    run="run-1",
                    codec="png",
                    grid=GRID,
                    fps=50,
                    pipeline_halo=2,
                    partitions=8,
                    changed=ChangedOnly(level=0.0, full_every_s=60.0),  # the killed one's bases lie far behind
                    ledger=ledger,
                )
            )
        )
        thread.start()
        assert log.wait_for(60, timeout_s=60)
        os.kill(workers.pids[0], signal.SIGKILL)
        workers.restart(0)
        thread.join(timeout=60)
        assert log.wait_for(240, timeout_s=90)
        events = log.events()
    assert reports[0].frames_published == 240
    assert set(log.seen.values()) == {1}
    assert {event["data"]["outcome"] for event in events} == {"complete"}
    for number, event in enumerate(events):
        assert event["data"]["edges"]["digest"] == whole_frame_digest(source.picture(number)), number
    assert np.array_equal(read_frame(settings, events[200]["data"]).pixels, source.picture(200))
    records = read_all(settings, Topics(settings.prefix).tiles)
    assert references_among(records) == reports[0].tiles_unchanged > 0.6 * 240 * GRID.count
    verdict = verify(settings, read_ledger(tmp_path / "ledger"), wait_s=5)
    assert (verdict.exit_code, verdict.pixels_checked) == (0, 240), verdict


def test_at_least_60_percent_of_the_bytes_are_saved_and_what_moves_is_seen_as_before(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready()
    (tmp_path / "moving.toml").write_text(MOVING)
    found: dict[str, list[dict[str, Any]]] = {}
    with running(settings, ["all"], tmp_path, tmp_path / "moving.toml"):
        for camera, changed in (("plain", None), ("saving", ChangedOnly())):
            with EventLog(settings, camera=camera, run="run-1") as log:
                publish(
                    StillCamera(150, noise=2.0),
                    settings,
                    camera=camera,
                    run="run-1",
                    grid=GRID,
                    fps="max",
                    partitions=8,
                    changed=changed,
                )
                assert log.wait_for(150, timeout_s=90)
                found[camera] = [event["data"] for event in log.events()]
    records = read_all(settings, Topics(settings.prefix).tiles)
    sizes = {
        camera: sum(size_of(record) for record in records if read_tile_header(record.headers).camera == camera)
        for camera in found
    }
    assert sizes["saving"] < 0.4 * sizes["plain"]
    overlaps = []
    for plain, saving in zip(found["plain"], found["saving"], strict=True):
        assert saving["outcome"] == plain["outcome"] == "complete"
        ours, theirs = boxes_of(saving), boxes_of(plain)
        assert ours.keys() == theirs.keys(), plain["sequence"]
        overlaps += [overlap(box, theirs[track]) for track, box in ours.items()]
    assert len(overlaps) > 100
    # A ground without noise gets a narrower model, so the border of what moves lies a pixel or two elsewhere.
    assert (min(overlaps) > 0.5, float(np.median(overlaps)) > 0.85) == (True, True), sorted(overlaps)[:9]


def boxes_of(data: dict[str, Any]) -> dict[str, list[float]]:
    return {one["track"]: one["box"] for one in data["objects"] if one.get("track")}


def overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area - width * height)
