"""What a rerun leaves in its folder when nothing was replayed, and when something was."""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from producers.replay_choice import Choice
from producers.replay_report import ReplayReport
from streamproc.cli.rerun import _folder, _tell
from streamproc.errors import StreamprocError
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.rerun import RerunOptions, RerunResult, run_rerun
from streamproc.rerun import run as module
from streamproc.settings import load_settings
from tests.producers.replayed import MemorySource

NOTHING = ReplayReport(
    source="t.tiles",
    target="again",
    runs={},
    apart=False,
    frames=0,
    frames_complete=0,
    incomplete=(),
    tiles=0,
    tiles_acked=0,
    duplicates=0,
    unreadable=0,
    left_out=0,
    bytes=0,
    first_ns=None,
    last_ns=None,
    next_ns=None,
    late_ms=(0.0, 0.0),
    slipped_s=0.0,
    seconds=0.0,
    stopped=False,
    problem=None,
)


def rerun(
    out: Path, monkeypatch: pytest.MonkeyPatch, *, frames: int, problem: StreamprocError | None = None
) -> RerunResult:
    """A rerun that replays so many frames, without a broker and workers."""
    result = RerunResult(
        replayed=replace(NOTHING, frames=frames, frames_complete=frames),
        outcomes={},
        occurrences=0,
        unanswered=0,
        seconds=0.0,
        problem=problem,
    )

    def workers(*_arguments: object, folder: Path) -> Any:
        folder.mkdir()
        (folder / "worker-0.log").write_text("ready")
        return nullcontext(type("Started", (), {"check": lambda _self: None})())

    class Outcomes:
        def __init__(self, *_arguments: object) -> None: ...

        def __enter__(self) -> Outcomes:
            return self

        def __exit__(self, *_error: object) -> None: ...

        def write(self, file: Path) -> None:
            file.write_text("")

    monkeypatch.setattr(module, "own_topics", lambda *_arguments, **_options: nullcontext())
    monkeypatch.setattr(module, "wait_for_group", lambda *_arguments, **_options: None)
    monkeypatch.setattr(module, "Workers", workers)
    monkeypatch.setattr(module, "Outcomes", Outcomes)
    monkeypatch.setattr(module._Rerun, "run", lambda *_arguments, **_options: result)
    options = RerunOptions(
        name="again", pipeline=default_pipeline(), pipeline_file=None, workers=1, archive=None, out=out, keep=False
    )
    return run_rerun(
        MemorySource([]),
        {},
        Choice(),
        load_settings(),
        options,
        told=lambda _line: None,
        progress=lambda *_counts: None,
        stop=threading.Event(),
    )


def test_a_rerun_that_found_nothing_leaves_nothing_and_may_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _folder(tmp_path / "out")
    result = rerun(out, monkeypatch, frames=0)
    assert list(tmp_path.iterdir()) == []
    _tell(result, out, name="again", begins=None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["run"]) == (None, None)
    _tell(result, out, name="again", begins=None, as_json=False)
    assert str(out) not in capsys.readouterr().out


def test_what_stood_in_the_folder_of_a_rerun_that_found_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    rerun(_folder(tmp_path), monkeypatch, frames=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_rerun_that_failed_before_its_first_frame_keeps_its_logs_and_may_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rerun(_folder(tmp_path), monkeypatch, frames=0, problem=StreamprocError("a worker died"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "run.json"]
    assert json.loads((tmp_path / "run.json").read_text())["problem"] == "a worker died"
    assert _folder(tmp_path) == tmp_path


def test_a_rerun_of_frames_leaves_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rerun(_folder(tmp_path), monkeypatch, frames=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "logs", "run.json"]
