"""Whether the pixels in the log are those of the ledger: frames put together again, in bounded memory.

Tiles of a frame stand in several partitions, which are read side by side. Encoded tiles of frames that are not whole
yet are held up to a bound in bytes; beyond it the oldest frames are let go, their places noted, and read once more at
the end, as many at a time as fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from streamproc import wire
from streamproc.errors import BadMessage
from streamproc.evidence import join_tiles, tile_pixels
from streamproc.ledger import FrameLine, Ledger
from streamproc.model import FrameKey, Rect, TileHeader
from streamproc.reader import Record
from streamproc.references import Fetch, References

Ranges: TypeAlias = dict[int, tuple[int, int]]
"""First offset and the one after the last, by partition."""

HELD_BYTES = 128 * 2**20
MAX_FOREIGN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelReport:
    """What became of the pixels.

    Attributes:
        checked: Frames that are in the log as the ledger has them.
        unchecked: Acknowledged frames that are no longer whole in the log because it was cut.
        wrong: Frames that are not, and why.
        foreign: Frames of the ledger's runs that have tiles and no line.
        cut: Said of those unchecked.
    """

    checked: int
    unchecked: int = 0
    wrong: tuple[tuple[FrameKey, str], ...] = ()
    foreign: tuple[FrameKey, ...] = ()
    cut: tuple[str, ...] = ()


class _Held(NamedTuple):
    header: TileHeader
    payload: bytes
    partition: int
    offset: int


@dataclass(slots=True)
class _Frame:
    line: FrameLine
    have: int = 0  # a bit for each tile
    done: bool = False
    problem: str | None = None
    tiles: dict[int, _Held] = field(default_factory=dict)
    held_bytes: int = 0
    size_bytes: int = 0
    let_go: dict[int, tuple[int, int]] | None = None  # lowest and highest offset by partition
    digests: bytearray = field(default_factory=bytearray)  # of the payloads, 8 bytes each

    @property
    def whole(self) -> bool:
        return self.have == (1 << self.line.tiles) - 1


class PixelCheck:
    """Records of the tiles topic one after another, in the order of their partition.

    Args:
        ledger: Its frames are looked at, all others are passed over.
        max_frame_pixels: Frames above this are refused.
        held_bytes: Encoded tiles held at once; a single frame may take more.
        fetch: Finds records that tiles name for their pixels, if they are not at hand.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        max_frame_pixels: int,
        held_bytes: int = HELD_BYTES,
        fetch: Fetch = lambda _partition, _offset: None,
    ) -> None:
        self._references = References(fetch)
        self._ledger = ledger
        self._runs = ledger.runs
        self._max_frame_pixels = max_frame_pixels
        self._bound = held_bytes
        self._frames: dict[FrameKey, _Frame] = {}
        self._waiting: dict[FrameKey, _Frame] = {}  # those that hold tiles, oldest first
        self._foreign: dict[FrameKey, None] = {}
        self._only: Mapping[FrameKey, _Frame] | None = None
        self.held_bytes = 0

    def add(self, record: Record) -> None:
        """Take the next record."""
        try:
            header = wire.read_tile_header(record.headers)
        except BadMessage:
            return  # a dead letter; its frame will lack a tile
        frame = self._frame(header.key)
        if frame is None or frame.problem is not None:
            return
        problem = _mismatch(frame.line, header)
        try:
            payload = self._payload(header, record)
        except BadMessage as bad:
            if bad.reason == "base":
                return  # the frame will lack a tile
            problem = problem or str(bad)
        if problem is not None:
            self._close(header.key, frame, f"tile {header.row},{header.col}: {problem}")
            return
        digest = slice(8 * header.index, 8 * header.index + 8)
        if frame.have >> header.index & 1:
            if frame.digests[digest] != header.payload_digest:
                self._close(header.key, frame, f"tile {header.row},{header.col}: it came twice with different pixels")
            return
        frame.have |= 1 << header.index
        frame.digests[digest] = header.payload_digest
        if header.codec != "jpeg":
            self._hold(header.key, frame, _Held(header, payload, record.partition, record.offset))
        if frame.whole and frame.let_go is None:
            self._close(header.key, frame, None if header.codec == "jpeg" else _wrong_pixels(frame))

    def _payload(self, header: TileHeader, record: Record) -> bytes:
        wire.check_tile(header, record.value, max_frame_pixels=self._max_frame_pixels)
        return self._references.payload(header, partition=record.partition, offset=record.offset, value=record.value)

    def again(self) -> Iterator[Ranges]:
        """Ranges to read once more, chunk by chunk; `add` their records before asking for the next."""
        left = {key: frame for key, frame in self._frames.items() if frame.let_go is not None and frame.whole}
        while left:
            chunk: dict[FrameKey, _Frame] = {}
            ranges: Ranges = {}
            size = 0
            for key, frame in left.items():
                if chunk and size + frame.size_bytes > self._bound:
                    break
                chunk[key] = frame
                size += frame.size_bytes
                for partition, (low, high) in _spans(frame).items():
                    first, end = ranges.get(partition, (low, high + 1))
                    ranges[partition] = (min(first, low), max(end, high + 1))
            for key, frame in chunk.items():
                del left[key]
                frame.let_go, frame.have, frame.size_bytes = None, 0, 0
            self._only = chunk
            yield ranges
            for key, frame in chunk.items():
                if not frame.done:
                    self._close(key, frame, "its tiles were deleted while they were read")

    def report(self, *, cut: bool) -> PixelReport:
        """What became of all frames, when everything was read.

        Args:
            cut: Records at the beginning of the topic were deleted.
        """
        wrong: list[tuple[FrameKey, str]] = []
        checked = unchecked = 0
        first = self._first_whole()
        for key, ours in self._ledger.frames.items():
            frame = self._frames.get(key)
            if frame is not None and frame.problem is not None:
                wrong.append((key, frame.problem))
            elif frame is not None and frame.done:
                checked += 1
            elif ours.status == "acked":
                if cut and key.sequence < first.get((key.camera, key.run), key.sequence + 1):
                    unchecked += 1  # what is deleted is a run's beginning
                    continue
                have = frame.have.bit_count() if frame is not None else 0
                wrong.append((key, f"{have} of its {ours.line.tiles} tiles stand in the log"))
        told = f"the tiles of {unchecked} frames are no longer in the log (retention): their pixels cannot be judged"
        return PixelReport(
            checked=checked,
            unchecked=unchecked,
            wrong=tuple(wrong),
            foreign=tuple(self._foreign),
            cut=(f"{told}; leave them out with --no-pixels",) if unchecked else (),
        )

    def _first_whole(self) -> dict[tuple[str, str], int]:
        """Lowest sequence of each run of which all tiles were there."""
        first: dict[tuple[str, str], int] = {}
        for key, frame in self._frames.items():
            if frame.whole:
                run = (key.camera, key.run)
                first[run] = min(first.get(run, key.sequence), key.sequence)
        return first

    def _frame(self, key: FrameKey) -> _Frame | None:
        if self._only is not None:
            return self._only.get(key)
        found = self._frames.get(key)
        if found is None and (key.camera, key.run) in self._runs:
            ours = self._ledger.frames.get(key)
            if ours is not None:
                found = self._frames[key] = _Frame(ours.line, digests=bytearray(8 * ours.line.tiles))
            elif len(self._foreign) < MAX_FOREIGN:
                self._foreign[key] = None
        return found

    def _hold(self, key: FrameKey, frame: _Frame, tile: _Held) -> None:
        size = len(tile.payload)
        frame.size_bytes += size
        if frame.let_go is not None:
            _note(frame.let_go, tile)
            return
        frame.tiles[tile.header.index] = tile
        frame.held_bytes += size
        self.held_bytes += size
        self._waiting[key] = frame
        while self._only is None and self.held_bytes > self._bound and len(self._waiting) > 1:
            self._let_go()

    def _let_go(self) -> None:
        """Let the tiles of the oldest frame go, and note where they stand."""
        key = next(iter(self._waiting))
        frame = self._waiting.pop(key)
        frame.let_go = {}
        for tile in frame.tiles.values():
            _note(frame.let_go, tile)
        self._drop(frame)

    def _close(self, key: FrameKey, frame: _Frame, problem: str | None) -> None:
        frame.done, frame.problem, frame.let_go = True, problem, None
        self._waiting.pop(key, None)
        self._drop(frame)

    def _drop(self, frame: _Frame) -> None:
        self.held_bytes -= frame.held_bytes
        frame.tiles, frame.held_bytes = {}, 0


