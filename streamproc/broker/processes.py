"""Processes known by pid and start time, so that a pid used again by another program is never taken for ours.

Also run by its path as a program of its own, without the rest of streamproc (hence standard library only):

    processes.py spawn LOG COMMAND...   start COMMAND in a session of its own, print its pid, end
    processes.py guard FOLDER           wait for the end of stdin, then kill FOLDER's brokers and delete it

`spawn` goes through a process that ends at once, so that the broker has no parent that must wait for it: it
outlives the command that started it, and leaves no zombie in a program that goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

SPAWN_S = 30.0
PS_S = 10.0
KILL_S = 10.0
POLL_S = 0.05
_PROC = Path("/proc/self")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of this machine; `born` says which of those that had the pid in the course of time."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Whether this very process is still running; a zombie is not."""
        return born(self.pid) == self.born


def born(pid: int) -> str | None:
    """When the process with this pid started, as text to compare; None if there is none, or only a zombie."""
    return _born_by_proc(pid) if _PROC.is_dir() else _born_by_ps(pid)


def _born_by_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets, which may hold brackets itself: proc_pid_stat(5).
    fields = stat.rpartition(")")[2].split()
    state, ticks_since_boot = fields[0], fields[19]
    if state in ("Z", "X"):
        return None
    boot = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""
    return f"{boot}/{ticks_since_boot}"


def _born_by_ps(pid: int) -> str | None:
    # lstart is a date in the language of the locale: C, so that it compares equal in another terminal.
    command = ["/bin/ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PS_S, env={"LC_ALL": "C"}, check=False)
    state, _, start = done.stdout.strip().partition(" ")
    if not start or state.startswith("Z"):
        return None
    return start.strip()


def spawn(command: list[str], *, folder: Path, log: Path, environment: Mapping[str, str]) -> Process:
    """Start a program that outlives us, in a session of its own, its output appended to `log`.

    Raises:
        OSError: The program cannot be started; the message says why.
    """
    launcher = [sys.executable, "-I", "-S", __file__, "spawn", str(log), *command]
    done = subprocess.run(
        launcher, cwd=folder, env=environment, capture_output=True, text=True, timeout=SPAWN_S, check=False
    )
    if done.returncode != 0:
        raise OSError((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1])
    pid = int(done.stdout)
    # A program that ended at once has no start time any more; "" is nobody's, so it counts as dead.
    return Process(pid=pid, born=born(pid) or "")


def end(processes: Iterable[Process], *, graceful_s: float) -> list[Process]:
    """Stop processes: SIGTERM, a bounded wait, then SIGKILL; returns those that still run even so.

    Args:
        processes: Checked by start time before each signal.
        graceful_s: Seconds they get to end by themselves; 0 kills at once.

    Raises:
        PermissionError: One belongs to another user.
    """
    left = [process for process in processes if process.alive]
    if graceful_s > 0:
        left = _signal_and_wait(left, signal.SIGTERM, wait_s=graceful_s)
    return _signal_and_wait(left, signal.SIGKILL, wait_s=KILL_S)


def _signal_and_wait(processes: list[Process], number: signal.Signals, *, wait_s: float) -> list[Process]:
    for process in processes:
        if process.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
    deadline_s = time.monotonic() + wait_s
    left = [process for process in processes if process.alive]
    while left and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        left = [process for process in left if process.alive]
    return left


def processes_of(state_file: Path) -> list[Process]:
    """The processes a state file names, alive or not; none if there is no such file."""
    try:
        state = json.loads(state_file.read_text(encoding="utf-8"))
        return [Process(pid=int(node["pid"]), born=str(node["born"])) for node in state["nodes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _spawn_main(log: str, command: list[str]) -> int:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print(child.pid, flush=True)
    os._exit(0)  # not sys.exit: nothing here may wait for, or warn about, the child that goes on


def _guard_main(folder: Path) -> int:
    # Nothing is ever written to stdin: reading returns when the last holder of the other end is gone.
    sys.stdin.buffer.read()
    end(processes_of(folder / "state.json"), graceful_s=0)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def main(arguments: list[str]) -> int:
    """Run one of the two programs described at the top."""
    match arguments:
        case ["spawn", log, *command] if command:
            return _spawn_main(log, command)
        case ["guard", folder]:
            return _guard_main(Path(folder))
    print("usage: processes.py spawn LOG COMMAND... | guard FOLDER", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
