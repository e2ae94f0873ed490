"""Frames put together again from the tiles that their events name, and what is said of tiles that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from streamproc import wire
from streamproc.errors import BadMessage, BrokerError, StreamprocError
from streamproc.evidence.sources import Sources, log_of
from streamproc.model import FrameKey, Grid, Pixels, Rect, TileHeader
from streamproc.operators.pixels import decode
from streamproc.operators.tiling import cut, join
from streamproc.reader import Record
from streamproc.records import RecordSource, rounds
from streamproc.references import payloads_of
from streamproc.settings import Settings
from streamproc.topics import tile_partition

MAX_SPAN: Final = 100_000  # records of one partition between the first and the last tile of a frame
_Held: TypeAlias = dict[int, tuple[TileHeader, bytes]]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTile:
    """A tile that is not in the picture.

    Attributes:
        core: The part of the frame that it owns; None if no tile of the frame is left to tell the cut.
        why: One line.
    """

    row: int
    col: int
    core: Rect | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sight:
    """What is left of a frame, wherever it was looked for.

    Attributes:
        key: Which frame.
        seen: Its pixels; None if no tile is left.
        lost: Tiles that are not there. Empty without `seen` unless the event names them itself.
        told: Why tiles are not there, a line for each place and partition; empty if all are.
        places: Where the tiles came from.
        tiles: Header and pixels, core and halo, of each tile that is there, row by row.
    """

    key: FrameKey
    seen: SeenFrame | None
    tiles: tuple[tuple[TileHeader, Pixels], ...] = ()
    lost: tuple[LostTile, ...] = ()
    told: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(slots=True)
class _Wanted:
    key: FrameKey
    topic: str
    offsets: dict[int, tuple[int, int]]
    never: frozenset[tuple[int, int]]
    tiles: _Held = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    removed: dict[int, str] = field(default_factory=dict)
    partitions: int = 0

    def add(self, header: TileHeader, payload: bytes, place: str) -> None:
        """Take a tile, unless it is here already."""
        if header.index not in self.tiles:
            self.tiles[header.index] = (header, payload)
            self.places += [] if place in self.places else [place]

    @property
    def whole(self) -> bool:
        """All tiles are here that ever came."""
        count = next(iter(self.tiles.values()))[0].tile_count if self.tiles else 0
        return bool(count) and len(self.tiles) + len(self.never) >= count


def read_frame(settings: Settings, data: Mapping[str, Any]) -> SeenFrame:
    """Put the frame of an event together again from the log.

    Args:
        settings: Where the broker is.
        data: The data of a frame event.

    Raises:
        BrokerError: None of its tiles is in the log any more, or the broker does not answer.
    """
    with Sources([log_of(settings)]) as sources:
        (sight,) = look(sources, [data], max_frame_pixels=settings.max_frame_pixels)
    if sight.seen is None:
        key, topic = sight.key, data["evidence"]["topic"]
        told = f": {sight.told[0]}" if sight.told else ""
        raise BrokerError(
            f"frame {key.camera}/{key.run}/{key.sequence}: its tiles are no longer in {topic} (retention){told}"
        )
    return sight.seen


def look(sources: Sources, events: Sequence[Mapping[str, Any]], *, max_frame_pixels: int) -> list[Sight]:
    """Put frames together again, each from the first place that still has its tiles, and from further ones.

    Args:
        sources: Where to look.
        events: The data of frame events; a batch: their encoded tiles are held at once.
        max_frame_pixels: Frames above this are refused.

    Returns:
        What is left of each, in the order of `events`.
    """
    wanted = [_wanted(data) for data in events]
    for topic in dict.fromkeys(one.topic for one in wanted if one.offsets):
        chosen = [one for one in wanted if one.topic == topic]
        for name, source in sources.of(topic):
            left = [one for one in chosen if not one.whole]
            if not left:
                break
            try:
                _take(name, source, left, max_frame_pixels=max_frame_pixels)
            except StreamprocError as error:
                for one in left:
                    one.told.append(f"{name}: {' '.join(str(error).split())}")
        for one in chosen:
            one.told += sources.silent(topic)
    return [_sight(one) for one in wanted]


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


def _wanted(data: Mapping[str, Any]) -> _Wanted:
    """What is to be looked for.

    Raises:
        StreamprocError: It is no frame event, or names no place.
    """
    try:
        evidence = data["evidence"]
        return _Wanted(
            key=FrameKey(data["camera"], data["run"], data["sequence"]),
            topic=evidence["topic"],
            offsets={int(name): (int(first), int(last) + 1) for name, (first, last) in evidence["offsets"].items()},
            never=frozenset((int(row), int(col)) for row, col in data.get("missing_tiles", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        frame = "/".join(str(data.get(name, "?")) for name in ("camera", "run", "sequence"))
        raise StreamprocError(f"the event of frame {frame} does not say where its tiles stand") from None


def _take(name: str, source: RecordSource, wanted: Sequence[_Wanted], *, max_frame_pixels: int) -> None:
    """Add the tiles that one place has."""
    frames = {one.key: one for one in wanted}
    held = source.partitions()
    for one in wanted:
        one.partitions = len(held)
        one.told += _cut_off(name, source, one)
    there = [{partition: span for partition, span in one.offsets.items() if partition in held} for one in wanted]
    empty: list[tuple[TileHeader, int, int]] = []
    for ranges in rounds(there, source):
        for record in source.read(ranges):
            header = tile_of(record, frames, max_frame_pixels)
            if header is None or header.index in frames[header.key].tiles:
                continue
            if header.same_as is None:
                frames[header.key].add(header, record.value, name)
            else:
                empty.append((header, record.partition, record.offset))
    for header, payload in payloads_of(source, empty):
        if isinstance(payload, bytes):
            frames[header.key].add(header, payload, name)
        else:
            frames[header.key].told.append(f"{name}: {source.topic}: {payload.detail}")


def _cut_off(name: str, source: RecordSource, wanted: _Wanted) -> list[str]:
    """What a place does not hold any more of a frame's offsets."""
    told = []
    for partition, (first, end) in sorted(wanted.offsets.items()):
        try:
            low, high = source.bounds(partition)
        except StreamprocError as error:
            told.append(f"{name}: {' '.join(str(error).split())}")
            continue
        if end - first > MAX_SPAN:
            told.append(
                f"{name}: {source.topic}[{partition}] offsets {first} to {end - 1} are too far apart to be read"
            )
            wanted.offsets.pop(partition)
        elif first < low:
            why = (
                f"{name} has removed offsets {first} to {min(low, end) - 1} of {source.topic}[{partition}]"
                f" (retention): it {_begins(source, partition, low, high)}"
            )
            wanted.removed[partition] = why
            told.append(why)
        elif end > high:
            told.append(f"{name}: {source.topic}[{partition}] ends before offset {end - 1}: it is another log")
    return told


