"""Which tiles of a frame are here, and when a frame is done: pure state, time is an argument, no pixels.

One `Assembler` serves one partition of the features topic. Tiles may come in any order, repeated, late, missing or
contradicting each other; every frame that was seen leaves exactly once, in the order of its sequence within its run.

A frame waits for its predecessor: sequence numbers of a run are contiguous, so a hole means tiles under way, and it is
waited for like a missing tile, up to the deadline. A run begins with the lowest sequence that its tiles name as sent
(`TileHeader.first`); nothing below it is waited for.

When too much is held, results of the frames that came last are set aside, and read again from the log when their frames
are next to leave.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from streamproc.aggregator.frames import ClosedFrame, Limits, OpenFrame, TileOutcome, never_seen
from streamproc.model import Features, FrameKey

__all__ = ["Assembler", "ClosedFrame", "Limits", "Piece", "TileOutcome"]

StreamKey: TypeAlias = tuple[str, str]
"""Camera and run."""

RECORD_BYTES = 1024
"""Held for each record from the first that is needed on: it is acknowledged in order."""

_READ_THROUGH = 16  # records read for each that is wanted, at the most
_ANY = 2**63  # above all sequences
_REMEMBERED_GAPS = 1024  # closed frames whose missing tiles are still told apart from repeats
_REMEMBERED_STREAMS = 4096  # runs without an open frame, so that a re-read frame is known to be out


@dataclass(slots=True, eq=False)
class Piece:
    """Frames whose results are read again together.

    Attributes:
        frames: For `Assembler.put_back`.
        offsets: Where their results stand in the features partition.
    """

    frames: list[OpenFrame] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    _bytes: int = 0
    _span: tuple[int, int] = (_ANY, -1)

    def takes(self, frame: OpenFrame, budget_bytes: int) -> bool:
        """Add a frame if it fits, or is the first; one of which nothing is set aside always fits."""
        aside = list(frame.aside())
        if not aside:
            return True
        offsets, sizes = zip(*aside, strict=True)
        size = self._bytes + sum(sizes)
        low, high = min(self._span[0], *offsets), max(self._span[1], *offsets)
        thin = high - low > _READ_THROUGH * (len(self.offsets) + len(offsets))
        if self.frames and (size > budget_bytes or thin):
            return False
        self.frames.append(frame)
        self.offsets += offsets
        self._bytes, self._span = size, (low, high)
        return True


@dataclass(slots=True, eq=False)
class _Stream:
    key: StreamKey
    next: int = _ANY  # the sequence that is waited for
    begun: bool = False  # whether a frame of the run is known to be out
    frames: dict[int, OpenFrame] = field(default_factory=dict)

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
        self._frame_bytes = 0
        self._end = 0  # the offset after the last record taken
        self.open_frames = 0

    def resume(self, camera: str, run: str, *, last_sequence: int) -> None:
        """Note that events up to `last_sequence` are out already (read back from the events topic)."""
        stream = self._stream((camera, run))
        following = last_sequence + 1
        stream.next, stream.begun = max(stream.next, following) if stream.begun else following, True

    def knows(self, camera: str, run: str) -> bool:
        """Whether a run is remembered, with or without open frames."""
        return (camera, run) in self._streams

    def add(self, features: Features, *, size_bytes: int, offset: int, now_s: float) -> TileOutcome | None:
        """Take one tile's features; offsets ascend.

        Args:
            features: Decoded and judged by `wire.decode_features`.
            size_bytes: Of the encoded record, for the cap.
            offset: In the features partition.
            now_s: Monotonic.

        Returns:
            What became of the tile if that is settled now (`duplicate`, `late`, and `deadlettered` for one that takes
            the place of its refusal); None if its frame will tell.
        """
        tile, self._end = features.tile, offset + 1
        stream = self._stream((tile.camera, tile.run))
        stream.sent_from(min(tile.first, tile.sequence))
        if tile.sequence < stream.next:
            return "late" if tile.index in self._gaps.get(tile.key, ()) else "duplicate"
        frame = stream.frames.get(tile.sequence)
        if frame is None:
            frame = self._open(stream, features, offset=offset, now_s=now_s)
        if frame.verdict is not None:
            return "late" if frame.lacks_tile(tile.index) else "duplicate"
        frame.arrived_s = now_s
        before = frame.bytes
        outcome = frame.take(features, size_bytes=size_bytes, offset=offset, limits=self._limits)
        self._frame_bytes += frame.bytes - before
        return outcome

    def finish(self, now_s: float) -> list[ClosedFrame]:
        """Frames that are done by now, in order of sequence within each run; each leaves once.

        Those whose results are set aside stay, and so do the ones behind them, until `put_back`.
        """
        done: list[ClosedFrame] = []
        for stream in list(self._active.values()):
            done += self._release(stream, now_s)
        if self.open_bytes > self._limits.max_bytes:
            self.set_aside(self.open_bytes - self._limits.max_bytes * 3 // 4)
        while self._holds_too_much() and not self._ready():
            done += self._evict(now_s)
        self._forget_idle_streams()
        return done

    # --- results set aside -------------------------------------------------------------------------------------

    def set_aside(self, bytes_wanted: int) -> int:
        """Forget results until so many bytes are free, of the frames that came last first; returns how many are."""
        freed = 0
        if bytes_wanted > 0:
            loose = (frame for frame in self._held() if frame.loose_bytes)
            for frame in sorted(loose, key=lambda frame: frame.first_offset, reverse=True):
                freed += frame.loose_bytes
                frame.set_aside()
                if freed >= bytes_wanted:
                    break
        self._frame_bytes -= freed
        return freed

    def lacking(self, budget_bytes: int) -> Piece | None:
        """Results to read again now; None while no frame could leave with them.

        Those of frames that could leave come first, then those of frames behind them, as far as the budget goes and as
        long as they lie close together; all of one frame at least.
        """
        ready, piece = self._ready(), Piece()
        budget_bytes = min(budget_bytes, self._limits.max_bytes - self.open_bytes)
        for frame in [*ready, *self._behind(ready)]:
            if not piece.takes(frame, budget_bytes):
                break
        return piece if piece.frames else None

    def put_back(self, piece: Piece, found: Mapping[int, Features]) -> None:
        """Take what was read again, by offset; what the piece names and is not there is no longer kept."""
        for frame in piece.frames:
            before = frame.bytes
            frame.put_back(found, self._limits)
            self._frame_bytes += frame.bytes - before

    def _ready(self) -> list[OpenFrame]:
        """Frames that could leave, were their results not set aside, the first in the log first."""
        heads = [stream.frames.get(stream.next) for stream in self._active.values()]
        ready = [frame for frame in heads if frame is not None and frame.waits_for_results]
        return sorted(ready, key=lambda frame: frame.first_offset)

    def _behind(self, ready: list[OpenFrame]) -> list[OpenFrame]:
        """What follows frames in their runs: these leave next, those of other runs may wait for long."""
        behind = [
            frame
            for head in ready
            for frame in self._streams[head.header.camera, head.header.run].frames.values()
            if frame is not head
        ]
        return sorted(behind, key=lambda frame: frame.first_offset)

    # --- what is held ------------------------------------------------------------------------------------------

    def evict_oldest(self, now_s: float) -> list[ClosedFrame]:
        """Let the frame go that has waited longest, to make room; nothing if none is held.

        The frames behind it may be `lacking` then.
        """
        return list(self._evict(now_s)) if self._active else []

    @property
    def streams_known(self) -> int:
        """Runs remembered, with or without open frames."""
        return len(self._streams)

    @property
    def open_bytes(self) -> int:
        """Held for frames that are open, and for records that cannot be acknowledged because of them."""
        needed = self.needed_offset()
        return 0 if needed is None else self._frame_bytes + RECORD_BYTES * (self._end - needed)

    def needed_offset(self) -> int | None:
        """The lowest offset a frame still held came from; what lies below may be committed. None: nothing is held."""
        firsts = (next(iter(stream.frames.values())) for stream in self._active.values())  # the one that came first
        return min((frame.first_offset for frame in firsts), default=None)

    def _holds_too_much(self) -> bool:
        return self.open_frames > self._limits.max_frames or self.open_bytes > self._limits.max_bytes

    def _held(self) -> Iterator[OpenFrame]:
        return (frame for stream in self._active.values() for frame in stream.frames.values())

    # --- one tile ----------------------------------------------------------------------------------------------

    def _stream(self, key: StreamKey) -> _Stream:
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(key)
        return stream

    def _open(self, stream: _Stream, features: Features, *, offset: int, now_s: float) -> OpenFrame:
        frame = OpenFrame(
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

    # --- done frames -------------------------------------------------------------------------------------------

    def _release(self, stream: _Stream, now_s: float) -> Iterator[ClosedFrame]:
        for held in stream.frames.values():
            if held.deadline_s > now_s:
                break  # those behind it came later
            if held.verdict is None:
                self._give_up(held, reason="deadline")
        while stream.frames:
            frame = stream.frames.get(stream.next)
            if frame is None:
                first = min(stream.frames)
                if now_s < stream.frames[first].deadline_s:
                    return
                yield from self._pass_hole(stream, first)
            elif frame.verdict is None or frame.waits_for_results:
                return
            else:
                yield self._leave(stream, frame)

    def _give_up(self, frame: OpenFrame, *, reason: str) -> None:
        before = frame.bytes
        frame.give_up(self._limits, reason=reason)
        self._frame_bytes += frame.bytes - before

    def _pass_hole(self, stream: _Stream, first: int) -> Iterator[ClosedFrame]:
        """A hole before frame `first` was waited for long enough: its frames end expired, told by their successor.

        A run that is seen from its middle on (a log cut by retention) has no hole before its first frame.
        """
        if stream.begun:
            after = stream.frames[first]
            for sequence in range(max(stream.next, first - self._limits.max_frames), first):
                yield never_seen(after, sequence)
        stream.next, stream.begun = first, True

    def _leave(self, stream: _Stream, frame: OpenFrame) -> ClosedFrame:
        closed = frame.closed()
        del stream.frames[closed.header.sequence]
        if not stream.frames:
            del self._active[stream.key]
        stream.next, stream.begun = closed.header.sequence + 1, True
        self.open_frames -= 1
        self._frame_bytes -= frame.bytes
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
            yield from self._pass_hole(stream, first)
        oldest = stream.frames[first]
        if oldest.verdict is None:
            self._give_up(oldest, reason="evicted")
        yield from self._release(stream, now_s)

    def _forget_idle_streams(self) -> None:
        excess = len(self._streams) - _REMEMBERED_STREAMS
        if excess > 0:
            idle = [key for key, stream in self._streams.items() if not stream.frames][:excess]
            for key in idle:
                del self._streams[key]
