"""Collects the events of one run while it goes on, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from streamproc.cloudevents import Emitted, emitted, structured_event
from streamproc.errors import StreamprocError
from streamproc.reader import TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition


class EventLog:
    """The events of one camera and run, as they appear on the events topic.

    Attributes:
        seen: Times each sequence number was told of (1 each, if the promise holds).
    """

    def __init__(self, settings: Settings, *, camera: str, run: str) -> None:
        self._settings = settings
        self._camera, self._run = camera, run
        self._topic = Topics(settings.prefix).events
        self._changed = threading.Condition()
        self._events: dict[int, dict[str, Any]] = {}
        self._happened: dict[str, tuple[int, dict[str, Any]]] = {}  # by id: what happened on frames
        self.seen: Counter[int] = Counter()
        self._stop = threading.Event()
        self._problem: StreamprocError | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(timeout=15)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    @property
    def count(self) -> int:
        """Frames that have an outcome."""
        return len(self._events)

    def events(self) -> list[dict[str, Any]]:
        """The frame events as CloudEvents in JSON form, by sequence."""
        with self._changed:
            return [self._events[sequence] for sequence in sorted(self._events)]

    def happened(self) -> list[dict[str, Any]]:
        """The events of what happened on frames (tracks, rules, anomalies), by sequence."""
        with self._changed:
            return [event for _, event in sorted(self._happened.values(), key=lambda one: one[0])]

    def wait_for(self, count: int, *, timeout_s: float) -> bool:
        """Wait until at least `count` frames have an outcome; False when time is up.

        Raises:
            StreamprocError: Reading events failed.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(self._events) < count and self._problem is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        if self._problem is not None:
            raise self._problem
        return True

    def _follow(self) -> None:
        try:
            with TopicReader(self._settings, self._topic) as reader:
                number = camera_partition(self._camera, len(reader.partitions()))
                start = reader.bounds(number)[1]
                self._ready.set()
                for record in reader.follow({number: start}, stop=self._stop.is_set):
                    found = None if record is None else emitted(record.headers)
                    if (
                        record is None
                        or found is None
                        or (found.key.camera, found.key.run) != (self._camera, self._run)
                    ):
                        continue
                    self._take(found, structured_event(record.headers, record.value))
        except StreamprocError as error:
            with self._changed:
                self._problem = error
                self._changed.notify_all()
        finally:
            self._ready.set()

    def _take(self, found: Emitted, event: dict[str, Any]) -> None:
        sequence = found.key.sequence
        with self._changed:
            if not found.is_frame:
                self._happened.setdefault(found.id, (sequence, event))
                return
            self.seen[sequence] += 1
            self._events.setdefault(sequence, event)
            self._changed.notify_all()
