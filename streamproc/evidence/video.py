"""An H.264 video in an MP4 file that browsers play. The only module that knows PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from streamproc.errors import StreamprocError
from streamproc.model import Pixels

INSTALL: Final = "pip install 'streamproc[cameras]'"
QUALITY: Final = "20"  # constant rate factor; 18 cannot be told from the original, 23 is the encoder's default
KEYFRAME_S: Final = 2  # so that players can seek


class VideoError(StreamprocError):
    """A video cannot be written."""


class Video:
    """A file that appears under its name when it is whole. Use as a context manager; an error leaves no file.

    Args:
        path: `*.mp4`; replaced if it is there.
        width: Of the pictures, pixels, even.
        height: The same.
        fps: Pictures a second.

    Raises:
        VideoError: PyAV or its H.264 encoder is missing, or the file cannot be written.
    """

    def __init__(self, path: Path, *, width: int, height: int, fps: Fraction) -> None:
        try:
            import av
        except ImportError:
            raise VideoError(f"a video needs PyAV: {INSTALL}") from None
        self._path, self._partial = path, path.with_name(f".{path.name}.partial")
        self._av, self._step = av, 1 / fps
        self.frames = 0
        try:
            self._out = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        except OSError as error:
            raise VideoError(f"{path} cannot be written: {error.strerror or error}") from None
        try:
            options = {"crf": QUALITY, "preset": "veryfast", "profile": "high"}
            stream: Any = self._out.add_stream("libx264", rate=fps, options=options)
        except Exception as error:  # noqa: BLE001 - PyAV names a missing encoder in errors of several kinds
            self._discard()
            raise VideoError(f"PyAV has no H.264 encoder here ({error}): {INSTALL}") from None
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = max(1, round(KEYFRAME_S * fps))
        stream.codec_context.thread_count = 2
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._mux(None)
            self._out.close()
            self._partial.replace(self._path)
        except BaseException as failed:  # a second Ctrl-C while the file is put in order, too
            self._discard()
            if not isinstance(failed, OSError):
                raise
            raise VideoError(f"{self._path} cannot be written: {failed.strerror or failed}") from None

    def add(self, picture: Pixels, times: int, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Append a picture (rows, cols, 3), BGR, `times` times; at least once, then until `stop` says so."""
        frame = self._av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
        for number in range(times):
            if number and stop():
                return
            frame.pts, frame.time_base = self.frames, self._step
            self.frames += 1
            self._mux(frame)

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._out.mux(packet)
        except OSError as error:
            raise VideoError(f"{self._path} cannot be written: {error.strerror or error}") from None

    def _discard(self) -> None:
        with contextlib.suppress(Exception):  # what failed before is the error to tell
            self._out.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)
