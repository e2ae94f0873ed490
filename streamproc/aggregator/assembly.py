"""Which tiles of a frame are here, and when a frame is done: pure state, time is an argument, no pixels.

One `Assembler` serves one partition of the features topic. Tiles may come in any order, repeated, late, missing or
contradicting each other; every frame that was seen leaves exactly once, in the order of its sequence within its run.

A frame waits for its predecessor: sequence numbers of a run are contiguous, so a hole means tiles under way, and it is
waited for like a missing tile, up to the deadline. A run begins with the lowest sequence that its tiles name as sent
(`TileHeader.first`); nothing below it is waited for.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, TypeAlias

from msgspec.structs import replace as replace_struct

from streamproc.model import Features, FrameKey, Outcome, TileHeader

TileOutcome = Literal["merged", "duplicate", "late", "rejected", "deadlettered"]
StreamKey: TypeAlias = tuple[str, str]
"""Camera and run."""
Span: TypeAlias = tuple[int, int]
"""First pixel and the one after the last."""

_ANY = 2**63  # above all sequences
_REMEMBERED_GAPS = 1024  # closed frames whose missing tiles are still told apart from repeats
_REMEMBERED_STREAMS = 4096  # runs without an open frame, so that a re-read frame is known to be out


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one assembler.

    Attributes:
        deadline_s: Longest wait for the tiles of a frame, from its first tile on.
        min_coverage: Share of tiles below which an unfinished frame ends expired instead of partial.
        max_frames: Frames held at once.
        max_bytes: Encoded features held at once.
    """

    deadline_s: float
    min_coverage: float
    max_frames: int
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClosedFrame:
    """A frame that is done, whatever became of it.

    Attributes:
        header: Of the first tile seen; for geometry and capture time.
        parts: Tiles that count, in row-major order; empty unless complete or partial.
        missing: (row, col) of tiles without results.
        tiles: What became of each of its tiles.
        reason: Why it is not complete; None for complete.
        arrived_s: When its last tile came, on the assembler's clock.
        pipeline: Digest of the pipeline its tiles went through.
        evidence: All its tiles, those without results too.
    """

    header: TileHeader
    outcome: Outcome
    parts: tuple[Features, ...]
    missing: tuple[tuple[int, int], ...]
    tiles: Counter[TileOutcome]
    reason: str | None
    arrived_s: float
    pipeline: str
    evidence: tuple[Features, ...] = ()

    @property
    def key(self) -> FrameKey:
        """Which frame."""
        return self.header.key

    def rejected(self, reason: str) -> ClosedFrame:
        """The same frame without results, because they turned out not to fit each other."""
        tiles = Counter(self.tiles)
        tiles["rejected"] += tiles.pop("merged", 0)
        missing = tuple(divmod(index, self.header.cols) for index in range(self.header.tile_count))
        return replace(self, outcome="rejected", parts=(), missing=missing, tiles=tiles, reason=reason)


@dataclass(slots=True, kw_only=True, eq=False)
class _Frame:
    header: TileHeader
    pipeline: str
    first_offset: int
    deadline_s: float
    arrived_s: float
    parts: dict[int, Features] = field(default_factory=dict)
    row_spans: dict[int, Span] = field(default_factory=dict)
    col_spans: dict[int, Span] = field(default_factory=dict)
    bytes: int = 0
    closed: ClosedFrame | None = None


@dataclass(slots=True, eq=False)
class _Stream:
    key: StreamKey
    next: int = _ANY  # the sequence that is waited for
    begun: bool = False  # whether a frame of the run is known to be out
    frames: dict[int, _Frame] = field(default_factory=dict)

    def sent_from(self, sequence: int) -> None:
        """Frames of the run were sent from there on; what is out already stays so."""
        if not self.begun:
            self.next = min(self.next, sequence)


