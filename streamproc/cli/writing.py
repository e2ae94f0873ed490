"""Files that appear when they are whole."""

from __future__ import annotations

import os
from pathlib import Path

from streamproc.errors import StreamprocError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StreamprocError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StreamprocError(f"{path} cannot be written: {error.strerror}") from None
