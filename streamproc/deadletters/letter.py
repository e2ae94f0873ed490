"""One dead letter as values: why, from where, of which frame, and whether it may go back. Pure, and never surprised.

Everything here was written by somebody else, perhaps in bad faith: each part is read by itself, what cannot be read is
None, and text is made safe to print.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from streamproc import wire
from streamproc.errors import BadMessage, UsageError
from streamproc.letterhead import PREFIX
from streamproc.model import FrameKey, TileHeader
from streamproc.reader import Record
from streamproc.topics import Topics

_DIGITS = re.compile(rb"[0-9]{1,18}")
_TEXT_CHARACTERS = 400


class Place(NamedTuple):
    """Where a letter stands in the dead letters topic; written PARTITION:OFFSET."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class Origin(NamedTuple):
    """Where a record stood when it could not be handled."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a dead letter says, without its value.

    Attributes:
        time_ms: When it was written, wall clock.
        reason, detail, stage: Why and where, safe to print; `?` if it does not say.
        origin: Where the record stood; None if it does not say.
        attempt: Times the record could not be handled, this one included.
        lineage: The same for all letters of one record, however often it was redriven or written twice by a worker
            that was killed.
        first_ms: When the record was first published, wall clock; 0 if it does not say.
        truncated_bytes: Size of the record if it was too large to be kept; None if it is whole.
        camera: As the tile header says, or the record's key; None if neither can be read.
        tile: Header of the tile; None if it cannot be read.
        size_bytes: Of the value.
    """

    place: Place
    time_ms: int
    reason: str
    detail: str
    stage: str
    origin: Origin | None
    attempt: int
    lineage: str
    first_ms: int
    truncated_bytes: int | None
    camera: str | None
    tile: TileHeader | None
    size_bytes: int

    @property
    def frame(self) -> FrameKey | None:
        """The frame it belongs to; None if its header cannot be read."""
        return self.tile.key if self.tile is not None else None

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        tile = self.tile
        return {
            "id": str(self.place),
            "time_ms": self.time_ms,
            "camera": self.camera,
            "run": tile.run if tile else None,
            "sequence": tile.sequence if tile else None,
            "tile": [tile.row, tile.col] if tile else None,
            "stage": self.stage,
            "reason": self.reason,
            "detail": self.detail,
            "attempt": self.attempt,
            "origin": self.origin._asdict() if self.origin else None,
            "bytes": self.size_bytes,
            "truncated_bytes": self.truncated_bytes,
        }


def parse_place(text: str) -> Place:
    """A letter's id.

    Raises:
        UsageError: It is not PARTITION:OFFSET.
    """
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,18})", text)
    if match is None:
        raise UsageError(f"dead letter {text!r}: an id is PARTITION:OFFSET, as streamproc deadletters list prints it")
    return Place(int(match[1]), int(match[2]))


def read_letter(record: Record) -> Letter:
    """Read a record of the dead letters topic, whatever it holds."""
    named = dict(record.headers)
    origin = _origin(named)
    place = Place(record.partition, record.offset)
    stage = plain(named.get("dl_stage", b"?"))
    tile = _tile(record, stage)
    return Letter(
        place=place,
        time_ms=record.timestamp_ms,
        reason=plain(named.get("dl_reason", b"?")),
        detail=plain(named.get("dl_detail", b"it has no headers of a dead letter"), limit=1000),
        stage=stage,
        origin=origin,
        attempt=_number(named.get("dl_attempt")) or 1,
        lineage=plain(named["dl_first"]) if "dl_first" in named else str(origin or place),
        first_ms=_number(named.get("dl_first_ms")) or 0,
        truncated_bytes=_number(named.get("dl_truncated")),
        camera=tile.camera if tile is not None else _camera_of_key(record.key),
        tile=tile,
        size_bytes=len(record.value),
    )


def plain(raw: bytes | str, *, limit: int = _TEXT_CHARACTERS) -> str:
    """Text that is safe to print on one line: what is not printable is escaped, what is long is cut."""
    text = raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw
    shown = "".join(
        one if one.isprintable() else one.encode("unicode_escape", errors="backslashreplace").decode()
        for one in text[: limit + 1]
    )
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def newer(one: Letter, other: Letter) -> Letter:
    """Of two letters of one record the one that was tried more often, and if equal the later one."""
    return max(one, other, key=lambda letter: (letter.attempt, letter.time_ms, letter.place))


def why_not(letter: Letter, *, max_attempts: int, topics: Topics, closed: Mapping[FrameKey, str]) -> str | None:
    """Why a letter's record must not go back; None if it may.

    Args:
        letter: The letter.
        max_attempts: Most times a record is tried in all.
        topics: Of the prefix; records go back to no others.
        closed: Frames whose event is out, with their outcome.
    """
    if letter.truncated_bytes is not None:
        return f"its record of {letter.truncated_bytes} bytes was too large to be kept: there is nothing to send"
    if letter.origin is None:
        return "it does not say from which topic, partition and offset it came"
    if letter.origin.topic not in (topics.tiles, topics.features):
        return f"it says it came from {letter.origin.topic}, which no worker reads: {topics.tiles}, {topics.features}"
    if letter.attempt >= max_attempts:
        return f"it was tried {letter.attempt} times; the limit is {max_attempts} (--max-attempts)"
    frame = letter.frame
    if frame is not None and frame in closed:
        return f"frame {frame.camera}/{frame.run}/{frame.sequence} has its event already ({closed[frame]}): it stays so"
    return None


def _origin(named: Mapping[str, bytes]) -> Origin | None:
    partition, offset = _number(named.get("dl_partition")), _number(named.get("dl_offset"))
    if "dl_topic" not in named or partition is None or offset is None or partition >= 2**31:
        return None
    return Origin(plain(named["dl_topic"]), partition, offset)


def _number(raw: bytes | None) -> int | None:
    return int(raw) if raw is not None and _DIGITS.fullmatch(raw) else None


def _tile(record: Record, stage: str) -> TileHeader | None:
    try:
        if stage == "assemble":
            return wire.decode_features(record.value).tile
        return wire.read_tile_header([one for one in record.headers if not one[0].startswith(PREFIX)])
    except BadMessage:
        return None


def _camera_of_key(key: bytes) -> str | None:
    """The key of tiles and features begins with the camera."""
    match = re.fullmatch(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,99})/.+", key[:1000], re.DOTALL)
    return match[1].decode() if match else None
