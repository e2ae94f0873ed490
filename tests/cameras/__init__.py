"""Cameras that the tests start: real servers that behave, or misbehave, as asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from streamproc.errors import CameraLost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamproc.model import Frame


def until_lost(frames: Iterator[Frame]) -> tuple[list[Frame], CameraLost, float]:
    """All frames, why the camera was lost, and how many seconds after its last frame, or the start, that was told."""
    given: list[Frame] = []
    last_s = time.monotonic()
    try:
        for frame in frames:
            given.append(frame)
            last_s = time.monotonic()
    except CameraLost as problem:
        return given, problem, time.monotonic() - last_s
    pytest.fail(f"the camera was not lost after {len(given)} frames")
