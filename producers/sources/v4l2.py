"""Cameras on this machine: USB and others behind Video4Linux2 (`/dev/video0`), through OpenCV."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from producers.sources.live import SameForm, ThreadedSource
from streamproc.errors import CameraLost
from streamproc.model import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from producers.sources.live import _Handover
    from streamproc.model import Clock

_MOST_AGE_NS = 2_000_000_000


class V4l2Source(ThreadedSource):
    """One device.

    The capture time is the driver's own (V4L2 buffers carry a monotonic time), where it gives a believable one.

    Args:
        device: `/dev/videoN`.
        opened: Opens it; for tests.
    """

    def __init__(
        self,
        device: Path,
        *,
        max_pixels: int,
        open_timeout_s: float,
        read_timeout_s: float,
        opened: Callable[[str], cv2.VideoCapture] | None = None,
    ) -> None:
        super().__init__(
            str(device), max_pixels=max_pixels, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
        self.device = device
        self._opened = opened or _open

    def describe(self) -> str:
        """One line for a person."""
        return f"camera {self.device}, on this machine, live"

    def _read(self, handover: _Handover) -> Iterator[Frame]:
        if not self.device.exists():
            raise CameraLost("unreachable", f"there is no {self.device}: plug the camera in, or give another number")
        capture = self._opened(str(self.device))
        try:
            if not capture.isOpened():
                raise CameraLost(
                    "refused", f"{self.device} cannot be opened: another program has it, or this user may not read it"
                )
            self._answered(handover)
            form = SameForm(self.name)
            while not self._unwanted(handover):
                done, picture = capture.read()
                if not done or picture is None:
                    raise CameraLost("ended", f"{self.device} gives no more frames: it was unplugged, or stopped")
                self._require_size(picture.shape[1], picture.shape[0])
                pixels = np.ascontiguousarray(picture, dtype=np.uint8)
                form.require(pixels)
                captured_ns, clock = driver_time(
                    capture.get(cv2.CAP_PROP_POS_MSEC), monotonic_ns=time.monotonic_ns(), now_ns=time.time_ns()
                )
                yield Frame(pixels=pixels, captured_ns=captured_ns, clock=clock)
        finally:
            capture.release()


def driver_time(driver_ms: float, *, monotonic_ns: int, now_ns: int) -> tuple[int, Clock]:
    """When the driver says the frame was captured, nanoseconds since 1970.

    Args:
        driver_ms: Milliseconds of the monotonic clock; 0 where the driver gives none.
        monotonic_ns: That clock now.
        now_ns: Our wall clock now.

    Returns:
        Our wall clock where the frame would be older than 2 s, or not yet there.
    """
    age_ns = monotonic_ns - round(driver_ms * 1_000_000)
    return (now_ns - age_ns, "pts") if 0 <= age_ns <= _MOST_AGE_NS else (now_ns, "wall")


def _open(device: str) -> cv2.VideoCapture:
    return cv2.VideoCapture(device, cv2.CAP_V4L2)
