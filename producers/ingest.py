"""All cameras of a list into Kafka, in one process, for months; the list may change meanwhile.

One thread for each camera (and one more that a source may need), a few that encode, one sender for all. The caller's
thread looks after them: it reads the list again when its file changes, sends camera events, and interrupts sources
that break their own time limits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from producers.cameras_file import Changes, FileWatch, changes, signature
from producers.ingest_camera import FINISH_S, Camera
from producers.ingest_events import Outbox
from producers.ingest_run import Counts
from streamproc.errors import SettingError, StreamprocError
from streamproc.words import Line, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from producers.cameras_file import CameraSpec
    from producers.ingest_camera import OpenCamera
    from producers.ingest_run import Outlet

TICK_S = 0.25
_LOOK_S = 0.5  # between looks at the file; a change counts when it is seen twice
_LEAVE_S = 15.0  # a camera that has not ended by then is left to itself
_SLICE_S = 0.2
_MOST_GONE = 2000
_EARLIER = "(earlier cameras)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraReport:
    """What became of one camera's frames, and how it is.

    Attributes:
        state: `starting`, `opening`, `online`, `offline` or `ended`.
        reason: Why it was last lost, None if it never was.
        fps: Frames a second of late, None if unknown.
    """

    camera: str
    state: str
    reason: str | None
    fps: float | None
    reconnects: int
    events: int
    counts: Counts

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        about = {name: getattr(self, name) for name in ("camera", "state", "reason", "fps", "reconnects", "events")}
        return {**about, **{one.name: getattr(self.counts, one.name) for one in fields(self.counts)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What was done, by camera, removed ones too.

    Attributes:
        events_acked, events_lost: Camera events.
        problem: What ended it, None if it was asked to stop.
    """

    cameras: tuple[CameraReport, ...]
    events_acked: int
    events_lost: int
    seconds: float
    problem: StreamprocError | None = None

    @property
    def total(self) -> Counts:
        """Of all cameras together."""
        total = Counts()
        for camera in self.cameras:
            total.add(camera.counts)
        return total

    def summary(self) -> str:
        """One line for a person."""
        all_of = self.total
        failed = f", {all_of.frames_failed} failed" if all_of.frames_failed else ""
        dropped = f", {all_of.frames_dropped} dropped" if all_of.frames_dropped else ""
        lost = f", {self.events_lost} lost" if self.events_lost else ""
        of = f"{counted(all_of.frames_read, 'frame')} of {counted(len(self.cameras), 'camera')}"
        return (
            f"{all_of.frames_published} of {of} published{failed}{dropped}:"
            f" {counted(all_of.tiles_acked, 'tile')}, {all_of.bytes / 1e6:.1f} MB in {self.seconds:.1f} s;"
            f" {counted(self.events_acked, 'camera event')}{lost}"
        )

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        total = self.total
        return {
            **{one.name: getattr(total, one.name) for one in fields(total)},
            "events_acked": self.events_acked,
            "events_lost": self.events_lost,
            "seconds": self.seconds,
            "problem": str(self.problem) if self.problem else None,
            "cameras": [camera.as_json() for camera in self.cameras],
        }


