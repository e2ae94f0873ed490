"""One camera, kept alive by a thread of its own: opened, read, watched, and after a loss opened again.

The thread decides with `Keeping` (when to try again) and `Health` (what the frames say), and hands frames to the
camera's `Lane`. Whatever happens to one camera ends here: the others never feel it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from producers.health import Health
from producers.ingest_lane import Lane
from producers.ingest_mask import Mask
from producers.keeping import Keeping
from producers.pacing import Pacer, StreamPacer, frames_a_second
from producers.sources.live import LiveSource
from streamproc import wire
from streamproc.cloudevents import CameraEvent
from streamproc.errors import CameraLost, LedgerError, SourceEnded, StreamprocError
from streamproc.words import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producers.cameras_file import CameraSpec
    from producers.health import Finding
    from producers.ingest_run import Counts, Outlet
    from producers.keeping import CameUp, OfflineReason
    from producers.pacing import Fps
    from producers.sources.source import Source
    from streamproc.cloudevents import CameraEventKind
    from streamproc.model import Frame

log = logging.getLogger(__name__)

FINISH_S = 10.0  # for what waits when the camera ends
REMIND_S = 600.0  # the same offline event again, for readers who look back less far than the camera is blind
_GRACE_S = 1.0  # over the source's own time limits


_NO_LOSS = ("finished", "stopped", "removed")


class _Frozen(StreamprocError):
    """A live source gives the very same picture for too long."""


@dataclass(frozen=True, slots=True)
class _Lost:
    """Why a connection ended.

    Attributes:
        words: For a person.
        final: It is not opened again.
    """

    reason: OfflineReason
    words: str
    final: bool = False


class OpenCamera(Protocol):
    """Makes the source of a camera; a live one is connected to when it is iterated."""

    def __call__(self, spec: CameraSpec, /) -> Source:
        """Open it.

        Raises:
            StreamprocError: It cannot be.
        """


class Thinning:
    """Chooses which frames of a live source to send, so that they are at most so many a second, evenly.

    Args:
        fps: None sends all.
    """

    def __init__(self, fps: float | None) -> None:
        self._interval_s = 1 / fps if fps else 0.0
        self._due_s: float | None = None

    def wants(self, now_s: float) -> bool:
        """Whether the frame that arrives now is sent; a tenth of an interval early is in time."""
        if self._due_s is None or now_s - self._due_s > self._interval_s:
            self._due_s = now_s
        if now_s < self._due_s - self._interval_s / 10:
            return False
        self._due_s += self._interval_s
        return True


class Camera:
    """One camera of the list.

    Args:
        spec: What the list says.
        outlet: Shared by all.
        open_camera: Makes its source, for each try anew.
        tell: Takes camera events.
        chance: Random numbers from 0 up to 1.

    Attributes:
        done: It has ended; nothing of it waits here.
    """

    def __init__(
        self,
        spec: CameraSpec,
        outlet: Outlet,
        *,
        open_camera: OpenCamera,
        tell: Callable[[CameraEvent], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.spec = spec
        self._outlet, self._open, self._tell, self._chance = outlet, open_camera, tell, chance
        self._label = outlet.metrics.camera(spec.name)
        self._keeping = Keeping()
        self._health = Health(
            gap_s=spec.gap_s,
            clock_step_s=spec.clock_step_s,
            fps_sag=spec.fps_sag,
            fps_expected=spec.fps_expected,
        )
        self._mask = Mask(spec.mask, spec.include)
        self._stop = threading.Event()
        self._stop_reason: OfflineReason = "stopped"
        self._lock = threading.Lock()  # guards the source
        self._source: Source | None = None
        self._waiting_since_s: float | None = None  # for a frame
        self._stalled = False
        self._begun = False  # what has an end has given a frame: it is not read from its beginning again
        self._frozen_s = 0.0  # so long the very same picture, and it counts as frozen
        self._frozen: bytes | None = None  # the picture it froze at
        self._lane = Lane(spec, outlet)
        self.reconnects = 0
        self.events = 0
        self.fps: float | None = None
        self.last_reason: OfflineReason | None = None
        self._remind: tuple[CameraEvent, float] | None = None  # the last event, if it is of a loss; when it is due
        self.done = False
        self._thread = threading.Thread(target=self._live, name=f"camera {spec.name}", daemon=True)

    def start(self) -> None:
        """Begin, and say in the metrics that there is this camera."""
        metrics = self._outlet.metrics
        metrics.camera_up.labels(self._label).set(0)
        metrics.camera_frame_time.labels(self._label).set(time.time())  # blind since now, if no frame ever comes
        metrics.camera_lost.expect(self._label)  # shown at 0, so that `increase()` sees the first
        for metric in (
            metrics.camera_reconnects,
            metrics.camera_gaps,
            metrics.camera_gap_seconds,
            metrics.camera_clock_steps,
        ):
            metric.labels(self._label)
        self._thread.start()

    def forget_gauges(self) -> None:
        """It is neither up nor down any more: it has left the list, or was read to its end."""
        metrics = self._outlet.metrics
        if self._label == self.spec.name:
            for gauge in (metrics.camera_up, metrics.camera_fps, metrics.camera_frame_time):
                with suppress(KeyError):  # it left before its first figure
                    gauge.remove(self._label)

    def stop(self, reason: OfflineReason) -> None:
        """End; returns at once, `done` says when it has ended."""
        self._stop_reason = reason
        self._stop.set()
        self._lane.close()
        self._interrupt()

    def join(self, timeout_s: float) -> None:
        """Wait for the end; at once if it never began."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def watch(self, now_s: float) -> None:
        """Interrupt a live source that breaks its time limits, and remind of one that is lost; called now and then."""
        if (remind := self._remind) is not None and now_s >= remind[1]:
            self._remind = (remind[0], now_s + REMIND_S)
            self._tell(remind[0])
        with self._lock:
            since_s, source = self._waiting_since_s, self._source
        if since_s is None or not isinstance(source, LiveSource):
            return
        if now_s - since_s > source.longest_wait_s + _GRACE_S:
            self._stalled = True
            self._interrupt()

    @property
    def state(self) -> str:
        """What it is doing, in a word."""
        words = {"idle": "starting", "opening": "opening", "up": "online", "waiting": "offline", "over": "ended"}
        return words[self._keeping.phase]

    def counts(self) -> Counts:
        """What became of its frames so far."""
        return self._lane.counts()

    @property
    def lane(self) -> Lane:
        """Its way to Kafka."""
        return self._lane

    def _live(self) -> None:
        try:
            while not self._stop.is_set() and self._try_once():
                pass
        except BaseException as error:  # noqa: BLE001 - a fault of ours: all is to end, and say so
            self._outlet.crew.fail(error)
        finally:
            if self._keeping.end():
                self._event("offline", {"reason": self._stop_reason})
            self._outlet.metrics.camera_up.labels(self._label).set(0)
            self._lane.close()
            self._lane.finish(timeout_s=FINISH_S)
            self.done = True

    def _try_once(self) -> bool:
        """Open and read until that ends, then wait; whether to try again."""
        self._keeping.opening(time.monotonic())
        self._stalled = False
        lost = self._session()
        if lost is None or self._stop.is_set():
            self._stop_reason = self._stop_reason if self._stop.is_set() else "finished"
            self.last_reason = self._stop_reason
            return False
        self.fps = None
        self.last_reason = lost.reason
        metrics = self._outlet.metrics
        metrics.camera_up.labels(self._label).set(0)
        metrics.camera_lost.labels(self._label, lost.reason).inc()
        what_next = self._keeping.lost(time.monotonic(), lost.reason, chance=self._chance())
        if what_next.tell:
            self._event("offline", {"reason": lost.reason})
            more = "; it is not read again" if lost.final else ""
            said = f"camera {self.spec.name} is offline ({lost.reason}): {lost.words}{more}"
            self._outlet.notice(Line(said, camera=self.spec.name, reason=lost.reason))
        else:
            log.info(
                "camera %s is still offline (%s): %s",
                *(self.spec.name, lost.reason, lost.words),
                extra={"camera": self.spec.name, "reason": lost.reason, "retry_s": round(what_next.after_s, 3)},
            )
        return not (lost.final or self._stop.wait(what_next.after_s))

    def _session(self) -> _Lost | None:
        """One connection; why it ended, None if it came to its proper end."""
        try:
            source = self._open(self.spec)
            with source:
                self._take(source)
                self._read(source)
        except CameraLost as error:
            return _Lost(error.reason, str(error), final=self._begun)
        except _Frozen as error:
            return _Lost("frozen", str(error))
        except LedgerError:
            raise
        except SourceEnded as error:
            self._outlet.notice(Line(f"camera {self.spec.name}: {error}", camera=self.spec.name, reason="finished"))
            return None
        except StreamprocError as error:
            return _Lost("failed", str(error), final=self._begun)
        except Exception as error:  # noqa: BLE001 - a library's fault ends this try and nothing else
            # its text may hold a URL with a password
            words = f"reading it failed with {type(error).__name__}; please report this"
            return _Lost("failed", words, final=self._begun)
        finally:
            with self._lock:
                self._source = self._waiting_since_s = None
        if self._stalled:
            return _Lost("stalled", "it gave no frame in time: look at the camera")
        return None

    def _take(self, source: Source) -> None:
        with self._lock:
            self._source = source
        if self._stop.is_set():
            self._interrupt()

    def _interrupt(self) -> None:
        with self._lock:
            source = self._source
        if isinstance(source, LiveSource):
            source.interrupt()

    def _read(self, source: Source) -> None:
        live, lane = isinstance(source, LiveSource), self._lane
        lane.begin(live=live, stream_fps=source.fps if self.spec.fps == "max" else None)
        steady = isinstance(source, LiveSource) and source.steady and not (source.bursts and self.spec.fps == "max")
        self._health.connected(
            time.monotonic(), waited_s=lane.waited_s, fps=source.fps if live else None, steady=steady
        )
        self._frozen_s = self.spec.frozen_s if steady else 0.0
        thinning = Thinning(_number(self.spec.fps)) if live else None
        for frame in self._frames(source):
            now_s = time.monotonic()
            self._begun = not live or source.length is not None
            self._examine(frame, now_s)
            if thinning is not None and not thinning.wants(now_s):
                lane.thin(frame)
            else:
                lane.offer(replace(frame, pixels=self._mask.apply(frame)))

    def _frames(self, source: Source) -> Iterator[Frame]:
        """Frames until the end or a stop; a camera gives the pace, for films and what comes in bursts it is kept."""
        live = isinstance(source, LiveSource)
        rate = None if live else frames_a_second(self.spec.fps, source.fps)
        pacer = Pacer(rate, now_s=time.monotonic, wait=self._stop.wait)
        stream = StreamPacer(now_s=time.monotonic, wait=self._stop.wait)
        frames = iter(source)
        while pacer.wait_for_next():
            self._waiting_since_s = time.monotonic()
            frame = next(frames, None)
            self._waiting_since_s = None
            if frame is None or self._stop.is_set():
                return
            in_bursts = isinstance(source, LiveSource) and source.bursts and self.spec.fps != "max"
            if in_bursts and not stream.wait_for(frame):
                return
            yield frame

    def _examine(self, frame: Frame, now_s: float) -> None:
        """Tell what a frame says of its camera; of films and folders, that it is up and how fast.

        Raises:
            _Frozen: It gives the very same picture for too long.
        """
        waited_s = self._lane.waited_s
        frozen_s, digest = 0.0, b""
        if self._frozen_s:
            digest = wire.digest_frame(frame.pixels)
            frozen_s = self._health.picture(now_s, digest)
        found = self._health.frame(
            now_s, frame.captured_ns, waited_s=waited_s, clock=frame.clock, wall_ns=time.time_ns()
        )
        self.fps = self._health.measured_fps(now_s, waited_s=waited_s)
        self._outlet.metrics.camera_frame_time.labels(self._label).set(time.time())
        if digest != self._frozen or not self._frozen_s:
            self._frozen = None
            if (news := self._keeping.frame(now_s)) is not None:
                self._came_up(frame, news)
        for finding in found:
            self._found(finding)
        if self._frozen_s and frozen_s >= self._frozen_s:
            self._frozen = digest
            raise _Frozen(f"it gave the very same picture for {frozen_s:.1f} s: look at the camera")

    def _came_up(self, frame: Frame, news: CameUp) -> None:
        height, width = frame.pixels.shape[:2]
        about = {"width": width, "height": height, "clock": frame.clock}
        self._event("online", {**about, "again": news.again, "down_s": round(news.down_s, 6)})
        self._outlet.metrics.camera_up.labels(self._label).set(1)
        if news.again:
            self.reconnects += 1
            self._outlet.metrics.camera_reconnects.labels(self._label).inc()
        self._outlet.notice(Line(f"camera {self.spec.name} is online: {width}x{height}", camera=self.spec.name))

    def _found(self, finding: Finding) -> None:
        metrics = self._outlet.metrics
        if finding.what == "gap":
            metrics.camera_gaps.labels(self._label).inc()
            metrics.camera_gap_seconds.labels(self._label).inc(finding.data["length_s"])
        elif finding.what == "clock-step":
            metrics.camera_clock_steps.labels(self._label).inc(finding.data["steps"])
        self._event(finding.what, finding.data)

    def _event(self, what: CameraEventKind, data: dict[str, Any]) -> None:
        run, sequence = self._lane.position()
        self.events += 1
        name, at_ns = self.spec.name, time.time_ns()
        event = CameraEvent(camera=name, run=run, sequence=sequence, at_ns=at_ns, what=what, data=data)
        lasts = what == "offline" and data["reason"] not in _NO_LOSS
        self._remind = (event, time.monotonic() + REMIND_S) if lasts else None
        self._tell(event)


def _number(fps: Fps) -> float | None:
    return fps if isinstance(fps, float) else None
