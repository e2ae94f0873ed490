from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamproc.broker import Change, ClusterStatus, LocalCluster, NodeStatus
from streamproc.cli.broker import app

RUNNING = ClusterStatus(
    state="running",
    answering=True,
    bootstrap="127.0.0.1:9092",
    folder=Path("/data/with [brackets]"),
    detail="running",
    nodes=(NodeStatus(id=1, pid=77, alive=True, port=9092, log=Path("/data/with [brackets]/server.log")),),
    uptime_s=12.3,
)
STOPPED = ClusterStatus(state="stopped", folder=Path("/data"), detail="not running")

run = CliRunner().invoke


@pytest.mark.parametrize(("now", "code"), [(RUNNING, 0), (STOPPED, 1)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_status_exits_with_0_only_if_it_runs(
    monkeypatch: pytest.MonkeyPatch, now: ClusterStatus, code: int, options: list[str]
) -> None:
    monkeypatch.setattr(LocalCluster, "status", lambda *_, **__: now)
    assert run(app, ["status", *options]).exit_code == code


def test_status_tells_everything_and_leaves_paths_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCluster, "status", lambda *_, **__: RUNNING)
    told = run(app, ["status"]).stdout
    for fact in ("127.0.0.1:9092", "4.3.0", "12 s", "pid 77", "/data/with [brackets]/server.log"):
        assert fact in told


def test_json_is_one_line_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCluster, "start", lambda *_, **__: Change(changed=True, status=RUNNING))
    told = json.loads(run(app, ["start", "--json"]).stdout)
    assert told["bootstrap"] == "127.0.0.1:9092"
    assert told["pids"] == [77]


@pytest.mark.parametrize(("changed", "words"), [(True, "is ready"), (False, "was already running")])
def test_start_says_whether_it_was_running(monkeypatch: pytest.MonkeyPatch, changed: bool, words: str) -> None:
    monkeypatch.setattr(LocalCluster, "start", lambda *_, **__: Change(changed=changed, status=RUNNING))
    assert f"Apache Kafka 4.3.0 {words} at 127.0.0.1:9092" in run(app, ["start"]).stdout


def test_stop_with_nothing_running_says_so_and_succeeds(tmp_path: Path) -> None:
    result = run(app, ["stop", "--dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "nothing was running" in result.stdout


def test_a_wrong_port_is_wrong_usage() -> None:
    assert run(app, ["start", "--port", "70000"]).exit_code == 2


def test_the_default_folder_is_in_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert LocalCluster().folder == tmp_path / "streamproc" / "broker"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert LocalCluster().folder == Path.home() / ".local" / "share" / "streamproc" / "broker"
