"""Pictures and films that the tests of sources are made of."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from streamproc.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from streamproc.model import Pixels
    from streamproc.settings import Settings

SETTINGS: Settings = load_settings(bootstrap="127.0.0.1:9")


def picture(width: int = 96, height: int = 64, *, seed: int = 0, channels: int = 3) -> Pixels:
    """Smooth blobs with some noise: compresses like a photograph, differs everywhere."""
    random = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, channels)
    coarse = random.integers(0, 256, (height // 16 + 2, width // 16 + 2, channels), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(shape)
    noise = random.integers(-12, 13, shape)
    return np.asarray(np.clip(smooth.astype(np.int64) + noise, 0, 255), dtype=np.uint8)


def save(path: Path, pixels: NDArray[Any]) -> Path:
    """Write a picture as its ending says."""
    done, encoded = cv2.imencode(path.suffix, pixels)
    assert done
    path.write_bytes(encoded.tobytes())
    return path


def film(path: Path, *, frames: int = 50, codec: str = "mp4v", width: int = 160, height: int = 96) -> Path:
    """Write a film at 25 fps whose frames all differ."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (width, height))
    assert writer.isOpened()
    wide = picture(width + 4 * frames, height, seed=1)
    for number in range(frames):
        writer.write(np.ascontiguousarray(wide[:, 4 * number : 4 * number + width]))
    writer.release()
    return path


def cut(path: Path, share: float) -> Path:
    """A copy that ends after this share of the bytes."""
    data = path.read_bytes()
    short = path.with_name(f"cut-{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


def index_first(path: Path) -> Path:
    """A copy of an MP4 whose index (moov) stands before the pictures, as for streaming."""
    data = path.read_bytes()
    boxes: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        boxes[kind] = boxes.get(kind, b"") + data[at : at + length]
        at += length
    moov = bytearray(boxes.pop(b"moov"))
    places = moov.index(b"stco") + 8
    (count,) = struct.unpack_from(">I", moov, places)
    for index in range(count):
        place = places + 4 + 4 * index
        struct.pack_into(">I", moov, place, struct.unpack_from(">I", moov, place)[0] + len(moov))
    moved = path.with_name(f"first-{path.name}")
    moved.write_bytes(boxes.pop(b"ftyp") + bytes(moov) + b"".join(boxes.values()))
    return moved


def huge_png(path: Path, side: int) -> Path:
    """A small file that claims a picture of `side` x `side` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(3 * side + 1) * 8, 9))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b""))
    return path
