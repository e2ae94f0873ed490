"""From an event back to its pixels: the tiles it names are read from the log and put together again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from streamproc import wire
from streamproc.errors import BadMessage, BrokerError
from streamproc.model import FrameKey, Pixels, Rect, TileHeader
from streamproc.operators.pixels import decode
from streamproc.operators.tiling import join
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenFrame:
    """A frame as the log holds it.

    Attributes:
        pixels: Cores of all tiles that are still there; missing ones are black.
        cores: Of those tiles, row by row.
        halo: Pixels around the cores.
    """

    pixels: Pixels
    cores: tuple[Rect, ...]
    halo: int


def read_frame(settings: Settings, data: Mapping[str, Any]) -> SeenFrame:
    """Put the frame of an event together again.

    Args:
        settings: Where the broker is.
        data: The data of a frame event.

    Raises:
        BrokerError: None of its tiles is in the log any more, or the broker does not answer.
    """
    key = FrameKey(data["camera"], data["run"], data["sequence"])
    evidence = data["evidence"]
    tiles: dict[int, tuple[TileHeader, Pixels]] = {}
    with TopicReader(settings, evidence["topic"]) as reader:
        ranges = {}
        for name, (first, last) in evidence["offsets"].items():
            low, high = reader.bounds(int(name))
            ranges[int(name)] = (max(low, first), min(high, last + 1))
        for record in reader.read(ranges):
            tile = _tile_of(record, key, settings)
            if tile is not None:
                tiles.setdefault(tile[0].index, tile)
    if not tiles:
        raise BrokerError(
            f"frame {key.camera}/{key.run}/{key.sequence}: its tiles are no longer in {evidence['topic']} (retention)"
        )
    found = [tiles[index] for index in sorted(tiles)]
    return SeenFrame(
        pixels=join_tiles(found, width=data["width"], height=data["height"]),
        cores=tuple(header.core for header, _ in found),
        halo=found[0][0].halo,
    )


def tile_pixels(header: TileHeader, payload: bytes) -> Pixels:
    """Core and halo of a tile that `wire.check_tile` has judged.

    Raises:
        BadMessage: It cannot be decoded.
    """
    rect = header.rect
    return decode(payload, codec=header.codec, pixel_format=header.pixel_format, width=rect.width, height=rect.height)


def join_tiles(tiles: Iterable[tuple[TileHeader, Pixels]], *, width: int, height: int) -> Pixels:
    """The cores of decoded tiles in one frame; what is missing is black.

    Raises:
        BadPixels: The tiles do not fit into the frame, or are not all grey or all colour.
    """
    cores = [(header.core, pixels[header.core.within(header.rect)]) for header, pixels in tiles]
    return join(cores, width=width, height=height)


def _tile_of(record: Record, key: FrameKey, settings: Settings) -> tuple[TileHeader, Pixels] | None:
    """The tile in a record if it is one of the frame's and whole."""
    try:
        header = wire.read_tile_header(record.headers)
        if header.key != key:
            return None
        wire.check_tile(header, record.value, max_frame_pixels=settings.max_frame_pixels)
        return header, tile_pixels(header, record.value)
    except BadMessage:
        return None
