"""Cameras on this machine: with a stand-in for OpenCV's capture, and with a real device where there is one."""

from __future__ import annotations

import threading
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from producers.sources import open_source
from producers.sources.v4l2 import V4l2Source, driver_time
from tests.cameras import until_lost
from tests.producers.material import SETTINGS, picture

if TYPE_CHECKING:
    import cv2

    from streamproc.errors import CameraLost
    from streamproc.model import Frame, Pixels

DEVICE = Path("/dev/video0")


class FakeCapture:
    """As much of `cv2.VideoCapture` as is used; hangs when its pictures are used up, if told to."""

    def __init__(self, pictures: list[Pixels], *, opens: bool = True, hangs: bool = False) -> None:
        self.pictures, self.opens, self.hangs = list(pictures), opens, hangs
        self.go_on = threading.Event()
        self.released = threading.Event()

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opens

    def read(self) -> tuple[bool, Pixels | None]:
        if self.pictures:
            return True, self.pictures.pop(0)
        if self.hangs:
            self.go_on.wait(20)
        return False, None

    def get(self, _property: int) -> float:
        return (time.monotonic_ns() - 40_000_000) / 1e6

    def release(self) -> None:
        self.released.set()


def camera(capture: FakeCapture, device: Path, *, seconds: float = 0.5) -> V4l2Source:
    def opened(_device: str) -> cv2.VideoCapture:
        return cast("cv2.VideoCapture", capture)

    return V4l2Source(device, max_pixels=100_000, open_timeout_s=seconds, read_timeout_s=seconds, opened=opened)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "video0"
    path.touch()
    return path


def read(source: V4l2Source) -> tuple[list[Frame], CameraLost]:
    frames, problem, _silent_s = until_lost(iter(source))
    return frames, problem


def test_frames_come_with_the_drivers_time_until_the_device_is_gone(device: Path) -> None:
    pictures = [picture(seed=number) for number in range(5)]
    capture = FakeCapture(pictures)
    now_ns = time.time_ns()
    frames, problem = read(camera(capture, device))
    assert problem.reason == "ended"
    assert all(np.array_equal(frame.pixels, one) for frame, one in zip(frames, pictures, strict=True))
    assert {frame.clock for frame in frames} == {"pts"}
    assert all(-60e6 < frame.captured_ns - now_ns < 2e9 for frame in frames)
    assert capture.released.wait(2)


def test_a_device_that_hangs_is_noticed_and_not_opened_twice(device: Path) -> None:
    capture = FakeCapture([picture()], hangs=True)
    source = camera(capture, device)
    frames, problem = read(source)
    assert (len(frames), problem.reason) == (1, "stalled")
    again, problem = read(source)
    assert (again, problem.reason) == ([], "timeout")
    assert "earlier try" in str(problem)
    capture.go_on.set()
    assert capture.released.wait(2)
    assert read(source)[1].reason == "ended"


def test_an_interrupt_ends_a_hanging_read_within_1_s(device: Path) -> None:
    capture = FakeCapture([picture()], hangs=True)
    source = camera(capture, device, seconds=30)
    threading.Timer(0.3, source.interrupt).start()
    started_s = time.monotonic()
    assert len(list(source)) == 1
    assert time.monotonic() - started_s < 1.3
    capture.go_on.set()


def test_what_cannot_be_opened_or_changes_is_told(device: Path) -> None:
    assert read(camera(FakeCapture([], opens=False), device))[1].reason == "refused"
    assert read(camera(FakeCapture([]), device.parent / "video7"))[1].reason == "unreachable"
    frames, problem = read(camera(FakeCapture([picture(), picture(48, 48)]), device))
    assert (len(frames), problem.reason) == (1, "changed")
    assert read(camera(FakeCapture([picture(400, 400)]), device))[1].reason == "malformed"


@pytest.mark.parametrize(("age_ms", "kind"), [(0, "pts"), (1500, "pts"), (-5, "wall"), (2500, "wall")])
def test_the_drivers_time_is_used_where_it_can_be_believed(age_ms: int, kind: str) -> None:
    captured_ns, clock = driver_time(10_000 - age_ms, monotonic_ns=10_000_000_000, now_ns=77_000_000_000)
    assert clock == kind
    assert captured_ns == 77_000_000_000 - (age_ms * 1_000_000 if kind == "pts" else 0)


@pytest.mark.parametrize("spec", ["0", "/dev/video0", "007"])
def test_a_number_and_a_path_name_a_device(spec: str) -> None:
    source = open_source(spec, SETTINGS)
    assert isinstance(source, V4l2Source)
    assert source.device == Path(f"/dev/video{int(spec) if spec.isdecimal() else 0}")


@pytest.mark.skipif(not DEVICE.exists(), reason=f"there is no {DEVICE} on this machine")
def test_a_real_device_gives_frames() -> None:
    frames = list(islice(open_source(str(DEVICE), SETTINGS), 5))
    assert len({frame.pixels.shape for frame in frames}) == 1
