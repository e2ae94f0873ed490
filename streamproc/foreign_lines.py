"""What others write to stderr - native libraries, child processes, Python itself - as lines of our own log.

A container's log is read by machines, line by line. libpng and glibc write to file descriptor 2 without asking, so the
descriptor itself is led into a pipe, and what comes out is logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
import threading
from typing import Final, TextIO

log = logging.getLogger("stderr")

MAX_LINE_BYTES: Final = 16_384
"""A longer line is told in pieces."""
_LOOK_S: Final = 0.1
_READ_BYTES: Final = 65_536
_END_S: Final = 1.0


class ForeignLines:
    """Leads descriptor 2 into the log, until closed.

    What is still in the pipe when the process dies by a signal is lost; what this process logs never goes through it.

    Attributes:
        real: Where stderr led before; log lines go there.
    """

    def __init__(self) -> None:
        sys.stderr.flush()
        self.real: TextIO = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
        self._read, write = os.pipe()
        os.dup2(write, 2)
        os.close(write)
        self._over = threading.Event()
        self._rest = b""
        self._thread = threading.Thread(target=self._pump, name="stderr", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Lead descriptor 2 back, and log what is in the pipe; children may go on writing, into nothing."""
        if self._over.is_set():
            return
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os.dup2(self.real.fileno(), 2)
        self._over.set()
        self._thread.join(_END_S)

    def _pump(self) -> None:
        while True:
            readable, _, _ = select.select([self._read], [], [], _LOOK_S)
            if not readable:
                if self._over.is_set():
                    break
                continue
            found = os.read(self._read, _READ_BYTES)
            if not found:
                break
            self._take(found)
        if self._rest:
            self._tell(self._rest)

    def _take(self, found: bytes) -> None:
        *lines, self._rest = (self._rest + found).split(b"\n")
        while len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        for line in lines:
            self._tell(line)

    def _tell(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").strip()
        if not text:
            return
        # Whoever read may be gone, or a disk full: reading goes on all the same, or children would wait for ever.
        with contextlib.suppress(OSError, ValueError):
            if is_log_line(text):  # of a child that logs as we do
                self.real.write(text + "\n")
            else:
                log.warning("%s", text)


def is_log_line(text: str) -> bool:
    """Whether a line is one of ours."""
    if not text.startswith("{"):
        return False
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and {"time", "level", "event"} <= found.keys()
