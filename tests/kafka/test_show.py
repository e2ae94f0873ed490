"""From events back to pixels on a real broker: from the log, from an archive, from what retention has left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from producers.publish import publish
from producers.sources import Source
from streamproc.archive.run import ArchiveRun
from streamproc.archive.writer import Rules
from streamproc.demo import EventLog
from streamproc.model import Frame, Grid, Pixels
from streamproc.operators.pipeline_file import load
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics, tile_partition
from tests.cli import Done, streamproc

pytestmark = pytest.mark.kafka

FRAMES = 30

STEP_NS = 100_000_000
PIPELINE = """
[[step]]
operator = "canny"
name = "edges"

[[step]]
operator = "template_match"
templates = "mark.png"
threshold = 0.9

[[step]]
operator = "track"
fps = 10
update_every_s = 0
"""


def mark() -> Pixels:
    random = np.random.default_rng(3)
    return np.asarray(cv2.GaussianBlur(random.integers(0, 256, (18, 18), np.uint8), (0, 0), 1), np.uint8)


def picture(number: int) -> Pixels:
    pixels = np.full((96, 192), 90, np.uint8)
    pixels[20:38, 10 + 3 * number : 28 + 3 * number] = mark()
    return pixels


class Marks(Source):
    """One mark that goes to the right, captured at ten frames a second, now."""

    name = "marks"
    length = FRAMES

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns

    def describe(self) -> str:
        return self.name

    def __iter__(self) -> Iterator[Frame]:
        for number in range(FRAMES):
            yield Frame(pixels=picture(number), captured_ns=self._start_ns + number * STEP_NS)


def variables(settings: Settings) -> dict[str, Any]:
    return {"STREAMPROC_BOOTSTRAP": settings.bootstrap, "STREAMPROC_PREFIX": settings.prefix}


def facts(done: Done, *, code: int = 0) -> dict[str, Any]:
    assert done.code == code, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def produce(settings: Settings, run: str, *, start_ns: int, halo: int) -> None:
    publish(
        Marks(start_ns),
        settings,
        camera="gate",
        run=run,
        codec="png",
        grid=Grid(2, 2),
        fps="max",
        pipeline_halo=halo,
        partitions=settings.partitions,
    )


def told(settings: Settings, folder: Path, *, start_ns: int) -> list[dict[str, Any]]:
    """Two runs over the same frames through one pipeline; the events of the first."""
    cv2.imwrite(str(folder / "mark.png"), mark())
    pipeline = folder / "marks.toml"
    pipeline.write_text(PIPELINE)
    halo = load(pipeline).halo
    with (
        EventLog(settings, camera="gate", run="run-1") as first,
        EventLog(settings, camera="gate", run="run-2") as second,
        Workers(settings, [WorkerSpec(pipeline=pipeline)], folder=folder / "worker"),
    ):
        for run in ("run-1", "run-2"):
            produce(settings, run, start_ns=start_ns, halo=halo)
        assert first.wait_for(FRAMES, timeout_s=90)
        assert second.wait_for(FRAMES, timeout_s=90)
        return [*first.happened(), *first.events()]


def remove(settings: Settings, partitions: list[int]) -> None:
    """What retention does to the tiles topic, at once."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    ends = [TopicPartition(Topics(settings.prefix).tiles, number, -1) for number in partitions]
    for done in admin.delete_records(ends).values():
        done.result(timeout=20)


def test_events_lead_back_to_their_pixels_until_retention_takes_them_and_then_from_an_archive(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready()
    topics = Topics(settings.prefix)
    start_ns = time.time_ns()
    events = told(settings, tmp_path, start_ns=start_ns)
    frame = next(one for one in events if one["type"].endswith("frame.v1") and one["data"]["sequence"] == 7)
    new = next(one for one in events if one["data"].get("what") == "new")
    pipeline, archive = str(tmp_path / "marks.toml"), str(tmp_path / "archive")
    ArchiveRun(settings, archive, [topics.tiles, topics.events], rules=Rules(), until_end=True).run()

    def show(event: dict[str, Any], *more: str, code: int = 0, **environment: Any) -> dict[str, Any]:
        out = str(tmp_path / f"{event['data'].get('what', 'frame')}.png")
        given = ("show", event["id"], "--out", out, "--json", "--pipeline", pipeline, *more)
        return facts(streamproc(*given, **(environment or variables(settings))), code=code)

    with ThreadPoolExecutor(3) as pool:
        plain = pool.submit(show, frame, "--camera", "gate", "--plain")
        began = pool.submit(show, new)
        differ = pool.submit(streamproc, "diff", "run-1", "run-2", **variables(settings))

    found = plain.result()
    assert (found["pixels"], found["run"], found["sequence"]) == ("whole", "run-1", 7)
    assert found["edges"].endswith("their digest is the event's")
    read = cv2.imread(str(tmp_path / "frame.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert np.array_equal(read, picture(7))

    found = began.result()
    assert (found["type"], found["sequence"]) == ("io.streamproc.track.v1", new["data"]["sequence"])
    drawn = cv2.imread(str(tmp_path / "new.png"))
    assert drawn is not None
    assert drawn.shape[0] > 96

    same = differ.result()
    assert same.code == 0, same.out + same.err
    assert f"{FRAMES} frames in both runs, 0 only in A, 0 only in B" in same.out

    remove(settings, [tile_partition("gate", 1, settings.partitions)])
    found = show(frame)
    assert found["pixels"] == "incomplete"
    assert [(one["row"], one["col"]) for one in found["lost_tiles"]] == [(0, 1)]
    assert "(retention)" in found["lost_tiles"][0]["why"]
    remove(settings, list(range(settings.partitions)))

    first_ns, end_ns = start_ns - STEP_NS // 2, start_ns + (FRAMES - 10) * STEP_NS - STEP_NS // 2
    span = [
        f"--{name}={datetime.fromtimestamp(at_ns / 1e9, tz=UTC).isoformat()}"
        for name, at_ns in (("from", first_ns), ("to", end_ns))
    ]
    video = tmp_path / "gate.mp4"
    given: tuple[str | Path, ...] = ("clip", "--camera", "gate", *span, "--out", video, "--archive", archive, "--json")
    with ThreadPoolExecutor(3) as pool:
        gone = pool.submit(show, frame, code=1)
        kept = pool.submit(show, new, "--archive", archive, STREAMPROC_PREFIX=settings.prefix)  # no broker is named
        moving = pool.submit(streamproc, *given, STREAMPROC_PREFIX=settings.prefix)
    found = gone.result()
    assert (found["pixels"], found["places"]) == ("gone", [])
    assert "(retention): it holds nothing now" in found["why"][0]
    found = kept.result()
    assert (found["pixels"], found["lost_tiles"]) == ("whole", [])
    assert found["places"] == [f"the archive {archive}"]
    clip = facts(moving.result())
    assert (clip["frames"], clip["shown"], clip["incomplete"], clip["gone"]) == (FRAMES - 10, FRAMES - 10, 0, 0)
    assert (clip["fps"], clip["pictures"]) == (10, FRAMES - 10)
    capture = cv2.VideoCapture(str(video))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == FRAMES - 10
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    assert size == (clip["width"], clip["height"])
