"""All that the viewer knows at one moment, fed by its threads on the event loop, asked by requests."""

from __future__ import annotations

import time
from typing import Any, Final

from streamproc import __version__
from streamproc.metrics import Metrics
from streamproc.reader import Record
from streamproc.settings import Settings
from streamproc.view.cameras import Cameras
from streamproc.view.follow import Pulse
from streamproc.view.hub import MAX_EVENTS, MAX_NEWEST_BYTES, Hub
from streamproc.view.intake import MAX_BYTES, Intake
from streamproc.view.shown import Picture, Shown

MAX_PLACES: Final = 20_000
CAMERAS_EVERY_S: Final = 0.5
MANY_CAMERAS: Final = 100  # more are told of every fourth time: a thousand take some 50 ms


class State:
    """Cameras, browsers, the broker. Used on one thread, `place_of` on any."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.cameras = Cameras()
        self.hub = Hub()
        self.pulse = Pulse(settings.bootstrap, now_s=time.monotonic())
        self.metrics = metrics
        metrics.buffer_limit.labels("view").set(2 * MAX_BYTES + MAX_NEWEST_BYTES)
        self.intakes: list[Intake[Any]] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._broker: tuple[bool, str] | None = None

    def event(self, event: Shown, record: Record) -> None:
        """An event that was read."""
        self._places[event.id] = (record.partition, record.offset)
        if len(self._places) > MAX_PLACES:
            del self._places[next(iter(self._places))]
        self.cameras.event(event, self.now_ms())
        self.hub.event(event)

    def picture(self, picture: Picture, _record: Record) -> None:
        """A picture that was read."""
        self.cameras.picture(picture)
        self.hub.picture(picture)

    def place_of(self, event_id: str) -> tuple[int, int] | None:
        """Partition and offset of an event that was read lately."""
        return self._places.get(event_id)

    def now_ms(self) -> float:
        """Wall clock, milliseconds since 1970."""
        return time.time() * 1000

    def broker(self) -> dict[str, Any]:
        """Whether all is well with the broker, and one line."""
        ok, told = self.pulse.state(time.monotonic())
        return {"ok": ok, "told": told}

    def told(self) -> dict[str, Any]:
        """What a page is told when it begins."""
        now_ms = self.now_ms()
        changed = self.cameras.changed
        cameras = self.cameras.told(now_ms)
        self.cameras.changed = changed  # the other browsers have not been told
        return {
            "server_ms": now_ms,
            "version": __version__,
            "broker": self.broker(),
            "cameras": cameras,
            "limits": {"events": MAX_EVENTS},
        }

    def tick(self, number: int) -> None:
        """Tell browsers what has changed; called every `CAMERAS_EVERY_S`, with a number that counts up."""
        self.metrics.buffer_bytes.labels("view").set(self.hub.waiting_bytes + sum(map(_waiting, self.intakes)))
        broker = self.broker()
        now = (broker["ok"], broker["told"])
        if now != self._broker:
            self._broker = now
            self.hub.tell("broker", **broker)
        slow = len(self.cameras) > MANY_CAMERAS
        if len(self.hub) and (number % 4 == 0 or (self.cameras.changed and not slow)):  # speeds fall by themselves
            self.hub.tell("cameras", cameras=self.cameras.told(self.now_ms()))


def _waiting(intake: Intake[Any]) -> int:
    return intake.waiting_bytes
