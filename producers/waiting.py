"""Frames that were read and wait for their number, and which of them is let go when there is no room.

A number, once given, must reach the log: the aggregator would wait for a hole. So a frame that waits here has none;
it may still be dropped. Values in, values out; `readahead.py` puts threads around it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from streamproc.errors import UsageError
from streamproc.model import Frame

DropPolicy: TypeAlias = Literal["block", "drop-oldest", "drop-newest", "keyframe-only"]
"""What happens to frames that find no room: reading waits, the oldest unnumbered goes, or the one just read; or, from
the first that finds none until all that wait were called, every frame goes that is no key frame, and the oldest for a
key frame."""

DROP_POLICIES: tuple[DropPolicy, ...] = get_args(DropPolicy)
_OVERHEAD_BYTES = 1024  # of a frame beside its pixels, so that tiny frames are bounded too


def parse_drop(text: str) -> DropPolicy:
    """A policy by name.

    Raises:
        UsageError: Another name.
    """
    for policy in DROP_POLICIES:
        if text == policy:
            return policy
    raise UsageError(f"--drop {text!r}: use one of {', '.join(DROP_POLICIES)}")


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What became of a frame that was offered, and of others on its account.

    Attributes:
        taken: It waits now.
        dropped: Let go, oldest first; may be the frame itself. Empty under `block`: offer it again later.
    """

    taken: bool
    dropped: tuple[Frame, ...] = ()


class WaitingRoom:
    """Frames in the order they were read, bounded in bytes together with the records that wait to be sent.

    The bound holds for `held_bytes` + the queue at each moment a frame is taken, except that a frame is always
    taken when no other is held: one larger than the room goes alone.

    Args:
        policy: For frames that find no room.
        bound_bytes: Pixels held and records queued.
        most_frames: Held at most; None bounds by bytes alone.

    Attributes:
        held_frames, held_bytes: Waiting, and called but not yet handed over.
    """

    def __init__(self, policy: DropPolicy, *, bound_bytes: int, most_frames: int | None = None) -> None:
        self._policy = policy
        self._bound_bytes = bound_bytes
        self._most_frames = most_frames
        self._waiting: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._pressed = False  # under keyframe-only: a frame found no room, and some still wait
        self.held_frames = 0
        self.held_bytes = 0

    def offer(self, frame: Frame, *, queued_bytes: int) -> Offer:
        """Take a frame, make room for it, or let it go; `queued_bytes` wait to be sent elsewhere."""
        if self._policy == "keyframe-only" and self._is_pressed(frame, queued_bytes) and not frame.keyframe:
            return Offer(taken=False, dropped=(frame,))
        dropped: list[Frame] = []
        if self._policy in ("drop-oldest", "keyframe-only") and self._would_fit(frame, queued_bytes):
            while not self._fits(frame, queued_bytes, self.held_frames, self.held_bytes):
                dropped.append(self._next())
                self.leave(cost(dropped[-1]))
        if self._fits(frame, queued_bytes, self.held_frames, self.held_bytes):
            self._waiting.append(frame)
            self._waiting_bytes += cost(frame)
            self.held_frames += 1
            self.held_bytes += cost(frame)
            return Offer(taken=True, dropped=tuple(dropped))
        return Offer(taken=False, dropped=() if self._policy == "block" else (frame,))

    def call(self) -> Frame | None:
        """The frame that waits longest, from now on past dropping; it is held until `leave`."""
        return self._next() if self._waiting else None

    def shrink(self, size: int) -> None:
        """So many bytes of called frames count elsewhere from now on."""
        self.held_bytes -= size

    def leave(self, size: int) -> None:
        """A called frame is gone; `size` is what it still counted for."""
        self.held_frames -= 1
        self.held_bytes -= size

    def clear(self) -> tuple[Frame, ...]:
        """Let all that wait go, in order."""
        gone = tuple(self._next() for _ in range(len(self._waiting)))
        for frame in gone:
            self.leave(cost(frame))
        return gone

    def pressure(self, *, queued_bytes: int) -> float:
        """How full it is, 0..1; 0 under `block`, where reading waits and nothing need be let go."""
        if self._policy == "block":
            return 0.0
        return min(1.0, (self.held_bytes + queued_bytes) / self._bound_bytes)

    @property
    def waits(self) -> bool:
        """Some frame waits to be called."""
        return bool(self._waiting)

    def rebound(self, bound_bytes: int) -> None:
        """Take another bound from now on; what waits stays."""
        self._bound_bytes = bound_bytes

    def _is_pressed(self, frame: Frame, queued_bytes: int) -> bool:
        fits = self._fits(frame, queued_bytes, self.held_frames, self.held_bytes)
        self._pressed = not fits or (self._pressed and self.waits)
        return self._pressed

    def _next(self) -> Frame:
        frame = self._waiting.popleft()
        self._waiting_bytes -= cost(frame)
        return frame

    def _would_fit(self, frame: Frame, queued_bytes: int) -> bool:
        """Whether it fits once all that wait were gone."""
        called_frames = self.held_frames - len(self._waiting)
        return self._fits(frame, queued_bytes, called_frames, self.held_bytes - self._waiting_bytes)

    def _fits(self, frame: Frame, queued_bytes: int, held_frames: int, held_bytes: int) -> bool:
        if held_frames == 0:
            return True
        if self._most_frames is not None and held_frames >= self._most_frames:
            return False
        return held_bytes + queued_bytes + cost(frame) <= self._bound_bytes


def cost(frame: Frame) -> int:
    """Bytes that a frame counts for."""
    return frame.pixels.nbytes + _OVERHEAD_BYTES
