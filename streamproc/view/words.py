"""What happened to a camera, in words for people. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

_REASONS: Final = {
    "unreachable": "cannot be reached",
    "refused": "refuses the connection",
    "unauthorized": "refuses user or password",
    "timeout": "does not answer in time",
    "stalled": "gives nothing any more",
    "malformed": "gives what cannot be read",
    "changed": "its pictures have another form",
    "ended": "has ended",
    "frozen": "gives the very same picture again and again",
    "failed": "its frames cannot be read or cut",
    "finished": "was read to its end",
    "stopped": "was stopped",
    "removed": "was taken out of the list",
}
_WORDS: Final = {"fps-sag": "gives fewer frames", "fps-restored": "gives all frames again", "clock-step": "clock set"}


def reason_words(reason: str) -> str:
    """Why a camera gives no frames; a reason that is not known here is told as it is."""
    return _REASONS.get(reason, reason.replace("-", " "))


def camera_words(what: str, data: dict[str, Any]) -> str:
    """A camera event as one line, as `online: 1280 x 720, after 12 s`; what is odd in its data is left out."""
    told = [word for word in _details(what, data) if word]
    said = _WORDS.get(what, what)
    return f"{said}: {', '.join(told)}" if told else said


def _details(what: str, data: dict[str, Any]) -> list[str]:
    if what == "online":
        size = [_number(data.get(name)) for name in ("width", "height")]
        down = _seconds(data.get("down_s")) if data.get("again") is not False else ""
        return [f"{size[0]:.0f} x {size[1]:.0f}" if size[0] and size[1] else "", down and f"after {down}"]
    if what == "offline":
        return [reason_words(str(data.get("reason") or ""))]
    if what == "gap":
        missed = _number(data.get("frames_missed"))
        length = _seconds(data.get("length_s"))
        return [f"no frame for {length}" if length else "", f"{missed:.0f} frames missed" if missed else ""]
    if what == "clock-step":
        return [_signed(data.get("step_s"))]
    measured, expected = _number(data.get("measured_fps")), _number(data.get("expected_fps"))
    return [f"{measured:.1f} of {expected:.1f} a second" if measured is not None and expected is not None else ""]


def _number(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else None


def _seconds(value: Any) -> str:
    """Seconds, from a tenth on, or minutes; "" for less and for what is no number."""
    seconds = _number(value)
    if seconds is None or seconds < 0.1:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _signed(value: Any) -> str:
    seconds = _number(value)
    if seconds is None:
        return ""
    return f"{abs(seconds):.3g} s {'forward' if seconds > 0 else 'back'}"
