"""What `replay` and `rerun` refuse before they talk to a broker: one line, exit status 2."""

from __future__ import annotations

import os
import signal
import sys
import termios
from pathlib import Path

import pytest
from typer.testing import CliRunner

from producers.replay import Control
from streamproc.cli.main import app
from streamproc.cli.replay import controlled
from streamproc.errors import UsageError
from tests.cli import streamproc
from tests.waiting import wait_until

NOBODY = ["--bootstrap", "127.0.0.1:9"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "5m", "--to", "10m"], "--to 10m is not after --from 5m"),
        (["--event", "e1", "--camera", "gate"], "--event names frames alone"),
        (["--prefix", "a.", "--topic", "b"], "--prefix and --topic both say where to"),
        (["--prefix", "a b"], "prefix"),
        (["--offsets", "1-2"], "--offsets '1-2'"),
        (["--speed", "fast"], "--speed 'fast'"),
        (["--run", "no/slash"], "run 'no/slash'"),
        (["--run", "r" * 81], "at most 80 characters"),
    ],
)
def test_wrong_use_is_refused_by_name(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["replay", *arguments, *NOBODY])
    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)


def test_a_rerun_does_not_write_over_another(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("")
    done = streamproc("rerun", "--out", tmp_path, *NOBODY)
    assert (done.code, "events are there already" in done.error_line) == (2, True)


def test_signals_pause_and_resume_and_are_left_as_they_were() -> None:
    control, before = Control(), signal.getsignal(signal.SIGUSR1)
    with controlled(control):
        paused = []
        for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2):
            signal.raise_signal(number)
            paused.append(control.is_paused)
        assert paused == [True, True, False, False]
    assert signal.getsignal(signal.SIGUSR1) == before


def test_space_on_a_terminal_pauses_and_resumes_and_the_terminal_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "r+b", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        control, before = Control(), termios.tcgetattr(slave)
        with controlled(control):
            os.write(master, b" ")
            wait_until(lambda: control.is_paused, "space pauses", timeout_s=5)
            os.write(master, b"x")
            os.write(master, b" ")
            wait_until(lambda: not control.is_paused, "space resumes", timeout_s=5)
        assert termios.tcgetattr(slave) == before
    os.close(master)
