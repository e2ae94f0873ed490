from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from streamproc.broker import processes
from streamproc.broker.processes import Process, born, end, processes_of, spawn

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


def spawned(folder: Path, command: list[str] = SLEEP) -> Process:
    return spawn(command, folder=folder, log=folder / "log", environment=os.environ)


def within(limit_s: float, condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def test_a_process_is_known_by_its_start_time() -> None:
    own = Process(pid=os.getpid(), born=born(os.getpid()) or "")
    assert own.alive
    assert not Process(pid=os.getpid(), born="another time").alive


def test_the_portable_way_knows_a_process_too() -> None:
    assert processes._born_by_ps(os.getpid()) == processes._born_by_ps(os.getpid())
    assert processes._born_by_ps(os.getpid())
    assert processes._born_by_ps(2**22 + 1) is None


def test_a_pid_that_nobody_has_is_not_alive() -> None:
    assert born(2**22 + 1) is None
    assert not Process(pid=2**22 + 1, born="").alive


@pytest.mark.parametrize("look", [born, processes._born_by_ps])
def test_a_zombie_is_not_alive(look: Callable[[int], str | None]) -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as child:
        assert within(10, lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        assert look(child.pid) is None


def test_a_spawned_process_has_its_own_session_its_log_and_no_tie_to_us(tmp_path: Path) -> None:
    process = spawned(tmp_path, DEAF)
    try:
        assert process.alive
        assert os.getsid(process.pid) == process.pid
        assert process.pid not in {child.pid for child in psutil.Process().children()}
        assert within(10, lambda: (tmp_path / "log").read_text() == "deaf\n")
    finally:
        assert end([process], graceful_s=0) == []


def test_a_program_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        spawned(tmp_path, [str(tmp_path / "nowhere")])


def test_a_process_ends_by_itself_when_asked(tmp_path: Path) -> None:
    process = spawned(tmp_path)
    assert end([process], graceful_s=10) == []
    assert not process.alive


def test_a_process_that_does_not_listen_is_killed_after_the_wait(tmp_path: Path) -> None:
    process = spawned(tmp_path, DEAF)
    assert within(10, lambda: (tmp_path / "log").read_text() == "deaf\n")
    begin_s = time.monotonic()
    assert end([process], graceful_s=0.3) == []
    assert not process.alive
    assert 0.3 <= time.monotonic() - begin_s < 10


def test_a_process_with_the_same_pid_but_another_birth_is_left_alone(tmp_path: Path) -> None:
    process = spawned(tmp_path)
    try:
        end([Process(pid=process.pid, born="another time")], graceful_s=0)
        time.sleep(0.1)
        assert process.alive
    finally:
        end([process], graceful_s=0)


def test_the_guard_kills_and_deletes_when_its_owner_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    process = spawned(folder)
    node = {"pid": process.pid, "born": process.born}
    (folder / "state.json").write_text(json.dumps({"nodes": [node]}))
    command = [sys.executable, "-I", "-S", processes.__file__, "guard", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as guard:
        time.sleep(0.2)
        assert guard.poll() is None
        assert born(process.pid) == process.born
    assert guard.returncode == 0
    assert born(process.pid) is None
    assert not folder.exists()


@pytest.mark.parametrize("text", ["", "{}", '{"nodes": 1}', '{"nodes": [{"pid": "x"}]}', "\xff"])
def test_a_state_file_that_says_nothing_names_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text, encoding="latin-1")
    assert processes_of(tmp_path / "state.json") == []
    assert processes_of(tmp_path / "missing") == []


def test_wrong_arguments_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert processes.main(["spawn"]) == 2
    assert "usage" in capsys.readouterr().err
