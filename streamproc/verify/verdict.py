"""What a verifier says: what was counted, what is wrong, and what it could not judge. Values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from streamproc.ledger import Status
from streamproc.model import FrameKey

Kind: TypeAlias = Literal["lost", "twice", "differing", "foreign", "disorder", "damaged", "pixels", "counters"]

KINDS: Mapping[Kind, str] = {
    "lost": "acknowledged frames without an event",
    "twice": "events repeated, saying the same",
    "differing": "events repeated, saying something else",
    "foreign": "frames in the log that the ledger does not know",
    "disorder": "events behind a later one of their run",
    "damaged": "events that contradict themselves or cannot be read",
    "pixels": "frames whose pixels in the log are not the ledger's",
    "counters": "counters that differ from ledger and log",
}
MAX_TOLD = 1000
"""Findings of one kind that are kept; beyond them they are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong; `frame` is None where it is none of one frame."""

    kind: Kind
    frame: FrameKey | None
    told: str

    def __str__(self) -> str:
        where = f"{self.frame.camera}/{self.frame.run}/{self.frame.sequence}: " if self.frame else ""
        return f"{where}{self.told}"


@dataclass(slots=True)
class Findings:
    """Findings as they are made: all counted, the first of each kind kept."""

    counts: Counter[Kind] = field(default_factory=Counter)
    kept: list[Finding] = field(default_factory=list)

    def add(self, kind: Kind, frame: FrameKey | None, told: str) -> None:
        """Note one."""
        self.counts[kind] += 1
        if self.counts[kind] <= MAX_TOLD:
            self.kept.append(Finding(kind=kind, frame=frame, told=told))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of the frames of a ledger.

    Attributes:
        frames: Of the ledger, by status.
        events: Frame events of the ledger's runs, repeats included.
        other_events: Frame events of other runs; not judged.
        outcomes: Of the ledger's frames, by what their (first) event says.
        unproven: Frames that were not acknowledged, by whether they have an event: both are right.
        deadletters: Of the ledger's runs, by reason; those of unknown origin and of other runs are `other_deadletters`.
        pixels_checked: Frames whose pixels in the log are the ledger's; None if nobody looked.
        pixels_unchecked: Acknowledged frames whose tiles are no longer all in the log.
        counts: Findings by kind.
        findings: The first `MAX_TOLD` of each kind.
        cut: What could not be judged because the log does not reach back far enough.
        compared: Counters of processes were compared.
        notes: What was not compared, and why.
    """

    frames: Mapping[Status, int]
    events: int
    other_events: int
    outcomes: Mapping[str, int]
    unproven: Mapping[str, int]
    deadletters: Mapping[str, int]
    other_deadletters: int
    pixels_checked: int | None
    pixels_unchecked: int
    counts: Mapping[Kind, int]
    findings: tuple[Finding, ...]
    cut: tuple[str, ...] = ()
    compared: bool = False
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing is wrong with what could be judged."""
        return not any(self.counts.values())

    @property
    def exit_code(self) -> int:
        """0 clean, 1 something is wrong, 2 not all could be judged."""
        return 1 if not self.clean else 2 if self.cut else 0

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "clean": self.clean,
            "frames": dict(self.frames),
            "events": self.events,
            "other_events": self.other_events,
            "outcomes": dict(self.outcomes),
            "unproven": dict(self.unproven),
            "deadletters": dict(self.deadletters),
            "other_deadletters": self.other_deadletters,
            "pixels_checked": self.pixels_checked,
            "pixels_unchecked": self.pixels_unchecked,
            "wrong": {kind: self.counts.get(kind, 0) for kind in KINDS},
            "findings": [_finding_json(finding) for finding in self.findings],
            "cut": list(self.cut),
            "counters_compared": self.compared,
            "notes": list(self.notes),
        }


def _finding_json(finding: Finding) -> dict[str, Any]:
    frame = finding.frame
    where = {"camera": frame.camera, "run": frame.run, "sequence": frame.sequence} if frame else None
    return {"kind": finding.kind, "frame": where, "told": finding.told}