def _begins(source: RecordSource, partition: int, low: int, high: int) -> str:
    for record in source.read({partition: (low, min(high, low + 1))}):
        when = datetime.fromtimestamp(record.timestamp_ms / 1000, tz=UTC)
        return f"begins at offset {record.offset}, {when:%Y-%m-%d %H:%M:%S} UTC"
    return "holds nothing now"


def tile_of(record: Record, wanted: Mapping[FrameKey, object], max_frame_pixels: int) -> TileHeader | None:
    """The header of a record that is a whole tile of a wanted frame."""
    try:
        header = wire.read_tile_header(record.headers)
        if header.key not in wanted:
            return None
        wire.check_tile(header, record.value, max_frame_pixels=max_frame_pixels)
    except BadMessage:
        return None
    return header


def _sight(wanted: _Wanted) -> Sight:
    tiles, broken = _decoded(wanted.tiles)
    if not tiles:
        lost = tuple(LostTile(row=row, col=col, core=None, why="it never came") for row, col in sorted(wanted.never))
        none = "none of its tiles is where the event says" if wanted.offsets else "no tile of it ever came"
        told = tuple(dict.fromkeys(wanted.told)) or (none,)
        return Sight(key=wanted.key, seen=None, lost=lost, told=told)
    found = [tiles[index] for index in sorted(tiles)]
    header = found[0][0]
    seen = SeenFrame(
        pixels=join_tiles(found, width=header.frame_width, height=header.frame_height),
        cores=tuple(one.core for one, _ in found),
        halo=header.halo,
    )
    lost = tuple(_lost(wanted, header, tiles, broken))
    return Sight(
        key=wanted.key,
        seen=seen,
        tiles=tuple(found),
        lost=lost,
        told=tuple(dict.fromkeys(wanted.told)) if lost else (),
        places=tuple(wanted.places),
    )


def _decoded(held: _Held) -> tuple[dict[int, tuple[TileHeader, Pixels]], dict[int, str]]:
    """Pixels by tile, those alone that fit to the first; and what is wrong with the others."""
    tiles: dict[int, tuple[TileHeader, Pixels]] = {}
    broken: dict[int, str] = {}
    first: TileHeader | None = None
    for index, (header, payload) in sorted(held.items()):
        first = first or header
        same = ("frame_width", "frame_height", "rows", "cols", "pixel_format", "frame_digest")
        if any(getattr(header, name) != getattr(first, name) for name in same):
            broken[index] = "it contradicts the frame's other tiles"
            continue
        try:
            tiles[index] = (header, tile_pixels(header, payload))
        except BadMessage as bad:
            broken[index] = f"it cannot be decoded ({bad.detail})"
    return tiles, broken


def _lost(
    wanted: _Wanted, header: TileHeader, tiles: Mapping[int, object], broken: Mapping[int, str]
) -> Iterator[LostTile]:
    cores = cut(header.frame_width, header.frame_height, Grid(header.rows, header.cols))
    for index in range(header.tile_count):
        if index in tiles:
            continue
        row, col = divmod(index, header.cols)
        partition = tile_partition(wanted.key.camera, index, wanted.partitions) if wanted.partitions else -1
        why = broken.get(index) or wanted.removed.get(partition) or "it is not where the event says"
        if (row, col) in wanted.never:
            why = "it never came"
        yield LostTile(row=row, col=col, core=cores[index], why=why)
