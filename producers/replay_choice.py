"""Which records are replayed, and where in a log or an archive they are looked for."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from producers.replay_frames import FRAME_MS
from producers.replay_order import Ranges
from producers.replay_records import is_replay
from producers.replay_span import around, everything
from streamproc.cloudevents import emitted
from streamproc.errors import BadMessage, BrokerError, UsageError
from streamproc.model import FrameKey, TileHeader
from streamproc.records import Record, RecordSource
from streamproc.wire import read_tile_header

MAX_FRAMES = 200_000
"""Most frames that can be named by offsets."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_YEAR_10000_NS = 253_402_300_800 * 10**9


@dataclass(slots=True, kw_only=True)
class Choice:
    """What a record must be to be replayed. Fields that are None (or empty) choose everything.

    A frame's tiles agree in all that is asked for here, so frames are chosen whole.

    Attributes:
        from_ns, to_ns: Capture time, nanoseconds since 1970; the second is exclusive.
        runs: Original runs.
        frames: Exactly these.
        replays: Records that were sent by a replay are chosen too. A run or frame that is named is chosen anyway.
        unreadable: Records so far without a header that can be read; they belong to no camera.
    """

    cameras: Collection[str] = ()
    runs: Collection[str] = ()
    from_ns: int | None = None
    to_ns: int | None = None
    frames: Collection[FrameKey] | None = None
    replays: bool = False
    unreadable: int = field(default=0, init=False)

    def take(self, record: Record) -> TileHeader | None:
        """The header of a record that is chosen."""
        try:
            header = read_tile_header(record.headers)
        except BadMessage:
            self.unreadable += 1
            return None
        return header if self._fits(header) and self._is_no_echo(record) else None

    def _fits(self, header: TileHeader) -> bool:
        return (
            (not self.cameras or header.camera in self.cameras)
            and (not self.runs or header.run in self.runs)
            and (self.from_ns is None or header.captured_ns >= self.from_ns)
            and (self.to_ns is None or header.captured_ns < self.to_ns)
            and (self.frames is None or header.key in self.frames)
        )

    def _is_no_echo(self, record: Record) -> bool:
        return self.replays or bool(self.runs) or self.frames is not None or not is_replay(record)


def parse_moment(text: str | None, *, now_s: float | None = None, name: str) -> int | None:
    """A point in time in nanoseconds since 1970, from ISO 8601 (UTC unless it says otherwise) or an age like 15m.

    Raises:
        UsageError: Neither, or not of the years 1970 to 9999; the message names the option.
    """
    if text is None:
        return None
    now_s = time.time() if now_s is None else now_s
    try:
        if text[-1:] in _UNITS and text[:-1].isdecimal():
            moment_ns = int((now_s - int(text[:-1]) * _UNITS[text[-1]]) * 1e9)
        else:
            moment = datetime.fromisoformat(text)
            since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, tz=UTC)
            moment_ns = ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
    except (ValueError, OverflowError):
        raise UsageError(
            f"{name} {text!r}: use a time like 2026-01-31T12:00:00 or an age like 90s, 15m, 2h, 1d"
        ) from None
    if not 0 <= moment_ns < _YEAR_10000_NS:
        raise UsageError(f"{name} {text!r} is before 1970 or after 9999: name a time between")
    return moment_ns


def parse_offsets(texts: Iterable[str]) -> dict[int, tuple[int, int]]:
    """Ranges written as PARTITION:FIRST-LAST, the last one included; as first and the one after the last.

    Raises:
        UsageError: Another form, or a partition twice.
    """
    ranges: dict[int, tuple[int, int]] = {}
    for text in texts:
        found = re.fullmatch(r"(\d{1,9}):(\d{1,18})-(\d{1,18})", text)
        number, first, last = (int(part) for part in found.groups()) if found else (0, 1, 0)
        if last < first:
            raise UsageError(f"--offsets {text!r}: write PARTITION:FIRST-LAST, as 3:1200-1450")
        if number in ranges:
            raise UsageError(f"--offsets {text!r}: partition {number} is named twice")
        ranges[number] = (first, last + 1)
    return ranges


