"""How a camera that stands still is sent: plain values, light to import."""

from __future__ import annotations

from dataclasses import dataclass

LEVEL = 12.0
FULL_EVERY_S = 5.0
LONGEST_FULL_S = 60.0  # below what topics keep, and what a reader has to look back for


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedOnly:
    """How a camera is sent of which only changed tiles are.

    Attributes:
        level: Mean difference of a cell of 4x4 px, in grey levels (0..255) of the channel that differs most, above
            which it has changed. A few levels above the camera's noise; 0 takes every difference for a change.
        full_every_s: At the latest after so long a frame is sent with all its tiles.
    """

    level: float = LEVEL
    full_every_s: float = FULL_EVERY_S
