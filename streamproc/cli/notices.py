"""Lines for the user beside a command's result."""

from __future__ import annotations

import logging
from typing import Any

from rich.console import Console
from rich.text import Text

from streamproc.logs import as_json
from streamproc.words import Line

log = logging.getLogger("streamproc.notice")


class _Notices(Console):
    """The terminal's stderr; where the log is JSON, each line becomes one of the log's."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or log line by line without colours."""
        if not as_json():
            super().print(*objects, **options)
            return
        with self.capture() as printed:
            super().print(*objects, **options)
        for line in Text.from_ansi(printed.get()).plain.splitlines():
            if line.strip():
                log.info("%s", line.rstrip())


err = _Notices(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line on stderr as it stands; where the log is JSON, log it with the facts that are in it."""
    if as_json():
        log.info("%s", line, extra=line.facts if isinstance(line, Line) else None)
    else:
        err.print(line, markup=False)


def quiet(_line: str) -> None:
    """With --json nothing but the result is printed."""
