"""What `replay` and `rerun` refuse before they talk to a broker: one line, exit status 2."""

from __future__ import annotations

import io
import os
import signal
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from producers.replay import Control
from producers.replay_choice import Choice
from producers.replay_report import ReplayProgress
from streamproc.cli import replay as replay_command
from streamproc.cli.main import app
from streamproc.cli.replay import controlled, shown, tell_beginning
from streamproc.errors import UsageError
from tests.cli import streamproc
from tests.producers.replayed import MemorySource, frames
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


@pytest.mark.parametrize("slack", ["-1", "86401", "nan"])
def test_a_slack_is_bounded(slack: str) -> None:
    done = CliRunner().invoke(app, ["replay", "--slack", slack, *NOBODY])
    assert (done.exit_code, "'--slack'" in done.stderr) == (2, True)


def test_a_log_that_begins_after_the_span_does_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    source, choice = MemorySource(frames(40)[40:]), Choice(from_ns=10**9, to_ns=11 * 10**9)
    begins = [
        tell_beginning(source, choice, archive=archive, slack_s=60, quiet=quiet)
        for archive, quiet in ((None, False), ("recordings", False), (None, True))
    ]
    assert begins == ["1970-01-01T00:16:40.400000Z"] * 3
    asked = "asked was from 1970-01-01T00:00:01.000000Z to 1970-01-01T00:00:11.000000Z: what was captured before is not"
    assert [line.rpartition(" there")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"t.tiles begins at 1970-01-01T00:16:40.400000Z, {asked}",
        f"the archive's t.tiles begins at 1970-01-01T00:16:40.400000Z, {asked}",
    ]


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


def progress_at(**changes: Any) -> ReplayProgress:
    values: dict[str, Any] = {"passed": 50.0, "total": 10_000, "captured_ns": 10**9, "frames": 3, "tiles": 12}
    return ReplayProgress(**{**values, "bytes": 100, "speed": 1.0, "paused": False, **changes})


@pytest.mark.parametrize(("limit", "share"), [(4, "75.0 %"), (None, " 0.5 %"), (2, "100.0 %")])
def test_the_bar_counts_frames_where_their_number_is_limited_and_offsets_else(
    limit: int | None, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(replay_command, "err", Console(file=drawn, force_terminal=True, width=120))
    with shown(quiet=False, limit=limit) as show:
        show(progress_at())
    assert share in drawn.getvalue()
    assert "3 frames" in drawn.getvalue()


def test_without_a_terminal_a_pause_and_its_end_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with shown(quiet=quiet) as show:
            for paused in (False, True, True, False, False):
                show(progress_at(paused=paused))
    assert capsys.readouterr().err.splitlines() == ["paused at 1970-01-01T00:00:01.000", "goes on"]


def test_a_pause_before_the_first_frame_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=False) as show:
        show(progress_at(paused=True, captured_ns=None))
    assert capsys.readouterr().err.splitlines() == ["paused"]


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
