"""Facts about an encoded picture from its first bytes, and whether all of it is there. Nothing is decoded.

A picture that claims 20000x20000 pixels is refused after reading a few bytes; a half picture is told from a
whole one, which decoders do not do reliably.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PictureFormat = Literal["png", "jpeg", "webp", "bmp", "tiff", "pnm"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"tRNS", b"eXIf"})  # of the ancillary chunks; libpng complains on stderr about odd profiles
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in entropy-coded data FF is followed by 00, RSTn or FF
_TIFF_ENDIAN = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_SIZES = {1: "B", 3: "H", 4: "I"}
_MAX_TIFF_ENTRIES = 4096


class BrokenPicture(Exception):
    """What is wrong with the file, as the second half of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """What the header of a picture says.

    Attributes:
        width, height: Pixels as stored, before any EXIF orientation.
        alpha: It has transparency.
        gray_alpha: It is grey with transparency.
        several: It holds more than one picture: pages, or an animation.
    """

    format: PictureFormat
    width: int
    height: int
    alpha: bool = False
    gray_alpha: bool = False
    several: bool = False


def sniff(head: bytes) -> PictureFormat | None:
    """Tell the format from the first 16 bytes; None if it is none we read."""
    if head.startswith(PNG_SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in _TIFF_ENDIAN:
        return "tiff"
    if re.match(rb"P[1-6][\s#]", head):
        return "pnm"
    return "bmp" if head[:2] == b"BM" else None


def read_facts(file: BinaryIO) -> PictureFacts:
    """Read format, size and transparency; the file is left anywhere.

    Raises:
        BrokenPicture: No picture we read, or its header is broken.
    """
    kind = sniff(file.read(16))
    if kind is None:
        raise BrokenPicture("is not a PNG, JPEG, WebP, BMP, TIFF or PNM picture")
    file.seek(0)
    try:
        return _READERS[kind](file)
    except struct.error:
        raise BrokenPicture(f"is a {kind} picture cut short in its header") from None


def whole(facts: PictureFacts, data: bytes) -> bytes:
    """Check that the picture is all there; returns the bytes to decode.

    Raises:
        BrokenPicture: It ends early or is damaged.
    """
    if facts.format == "png":
        return _whole_png(data)
    if facts.format == "jpeg":
        _check_whole_jpeg(data)
    elif facts.format == "webp" and len(data) < 8 + _number("<I", data, 4):
        raise BrokenPicture("is cut short: WebP promises more bytes than the file has")
    return data


def _number(form: str, data: bytes, at: int) -> int:
    return int(struct.unpack_from(form, data, at)[0])


def _take(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


# --- PNG -------------------------------------------------------------------------------------------------


def _png_facts(file: BinaryIO) -> PictureFacts:
    file.seek(16)
    width, height, _bits, colour = _take(file, ">IIBB")
    file.seek(33)
    palette_alpha = animated = False
    while (head := file.read(8))[4:] not in (b"", b"IDAT", b"IEND") and len(head) == 8:
        palette_alpha |= head[4:] == b"tRNS"
        animated |= head[4:] == b"acTL"
        file.seek(_number(">I", head, 0) + 4, 1)
    return PictureFacts(
        format="png",
        width=width,
        height=height,
        alpha=colour in (4, 6) or palette_alpha,
        gray_alpha=colour == 4 or (colour == 0 and palette_alpha),
        several=animated,
    )


def _whole_png(data: bytes) -> bytes:
    kept = [PNG_SIGNATURE]
    for kind, chunk in _png_chunks(data):
        if kind[0] < ord("a") or kind in _PNG_KEPT:
            kept.append(chunk)
    return b"".join(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length = _number(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        kind = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end - 4]) != _number(">I", data, end - 4):
            raise BrokenPicture(f"is damaged: the checksum of PNG chunk {kind.decode('latin-1')!r} is wrong")
        yield kind, data[at:end]
        if kind == b"IEND":
            return
        at = end
    raise BrokenPicture("is cut short: it has no PNG end chunk")


# --- JPEG ------------------------------------------------------------------------------------------------


def _jpeg_facts(file: BinaryIO) -> PictureFacts:
    file.seek(2)
    while True:
        first, marker = _take(file, "BB")
        while marker == 0xFF:  # fill bytes
            (marker,) = _take(file, "B")
        if first != 0xFF or marker in (0xD9, 0xDA):
            raise BrokenPicture("is a broken JPEG: no frame header before its data")
        if marker in _JPEG_ALONE:
            continue
        (length,) = _take(file, ">H")
        if marker in _JPEG_FRAME:
            _bits, height, width = _take(file, ">BHH")
            return PictureFacts(format="jpeg", width=width, height=height)
        file.seek(max(0, length - 2), 1)


def _check_whole_jpeg(data: bytes) -> None:
    """Walk from marker to marker; a thumbnail's end marker inside a segment does not count."""
    at = 2
    while (found := _JPEG_MARKER.search(data, at)) is not None:
        at = found.end()
        marker = data[at - 1]
        if marker == 0xD9:
            return
        if marker not in _JPEG_ALONE and at + 2 <= len(data):
            at += _number(">H", data, at)
    raise BrokenPicture("is cut short: it has no JPEG end marker")


# --- the others ------------------------------------------------------------------------------------------


def _webp_facts(file: BinaryIO) -> PictureFacts:
    head = file.read(32)
    kind = head[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(head[24:27], "little")
        height = 1 + int.from_bytes(head[27:30], "little")
        alpha, several = bool(head[20] & 0x10), bool(head[20] & 0x02)
        return PictureFacts(format="webp", width=width, height=height, alpha=alpha, several=several)
    if kind == b"VP8L":
        bits = _number("<I", head, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        return PictureFacts(format="webp", width=width, height=height, alpha=bool(bits >> 28 & 1))
    width, height = struct.unpack_from("<HH", head, 26)
    return PictureFacts(format="webp", width=width & 0x3FFF, height=height & 0x3FFF)


def _bmp_facts(file: BinaryIO) -> PictureFacts:
    file.seek(14)
    (header,) = _take(file, "<I")
    width, height = _take(file, "<HH" if header == 12 else "<ii")
    return PictureFacts(format="bmp", width=width, height=abs(height))


def _tiff_facts(file: BinaryIO) -> PictureFacts:
    head = file.read(8)
    endian = _TIFF_ENDIAN[head[:4]]
    file.seek(_number(f"{endian}I", head, 4))
    (count,) = _take(file, f"{endian}H")
    if count > _MAX_TIFF_ENTRIES:
        raise BrokenPicture(f"is a broken TIFF: {count} entries in its directory")
    tags: dict[int, int] = {}
    for _ in range(count):
        entry = file.read(12)
        tag, kind = struct.unpack_from(f"{endian}HH", entry)
        if kind in _TIFF_SIZES:
            tags[tag] = _number(endian + _TIFF_SIZES[kind], entry, 8)
    if 256 not in tags or 257 not in tags:
        raise BrokenPicture("is a broken TIFF: it does not say its size")
    alpha = 338 in tags
    return PictureFacts(
        format="tiff",
        width=tags[256],
        height=tags[257],
        alpha=alpha,
        gray_alpha=alpha and tags.get(277) == 2,
        several=file.read(4) not in (b"", bytes(4)),
    )


def _pnm_facts(file: BinaryIO) -> PictureFacts:
    head = re.sub(rb"#[^\n]*", b"", file.read(4096))
    found = re.match(rb"P[1-6]\s+(\d{1,9})\s+(\d{1,9})\s", head)
    if found is None:
        raise BrokenPicture("is a broken PNM: it does not say its size")
    return PictureFacts(format="pnm", width=int(found[1]), height=int(found[2]))


_READERS: dict[PictureFormat, Callable[[BinaryIO], PictureFacts]] = {
    "png": _png_facts,
    "jpeg": _jpeg_facts,
    "webp": _webp_facts,
    "bmp": _bmp_facts,
    "tiff": _tiff_facts,
    "pnm": _pnm_facts,
}
