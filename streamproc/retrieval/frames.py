"""Many frames' pixels from the tiles topic, which is read range by range, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, TypeVar

from streamproc import wire
from streamproc.errors import BadMessage
from streamproc.evidence import join_tiles, tile_pixels
from streamproc.model import FrameKey, Pixels, TileHeader
from streamproc.reader import Record, TopicReader
from streamproc.retrieval.store import Source
from streamproc.settings import Settings

BATCH_BYTES: Final = 2**28  # of pixels of frames that are put together at once; a single frame may take more
BATCH_FRAMES: Final = 64
NEAR: Final = 200  # records between two ranges that are read through rather than passed over

_Ranges = dict[int, tuple[int, int]]
_Carried = TypeVar("_Carried")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFrame:
    """A frame, and where its tiles stand."""

    key: FrameKey
    width: int
    height: int
    source: Source

    @property
    def size_bytes(self) -> int:
        """Of its pixels, if it is in colour."""
        return 3 * self.width * self.height


class FrameReader:
    """Puts frames together again from the log. Use as a context manager.

    Raises:
        BrokerError: The broker does not answer, or the topic does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._readers: dict[str, TopicReader] = {}
        self._stack = ExitStack()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def read(self, wanted: Sequence[WantedFrame]) -> Iterator[tuple[int, Pixels | None]]:
        """Each frame's position in `wanted` and its pixels, in the order in which they become whole.

        None, at the end: not all of its tiles are in the log any more, or they do not fit together.

        Args:
            wanted: A batch: its encoded tiles are held at once.
        """
        for topic in dict.fromkeys(one.source.topic for one in wanted):
            chosen = {at: one for at, one in enumerate(wanted) if one.source.topic == topic}
            yield from self._read_topic(topic, chosen)

    def _read_topic(self, topic: str, wanted: Mapping[int, WantedFrame]) -> Iterator[tuple[int, Pixels | None]]:
        if topic not in self._readers:
            self._readers[topic] = self._stack.enter_context(TopicReader(self._settings, topic))
        reader = self._readers[topic]
        places: dict[FrameKey, list[int]] = {}
        for at, one in wanted.items():
            places.setdefault(one.key, []).append(at)
        tiles: dict[FrameKey, dict[int, tuple[TileHeader, bytes]]] = {key: {} for key in places}
        for ranges in rounds([one.source.offsets for one in wanted.values()], reader):
            for record in reader.read(ranges):
                tile = self._tile(record, tiles)
                if tile is None:
                    continue
                held = tiles[tile.key]
                held.setdefault(tile.index, (tile, record.value))
                if len(held) == tile.tile_count:
                    pixels = _joined(tiles.pop(tile.key))
                    yield from ((at, pixels) for at in places[tile.key])
        yield from ((at, None) for key in tiles for at in places[key])

    def _tile(self, record: Record, wanted: Mapping[FrameKey, object]) -> TileHeader | None:
        """The header of a record that is a whole tile of a wanted frame."""
        try:
            header = wire.read_tile_header(record.headers)
            if header.key not in wanted:
                return None
            wire.check_tile(header, record.value, max_frame_pixels=self._settings.max_frame_pixels)
        except BadMessage:
            return None
        return header


def batches(items: Iterable[tuple[WantedFrame, _Carried]]) -> Iterator[list[tuple[WantedFrame, _Carried]]]:
    """Group frames, and what is carried along with each, so that a group fits into memory."""
    batch: list[tuple[WantedFrame, _Carried]] = []
    size = 0
    for wanted, carried in items:
        if batch and (len(batch) == BATCH_FRAMES or size + wanted.size_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((wanted, carried))
        size += wanted.size_bytes
    if batch:
        yield batch


def rounds(offsets: Iterable[Mapping[str, tuple[int, int]]], reader: TopicReader) -> Iterator[_Ranges]:
    """Ranges (first, one after the last) by partition that together hold all offsets, one range of each at a time."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for one in offsets:
        for partition, (first, last) in one.items():
            spans.setdefault(int(partition), []).append((first, last + 1))
    merged = {partition: _within(_merged(found), reader.bounds(partition)) for partition, found in spans.items()}
    for column in zip_longest(*merged.values()):
        yield {partition: span for partition, span in zip(merged, column, strict=True) if span is not None}


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order; those that overlap or lie near each other are one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + NEAR:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _within(spans: list[tuple[int, int]], bounds: tuple[int, int]) -> list[tuple[int, int]]:
    low, high = bounds
    clipped = ((max(low, start), min(high, end)) for start, end in spans)
    return [(start, end) for start, end in clipped if start < end]


def _joined(tiles: Mapping[int, tuple[TileHeader, bytes]]) -> Pixels | None:
    try:
        found = [(header, tile_pixels(header, payload)) for _, (header, payload) in sorted(tiles.items())]
        header = found[0][0]
        return join_tiles(found, width=header.frame_width, height=header.frame_height)
    except BadMessage:
        return None
