"""JPEG pictures out of a stream of bytes: where one ends (ITU-T T.81, B.1), and decoding what may be hostile."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np

from producers.sources.headers import BrokenPicture, read_facts, whole

if TYPE_CHECKING:
    from streamproc.model import Pixels

_SOI = b"\xff\xd8"
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in coded data FF is followed by 00, RSTn or FF
_BYTES_A_PIXEL = 3
_SLACK_BYTES = 65_536
_MAX_BYTES = 64 * 2**20


class BadStream(Exception):
    """The bytes are not what they should be, as the second half of a sentence."""


def most_bytes(max_pixels: int) -> int:
    """The longest JPEG that is taken: more than any of the largest size needs, 64 MiB at most."""
    return min(_BYTES_A_PIXEL * max_pixels + _SLACK_BYTES, _MAX_BYTES)


def decode_jpeg(data: bytes, *, max_pixels: int) -> Pixels:
    """Decode one JPEG, refused by its header if it claims too many pixels.

    Returns:
        Shape (rows, cols) or (rows, cols, 3), uint8.

    Raises:
        BrokenPicture: No JPEG, cut short, damaged or too large.
    """
    facts = read_facts(BytesIO(data))
    if facts.format != "jpeg":
        raise BrokenPicture(f"is a {facts.format} picture, not a JPEG")
    if not 0 < facts.width * facts.height <= max_pixels:
        raise BrokenPicture(f"claims {facts.width}x{facts.height} px, the limit is {max_pixels} pixels")
    try:
        pixels = cv2.imdecode(np.frombuffer(whole(facts, data), np.uint8), cv2.IMREAD_ANYCOLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise BrokenPicture("cannot be decoded")
    return np.ascontiguousarray(pixels, dtype=np.uint8)


class JpegSplitter:
    """Cuts a stream of JPEG pictures at their own markers; what stands between them is skipped.

    Holds no more than `most` bytes and what is fed at once.

    Args:
        most: Bytes of one picture, and of what is skipped before one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._inside = False
        self._at = 0  # all markers before it were seen
        self._skipped = 0

    @property
    def empty(self) -> bool:
        """No part of a picture is held."""
        return not self._inside

    def feed(self, data: bytes) -> None:
        """Take more of the stream."""
        self._buffer += data

    def rest(self) -> bytes:
        """What was fed and is not part of a picture given; nothing is left here."""
        left = bytes(self._buffer)
        self._buffer.clear()
        self._inside, self._at, self._skipped = False, 0, 0
        return left

    def next(self) -> bytes | None:
        """The next whole picture; None if it is not all here yet.

        Raises:
            BadStream: A picture, or what stands before it, is longer than `most`.
        """
        if not self._inside and not self._find_start():
            return None
        end = self._find_end()
        if end is None:
            if len(self._buffer) > self._most:
                raise BadStream(f"has a JPEG of more than {self._most} bytes")
            return None
        picture = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._inside, self._at = False, 0
        if len(picture) > self._most:
            raise BadStream(f"has a JPEG of more than {self._most} bytes")
        return picture

    def _find_start(self) -> bool:
        start = self._buffer.find(_SOI)
        skipped = start if start >= 0 else max(0, len(self._buffer) - 1)
        self._skipped += skipped
        del self._buffer[:skipped]
        if self._skipped > self._most:
            raise BadStream(f"has no JPEG in {self._skipped} bytes")
        if start < 0:
            return False
        self._inside, self._at, self._skipped = True, 2, 0
        return True

    def _find_end(self) -> int | None:
        """Walk from marker to marker; an end marker inside a segment, as of a thumbnail, does not count."""
        buffer = self._buffer
        while (found := _MARKER.search(buffer, self._at)) is not None:
            after, marker = found.end(), buffer[found.end() - 1]
            if marker == 0xD9:
                return after
            if marker in _ALONE:
                self._at = after
                continue
            if after + 2 > len(buffer):
                return None
            length = int.from_bytes(buffer[after : after + 2], "big")
            if after + length > len(buffer):
                return None
            self._at = after + max(2, length)
        self._at = max(self._at, len(buffer) - 1)
        return None
