"""The whole way on a real broker: tiles in, one event for each frame out, equal to OpenCV on the frame."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from producers.publish import publish
from producers.sources import Source, open_source
from streamproc import cloudevents, wire
from streamproc.demo import EventLog
from streamproc.evidence import read_frame
from streamproc.model import Frame, Grid
from streamproc.operators.pixels import decode, thumbnail
from streamproc.provision import wait_for_group
from streamproc.publisher import Publisher
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics, camera_partition, tile_partition
from tests.event_schema import check_event
from tests.features import tile_header
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

EDGES = 'name = "edges"\n[[step]]\noperator = "canny"\nname = "edges"\n'


@pytest.fixture
def edges_only(tmp_path: Path) -> Path:
    """A pipeline file of edges alone, so that many frames fit into a test."""
    file = tmp_path / "edges.toml"
    file.write_text(EDGES)
    return file


@contextmanager
def running(settings: Settings, roles: list[str], folder: Path, pipeline: Path) -> Iterator[Workers]:
    """Workers that have joined."""
    specs = [WorkerSpec(role=role, pipeline=pipeline) for role in roles]
    with Workers(settings, specs, folder=folder) as workers:
        wait_for_group(settings, members=len(roles), timeout_s=60, check=workers.check)
        yield workers


class Recorded(Source):
    """Frames of another source, kept to compare with."""

    name = "recorded"

    def __init__(self, source: Source, count: int) -> None:
        self.pixels = [frame.pixels for _, frame in zip(range(count), source, strict=False)]
        self.length = len(self.pixels)

    def describe(self) -> str:
        return self.name

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(pixels=pixels, captured_ns=time.time_ns()) for pixels in self.pixels)


def whole_frame_digest(pixels: np.ndarray[Any, Any]) -> str:
    """The oracle: grey, Canny 50/150 on the whole frame."""
    gray = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return hashlib.sha256(np.packbits(cv2.Canny(gray, 50, 150) > 0).tobytes()).hexdigest()


def read_all(settings: Settings, topic: str) -> list[Record]:
    """Everything a topic holds."""
    with TopicReader(settings, topic) as reader:
        return list(reader.read({number: reader.bounds(number) for number in reader.partitions()}))


def test_two_workers_and_an_aggregator_give_each_of_200_frames_one_event_equal_to_opencv(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready()
    source = Recorded(open_source("builtin", settings), 200)
    with (
        running(settings, ["extract", "extract", "aggregate"], tmp_path, edges_only),
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        report = publish(
            source,
            settings,
            camera="gate",
            run="run-1",
            codec="png",
            grid=Grid(2, 2),
            fps="max",
            pipeline_halo=2,
            partitions=8,
        )
        assert (report.frames_published, report.tiles_acked) == (200, 800)
        assert log.wait_for(200, timeout_s=120)
        time.sleep(1)  # a second event for a frame would come now
        events = log.events()
    assert set(log.seen.values()) == {1}
    assert [event["data"]["sequence"] for event in events] == list(range(200))
    assert {event["data"]["outcome"] for event in events} == {"complete"}
    for event, pixels in zip(events, source.pixels, strict=True):
        check_event(event)
        assert event["data"]["edges"]["digest"] == whole_frame_digest(pixels)
    in_log = [cloudevents.event_key(record.headers) for record in read_all(settings, Topics(settings.prefix).events)]
    assert [key.sequence for key in in_log if key] == list(range(200))
    seen = read_frame(settings, events[77]["data"])
    assert np.array_equal(seen.pixels, source.pixels[77])


def test_a_worker_killed_and_restarted_in_the_middle_loses_nothing_and_doubles_nothing(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready(session_timeout_s=6)
    source = Recorded(open_source("synthetic:320x192", settings), 300)
    with (
        running(settings, ["all", "all"], tmp_path, edges_only) as workers,
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        report: list[Any] = []
        thread = threading.Thread(
            target=lambda: report.append(
                publish(
                    source,
                    settings,
                    camera="gate",
                    run="run-1",
                    codec="png",
                    grid=Grid(2, 2),
                    fps=60,
                    pipeline_halo=2,
                    partitions=8,
                )
            )
        )
        thread.start()
        assert log.wait_for(60, timeout_s=60)
        os.kill(workers.pids[0], signal.SIGKILL)
        workers.restart(0)
        thread.join(timeout=60)
        assert report
        assert report[0].frames_published == 300
        assert log.wait_for(300, timeout_s=90)
        time.sleep(1)
        events = log.events()
    assert set(log.seen.values()) == {1}
    assert {event["data"]["outcome"] for event in events} == {"complete"}
    assert [event["data"]["edges"]["digest"] for event in events] == [whole_frame_digest(one) for one in source.pixels]


def test_frames_are_complete_although_one_worker_is_far_behind_and_memory_holds_a_small_part_of_them(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    """One of two extract workers is frozen while the other does all its own: results are set aside and read again."""
    settings = topics_ready(session_timeout_s=120, max_open_bytes=5 * 2**20, frame_deadline_s=2)
    source = Recorded(open_source("synthetic:1280x720", settings), 200)
    roles = ["extract", "extract", "aggregate"]
    with (
        running(settings, roles, tmp_path, edges_only) as workers,
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        os.kill(workers.pids[0], signal.SIGSTOP)
        try:
            publish(
                source,
                settings,
                camera="gate",
                run="run-1",
                codec="png",
                grid=Grid(2, 4),  # a tile for each partition, so half of each frame for each worker
                fps="max",
                pipeline_halo=2,
                partitions=8,
            )
            wait_until(
                lambda: _bytes_of_features(settings, records=800) > 11 * 2**20, "half of the tiles done", timeout_s=90
            )
            time.sleep(3)  # longer than the deadline of a frame
            assert not log.seen
        finally:
            os.kill(workers.pids[0], signal.SIGCONT)
        assert log.wait_for(200, timeout_s=90)
        events = log.events()
        workers.check()
    assert set(log.seen.values()) == {1}
    assert [event["data"]["sequence"] for event in events] == list(range(200))
    assert {event["data"]["outcome"] for event in events} == {"complete"}
    assert [event["data"]["edges"]["digest"] for event in events] == [whole_frame_digest(one) for one in source.pixels]


def _bytes_of_features(settings: Settings, *, records: int) -> int:
    """Of all records in the topic, once there are so many."""
    found = read_all(settings, Topics(settings.prefix).features)
    return sum(len(record.value) for record in found) if len(found) >= records else 0


def test_bad_tiles_go_to_dead_letters_with_their_reason_and_their_frames_end(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready(frame_deadline_s=3)
    topics = Topics(settings.prefix)
    pixels = np.zeros((20, 68), np.uint8)
    value = pixels[:18, :34].tobytes()

    def tile(sequence: int, index: int, body: bytes, **changes: Any) -> tuple[Any, bytes]:
        header = tile_header(sequence=sequence, index=index, camera="gate", **changes)
        body = bytes(header.rect.area) if body == b"" else body
        return header if "payload_digest" in changes else _signed(header, body), body

    def _signed(header: Any, body: bytes) -> Any:
        import msgspec

        return msgspec.structs.replace(header, payload_digest=wire.digest_payload(body))

    good = [tile(0, index, b"") for index in range(4)]
    damaged = [tile(1, index, b"") for index in range(3)] + [tile(1, 3, b"", payload_digest=b"wrong!!!")]
    no_png = [tile(2, index, b"no png at all", codec="png") for index in range(4)]
    incomplete = [tile(3, index, b"") for index in range(3)]
    with (
        running(settings, ["all"], tmp_path, edges_only) as workers,
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        with Publisher(settings, client_id="test") as publisher:
            for header, body in [*good, *damaged, *no_png, *incomplete]:
                publisher.send(
                    topic=topics.tiles,
                    partition=tile_partition("gate", header.index, settings.partitions),
                    key=b"k",
                    value=body,
                    headers=wire.tile_headers(header),
                )
            publisher.send(topic=topics.tiles, partition=0, key=b"stranger", value=b"hello", headers=[("a", b"b")])
            publisher.send(topic=topics.features, partition=0, key=b"stranger", value=b"hello", headers=[])
        assert log.wait_for(4, timeout_s=60)
        workers.check()
        events = {event["data"]["sequence"]: event["data"] for event in log.events()}
    assert {sequence: data["outcome"] for sequence, data in events.items()} == {
        0: "complete",
        1: "partial",
        2: "rejected",
        3: "partial",
    }
    assert events[1]["missing_tiles"] == [[1, 1]]
    assert events[3]["reason"].startswith("deadline")
    letters = read_all(settings, topics.deadletters)
    reasons = sorted(dict(letter.headers)["dl_reason"].decode() for letter in letters)
    assert reasons == ["checksum", "codec", "codec", "codec", "codec", "envelope", "envelope"]
    stranger = next(
        letter for letter in letters if dict(letter.headers)["dl_stage"] == b"extract" and letter.key == b"stranger"
    )
    assert (stranger.value, stranger.headers[0]) == (b"hello", ("a", b"b"))
    assert value


def test_pictures_for_viewers_come_at_most_five_a_second_and_show_the_frame(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready()
    source = Recorded(open_source("builtin", settings), 60)
    with (
        running(settings, ["all"], tmp_path, edges_only),
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        started = time.monotonic()
        publish(
            source,
            settings,
            camera="gate",
            run="run-1",
            codec="raw",
            grid=Grid(2, 2),
            fps=30,
            pipeline_halo=2,
            partitions=8,
        )
        assert log.wait_for(60, timeout_s=60)
        seconds = time.monotonic() - started
    pictures = read_all(settings, Topics(settings.prefix).edges)
    kinds = {
        kind: [record for record in pictures if (wire.read_picture(record.headers) or ("", ""))[1] == kind]
        for kind in ("edges", "preview")
    }
    assert 2 <= len(kinds["edges"]) <= 5 * seconds + 1
    assert len(kinds["preview"]) == len(kinds["edges"])
    for record in kinds["preview"]:
        about = wire.read_picture(record.headers)
        assert about is not None
        pixels = source.pixels[about[0].sequence]
        small = thumbnail(pixels, next(scale for scale in (1, 2, 4) if max(pixels.shape) <= scale * 640))
        height, width = small.shape[:2]
        assert cv2.PSNR(decode(record.value, "jpeg", "bgr8", width=width, height=height), small) > 30
    for record in kinds["edges"]:
        about = wire.read_picture(record.headers)
        assert about is not None
        assert record.partition == camera_partition("gate", settings.partitions)
        pixels = source.pixels[about[0].sequence]
        height, width = pixels.shape[:2]
        edges = decode(record.value, codec="png", pixel_format="gray8", width=width, height=height)
        assert np.array_equal(edges, cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), 50, 150))


def test_events_are_json_lines_that_any_tool_can_read(
    topics_ready: Callable[..., Settings], tmp_path: Path, edges_only: Path
) -> None:
    settings = topics_ready()
    source = Recorded(open_source("synthetic:128x96", settings), 3)
    with (
        running(settings, ["all"], tmp_path, edges_only),
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        publish(
            source,
            settings,
            camera="gate",
            run="run-1",
            codec="jpeg",
            fps="max",
            pipeline_halo=2,
            partitions=8,
        )
        assert log.wait_for(3, timeout_s=60)
    (record, *_) = read_all(settings, Topics(settings.prefix).events)
    assert json.loads(record.value)["camera"] == "gate"
    assert dict(record.headers)["content-type"] == b"application/json"
