"""Starts the RTSP server beside this file, and reads frame numbers off its pictures."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from types import TracebackType

    from streamproc.model import Pixels

PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
    " gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)


@functools.cache
def missing() -> str:
    """Why the server cannot run here; "" if it can."""
    check = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
        " Gst.init(None); names = ('x264enc', 'rtph264pay', 'rtpjpegpay', 'appsrc');"
        " print(*[name for name in names if not Gst.ElementFactory.find(name)])"
    )
    try:
        done = subprocess.run([PYTHON, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        return f"no {PYTHON}: {error}"
    if done.returncode or done.stdout.strip():
        return f"GStreamer's RTSP server is not whole here: apt-get install {PACKAGES}"
    return ""


class RtspServer:
    """One server with one camera, `/camera`. Needs `missing()` to be empty, else the test is skipped."""

    def __init__(self, *arguments: str) -> None:
        if missing():
            pytest.skip(missing())
        self._process = subprocess.Popen(
            [PYTHON, str(SCRIPT), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        assert line[:1] == ["port"], line
        self.port = int(line[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def say(self, command: str) -> None:
        """One of its commands."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """At once, as by kill -9."""
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def number_of(pixels: Pixels) -> int:
    """Which picture of the server this is: 24 blocks of 32x32 px, 8 a row."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    number = 0
    for bit in range(24):
        row, col = divmod(bit, 8)
        middle = grey[row * 32 + 8 : row * 32 + 24, col * 32 + 8 : col * 32 + 24]
        number = number << 1 | int(middle.mean() > 126)
    return number
