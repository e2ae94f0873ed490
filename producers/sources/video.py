"""A film file through OpenCV's FFmpeg. Local files alone: a film is never fetched, whatever its name says."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from producers.sources.containers import cut_short
from producers.sources.source import Source, require_size
from streamproc.errors import SourceEnded, SourceError
from streamproc.model import Frame, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A closed list: FFmpeg opens text files as ANSI art, and playlists (.m3u8, .ffconcat) that lead elsewhere.
_NAMES = """mp4 m4v mov qt mkv webm avi mpg mpeg mpe m1v m2v vob ts mts m2ts flv f4v wmv asf ogv ogg 3gp 3g2
            mjpg mjpeg h264 264 h265 265 hevc ivf y4m mxf dv gif nut"""
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
_MAX_FPS = 1000.0
# Containers estimate their frame count (duration times rate); this much may be missing from a whole film.
_SLACK_FRAMES = 2
_SLACK_SHARE = 0.02


class VideoSource(Source):
    """Frames of a film, upright as its rotation tag says, in BGR.

    `length` is the container's word; what decides whether a film ended early is in `_early_end`.
    """

    def __init__(self, path: Path, *, max_pixels: int) -> None:
        self.path = path.resolve()  # absolute, so that FFmpeg cannot take "concat:a|b" for a protocol
        self.name = path.name
        self._cut_short = _cut_short_of(path)
        self._capture: cv2.VideoCapture | None = self._open()
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if not (self.width and self.height):
            raise SourceError(f"video {path} has no frame that can be decoded: convert it to MP4")
        require_size(f"video {path}", self.width, self.height, max_pixels=max_pixels)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= _MAX_FPS else None
        self.length = int(count) if 0 < count < 2**40 else None

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if capture.isOpened():
            return capture
        capture.release()
        reason = f"the file is cut short, {self._cut_short}" if self._cut_short else "FFmpeg finds no film in it"
        raise SourceError(f"video {self.path} cannot be opened: {reason}; copy it again or convert it to MP4")

    def __iter__(self) -> Iterator[Frame]:
        capture = self._capture or self._open()
        self._capture = None
        read, last_ms = 0, 0.0
        try:
            while (pixels := _next_pixels(capture)) is not None:
                last_ms = max(last_ms, capture.get(cv2.CAP_PROP_POS_MSEC))
                read += 1
                yield Frame(pixels=pixels, captured_ns=time.time_ns())
        finally:
            capture.release()
        if read == 0:
            raise SourceError(f"video {self.path} has no frame that can be decoded: convert it to MP4")
        if (reason := self._early_end(read, last_ms / 1000)) is not None:
            raise SourceEnded(
                f"video {self.path} ended after {read} of {self.length or 'unknown'} frames: {reason};"
                " the frames before that stand, copy the file again for the rest"
            )

    def _early_end(self, read: int, last_s: float) -> str | None:
        """Why these `read` frames, the last at `last_s`, are not all; None if they may well be.

        Count and time must both fall short: with a varying rate either alone is wrong for good files.
        """
        if self._cut_short:
            return f"the file is cut short, {self._cut_short}"
        if self.length is None or self.fps is None:
            return None
        missing = self.length - read
        missing_frames_of_time = self.length - 1 - last_s * self.fps
        slack = max(_SLACK_FRAMES, _SLACK_SHARE * self.length)
        return "the rest cannot be decoded" if min(missing, missing_frames_of_time) > slack else None

    def describe(self) -> str:
        """One line for a person."""
        count = f"{self.length} frames" if self.length else "unknown length"
        return f"video {self.name}: {self.width}x{self.height}, {count}, {self.fps or 'unknown'} fps"

    def close(self) -> None:
        """Close the file if it was opened and never read."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _next_pixels(capture: cv2.VideoCapture) -> Pixels | None:
    done, pixels = capture.read()
    return np.asarray(pixels, dtype=np.uint8) if done and pixels is not None else None


def _cut_short_of(path: Path) -> str | None:
    try:
        return cut_short(path)
    except OSError as error:
        raise SourceError(f"video {path} cannot be read: {error.strerror or error}") from None
