"""Workers as child processes of one command: started together, watched, stopped within bounds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streamproc.errors import StreamprocError
from streamproc.settings import Settings, child_environment

# A name in the group belongs to one worker: several that had it would put each other out, and one that has ended would
# keep its partitions until its session is over.
_NOT_FOR_CHILDREN = ("STREAMPROC_SETTINGS", "STREAMPROC_INSTANCE_ID")


@dataclass(slots=True, kw_only=True)
class WorkerSpec:
    """One worker process to run."""

    role: str = "all"
    pipeline: Path | None = None
    threads: int = 1
    metrics_port: int = 0


@dataclass(slots=True, kw_only=True)
class _Child:
    spec: WorkerSpec
    process: subprocess.Popen[bytes]
    log: Path
    handle: IO[bytes] = field(repr=False)


class Workers:
    """Worker processes with a log file each; a context manager that always stops them.

    Raises:
        StreamprocError: `check` found a worker that ended by itself; the message holds its last words.
    """

    def __init__(self, settings: Settings, specs: Sequence[WorkerSpec], *, folder: Path) -> None:
        self._settings = settings
        self._specs = specs
        self._folder = folder
        self._children: list[_Child] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for number, spec in enumerate(self._specs):
                self._children.append(self._start(number, spec))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """Process ids, in the order of the specs."""
        return [child.process.pid for child in self._children]

    def check(self) -> None:
        """Raise if a worker ended by itself."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                raise StreamprocError(f"a worker ended with status {code}: {last_words(child.log)} (log: {child.log})")

    def restart(self, number: int) -> None:
        """Start a worker anew in the place of one that has ended."""
        old = self._children[number]
        old.process.wait(timeout=self._settings.shutdown_s + 5)
        old.handle.close()
        self._children[number] = self._start(number, old.spec)

    def stop(self) -> None:
        """SIGTERM to all, wait their shutdown time, SIGKILL to what is left."""
        for child in self._children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.shutdown_s + 3
        for child in self._children:
            try:
                child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait(timeout=10)
            child.handle.close()
        self._children = []

    def _start(self, number: int, spec: WorkerSpec) -> _Child:
        # -P: modules come from where streamproc is installed, not from the folder the user stands in
        command = [sys.executable, "-P", "-m", "streamproc", "--log-level", "INFO", "worker", "--role", spec.role]
        command += ["--threads", str(spec.threads), "--parent-pid", str(os.getpid())]
        if spec.metrics_port:
            command += ["--metrics-port", str(spec.metrics_port)]
        if spec.pipeline is not None:
            command += ["--pipeline", str(spec.pipeline)]
        log = self._folder / f"worker-{number}.log"
        handle = log.open("ab")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env=child_environment(_as_variables(self._settings), without=_NOT_FOR_CHILDREN),
            start_new_session=True,  # Ctrl-C reaches the command, which stops its workers in order
        )
        return _Child(spec=spec, process=process, log=log, handle=handle)


def _as_variables(settings: Settings) -> dict[str, str]:
    """Settings that differ from their defaults, as environment of a child: secrets stay out of its arguments."""
    variables = {}
    for name in (settings.model_fields_set | {"bootstrap"}) - {"instance_id"}:
        value = getattr(settings, name)
        if value is not None:
            text = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            variables[f"STREAMPROC_{name.upper()}"] = text
    return variables


def last_words(log: Path, *, limit: int = 400) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ")[-limit:] if lines else "it wrote nothing"
