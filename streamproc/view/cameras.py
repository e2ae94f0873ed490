"""What is known of each camera from its events: outcomes, latency, blindness, series. Time is an argument.

Everything is bounded: cameras, happenings of a camera, samples, an hour of series in steps of five seconds.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

from streamproc.view.shown import Picture, Shown
from streamproc.view.sight import Sight
from streamproc.view.words import reason_words

MAX_CAMERAS: Final = 1000
STEP_S: Final = 5
STEPS: Final = 720
HOUR_MS: Final = 3_600_000
_FPS_MS: Final = 5000
_LATENCY_MS: Final = 60_000
_MAX_TIMES: Final = 2000  # of frames in the last seconds
_MAX_LATENCIES: Final = 300  # the newest of the last minute
_MAX_STEP_SAMPLES: Final = 500
_MAX_HAPPENINGS: Final = 500
_MAX_NOT_COMPLETE: Final = 1000
_LEFT: Final = ("removed", "finished")  # reasons why nobody expects frames of it any more


def quantile(values: list[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(1000 * share) // 1000) - 1))]


class Series:
    """An hour of a camera in steps of five seconds; about 30 kB."""

    def __init__(self) -> None:
        self._step = array("q", [-1]) * STEPS
        self._counts = {name: array("l", [0]) * STEPS for name in ("frames", "objects", "not_complete")}
        self._latencies: dict[int, list[float]] = {}
        self._quantiles = {name: array("d", [0.0]) * STEPS for name in ("p50", "p95")}

    def add(self, event: Shown, now_ms: float) -> None:
        """Take a frame's event; one of more than an hour ago is too old."""
        step = int(min(event.emitted_ms, now_ms) // (1000 * STEP_S))
        place = step % STEPS
        if step < self._step[place]:
            return
        if step > self._step[place]:
            self._begin(place, step)
        self._counts["frames"][place] += 1
        self._counts["objects"][place] += len(event.objects)
        self._counts["not_complete"][place] += event.outcome != "complete"
        samples = self._latencies.get(step)
        if samples is not None and event.latency_ms is not None and len(samples) < _MAX_STEP_SAMPLES:
            samples.append(event.latency_ms)

    def _begin(self, place: int, step: int) -> None:
        for counts in self._counts.values():
            counts[place] = 0
        self._step[place] = step
        self._latencies[step] = []
        while len(self._latencies) > 3:  # only the newest steps may still grow
            self._settle(min(self._latencies))

    def _settle(self, step: int) -> None:
        samples = self._latencies.pop(step)
        if self._step[step % STEPS] == step:
            for name, share in (("p50", 0.5), ("p95", 0.95)):
                found = quantile(samples, share)
                self._quantiles[name][step % STEPS] = -1.0 if found is None else found

    def told(self, now_ms: float, *, minutes: int) -> dict[str, Any]:
        """The last minutes, oldest first; a step without frames has no latency."""
        last = int(now_ms // (1000 * STEP_S))
        steps = range(last - min(STEPS, minutes * 60 // STEP_S) + 1, last + 1)
        known = [self._step[step % STEPS] == step for step in steps]
        found: dict[str, Any] = {"step_s": STEP_S, "times_ms": [step * STEP_S * 1000 for step in steps]}
        for name, counts in self._counts.items():
            found[name] = [counts[step % STEPS] if here else 0 for step, here in zip(steps, known, strict=True)]
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            found[name] = [
                self._latency(name, share, step) if here else None for step, here in zip(steps, known, strict=True)
            ]
        return found

    def _latency(self, name: str, share: float, step: int) -> float | None:
        if step in self._latencies:
            return quantile(self._latencies[step], share)
        value = self._quantiles[name][step % STEPS]
        return None if value < 0 else value


@dataclass(slots=True, eq=False)
class Camera:
    """One camera, as its events tell.

    Attributes:
        outcomes: Frames by outcome, of the events that were read.
        last_event_ms, last_frame_ms, last_picture_ms: Record time, milliseconds since 1970.
        not_complete_ms: Since when no frame came out complete; None while they do.
        last_outcome: Of the newest frame.
    """

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    last_event_ms: int | None = None
    last_frame_ms: int | None = None
    last_picture_ms: int | None = None
    not_complete_ms: int | None = None
    last_outcome: str | None = None
    sight: Sight = field(default_factory=Sight)
    width: int | None = None
    height: int | None = None
    series: Series = field(default_factory=Series)
    _emitted: deque[float] = field(default_factory=lambda: deque(maxlen=_MAX_TIMES))
    _not_complete: deque[int] = field(default_factory=lambda: deque(maxlen=_MAX_NOT_COMPLETE))  # when, of late
    _latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MAX_LATENCIES))
    _happenings: list[tuple[float, str, float, str]] = field(default_factory=list)  # at, what, from or until, why

    def add(self, event: Shown, now_ms: float) -> None:
        """Take an event of this camera."""
        self.last_event_ms = max(self.last_event_ms or 0, event.at_ms)
        if event.type == "camera":
            self.note(event, now_ms)
        if event.type != "frame":
            return
        self.outcomes[event.what] += 1
        if event.what != "complete":
            self._not_complete.append(event.at_ms)
        if self.last_frame_ms is None or event.at_ms >= self.last_frame_ms:
            self.last_frame_ms, self.last_outcome = event.at_ms, event.what
            since_ms = event.at_ms if self.not_complete_ms is None else self.not_complete_ms
            self.not_complete_ms = None if event.what == "complete" else since_ms
        self.sight.add(event.at_ms)
        self.width, self.height = event.width, event.height
        self._emitted.append(event.emitted_ms)
        while self._emitted[0] < event.emitted_ms - 2 * _FPS_MS:
            self._emitted.popleft()
        if event.latency_ms is not None:
            self._latencies.append((event.emitted_ms, event.latency_ms))
        self.series.add(event, now_ms)

    def note(self, event: Shown, now_ms: float) -> None:
        """Take a camera event, or that there was a frame, in whatever order; the same event counts once."""
        if event.type == "frame":
            self.sight.add(event.at_ms)
            return
        if event.what not in ("online", "offline", "gap") or event.at_ms < now_ms - 2 * HOUR_MS:
            return
        other_ms = event.captured_ms if event.until_ms is None else event.until_ms
        begin_ms = event.captured_ms if event.what == "gap" else event.emitted_ms
        one = (begin_ms, event.what, other_ms, event.subject)
        if one not in self._happenings:
            insort(self._happenings, one)
            del self._happenings[:-_MAX_HAPPENINGS]

    def online(self) -> bool | None:
        """Whether it gives frames, as the last camera event says; None if there is none."""
        said = [what != "offline" for _, what, _, why in self._happenings if why not in _LEFT]
        gone = bool(self._happenings) and self._happenings[-1][3] in _LEFT
        return said[-1] if said and not gone else None

    @property
    def finished(self) -> bool:
        """Whether it was a film or a folder and was read to its end."""
        return bool(self._happenings) and self._happenings[-1][3] == "finished"

    def why(self) -> str | None:
        """Why it gives no frames, as the last camera event says; None if it gives some."""
        if self.online() is not False:
            return None
        reasons = [why for _, what, _, why in self._happenings if what == "offline" and why]
        return reason_words(reasons[-1]) if reasons else None

    def blind(self, now_ms: float) -> list[tuple[float, float | None]]:
        """When it gave no frames within the last hour (from, until), ms; None: it still gives none."""
        spans: list[tuple[float, float | None]] = []
        since: float | None = None
        for at_ms, what, other_ms, why in self._happenings:
            if what == "gap":
                spans.append((at_ms, other_ms))
            elif what == "offline":
                since = None if why in _LEFT else at_ms if since is None else since
                continue
            elif since is not None or other_ms < at_ms:
                spans.append((other_ms if since is None else since, at_ms))
                since = None
        if since is not None:
            spans.append((since, None))
        return _merged(spans, now_ms - HOUR_MS)

    def told(self, now_ms: float) -> dict[str, Any]:
        """What pages are told of it."""
        recent = sum(now_ms - _FPS_MS < at_ms <= now_ms + _FPS_MS for at_ms in self._emitted)
        latencies = [latency for at_ms, latency in self._latencies if at_ms > now_ms - _LATENCY_MS]
        return {
            "name": self.name,
            "online": self.online(),
            "finished": self.finished,
            "last_event_ms": self.last_event_ms,
            "last_frame_ms": self.last_frame_ms,
            "last_picture_ms": self.last_picture_ms,
            "not_complete_ms": self.not_complete_ms,
            "last_outcome": self.last_outcome,
            "fps": round(recent / (_FPS_MS / 1000), 1),
            "outcomes": dict(self.outcomes),
            "not_complete": sum(at_ms > now_ms - HOUR_MS for at_ms in self._not_complete),
            "latency_ms": {"p50": quantile(latencies, 0.5), "p95": quantile(latencies, 0.95)},
            "why": self.why(),
            "blind": self.blind(now_ms),
            "seen": self.sight.told(now_ms - HOUR_MS),
            "width": self.width,
            "height": self.height,
        }


def _merged(spans: list[tuple[float, float | None]], from_ms: float) -> list[tuple[float, float | None]]:
    """Spans in order, those that overlap as one, cut off at `from_ms`."""
    merged: list[tuple[float, float | None]] = []
    for start, end in sorted(spans, key=lambda span: span[0]):
        if end is not None and end <= from_ms:
            continue
        before_end = merged[-1][1] if merged else from_ms
        if merged and (before_end is None or start <= before_end):
            both_end = None if end is None or before_end is None else max(end, before_end)
            merged[-1] = (merged[-1][0], both_end)
        else:
            merged.append((max(start, from_ms), end))
    return merged


class Cameras:
    """All cameras, at most `MAX_CAMERAS`: the one that was silent for longest makes room.

    Attributes:
        changed: Something was told since `told` was asked last.
    """

    def __init__(self) -> None:
        self._cameras: dict[str, Camera] = {}
        self.changed = False

    def __len__(self) -> int:
        return len(self._cameras)

    def get(self, name: str) -> Camera | None:
        """One of them."""
        return self._cameras.get(name)

    def event(self, event: Shown, now_ms: float) -> None:
        """Take an event."""
        self._of(event.camera).add(event, now_ms)
        self.changed = True

    def note(self, event: Shown, now_ms: float) -> None:
        """Take an event of the past, for blindness and silence alone."""
        camera = self._of(event.camera)
        camera.last_event_ms = max(camera.last_event_ms or 0, event.at_ms)
        camera.note(event, now_ms)
        self.changed = True

    def picture(self, picture: Picture) -> None:
        """Take the time of a picture."""
        camera = self._of(picture.camera)
        camera.last_picture_ms = max(camera.last_picture_ms or 0, picture.published_ms)
        self.changed = True

    def told(self, now_ms: float) -> list[dict[str, Any]]:
        """What pages are told of all, by name."""
        self.changed = False
        return [self._cameras[name].told(now_ms) for name in sorted(self._cameras)]

    def _of(self, name: str) -> Camera:
        camera = self._cameras.get(name)
        if camera is None:
            if len(self._cameras) >= MAX_CAMERAS:
                del self._cameras[min(self._cameras, key=lambda one: self._cameras[one].last_event_ms or 0)]
            camera = self._cameras[name] = Camera(name)
        return camera
