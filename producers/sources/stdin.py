"""Frames from standard input: raw pixels, or JPEG pictures one after the other."""

from __future__ import annotations

import math
import os
import re
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from producers.sources.headers import BrokenPicture
from producers.sources.jpeg import BadStream, JpegSplitter, decode_jpeg, most_bytes
from producers.sources.live import LiveSource
from streamproc.errors import CameraLost, UsageError
from streamproc.model import CHANNELS, Frame, PixelFormat, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLICE_S = 0.25
_READ_BYTES = 1 << 20
_RAW = re.compile(r"(?:stdin:)?raw:([0-9]{1,5})[xX]([0-9]{1,5}):(bgr8|gray8)")
_MAX_BROKEN = 10


@dataclass(frozen=True, slots=True)
class RawForm:
    """How raw frames lie in the stream: row by row without padding, one after the other."""

    width: int
    height: int
    pixel_format: PixelFormat

    @property
    def size_bytes(self) -> int:
        """Of one frame."""
        return self.width * self.height * CHANNELS[self.pixel_format]

    def pixels(self, data: bytes) -> Pixels:
        """One frame, (height, width) or (height, width, 3), its own copy."""
        shape = (self.height, self.width) if self.pixel_format == "gray8" else (self.height, self.width, 3)
        return np.frombuffer(data, np.uint8).reshape(shape).copy()


def parse_stdin(spec: str) -> RawForm | None:
    """Read `-` or `stdin:mjpeg` (None), or `stdin:raw:WIDTHxHEIGHT:bgr8` or `:gray8`.

    Raises:
        UsageError: Written in another way.
    """
    if spec in {"-", "stdin:mjpeg"}:
        return None
    found = _RAW.fullmatch(spec)
    if found is None or not (int(found[1]) and int(found[2])):
        raise UsageError(f"{spec!r} is not '-', stdin:mjpeg, or stdin:raw:640x480:bgr8 (or :gray8)")
    return RawForm(int(found[1]), int(found[2]), "gray8" if found[3] == "gray8" else "bgr8")


class StdinSource(LiveSource):
    """Frames of a pipe. Its end between two frames is the end; there is no limit on silence.

    Args:
        form: Of raw frames; None for JPEG pictures.
        handle: File descriptor; it is not closed here.
    """

    steady = False

    def __init__(self, form: RawForm | None, *, max_pixels: int, handle: int = 0) -> None:
        super().__init__("stdin", max_pixels=max_pixels, open_timeout_s=math.inf, read_timeout_s=math.inf)
        self.form = form
        self._handle = handle
        if form is not None:
            self._require_size(form.width, form.height)

    def describe(self) -> str:
        """One line for a person."""
        if self.form is None:
            return "standard input, JPEG pictures"
        return f"standard input, raw {self.form.width}x{self.form.height} {self.form.pixel_format}"

    def __iter__(self) -> Iterator[Frame]:
        frames = self._jpeg() if self.form is None else self._raw(self.form)
        for pixels in frames:
            yield Frame(pixels=pixels, captured_ns=time.time_ns())

    def _raw(self, form: RawForm) -> Iterator[Pixels]:
        buffer = bytearray()
        while (data := self._more(form.size_bytes - len(buffer))) is not None:
            if not data:
                self._require_whole(empty=not buffer)
                return
            buffer += data
            if len(buffer) == form.size_bytes:
                yield form.pixels(bytes(buffer))
                buffer.clear()

    def _jpeg(self) -> Iterator[Pixels]:
        splitter, broken, given = JpegSplitter(most_bytes(self._max_pixels)), 0, 0
        while (data := self._more(_READ_BYTES)) is not None:
            splitter.feed(data)
            try:
                while (picture := splitter.next()) is not None:
                    try:
                        pixels = decode_jpeg(picture, max_pixels=self._max_pixels)
                    except BrokenPicture as error:
                        broken += 1
                        if broken >= _MAX_BROKEN:
                            raise BadStream(f"gave {broken} broken pictures in a row, the last one {error}") from None
                        continue
                    yield pixels
                    broken, given = 0, given + 1
            except BadStream as error:
                raise CameraLost("malformed", f"standard input {error}: JPEG pictures are expected") from None
            if not data:
                self._require_whole(empty=splitter.empty)
                if not given:
                    raise CameraLost("malformed", "standard input had no JPEG picture: is it stdin:raw:WxH:bgr8?")
                return

    def _more(self, most: int) -> bytes | None:
        """What is there; b"" at the end, None when it is no longer wanted."""
        try:
            while not self._is_stopped():
                ready, _, _ = select.select([self._handle], [], [], _SLICE_S)
                if ready:
                    return os.read(self._handle, min(most, _READ_BYTES))
        except OSError as error:
            message = f"standard input cannot be read: {error.strerror or error}"
            raise CameraLost("unreachable", message) from None
        return None

    def _require_whole(self, *, empty: bool) -> None:
        if not empty:
            raise CameraLost("ended", "standard input ended inside a frame: the frames before it stand")
