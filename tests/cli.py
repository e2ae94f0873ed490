"""The command line as a user runs it: a process of its own, with what it printed and how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """The one line that says what is wrong; fails if there is not exactly one, or a traceback."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, self.err
        return lines[0]


def streamproc(*arguments: str | Path, timeout_s: float = 90, cwd: Path | None = None, **variables: str) -> Done:
    """Run `streamproc ARGUMENTS` and wait for its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
    done = subprocess.run(
        [sys.executable, "-m", "streamproc", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd,
        env={**environment, "COLUMNS": "200", **variables},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
