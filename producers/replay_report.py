"""What a replay says of itself: while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamproc.cloudevents import event_time

if TYPE_CHECKING:
    from producers.replay_frames import OpenFrame
    from streamproc.errors import StreamprocError
    from streamproc.model import FrameKey

_TELL_S = 0.1
_TOLD_INCOMPLETE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayProgress:
    """How far a replay is.

    Attributes:
        passed, total: Offsets.
        captured_ns: Capture time of the frame that was sent last; None before the first.
        speed: Capture time passed for each second, lately.
    """

    passed: float
    total: int
    captured_ns: int | None
    frames: int
    tiles: int
    bytes: int
    speed: float
    paused: bool


OnProgress = Callable[[ReplayProgress], None]


@dataclass(slots=True, kw_only=True)
class Replayed:
    """Counts of a replay under way, told about ten times a second.

    Attributes:
        passed, total: Offsets.
        first_ns, last_ns: Earliest and latest capture time sent.
    """

    total: int
    tell: OnProgress
    passed: float = 0
    tiles: int = 0
    bytes: int = 0
    captured_ns: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    _told: tuple[float, int | None] = (0.0, None)
    _speed: float = field(default=0.0)

    def sent(self, size: int, *, captured_ns: int) -> None:
        """One record was handed over."""
        self.tiles += 1
        self.bytes += size
        self.captured_ns = captured_ns
        self.first_ns = captured_ns if self.first_ns is None else min(self.first_ns, captured_ns)
        self.last_ns = captured_ns if self.last_ns is None else max(self.last_ns, captured_ns)

    def now(self, now_s: float, *, paused: bool, frames: int) -> None:
        """Tell, if it is time to."""
        told_s, told_ns = self._told
        if now_s - told_s < _TELL_S:
            return
        if told_ns is not None and self.captured_ns is not None:
            self._speed = 0.8 * self._speed + 0.2 * (self.captured_ns - told_ns) / 1e9 / (now_s - told_s)
        self._told = (now_s, self.captured_ns)
        self.tell(
            ReplayProgress(
                passed=self.passed,
                total=self.total,
                captured_ns=self.captured_ns,
                frames=frames,
                tiles=self.tiles,
                bytes=self.bytes,
                speed=self._speed,
                paused=paused,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplayReport:
    """What became of a replay.

    Attributes:
        source, target: Topics.
        runs: The new run of each original one, by camera and original run.
        apart: Each frame got a run of its own; `runs` holds the first.
        frames: That were begun; `incomplete` are those whose other tiles were not found, the latest 20,000 of them.
        tiles, tiles_acked: Records handed over, and acknowledged by the broker.
        duplicates: Tiles that the log has more than once; they were sent as often.
        unreadable: Records passed over because their header cannot be read: they belong to no camera.
        left_out: Tiles that refer to another record's pixels, which are not kept any more.
        bytes: Of values.
        first_ns, last_ns: Earliest and latest capture time.
        next_ns: Capture time to go on from, if it ended early: the earliest of a frame that was met and not sent, or
            right behind the latest that was sent; None else.
        late_ms: Median and 95th percentile of how late records were sent, against their time in the log.
        slipped_s: Time by which it fell behind the log's pace for good.
        stopped: It was asked to stop.
        problem: What made it end early.
    """

    source: str
    target: str
    runs: dict[tuple[str, str], str]
    apart: bool
    frames: int
    frames_complete: int
    incomplete: tuple[tuple[FrameKey, OpenFrame], ...]
    tiles: int
    tiles_acked: int
    duplicates: int
    unreadable: int
    left_out: int
    bytes: int
    first_ns: int | None
    last_ns: int | None
    next_ns: int | None
    late_ms: tuple[float, float]
    slipped_s: float
    seconds: float
    stopped: bool
    problem: StreamprocError | None

    def raise_for_problem(self) -> None:
        """Raise what ended it early, if anything did.

        Raises:
            StreamprocError: `problem`.
        """
        if self.problem is not None:
            raise self.problem

    def lines(self) -> list[str]:
        """A few lines for a person."""
        rate = self.tiles / self.seconds if self.seconds > 0 else 0.0
        told = [
            f"{self.frames} frames, {self.tiles_acked} of {self.tiles} tiles acknowledged, {self.bytes / 1e6:.1f} MB in"
            f" {self.seconds:.1f} s ({rate:.0f} tiles/s) from {self.source} to {self.target}"
        ]
        told += [f"camera {camera}, run {run} as {new}" for (camera, run), new in sorted(self.runs.items())]
        told += [
            f"incomplete in {self.source}: {key.camera}/{key.run}/{key.sequence}, captured"
            f" {event_time(frame.captured_ns)}, {frame.missing} of {frame.tiles} tiles missing"
            for key, frame in self.incomplete[:_TOLD_INCOMPLETE]
        ]
        if (more := self.frames - self.frames_complete - _TOLD_INCOMPLETE) > 0:
            told.append(f"and {more} more incomplete frames")
        if self.duplicates:
            told.append(f"{self.duplicates} tiles more than once in the log, sent as often")
        if self.unreadable:
            told.append(f"{self.unreadable} records without a readable header passed over: they belong to no camera")
        if self.left_out:
            told.append(f"{self.left_out} tiles left out: the records with their pixels are no longer kept")
        if self.slipped_s:
            told.append(f"fell {self.slipped_s:.1f} s behind the log's pace: reading or the broker was too slow for it")
        if self.next_ns is not None:
            told.append(f"go on with --from {event_time(self.next_ns)}")
        return told

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        plain = ("source", "target", "frames", "frames_complete", "tiles", "tiles_acked", "duplicates", "unreadable")
        return {
            **{name: getattr(self, name) for name in (*plain, "left_out", "bytes")},
            "runs": [{"camera": camera, "run": run, "as": new} for (camera, run), new in sorted(self.runs.items())],
            "one_run_for_each_frame": self.apart,
            "incomplete": [
                {
                    "camera": key.camera,
                    "run": key.run,
                    "sequence": key.sequence,
                    "captured_ns": frame.captured_ns,
                    "missing": frame.missing,
                    "tiles": frame.tiles,
                }
                for key, frame in self.incomplete
            ],
            "from": None if self.first_ns is None else event_time(self.first_ns),
            "to": None if self.last_ns is None else event_time(self.last_ns),
            "go_on_from": None if self.next_ns is None else event_time(self.next_ns),
            "late_ms": {"p50": self.late_ms[0], "p95": self.late_ms[1]},
            "slipped_s": round(self.slipped_s, 3),
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
            "problem": None if self.problem is None else " ".join(str(self.problem).split()),
        }
