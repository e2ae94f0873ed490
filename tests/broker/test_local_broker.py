"""The real Apache Kafka: what the cluster's bookkeeping promises, kept by the thing itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streamproc.broker import LocalCluster, find_bootstrap
from streamproc.broker.fetch import ensure_jars
from streamproc.broker.ports import PortInUseError
from streamproc.broker.processes import born
from streamproc.broker.state import read_run

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose cluster is surely stopped afterwards."""
    folder = tmp_path / "Données d'essai" / "漢 back\\slash"
    yield folder
    LocalCluster(folder).stop(graceful_s=0)


def command_line(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamproc", "broker", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def create_topic(bootstrap: str, topic: str, *, partitions: int, copies: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = NewTopic(topic, num_partitions=partitions, replication_factor=copies)
    admin.create_topics([new])[topic].result(WAIT_S)


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "message.max.bytes": 2_000_000})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(WAIT_S) == 0


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        messages = consumer.consume(count, timeout=WAIT_S)
        return [message.value() or b"" for message in messages]
    finally:
        consumer.close()


def test_records_survive_stop_and_start_under_paths_with_spaces_and_other_letters(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "Zwischenablage mit ü"
    jars = ensure_jars()[0].parent
    shutil.copytree(jars, cache / "streamproc" / jars.name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("LC_ALL", "C")  # Java would not open such a path in this locale by itself
    cluster = LocalCluster(folder)
    with ThreadPoolExecutor(2) as pool:  # two that start at once do not fight: one starts, one finds it
        both = list(pool.map(lambda _: LocalCluster(folder).start(port=0), range(2)))
    assert sorted(change.changed for change in both) == [False, True]
    assert both[0].status.nodes == both[1].status.nodes
    bootstrap = both[0].status.bootstrap
    assert bootstrap is not None
    create_topic(bootstrap, "kept", partitions=1, copies=1)
    produce(bootstrap, "kept", [b"one", bytes(1_900_000)])
    assert cluster.stop().changed
    assert not cluster.status().usable
    bootstrap = cluster.start().status.bootstrap
    assert bootstrap is not None
    produce(bootstrap, "kept", [b"three"])
    assert [len(value) for value in consume(bootstrap, "kept", 3)] == [3, 1_900_000, 5]
    assert (folder / "broker-1" / "data" / "kept-0").is_dir()
    assert (folder / "broker-1" / "server.log.1").exists()


def test_a_broker_started_by_one_command_is_found_used_and_stopped_by_others(folder: Path, tmp_path: Path) -> None:
    started = command_line("start", "--dir", str(folder), "--port", "0", "--json")
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    assert "starting Apache Kafka" in started.stderr
    assert find_bootstrap(folder) == told["bootstrap"]
    again = command_line("start", "--dir", str(folder))
    assert f"was already running at {told['bootstrap']}" in again.stdout
    with pytest.raises(PortInUseError, match="is in use by another program"):
        LocalCluster(tmp_path / "other").start(port=told["nodes"][0]["port"])

    [pid] = told["pids"]
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    while born(pid) is not None and time.monotonic() - killed_s < WAIT_S:
        time.sleep(0.05)
    status = command_line("status", "--dir", str(folder))
    assert status.returncode == 1
    assert f"broker 1 (pid {pid}) ended without being stopped" in status.stdout
    assert find_bootstrap(folder) is None

    change = LocalCluster(folder).start()
    assert change.changed
    assert change.status.bootstrap == told["bootstrap"]
    assert command_line("status", "--dir", str(folder), "--json").returncode == 0
    assert "stopped; data deleted" in command_line("stop", "--dir", str(folder), "--delete-data").stdout
    assert not folder.exists()
    assert change.status.nodes[0].pid != pid
    assert born(change.status.nodes[0].pid) is None


def test_three_brokers_keep_three_copies_and_bear_the_loss_of_one(folder: Path) -> None:
    cluster = LocalCluster(folder)
    status = cluster.start(port=0, brokers=3, ready_s=120).status
    assert status.bootstrap is not None
    create_topic(status.bootstrap, "copied", partitions=3, copies=3)
    produce(status.bootstrap, "copied", [b"before"])
    os.kill(status.nodes[1].pid, signal.SIGKILL)
    produce(status.bootstrap, "copied", [b"after"])
    assert sorted(consume(status.bootstrap, "copied", 2)) == [b"after", b"before"]
    hurt = cluster.status(ask_s=5)
    assert (hurt.state, hurt.usable) == ("partly", True)
    assert "without broker 2" in hurt.detail
    healed = cluster.start().status
    assert healed.state == "running"
    assert [a.pid == b.pid for a, b in zip(status.nodes, healed.nodes, strict=True)] == [True, False, True]


def test_an_ephemeral_cluster_is_gone_even_when_its_owner_is_killed(tmp_path: Path) -> None:
    owner = (
        "import time\n"
        "from streamproc.broker import ephemeral\n"
        "with ephemeral() as status:\n"
        "    print(status.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", owner]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        run = read_run(folder)
        assert run is not None
        assert born(run.nodes[0].pid) == run.nodes[0].born
        process.kill()
    killed_s = time.monotonic()
    while folder.exists() and time.monotonic() - killed_s < WAIT_S:
        time.sleep(0.05)
    assert not folder.exists()
    assert born(run.nodes[0].pid) is None
    assert list(tmp_path.iterdir()) == []
