"""Where records of a span of time stand in a log or an archive, as far as their timestamps tell.

A record's timestamp is its producer's clock when it was sent, and clocks are set. A log is asked for the first record
of a time or later, which is right for the beginning of a span: what stands before it is earlier. For the end it is not:
one record whose producer was an hour ahead stands where an hour later ones are looked for. So the place is looked at.
"""

from __future__ import annotations

from producers.replay_frames import FRAME_MS
from producers.replay_order import Ranges, first_moments
from streamproc.records import RecordSource

_LOOK = 4  # records behind a place that are looked at, and the one before it
_SAMPLES = 16  # single records, where those are far apart in time


def everything(source: RecordSource) -> dict[int, tuple[int, int]]:
    """All that a source holds now."""
    return {number: source.bounds(number) for number in source.partitions()}


def around(source: RecordSource, *, since_ms: int | None, until_ms: int | None) -> dict[int, tuple[int, int]]:
    """Where records of a span of record time stand; None has no bound on that side."""
    held = everything(source)
    ends = {number: high for number, (_, high) in held.items()}
    if until_ms is not None:
        ends = _ends(source, held, until_ms=max(0, until_ms))
    ranges = {}
    for number, (low, _) in held.items():
        first = low if since_ms is None else max(low, source.offset_at(number, since_ms=max(0, since_ms)))
        ranges[number] = (first, max(first, ends[number]))
    return ranges


def around_captures(
    source: RecordSource, *, from_ns: int | None, to_ns: int | None, slack_s: float
) -> dict[int, tuple[int, int]]:
    """Where frames of a span of capture time are looked for.

    Args:
        source: Of the records.
        from_ns: First capture time.
        to_ns: The one after the last.
        slack_s: Longest time between a frame's capture time and its record's timestamp, either way.
    """
    slack_ms = int(slack_s * 1000)
    return around(
        source,
        since_ms=None if from_ns is None else from_ns // 10**6 - slack_ms,
        until_ms=None if to_ns is None else to_ns // 10**6 + slack_ms,
    )


def begins_ms(source: RecordSource, *, from_ns: int | None, slack_s: float) -> int | None:
    """When a source begins, as record time in milliseconds, if frames of a span may have stood before it.

    Partitions of which something was removed say so; where nothing was, the first record of all does.

    Args:
        source: Of the records.
        from_ns: Where the span begins; None is wherever the source does.
        slack_s: As for `around_captures`; frames are sent that long after they were captured.
    """
    if from_ns is None:
        return None
    held = {number: span for number, span in everything(source).items() if span[0] < span[1]}
    firsts = first_moments(source, held)
    cut = [moment for number, moment in firsts.items() if held[number][0] > 0]
    if cut:
        return max(cut) if max(cut) > from_ns // 10**6 else None
    begun = min(firsts.values(), default=None)
    return None if begun is None or begun - slack_s * 1000 <= from_ns // 10**6 else begun


def _ends(source: RecordSource, held: Ranges, *, until_ms: int) -> dict[int, int]:
    """By partition the offset after the last record of a time, also where later timestamps stand before earlier ones.

    Where timestamps next to the place are far apart, some clock was set, or nothing came for a while. Then the end is
    looked for as much later, if any of a few records up to there is of the time that is asked for.
    """
    ends = {number: source.offset_at(number, since_ms=until_ms + 1) for number in held}
    near = {n: (max(low, ends[n] - 1), min(high, ends[n] + _LOOK)) for n, (low, high) in held.items() if ends[n] < high}
    times: dict[int, list[int]] = {number: [] for number in near}
    early = set()  # partitions with records of the time behind the place
    for record in source.read(near):
        times[record.partition].append(record.timestamp_ms)
        if record.offset > ends[record.partition] and record.timestamp_ms <= until_ms:
            early.add(record.partition)
    later = {}
    for number, seen in times.items():
        apart_ms = max(seen, default=0) - min(seen, default=0)
        if number in early or apart_ms > FRAME_MS:
            later[number] = min(held[number][1], source.offset_at(number, since_ms=until_ms + apart_ms + 1))
    for step in range(_SAMPLES):
        asked = {n: ends[n] + (end - ends[n]) * step // _SAMPLES for n, end in later.items() if n not in early}
        found = source.read({number: (offset, offset + 1) for number, offset in asked.items()})
        early |= {record.partition for record in found if record.timestamp_ms <= until_ms}
    return ends | {number: end for number, end in later.items() if number in early}
