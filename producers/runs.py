"""One run of one producer: its name, and the report of what became of it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from streamproc.errors import UsageError
from streamproc.settings import NAME_PATTERN

if TYPE_CHECKING:
    from streamproc.errors import StreamprocError
    from streamproc.model import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What became of one run. `frames_read` is always `frames_published` + `frames_failed` + `frames_dropped`.

    Attributes:
        grid, reason: The last grid used and why; None if no frame was read.
        frames_failed: Not acknowledged as a whole, or read and never sent because the run ended.
        frames_unknown: Of the failed, those that may stand in the log nevertheless.
        frames_dropped: Let go by the policy, never sent.
        tiles_unchanged: Of acknowledged frames, tiles that were sent as references to their earlier pixels.
        tiles_shed: Of those, tiles that have changed, and for which there was no room.
        bytes: Of acknowledged tiles' pictures.
        stopped: It was asked to stop.
        problem: What ended the run early, None if the source was read to its end (or the limit).
    """

    camera: str
    run: str
    source: str
    grid: Grid | None
    reason: str
    frames_read: int
    frames_published: int
    frames_failed: int
    frames_unknown: int
    frames_dropped: int
    tiles_acked: int
    tiles_failed: int
    tiles_unchanged: int
    tiles_shed: int
    bytes: int
    seconds: float
    stopped: bool
    problem: StreamprocError | None

    def raise_for_problem(self) -> None:
        """Raise what ended the run early, if anything did.

        Raises:
            StreamprocError: `problem`.
        """
        if self.problem is not None:
            raise self.problem

    def summary(self) -> str:
        """One line for a person."""
        speed = f"{self.frames_published / self.seconds:.1f} frames/s" if self.seconds > 0 else "at once"
        failed = f", {self.frames_failed} failed" if self.frames_failed else ""
        dropped = f", {self.frames_dropped} dropped" if self.frames_dropped else ""
        unchanged = f" ({self.tiles_unchanged} unchanged)" if self.tiles_unchanged else ""
        return (
            f"{self.frames_published} of {self.frames_read} frames published{failed}{dropped}:"
            f" {self.tiles_acked} tiles{unchanged}, {self.bytes / 1e6:.1f} MB in {self.seconds:.1f} s ({speed}),"
            f" camera {self.camera}, run {self.run}"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        names = (*(name for name in self.__slots__ if name not in ("grid", "problem")),)
        return {
            **{name: getattr(self, name) for name in names},
            "grid": str(self.grid) if self.grid else None,
            "problem": str(self.problem) if self.problem else None,
        }


def new_run(kind: str = "file") -> str:
    """A run id nobody else has: kind, UTC time and 4 random hex digits."""
    return f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def require_name(what: str, value: str) -> str:
    """Refuse a camera or run that is unsafe in topics, files, URLs and labels.

    Raises:
        UsageError: Says which characters are allowed.
    """
    if not re.fullmatch(NAME_PATTERN.strip("^$"), value):
        raise UsageError(
            f"{what} {value!r}: use letters, digits, '.', '_' and '-', at most 100, a letter or digit first"
        )
    return value
