"""`make up` as a newcomer runs it: pictures arrive, what dies comes back, Ctrl-C leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compose.plan import HOST, LocalProcess
from compose.running_state import data_folder, read_state
from compose.services import Restart, Service
from compose.up import Up, _of_lost_port, require_free_ports
from compose.viewer_client import Viewer, answers
from streamproc.broker import LocalCluster
from streamproc.broker.ports import choose_ports
from streamproc.errors import UsageError
from streamproc.settings import Settings
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_is_taken_is_told_with_how_to_choose_another() -> None:
    with taken() as port:
        service = Service(name="viewer", image="streamproc", ports=((port, 8080),))
        with pytest.raises(UsageError, match=rf"port {port} of viewer is in use .*make up VIEWER_PORT={port + 1}"):
            require_free_ports({"viewer": service}, {})
        prometheus = Service(name="prometheus", image="prometheus", ports=((port, 9090),))
        require_free_ports({"prometheus": prometheus}, {})  # it is not installed, so it wants no port
        with pytest.raises(UsageError, match="PROMETHEUS_PORT"):
            require_free_ports({"prometheus": prometheus}, {"prometheus": "/usr/bin/prometheus"})


def test_two_services_at_one_port_are_refused() -> None:
    (port,) = choose_ports(0, 1)
    both = {name: Service(name=name, image="streamproc", ports=((port, 1),)) for name in ("a", "b")}
    with pytest.raises(UsageError, match=f"port {port} is wanted by a and b"):
        require_free_ports(both, {})


def test_a_variable_that_cannot_be_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for said, told in (
        ({"WORKERS": "many"}, "^WORKERS=many: give a number from 1 to 64"),
        ({"WORKERS": "0"}, "^WORKERS=0: give a number from 1 to 64"),
        ({"VIEWER_PORT": "99999"}, "^VIEWER_PORT=99999: give a port from 1 to 65535"),
        ({"PROMETHEUS_PORT": "0"}, "^PROMETHEUS_PORT=0: give a port"),
        ({"COMPOSE_PROFILES": "sink,snik"}, "^COMPOSE_PROFILES=sink,snik: there is no snik; .* archive and sink"),
    ):
        with pytest.raises(UsageError, match=told):
            Up(said, tmp_path, told=lambda _: None)


@pytest.mark.parametrize("profiles", ["snik", "sink,snik"])
def test_make_refuses_a_profile_that_there_is_not_before_it_installs_anything(profiles: str) -> None:
    done = subprocess.run(
        ["make", "-n", "up", f"COMPOSE_PROFILES={profiles}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},  # `make test` runs this
    )
    assert done.returncode == 2
    assert "there is no snik; there are archive and sink" in done.stderr
    assert not done.stdout


def test_a_viewer_that_is_away_or_has_nothing_has_no_picture() -> None:
    (port,) = choose_ports(0, 1)
    viewer = Viewer(f"http://{HOST}:{port}")
    assert not answers(f"http://{HOST}:{port}/readyz")
    assert not viewer.shows("gate", 0)
    assert (viewer.cameras(), viewer.happenings("gate")) == ([], [])


def test_who_lost_the_viewers_port_is_told_that_the_address_is_anothers_now() -> None:
    never = Restart(after_success=False, at_most=0)
    with taken() as port:
        viewer = LocalProcess(
            name="viewer",
            service="viewer",
            argv=("true",),
            environment={},
            restart=never,
            grace_s=1,
            url=f"http://{HOST}:{port}",
        )
        told = _of_lost_port(viewer)
    assert told is not None
    assert f"port {port} now belongs to another program" in told
    assert f"make up VIEWER_PORT={port + 1}" in told
    assert _of_lost_port(viewer) is None  # it is free again
    assert _of_lost_port(replace(viewer, url=None)) is None


class Command:
    """`python -m compose up` in a session of its own, as a terminal has it."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "compose", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def told(self) -> str:
        return "".join(self.lines)

    def ended(self, *, timeout_s: float) -> int:
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


def asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
        return json.load(answer)


