"""Frames from a pipe."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from producers.sources.stdin import RawForm, StdinSource, parse_stdin
from streamproc.errors import CameraLost, UsageError
from tests.cameras.mjpeg import claiming, jpeg, number_of
from tests.producers.material import picture

if TYPE_CHECKING:
    from streamproc.model import Frame


def read(data: bytes, spec: str, *, max_pixels: int = 1_000_000) -> list[Frame]:
    """What a pipe with `data` gives."""
    out, into = os.pipe()

    def write() -> None:
        with os.fdopen(into, "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return list(StdinSource(parse_stdin(spec), max_pixels=max_pixels, handle=out))
    finally:
        while os.read(out, 1 << 20):
            pass
        writer.join(5)
        os.close(out)


@pytest.mark.parametrize(("form", "channels"), [("bgr8", 3), ("gray8", 1)])
def test_raw_frames_are_exact(form: str, channels: int) -> None:
    pictures = [picture(640, 480, seed=number, channels=channels) for number in range(5)]
    frames = read(b"".join(one.tobytes() for one in pictures), f"stdin:raw:640x480:{form}")
    assert len(frames) == 5
    for frame, one in zip(frames, pictures, strict=True):
        assert np.array_equal(frame.pixels, one)
        assert frame.pixels.flags.writeable


@pytest.mark.parametrize("spec", ["-", "stdin:mjpeg"])
def test_jpeg_pictures_are_split(spec: str) -> None:
    data = b"".join(jpeg(number) for number in range(20))
    assert [number_of(frame.pixels) for frame in read(data, spec)] == list(range(20))


def test_a_broken_picture_is_passed_over_and_many_are_not() -> None:
    data = jpeg(0) + claiming(9000, 9000) + jpeg(1)
    assert [number_of(frame.pixels) for frame in read(data, "-")] == [0, 1]
    with pytest.raises(CameraLost, match="10 broken pictures") as caught:
        read(claiming(9000, 9000) * 12, "-")
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("data", "spec", "reason"),
    [
        (bytes(100), "stdin:raw:8x8:bgr8", "ended"),
        (jpeg(0) + jpeg(1)[:-10], "-", "ended"),
        (b"no picture", "-", "malformed"),
        (bytes(9_000_000), "-", "malformed"),
    ],
)
def test_what_ends_inside_a_frame_or_is_none_is_told(data: bytes, spec: str, reason: str) -> None:
    with pytest.raises(CameraLost) as caught:
        read(data, spec)
    assert caught.value.reason == reason


def test_nothing_at_all_is_no_frame() -> None:
    assert read(b"", "stdin:raw:8x8:gray8") == []


@pytest.mark.parametrize("spec", ["-", "stdin:raw:8x8:gray8"])
def test_an_interrupt_ends_a_silent_pipe_within_1_s(spec: str) -> None:
    out, into = os.pipe()
    source = StdinSource(parse_stdin(spec), max_pixels=1000, handle=out)
    threading.Timer(0.2, source.interrupt).start()
    started_s = time.monotonic()
    assert list(source) == []
    assert time.monotonic() - started_s < 1.2
    os.close(out)
    os.close(into)


@pytest.mark.parametrize("spec", ["stdin:", "stdin:raw", "stdin:raw:0x8:bgr8", "stdin:raw:8x8:rgb8", "stdin:x"])
def test_other_specifications_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="stdin:raw:640x480:bgr8"):
        parse_stdin(spec)


def test_a_size_above_the_limit_is_refused() -> None:
    with pytest.raises(CameraLost, match="limit"):
        StdinSource(RawForm(5000, 5000, "bgr8"), max_pixels=1_000_000, handle=0)
