"""What an archive file says of itself, and its name. Values in, values out.

Each file holds one topic: a run of records from the position of each partition where the file before it ended
(`first`) to the position where the next one begins (`next`). What is archived is known from complete files alone:
the last file's `next` is where writing goes on.

The index stands in the file as an MCAP attachment `streamproc.index` (msgpack), close to its end. It says which
offsets and times each chunk holds, so that a range can be read without reading the rest.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Literal

import msgspec

from streamproc.errors import ArchiveError

VERSION = 1
ATTACHMENT = "streamproc.index"
MEDIA_TYPE = "application/msgpack"
SUFFIX = ".mcap"
PARTIAL = ".partial"
MAX_CAMERAS = 1000  # named in one file's index
MAX_GAPS = 10_000  # in one file; a file with more ends early

_NAME = re.compile(r"(\d{20})-p\d+-\d+-[0-9a-f]{8}(-start)?\.mcap")


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Records of one partition in one chunk; `last` is inclusive, times are record timestamps."""

    partition: int
    first: int
    last: int
    count: int
    low_ms: int
    high_ms: int


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """Offsets that the log did not hold when they were due, `last` included.

    Attributes:
        why: `retention`: the log began behind them; `absent`: the log has no record there (compaction, or the
            markers of transactions).
    """

    partition: int
    first: int
    last: int
    why: Literal["retention", "absent"]


class FileIndex(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds.

    Attributes:
        first: Position of each partition at the file's beginning.
        next: The same at its end; offsets between that stand in no chunk stand in `gaps`.
        high_ms: Latest record timestamp of each partition in this file and all before it.
        chunks: Of each chunk in file order, the records it holds.
        cameras: Whose records these are, sorted, at most `MAX_CAMERAS`; `more_cameras` if there are more.
        captured_ns: Earliest and latest capture time; None if no record has one.
        payload_bytes: Of keys and values.
    """

    version: int = VERSION
    topic: str
    first: dict[int, int]
    next: dict[int, int]
    high_ms: dict[int, int]
    chunks: list[list[Span]]
    gaps: list[Gap] = []
    cameras: list[str] = []
    more_cameras: bool = False
    captured_ns: tuple[int, int] | None = None
    records: int = 0
    payload_bytes: int = 0

    def times_ms(self) -> tuple[int, int] | None:
        """Earliest and latest record timestamp in this file."""
        spans = [span for chunk in self.chunks for span in chunk]
        return (min(span.low_ms for span in spans), max(span.high_ms for span in spans)) if spans else None


class _Version(msgspec.Struct):
    version: int


_decoder = msgspec.msgpack.Decoder(FileIndex)
_version = msgspec.msgpack.Decoder(_Version)


def encode_index(index: FileIndex) -> bytes:
    """The attachment's data."""
    return msgspec.msgpack.encode(index)


def decode_index(data: bytes) -> FileIndex:
    """Read the attachment's data.

    Raises:
        ArchiveError: It is damaged, or newer than this program.
    """
    try:
        version = _version.decode(data).version
        if version != VERSION:
            raise ArchiveError(f"its index has version {version}, this program reads {VERSION}: upgrade it")
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveError(f"its index is damaged: {error}") from None


def file_name(first: Mapping[int, int], *, start: bool = False) -> str:
    """Name of the file that begins at these positions; the same positions give the same name.

    Names sort as the files follow each other: the number is the sum of all positions, which only grows.

    Args:
        first: Position by partition, at least one.
        start: The mark of where an archive begins; it holds no records.
    """
    at = ",".join(f"{partition}:{first[partition]}" for partition in sorted(first))
    span = f"p{min(first)}-{max(first)}"
    mark = "-start" if start else ""
    return f"{sum(first.values()):020d}-{span}-{zlib.crc32(at.encode()):08x}{mark}{SUFFIX}"


def order_of(name: str) -> tuple[int, int, str] | None:
    """Where a file stands among its topic's: sort by this; None if it is no archive file."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[1]), 0 if found[2] else 1, name)
