"""Processes beside one command: started with a log each, started again when they end, stopped in order, none left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from compose.plan import STEADY_S, LocalProcess, pause_s, runs_again
from streamproc.broker.processes import Process, born
from streamproc.errors import StreamprocError
from streamproc.supervise import last_words

_KILL_S = 5.0
_LOG_BYTES = 20 * 2**20
_POLL_S = 0.05


@dataclass(slots=True, kw_only=True)
class _Member:
    what: LocalProcess
    log: Path
    handle: IO[bytes]
    process: subprocess.Popen[bytes]
    started_s: float
    restarts: int = 0
    next_s: float | None = None  # when it is started again; None while it runs, or for good
    over: bool = False


class Crew:
    """Processes by name.

    Args:
        logs: Folder of their logs; the one of the start before is kept as NAME.log.1.
        environment: What all have, before what each sets.
        told: Told in one line when one has ended.
        hint: What to do about one that has ended, if anything can be said.
    """

    def __init__(
        self,
        logs: Path,
        *,
        environment: Mapping[str, str],
        told: Callable[[str], None],
        hint: Callable[[LocalProcess], str | None] = lambda _: None,
    ) -> None:
        self._logs = logs
        self._hint = hint
        self._environment = environment
        self._told = told
        self._members: dict[str, _Member] = {}

    def start(self, what: LocalProcess) -> None:
        """Start one.

        Raises:
            StreamprocError: It cannot be started.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{what.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        handle = log.open("ab", buffering=0)
        try:
            process = self._spawn(what, handle)
        except OSError as error:
            handle.close()
            raise StreamprocError(f"{what.name} cannot be started: {error}") from None
        self._members[what.name] = _Member(
            what=what, log=log, handle=handle, process=process, started_s=time.monotonic()
        )

    def log_of(self, name: str) -> Path:
        """Where one writes."""
        return self._members[name].log

    def runs(self, name: str) -> bool:
        """Whether it runs now."""
        member = self._members.get(name)
        return member is not None and member.process.poll() is None

    def alive(self) -> Iterator[Process]:
        """Those that run, for a later command to find."""
        for member in self._members.values():
            if member.process.poll() is None and (at := born(member.process.pid)) is not None:
                yield Process(pid=member.process.pid, born=at)

    def ended(self, name: str, *, timeout_s: float, stopped: Callable[[], bool]) -> None:
        """Wait until one that ends by itself has done its work, and start it again as often as it may be.

        Raises:
            StreamprocError: It failed, or takes too long; with its last words.
        """
        deadline_s = time.monotonic() + timeout_s
        member = self._members[name]
        while not member.over and not stopped():
            self.look()
            if time.monotonic() > deadline_s:
                raise StreamprocError(f"{name} has not ended within {timeout_s:g} s (log: {member.log})")
            time.sleep(_POLL_S)
        if member.over and member.process.returncode != 0:
            raise StreamprocError(f"{name} failed: {last_words(member.log)} (log: {member.log})")

    def look(self) -> bool:
        """Notice what has ended, and start again what is due.

        Returns:
            Whether a process was started.
        """
        now_s, any_started = time.monotonic(), False
        for member in self._members.values():
            if member.over:
                continue
            if member.next_s is not None:
                if now_s >= member.next_s:
                    self._start_again(member)
                    any_started = True
            elif (code := member.process.poll()) is not None:
                self._note_end(member, code, now_s)
            elif member.handle.tell() > _LOG_BYTES:
                member.handle.truncate(0)  # appended to, so it goes on from the beginning
        return any_started

    def stop(self, names: Collection[str], *, kill: bool) -> None:
        """SIGTERM to these, wait as long as each may take, then SIGKILL; at once if so told."""
        members = [member for name, member in self._members.items() if name in names]
        for member in members:
            member.over = True
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        begun_s = time.monotonic()
        while left := [member for member in members if member.process.poll() is None]:
            for member in left:
                if kill:
                    _kill(member.process)
                elif time.monotonic() > begun_s + member.what.grace_s:
                    self._told(f"{member.what.name} did not end within {member.what.grace_s:g} s and is killed")
                    _kill(member.process)
            time.sleep(_POLL_S)
        for member in members:
            member.handle.close()

    def _spawn(self, what: LocalProcess, handle: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            what.argv,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env={**self._environment, **what.environment},
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
        )

    def _note_end(self, member: _Member, code: int, now_s: float) -> None:
        what, ran_s = member.what, now_s - member.started_s
        if what.once and code == 0:
            member.over = True
            return
        if ran_s >= STEADY_S:
            member.restarts = 0
        how = f"by signal {-code}" if code < 0 else f"with status {code}"
        words = f"{what.name} ended {how} after {ran_s:.0f} s: {last_words(member.log)} (log: {member.log})"
        if hint := self._hint(what):
            words = f"{words}; {hint}"
        if not runs_again(what.restart, code, member.restarts):
            member.over = True
            self._told(f"{words}; it is not started again")
            return
        pause = pause_s(member.restarts)
        member.next_s = now_s + pause
        self._told(f"{words}; it is started again in {pause:g} s")

    def _start_again(self, member: _Member) -> None:
        member.restarts += 1
        member.next_s = None
        member.started_s = time.monotonic()
        try:
            member.process = self._spawn(member.what, member.handle)
        except OSError as error:
            member.over = True
            self._told(f"{member.what.name} cannot be started again: {error}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # with what it has started; a session of its own has its pid
    except ProcessLookupError:
        return
    with contextlib.suppress(subprocess.TimeoutExpired):  # the loop asks again
        process.wait(timeout=_KILL_S)
