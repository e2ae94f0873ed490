"""The threads that cut, encode and send the frames of all cameras."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol


class Served(Protocol):
    """What a crew needs of a lane."""

    def serve(self) -> bool:
        """Do one frame; whether another waits."""


class Crew:
    """Threads that serve lanes, one frame at a time, in turns.

    Args:
        threads: How many.

    Attributes:
        problem: What ended a thread, None while all is well: then all is to end.
    """

    def __init__(self, threads: int) -> None:
        self._waiting: deque[Served] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"encode-{number}", daemon=True) for number in range(threads)
        ]
        self.problem: BaseException | None = None

    def start(self) -> None:
        """Begin to serve."""
        for thread in self._threads:
            thread.start()

    def put(self, lane: Served) -> None:
        """A frame waits in a lane that is not here yet."""
        with self._changed:
            self._waiting.append(lane)
            self._changed.notify()

    def fail(self, problem: BaseException) -> None:
        """All is to end by this."""
        self.problem = self.problem or problem

    def close(self, *, timeout_s: float) -> None:
        """Serve no more; waits for frames under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _work(self) -> None:
        while (lane := self._next()) is not None:
            try:
                more = lane.serve()
            except BaseException as error:  # noqa: BLE001 - raised again by `Ingest`, on the main thread
                self.fail(error)
                return
            if more:
                self.put(lane)

    def _next(self) -> Served | None:
        with self._changed:
            while not (self._waiting or self._closed):
                self._changed.wait()
            return None if self._closed else self._waiting.popleft()
