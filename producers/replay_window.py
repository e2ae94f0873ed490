"""Windows of records read ahead by one, on a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from producers.replay_order import Window

_SLICE_S = 0.1
_JOIN_S = 40.0  # a read that stalls gives up after 30 s; its source must not be closed before


class Ahead:
    """Iterates windows while the next one is read; None when there is none yet. What reading raises is raised here.

    At most three windows are held: the one that is sent, one that waits, one that is read. Use as a context manager.

    Args:
        windows: Opens them, given what to ask, often, whether reading is to end.
    """

    def __init__(self, windows: Callable[[Callable[[], bool]], Iterator[Window]]) -> None:
        self._windows = windows
        self._ready: queue.Queue[Window | BaseException | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="replay-read", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=_JOIN_S)

    def __iter__(self) -> Iterator[Window | None]:
        while True:
            try:
                found = self._ready.get(timeout=_SLICE_S)
            except queue.Empty:
                yield None
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    def _read(self) -> None:
        last: BaseException | None = None
        try:
            for window in self._windows(self._stop.is_set):
                if not self._put(window):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            last = error
        self._put(last)

    def _put(self, found: Window | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(found, timeout=_SLICE_S)
            except queue.Full:
                continue
            return True
        return False
