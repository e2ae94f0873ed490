"""Keeping one camera alive: what it is doing, when it is tried again, what is worth telling.

    idle -> opening -> up -> waiting -> opening -> …        and from each of them -> over

Pure: time and chance come in as arguments. `ingest_camera.py` puts a thread around it.

References:
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: without jitter, cameras that were lost
    together are tried together for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from streamproc.errors import LostReason

Phase: TypeAlias = Literal["idle", "opening", "up", "waiting", "over"]
"""Not begun; being opened, or open without a frame; giving frames; lost, to be tried again; never again."""

OfflineReason: TypeAlias = LostReason | Literal["frozen", "failed", "finished", "stopped", "removed"]
"""Why a camera gives no frames. A closed set: that of sources; `frozen`, it gave the very same picture for too long;
`failed`, its frames cannot be read or cut; `finished`, a film or folder was read to its end; `stopped`, all was ended;
`removed`, it left the list or changed in it."""

OFFLINE_REASONS: tuple[str, ...] = (*get_args(LostReason), "frozen", "failed", "finished", "stopped", "removed")

FIRST_S = 1.0
LONGEST_S = 30.0
HEALTHY_S = 10.0
_DOUBLINGS = 4  # then 15 s and up to as much again


@dataclass(frozen=True, slots=True)
class Lost:
    """What follows from a loss.

    Attributes:
        tell: It is news: the camera was up, or nothing was told of it so far.
        after_s: When to try again, seconds from now.
    """

    tell: bool
    after_s: float


@dataclass(frozen=True, slots=True)
class CameUp:
    """A camera gives frames.

    Attributes:
        again: It was up before.
        down_s: Seconds since it was first lost, or since it was first tried.
    """

    again: bool
    down_s: float


class Keeping:
    """State of one camera. Times are seconds of a monotonic clock.

    Attributes:
        phase: What it is doing.
        failures: Tries in a row that brought no healthy time.
    """

    def __init__(self) -> None:
        self.phase: Phase = "idle"
        self.failures = 0
        self._up_since_s = 0.0
        self._down_since_s: float | None = None
        self._told: Literal["up", "down"] | None = None
        self._was_up = False

    def opening(self, now_s: float) -> None:
        """It is tried."""
        self._require("idle", "waiting")
        self.phase = "opening"
        if self._down_since_s is None:
            self._down_since_s = now_s

    def frame(self, now_s: float) -> CameUp | None:
        """It gave a frame; something only if that is news."""
        self._require("opening", "up")
        if self.phase == "up":
            return None
        since_s = now_s if self._down_since_s is None else self._down_since_s
        news = CameUp(again=self._was_up, down_s=now_s - since_s)
        self.phase, self._up_since_s, self._down_since_s = "up", now_s, None
        self._told, self._was_up = "up", True
        return news

    def lost(self, now_s: float, reason: OfflineReason, *, chance: float) -> Lost:
        """It gives no more frames.

        Args:
            now_s: The time.
            reason: Why; pictures of another form (`changed`) are the first time no reason to wait.
            chance: From 0 up to 1, random.
        """
        self._require("opening", "up")
        if self.phase == "up" and now_s - self._up_since_s >= HEALTHY_S:
            self.failures = 0
        at_once = reason == "changed" and self.phase == "up" and self.failures == 0
        after_s = 0.0 if at_once else delay_s(self.failures, chance=chance)
        self.failures += 1
        self.phase = "waiting"
        if self._down_since_s is None:
            self._down_since_s = now_s
        return Lost(tell=self._tell_down(), after_s=after_s)

    def end(self) -> bool:
        """It is not tried again; whether that it is down is news."""
        self.phase = "over"
        return self._told == "up" and self._tell_down()

    def _tell_down(self) -> bool:
        news = self._told != "down"
        self._told = "down"
        return news

    def _require(self, *phases: Phase) -> None:
        if self.phase not in phases:
            raise ValueError(f"the camera is {self.phase}, expected {' or '.join(phases)}")


def delay_s(failures: int, *, chance: float) -> float:
    """Seconds to wait after so many failures in a row before: 1 to 2, 2 to 4, … at last 15 to 30.

    Args:
        failures: Earlier ones.
        chance: From 0 up to 1, random.
    """
    least_s = min(FIRST_S * 2.0 ** min(failures, _DOUBLINGS), LONGEST_S / 2)
    return least_s * (1 + min(1.0, max(0.0, chance)))
