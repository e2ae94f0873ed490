"""Record, kill -9, resume, run again: the same events, to the last one. All of it with the commands that users have."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamproc import cloudevents
from streamproc.archive.storage import Storage
from streamproc.model import Pixels
from streamproc.provision import wait_for_group
from streamproc.settings import Settings
from streamproc.topics import Topics
from tests.cli import Done, Running, started, streamproc
from tests.event_schema import check_event
from tests.kafka.whole_log import read_all
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

FRAMES = 80
FPS = 20
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
fps = 20
update_every_s = 0
"""


def mark() -> Pixels:
    noise = np.random.default_rng(3).integers(0, 256, (18, 18), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 1), np.uint8)


def film(folder: Path) -> Path:
    """Pictures of a mark that goes to the right, and the pipeline that follows it; gives the pipeline's file."""
    (folder / "pictures").mkdir()
    for number in range(FRAMES):
        pixels = np.full((96, 192), 90, np.uint8)
        pixels[20:38, 4 + 2 * number : 22 + 2 * number] = mark()
        cv2.imwrite(str(folder / "pictures" / f"{number:03}.png"), pixels)
    cv2.imwrite(str(folder / "mark.png"), mark())
    (folder / "pipeline.toml").write_text(PIPELINE)
    return folder / "pipeline.toml"


def frames_told(settings: Settings) -> int:
    """Frames whose event is in the log; tracks have events of their own."""
    events = read_all(settings, Topics(settings.prefix).events)
    return sum(cloudevents.event_key(one.headers) is not None for one in events)


def empty(settings: Settings, topic: str) -> None:
    """Take all records out of a topic, as retention does in the end."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    ends = [TopicPartition(topic, number, -1) for number in range(settings.partitions)]
    for future in admin.delete_records(ends).values():
        future.result(20)
    assert read_all(settings, topic) == []


class Commands:
    """The command line on a cluster's topics, as a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self, *arguments: str | Path) -> Done:
        """Run a command and wait for its end."""
        settings = self._settings
        return streamproc(*arguments, STREAMPROC_BOOTSTRAP=settings.bootstrap, STREAMPROC_PREFIX=settings.prefix)

    def beside(self, *arguments: str | Path) -> AbstractContextManager[Running]:
        """Run one beside the test."""
        settings = self._settings
        return started(*arguments, STREAMPROC_BOOTSTRAP=settings.bootstrap, STREAMPROC_PREFIX=settings.prefix)


def record(settings: Settings, folder: Path, pipeline: Path, url: Path) -> None:
    """Frames go in, a worker tells of them, the archive is killed in the middle of it and resumed."""
    commands, tiles = Commands(settings), Topics(settings.prefix).tiles
    archive = ("archive", "run", url, "--rotate-bytes", "65536", "--rotate-s", "1")

    def files() -> int:
        return len(Storage(str(url)).files(tiles))

    with commands.beside("worker", "--pipeline", pipeline) as worker:
        with commands.beside(*archive) as archiving:
            wait_for_group(settings, members=1, timeout_s=60, check=worker.check)
            wait_until(lambda: files() == 1, "the archive has begun", timeout_s=30)
            shot = ("produce", folder / "pictures", "--camera", "gate", "--run", "run-1", "--codec", "png")
            with commands.beside(*shot, "--grid", "2x2", "--fps", str(FPS), "--pipeline", pipeline) as producing:
                wait_until(lambda: files() >= 3, "complete files", timeout_s=30)
                archiving.check()
                archiving.send(signal.SIGKILL)
                producing.check()  # it was in the middle
                assert producing.ended(timeout_s=30)[0].code == 0
        wait_until(lambda: frames_told(settings) >= FRAMES, "all events", timeout_s=30)
        worker.send(signal.SIGTERM)
        resumed = commands.run(*archive, "--until-end", "--json")
        assert resumed.code == 0, resumed.err
        worker.ended(timeout_s=20)


def test_recorded_killed_resumed_and_run_again_from_the_archive_alone_the_events_are_the_same(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings, pipeline, url = topics_ready(partitions=4), film(tmp_path), tmp_path / "recordings"
    topics, command = Topics(settings.prefix), Commands(settings).run
    record(settings, tmp_path, pipeline, url)
    recorded = {topic: len(read_all(settings, topic)) for topic in (topics.tiles, topics.events)}
    for topic in recorded:
        empty(settings, topic)
    listed = json.loads(command("archive", "ls", url, "--json").out)
    assert {one["topic"]: (one["records"], one["gaps"]) for one in listed} == {
        topic: (count, []) for topic, count in recorded.items()
    }
    assert command("archive", "verify", url).code == 0

    chosen = ("--archive", url, "--camera", "gate", "--pipeline", pipeline, "--workers", "1")
    again = command("rerun", *chosen, "--out", tmp_path / "again", "--json")
    assert again.code == 0, again.err
    events = [json.loads(line) for line in (tmp_path / "again" / "events.jsonl").read_text().splitlines()]
    for event in events:
        check_event(event)
    assert {event["type"].split(".")[2] for event in events} == {"frame", "track"}
    same = command("diff", "run-1", tmp_path / "again", "--archive", url, "--json")
    assert (same.code, same.err) == (0, "")
    told = json.loads(same.out)
    assert (told["frames"]["same"], told["differences"]) == (FRAMES, [])
