"""One at a time, and what one that was killed leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compose.running_state import (
    LOCK,
    STATE,
    State,
    alone,
    bring_down,
    data_folder,
    kept_bytes,
    read_state,
    remove_kept,
    state_of_ours,
)
from streamproc.broker.processes import Process, born
from streamproc.errors import UsageError


def sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])


def known(child: subprocess.Popen[bytes]) -> Process:
    return Process(pid=child.pid, born=born(child.pid) or "")


def test_a_second_one_is_told_where_the_first_runs(tmp_path: Path) -> None:
    with alone(tmp_path):
        state_of_ours((), viewer="http://127.0.0.1:8080", own_broker=False).write(tmp_path)
        told = r"runs already \(pid \d+, its viewer at http://127\.0\.0\.1:8080\)"
        with pytest.raises(UsageError, match=told), alone(tmp_path):
            pass
    assert read_state(tmp_path) is None
    with alone(tmp_path) as broker_left:
        assert not broker_left


def test_what_one_that_was_killed_left_behind_is_ended(tmp_path: Path) -> None:
    with sleeping() as child:
        dead = Process(pid=child.pid, born="of another time")
        State(process=dead, viewer=None, own_broker=True, others=(known(child),)).write(tmp_path)
        with alone(tmp_path) as broker_left:
            assert broker_left
            assert child.wait(timeout=5) != 0


def test_a_start_that_is_refused_does_not_forget_the_broker_that_was_left(tmp_path: Path) -> None:
    dead = Process(pid=os.getpid(), born="of another time")
    State(process=dead, viewer=None, own_broker=True, others=()).write(tmp_path)
    with alone(tmp_path) as broker_left:
        assert broker_left  # and is not taken over, for the start is refused
    with alone(tmp_path) as broker_left:
        assert broker_left
        state_of_ours((), viewer=None, own_broker=True).write(tmp_path)  # taken over
    with alone(tmp_path) as broker_left:
        assert not broker_left


def test_what_is_kept_is_counted_and_deleted_when_nothing_runs(tmp_path: Path) -> None:
    folder = data_folder()
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "camera.log").write_bytes(b"x" * 100_000)
    assert 100_000 <= kept_bytes(folder) < 200_000
    with alone(folder), pytest.raises(UsageError, match="being started"):
        remove_kept(folder)
    assert "logs and volumes are removed: 0.0 GB" in remove_kept(folder)
    assert [one.name for one in folder.iterdir()] == [LOCK]


def test_down_ends_the_one_that_runs(tmp_path: Path) -> None:
    assert bring_down(tmp_path) == "nothing was running"
    with sleeping() as child:
        State(process=known(child), viewer=None, own_broker=False, others=()).write(tmp_path)
        begun_s = time.monotonic()
        assert bring_down(tmp_path) == "stopped"
        assert time.monotonic() - begun_s < 5
        assert child.wait(timeout=5) != 0


def test_down_ends_what_was_left_behind(tmp_path: Path) -> None:
    with sleeping() as child:
        dead = Process(pid=child.pid, born="of another time")
        State(process=dead, viewer=None, own_broker=False, others=(known(child),)).write(tmp_path)
        assert "left processes behind" in bring_down(tmp_path)
        assert child.wait(timeout=5) != 0
    assert bring_down(tmp_path) == "nothing was running"


def test_a_state_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text('{"pid": "x"}')
    assert read_state(tmp_path) is None
