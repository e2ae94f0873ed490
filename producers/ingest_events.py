"""Camera events on their way to the broker: kept until they are acknowledged, sent again if they are not."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from streamproc.cloudevents import encode_camera_event
from streamproc.errors import StreamprocError
from streamproc.topics import Topics, camera_partition

if TYPE_CHECKING:
    from producers.publish import Sender
    from streamproc.cloudevents import CameraEvent
    from streamproc.metrics import Metrics

MOST = 10_000
"""Events kept while the broker takes none; then the oldest go, counted."""


class Outbox:
    """At least once: an event whose fate is unknown is sent again, with the same id.

    Args:
        sender: Where records go.
        prefix: Of the topics.
        partitions: Of the events topic.
        metrics: Counts what is given up.
        most: Events kept.

    Attributes:
        acked, lost: Events that the broker has acknowledged, and those given up.
    """

    def __init__(self, sender: Sender, *, prefix: str, partitions: int, metrics: Metrics, most: int = MOST) -> None:
        self._sender, self._partitions, self._metrics = sender, partitions, metrics
        self._topic = Topics(prefix).events
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[CameraEvent] = deque()
        self._under_way = 0
        self.acked = 0
        self.lost = 0

    def put(self, event: CameraEvent) -> None:
        """Take an event, from any thread; returns at once."""
        with self._lock:
            self._waiting.append(event)
            self._bound()

    def send(self) -> None:
        """Hand what waits to the sender, as far as it has room; returns at once."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                event = self._waiting.popleft()
                self._under_way += 1
            if not self._send(event):
                return

    @property
    def pending(self) -> int:
        """Events without an acknowledgement."""
        with self._lock:
            return len(self._waiting) + self._under_way

    def give_up(self) -> int:
        """No more can be sent: how many never were acknowledged."""
        with self._lock:
            left = len(self._waiting) + self._under_way
            self._waiting.clear()
            self._lose(left)
            return left

    def _send(self, event: CameraEvent) -> bool:
        headers, value = encode_camera_event(event)
        try:
            self._sender.send(
                topic=self._topic,
                partition=camera_partition(event.camera, self._partitions),
                key=event.camera.encode(),
                value=value,
                headers=headers,
                on_delivery=lambda error, _offset: self._report(event, error),
                timeout_s=0,
            )
        except StreamprocError as error:
            self._report(event, error)
            return False
        return True

    def _report(self, event: CameraEvent, error: Exception | None) -> None:
        with self._lock:
            self._under_way -= 1
            if error is None:
                self.acked += 1
                return
            self._waiting.appendleft(event)
            self._bound()

    def _bound(self) -> None:
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self._lose(1)

    def _lose(self, events: int) -> None:
        self.lost += events
        self._metrics.camera_events_lost.inc(events)
