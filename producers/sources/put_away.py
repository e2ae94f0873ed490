"""Deleting or moving the pictures of a watched folder once they are in Kafka, in a thread of its own.

A folder may be on a network, where a deletion can hang; receipts come on threads that must not.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from producers.sources.arrivals import MOST_TRIES, Arrivals, Stamp
from streamproc.errors import CameraLost

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

After: TypeAlias = Literal["keep", "delete", "move"]

DONE = "done"  # sub-folder that taken pictures are moved to
_MOST_TOLD = 100_000  # pictures to be put away; no more are given until they are
_MOST_ALIKE = 1000  # names tried in `done/`
_EXIT_S = 5.0  # for what is still to be put away when the program ends

_busy: set[threading.Thread] = set()  # of all folders
_busy_lock = threading.Lock()


class Progress:
    """How far a watched folder has been read; goes on from one connection to the next. May be used from any thread.

    Holds one entry for each file of the folder, and one for each picture that has been given and not put away.

    Args:
        folder: Where the files are.
        after: What becomes of a picture that is in Kafka.
        known: Files that are not new.
        absent: As of `Arrivals`.
    """

    def __init__(self, folder: Path, *, after: After, known: dict[str, Stamp], absent: int) -> None:
        self._folder, self._after = folder, after
        self._lock = threading.Lock()
        self._arrivals = Arrivals(known, absent=absent)
        self._told: deque[tuple[str, Stamp, bool]] = deque()
        self._worker: threading.Thread | None = None
        self._problem: str | None = None

    def ready(self, listing: dict[str, Stamp], *, now_s: float) -> list[str]:
        """As of `Arrivals`.

        Raises:
            CameraLost: A picture cannot be put away. It is tried again with the next call.
        """
        with self._lock:
            problem, self._problem = self._problem, None
            if self._told:
                self._start()
            if problem is not None:
                raise CameraLost("refused", problem)
            return self._arrivals.ready(listing, now_s=now_s) if len(self._told) < _MOST_TOLD else []

    def given(self, name: str, stamp: Stamp) -> Callable[[bool], None] | None:
        """Note that a file was taken; what is to be told whether it got into Kafka, None where nobody wants to know."""
        with self._lock:
            self._arrivals.given(name, stamp)
        return None if self._after == "keep" else lambda in_log: self._receipt(name, stamp, in_log=in_log)

    def _receipt(self, name: str, stamp: Stamp, *, in_log: bool) -> None:
        with self._lock:
            self._told.append((name, stamp, in_log))
            if self._problem is None:
                self._start()

    def _start(self) -> None:
        """Have a thread see to what was told; with the lock held, which the thread needs before it can end."""
        if self._worker is None:
            worker = threading.Thread(target=self._work, name="put away", daemon=True)
            worker.start()
            self._worker = worker
            with _busy_lock:
                _busy.add(worker)

    def _work(self) -> None:
        while (told := self._next()) is not None:
            name, stamp, in_log = told
            try:
                if in_log:
                    put_away(self._folder / name, stamp, after=self._after)
                else:
                    self._failed(name, stamp)
            except OSError as error:
                with self._lock:
                    self._told.appendleft(told)
                    self._problem = (
                        f"{self._folder / name} cannot be put away ({error.strerror or error}): give this user the"
                        " right to; what is in Kafka is not read again"
                    )

    def _next(self) -> tuple[str, Stamp, bool] | None:
        """What was told first; None, and the thread is over, where there is nothing to do, or no use in trying."""
        with self._lock:
            if self._told and self._problem is None:
                return self._told.popleft()
            with _busy_lock:
                _busy.discard(threading.current_thread())
            self._worker = None
            return None

    def _failed(self, name: str, stamp: Stamp) -> None:
        with self._lock:
            again = self._arrivals.failed(name, stamp, now_s=time.monotonic())
        if not again:
            log.warning(
                "%s did not get into Kafka in %d tries: it is left where it is, and read again at the next start",
                self._folder / name,
                MOST_TRIES,
                extra={"file": str(self._folder / name)},
            )


def put_away(file: Path, stamp: Stamp, *, after: After) -> None:
    """Delete the file, or move it into `done/` without overwriting anything there, if it is still what was read.

    Raises:
        OSError: It cannot be done.
    """
    try:
        if Stamp.of(file.stat()) != stamp:
            return  # it was written anew; its turn comes
        if after == "delete":
            file.unlink()
        elif after == "move":
            _move(file, stamp)
    except FileNotFoundError:
        if not file.parent.is_dir():  # the folder is away, and may come back with the file
            raise


def _move(file: Path, stamp: Stamp) -> None:
    done = file.parent / DONE
    done.mkdir(exist_ok=True)
    names = [
        f"{file.stem}-{stamp.mtime_ns}{more}{file.suffix}" for more in ("", *map("-{}".format, range(_MOST_ALIKE)))
    ]
    for name in (file.name, *names):
        try:
            os.close(os.open(done / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # nobody else takes the name
        except FileExistsError:
            continue
        try:
            file.replace(done / name)
        except OSError:
            (done / name).unlink()
            raise
        return
    raise FileExistsError(errno.EEXIST, f"{DONE}/ holds {_MOST_ALIKE} files of its name and time")


@atexit.register
def _finish() -> None:
    deadline_s = time.monotonic() + _EXIT_S
    with _busy_lock:
        busy = list(_busy)
    for thread in busy:
        thread.join(max(0.0, deadline_s - time.monotonic()))
