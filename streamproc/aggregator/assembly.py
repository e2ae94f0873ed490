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

__all__ = ["Assembler", "ClosedFrame", "Limits", "TileOutcome"]

StreamKey: TypeAlias = tuple[str, str]
"""Camera and run."""

_ANY = 2**63  # above all sequences
_REMEMBERED_GAPS = 1024  # closed frames whose missing tiles are still told apart from repeats
_REMEMBERED_STREAMS = 4096  # runs without an open frame, so that a re-read frame is known to be out


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
        self._asked: list[OpenFrame] = []  # by `lacking`, for `put_back`
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
        if frame.verdict is not None:
            return "late" if frame.lacks_tile(tile.index) else "duplicate"
        frame.first_offset, frame.arrived_s = min(frame.first_offset, offset), now_s
        before = frame.bytes
        outcome = frame.take(features, size_bytes=size_bytes, offset=offset, limits=self._limits)
        self.open_bytes += frame.bytes - before
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
            for frame in sorted(self._held(), key=lambda frame: frame.first_offset, reverse=True):
                freed += frame.bytes
                frame.set_aside()
                freed -= frame.bytes
                if freed >= bytes_wanted:
                    break
        self.open_bytes -= freed
        return freed

    def lacking(self, budget_bytes: int) -> list[int]:
        """Offsets of results to read again now; none while no frame could leave with them.

        Those of frames that could leave come first, then those of the frames that came before others, as far as the
        budget goes; all of one frame at least.
        """
        ready = {id(frame) for frame in self._ready()}
        self._asked = []
        offsets: list[int] = []
        if ready:
            for frame in sorted(self._held(), key=lambda frame: (id(frame) not in ready, frame.first_offset)):
                found = list(frame.aside())
                budget_bytes -= sum(size for _, size in found)
                if budget_bytes < 0 and self._asked:
                    break
                if found:
                    self._asked.append(frame)
                    offsets += [offset for offset, _ in found]
        return sorted(offsets)

    def _ready(self) -> list[OpenFrame]:
        """Frames that could leave, were their results not set aside."""
        heads = [stream.frames.get(stream.next) for stream in self._active.values()]
        return [frame for frame in heads if frame is not None and frame.waits_for_results]

    def put_back(self, found: Mapping[int, Features]) -> None:
        """Take what was read again, by offset; what `lacking` named and is not there is no longer kept."""
        for frame in self._asked:
            before = frame.bytes
            frame.put_back(found, self._limits)
            self.open_bytes += frame.bytes - before
        self._asked = []

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

    def needed_offset(self) -> int | None:
        """The lowest offset a frame still held came from; what lies below may be committed. None: nothing is held."""
        return min((frame.first_offset for frame in self._held()), default=None)

    def next_deadline_s(self) -> float | None:
        """When `finish` has something to do even if no tile comes; None if nothing is held."""
        return min((frame.deadline_s for frame in self._held()), default=None)

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
        self.open_bytes += frame.bytes - before

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
