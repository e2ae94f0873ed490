"""Is a film file all there? Judged by the lengths its container writes down (MP4/MOV, AVI, Matroska/WebM).

Frame counts alone do not tell: containers often estimate them, and a transport stream has none.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_MP4_FIRST = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"pnot"})
_MP4_INDEX = frozenset({b"moov", b"moof"})
_MATROSKA = b"\x1a\x45\xdf\xa3"
_MATROSKA_SEGMENT = b"\x18\x53\x80\x67"
_VIDEO_HEADS = (b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"OggS", b"GIF8", b"\x30\x26\xb2\x75", b"YUV4MPEG2")
_MAX_BOXES = 100_000


def looks_like_video(head: bytes) -> bool:
    """Tell by the first 16 bytes; for files whose name says nothing."""
    return (
        head[4:8] in _MP4_FIRST
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head.startswith((_MATROSKA, *_VIDEO_HEADS))
    )


def cut_short(path: Path) -> str | None:
    """Say how a film file is known to be cut short; None if it is not, or its container does not tell.

    Raises:
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if head[4:8] in _MP4_FIRST:
            return _mp4_cut_short(file, size)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            promised = 8 + int(struct.unpack_from("<I", head, 4)[0])
            return _too_small(promised, size) if promised < 2**32 else None
        if head.startswith(_MATROSKA):
            return _matroska_cut_short(file, size)
    return None


def _too_small(promised: int, size: int) -> str | None:
    return f"it promises {promised} bytes and has {size}" if promised > size else None


def _mp4_cut_short(file: BinaryIO, size: int) -> str | None:
    at, kinds = 0, set()
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = struct.unpack_from(">I4s", head)
        kinds.add(kind)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length < 8:  # 0: to the end of the file; anything else is broken and FFmpeg will say so
            break
        at += length
        if at > size:
            return _too_small(at, size) if kinds & _MP4_INDEX else "its index (moov) is missing"
    return None if kinds & _MP4_INDEX else "its index (moov) is missing"


def _matroska_cut_short(file: BinaryIO, size: int) -> str | None:
    file.seek(4)
    header, _unknown = _ebml_size(file)
    file.seek(header, 1)
    if file.read(4) != _MATROSKA_SEGMENT:
        return None
    length, unknown = _ebml_size(file)
    return None if unknown else _too_small(file.tell() + length, size)


def _ebml_size(file: BinaryIO) -> tuple[int, bool]:
    """Read a variable-length size; second value: it is written as unknown (live recordings)."""
    first = (file.read(1) or b"\xff")[0]
    extra = 8 - first.bit_length() if first else 7
    bits = 7 * (extra + 1)
    value = int.from_bytes(bytes([first]) + file.read(extra), "big") & ((1 << bits) - 1)
    return value, value == (1 << bits) - 1
