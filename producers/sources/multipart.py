"""`multipart/x-mixed-replace` as cameras send it (RFC 2046, 5.1, and their habits). Bytes in, pictures out; no I/O."""

from __future__ import annotations

import re

from producers.sources.jpeg import BadStream, JpegSplitter

MAX_HEAD_BYTES = 8192
_MAX_HEAD_LINES = 64
_MAX_BETWEEN_BYTES = 65_536
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_LENGTH = re.compile(rb"content-length[ \t]*:[ \t]*([0-9]{1,10})[ \t]*", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")


def boundary_of(content_type: str) -> bytes:
    """The boundary without leading dashes: cameras write them into it, or not.

    Raises:
        BadStream: There is none.
    """
    found = _BOUNDARY.search(content_type)
    boundary = (found[1] or found[2]).lstrip("-") if found else ""
    if not boundary or not boundary.isascii():
        raise BadStream("names no boundary in its content type")
    return boundary.encode()


class MultipartParser:
    """Pictures of a multipart stream, by the Content-Length of each part, or by JPEG's own end where it has none.

    Holds no more than one picture, one part's head and what is fed at once.

    Args:
        boundary: As `boundary_of` gives it.
        most: Bytes of one picture.

    Attributes:
        ended: The last boundary was read; nothing follows.
    """

    def __init__(self, boundary: bytes, *, most: int) -> None:
        self._line = re.compile(rb"--+" + re.escape(boundary) + rb"(--)?[ \t]*(\r?\n)")
        self._longest_line = len(boundary) + 64
        self._most = most
        self._buffer = bytearray()
        self._length: int | None = None
        self._splitter: JpegSplitter | None = None
        self._between = 0
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take more of the stream."""
        if self._splitter is not None:
            self._splitter.feed(data)
        else:
            self._buffer += data

    def next(self) -> bytes | None:
        """The next picture; None if it is not all here yet, or the stream ended.

        Raises:
            BadStream: A head or picture is too long, or no boundary follows in 64 KiB.
        """
        while not self.ended:
            if self._splitter is not None:
                return self._next_by_markers()
            if self._length is not None:
                return self._next_by_length()
            if not self._next_head():
                return None
        return None

    def _next_by_length(self) -> bytes | None:
        length = self._length or 0
        if len(self._buffer) < length:
            return None
        picture = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._length = None
        return picture

    def _next_by_markers(self) -> bytes | None:
        splitter = self._splitter
        picture = splitter.next() if splitter is not None else None
        if splitter is not None and picture is not None:
            self._buffer += splitter.rest()
            self._splitter = None
        return picture

    def _next_head(self) -> bool:
        """Skip to a boundary and read the head of its part; False if it is not all here."""
        found = self._line.search(self._buffer)
        if found is None:
            surely = max(0, len(self._buffer) - self._longest_line)
            self._skip(surely)
            return False
        if found[1]:
            self.ended = True
            return False
        end = _HEAD_END.search(self._buffer, found.start(2))
        if end is None:
            self._skip(found.start())
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadStream(f"has a part whose head is longer than {MAX_HEAD_BYTES} bytes")
            return False
        lines = bytes(self._buffer[found.end() : end.start()]).splitlines() if end.start() > found.end() else []
        if end.end() - found.start() > MAX_HEAD_BYTES or len(lines) > _MAX_HEAD_LINES:
            raise BadStream(f"has a part whose head is longer than {MAX_HEAD_BYTES} bytes or {_MAX_HEAD_LINES} lines")
        del self._buffer[: end.end()]
        self._between = 0
        self._begin(lines)
        return True

    def _skip(self, count: int) -> None:
        self._between += count
        del self._buffer[:count]
        if self._between > _MAX_BETWEEN_BYTES:
            raise BadStream(f"has no boundary in {self._between} bytes")

    def _begin(self, lines: list[bytes]) -> None:
        lengths = [int(found[1]) for line in lines if (found := _LENGTH.fullmatch(line))]
        if lengths and lengths[0] > self._most:
            raise BadStream(f"has a part of {lengths[0]} bytes, the limit is {self._most}")
        if lengths and lengths[0] > 0:
            self._length = lengths[0]
            return
        self._splitter = JpegSplitter(self._most)
        self._splitter.feed(bytes(self._buffer))
        self._buffer.clear()
