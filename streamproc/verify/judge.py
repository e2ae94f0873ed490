"""The judgement: a ledger and what was read from the log, folded into a verdict. Pure; memory goes with frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import xxhash

from streamproc import cloudevents
from streamproc.deadletters import Letter
from streamproc.errors import BadMessage
from streamproc.ledger import Ledger
from streamproc.model import FrameEvent, FrameKey
from streamproc.reader import Record
from streamproc.topics import camera_partition
from streamproc.verify.counters import Compared
from streamproc.verify.pixels import PixelReport
from streamproc.verify.verdict import Findings, Verdict

_WORKING = {"emitted_ns": 0, "latency_ms": {}}  # differ each time an event is worked out


class SeenEvent(NamedTuple):
    """One record of the events topic.

    Attributes:
        key: The frame that its headers name.
        event_id: Its `ce_id`.
        outcome: What it says became of the frame; None if it cannot be read.
        content: Digest of what it says, without the times of working it out and the offsets of tiles.
        missing: Tiles it counts as missing.
        problem: Why it cannot be this frame's event; None if all fits.
    """

    partition: int
    key: FrameKey
    event_id: str
    outcome: str | None
    content: bytes
    missing: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStart:
    """How far back the events topic reaches: its partitions, and the first offset of those that were cut."""

    partitions: int = 1
    cut: Mapping[int, int] = field(default_factory=dict)


def see_event(record: Record) -> SeenEvent | None:
    """Read a record of the events topic; None if it is no frame event."""
    key = cloudevents.event_key(record.headers)
    if key is None:
        return None
    event_id = dict(record.headers).get("ce_id", b"").decode(errors="replace")
    try:
        event = cloudevents.decode_frame_event(record.value)
    except BadMessage as bad:
        return SeenEvent(record.partition, key, event_id, None, xxhash.xxh3_64_digest(record.value), 0, bad.detail)
    problem = None
    if event.key != key:
        told = event.key
        problem = f"its headers name this frame, its data {told.camera}/{told.run}/{told.sequence}"
    elif event_id != cloudevents.event_id(key, pipeline=event.evidence.pipeline):
        problem = f"its id {event_id[:64]!r} is not that of this frame and pipeline"
    content = _content(event)
    return SeenEvent(record.partition, key, event_id, event.outcome, content, len(event.missing_tiles), problem)


def _content(event: FrameEvent) -> bytes:
    evidence = msgspec.structs.replace(event.evidence, offsets={})
    said: Any = msgspec.structs.replace(event, evidence=evidence, **_WORKING)
    return xxhash.xxh3_64_digest(msgspec.json.encode(said))


class _First(NamedTuple):
    event_id: str
    outcome: str | None
    content: bytes


class EventJudge:
    """Events one after another, in the order of their partition.

    Attributes:
        lost_so_far: Acknowledged frames that have no event yet.
        by_camera: Events of the ledger's cameras by camera and outcome, of all runs, repeats included.
        merged_tiles: Tiles that the events of the ledger's frames were made of.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._runs = ledger.runs
        self._cameras = {camera for camera, _ in self._runs}
        self._first: dict[FrameKey, _First] = {}
        self._last: dict[tuple[str, str], tuple[int, int]] = {}
        self._lowest: dict[tuple[str, str], int] = {}
        self.findings = Findings()
        self.by_camera: Counter[tuple[str, str]] = Counter()
        self.merged_tiles = 0
        self.events = 0
        self.other_events = 0
        self.lost_so_far = sum(frame.status == "acked" for frame in ledger.frames.values())

    def add(self, event: SeenEvent) -> None:
        """Take the next event."""
        key = event.key
        run = (key.camera, key.run)
        if key.camera in self._cameras:
            self.by_camera[key.camera, event.outcome or "unreadable"] += 1
        if run not in self._runs:
            self.other_events += 1
            return
        self.events += 1
        if event.problem is not None:
            self.findings.add("damaged", key, event.problem)
        first = self._first.get(key)
        if first is not None:
            self._repeated(event, first)
            return
        self._first[key] = _First(event.event_id, event.outcome, event.content)
        self._in_order(event, run)
        frame = self._ledger.frames.get(key)
        if frame is None:
            self.findings.add("foreign", key, "it has an event; the ledger has the run, but not this frame")
            return
        if event.outcome in {"complete", "partial"}:
            self.merged_tiles += max(0, frame.line.tiles - event.missing)
        self.lost_so_far -= frame.status == "acked"

    def _repeated(self, event: SeenEvent, first: _First) -> None:
        if event.event_id != first.event_id:
            told = f"a second event under another id (another pipeline): {first.outcome}, then {event.outcome}"
            self.findings.add("differing", event.key, told)
        elif event.content != first.content:
            told = f"a second event of the same id that says something else: {first.outcome}, then {event.outcome}"
            self.findings.add("differing", event.key, told)
        else:
            self.findings.add("twice", event.key, f"a second event, equal to the first ({event.outcome})")

    def _in_order(self, event: SeenEvent, run: tuple[str, str]) -> None:
        sequence = event.key.sequence
        partition, highest = self._last.get(run, (event.partition, -1))
        if partition != event.partition:
            told = f"its event stands in partition {event.partition}, those before it in {partition}: no order"
            self.findings.add("disorder", event.key, told)
        elif sequence < highest:
            self.findings.add("disorder", event.key, f"its event stands behind that of sequence {highest}")
        self._last[run] = (partition, max(highest, sequence))
        self._lowest[run] = min(self._lowest.get(run, sequence), sequence)

    def outcomes(self) -> dict[str, int]:
        """What the first events say of the ledger's frames."""
        return dict(Counter(first.outcome or "unreadable" for key, first in self._first.items() if self._knows(key)))

    def unproven(self) -> dict[str, int]:
        """Frames that were not acknowledged, with and without an event."""
        found = Counter(
            "with event" if key in self._first else "without event"
            for key, frame in self._ledger.frames.items()
            if frame.status != "acked"
        )
        return {"with event": found["with event"], "without event": found["without event"]}

    def lost(self, start: LogStart) -> tuple[list[FrameKey], Counter[int]]:
        """Acknowledged frames without an event; and how many may have had theirs before the log's begin, by partition.

        Events of a run are in order, so only those ahead of the first that is left can have been deleted.
        """
        lost: list[FrameKey] = []
        cut: Counter[int] = Counter()
        for key, frame in self._ledger.frames.items():
            if frame.status != "acked" or key in self._first:
                continue
            partition = camera_partition(key.camera, start.partitions)
            lowest = self._lowest.get((key.camera, key.run))
            if partition in start.cut and (lowest is None or key.sequence < lowest):
                cut[partition] += 1
            else:
                lost.append(key)
        return lost, cut

    def _knows(self, key: FrameKey) -> bool:
        return key in self._ledger.frames


