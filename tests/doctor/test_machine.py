"""The doctor's checks of a machine: each mistake told with what to do, a sound machine without a warning."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from streamproc.doctor.finding import Finding
from streamproc.doctor.look_machine import (
    cgroup_cores,
    cgroup_memory,
    look_at_machine,
    port_taken,
    workers_named,
)
from streamproc.doctor.machine import (
    GIB,
    PINS,
    Disk,
    Machine,
    check_instance,
    check_machine,
    check_port,
    check_variables,
    version_of,
)
from streamproc.settings import child_environment, known_variables
from tests.waiting import wait_until

SOUND = Machine(
    python=(3, 12, 1),
    packages={
        "faust-streaming": "0.15.3",
        "aiokafka": "0.14.0",
        "confluent-kafka": "2.16.1",
        "opencv-python-headless": "4.14.0.92",
        "numpy": "2.4.6",
    },
    opencv="4.14.0",
    opencv_whole=True,
    java="/usr/bin/java",
    memory_bytes=4 * GIB,
    cores=2,
    descriptors=65_536,
    disks=(Disk(path="/data", free_bytes=50 * GIB, writable=True),),
)


def troubles(machine: Machine, *, threads: int = 1) -> list[Finding]:
    return [finding for finding in check_machine(machine, threads=threads) if finding.verdict != "ok"]


def test_a_sound_machine_gives_no_warning() -> None:
    assert troubles(SOUND) == []
    assert [finding.what for finding in check_machine(SOUND, threads=1)] == [
        *("Python", "OpenCV", "faust-streaming", "aiokafka", "confluent-kafka", "numpy"),
        *("Java for the local broker", "memory", "CPU", "open files", "disk"),
    ]


def with_packages(**versions: str | None) -> Machine:
    given = {name.replace("_", "-"): version for name, version in versions.items()}
    return replace(SOUND, packages={**SOUND.packages, **given})


@pytest.mark.parametrize(
    ("machine", "what", "verdict", "words"),
    [
        (replace(SOUND, python=(3, 10, 9)), "Python", "wrong", ["3.10.9", "3.11 or newer"]),
        (replace(SOUND, opencv="5.0.0"), "OpenCV", "wrong", ["no Haar", "opencv-python-headless>=4.14,<5"]),
        (replace(SOUND, opencv_whole=False), "OpenCV", "wrong", ["no Haar", "pip uninstall"]),
        (replace(SOUND, opencv="4.11.0"), "OpenCV", "wrong", ["too old"]),
        (replace(SOUND, opencv=None), "OpenCV", "wrong", ["import cv2 fails", "pip install"]),
        (
            with_packages(opencv_python="4.14.0.92"),
            *(
                "OpenCV",
                "wrong",
                ["opencv-python is installed beside", "pip uninstall -y opencv-python opencv-python-"],
            ),
        ),
        (
            with_packages(faust_streaming="0.16.0"),
            "faust-streaming",
            "wrong",
            ["pip install 'faust-streaming>=0.15.3,<0."],
        ),
        (with_packages(faust_streaming="0.13.2"), "faust-streaming", "wrong", ["0.13.2"]),
        (with_packages(aiokafka="0.12.0"), "aiokafka", "wrong", ["pip install 'aiokafka>=0.14'"]),
        (with_packages(confluent_kafka=None), "confluent-kafka", "wrong", ["not installed: pip install"]),
        (replace(SOUND, java=None, java_told="no Java"), "Java for the local broker", "warning", ["no Java"]),
        (replace(SOUND, memory_bytes=GIB // 2), "memory", "warning", ["0.5 GiB", "STREAMPROC_BUFFER_BYTES"]),
        (replace(SOUND, cores=0.5), "CPU", "warning", ["0.5", "STREAMPROC_WORKER_THREADS is 1", "container's limit"]),
        (replace(SOUND, descriptors=256), "open files", "warning", ["256", "ulimit -n 1024"]),
        (
            replace(SOUND, disks=(Disk(path="/d", free_bytes=GIB, writable=True),)),
            *("disk", "warning", ["1.0 GiB free in /d"]),
        ),
        (replace(SOUND, disks=(Disk(path="/d", free_bytes=9 * GIB, writable=False),)), "disk", "wrong", ["ls -ld /d"]),
        (replace(SOUND, disks=(Disk(path="/d", free_bytes=None, writable=False),)), "disk", "wrong", ["df /d"]),
    ],
)
def test_each_mistake_of_a_machine_is_told_alone_with_what_to_do(
    machine: Machine, what: str, verdict: str, words: list[str]
) -> None:
    (found,) = troubles(machine)
    assert (found.what, found.verdict) == (what, verdict)
    for word in words:
        assert word in found.told
    assert "\n" not in found.told


def test_the_pins_are_those_of_the_package() -> None:
    import tomllib

    wanted = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    for name, (least, first_bad) in PINS.items():
        text = ".".join(map(str, least)) + (f",<{'.'.join(map(str, first_bad))}" if first_bad else "")
        assert f"{name}>={text}" in wanted


def test_misspelt_settings_are_told_with_what_was_meant() -> None:
    known = known_variables()
    found = check_variables(["STREAMPROC_BOOTSTRAP", "STREAMPROC_BOOTSTRAPS", "STREAMPROC_METRIC_PORT"], known=known)
    assert [one.verdict for one in found] == ["warning", "warning"]
    assert "STREAMPROC_BOOTSTRAPS is no setting and has no effect: did you mean STREAMPROC_BOOTSTRAP?" in found[0].told
    assert "did you mean STREAMPROC_METRICS_PORT?" in found[1].told
    (strange,) = check_variables(["STREAMPROC_ZZZ"], known=known)
    assert "docs/settings.md" in strange.told
    assert [one.verdict for one in check_variables(known, known=known)] == ["ok"]


def test_a_port_that_is_taken_is_told_with_how_to_see_by_whom() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = check_port("127.0.0.1", port, taken_by=port_taken("127.0.0.1", port))
        assert found.verdict == "warning"
        assert f"ss -ltnp 'sport = :{port}'" in found.told
    assert check_port("127.0.0.1", port, taken_by=port_taken("127.0.0.1", port)).verdict == "ok"
    assert check_port("127.0.0.1", 0, taken_by=port_taken("127.0.0.1", 0)).verdict == "ok"


def test_two_workers_of_one_name_are_found_by_their_processes() -> None:
    command = [sys.executable, "-c", "input()", "streamproc", "worker"]
    environment = child_environment({"STREAMPROC_INSTANCE_ID": "gate-1"})
    other = child_environment({"STREAMPROC_INSTANCE_ID": "gate-2"})
    processes = [subprocess.Popen(command, env=env, stdin=subprocess.PIPE) for env in (environment, environment, other)]
    try:
        wait_until(lambda: len(workers_named("gate-1")) == 2, "both are seen", timeout_s=5)
        assert sorted(workers_named("gate-1")) == sorted(one.pid for one in processes[:2])
        found = check_instance("gate-1", workers_named("gate-1"))
        assert found.verdict == "wrong"
        assert f"processes {', '.join(map(str, sorted(one.pid for one in processes[:2])))}" in found.told
        assert check_instance("gate-2", workers_named("gate-2")).verdict == "ok"
        assert check_instance(None, workers_named(None)).verdict == "ok"
    finally:
        for one in processes:
            one.communicate(timeout=5)


def test_the_bounds_of_a_container_count(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("536870912\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert (cgroup_memory(tmp_path), cgroup_cores(tmp_path)) == (GIB // 2, 0.5)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cgroup_memory(tmp_path) > 2**50
    assert cgroup_cores(tmp_path) > 1e6
    assert cgroup_memory(tmp_path / "none") > 2**50


def test_this_machine_is_looked_at(tmp_path: Path) -> None:
    machine = look_at_machine((tmp_path / "not" / "there",))
    assert machine.python == sys.version_info[:3]
    assert machine.opencv is not None
    assert machine.packages["faust-streaming"] is not None
    assert 0 < machine.cores < 10_000
    assert machine.memory_bytes > 2**20
    assert [disk.writable for disk in machine.disks] == [True, True]
    assert machine.disks[1].path == str(tmp_path / "not" / "there")


@pytest.mark.parametrize(
    ("text", "numbers"), [("4.14.0", (4, 14, 0)), ("0.15.3rc1", (0, 15, 3)), ("2.0.dev1", (2, 0)), ("x", ())]
)
def test_versions_are_compared_by_their_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version_of(text) == numbers
