"""Many frames' pixels from the tiles topic, which is read range by range, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

from streamproc.errors import BadMessage
from streamproc.evidence import join_tiles, tile_of, tile_pixels
from streamproc.model import FrameKey, Pixels, TileHeader
from streamproc.reader import TopicReader
from streamproc.records import Spans, rounds
from streamproc.references import payloads_of
from streamproc.retrieval.store import Source
from streamproc.settings import Settings

BATCH_BYTES: Final = 2**28  # of pixels of frames that are put together at once; a single frame may take more
BATCH_FRAMES: Final = 64

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
        for tile, payload in self._tiles(reader, [one.source.spans for one in wanted.values()], tiles):
            held = tiles[tile.key]
            held.setdefault(tile.index, (tile, payload))
            if len(held) == tile.tile_count:
                pixels = _joined(tiles.pop(tile.key))
                yield from ((at, pixels) for at in places[tile.key])
        yield from ((at, None) for key in tiles for at in places[key])

    def _tiles(
        self, reader: TopicReader, spans: Sequence[Spans], wanted: Mapping[FrameKey, object]
    ) -> Iterator[tuple[TileHeader, bytes]]:
        """Tiles of wanted frames; at the end those that have their pixels from others."""
        empty: list[tuple[TileHeader, int, int]] = []
        for ranges in rounds(spans, reader):
            for record in reader.read(ranges):
                tile = tile_of(record, wanted, self._settings.max_frame_pixels)
                if tile is not None and tile.same_as is not None:
                    empty.append((tile, record.partition, record.offset))
                elif tile is not None:
                    yield tile, record.value
        for tile, payload in payloads_of(reader, [one for one in empty if one[0].key in wanted]):
            if isinstance(payload, bytes) and tile.key in wanted:
                yield tile, payload


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


def _joined(tiles: Mapping[int, tuple[TileHeader, bytes]]) -> Pixels | None:
    try:
        found = [(header, tile_pixels(header, payload)) for _, (header, payload) in sorted(tiles.items())]
        header = found[0][0]
        return join_tiles(found, width=header.frame_width, height=header.frame_height)
    except BadMessage:
        return None
