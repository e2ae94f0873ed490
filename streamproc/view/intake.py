"""Between the threads that read topics and the event loop: bounded in bytes, the threads wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
MAX_BYTES: Final = 16 * 2**20
_LOOK_S: Final = 0.2


class Intake(Generic[_T]):
    """A queue of things with sizes. `put` from any thread; `drain` from one.

    Args:
        ready: Called by `put`, on its thread, when the queue was empty.
        stop: When true, `put` drops what it cannot place.
        max_bytes: What may wait; a thing that is larger waits alone.
    """

    def __init__(self, ready: Callable[[], None], *, stop: Callable[[], bool], max_bytes: int = MAX_BYTES) -> None:
        self._ready = ready
        self._stop = stop
        self._max_bytes = max_bytes
        self._things: deque[tuple[_T, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    @property
    def waiting_bytes(self) -> int:
        """Of things not drained yet."""
        return self._bytes

    def put(self, thing: _T, size: int) -> None:
        """Add a thing; waits while there is no room."""
        with self._changed:
            while self._things and self._bytes + size > self._max_bytes:
                if self._stop():
                    return
                self._changed.wait(_LOOK_S)
            self._things.append((thing, size))
            self._bytes += size
            first = len(self._things) == 1
        if first:
            self._ready()

    def drain(self) -> list[_T]:
        """All that waits, oldest first."""
        with self._changed:
            things = [thing for thing, _ in self._things]
            self._things.clear()
            self._bytes = 0
            self._changed.notify_all()
        return things
