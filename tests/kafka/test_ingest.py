"""A list of cameras on a real broker: what was read is in the log or counted, whatever happens to cameras and list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from producers.ingest_run import Counts
from streamproc import wire
from streamproc.cloudevents import CAMERA_EVENT_TYPE, structured_event
from streamproc.errors import BrokerError
from streamproc.ledger import LedgerWriter, read_ledger
from streamproc.model import FrameKey
from streamproc.operators.pixels import decode
from streamproc.provision import check_topics, create_topics, require_topics
from streamproc.publisher import LastingPublisher, Publisher
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition, tile_partition
from tests.cameras.mjpeg import MjpegCamera, number_of
from tests.cli import started, streamproc
from tests.event_schema import check_event
from tests.kafka.whole_log import read_all
from tests.producers.staged import SECRET, Stage, Theatre
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka


def tiles_in_log(settings: Settings) -> dict[FrameKey, set[int]]:
    """Which tiles of which frames stand in the log, each once and in its partition, numbers of a run in order."""
    found: dict[FrameKey, set[int]] = {}
    last: dict[tuple[str, str, int], int] = {}
    for record in read_all(settings, Topics(settings.prefix).tiles):
        header = wire.read_tile_header(record.headers)
        assert record.partition == tile_partition(header.camera, header.index, settings.partitions)
        tiles = found.setdefault(header.key, set())
        assert header.index not in tiles
        tiles.add(header.index)
        position = (header.camera, header.run, header.index)
        assert header.sequence > last.get(position, -1)
        last[position] = header.sequence
    return found


def camera_events(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Data of camera events, by camera, in the order of the log; ids are unique."""
    found: dict[str, list[dict[str, Any]]] = {}
    ids = set()
    for record in read_all(settings, Topics(settings.prefix).events):
        event = structured_event(record.headers, record.value)
        assert event["type"] == CAMERA_EVENT_TYPE
        check_event(event)
        data = event["data"]
        assert record.partition == camera_partition(data["camera"], settings.partitions)
        ids.add(event["id"])
        found.setdefault(data["camera"], []).append(data)
    assert len(ids) == sum(map(len, found.values()))
    return found


def test_four_cameras_one_dies_and_returns_and_the_list_is_edited(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=4)
    stages = {name: Stage(fps=25) for name in "abcd"}
    file = tmp_path / "ledger"
    publisher = Publisher(settings, client_id="t").start()
    with LedgerWriter(file) as writer:
        theatre = Theatre(
            tmp_path / "cameras.toml",
            stages,
            sender=publisher,
            settings=settings,
            partitions=require_topics(settings),
            ledger=writer,
        )
        with theatre:

            def counts(name: str) -> Counts:
                return next((one.counts for one in theatre.ingest.reports() if one.camera == name), Counts())

            def published(name: str) -> int:
                return counts(name).frames_published

            wait_until(lambda: min(map(published, "abcd")) > 10, "all give frames", timeout_s=10)
            stages["b"].mode = "ended"
            wait_until(lambda: theatre.figure("camera_up", camera="b") == 0, "b is lost", timeout_s=5)
            stages["b"].mode = "alive"
            wait_until(lambda: theatre.figure("camera_up", camera="b") == 1, "b is back", timeout_s=5)
            before = published("a")
            theatre.write({"a": {}, "b": {}, "c": {"grid": "2x2"}})
            wait_until(lambda: any("removed d; changed c" in line for line in theatre.notices), "edit", timeout_s=5)
            wait_until(lambda: published("a") > before + 25, "a goes on", timeout_s=5)
            wait_until(lambda: counts("c").runs == 2, "c gives frames anew", timeout_s=10)
        publisher.close(timeout_s=5)
    total, found = theatre.ended.total, read_ledger(file)
    assert total.balanced
    assert found.counts() == {
        "acked": total.frames_published,
        "failed": total.frames_failed,
        "unknown": 0,
        "dropped": total.frames_dropped,
    }
    assert total.frames_failed == 0
    tiles = tiles_in_log(settings)
    assert {key: len(indexes) for key, indexes in tiles.items()} == {
        key: one.line.tiles for key, one in found.frames.items()
    }
    assert len({key.run for key in tiles if key.camera == "a"}) == 1
    assert len({key.run for key in tiles if key.camera == "c"}) == 2
    told = {name: [event["what"] for event in events] for name, events in camera_events(settings).items()}
    assert told["a"] == ["online", "offline"]
    assert told["b"][:3] == ["online", "offline", "online"]
    assert told["d"] == ["online", "offline"]
    assert theatre.ended.events_acked == sum(map(len, told.values()))


