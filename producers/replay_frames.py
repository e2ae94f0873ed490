"""Which frames a replay has begun, which are whole, and which never were: pure, and bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from streamproc.model import FrameKey, TileHeader

FRAME_MS = 10_000  # the tiles of a frame are published within this time
REMEMBERED = 20_000  # frames, whole and not


@dataclass(slots=True, eq=False)
class OpenFrame:
    """A frame of which not all tiles were sent.

    Attributes:
        tiles: Of the whole frame.
        seen: Indexes of the tiles that were sent.
        last_ms: Moment of the latest.
    """

    captured_ns: int
    tiles: int
    last_ms: int
    seen: set[int] = field(default_factory=set)

    @property
    def missing(self) -> int:
        """Tiles that were not sent."""
        return max(0, self.tiles - len(self.seen))


class FrameBook:
    """Told of each tile that is sent.

    Attributes:
        begun, complete: Frames so far.
        duplicates: Tiles that were sent before.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[FrameKey, OpenFrame] = OrderedDict()
        self._whole: OrderedDict[FrameKey, None] = OrderedDict()
        self.begun = 0
        self.complete = 0
        self.duplicates = 0

    def knows(self, key: FrameKey) -> bool:
        """Whether a tile of this frame was sent."""
        return key in self._open or key in self._whole

    def add(self, header: TileHeader, *, moment_ms: int) -> None:
        """One tile is sent."""
        key = header.key
        if key in self._whole:
            self.duplicates += 1
            return
        frame = self._open.get(key)
        if frame is None:
            self.begun += 1
            frame = self._open[key] = OpenFrame(header.captured_ns, header.tile_count, moment_ms)
        self.duplicates += header.index in frame.seen
        frame.seen.add(header.index)
        frame.last_ms = moment_ms
        if not frame.missing:
            del self._open[key]
            self.complete += 1
            self._whole[key] = None
        while len(self._whole) > REMEMBERED:
            self._whole.popitem(last=False)
        while len(self._open) > REMEMBERED:
            self._open.popitem(last=False)

    def finishing(self, moment_ms: int) -> bool:
        """Whether a frame that was begun may still get its other tiles at a moment of the log or after it."""
        return any(moment_ms - frame.last_ms <= FRAME_MS for frame in reversed(self._open.values()))

    def incomplete(self) -> list[tuple[FrameKey, OpenFrame]]:
        """Frames that were begun and are not whole, the latest `REMEMBERED` of them, as they came."""
        return list(self._open.items())
