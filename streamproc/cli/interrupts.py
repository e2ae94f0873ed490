"""Ctrl-C and SIGTERM for commands that have something to finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals(told: Callable[[], None] = lambda: None) -> Iterator[tuple[threading.Event, list[int]]]:
    """The first signal sets the event, so that what is under way can be finished; the second ends at once.

    Args:
        told: Called at the first signal, on a thread of its own, to say so.

    Yields:
        The event, and a list that holds the number of the first signal once it came.
    """
    stop = threading.Event()
    received: list[int] = []

    def act() -> None:
        stop.set()
        told()

    def handle(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        # Not here: the main thread may be inside `stop.wait`, whose lock is not reentrant.
        threading.Thread(target=act, name="signal", daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
