"""Lines for the user beside a command's result."""

from __future__ import annotations

import logging

from rich.console import Console

from streamproc.logs import as_json
from streamproc.words import Line

log = logging.getLogger("streamproc.notice")

err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line on stderr as it stands; where the log is JSON, log it with the facts that are in it."""
    if as_json():
        log.info("%s", line, extra=line.facts if isinstance(line, Line) else None)
    else:
        err.print(line, markup=False)


def quiet(_line: str) -> None:
    """With --json nothing but the result is printed."""