SIXTEEN = [f"cam-{number:02}" for number in range(16)]


def pictures_in_log(settings: Settings) -> dict[str, dict[str, list[int]]]:
    """Which pictures of an `MjpegCamera` stand in the log, by camera and run, in order of their frames' numbers."""
    found: dict[str, dict[str, dict[int, int]]] = {}
    for record in read_all(settings, Topics(settings.prefix).tiles):
        header = wire.read_tile_header(record.headers)
        pixels = decode(record.value or b"", header.codec, header.pixel_format, header.core.width, header.core.height)
        found.setdefault(header.camera, {}).setdefault(header.run, {})[header.sequence] = number_of(pixels)
    for runs in found.values():
        assert all(sorted(numbers) == list(range(len(numbers))) for numbers in runs.values())
    return {
        camera: {run: [picture for _, picture in sorted(numbers.items())] for run, numbers in runs.items()}
        for camera, runs in found.items()
    }


def test_of_sixteen_cameras_one_is_killed_and_returns_and_the_others_lose_nothing(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=4)
    publisher = Publisher(settings, client_id="t").start()
    partitions = require_topics(settings)
    theatre = Theatre(
        tmp_path / "cameras.toml", {"staged": Stage()}, sender=publisher, settings=settings, partitions=partitions
    )
    with ExitStack() as running:
        cameras = {name: running.enter_context(MjpegCamera(fps=10)) for name in SIXTEEN}
        theatre.write({name: {"source": camera.url, "grid": "1x1"} for name, camera in cameras.items()})
        with theatre:

            def published() -> dict[str, int]:
                found = {one.camera: one.counts.frames_published for one in theatre.ingest.reports()}
                return {name: found.get(name, 0) for name in cameras}

            wait_until(lambda: min(published().values()) > 5, "all give frames", timeout_s=15)
            cameras["cam-07"].kill()
            wait_until(lambda: theatre.figure("camera_up", camera="cam-07") == 0, "one is lost", timeout_s=5)
            before = published()["cam-07"]
            running.enter_context(MjpegCamera(fps=10, port=cameras["cam-07"].port))
            wait_until(lambda: published()["cam-07"] > before + 5, "it is back", timeout_s=10)
        publisher.close(timeout_s=5)
    assert theatre.ended.total.balanced
    assert theatre.ended.total.frames_published == theatre.ended.total.frames_read
    for name, runs in pictures_in_log(settings).items():
        if name == "staged":
            continue
        ((_, pictures),) = runs.items()
        if name == "cam-07":
            back = pictures.index(0, 1)
            assert whole(pictures[:back])
            pictures = pictures[back:]
        assert whole(pictures), name
        assert len(pictures) > 5


def whole(pictures: list[int]) -> bool:
    """All that an `MjpegCamera` sent up to some point; its third picture is always broken."""
    return pictures == [number for number in range(pictures[-1] + 1) if number != 2]


