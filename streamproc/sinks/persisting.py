"""Calls of a target on a thread of its own, repeated until it answers: a target that hangs never stops a signal."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from streamproc.errors import SinkUnavailable
from streamproc.words import counted

_T = TypeVar("_T")
FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
_TELL_AGAIN_S: Final = 60.0

Told = Callable[[str], None]
"""Takes a line for a person."""


def pause_s(tried: int, *, asked_s: float | None, chance: float) -> float:
    """Seconds until the next try: twice as long after each, 30 at most, the upper half of it by chance.

    Args:
        tried: Tries so far, from 1.
        asked_s: What the target asks for; waited for at least.
        chance: 0 to 1.
    """
    longest_s = min(LONGEST_S, FIRST_S * 2.0 ** min(tried - 1, 16))
    return max(longest_s * (0.5 + 0.5 * chance), asked_s or 0.0)


class Persisting:
    """One call at a time, each until it succeeds, fails for good, or is given up.

    Args:
        told: Hears when the target stops answering, once a minute that it still does not, and when it is back.
        retried: Called for each try that failed.
        away: Hears why the target does not answer, at each try, and None when it is back.
        give_up_after_s: Longest time of tries of one call; None: no end.
        first_s: Scales all pauses; tests make it short.
    """

    def __init__(
        self,
        *,
        told: Told,
        retried: Callable[[], None],
        away: Callable[[str | None], None] = lambda _: None,
        give_up_after_s: float | None = None,
        first_s: float = FIRST_S,
    ) -> None:
        self._told, self._retried, self._away = told, retried, away
        self._give_up_after_s, self._scale = give_up_after_s, first_s / FIRST_S
        self._enough = threading.Event()
        self._failing = False
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=1)
        threading.Thread(target=self._run, name="sink", daemon=True).start()

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Start a call; the one before it must have ended."""
        future: Future[_T] = Future()

        def job() -> None:
            try:
                future.set_result(self._persist(call))
            except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                future.set_exception(error)

        self._jobs.put_nowait(job)
        return future

    @property
    def failing(self) -> bool:
        """The call under way was tried in vain at least once."""
        return self._failing

    def give_up(self) -> None:
        """Try nothing again from now on; a call under way may still end well."""
        self._enough.set()

    def close(self) -> None:
        """End the thread, once the call before has ended."""
        self._jobs.put_nowait(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _persist(self, call: Callable[[], _T]) -> _T:
        since_s, tell_s, tried = time.monotonic(), 0.0, 0
        while True:
            try:
                result = call()
            except SinkUnavailable as error:
                tried += 1
                self._failing = True
                self._retried()
                self._away(str(error))
                now_s = time.monotonic()
                if self._enough.is_set() or self._is_over(now_s - since_s):
                    raise
                if tried == 1 or now_s >= tell_s:
                    tell_s = now_s + _TELL_AGAIN_S
                    self._told(f"{error}; nothing is lost, trying again until it answers")
                self._enough.wait(self._scale * pause_s(tried, asked_s=error.after_s, chance=random.random()))
                if self._enough.is_set():
                    raise
            else:
                self._failing = False
                if tried:
                    self._away(None)
                    waited_s, tries = time.monotonic() - since_s, counted(tried, "try", "tries")
                    self._told(f"the target answers again, after {waited_s:.1f} s and {tries}")
                return result

    def _is_over(self, waited_s: float) -> bool:
        return self._give_up_after_s is not None and waited_s >= self._give_up_after_s