class Assembler:
    """Open frames of one partition, bounded in number and bytes.

    Not thread-safe: one caller at a time.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._streams: dict[StreamKey, _Stream] = {}
        self._active: dict[StreamKey, _Stream] = {}  # those that hold frames
        self._gaps: OrderedDict[FrameKey, frozenset[int]] = OrderedDict()
        self.open_frames = 0
        self.open_bytes = 0

    def resume(self, camera: str, run: str, *, last_sequence: int) -> None:
        """Note that events up to `last_sequence` are out already (read back from the events topic)."""
        stream = self._stream((camera, run))
        following = last_sequence + 1
        stream.next, stream.begun = max(stream.next, following) if stream.begun else following, True

    def knows(self, camera: str, run: str) -> bool:
        """Whether a run is remembered, with or without open frames."""
        return (camera, run) in self._streams

    def add(self, features: Features, *, size_bytes: int, offset: int, now_s: float) -> TileOutcome | None:
        """Take one tile's features.

        Args:
            features: Decoded and judged by `wire.decode_features`.
            size_bytes: Of the encoded record, for the cap.
            offset: In the features partition.
            now_s: Monotonic.

        Returns:
            What became of the tile if that is settled now (`duplicate`, `late`); None if its frame will tell.
        """
        tile = features.tile
        stream = self._stream((tile.camera, tile.run))
        stream.sent_from(min(tile.first, tile.sequence))
        if tile.sequence < stream.next:
            return "late" if tile.index in self._gaps.get(tile.key, ()) else "duplicate"
        frame = stream.frames.get(tile.sequence)
        if frame is None:
            frame = self._open(stream, features, offset=offset, now_s=now_s)
        if frame.closed is not None:
            gone = {row * tile.cols + col for row, col in frame.closed.missing}
            return "late" if tile.index in gone else "duplicate"
        frame.first_offset = min(frame.first_offset, offset)
        return self._merge(frame, features, size_bytes=size_bytes, now_s=now_s)

    def finish(self, now_s: float) -> list[ClosedFrame]:
        """Frames that are done by now, in order of sequence within each run; each leaves once."""
        done: list[ClosedFrame] = []
        for stream in list(self._active.values()):
            done += self._release(stream, now_s)
        while self.open_frames > self._limits.max_frames or self.open_bytes > self._limits.max_bytes:
            done += self._evict(now_s)
        self._forget_idle_streams()
        return done

    def evict_oldest(self, now_s: float) -> list[ClosedFrame]:
        """Let the frame go that has waited longest, to make room; nothing if none is held."""
        return list(self._evict(now_s)) if self._active else []

    @property
    def streams_known(self) -> int:
        """Runs remembered, with or without open frames."""
        return len(self._streams)

    def needed_offset(self) -> int | None:
        """The lowest offset a frame still held came from; what lies below may be committed. None: nothing is held."""
        return min((frame.first_offset for frame in self._held()), default=None)

    def next_deadline_s(self) -> float | None:
        """When `finish` has something to do even if no tile comes; None if nothing is held."""
        return min((frame.deadline_s for frame in self._held()), default=None)

    def _held(self) -> Iterator[_Frame]:
        return (frame for stream in self._active.values() for frame in stream.frames.values())

    # --- one tile ----------------------------------------------------------------------------------------------

    def _stream(self, key: StreamKey) -> _Stream:
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(key)
        return stream

    def _open(self, stream: _Stream, features: Features, *, offset: int, now_s: float) -> _Frame:
        frame = _Frame(
            header=features.tile,
            pipeline=features.pipeline,
            first_offset=offset,
            deadline_s=now_s + self._limits.deadline_s,
            arrived_s=now_s,
        )
        stream.frames[features.tile.sequence] = frame
        self._active[stream.key] = stream
        self.open_frames += 1
        return frame

    def _merge(self, frame: _Frame, features: Features, *, size_bytes: int, now_s: float) -> TileOutcome | None:
        tile = features.tile
        known = frame.parts.get(tile.index)
        frame.arrived_s = now_s
        if known is not None and known.tile.payload_digest == tile.payload_digest:
            if known.refusal is None or features.refusal is not None:
                return "duplicate"
            frame.parts[tile.index] = features  # a redriven tile takes the place of its refusal
            return "deadlettered"
        conflict = _conflict(frame, features, known)
        if conflict is not None:
            _close(frame, "rejected", reason=conflict, extra="rejected")
            return None
        frame.parts[tile.index] = features
        frame.bytes += size_bytes
        self.open_bytes += size_bytes
        if len(frame.parts) == tile.tile_count:
            _close_full(frame, self._limits)
        return None

    # --- done frames -------------------------------------------------------------------------------------------

    def _release(self, stream: _Stream, now_s: float) -> Iterator[ClosedFrame]:
        for held in stream.frames.values():
            if held.closed is None and now_s >= held.deadline_s:
                _close_unfinished(held, self._limits, reason="deadline")
        while stream.frames:
            frame = stream.frames.get(stream.next)
            if frame is None:
                first = min(stream.frames)
                if now_s < stream.frames[first].deadline_s:
                    return
                yield from self._give_up(stream, first)
            elif frame.closed is None:
                return
            else:
                yield self._leave(stream, frame)

    def _give_up(self, stream: _Stream, first: int) -> Iterator[ClosedFrame]:
        """A hole before frame `first` was waited for long enough: its frames end expired, told by their successor.

        A run that is seen from its middle on (a log cut by retention) has no hole before its first frame.
        """
        if stream.begun:
            after = stream.frames[first]
            for sequence in range(max(stream.next, first - self._limits.max_frames), first):
                yield _never_seen(after, sequence)
        stream.next, stream.begun = first, True

    def _leave(self, stream: _Stream, frame: _Frame) -> ClosedFrame:
        closed = frame.closed
        assert closed is not None  # noqa: S101 - only closed frames are released
        del stream.frames[closed.header.sequence]
        if not stream.frames:
            del self._active[stream.key]
        stream.next, stream.begun = closed.header.sequence + 1, True
        self.open_frames -= 1
        self.open_bytes -= frame.bytes
        if closed.missing:
            self._gaps[closed.key] = frozenset(row * closed.header.cols + col for row, col in closed.missing)
            while len(self._gaps) > _REMEMBERED_GAPS:
                self._gaps.popitem(last=False)
        return closed

    def _evict(self, now_s: float) -> Iterator[ClosedFrame]:
        """Let the oldest frame go, and with it whatever waited behind it."""
        stream = min(
            self._active.values(),
            key=lambda stream: stream.frames[min(stream.frames)].deadline_s,
        )
        first = min(stream.frames)
        if stream.next < first:
            yield from self._give_up(stream, first)
        oldest = stream.frames[first]
        if oldest.closed is None:
            _close_unfinished(oldest, self._limits, reason="evicted")
        yield from self._release(stream, now_s)

    def _forget_idle_streams(self) -> None:
        excess = len(self._streams) - _REMEMBERED_STREAMS
        if excess > 0:
            idle = [key for key, stream in self._streams.items() if not stream.frames][:excess]
            for key in idle:
                del self._streams[key]


def _conflict(frame: _Frame, features: Features, known: Features | None) -> str | None:
    """Why a tile cannot belong to the frame as the others describe it."""
    have, tile = frame.header, features.tile
    for what, ours, theirs in (
        ("frame digest", have.frame_digest, tile.frame_digest),
        ("frame size", (have.frame_width, have.frame_height), (tile.frame_width, tile.frame_height)),
        ("grid", (have.rows, have.cols), (tile.rows, tile.cols)),
        ("pipeline", frame.pipeline, features.pipeline),
    ):
        if ours != theirs:
            return f"conflict: tile {tile.row},{tile.col} has another {what} than the tiles before it"
    if known is not None:
        return f"conflict: tile {tile.row},{tile.col} came twice with different pixels"
    core = tile.core
    if frame.row_spans.setdefault(tile.row, (core.y, core.bottom)) != (core.y, core.bottom):
        return f"conflict: tile {tile.row},{tile.col} stands at another height than its row"
    if frame.col_spans.setdefault(tile.col, (core.x, core.right)) != (core.x, core.right):
        return f"conflict: tile {tile.row},{tile.col} stands at another column than the tiles above it"
    return None


def _apart(spans: dict[int, Span]) -> bool:
    """Whether spans follow each other without overlap, in the order of their rows or columns."""
    ordered = [spans[index] for index in sorted(spans)]
    return all(before[1] <= after[0] for before, after in pairwise(ordered))


def _close_full(frame: _Frame, limits: Limits) -> None:
    if any(part.refusal is not None for part in frame.parts.values()):
        _close_unfinished(frame, limits, reason="dead letters")
        return
    covered = sum(part.tile.core.area for part in frame.parts.values())
    if covered == frame.header.frame_width * frame.header.frame_height:
        _close(frame, "complete", reason=None)
    else:
        _close(frame, "rejected", reason="conflict: the tiles do not cover the frame")


def _close_unfinished(frame: _Frame, limits: Limits, *, reason: str) -> None:
    good = sum(part.refusal is None for part in frame.parts.values())
    refused = len(frame.parts) - good
    told = f"{reason}: {good} of {frame.header.tile_count} tiles"
    if refused and good == 0:
        _close(frame, "rejected", reason=told)
    elif reason != "evicted" and good and good / frame.header.tile_count >= limits.min_coverage:
        _close(frame, "partial", reason=told)
    else:
        _close(frame, "rejected" if refused else "expired", reason=told)


def _never_seen(after: _Frame, sequence: int) -> ClosedFrame:
    """A frame of which no tile came; geometry and capture time are those of the frame after it."""
    header = replace_struct(after.header, sequence=sequence)
    return ClosedFrame(
        header=header,
        outcome="expired",
        parts=(),
        missing=tuple(divmod(index, header.cols) for index in range(header.tile_count)),
        tiles=Counter(),
        reason="deadline: no tile came; size and capture time are those of the next frame",
        arrived_s=after.arrived_s,
        pipeline=after.pipeline,
    )


def _close(frame: _Frame, outcome: Outcome, *, reason: str | None, extra: TileOutcome | None = None) -> None:
    header = frame.header
    if outcome in {"complete", "partial"} and not (_apart(frame.row_spans) and _apart(frame.col_spans)):
        outcome, reason = "rejected", "conflict: tiles overlap"
    parts = tuple(frame.parts[index] for index in sorted(frame.parts))
    kept = tuple(part for part in parts if part.refusal is None)
    merged = outcome in {"complete", "partial"}
    tiles: Counter[TileOutcome] = Counter()
    tiles["merged" if merged else "rejected"] += len(kept)
    tiles["deadlettered"] += len(parts) - len(kept)
    if extra is not None:
        tiles[extra] += 1
    have = {part.tile.index for part in kept} if merged else set()
    missing = tuple(divmod(index, header.cols) for index in range(header.tile_count) if index not in have)
    frame.closed = ClosedFrame(
        header=header,
        outcome=outcome,
        parts=kept if merged else (),
        missing=missing,
        tiles=+tiles,
        reason=reason,
        arrived_s=frame.arrived_s,
        pipeline=frame.pipeline,
        evidence=parts,
    )
    frame.parts = {}
