"""What is written down while `make up` runs, so that a second one, or `make down`, finds it: one at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamproc.broker import LocalCluster
from streamproc.broker.exclusive import exclusive
from streamproc.broker.places import default_data_folder
from streamproc.broker.processes import Process, born, end, processes_of
from streamproc.errors import BrokerError, UsageError

STATE: Final = "up.json"
LOCK: Final = "lock"
_END_S: Final = 90.0  # the longest grace of a service, and the broker's
_LEFT_S: Final = 10.0
_POLL_S: Final = 0.1


def data_folder() -> Path:
    """The user's folder for logs, volumes and state."""
    return default_data_folder().parent / "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Who runs, and what.

    Attributes:
        process: The command itself.
        viewer: URL of the viewer, for whoever asks twice.
        own_broker: The local broker was started by it, and ends with it.
        others: What it started.
    """

    process: Process
    viewer: str | None
    own_broker: bool
    others: tuple[Process, ...]

    def write(self, folder: Path) -> None:
        """Into a folder; whole or not at all."""
        content = {
            "pid": self.process.pid,
            "born": self.process.born,
            "viewer": self.viewer,
            "own_broker": self.own_broker,
            "nodes": [{"pid": one.pid, "born": one.born} for one in self.others],
        }
        fresh = folder / f"{STATE}.new"
        fresh.write_text(json.dumps(content))
        fresh.replace(folder / STATE)


def read_state(folder: Path) -> State | None:
    """What was written; None if nothing was, or it cannot be read."""
    try:
        content = json.loads((folder / STATE).read_text())
        return State(
            process=Process(pid=int(content["pid"]), born=str(content["born"])),
            viewer=content["viewer"],
            own_broker=bool(content["own_broker"]),
            others=tuple(processes_of(folder / STATE)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Hold the place of the one that runs; what one that was killed left behind is ended first.

    Yields:
        Whether that one had started the local broker; who takes it over writes a state of its own.

    Raises:
        UsageError: Another runs.
    """
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(folder / LOCK, wait_s=0, doing="running"))
        except BrokerError:
            raise UsageError(_told_twice(read_state(folder))) from None
        before = read_state(folder)
        if before is not None:
            end(before.others, graceful_s=_LEFT_S)
        if before is None or not before.own_broker:
            (folder / STATE).unlink(missing_ok=True)
        try:
            yield before is not None and before.own_broker
        finally:
            # One that was refused has taken nothing over: that a broker was left stays written down for the next.
            after = read_state(folder)
            if after is None or after.process.alive:
                (folder / STATE).unlink(missing_ok=True)


def _told_twice(state: State | None) -> str:
    if state is None:
        return "it is being started or stopped already: wait for it"
    viewer = f", its viewer at {state.viewer}" if state.viewer else ""
    return f"it runs already (pid {state.process.pid}{viewer}): use that, or end it with: make down"


def state_of_ours(others: Iterable[Process], *, viewer: str | None, own_broker: bool) -> State:
    """State of this very process."""
    own = Process(pid=os.getpid(), born=born(os.getpid()) or "")
    return State(process=own, viewer=viewer, own_broker=own_broker, others=tuple(others))


def _runs(process: Process) -> bool:
    return process.alive


def bring_down(folder: Path) -> str:
    """End what runs, or what one that was killed left behind.

    Returns:
        What was done, for a person.

    Raises:
        UsageError: It does not end.
    """
    state = read_state(folder)
    if state is None:
        return "nothing was running"
    if state.process.alive:
        os.kill(state.process.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + _END_S
        while _runs(state.process):
            if time.monotonic() > deadline_s:
                raise UsageError(f"pid {state.process.pid} has not ended within {_END_S:g} s: look at that process")
            time.sleep(_POLL_S)
        return "stopped"
    with alone(folder) as own_broker:
        if own_broker:
            LocalCluster().stop()
        (folder / STATE).unlink(missing_ok=True)
    return "one that was killed had left processes behind; they are stopped"


def kept_bytes(folder: Path) -> int:
    """Bytes on disk of what stays: records of the local broker, logs and volumes."""
    return sum(_size(file) for place in (folder, default_data_folder()) for file in place.rglob("*"))


def remove_kept(folder: Path) -> str:
    """Delete what stays: the local broker's records, logs and volumes; nothing of ours may run.

    Returns:
        What was done, for a person.

    Raises:
        UsageError: Another runs.
    """
    with alone(folder):
        bytes_before = kept_bytes(folder)
        for one in folder.iterdir():
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            elif one.name != LOCK:
                one.unlink()
        cluster = LocalCluster()
        if cluster.status().state != "stopped":
            return (
                "logs and volumes are removed; the local Kafka was not started by make up and runs: remove its records"
                " with: streamproc broker stop --delete-data"
            )
        cluster.stop(delete_data=True)
    return f"records, logs and volumes are removed: {(bytes_before - kept_bytes(folder)) / 1e9:.1f} GB"


def _size(file: Path) -> int:
    try:
        return 0 if file.is_symlink() else file.stat().st_blocks * 512
    except OSError:
        return 0  # deleted meanwhile
