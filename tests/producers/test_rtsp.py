"""RTSP cameras, against GStreamer's server."""

from __future__ import annotations

import socket
import threading
import time
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import pytest

from producers.sources import LiveSource, open_source
from streamproc.errors import CameraLost
from tests.cameras import until_lost
from tests.cameras.mjpeg import MjpegCamera
from tests.cameras.rtsp import RtspServer, number_of
from tests.producers.material import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamproc.model import Frame

SECRET = "ge:he im/1"


def opened(url: str) -> LiveSource:
    source = open_source(url, SETTINGS)
    assert isinstance(source, LiveSource)
    return source


def camera(server: RtspServer, *, scheme: str = "rtsp", login: str = "") -> LiveSource:
    return opened(f"{scheme}://{login}127.0.0.1:{server.port}/camera")


def lost(frames: Iterator[Frame], *, within_s: float = 5.0) -> CameraLost:
    _frames, problem, silent_s = until_lost(frames)
    assert silent_s < within_s
    assert "\n" not in str(problem)
    return problem


@pytest.mark.parametrize("scheme", ["rtsp", "rtspu"])
def test_every_frame_arrives_in_order_with_the_cameras_own_times(scheme: str) -> None:
    with RtspServer("--fps", "20") as server:
        started_ns = time.time_ns()
        frames: list[Frame] = []
        for frame in islice(camera(server, scheme=scheme), 300):  # the first sender report comes within some seconds
            frames.append(frame)
            if sum(frame.clock == "rtcp" for frame in frames) == 20:
                break
        ended_ns = time.time_ns()
    numbers = [number_of(frame.pixels) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(frames)))
    assert numbers[0] < 20
    assert frames[0].keyframe
    assert 1 <= sum(frame.keyframe for frame in frames) <= 1 + len(frames) / 10
    assert {frame.clock for frame in frames[1:]} == {"pts", "rtcp"}
    assert all(started_ns - 1e9 < frame.captured_ns < ended_ns + 1e9 for frame in frames)
    told = [frame for frame in frames if frame.clock == "rtcp"]
    steps_ms = [(after.captured_ns - before.captured_ns) / 1e6 for before, after in pairwise(told)]
    assert len(steps_ms) == 19
    assert all(0 < step < 1000 for step in steps_ms[1:]), steps_ms  # FFmpeg gives the first report's own time twice
    assert 40 < sorted(steps_ms)[10] < 60


def test_a_key_frame_that_comes_late_is_waited_for_as_long_as_packets_come() -> None:
    with RtspServer("--gop", "60") as server:  # of 10 frames a second
        early = iter(camera(server))
        next(early)
        started_s = time.monotonic()
        frame = next(iter(camera(server)))
        assert 4 < time.monotonic() - started_s < 10
        assert frame.keyframe
        assert number_of(frame.pixels) in {60, 61}
        late = camera(server)
        assert late.longest_wait_s == 15
        frames = iter(late)
        threading.Timer(1, server.say, ["stall"]).start()
        problem = lost(frames, within_s=6.5)  # 1 s and 4 s after its last packet
    assert problem.reason == "stalled"


def test_jpeg_over_rtp_is_read_too() -> None:
    with RtspServer("--codec", "mjpeg") as server:
        frames = list(islice(camera(server), 5))
    numbers = [number_of(frame.pixels) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert all(frame.keyframe for frame in frames)


def test_a_login_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", SECRET)
    with RtspServer("--login", f"anna:{SECRET}".replace(":he", "he")) as server:
        monkeypatch.setenv("CAMERA_PASSWORD", SECRET.replace(":", ""))
        source = camera(server, login="anna:${CAMERA_PASSWORD}@")
        assert source.name == f"rtsp://anna:***@127.0.0.1:{server.port}/camera"
        assert next(iter(source)).pixels.shape == (240, 320, 3)
        wrong = lost(iter(camera(server, login="anna:other-secret@")))
        none = lost(iter(camera(server)))
    assert (wrong.reason, none.reason) == ("unauthorized", "unauthorized")
    shown = "".join((*capfd.readouterr(), caplog.text, source.describe(), str(wrong), repr(wrong), repr(source)))
    for secret in (SECRET.replace(":", ""), "gehe%20im", "other-secret"):
        assert secret not in shown


@pytest.mark.parametrize("scheme", ["rtsp", "rtspu"])
def test_a_stall_is_noticed_within_5_s(scheme: str) -> None:
    with RtspServer() as server:
        frames = iter(camera(server, scheme=scheme))
        for _ in islice(frames, 5):
            pass
        server.say("stall")
        problem = lost(frames)
    assert problem.reason == "stalled"


@pytest.mark.parametrize("scheme", ["rtsp", "rtspu"])
def test_a_server_that_dies_is_noticed_and_its_return_too(scheme: str) -> None:
    with RtspServer() as server:
        source = camera(server, scheme=scheme)
        frames = iter(source)
        for _ in islice(frames, 5):
            pass
        server.kill()
        problem = lost(frames)
        assert problem.reason in {"ended", "stalled"}
    assert lost(iter(source)).reason == "refused"
    with RtspServer("--port", str(server.port)):
        started_s = time.monotonic()
        assert next(iter(source)).pixels.shape == (240, 320, 3)
        assert time.monotonic() - started_s < 5


def test_another_resolution_ends_the_stream_as_changed() -> None:
    with RtspServer() as server:
        frames = iter(camera(server))
        next(frames)
        server.say("size 256x192")
        problem = lost(frames)
    assert problem.reason == "changed"
    assert "from 320x240 px colour to 256x192 px colour" in str(problem)


def test_a_path_that_is_none_and_a_server_that_speaks_http_are_told() -> None:
    with RtspServer() as server:
        problem = lost(iter(opened(f"rtsp://127.0.0.1:{server.port}/other")))
    assert problem.reason == "refused"
    with MjpegCamera("garbage") as other:
        problem = lost(iter(opened(f"rtsp://127.0.0.1:{other.port}/camera")))
    assert problem.reason in {"malformed", "refused", "timeout"}


def test_a_half_open_camera_is_noticed_within_5_s_and_can_be_interrupted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and never says a word
        source = opened(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/camera")
        problem = lost(iter(source))
        assert problem.reason == "timeout"
        reader = threading.Thread(target=lambda: list(source))
        reader.start()
        time.sleep(0.5)
        started_s = time.monotonic()
        source.interrupt()
        reader.join(5)
        assert time.monotonic() - started_s < 1


def test_an_interrupt_ends_a_read_within_1_s() -> None:
    with RtspServer() as server:
        source = camera(server)
        frames = iter(source)
        next(frames)
        server.say("stall")
        timer = threading.Timer(0.5, source.interrupt)
        timer.start()
        started_s = time.monotonic()
        assert len(list(frames)) < 20
        assert time.monotonic() - started_s < 1.5
