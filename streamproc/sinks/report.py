"""What a sink is asked for, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from streamproc.sinks.event import Choice
from streamproc.sinks.persisting import FIRST_S

Start = Literal["beginning", "committed", "now"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a sink is driven.

    Attributes:
        kind: Label of metrics.
        topic: Of the events, for messages.
        choice: Events that are written.
        start: Where a sink without a position begins; `committed` is the beginning then.
        until_end: End when everything is written that was in the log at the start.
        give_up_after_s: Longest time that a target may not answer; None: no end.
        first_pause_s: Of tries; tests make it short.
    """

    kind: str
    topic: str
    choice: Choice = field(default_factory=Choice)
    start: Start = "committed"
    until_end: bool = False
    give_up_after_s: float | None = None
    first_pause_s: float = FIRST_S


@dataclass(slots=True, kw_only=True)
class Report:
    """What a sink did.

    Attributes:
        written, known, refused: Events by what the target made of them; `known` were there already.
        passed_over: Records that the choice leaves out.
        unreadable: Records that are no events.
        missing: Records that retention removed before they were read.
        unwritten: Events that were read, and are read again by the next start.
        behind: Records of the log that are left, as far as known.
        retries: Tries that the target did not take.
        positions: Next offset by partition, as noted.
        problem: Why it ended early; None if it did not.
    """

    written: int = 0
    known: int = 0
    refused: int = 0
    passed_over: int = 0
    unreadable: int = 0
    missing: int = 0
    unwritten: int = 0
    behind: int = 0
    retries: int = 0
    positions: dict[int, int] = field(default_factory=dict)
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        names = [name for name in self.__slots__ if name != "positions"]
        return {name: getattr(self, name) for name in names} | {
            "positions": {str(partition): offset for partition, offset in sorted(self.positions.items())}
        }
