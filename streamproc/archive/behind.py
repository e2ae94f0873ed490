"""Writing behind: bytes are written in order on a thread of their own while the next ones are put together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

WAITING_BYTES = 8 * 2**20


class Behind:
    """Calls `write` with each piece in turn, on a thread that lives as long as there are any.

    For one caller at a time. What fails is raised by the next call; nothing is written after it.

    Args:
        write: Writes a piece.
        waiting_bytes: Pieces above this are waited for; one piece is always taken.
    """

    def __init__(self, write: Callable[[bytes], None], *, waiting_bytes: int = WAITING_BYTES) -> None:
        self._write = write
        self._limit = waiting_bytes
        self._change = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._running = False
        self._error: BaseException | None = None

    def put(self, piece: bytes) -> None:
        """Have a piece written; waits while too much waits already."""
        with self._change:
            self._change.wait_for(lambda: not self._waiting or self._waiting + len(piece) <= self._limit)
            self._raise()
            self._pieces.append(piece)
            self._waiting += len(piece)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="archive-write", daemon=True).start()

    def drain(self) -> None:
        """Wait until all is written."""
        with self._change:
            self._change.wait_for(lambda: not self._running)
            self._raise()

    def abandon(self) -> None:
        """Forget what waits, and wait for the piece that is being written."""
        with self._change:
            self._forget()
            self._change.wait_for(lambda: not self._running)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _forget(self) -> None:
        self._waiting -= sum(map(len, self._pieces))
        self._pieces.clear()

    def _run(self) -> None:
        while (piece := self._next()) is not None:
            error: BaseException | None = None
            try:
                self._write(piece)
            except BaseException as raised:  # noqa: BLE001 - raised by the next call
                error = raised
            with self._change:
                self._waiting -= len(piece)
                if error is not None:
                    self._error = error
                    self._forget()
                self._change.notify_all()

    def _next(self) -> bytes | None:
        with self._change:
            if self._pieces:
                return self._pieces.popleft()
            self._running = False
            self._change.notify_all()
            return None
