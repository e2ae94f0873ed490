"""Live cameras into a real Kafka: each frame that was read arrives once, in order, with its capture time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from producers.publish import publish
from producers.runs import PublishReport
from producers.sources import open_source
from producers.sources.arrivals import Stamp
from producers.sources.put_away import After, put_away
from streamproc import wire
from streamproc.errors import CameraLost
from streamproc.model import Frame, Grid, TileHeader
from streamproc.operators.pixels import decode
from streamproc.operators.tiling import join
from streamproc.provision import require_topics
from streamproc.settings import Settings
from streamproc.topics import Topics
from tests.cameras import mjpeg, rtsp
from tests.kafka.whole_log import read_all
from tests.producers.material import picture, save
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka


def arrived(settings: Settings, camera: str) -> dict[int, tuple[TileHeader, Frame]]:
    """Frames of a camera in the log by sequence number, put together from their tiles."""
    tiles: dict[int, list[tuple[TileHeader, bytes]]] = {}
    for record in read_all(settings, Topics(settings.prefix).tiles):
        header = wire.read_tile_header(record.headers)
        if header.camera == camera:
            tiles.setdefault(header.sequence, []).append((header, record.value or b""))
    frames = {}
    for sequence, parts in sorted(tiles.items()):
        first = parts[0][0]
        assert len(parts) == first.tile_count
        cores = [
            (header.core, decode(value, header.codec, header.pixel_format, header.core.width, header.core.height))
            for header, value in parts
        ]
        whole = join(cores, first.frame_width, first.frame_height)
        frames[sequence] = first, Frame(pixels=whole, captured_ns=first.captured_ns)
    return frames


def test_frames_of_two_cameras_arrive_exactly_until_each_is_lost(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=2)
    read: dict[str, list[Frame]] = {"web": [], "yard": []}
    problems: dict[str, object] = {}

    def run(camera: str, url: str) -> None:
        with open_source(url, settings, read_timeout_s=2.0) as source:
            report = publish(
                source,
                settings,
                camera=camera,
                partitions=require_topics(settings),
                codec="raw",
                grid=Grid(2, 2),
                on_frame=lambda _headers, frame: read[camera].append(frame),
                notice=lambda _line: None,
            )
        problems[camera] = report.problem
        assert report.frames_published == report.frames_read == len(read[camera])

    with mjpeg.MjpegCamera("resize", fps=20) as web, rtsp.RtspServer("--fps", "10") as yard:
        urls = {"web": web.url, "yard": f"rtsp://127.0.0.1:{yard.port}/camera"}
        threads = [threading.Thread(target=run, args=pair) for pair in urls.items()]
        for thread in threads:
            thread.start()
        threading.Timer(3.0, lambda: yard.say("stall")).start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    for camera, reason, number_of in (("web", "changed", mjpeg.number_of), ("yard", "stalled", rtsp.number_of)):
        problem = problems[camera]
        assert isinstance(problem, CameraLost)
        assert problem.reason == reason
        frames = arrived(settings, camera)
        assert list(frames) == list(range(len(read[camera])))
        assert len(frames) >= 5
        for (header, frame), sent in zip(frames.values(), read[camera], strict=True):
            assert np.array_equal(frame.pixels, sent.pixels)
            assert header.captured_ns == sent.captured_ns
        numbers = [number_of(frame.pixels) for _, frame in frames.values()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_publishing_a_silent_camera_ends_when_it_is_interrupted(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=1)
    stop = threading.Event()
    reports: list[PublishReport] = []
    with mjpeg.MjpegCamera("stall", fps=50) as camera:
        source = open_source(camera.url, settings, read_timeout_s=60.0)

        def run() -> None:
            reports.append(publish(source, settings, camera="web", partitions=1, stop=stop, notice=lambda _line: None))

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: len(camera.requests) == 1, "the camera is asked", timeout_s=20)
        thread.join(1)
        assert thread.is_alive()
        stop.set()
        source.interrupt()
        thread.join(5)
        assert not thread.is_alive()
    (report,) = reports
    assert (report.frames_read, report.frames_published, report.problem, report.stopped) == (4, 4, None, True)
    assert len(arrived(settings, "web")) == 4


def test_pictures_of_a_folder_are_put_away_only_when_they_are_in_the_log(
    topics_ready: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = topics_ready(partitions=2)
    seen: list[tuple[str, int]] = []

    def noted(file: Path, stamp: Stamp, *, after: After) -> None:
        seen.append((file.name, len(arrived(settings, "drop"))))
        put_away(file, stamp, after=after)

    monkeypatch.setattr("producers.sources.put_away.put_away", noted)
    for number in range(3):
        save(tmp_path / f"{number}.png", picture(seed=number))
    source, stop = open_source(f"watch:{tmp_path}?after=move", settings), threading.Event()
    reports: list[PublishReport] = []

    def run() -> None:
        reports.append(
            publish(
                source,
                settings,
                camera="drop",
                partitions=2,
                codec="png",
                grid=Grid(2, 2),
                stop=stop,
                notice=lambda _line: None,
            )
        )

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: not list(tmp_path.glob("*.png")), "all are put away", timeout_s=30)
    stop.set()
    source.interrupt()
    thread.join(10)
    assert not thread.is_alive()
    assert sorted(file.name for file in (tmp_path / "done").iterdir()) == ["0.png", "1.png", "2.png"]
    assert [name for name, _frames in seen] == ["0.png", "1.png", "2.png"]
    assert all(frames > number for number, (_name, frames) in enumerate(seen))
    frames = arrived(settings, "drop")
    assert len(frames) == reports[0].frames_published == 3
    assert all(np.array_equal(frame.pixels, picture(seed=number)) for number, (_header, frame) in frames.items())
