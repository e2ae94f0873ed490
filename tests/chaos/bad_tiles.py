"""Tiles that no worker can use, of every kind, made from good ones."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import msgspec
import numpy as np

from streamproc import wire
from streamproc.model import Codec, TileHeader
from streamproc.wire import Headers
from tests.features import tile_header

BOMB_SIDE_PX = 20_000
JPEG_BOMB_SIDE_PX = 65_500


@dataclass(frozen=True, slots=True, kw_only=True)
class BadTile:
    """A record, and what is bad about it."""

    kind: str
    value: bytes
    headers: Headers


def _good(number: int, codec: Codec) -> tuple[TileHeader, bytes]:
    """A tile as a producer makes it; each number another frame's."""
    header = tile_header(sequence=number, index=number % 4, camera="bad", codec=codec)
    pixels = np.full((header.rect.height, header.rect.width), number % 251, np.uint8)
    value = pixels.tobytes() if codec == "raw" else cv2.imencode(f".{codec}", pixels)[1].tobytes()
    return _signed(header, value), value


def _signed(header: TileHeader, value: bytes) -> TileHeader:
    return msgspec.structs.replace(header, payload_digest=wire.digest_payload(value))


def _raw_header(number: int, **changes: Any) -> Headers:
    """A tile header with fields as no producer writes them."""
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(_good(number, "raw")[0]))
    return [("tile", msgspec.msgpack.encode({**packed, **changes}))]


def _flipped(value: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]


Make = Callable[[int, random.Random], tuple[bytes, Headers]]


def _one_bit(codec: Codec) -> Make:
    def make(number: int, chance: random.Random) -> tuple[bytes, Headers]:
        header, value = _good(number, codec)
        return _flipped(value, chance), wire.tile_headers(header)

    return make


def _cut_short(codec: Codec) -> Make:
    def make(number: int, chance: random.Random) -> tuple[bytes, Headers]:
        header, value = _good(number, codec)
        value = value[: chance.randrange(1, max(2, len(value) // 2))]
        return value, wire.tile_headers(_signed(header, value))

    return make


def _noise(number: int, chance: random.Random) -> tuple[bytes, Headers]:
    header, value = chance.randbytes(1 + chance.randrange(4000)), b""
    value = header
    return value, wire.tile_headers(_signed(_good(number, chance.choice(["png", "jpeg"]))[0], value))


def _empty(number: int, _chance: random.Random) -> tuple[bytes, Headers]:
    header, _ = _good(number, "png")
    return b"", wire.tile_headers(header)


def _other_size(number: int, _chance: random.Random) -> tuple[bytes, Headers]:
    header, _ = _good(number, "png")
    value = cv2.imencode(".png", np.zeros((500, 500), np.uint8))[1].tobytes()
    return value, wire.tile_headers(_signed(header, value))


def _no_header(number: int, chance: random.Random) -> tuple[bytes, Headers]:
    return _good(number, "png")[1], [("other", chance.randbytes(20))]


def _broken_header(number: int, chance: random.Random) -> tuple[bytes, Headers]:
    header, value = _good(number, "png")
    packed = dict(wire.tile_headers(header))["tile"]
    return value, [("tile", packed[: chance.randrange(1, len(packed))])]


def _newer(number: int, _chance: random.Random) -> tuple[bytes, Headers]:
    return _good(number, "raw")[1], _raw_header(number, schema=99)


def _beyond(number: int, chance: random.Random) -> tuple[bytes, Headers]:
    field, value = chance.choice([("frame_width", 10**9), ("row", 77), ("halo", 5000), ("tile_count", 3)])
    return _good(number, "raw")[1], _raw_header(number, **{field: value})


def _hostile_name(number: int, chance: random.Random) -> tuple[bytes, Headers]:
    name = chance.choice(["../../etc", "a\nb", "__proto__", "x" * 5000, "\0"])
    return _good(number, "raw")[1], _raw_header(number, camera=name)


KINDS: Mapping[str, Make] = {
    "one bit flipped, png": _one_bit("png"),
    "one bit flipped, jpeg": _one_bit("jpeg"),
    "one bit flipped, raw": _one_bit("raw"),
    "cut short, png": _cut_short("png"),
    "cut short, jpeg": _cut_short("jpeg"),
    "cut short, raw": _cut_short("raw"),
    "noise": _noise,
    "empty": _empty,
    "another size": _other_size,
    "no header": _no_header,
    "broken header": _broken_header,
    "newer schema": _newer,
    "beyond limits": _beyond,
    "hostile name": _hostile_name,
}


def bad_tile(number: int, chance: random.Random) -> BadTile:
    """One bad tile of any kind; each number belongs to another frame."""
    kind = chance.choice(list(KINDS))
    value, headers = KINDS[kind](number, chance)
    return BadTile(kind=kind, value=value, headers=headers)


def png_bomb() -> BadTile:
    """A PNG of some kB that unpacks to 400 MB."""
    row = b"\0" + bytes(-(-BOMB_SIDE_PX // 8))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * 1000) for _ in range(BOMB_SIDE_PX // 1000)) + packer.flush()
    size = struct.pack(">IIBBBBB", BOMB_SIDE_PX, BOMB_SIDE_PX, 1, 0, 0, 0, 0)
    value = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return _bomb("png", value)


def jpeg_bomb() -> BadTile:
    """A JPEG of some hundred bytes that says it is 65500 px a side."""
    value = cv2.imencode(".jpeg", np.zeros((64, 64), np.uint8))[1].tobytes()
    at = value.index(b"\xff\xc0") + 5  # height and width follow marker, length and precision
    return _bomb("jpeg", value[:at] + struct.pack(">HH", JPEG_BOMB_SIDE_PX, JPEG_BOMB_SIDE_PX) + value[at + 4 :])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _bomb(codec: Codec, value: bytes) -> BadTile:
    header, _ = _good(10**6, codec)
    return BadTile(kind=f"{codec} bomb", value=value, headers=wire.tile_headers(_signed(header, value)))
