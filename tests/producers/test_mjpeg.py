"""Cameras over HTTP: what they send, how they fail, and how soon that is noticed."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from itertools import islice, pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from producers.sources import LiveSource, open_source
from streamproc.errors import CameraLost
from streamproc.settings import load_settings
from tests.cameras import until_lost
from tests.cameras.mjpeg import PASSWORD, USER, MjpegCamera, number_of, silent_port
from tests.producers.material import SETTINGS

if TYPE_CHECKING:
    from streamproc.model import Frame

LOGIN = f"{USER}:{quote(PASSWORD, safe='')}"


def opened(url: str, *, seconds: float = 4.0) -> LiveSource:
    source = open_source(url, SETTINGS, open_timeout_s=seconds, read_timeout_s=seconds)
    assert isinstance(source, LiveSource)
    return source


def lost(url: str, *, seconds: float = 4.0, within_s: float = 5.0) -> tuple[list[Frame], CameraLost]:
    """All frames until the camera is lost, and why."""
    frames, problem, silent_s = until_lost(iter(opened(url, seconds=seconds)))
    assert silent_s < within_s
    assert "\n" not in str(problem)
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in str(problem)
    return frames, problem


@pytest.mark.parametrize("behaviour", ["chunked", "unlengthed", "quirky"])
def test_every_picture_arrives_once_and_in_order(behaviour: str) -> None:
    with MjpegCamera(behaviour, fps=200, frames=40) as camera:
        frames = list(islice(opened(camera.url), 40))
    assert [number_of(frame.pixels) for frame in frames] == list(range(40))
    assert all(frame.clock == "wall" and frame.keyframe for frame in frames)
    assert [frame.captured_ns for frame in frames] == sorted(frame.captured_ns for frame in frames)


def test_a_single_broken_picture_is_passed_over() -> None:
    with MjpegCamera(fps=200, frames=10) as camera:
        frames, problem = lost(camera.url)
    assert [number_of(frame.pixels) for frame in frames] == [0, 1, *range(3, 10)]
    assert problem.reason == "ended"


@pytest.mark.parametrize("behaviour", ["basic", "digest", "digest-sha256"])
def test_a_login_is_given_when_it_is_asked_for(behaviour: str) -> None:
    with MjpegCamera(behaviour, fps=200, frames=3) as camera:
        frames = list(islice(opened(camera.url.replace("://", f"://{LOGIN}@")), 3))
        assert b"Authorization" not in camera.requests[0]
    assert [number_of(frame.pixels) for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize("behaviour", ["basic", "digest", "digest-sha256"])
@pytest.mark.parametrize("login", ["", "anna:wrong@"])
def test_a_wrong_login_is_told(behaviour: str, login: str) -> None:
    with MjpegCamera(behaviour) as camera:
        frames, problem = lost(camera.url.replace("://", f"://{login}"))
    assert (frames, problem.reason) == ([], "unauthorized")


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [
        ("garbage", "malformed", "does not speak HTTP"),
        ("endless-head", "malformed", "head of more than"),
        ("endless-part", "malformed", "more than"),
        ("redirect", "refused", "302"),
        ("missing", "refused", "404"),
        ("html", "malformed", "text/html"),
        ("picture", "malformed", "image/jpeg"),
        ("hostile", "malformed", "60000x60000"),
        ("broken", "malformed", "broken pictures"),
        ("closing", "refused", "closed the connection"),
    ],
)
def test_a_camera_that_is_none_is_told(behaviour: str, reason: str, words: str) -> None:
    settings = load_settings(bootstrap="127.0.0.1:9", max_frame_pixels=1_000_000)
    with MjpegCamera(behaviour, fps=100) as camera:
        source = open_source(camera.url.replace("://", f"://{LOGIN}@"), settings)
        with pytest.raises(CameraLost, match=words) as caught:
            list(source)
    assert caught.value.reason == reason
    assert f"http://{USER}:***@127.0.0.1" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_redirect_is_not_followed() -> None:
    with MjpegCamera("redirect") as camera:
        lost(camera.url)
        assert len(camera.requests) == 1


@pytest.mark.parametrize(("behaviour", "frames"), [("stall", 4), ("drip", 3), ("half-open", 0)])
def test_a_camera_that_stops_is_noticed_within_5_s(behaviour: str, frames: int) -> None:
    with MjpegCamera(behaviour, fps=50) as camera:
        given, problem = lost(camera.url, within_s=5)
    assert len(given) == frames
    assert problem.reason == ("timeout" if behaviour == "half-open" else "stalled")


def test_a_camera_that_never_accepts_is_noticed_within_5_s() -> None:
    with silent_port() as port:
        _frames, problem = lost(f"http://127.0.0.1:{port}/", within_s=5)
    assert problem.reason == "timeout"


def test_a_camera_that_is_off_or_cut_off_is_told() -> None:
    with MjpegCamera() as camera:
        pass
    assert lost(camera.url)[1].reason == "refused"
    assert lost("http://no-such-host.invalid/video.mjpg")[1].reason == "unreachable"
    with MjpegCamera("short", fps=100, frames=5) as camera:
        assert lost(camera.url)[1].reason == "ended"


def test_another_size_ends_the_stream_as_changed() -> None:
    with MjpegCamera("resize", fps=100) as camera:
        frames, problem = lost(camera.url)
    assert [frame.pixels.shape for frame in frames] == [(128, 128, 3)] * 5
    assert problem.reason == "changed"
    assert "from 128x128 px colour to 256x128 px colour" in str(problem)


@pytest.mark.parametrize("behaviour", ["ok", "stall", "half-open", "drip"])
def test_an_interrupt_ends_a_read_within_1_s(behaviour: str) -> None:
    with MjpegCamera(behaviour, fps=20) as camera:
        source = opened(camera.url, seconds=30)
        reader = threading.Thread(target=lambda: list(source))
        reader.start()
        time.sleep(0.6)
        assert reader.is_alive()
        started_s = time.monotonic()
        source.interrupt()
        reader.join(5)
        assert time.monotonic() - started_s < 1
        source.close()
        source.close()
        assert list(source) == []


def test_a_camera_that_returns_gives_frames_again() -> None:
    with MjpegCamera(fps=50) as camera:
        assert len(list(islice(opened(camera.url), 3))) == 3
        port = camera.port
    source = opened(camera.url)
    with pytest.raises(CameraLost):
        list(source)
    with MjpegCamera(fps=50, port=port):
        started_s = time.monotonic()
        assert number_of(next(iter(source)).pixels) == 0
        assert time.monotonic() - started_s < 5


def test_other_cameras_never_feel_one_that_fails() -> None:
    good = [MjpegCamera("chunked", fps=20) for _ in range(12)]
    bad = [MjpegCamera(kind, fps=20) for kind in ("stall", "half-open", "drip", "garbage")]
    sources = [opened(camera.url, seconds=2) for camera in (*good, *bad)]
    times: list[list[float]] = [[] for _ in sources]

    def read(index: int) -> None:
        with suppress(CameraLost):
            for _ in sources[index]:
                times[index].append(time.monotonic())

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(sources))]
    try:
        for thread in threads:
            thread.start()
        time.sleep(4)
        assert [thread.is_alive() for thread in threads] == [True] * 12 + [False] * 4
    finally:
        for source in sources:
            source.interrupt()
        for thread in threads:
            thread.join(5)
        for camera in (*good, *bad):
            camera.kill()
    for seen in times[:12]:
        assert len(seen) > 30  # of 80 on a machine that has nothing else to do
        assert max(after - before for before, after in pairwise(seen)) < 1.5
