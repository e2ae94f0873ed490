"""Encoded bytes to pixels and back, and the checks and conversions every operator shares.

A payload is judged by its header before a decoder sees it: a small file that claims a huge picture costs
nothing.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import BadMessage, BadPixels
from streamproc.model import CHANNELS, Codec, PixelFormat, Pixels, Rect

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_CHANNELS = {0: 1, 2: 3}  # grey, RGB; palettes and alpha would not come back as they went in
PNG_LEVEL = 1  # 3 times as fast as the default level for a few percent more bytes
JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
JPEG_SCAN = b"\xff\xda"
JPEG_MAX_SCANS = 64  # a progressive picture has about 10; each scan walks the whole picture again
JPEG_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RSTn, SOI: markers that stand alone
JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn without DHT, JPG, DAC
THUMBNAIL_SCALES = (1, 2, 4, 8, 16)  # divisors of the 16 pixels that cuts are multiples of


def decode(payload: bytes, codec: Codec, pixel_format: PixelFormat, width: int, height: int) -> Pixels:
    """Decode one tile to exactly the picture its header promised.

    Args:
        payload: The record's value: JPEG, PNG, or raw rows without padding.
        codec: What the header says it is.
        pixel_format: "gray8" gives (rows, cols), "bgr8" (rows, cols, 3).
        width: Promised columns, pixels.
        height: Promised rows, pixels.

    Raises:
        BadMessage: reason "codec" (other or unknown format), "length" (raw size), "limits" (other size than
            promised, or a picture built to be slow), "decode" (broken data).
        BadPixels: Another number of channels or bit depth than promised.
    """
    shape = promised_shape(payload, codec=codec, pixel_format=pixel_format, width=width, height=height)
    if codec == "raw":
        return np.frombuffer(payload, np.uint8).reshape(shape)
    return decode_picture(payload, codec, shape)


def promised_shape(payload: bytes, codec: Codec, pixel_format: PixelFormat, width: int, height: int) -> tuple[int, ...]:
    """Judge a payload by its first bytes, without decoding it; returns the shape its pixels will have.

    Args and errors are those of `decode`, but for broken data beyond the headers.
    """
    if width < 1 or height < 1:
        raise BadMessage("limits", f"a tile needs at least one pixel, got {width}x{height}")
    channels = CHANNELS[pixel_format]
    if codec == "raw":
        if len(payload) != height * width * channels:
            raise BadMessage("length", f"expected {height * width * channels} raw bytes, got {len(payload)}")
    elif codec in ("jpeg", "png"):
        found = _jpeg_header(payload) if codec == "jpeg" else _png_header(payload)
        _require_promised(found, (width, height, channels, 8))
    else:
        raise BadMessage("codec", f"unknown codec {codec!r}")
    return (height, width) if channels == 1 else (height, width, channels)


def decode_picture(payload: bytes | memoryview, codec: Codec, shape: tuple[int, ...]) -> Pixels:
    """Decode a PNG or JPEG that `promised_shape` has judged.

    Args:
        payload: The picture.
        codec: For messages.
        shape: What its header promised.

    Raises:
        BadMessage: reason "decode": broken data.
        BadPixels: Another shape came out.
    """
    # EXIF orientation would turn a tile out of its rectangle.
    flags = (cv2.IMREAD_GRAYSCALE if len(shape) == 2 else cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(payload, np.uint8), flags)
    except cv2.error as error:
        raise BadMessage("decode", f"{codec}: {error.err}") from error
    if pixels is None:
        raise BadMessage("decode", f"{codec} data is broken")
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise BadPixels(f"expected {shape} uint8, the decoder gave {pixels.shape} {pixels.dtype}")
    return np.asarray(pixels, dtype=np.uint8)


def announced(payload: bytes) -> tuple[Codec, PixelFormat, int, int]:
    """What a PNG or JPEG says it is: codec, pixel format, width, height; for looking at a tile without its header.

    Raises:
        BadMessage: reason "codec" (neither), "decode" (its header is broken), "limits" (built to be slow).
        BadPixels: Neither grey nor colour of 8 bits.
    """
    codec: Codec = "png" if payload.startswith(PNG_SIGNATURE) else "jpeg"
    if codec == "jpeg" and not payload.startswith(JPEG_START):
        raise BadMessage("codec", "neither png nor jpeg")
    width, height, channels, bits = _png_header(payload) if codec == "png" else _jpeg_header(payload)
    formats: dict[int, PixelFormat] = {count: name for name, count in CHANNELS.items()}
    if bits != 8 or channels not in formats:
        raise BadPixels(f"the payload has {channels} channels of {bits} bits, expected 1 or 3 of 8")
    return codec, formats[channels], width, height


def encode(pixels: Pixels, codec: Codec, jpeg_quality: int = 90, *, small: bool = False) -> bytes:
    """Encode pixels so that `decode` gives them back: exactly for "png" and "raw", nearly for "jpeg".

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        codec: One of "jpeg", "png", "raw".
        jpeg_quality: 1 to 100; for "jpeg" alone.
        small: Spend twice the time on a JPEG that is about 5 % smaller and has the same pixels.

    Raises:
        BadPixels: Another shape or type.
        BadMessage: reason "codec": an unknown codec, or a size the codec cannot hold.
    """
    require_pixels(pixels)
    if codec == "raw":
        return np.ascontiguousarray(pixels).tobytes()
    if codec == "jpeg":
        extension, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality, cv2.IMWRITE_JPEG_OPTIMIZE, int(small)]
    elif codec == "png":
        extension, options = ".png", [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
    else:
        raise BadMessage("codec", f"unknown codec {codec!r}")
    try:
        done, encoded = cv2.imencode(extension, pixels, options)
    except cv2.error as error:
        raise BadMessage("codec", f"{codec} cannot hold {pixels.shape}: {error.err}") from error
    if not done:
        raise BadMessage("codec", f"{codec} cannot hold {pixels.shape}")
    return encoded.tobytes()


def format_of(pixels: Pixels) -> PixelFormat:
    """Say which pixel format an array is.

    Raises:
        BadPixels: Neither (rows, cols) nor (rows, cols, 3) uint8.
    """
    require_pixels(pixels)
    return "gray8" if pixels.ndim == 2 else "bgr8"


def gray(pixels: Pixels) -> Pixels:
    """Turn BGR into grey by `cv2.cvtColor(BGR2GRAY)`; grey passes through as it is.

    Raises:
        BadPixels: Neither (rows, cols) nor (rows, cols, 3) uint8.
    """
    require_pixels(pixels)
    if pixels.ndim == 2:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def thumbnail(pixels: Pixels, scale: int) -> Pixels:
    """Reduce by a whole factor; each pixel is the mean of its `scale` x `scale` block.

    Blocks at the right and bottom border are filled up with the border's pixels. Cores of tiles begin at
    multiples of 16 pixels, so thumbnails of the cores, painted at `thumbnail_rect`, are the thumbnail of
    the frame.

    Args:
        pixels: Shape (rows, cols) or (rows, cols, 3), uint8.
        scale: One of 1, 2, 4, 8, 16.

    Returns:
        Shape (ceil(rows / scale), ceil(cols / scale)[, 3]), uint8.

    Raises:
        BadPixels: Another shape or type, or another scale.
    """
    require_pixels(pixels)
    if scale == 1:
        return pixels
    if scale not in THUMBNAIL_SCALES:
        raise BadPixels(f"thumbnails are reduced by one of {THUMBNAIL_SCALES}, got {scale}")
    rows, cols = pixels.shape[:2]
    small = thumbnail_rect(Rect(0, 0, cols, rows), scale)
    bottom, right = small.height * scale - rows, small.width * scale - cols
    if bottom or right:
        pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    reduced = cv2.resize(pixels, (small.width, small.height), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, dtype=np.uint8)


def thumbnail_rect(core: Rect, scale: int) -> Rect:
    """Where the thumbnail of a core lies in the thumbnail of its frame."""
    return Rect(core.x // scale, core.y // scale, -(-core.width // scale), -(-core.height // scale))


def require_pixels(pixels: NDArray[Any]) -> None:
    """Refuse anything but (rows, cols) or (rows, cols, 3) uint8 with at least one pixel.

    Raises:
        BadPixels: Says what was wanted and what came.
    """
    flat = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not flat or pixels.dtype != np.uint8 or pixels.size == 0:
        raise BadPixels(f"expected (rows, cols) or (rows, cols, 3) uint8, got {pixels.shape} {pixels.dtype}")


def require_gray(pixels: NDArray[Any]) -> None:
    """Refuse anything but (rows, cols) uint8 with at least one pixel.

    Raises:
        BadPixels: Says what was wanted and what came.
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise BadPixels(f"expected (rows, cols) uint8, got {pixels.shape} {pixels.dtype}")


