"""Processes started, started again, stopped."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose import crew as crew_module
from compose.crew import Crew
from compose.plan import LocalProcess
from compose.services import Restart
from streamproc.errors import StreamprocError
from tests.waiting import wait_until

ALWAYS = Restart(after_success=True, at_most=None)
NEVER = Restart(after_success=False, at_most=0)
SLEEPS = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def running(
    code: str, *, name: str = "a", restart: Restart = NEVER, grace_s: float = 5, once: bool = False
) -> LocalProcess:
    return LocalProcess(
        name=name,
        service=name,
        argv=(sys.executable, "-I", "-S", "-c", code),
        environment={"OWN": "1"},
        restart=restart,
        grace_s=grace_s,
        once=once,
    )


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def crew(tmp_path: Path, told: list[str]) -> Iterator[Crew]:
    made = Crew(tmp_path / "logs", environment={"PATH": os.environ["PATH"], "SHARED": "2"}, told=told.append)
    yield made
    made.stop(["a", "good", "deaf", "loud"], kill=True)


def test_a_process_has_its_environment_and_its_log(crew: Crew) -> None:
    code = "import os; print(os.environ['OWN'], os.environ['SHARED'], 'HOME' in os.environ)"
    crew.start(running(code, once=True))
    crew.ended("a", timeout_s=10, stopped=lambda: False)
    assert crew.log_of("a").read_text() == "1 2 False\n"


def test_a_step_that_fails_is_told_with_its_last_words(crew: Crew) -> None:
    crew.start(running("import sys; sys.exit('error: no broker')", once=True))
    with pytest.raises(StreamprocError, match=r"a failed: no broker \(log: .*a\.log\)"):
        crew.ended("a", timeout_s=10, stopped=lambda: False)


def test_a_step_that_does_not_end_is_given_up(crew: Crew) -> None:
    crew.start(running(SLEEPS, once=True))
    with pytest.raises(StreamprocError, match=r"a has not ended within 0\.2 s"):
        crew.ended("a", timeout_s=0.2, stopped=lambda: False)


def test_a_program_that_is_not_there_is_one_line(crew: Crew) -> None:
    nothing = LocalProcess(name="a", service="a", argv=("/no/such/program",), environment={}, restart=NEVER, grace_s=1)
    with pytest.raises(StreamprocError, match=r"a cannot be started: .*No such file"):
        crew.start(nothing)


def test_what_ends_is_told_and_started_again_after_a_pause(
    crew: Crew, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "pause_s", lambda _: 0.05)
    crew.start(
        running(
            "import os, sys; print('pid', os.getpid(), flush=True); sys.exit('error: it fell over')", restart=ALWAYS
        )
    )

    def starts() -> int:
        crew.look()
        return len(re.findall(r"pid \d+", crew.log_of("a").read_text()))

    wait_until(lambda: starts() >= 3, "two restarts", timeout_s=10)
    assert re.fullmatch(
        r"a ended with status 1 after 0 s: it fell over \(log: .*a\.log\); it is started again in 0\.05 s", told[0]
    )


def test_what_must_not_run_again_does_not(crew: Crew, told: list[str]) -> None:
    crew.start(running("raise SystemExit(3)"))
    wait_until(lambda: crew.look() or bool(told), "the end is noticed", timeout_s=10)
    assert "ended with status 3" in told[0]
    assert "not started again" in told[0]
    assert not crew.look()
    assert not crew.runs("a")


def test_all_are_asked_to_end_and_who_does_not_is_killed_in_time(crew: Crew, told: list[str]) -> None:
    crew.start(running(SLEEPS, name="good"))
    crew.start(running(DEAF, name="deaf", grace_s=0.3))
    wait_until(lambda: "deaf" in crew.log_of("deaf").read_text(), "it ignores SIGTERM", timeout_s=10)
    assert len(list(crew.alive())) == 2
    begun_s = time.monotonic()
    crew.stop(["good", "deaf"], kill=False)
    assert time.monotonic() - begun_s < 3
    assert not crew.runs("good")
    assert not crew.runs("deaf")
    assert list(crew.alive()) == []
    assert any("deaf did not end within 0.3 s and is killed" in line for line in told)


def test_a_kill_takes_the_children_of_a_process_too(crew: Crew, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); child.wait()"
    )
    crew.start(running(code))
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", "the child runs", timeout_s=10)
    crew.stop(["a"], kill=True)

    def gone() -> bool:
        stat = Path(f"/proc/{pid_file.read_text()}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_until(gone, "the child has ended", timeout_s=5)


def test_the_log_of_the_start_before_is_kept_once_and_a_log_is_bounded(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("first", "second"):
        one = Crew(tmp_path / "logs", environment={}, told=lambda _: None)
        one.start(running(f"print({word!r})", once=True))
        one.ended("a", timeout_s=10, stopped=lambda: False)
        one.stop(["a"], kill=False)
    log = tmp_path / "logs" / "a.log"
    assert (log.read_text(), log.with_suffix(".log.1").read_text()) == ("second\n", "first\n")
    monkeypatch.setattr(crew_module, "_LOG_BYTES", 10_000)
    crew.start(running("import time; print('x' * 20_000, flush=True); time.sleep(60)", name="loud"))
    wait_until(lambda: crew.log_of("loud").stat().st_size >= 20_000, "it wrote", timeout_s=10)
    crew.look()
    assert crew.log_of("loud").stat().st_size == 0
