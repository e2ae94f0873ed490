"""The command line as a user runs it: a process of its own, with what it printed and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class Running:
    """A command under way. What it prints goes into files, so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._process.pid

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return (self._folder / "out").read_text(errors="replace")

    @property
    def err(self) -> str:
        """The same for stderr."""
        return (self._folder / "err").read_text(errors="replace")

    def check(self) -> None:
        """Fail if it has ended."""
        assert self._process.poll() is None, f"ended with {self._process.returncode}: {self.err}"

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does: SIGINT to the command and to all of its process group."""
        os.killpg(self.pid, signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        self._process.send_signal(number)

    def ended(self, *, timeout_s: float) -> tuple[Done, float]:
        """How it ended, and the seconds that were waited for it; fails if it goes on."""
        started_s = time.monotonic()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s: {self.err}") from None
        return Done(code, self.out, self.err), time.monotonic() - started_s


def streamproc(*arguments: str | Path, timeout_s: float = 90, cwd: Path | None = None, **variables: str) -> Done:
    """Run `streamproc ARGUMENTS` and wait for its end."""
    done = subprocess.run(
        _command(arguments),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd,
        env=_environment(variables),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(*arguments: str | Path, cwd: Path | None = None, **variables: str) -> Iterator[Running]:
    """Run `streamproc ARGUMENTS` beside the test; it is killed when the block is left, if it has not ended."""
    with tempfile.TemporaryDirectory(prefix="streamproc-test-") as name:
        folder = Path(name)
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                _command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=_environment(variables),
                start_new_session=True,  # so that `interrupt` meets this command and not the test
            )
        with process:
            try:
                yield Running(process, folder)
            finally:
                process.kill()


def _command(arguments: tuple[str | Path, ...]) -> list[str]:
    return [sys.executable, "-P", "-m", "streamproc", *map(str, arguments)]  # -P: as the console script, not from here


def _environment(variables: dict[str, str]) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
    return {**environment, "COLUMNS": "200", **variables}