class Ingest:
    """Runs the cameras of a file.

    Args:
        file: The list, watched for changes.
        cameras: What it says now.
        seen: Its `signature` from before that was read, so that no change made meanwhile is missed.
        read: Reads it again.
        outlet: Shared by all cameras; its `stop` ends `run`.
        open_camera: Makes a camera's source.
    """

    def __init__(
        self,
        file: Path,
        cameras: Mapping[str, CameraSpec],
        *,
        seen: object,
        read: Callable[[Path], dict[str, CameraSpec]],
        outlet: Outlet,
        open_camera: OpenCamera,
    ) -> None:
        self._file, self._read, self._outlet, self._open = file, read, outlet, open_camera
        self._watch = FileWatch(seen)
        self._wanted = dict(cameras)
        self._running: dict[str, Camera] = {}
        self._leaving: list[tuple[Camera, float]] = []  # and when each is given up
        self._past: dict[str, list[Camera]] = {}  # ended, with reports under way
        self._gone: dict[str, CameraReport] = {}
        self._look_s = 0.0
        self._outbox = Outbox(
            outlet.sender, prefix=outlet.settings.prefix, partitions=outlet.partitions, metrics=outlet.metrics
        )

    def run(self, *, on_tick: Callable[[list[CameraReport]], None] | None = None) -> IngestReport:
        """Read cameras until `stop` is set or all has to end; then send what was read, within bounds.

        Args:
            on_tick: Told how all cameras are, a few times a second.

        Returns:
            What was done. `problem` is set if the ledger could not be written.
        """
        started_s = time.monotonic()
        crew, stop = self._outlet.crew, self._outlet.stop
        waiting_bytes = self._outlet.metrics.buffer_bytes.labels("producer")
        waiting_bytes.set_function(self._held_bytes)
        limit = self._outlet.metrics.buffer_limit.labels("producer")
        limit.set(self._outlet.settings.producer_queue_bytes)
        crew.start()
        try:
            while not stop.is_set() and crew.problem is None:
                self._tick(time.monotonic())
                if on_tick is not None:
                    on_tick(self.reports())
                stop.wait(TICK_S)
        finally:
            stop.set()
            self._end()
        if crew.problem is not None and not isinstance(crew.problem, StreamprocError):
            raise crew.problem
        return IngestReport(
            cameras=tuple(self.reports()),
            events_acked=self._outbox.acked,
            events_lost=self._outbox.lost,
            seconds=time.monotonic() - started_s,
            problem=crew.problem,
        )

    def reports(self) -> list[CameraReport]:
        """How each camera is, by name, and what became of its frames."""
        found: dict[str, CameraReport] = dict(self._gone)
        older = [camera for cameras in self._past.values() for camera in cameras]
        for camera in [*older, *(camera for camera, _ in self._leaving), *self._running.values()]:
            found[camera.spec.name] = _report(camera, earlier=found.get(camera.spec.name))
        return [found[name] for name in sorted(found)]

    def _tick(self, now_s: float) -> None:
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            if self._watch.look(signature(self._file)):
                self._reload()
        self._reap(now_s)
        self._settle()
        self._start()
        for camera in self._running.values():
            camera.watch(now_s)
            if camera.done and camera.last_reason == "finished":
                camera.forget_gauges()
            else:
                label = self._outlet.metrics.camera(camera.spec.name)
                self._outlet.metrics.camera_fps.labels(label).set(camera.fps or 0)
        self._outbox.send()

    def _reload(self) -> None:
        try:
            wanted = self._read(self._file)
        except SettingError as error:
            told = f"the changed list is not taken, the cameras run as before: {error}"
            self._outlet.notice(Line(told, file=str(self._file)))
            return
        found: Changes = changes(self._wanted, wanted)
        self._wanted = wanted
        self._outlet.notice(Line(f"{self._file} has changed: {found}", file=str(self._file)))
        for name in (*found.removed, *found.changed):
            if (camera := self._running.pop(name, None)) is not None:
                camera.stop("removed")
                self._leaving.append((camera, time.monotonic() + _LEAVE_S))

    def _start(self) -> None:
        """Begin what is wanted and does not run; a changed camera when its former self has ended."""
        leaving = {camera.spec.name for camera, _ in self._leaving}
        new = [name for name in self._wanted if name not in self._running and name not in leaving]
        if not new:
            return
        for name in new:
            camera = Camera(self._wanted[name], self._outlet, open_camera=self._open, tell=self._outbox.put)
            self._running[name] = camera
        self._share()
        for name in new:
            self._running[name].start()

    def _reap(self, now_s: float) -> None:
        """Let go of cameras that have left."""
        for camera, until_s in tuple(self._leaving):
            if not camera.done and now_s < until_s:
                continue
            name = camera.spec.name
            if not camera.done:
                told = f"camera {name}: its source does not end; it is left to itself"
                self._outlet.notice(Line(told, camera=name))
            self._leaving.remove((camera, until_s))
            self._past.setdefault(name, []).append(camera)
            if name not in self._wanted:
                camera.forget_gauges()
            self._share()

    def _settle(self) -> None:
        """Keep of cameras that have left only the figures, once all their reports are here."""
        for name, cameras in tuple(self._past.items()):
            for camera in [one for one in cameras if one.done and one.lane.settled]:
                cameras.remove(camera)
                self._gone[name] = _report(camera, earlier=self._gone.pop(name, None))
                self._bound_gone()
            if not cameras:
                del self._past[name]

    def _bound_gone(self) -> None:
        """Figures of many cameras that left long ago stand together."""
        while len(self._gone) > _MOST_GONE:
            oldest = self._gone.pop(next(iter(self._gone)))
            if (rest := self._gone.pop(_EARLIER, None)) is not None:
                oldest.counts.add(rest.counts)
            self._gone[_EARLIER] = replace(oldest, camera=_EARLIER)

    def _share(self) -> None:
        cameras = [*self._running.values(), *(camera for camera, _ in self._leaving)]
        for camera in cameras:
            camera.lane.share(len(cameras))

    def _held_bytes(self) -> int:
        cameras = [*tuple(self._running.values()), *(camera for camera, _ in tuple(self._leaving))]
        return self._outlet.sender.queued_bytes + sum(camera.lane.held_bytes for camera in cameras)

    def _end(self) -> None:
        """Stop all cameras, send what waits, wait for the reports; all within bounds."""
        cameras = [*self._running.values(), *(camera for camera, _ in self._leaving)]
        for camera in cameras:
            camera.stop("stopped")
        deadline_s = time.monotonic() + FINISH_S + 2
        for camera in cameras:
            camera.join(max(0.0, deadline_s - time.monotonic()))
        self._outlet.crew.close(timeout_s=2)
        self._flush(time.monotonic() + FINISH_S)
        for camera in [*cameras, *(one for past in self._past.values() for one in past)]:
            camera.lane.give_up()
        self._outbox.give_up()

    def _flush(self, deadline_s: float) -> None:
        while time.monotonic() < deadline_s:
            self._outbox.send()
            if not self._outlet.sender.flush(_SLICE_S) and not self._outbox.pending:
                return


def _report(camera: Camera, *, earlier: CameraReport | None) -> CameraReport:
    counts = camera.counts()
    if earlier is not None:
        counts.add(earlier.counts)
    return CameraReport(
        camera=camera.spec.name,
        state=camera.state,
        reason=camera.last_reason,
        fps=None if camera.fps is None else round(camera.fps, 3),
        reconnects=camera.reconnects + (earlier.reconnects if earlier else 0),
        events=camera.events + (earlier.events if earlier else 0),
        counts=counts,
    )