def by_offsets(
    source: RecordSource, asked: Ranges, *, judge: Choice
) -> tuple[dict[int, tuple[int, int]], frozenset[FrameKey]]:
    """Where the frames stand of which a tile lies at given offsets, and which they are.

    Their other tiles may lie in any partition; they are looked for 10 seconds around those at the offsets.

    Args:
        source: Of the records.
        asked: First offset and the one after the last, by partition.
        judge: What else is asked of them.

    Raises:
        UsageError: No such partition, none of the tiles is there, or far too many frames.
    """
    held, ranges = everything(source), {}
    for number, (first, end) in asked.items():
        if number not in held:
            raise UsageError(f"topic {source.topic} has no partition {number}: it has {_listed(held)}")
        low, high = held[number]
        ranges[number] = (max(low, first), min(high, end))
    frames: set[FrameKey] = set()
    earliest_ms, latest_ms = 2**63, 0
    for record in source.read({number: (first, end) for number, (first, end) in ranges.items() if first < end}):
        header = judge.take(record)
        if header is not None:
            frames.add(header.key)
            earliest_ms, latest_ms = min(earliest_ms, record.timestamp_ms), max(latest_ms, record.timestamp_ms)
        if len(frames) > MAX_FRAMES:
            raise UsageError(f"--offsets name more than {MAX_FRAMES} frames: use --from and --to")
    if not frames:
        kept = ", ".join(f"{number}:{held[number][0]}-{held[number][1] - 1}" for number in asked)
        raise UsageError(f"no tile that is asked for lies at these offsets of {source.topic}; it holds {kept}")
    return around(source, since_ms=earliest_ms - FRAME_MS, until_ms=latest_ms + FRAME_MS), frozenset(frames)


def by_events(
    source: RecordSource, events: RecordSource, ids: Collection[str]
) -> tuple[dict[int, tuple[int, int]], frozenset[FrameKey]]:
    """Where the frames of events stand, as their evidence says, and which they are.

    Args:
        source: Of tiles.
        events: Of events.
        ids: Of frame events, or of events of what happened on frames.

    Raises:
        BrokerError: An event is not there, or its tiles came from another topic.
    """
    frames = _frames_of(events, ids)
    held, ranges = everything(source), dict[int, tuple[int, int]]()
    for data in frames.values():
        evidence = data["evidence"]
        if evidence["topic"] != source.topic:
            raise BrokerError(
                f"the event's tiles came from topic {evidence['topic']}, not {source.topic}: set STREAMPROC_PREFIX"
            )
        for name, (first, last) in evidence["offsets"].items():
            low, high = held.get(int(name), (0, 0))
            known = ranges.get(int(name), (first, last + 1))
            ranges[int(name)] = (max(low, min(known[0], first)), min(high, max(known[1], last + 1)))
    return ranges, frozenset(frames)


def _frames_of(events: RecordSource, ids: Collection[str]) -> dict[FrameKey, Mapping[str, Any]]:
    """The data of the frame events that are asked for; what happened on a frame stands before its frame's event."""
    wanted, keys, found = set(ids), set[FrameKey](), dict[FrameKey, Mapping[str, Any]]()
    for record in events.read(everything(events)):
        about = emitted(record.headers)
        if about is None or not (about.id in wanted or about.key in keys):
            continue
        keys.add(about.key)
        wanted.discard(about.id)
        if about.is_frame:
            found[about.key] = msgspec.json.decode(record.value)
        if not wanted and keys == found.keys():
            return found
    missing = ", ".join(sorted(wanted)) or f"the frame of {', '.join(sorted(ids))}"
    raise BrokerError(f"{missing}: no such event in {events.topic} (streamproc events lists what is there)")


def _listed(held: Ranges) -> str:
    return f"0 to {max(held)}" if held else "none"