class LetterCount:
    """Dead letters by reason: those of the ledger's runs apart from the others."""

    def __init__(self, ledger: Ledger) -> None:
        self._runs = ledger.runs
        self.ours: Counter[str] = Counter()
        self.others = 0
        self.by_stage: Counter[tuple[str, str]] = Counter()

    def add(self, letter: Letter) -> None:
        """Take one."""
        self.by_stage[letter.stage, letter.reason] += 1
        if letter.tile is not None and (letter.tile.camera, letter.tile.run) in self._runs:
            self.ours[letter.reason] += 1
        else:
            self.others += 1


def judge(
    ledger: Ledger,
    *,
    events: Iterable[SeenEvent],
    letters: Iterable[Letter] = (),
    pixels: PixelReport | None = None,
    start: LogStart | None = None,
) -> Verdict:
    """Judge what was read from the log.

    Args:
        ledger: What the producers noted.
        events: Of the events topic, in log order within each partition.
        letters: Of the dead letters topic.
        pixels: What became of the pixels; None if nobody looked.
        start: How far back the events topic reaches; None: to its first record.
    """
    seen, counted = EventJudge(ledger), LetterCount(ledger)
    for event in events:
        seen.add(event)
    for letter in letters:
        counted.add(letter)
    return conclude(ledger, seen, counted, pixels=pixels, start=start or LogStart())


def conclude(
    ledger: Ledger,
    seen: EventJudge,
    counted: LetterCount,
    *,
    pixels: PixelReport | None,
    start: LogStart,
    compared: Compared | None = None,
) -> Verdict:
    """The verdict, when all was read.

    Args:
        ledger: What the producers noted.
        seen: All events.
        counted: All dead letters.
        pixels: What became of the pixels; None if nobody looked.
        start: How far back the events topic reaches.
        compared: Counters of processes with what was read; None if nobody asked.
    """
    findings = Findings(Counter(seen.findings.counts), list(seen.findings.kept))
    lost, cut_events = seen.lost(start)
    for key in lost:
        findings.add("lost", key, "all its tiles were acknowledged, and it has no event")
    cut = [
        f"partition {number} of the events begins at offset {start.cut[number]}, what stood before was deleted"
        f" (retention): {count} frames without an event may have had theirs there"
        for number, count in sorted(cut_events.items())
    ]
    if pixels is not None:
        for key, told in pixels.wrong:
            findings.add("pixels", key, told)
        for key in pixels.foreign:
            findings.add("foreign", key, "it has tiles; the ledger has the run, but not this frame")
        cut += pixels.cut
    for told in compared.differences if compared else ():
        findings.add("counters", None, told)
    return Verdict(
        frames=ledger.counts(),
        events=seen.events,
        other_events=seen.other_events,
        outcomes=seen.outcomes(),
        unproven=seen.unproven(),
        deadletters=dict(counted.ours),
        other_deadletters=counted.others,
        pixels_checked=None if pixels is None else pixels.checked,
        pixels_unchecked=0 if pixels is None else pixels.unchecked,
        counts=dict(findings.counts),
        findings=tuple(findings.kept),
        cut=tuple(cut),
        compared=compared is not None,
        notes=tuple(compared.notes) if compared else (),
    )