@pytest.mark.kafka
def test_make_up_shows_pictures_mends_what_dies_and_leaves_nothing_behind(
    new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = new_settings()
    viewer_port, prometheus_port, grafana_port = choose_ports(0, 3)
    environment = {
        **os.environ,
        "STREAMPROC_BOOTSTRAP": settings.bootstrap,
        "STREAMPROC_PREFIX": settings.prefix,
        "SOURCE": "synthetic:640x384",
        "CAMERA": "gate",
        "FPS": "5",
        "WORKERS": "1",
        "VIEWER_PORT": str(viewer_port),
        "PROMETHEUS_PORT": str(prometheus_port),
        "GRAFANA_PORT": str(grafana_port),
    }
    up = Command(environment, "up", "--json")
    try:
        assert up.process.stdout is not None
        line = up.process.stdout.readline()
        assert line, up.told
        facts = json.loads(line)
        assert facts["first_picture_s"] is not None, up.told
        services = {one["name"]: one for one in facts["services"]}
        assert {"worker", "camera", "viewer"} <= services.keys()
        assert services["viewer"]["url"] == f"http://127.0.0.1:{viewer_port}"
        (camera,) = asked(f"{services['viewer']['url']}/api/state")["cameras"]
        assert camera["name"] == "gate"
        state = read_state(data_folder())
        assert state is not None

        twice = Command(environment, "up")
        assert twice.ended(timeout_s=30) == 2
        assert f"runs already (pid {up.process.pid}, its viewer at http://127.0.0.1:{viewer_port})" in twice.told

        if "prometheus" in services:
            _prometheus_sees(services["prometheus"]["url"])
        (worker,) = (one for one in state.others if "worker" in _command_line(one.pid))
        os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: "worker ended by signal 9" in up.told, "it is told", timeout_s=10)
        wait_until(lambda: answers(services["worker"]["metrics"]), "it is back", timeout_s=60)

        last = read_state(data_folder())
        assert last is not None
        begun_s = time.monotonic()
        os.kill(up.process.pid, signal.SIGINT)
        assert up.ended(timeout_s=40) == 0, up.told
        assert time.monotonic() - begun_s < 25
        assert not any(one.alive for one in last.others)
        assert "nothing is left running" in up.told
        assert read_state(data_folder()) is None
    finally:
        if up.process.poll() is None:
            os.kill(up.process.pid, signal.SIGTERM)
            up.ended(timeout_s=60)


@pytest.mark.kafka
def test_an_own_broker_is_started_mended_taken_over_by_the_next_and_ended(tmp_path: Path) -> None:
    viewer_port, prometheus_port, grafana_port = choose_ports(0, 3)
    environment = {
        **os.environ,
        "SOURCE": "rtsp://127.0.0.1:9/none",  # the port `discard`, where nobody listens
        "CAMERA": "gate",
        "WORKERS": "1",
        "VIEWER_PORT": str(viewer_port),
        "PROMETHEUS_PORT": str(prometheus_port),
        "GRAFANA_PORT": str(grafana_port),
    }
    cluster = LocalCluster()
    up = Command(environment, "up", "--json")
    try:
        assert up.process.stdout is not None
        line = up.process.stdout.readline()
        assert line, up.told
        assert (json.loads(line)["first_picture_s"], json.loads(line)["unseen"]) == (None, ["gate"])
        assert "at most 10 frames a second" in up.told
        assert "camera gate: refuses the connection" in up.told
        (node,) = cluster.status().nodes

        os.kill(node.pid, signal.SIGKILL)
        wait_until(lambda: "kafka ended after" in up.told, "it is told", timeout_s=10)
        wait_until(lambda: "kafka runs again at" in up.told, "it is back", timeout_s=40)
        (again,) = cluster.status().nodes
        assert (again.port, again.alive) == (node.port, True)

        os.kill(up.process.pid, signal.SIGKILL)
        up.ended(timeout_s=10)
        refused = Command({**environment, "WORKERS": "0"}, "up")
        assert refused.ended(timeout_s=40) == 2
        assert "WORKERS=0: give a number" in refused.told
        assert cluster.status().state == "running"

        down = Command(environment, "down", "--clean")
        assert down.ended(timeout_s=40) == 0, down.told
        assert cluster.status().state == "stopped"
        assert not (cluster.folder / "broker-1").exists()
        assert not (data_folder() / "logs").exists()
        assert read_state(data_folder()) is None
    finally:
        if up.process.poll() is None:
            os.kill(up.process.pid, signal.SIGTERM)
            up.ended(timeout_s=60)
        cluster.stop(graceful_s=0)


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _prometheus_sees(url: str) -> None:
    def all_up() -> bool:
        targets = asked(f"{url}/api/v1/targets")["data"]["activeTargets"]
        jobs = {target["labels"]["job"] for target in targets if target["health"] == "up"}
        return jobs == {"worker", "camera", "viewer", "prometheus"}

    wait_until(all_up, "Prometheus has asked everyone", timeout_s=20)
    groups = asked(f"{url}/api/v1/rules")["data"]["groups"]
    assert any(rule["type"] == "alerting" for group in groups for rule in group["rules"])