# --- headers ------------------------------------------------------------------------------------------------


def _require_promised(found: tuple[int, int, int, int], promised: tuple[int, int, int, int]) -> None:
    """Compare (width, height, channels, bits) of a payload with those of its header."""
    if found[:2] != promised[:2]:
        detail = "promised {}x{} pixels, the payload has {}x{}".format(*promised[:2], *found[:2])
        raise BadMessage("limits", detail)
    if found[2:] != promised[2:]:
        detail = "promised {} channels of {} bits, the payload has {} of {}".format(*promised[2:], *found[2:])
        raise BadPixels(detail)


def _png_header(payload: bytes) -> tuple[int, int, int, int]:
    """Read width, height, channels and bits from a PNG's first chunk."""
    if not payload.startswith(PNG_SIGNATURE):
        raise BadMessage("codec", "promised png, the payload is none")
    if len(payload) < 33 or payload[12:16] != b"IHDR":
        raise BadMessage("decode", "png without its first chunk")
    width, height, bits, colour = struct.unpack_from(">IIBB", payload, 16)
    if b"IEND" not in payload[-64:]:
        raise BadMessage("decode", "png is cut short")
    return width, height, PNG_COLOUR_CHANNELS.get(colour, 0), bits


def _jpeg_header(payload: bytes) -> tuple[int, int, int, int]:
    """Read width, height, channels and bits from a JPEG's frame header."""
    if not payload.startswith(JPEG_START):
        raise BadMessage("codec", "promised jpeg, the payload is none")
    at = 2
    while at + 4 <= len(payload):
        if payload[at] != 0xFF:
            raise BadMessage("decode", "jpeg markers are broken")
        marker = payload[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in JPEG_NO_LENGTH:
            at += 2
        elif marker in JPEG_FRAME_HEADERS:
            return _jpeg_frame_header(payload, at + 2)
        else:
            at += 2 + max(2, int.from_bytes(payload[at + 2 : at + 4], "big"))
    raise BadMessage("decode", "jpeg without a frame header")


def _jpeg_frame_header(payload: bytes, at: int) -> tuple[int, int, int, int]:
    if len(payload) < at + 8:
        raise BadMessage("decode", "jpeg is cut short")
    # Both markers cannot occur inside entropy-coded data: an FF there is followed by 00 or a restart marker.
    if payload.rfind(JPEG_END) < at:
        raise BadMessage("decode", "jpeg is cut short")
    if payload.count(JPEG_SCAN, at) > JPEG_MAX_SCANS:
        raise BadMessage("limits", f"jpeg has more than {JPEG_MAX_SCANS} scans")
    bits, height, width, channels = struct.unpack_from(">BHHB", payload, at + 2)
    return width, height, channels, bits
