"""Workers as child processes that are started again when they die, each start with its own failpoints and bugs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from streamproc.broker.ports import choose_ports
from streamproc.settings import Settings, child_environment
from tests.chaos.patches import STALE

ROOT = Path(__file__).parent.parent.parent
EDGES = 'name = "edges"\n[[step]]\noperator = "canny"\nname = "edges"\n'

_LOOK_S = 0.05
_PAUSE_S = 0.3
_STOP_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a worker is started.

    Attributes:
        failpoint: `name@n`, or nothing.
        bug: Name of a planted bug, or nothing.
    """

    failpoint: str = ""
    bug: str = ""

    def arguments(self) -> list[str]:
        """For the launcher."""
        options = {"--failpoint": self.failpoint, "--bug": self.bug}
        return [word for option, value in options.items() if value for word in (option, value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A worker that ended: when (ns since 1970), how, and what it had been started with."""

    worker: int
    at_ns: int
    status: int
    start: Start


@dataclass(slots=True, kw_only=True)
class Member:
    """One place in the fleet.

    Attributes:
        role: Of the worker.
        starts: Of each of its lives; the last one counts for all that follow.
        named: Keeps its name in the group over restarts (static membership).
        settings: None is the fleet's.
        port: Of its metrics, chosen at its first start.
    """

    role: str = "all"
    starts: Sequence[Start] = (Start(),)
    named: bool = True
    settings: Settings | None = None
    port: int = 0
    lives: int = 0
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    again_at_s: float = 0.0

    def start(self) -> Start:
        """Of the life that begins now."""
        return self.starts[min(self.lives, len(self.starts) - 1)]


@dataclass(slots=True)
class Fleet:
    """A context manager: starts its members, keeps them alive, stops them all.

    Attributes:
        deaths: In order of time; those that were asked to stop are not among them.
        problem: Why a worker is not started again any more.
    """

    settings: Settings
    members: list[Member]
    folder: Path
    most_restarts: int = 40
    deaths: list[Death] = field(default_factory=list)
    problem: str = ""
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _thread: threading.Thread | None = None

    @property
    def pipeline(self) -> Path:
        """Edges alone, so that many frames fit into a test."""
        return self.folder / "edges.toml"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pipeline.write_text(EDGES)
        with self._lock:
            for number in range(len(self.members)):
                self._start(number)
        self._thread = threading.Thread(target=self._watch, name="fleet", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGCONT)
                member.process.send_signal(signal.SIGTERM)
        deadline_s = time.monotonic() + _STOP_S
        for member in self.members:
            if member.process is not None:
                _end(member.process, deadline_s - time.monotonic())

    def pid(self, number: int) -> int:
        """Of the worker as it runs now."""
        process = self.members[number].process
        assert process is not None
        return process.pid

    def signal(self, number: int, which: signal.Signals) -> int:
        """Send a signal; returns when, ns since 1970."""
        with self._lock:
            at_ns = time.time_ns()
            os.kill(self.pid(number), which)
        return at_ns

    def retire(self, number: int) -> int | None:
        """Ask a worker to stop, wait, and leave it stopped; returns its exit status, None if it had to be killed."""
        member = self.members[number]
        with self._lock:
            member.wanted = False
            process = member.process
        if process is None:
            return None
        process.send_signal(signal.SIGTERM)
        return process.returncode if _end(process, _STOP_S) else None

    def recall(self, number: int) -> None:
        """Start a worker that was retired."""
        with self._lock:
            self.members[number].wanted = True
            self._start(number)

    def add(self, member: Member) -> int:
        """Start one more; returns its number."""
        with self._lock:
            self.members.append(member)
            self._start(len(self.members) - 1)
            return len(self.members) - 1

    def died_of(self, failpoint: str) -> bool:
        """Whether a worker was killed by this failpoint."""
        return any(death.start.failpoint == failpoint and death.status == -signal.SIGKILL for death in self.deaths)

    def counters(self, number: int) -> dict[str, float]:
        """A worker's metrics, summed over their labels; none while it cannot be asked."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{self.members[number].port}/metrics", timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def all_joined(self) -> bool:
        """Whether each worker that should run has had partitions assigned since it started."""
        wanted = [number for number, member in enumerate(self.members) if member.wanted]
        return all(self.counters(number).get("streamproc_rebalances_total", 0) > 0 for number in wanted)

    def check(self) -> None:
        """Fail if a worker could not be kept alive."""
        assert not self.problem, self.problem

    def log(self, number: int) -> Path:
        """What a worker writes, over all its lives."""
        return self.folder / f"worker-{number}.log"

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            with self._lock:
                for number, member in enumerate(self.members):
                    self._look(number, member)

    def _look(self, number: int, member: Member) -> None:
        if member.process is not None and member.wanted and (status := member.process.poll()) is not None:
            start = member.starts[min(member.lives - 1, len(member.starts) - 1)]
            self.deaths.append(Death(worker=number, at_ns=time.time_ns(), status=status, start=start))
            member.process = None
            member.again_at_s = time.monotonic() + _PAUSE_S
            if status == STALE or len(self.deaths) > self.most_restarts:
                member.wanted = False
                self.problem = f"worker {number} ended with status {status} for good: see {self.log(number)}"
        elif member.process is None and member.wanted and time.monotonic() >= member.again_at_s:
            self._start(number)

    def _start(self, number: int) -> None:
        member = self.members[number]
        settings = member.settings or self.settings
        member.port = member.port or choose_ports(0, 1)[0]
        own: dict[str, object] = {"metrics_port": member.port}
        settings = settings.model_copy(update=own | ({"instance_id": f"w{number}"} if member.named else {}))
        start = member.start()
        command = [sys.executable, "-m", "tests.chaos.launcher", *start.arguments(), "--", "--log-level", "INFO"]
        command += ["worker", "--role", member.role, "--pipeline", str(self.pipeline)]
        command += ["--parent-pid", str(os.getpid())]
        member.lives += 1
        with self.log(number).open("ab") as log:
            log.write(f"\n--- life {member.lives}: {start} ---\n".encode())
            log.flush()
            member.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(
                    {**_variables(settings), "PYTHONPATH": str(ROOT)}, without=("STREAMPROC_SETTINGS",)
                ),
                start_new_session=True,
            )


def members(count: int, **about: object) -> list[Member]:
    """So many members alike."""
    return [replace(Member(), **about) for _ in range(count)]  # type: ignore[arg-type] # fields of Member


def _variables(settings: Settings) -> dict[str, str]:
    """Settings that were given, as a worker's environment."""
    given = {name: getattr(settings, name) for name in Settings.model_fields if name != "security_password"}
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    return {f"STREAMPROC_{name.upper()}": str(value) for name, value in given.items() if value != defaults[name]}


def _end(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    """Wait, then kill; True if it ended by itself."""
    try:
        process.wait(timeout=max(0.1, wait_s))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)
        return False
    return True
