"""A tile of a dead letter as a PNG, decoded in a child process: its bytes may be made to crash or stall a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc import wire
from streamproc.decoding import Decoder
from streamproc.errors import BadMessage
from streamproc.model import CHANNELS, Codec, PixelFormat, TileHeader
from streamproc.operators.pixels import announced, encode

_DECODE_S = 30.0  # a frame of 134 million pixels takes about 2 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a payload is to be decoded as."""

    codec: Codec
    pixel_format: PixelFormat
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height} px {self.codec} {self.pixel_format}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A payload judged without decoding it.

    Attributes:
        shape: How it may be decoded; None if it may not.
        told: What is right or wrong with it, one line.
    """

    shape: Shape | None
    told: str


def judge(header: TileHeader | None, payload: bytes, *, max_pixels: int) -> Judged:
    """Say whether a payload can be a picture: as its header promises, or else as it says of itself.

    Args:
        header: None if it cannot be read.
        payload: The record's value.
        max_pixels: Larger pictures are not decoded.
    """
    told = []
    if header is not None and header.same_as is not None:
        return Judged(shape=None, told=f"its pixels are those of offset {header.same_as} of its partition")
    if header is not None:
        try:
            wire.check_tile(header, payload, max_frame_pixels=max_pixels)
        except BadMessage as bad:
            told.append(str(bad))
        promised = _promised(header, payload, max_pixels=max_pixels)
        if promised is not None:
            return Judged(shape=promised, told="; ".join([*told, str(promised)]))
    try:
        codec, pixel_format, width, height = announced(payload)
        found = Shape(codec=codec, pixel_format=pixel_format, width=width, height=height)
    except BadMessage as bad:
        return Judged(shape=None, told="; ".join([*told, str(bad)]))
    if len(payload) > wire.MAX_PAYLOAD_BYTES:
        told.append(f"length: {len(payload)} bytes, at most {wire.MAX_PAYLOAD_BYTES} are drawn")
        return Judged(shape=None, told="; ".join(told))
    if not 0 < found.width * found.height <= max_pixels:
        told.append(f"limits: {found} is more than {max_pixels} px")
        return Judged(shape=None, told="; ".join(told))
    return Judged(shape=found, told="; ".join([*told, f"it says of itself that it is {found}"]))


def _promised(header: TileHeader, payload: bytes, *, max_pixels: int) -> Shape | None:
    """The shape that the header promises, if the payload's own header agrees."""
    rect = header.rect
    shape = Shape(codec=header.codec, pixel_format=header.pixel_format, width=rect.width, height=rect.height)
    sound = rect.width > 0 and rect.height > 0 and rect.area <= max_pixels and len(payload) <= wire.MAX_PAYLOAD_BYTES
    if not sound or header.key_id is not None:
        return None
    if header.codec == "raw":
        return shape if len(payload) == rect.area * CHANNELS[header.pixel_format] else None
    try:
        agrees = announced(payload) == (shape.codec, shape.pixel_format, shape.width, shape.height)
    except BadMessage:
        return None
    return shape if agrees else None


def draw(payload: bytes, shape: Shape) -> bytes:
    """Decode a payload that was judged, and encode it as PNG.

    Raises:
        BadMessage: The picture is broken, or the decoder crashed or took too long.
        DecoderError: No decoder can be started.
    """
    with Decoder(timeout_s=_DECODE_S, max_pixels=shape.width * shape.height) as decoder:
        pixels = decoder.decode(
            payload, codec=shape.codec, pixel_format=shape.pixel_format, width=shape.width, height=shape.height
        )
        return encode(pixels, "png")