def check_all(
    check: PixelCheck, read: Callable[[Ranges], Iterator[Record]], ranges: Ranges, *, cut: bool
) -> PixelReport:
    """Read the topic once, and again what did not fit."""
    for record in read(ranges):
        check.add(record)
    for chunk in check.again():
        for record in read(chunk):
            check.add(record)
    return check.report(cut=cut)


def _note(spans: dict[int, tuple[int, int]], tile: _Held) -> None:
    low, high = spans.get(tile.partition, (tile.offset, tile.offset))
    spans[tile.partition] = (min(low, tile.offset), max(high, tile.offset))


def _spans(frame: _Frame) -> dict[int, tuple[int, int]]:
    return frame.let_go or {}


def _mismatch(line: FrameLine, header: TileHeader) -> str | None:
    """How a tile's header differs from the ledger's line."""
    for what, ours, theirs in (
        ("frame digest", line.digest, header.frame_digest.hex()),
        ("frame size", f"{line.width}x{line.height}", f"{header.frame_width}x{header.frame_height}"),
        ("number of tiles", str(line.tiles), str(header.tile_count)),
        ("codec", line.codec, header.codec),
    ):
        if ours != theirs:
            return f"its {what} is {theirs}, the ledger's {ours}"
    return None


def _wrong_pixels(frame: _Frame) -> str | None:
    """How the pixels of a whole frame differ from the ledger's; None if they do not."""
    try:
        decoded = [(tile.header, tile_pixels(tile.header, tile.payload)) for _, tile in sorted(frame.tiles.items())]
        pixels = join_tiles(decoded, width=frame.line.width, height=frame.line.height)
    except BadMessage as bad:
        return str(bad)
    found = hashlib.sha256(pixels.data).hexdigest()
    if found != frame.line.sha256:
        return f"sha256 {found[:16]}… is not the ledger's {frame.line.sha256[:16]}…"
    whole = Rect(0, 0, frame.line.width, frame.line.height)
    for header, tile in decoded:
        if not np.array_equal(tile, pixels[header.rect.within(whole)]):
            return f"tile {header.row},{header.col}: its halo is not what the tiles around it show"
    return None
