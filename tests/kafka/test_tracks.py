"""What followers know outlives the worker that learned it: tracks keep their names, nothing is told twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from producers.publish import publish
from producers.sources import Source
from streamproc import cloudevents
from streamproc.aggregator.recognition import merge_frame
from streamproc.aggregator.whole import WholeSteps
from streamproc.demo import EventLog
from streamproc.model import Frame, Grid, Pixels
from streamproc.operators.pipeline_file import load
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics
from tests.aggregator.test_whole import closed
from tests.event_schema import check_event
from tests.kafka.whole_log import read_all

pytestmark = pytest.mark.kafka

FRAMES = 160
PIPELINE = """
[[step]]
operator = "template_match"
templates = "mark.png"
threshold = 0.9

[[step]]
operator = "track"
fps = 20
update_every_s = 0.5

[[step]]
operator = "line_crossing"
line = [[96, 0], [96, 96]]
"""


def mark() -> Pixels:
    random = np.random.default_rng(3)
    return np.asarray(cv2.GaussianBlur(random.integers(0, 256, (18, 18), np.uint8), (0, 0), 1), np.uint8)


def picture(number: int) -> Pixels:
    """Two marks on a plain ground: one goes to the right and back over the line, one stays for a while."""
    pixels = np.full((96, 192), 90, np.uint8)
    across = 20 + (2 * number % 260 if 2 * number % 260 < 130 else 260 - 2 * number % 260)
    pixels[20:38, across : across + 18] = mark()
    if 30 <= number < 120:
        pixels[66:84, 40:58] = mark()
    return pixels


class Marks(Source):
    """The pictures, at twenty a second of capture time."""

    name = "marks"
    length = FRAMES

    def describe(self) -> str:
        return self.name

    def __iter__(self) -> Iterator[Frame]:
        for number in range(FRAMES):
            yield Frame(pixels=picture(number), captured_ns=1_700_000_000_000_000_000 + number * 50_000_000)


def told_without_a_death(pipeline_file: Path) -> list[tuple[str, str, int]]:
    """What happens on each frame when nobody dies: step, what and sequence."""
    pipeline = load(pipeline_file)
    steps = WholeSteps(pipeline)
    views = [
        merge_frame(closed(pipeline, frame.pixels, Grid(2, 2), sequence=number, captured_ns=frame.captured_ns), steps)
        for number, frame in enumerate(Marks())
    ]
    return [
        (f"{step} {one.what} {one.subject}", one.kind, number)
        for number, view in enumerate(views)
        for step, one in view.occurrences
    ]


def test_tracks_and_rules_go_on_when_their_worker_is_killed(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(session_timeout_s=6)
    cv2.imwrite(str(tmp_path / "mark.png"), mark())
    (tmp_path / "marks.toml").write_text(PIPELINE)
    pipeline = load(tmp_path / "marks.toml")
    spec = WorkerSpec(pipeline=tmp_path / "marks.toml")

    def produce() -> None:
        publish(
            Marks(),
            settings,
            camera="gate",
            run="run-1",
            codec="png",
            grid=Grid(2, 2),
            fps=20.0,
            pipeline_halo=pipeline.halo,
            partitions=settings.partitions,
        )

    with EventLog(settings, camera="gate", run="run-1") as log:
        producing = threading.Thread(target=produce)
        producing.start()
        with Workers(settings, [spec], folder=tmp_path / "first") as first:
            assert log.wait_for(50, timeout_s=60)
            os.kill(first.pids[0], signal.SIGKILL)
        with Workers(settings, [spec], folder=tmp_path / "second"):
            assert log.wait_for(FRAMES, timeout_s=90)
        producing.join()
    assert set(log.seen.values()) == {1}
    found = [
        cloudevents.structured_event(record.headers, record.value)
        for record in read_all(settings, Topics(settings.prefix).events)
    ]
    for event in found:
        check_event(event)
    assert len({event["id"] for event in found}) == len(found)
    assert told_in(found) == told_without_a_death(tmp_path / "marks.toml")
    assert {"track new", "track end", "line_crossing crossed"} <= {
        " ".join(name.split()[:2]) for name, _, _ in told_in(found)
    }


def told_in(events: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """What happened, in log order."""
    return [
        (
            f"{event['data']['step']} {event['data']['what']} {event['data']['subject']}",
            event["type"].split(".")[2],
            event["data"]["sequence"],
        )
        for event in events
        if "step" in event["data"]
    ]
