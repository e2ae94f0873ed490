"""One frame on its way: which of its tiles are here, whether they fit each other, what becomes of it; no pixels.

The results of a tile may be *set aside*: forgotten until the frame is done, because the log still has them. What stays
is the tile's header and the offset its results are read again from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, TypeAlias

from msgspec.structs import replace as replace_struct

from streamproc.model import Features, FrameKey, Outcome, TileHeader

TileOutcome = Literal["merged", "duplicate", "late", "rejected", "deadlettered"]
Span: TypeAlias = tuple[int, int]
"""First pixel and the one after the last."""

OVERHEAD_BYTES = 2048
"""Held for each tile beside its results, whatever they are."""

_WORTH_BYTES = 1024  # smaller results stay: setting them aside would gain nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one assembler.

    Attributes:
        deadline_s: Longest wait for the tiles of a frame, from its first tile on.
        min_coverage: Share of tiles below which an unfinished frame ends expired instead of partial.
        max_frames: Frames held at once.
        max_bytes: Held at once: encoded features, `OVERHEAD_BYTES` for each tile, set aside or not, and
            `RECORD_BYTES` for each record that cannot be acknowledged yet.
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
        missing = _places(range(self.header.tile_count), self.header)
        return replace(self, outcome="rejected", parts=(), missing=missing, tiles=tiles, reason=reason)


@dataclass(slots=True, eq=False)
class _Part:
    features: Features
    size: int  # of the encoded results
    offset: int
    aside: bool = False

    @property
    def is_loose(self) -> bool:
        return not self.aside and self.size >= _WORTH_BYTES and self.features.refusal is None


@dataclass(frozen=True, slots=True)
class _Verdict:
    outcome: Outcome
    reason: str | None

    @property
    def merges(self) -> bool:
        return self.outcome in {"complete", "partial"}


@dataclass(slots=True, kw_only=True, eq=False)
class OpenFrame:
    """A frame from its first tile until it leaves; `verdict` is what becomes of it once that is known.

    Attributes:
        first_offset: Of the record that is needed for it and stands lowest.
        deadline_s: When it is given up.
        arrived_s: When its last tile came.
        bytes: Held for it.
        loose_bytes: Of these, what setting aside would free.
    """

    header: TileHeader
    pipeline: str
    first_offset: int
    deadline_s: float
    arrived_s: float
    bytes: int = 0
    loose_bytes: int = 0
    verdict: _Verdict | None = None
    _parts: dict[int, _Part] = field(default_factory=dict)
    _whole_bytes: int = 0  # held for it once nothing of it is set aside
    _gone: set[int] = field(default_factory=set)  # tiles whose results the log no longer has
    _row_spans: dict[int, Span] = field(default_factory=dict)
    _col_spans: dict[int, Span] = field(default_factory=dict)
    _extra: Counter[TileOutcome] = field(default_factory=Counter)  # tiles that are not among the parts

    def take(self, features: Features, *, size_bytes: int, offset: int, limits: Limits) -> TileOutcome | None:
        """One more tile; what became of it if that is settled now, None if the frame will tell."""
        index = features.tile.index
        known = self._parts.get(index)
        if known is not None and known.features.tile.payload_digest == features.tile.payload_digest:
            if known.features.refusal is None or features.refusal is not None:
                return "duplicate"
            self._put(_Part(features, size_bytes, offset))  # a redriven tile takes the place of its refusal
            return "deadlettered"
        conflict = self._conflict(features, known)
        if conflict is not None:
            self._extra["rejected"] += 1
            self._end("rejected", conflict)
            return None
        self._put(_Part(features, size_bytes, offset))
        self._gone.discard(index)
        if len(self._parts) + len(self._gone) == self.header.tile_count:
            self._end_full(limits)
        elif self._whole_bytes > limits.max_bytes:
            self.give_up(limits, reason="evicted")  # it could never be put together
        return None

    def lacks_tile(self, index: int) -> bool:
        """Whether a tile has no part in the frame as it was judged."""
        return index in self._missing()

    def give_up(self, limits: Limits, *, reason: str) -> None:
        """Judge it as it is, although tiles are missing; those that are `_gone` are told before another reason."""
        if self._gone and reason != "evicted":
            reason = "retention"
        parts = [part.features for part in self._parts.values()]
        good = sum(part.refusal is None for part in parts)
        refused = len(parts) - good
        told = f"{reason}: {good} of {self.header.tile_count} tiles"
        if refused and good == 0:
            self._end("rejected", told)
        elif reason != "evicted" and good and good / self.header.tile_count >= limits.min_coverage:
            self._end("partial", told)
        else:
            self._end("rejected" if refused else "expired", told)

    def closed(self) -> ClosedFrame:
        """What it came to; only once there is a verdict and nothing that counts is set aside."""
        assert self.verdict is not None  # noqa: S101 - only judged frames leave
        merges = self.verdict.merges
        parts = tuple(self._parts[index].features for index in sorted(self._parts))
        kept = tuple(part for part in parts if part.refusal is None)
        tiles = Counter(self._extra)
        tiles["merged" if merges else "rejected"] += len(kept)
        tiles["deadlettered"] += len(parts) - len(kept)
        return ClosedFrame(
            header=self.header,
            outcome=self.verdict.outcome,
            parts=kept if merges else (),
            missing=_places(sorted(self._missing()), self.header),
            tiles=+tiles,
            reason=self.verdict.reason,
            arrived_s=self.arrived_s,
            pipeline=self.pipeline,
            evidence=parts,
        )

    # --- results set aside -------------------------------------------------------------------------------------

    def set_aside(self) -> None:
        """Forget the results of its tiles for now; `aside` tells where they are."""
        if not self.loose_bytes:
            return
        for part in self._parts.values():
            if part.is_loose:
                part.features = replace_struct(part.features, results={}, thumbnail=b"")
                part.aside = True
        self.bytes -= self.loose_bytes
        self.loose_bytes = 0

    @property
    def waits_for_results(self) -> bool:
        """Whether it is judged and could leave, were its results not set aside."""
        return self.verdict is not None and self.verdict.merges and any(part.aside for part in self._parts.values())

    def aside(self) -> Iterator[tuple[int, int]]:
        """Offset and size of the results that are to be read again before it leaves."""
        if self.verdict is None or self.verdict.merges:
            yield from ((part.offset, part.size) for part in self._parts.values() if part.aside)

    def put_back(self, found: Mapping[int, Features], limits: Limits) -> None:
        """Take the results that were read again, by offset; those that are not among them are no longer kept."""
        for index, part in [one for one in self._parts.items() if one[1].aside]:
            again = found.get(part.offset)
            if again is not None and again.tile == part.features.tile:
                part.features, part.aside = again, False
                self.bytes += part.size
                self.loose_bytes += part.size
            else:
                self._drop(index)
                self._gone.add(index)
                self._extra["rejected"] += 1
        if self._gone and (self.verdict is not None or len(self._parts) + len(self._gone) == self.header.tile_count):
            self.give_up(limits, reason="retention")

    # --- judging -----------------------------------------------------------------------------------------------

    def _put(self, part: _Part) -> None:
        index = part.features.tile.index
        if index in self._parts:
            self._drop(index)
        self._parts[index] = part
        self.bytes += OVERHEAD_BYTES + part.size
        self._whole_bytes += OVERHEAD_BYTES + part.size
        self.loose_bytes += part.size if part.is_loose else 0

    def _drop(self, index: int) -> None:
        part = self._parts.pop(index)
        self.bytes -= OVERHEAD_BYTES + (0 if part.aside else part.size)
        self._whole_bytes -= OVERHEAD_BYTES + part.size
        self.loose_bytes -= part.size if part.is_loose else 0

    def _missing(self) -> set[int]:
        """Indexes of tiles that have no part in the frame as it was judged."""
        merges = self.verdict is not None and self.verdict.merges
        have = {index for index, part in self._parts.items() if merges and part.features.refusal is None}
        return set(range(self.header.tile_count)) - have

    def _conflict(self, features: Features, known: _Part | None) -> str | None:
        """Why a tile cannot belong to the frame as the others describe it."""
        have, tile = self.header, features.tile
        for what, ours, theirs in (
            ("frame digest", have.frame_digest, tile.frame_digest),
            ("frame size", (have.frame_width, have.frame_height), (tile.frame_width, tile.frame_height)),
            ("grid", (have.rows, have.cols), (tile.rows, tile.cols)),
            ("pipeline", self.pipeline, features.pipeline),
        ):
            if ours != theirs:
                return f"conflict: tile {tile.row},{tile.col} has another {what} than the tiles before it"
        if known is not None:
            return f"conflict: tile {tile.row},{tile.col} came twice with different pixels"
        core = tile.core
        if self._row_spans.setdefault(tile.row, (core.y, core.bottom)) != (core.y, core.bottom):
            return f"conflict: tile {tile.row},{tile.col} stands at another height than its row"
        if self._col_spans.setdefault(tile.col, (core.x, core.right)) != (core.x, core.right):
            return f"conflict: tile {tile.row},{tile.col} stands at another column than the tiles above it"
        return None

    def _end_full(self, limits: Limits) -> None:
        parts = [part.features for part in self._parts.values()]
        if self._gone or any(part.refusal is not None for part in parts):
            self.give_up(limits, reason="dead letters")
        elif sum(part.tile.core.area for part in parts) == self.header.frame_width * self.header.frame_height:
            self._end("complete", None)
        else:
            self._end("rejected", "conflict: the tiles do not cover the frame")

    def _end(self, outcome: Outcome, reason: str | None) -> None:
        self.verdict = _Verdict(outcome, reason)
        if self.verdict.merges and not (_apart(self._row_spans) and _apart(self._col_spans)):
            self.verdict = _Verdict("rejected", "conflict: tiles overlap")
        if not self.verdict.merges:
            self.set_aside()  # for good: they are not needed


def never_seen(after: OpenFrame, sequence: int) -> ClosedFrame:
    """A frame of which no tile came; geometry and capture time are those of the frame after it."""
    header = replace_struct(after.header, sequence=sequence)
    return ClosedFrame(
        header=header,
        outcome="expired",
        parts=(),
        missing=_places(range(header.tile_count), header),
        tiles=Counter(),
        reason="deadline: no tile came; size and capture time are those of the next frame",
        arrived_s=after.arrived_s,
        pipeline=after.pipeline,
    )


def _places(indexes: Iterable[int], header: TileHeader) -> tuple[tuple[int, int], ...]:
    """(row, col) of tiles."""
    return tuple(divmod(index, header.cols) for index in indexes)


def _apart(spans: dict[int, Span]) -> bool:
    """Whether spans follow each other without overlap, in the order of their rows or columns."""
    ordered = [spans[index] for index in sorted(spans)]
    return all(before[1] <= after[0] for before, after in pairwise(ordered))
