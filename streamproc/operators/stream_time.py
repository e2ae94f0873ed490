"""Time as the frames of one camera tell it: never backwards, never still, whatever the capture times do.

Followers need time for speeds and for "longer than 2 s"; capture times are data and may jump, repeat or go back.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import Any, Final

from streamproc.operators.table import Memory, Parameter, Params, Scene

RECENT: Final = 9  # intervals that say what is usual
SECOND_NS: Final = 10**9
FIRST_INTERVAL_NS: Final = SECOND_NS // 25  # until the camera's own is known
BELIEVED_NS: Final = 2 * SECOND_NS  # a step this long may be a slow camera; a longer one is the clock's
BELIEVED_INTERVALS: Final = 4
LONGEST_NS: Final = 60 * SECOND_NS  # no camera is slower
STRETCH: Final = (0.5, 3.0)  # of one frame's time, for motion


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a frame was, in stream time.

    Attributes:
        now_s: Seconds since the first frame the memory knows.
        frames: Time since the frame before, in usual intervals; 0 for the first frame.
        steps: Frames since the one before by sequence; 0 for the first frame.
    """

    now_s: float
    frames: float
    steps: int

    def since(self, then_s: float) -> float:
        """Seconds passed since `then_s`, to a microsecond, so that ten steps of 0.1 s are 1 s."""
        return round(self.now_s - then_s, 6)


def fps_parameter() -> Parameter:
    """The parameter by which a pipeline says that capture times are not to be used."""
    return Parameter(
        name="fps",
        default=0.0,
        low=0,
        high=1000,
        meaning="frames a second, if they are to tell the time; 0: capture times do",
    )


def advance(memory: Memory, scene: Scene, params: Params) -> Moment:
    """Move the clock that `memory` holds on to this frame.

    The step of the capture time counts if it is not backwards and at most 2 s (or four usual intervals) for each frame
    of the sequence; otherwise, and while capture times stand still, the usual interval stands in for it: the median of
    the last nine.

    Args:
        memory: Of the follower; the key `time` is used.
        scene: Sequence and capture time.
        params: `fps`; above 0 each frame takes 1 / fps seconds and capture times are not looked at.
    """
    known: list[Any] = memory.get("time") or []
    if not known:
        memory["time"] = [scene.sequence, scene.captured_ns, 0, []]
        return Moment(now_s=0.0, frames=0.0, steps=0)
    sequence, captured_ns, now_ns, recent = known
    steps = max(1, scene.sequence - sequence)
    fps = float(params["fps"])
    if fps > 0:
        passed_ns, frames = round(steps * SECOND_NS / fps), float(steps)
    else:
        passed_ns, frames, recent = _passed(scene.captured_ns - captured_ns, steps, recent)
    memory["time"] = [scene.sequence, scene.captured_ns, now_ns + passed_ns, recent]
    return Moment(now_s=(now_ns + passed_ns) / SECOND_NS, frames=frames, steps=steps)


def _passed(step_ns: int, steps: int, recent: list[int]) -> tuple[int, float, list[int]]:
    """Nanoseconds and usual intervals that have passed, and the intervals that are recent now."""
    interval_ns = step_ns // steps
    if 0 <= interval_ns <= LONGEST_NS:
        recent = [*recent, interval_ns][-RECENT:]
    usual_ns = _usual(recent)
    still = not any(recent)
    if still or not 0 <= interval_ns <= max(BELIEVED_NS, BELIEVED_INTERVALS * usual_ns):
        return steps * usual_ns, float(steps), recent
    if len(recent) <= RECENT // 2:
        return step_ns, float(steps), recent
    least, most = STRETCH
    return step_ns, steps * min(most, max(least, interval_ns / usual_ns)), recent


def _usual(recent: list[int]) -> int:
    """Median interval; the mean where most frames come in bursts of one time."""
    if not any(recent):
        return FIRST_INTERVAL_NS
    return median_low(recent) or min(BELIEVED_NS, sum(recent) // len(recent))
