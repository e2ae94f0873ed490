"""The cluster's bookkeeping, with a stand-in for Java; test_local_broker.py has the real thing."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamproc.broker import cluster as cluster_module
from streamproc.broker.cluster import LocalCluster, find_bootstrap
from streamproc.broker.ephemeral import ephemeral
from streamproc.broker.nodes import last_words, telling_lines
from streamproc.broker.ports import HOST, PortInUseError, choose_ports
from streamproc.broker.processes import Process, born, end, processes_of
from streamproc.broker.server_properties import NodePorts
from streamproc.broker.state import Identity, Run, RunningNode, read_identity, read_run, status_of, write
from streamproc.errors import BrokerError, UsageError

FakeJava = Callable[[str], None]


@pytest.fixture
def fake_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeJava:
    """Let Java be a shell script; `$*` holds the arguments."""
    program = tmp_path / "java"

    def write_script(body: str) -> None:
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    monkeypatch.setattr(cluster_module, "find_java", lambda: program)
    monkeypatch.setattr(cluster_module, "ensure_jars", lambda _: (tmp_path / "a.jar",))
    return write_script


def run_of(*nodes: RunningNode) -> Run:
    return Run(version="4.3.0", bootstrap="127.0.0.1:1", cluster_id="x", started_at_s=time.time(), nodes=nodes)


def node(pid: int, born: str, *, node_id: int = 1) -> RunningNode:
    return RunningNode(id=node_id, pid=pid, born=born, port=1, controller_port=2, log=Path("server.log"))


OURSELVES = node(os.getpid(), born(os.getpid()) or "")
NOBODY = node(2**22 + 1, "long ago")
REUSED = node(os.getpid(), "long ago")


def test_a_folder_that_never_was_a_cluster_is_stopped(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path / "none")
    assert cluster.status().state == "stopped"
    assert not cluster.status().usable
    assert find_bootstrap(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("gone", [NOBODY, REUSED])
def test_a_state_file_of_dead_processes_is_a_stopped_cluster_with_the_reason(tmp_path: Path, gone: RunningNode) -> None:
    write(tmp_path, run_of(gone))
    status = LocalCluster(tmp_path).status()
    assert status.state == "stopped"
    assert status.bootstrap is None
    assert "ended without being stopped; log: server.log" in status.detail
    assert find_bootstrap(tmp_path) is None


def test_a_pid_that_now_belongs_to_another_program_is_never_stopped(tmp_path: Path) -> None:
    write(tmp_path, run_of(REUSED))
    change = LocalCluster(tmp_path).stop(graceful_s=0)
    assert not change.changed
    assert read_run(tmp_path) is None


def test_a_running_process_is_found_by_its_state_file(tmp_path: Path) -> None:
    write(tmp_path, run_of(OURSELVES))
    status = LocalCluster(tmp_path).status()
    assert (status.state, status.bootstrap) == ("running", "127.0.0.1:1")
    assert status.nodes[0].pid == os.getpid()
    assert find_bootstrap(tmp_path) == "127.0.0.1:1"


def test_processes_that_run_but_do_not_answer_are_not_usable(tmp_path: Path) -> None:
    write(tmp_path, run_of(OURSELVES))
    status = LocalCluster(tmp_path).status(ask_s=0.2)
    assert status.answering is False
    assert not status.usable
    assert "does not answer" in status.detail


def test_a_cluster_that_lost_a_broker_runs_in_part(tmp_path: Path) -> None:
    status = status_of(tmp_path, run_of(OURSELVES, node(2**22 + 1, "x", node_id=2)))
    assert status.state == "partly"
    assert "without broker 2" in status.detail
    assert status.bootstrap is not None


def test_the_status_says_the_same_to_a_machine(tmp_path: Path) -> None:
    told = json.loads(status_of(tmp_path, run_of(OURSELVES, node(2**22 + 1, "x", node_id=2))).as_json())
    assert told["state"] == "partly"
    assert told["pids"] == [os.getpid()]
    assert told["folder"] == str(tmp_path)
    assert [n["alive"] for n in told["nodes"]] == [True, False]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 4}'])
def test_a_state_file_that_cannot_be_read_is_said_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(BrokerError, match=r"state\.json cannot be read .* delete that file"):
        LocalCluster(tmp_path).status()


def test_the_guard_reads_what_the_cluster_writes(tmp_path: Path) -> None:
    write(tmp_path, run_of(OURSELVES, NOBODY))
    assert processes_of(tmp_path / "state.json") == [OURSELVES.process, NOBODY.process]


def test_what_a_cluster_is_survives_writing_and_reading(tmp_path: Path) -> None:
    identity = Identity(cluster_id="a", ports=(NodePorts(client=1, controller=2),), formatted=True)
    write(tmp_path, identity)
    assert read_identity(tmp_path) == identity


def test_stopping_nothing_is_no_error(tmp_path: Path) -> None:
    assert not LocalCluster(tmp_path).stop().changed
    assert not LocalCluster(tmp_path / "none").stop().changed


def test_deleting_data_leaves_what_others_put_into_the_folder(tmp_path: Path) -> None:
    write(tmp_path, Identity(cluster_id="a", ports=(NodePorts(client=1, controller=2),)))
    (tmp_path / "broker-1" / "data").mkdir(parents=True)
    (tmp_path / "holiday.jpg").touch()
    LocalCluster(tmp_path).stop(delete_data=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("brokers", [0, 2, 4])
def test_only_one_or_three_brokers_can_be_had(tmp_path: Path, brokers: int) -> None:
    with pytest.raises(UsageError, match=f"{brokers} brokers .* 1 or 3"):
        LocalCluster(tmp_path).start(brokers=brokers)


def test_a_cluster_does_not_change_its_size(tmp_path: Path) -> None:
    write(tmp_path, Identity(cluster_id="a", ports=(NodePorts(client=1, controller=2),)))
    with pytest.raises(UsageError, match=r"cluster of 1 broker\(s\), not 3: .*--dir.*--delete-data"):
        LocalCluster(tmp_path).start(brokers=3)


def test_a_port_in_use_is_told_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "ensure_jars", lambda _: pytest.fail("fetched"))
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} is in use by another program"):
            LocalCluster(tmp_path / "new").start(port=port)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, fake_java: FakeJava) -> None:
    fake_java("exit 0")
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match="cannot use the folder"):
        LocalCluster(tmp_path / "file" / "cluster").start(port=0)


def test_kafka_that_dies_while_it_starts_is_told_in_its_own_words(tmp_path: Path, fake_java: FakeJava) -> None:
    fake_java(
        'case "$*" in *StorageTool*) exit 0;; esac\n'
        'echo "10:00 [main] INFO Server - starting"\n'
        'echo "10:01 [main] ERROR Server - Exiting: no such disk"\n'
        "printf '\\tat kafka.Kafka.main(Kafka.scala)\\n'\n"
        "exit 1"
    )
    cluster = LocalCluster(tmp_path / "c")
    with pytest.raises(
        BrokerError, match=r"broker 1 ended while it started: .*no such disk; log: .*server\.log"
    ) as raised:
        cluster.start(port=0)
    assert "INFO" not in str(raised.value)
    assert "scala" not in str(raised.value)
    assert cluster.status().detail == "not running"


def test_a_port_lost_while_starting_is_told_as_such(tmp_path: Path, fake_java: FakeJava) -> None:
    fake_java('case "$*" in *StorageTool*) exit 0;; esac; echo "ERROR x: Address already in use"; exit 1')
    with pytest.raises(PortInUseError, match="another program took port"):
        LocalCluster(tmp_path / "c").start(port=0)


def test_kafka_that_never_answers_is_given_up_in_time_and_ended(tmp_path: Path, fake_java: FakeJava) -> None:
    fake_java(f'case "$*" in *StorageTool*) exit 0;; esac; echo $$ >{tmp_path}/pid; exec sleep 60')
    cluster = LocalCluster(tmp_path / "c")
    with pytest.raises(BrokerError, match=r"not ready within 0\.5 s"):
        cluster.start(port=0, ready_s=0.5)
    assert cluster.status().detail == "not running"
    assert born(int((tmp_path / "pid").read_text())) is None


def test_a_format_that_fails_is_told_and_done_again_at_the_next_start(tmp_path: Path, fake_java: FakeJava) -> None:
    fake_java('case "$*" in *StorageTool*) echo "Error: disk is full" >&2; exit 1;; esac')
    cluster = LocalCluster(tmp_path / "c")
    with pytest.raises(BrokerError, match=r"could not format .*disk is full"):
        cluster.start(port=0)
    fake_java(f'case "$*" in *StorageTool*) touch {tmp_path}/formatted; exit 0;; esac; exit 1')
    with pytest.raises(BrokerError, match="ended while it started"):
        cluster.start(port=0)
    assert (tmp_path / "formatted").exists()


def test_a_java_that_cannot_be_run_is_told(tmp_path: Path, fake_java: FakeJava) -> None:
    with pytest.raises(BrokerError, match=r"cannot run .*java"):
        LocalCluster(tmp_path / "c").start(port=0)


def test_a_start_takes_the_port_of_the_last_time(tmp_path: Path, fake_java: FakeJava) -> None:
    fake_java('case "$*" in *StorageTool*) exit 0;; esac; exit 1')
    port = choose_ports(0, 1)[0]
    cluster = LocalCluster(tmp_path / "c")
    for given in (port, None):
        with pytest.raises(BrokerError, match="ended while"):
            cluster.start(port=given)
        identity = read_identity(tmp_path / "c")
        assert identity is not None
        assert identity.ports[0].client == port


def test_an_ephemeral_cluster_that_cannot_start_leaves_nothing(
    tmp_path: Path, fake_java: FakeJava, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java('case "$*" in *StorageTool*) exit 0;; esac; echo "ERROR Address already in use"; exit 1')
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with pytest.raises(PortInUseError), ephemeral():
        pytest.fail("it started")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_lines_that_tell_are_the_last_errors_or_the_last_lines() -> None:
    assert telling_lines("a\n\nb\nc\nd\n") == "b | c | d"
    assert telling_lines("a\nERROR b\n\tat x.y\njava.lang.IllegalStateException: c\nd\n") == (
        "ERROR b | java.lang.IllegalStateException: c"
    )
    assert telling_lines("") == "(it said nothing)"
    assert last_words(Path("/nowhere/server.log")) == "(no log)"


def test_a_broker_of_another_user_is_left_alone_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(processes: list[Process], *, graceful_s: float) -> list[Process]:
        raise PermissionError

    monkeypatch.setattr(cluster_module, "end", refuse)
    write(tmp_path, run_of(OURSELVES))
    with pytest.raises(BrokerError, match="belongs to another user"):
        LocalCluster(tmp_path).stop()
    monkeypatch.setattr(cluster_module, "end", end)
    assert read_run(tmp_path) is not None