def test_a_tiles_topic_that_is_deleted_and_made_anew_ends_nothing_and_all_is_counted(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=4, delivery_timeout_s=10)
    topic, notices = Topics(settings.prefix).tiles, list[str]()
    make = partial(Publisher, settings, client_id="t")
    publisher = LastingPublisher(make, notice=notices.append, stop=threading.Event()).start()
    theatre = Theatre(
        tmp_path / "cameras.toml",
        {name: Stage(fps=25) for name in "ab"},
        sender=publisher,
        settings=settings,
        partitions=require_topics(settings),
    )
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    with theatre:

        def total() -> Counts:
            counts = Counts()
            for one in theatre.ingest.reports():
                counts.add(one.counts)
            return counts

        wait_until(lambda: total().frames_published > 20, "frames are published", timeout_s=10)
        admin.delete_topics([topic])[topic].result(10)
        wait_until(lambda: topic not in admin.list_topics(timeout=5).topics, "it is gone", timeout_s=5)
        time.sleep(1)
        wait_until(lambda: made_anew(settings), "it is there again", timeout_s=5)
        before = total().frames_published
        wait_until(lambda: total().frames_published > before + 50, "frames are published again", timeout_s=10)
        assert {one.state for one in theatre.ingest.reports()} == {"online"}
    publisher.close(timeout_s=5)
    ended, tiles = theatre.ended.total, tiles_in_log(settings)
    assert theatre.ended.problem is None
    assert ended.balanced
    assert ended.frames_failed == ended.frames_unknown < 10, (
        "librdkafka takes some for delivered that it cannot know of"
    )
    whole_frames = {key for key, indexes in tiles.items() if len(indexes) == 2}
    assert len(whole_frames) >= ended.frames_published - before
    for run in {key.run for key in whole_frames}:
        numbers = {key.sequence for key in whole_frames if key.run == run}
        assert len(set(range(min(numbers), max(numbers))) - numbers) <= ended.frames_failed, "nothing else is missing"


def made_anew(settings: Settings) -> bool:
    """Make the topics that are missing; a broker may still be deleting the old one."""
    with suppress(BrokerError):
        create_topics(settings)
    return not check_topics(settings)


def test_ctrl_c_ends_the_command_with_all_accounted_for_and_no_secret_told(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=4)
    variables: dict[str, Any] = {
        "STREAMPROC_BOOTSTRAP": settings.bootstrap,
        "STREAMPROC_PREFIX": settings.prefix,
        "CAM_PW": SECRET,
    }
    cameras = [
        {"name": "film", "source": "synthetic:320x192", "fps": 20, "codec": "png"},
        {"name": "dead", "source": "http://viewer:${CAM_PW}@127.0.0.1:9/stream.mjpg"},
    ]
    file, ledger = tmp_path / "cameras.toml", tmp_path / "ledger"
    file.write_bytes(msgspec.toml.encode({"camera": cameras}))
    checked = streamproc("ingest", file, "--check", **variables)
    assert (checked.code, "http://viewer:***@127.0.0.1:9/" in checked.out) == (0, True)
    with started("ingest", file, "--ledger", ledger, "--json", **variables) as running:

        def well_under_way() -> bool:
            running.check()
            return ledger.exists() and read_ledger(ledger).counts()["acked"] >= 30

        wait_until(well_under_way, "30 frames are acknowledged", timeout_s=30)
        running.interrupt()
        done, _ = running.ended(timeout_s=20)
    assert done.code == 130
    report = msgspec.json.decode(done.out)
    assert report["frames_read"] == report["frames_published"] + report["frames_failed"] + report["frames_dropped"]
    assert read_ledger(ledger).counts()["acked"] == report["frames_published"] == len(tiles_in_log(settings))
    events = camera_events(settings)
    assert [event["data"]["reason"] for event in events["dead"]] == ["refused"]
    assert [event["what"] for event in events["film"]] == ["online", "offline"]
    logged = b"".join(record.value or b"" for record in read_all(settings, Topics(settings.prefix).events))
    assert SECRET not in f"{checked.out}{checked.err}{done.out}{done.err}{ledger.read_text()}{logged!r}"


def test_a_wrong_list_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text("[[camera]]\nname = 'gate'\nsource = 'builtin'\nfsp = 5\n")
    done = streamproc("ingest", file, "--check")
    assert done.code == 2
    assert "camera 'gate': fsp: there is no such key" in done.error_line
