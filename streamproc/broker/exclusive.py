"""One at a time: an exclusive lock on a file, waited for no longer than said."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamproc.errors import BrokerError

POLL_S = 0.1


@contextmanager
def exclusive(file: Path, *, wait_s: float, doing: str) -> Iterator[None]:
    """Hold the lock of `file`; the kernel frees it when the process ends, however it ends.

    Args:
        file: Created if missing, its folder too.
        wait_s: Longest wait for another holder.
        doing: What the other holder is probably doing, for the error.

    Raises:
        BrokerError: Another process held it all the time.
    """
    deadline_s = time.monotonic() + wait_s
    while (descriptor := _try(file)) is None:
        if time.monotonic() >= deadline_s:
            raise BrokerError(
                f"another streamproc has been {doing} for more than {wait_s:g} s (lock {file}): "
                "wait for it or stop it, then run again"
            )
        time.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


def _try(file: Path) -> int | None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as on_failure:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        on_failure.callback(os.close, descriptor)
        # Not found: the last holder deleted the file with its folder between two of these steps.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A file deleted and made again is another file: the lock of the old one keeps nobody out.
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                on_failure.pop_all()
                return descriptor
    return None
