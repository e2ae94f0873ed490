"""`make up`: the services of `compose.yaml` as processes of this machine, beside the local broker, until Ctrl-C."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from compose.crew import Crew
from compose.plan import HOST, Local, LocalProcess, names_of, processes_of
from compose.prepare import adapted, camera_list, child_variables, pipeline_file
from compose.services import Project, Service, in_order, read_project
from streamproc.broker import LocalCluster
from streamproc.broker.ports import PortInUseError, choose_ports, is_free
from streamproc.errors import UsageError
from streamproc.supervise import last_words

FOLDER: Final = Path(__file__).parent
FILE: Final = FOLDER / "compose.yaml"
ONCE_S: Final = 120.0
READY_S: Final = 120.0
_BROKER_GRACE_S: Final = 10.0
_LOOK_S: Final = 0.1
_ASK_S: Final = 1.0
_ANSWER_BYTES: Final = 4 * 2**20
PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "prometheus": ("prometheus",),
    "grafana": ("grafana", "grafana-server"),
}
"""Programs that are no part of streamproc, by image, under the names that packages give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs when all has been started.

    Attributes:
        processes: In the order of starting.
        missing: Services whose program is not installed here.
        logs: Folder with NAME.log of each process.
        first_picture_s: From the start of the command to the first picture in the viewer; None without one in time.
    """

    bootstrap: str
    processes: tuple[LocalProcess, ...]
    missing: tuple[str, ...]
    logs: Path
    first_picture_s: float | None = None

    def url(self, service: str) -> str | None:
        """What a person opens."""
        return next((process.url for process in self.processes if process.service == service), None)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "bootstrap": self.bootstrap,
            "services": [
                {"name": one.name, "url": one.url, "metrics": one.metrics, "log": str(self.logs / f"{one.name}.log")}
                for one in self.processes
            ],
            "missing": list(self.missing),
            "first_picture_s": self.first_picture_s,
        }


class Up:
    """The whole set: started in order, watched, stopped in reverse.

    Args:
        variables: Of the environment: those of the compose file, and SOURCE, CAMERA, FPS, STREAMPROC_BOOTSTRAP.
        data: Folder for logs, volumes and generated files.
        told: Lines for a person.
        take_over_broker: The local broker, if it runs, was left by one of us that was killed.

    Raises:
        UsageError: A port is taken, or a variable cannot be.
        SettingError: The list of cameras is refused.
        PipelineError: The pipeline is refused.
    """

    def __init__(
        self, variables: Mapping[str, str], data: Path, *, told: Callable[[str], None], take_over_broker: bool = False
    ) -> None:
        self._begun_s = time.monotonic()
        self._data, self._told = data, told
        files = {"PIPELINE": pipeline_file(variables, FOLDER), "CAMERAS": camera_list(variables, FOLDER, data)}
        self._variables = {**variables, **{name: str(path) for name, path in files.items()}}
        self._project: Project = read_project(FILE.read_text(), self._variables)
        self._services = _chosen(self._project, self._variables.get("COMPOSE_PROFILES", ""))
        self._programs = _installed()
        require_free_ports(self._services, self._programs)
        self._crew = Crew(data / "logs", environment=child_variables(self._variables), told=told)
        self._own_broker = LocalCluster() if take_over_broker else None
        self._started: list[LocalProcess] = []

    @property
    def crew(self) -> Crew:
        """The processes that were started."""
        return self._crew

    @property
    def owns_broker(self) -> bool:
        """Whether the local broker ends with us."""
        return self._own_broker is not None

    @property
    def viewer(self) -> str | None:
        """URL of the viewer."""
        ports = self._services["viewer"].ports
        return f"http://{HOST}:{ports[0][0]}" if ports else None

    def broker(self) -> str:
        """The address of Kafka: the one named, the local one if it runs, else a local one that ends with us.

        Raises:
            BrokerError: It cannot be started.
        """
        if named := self._variables.get("STREAMPROC_BOOTSTRAP"):
            self._told(f"Kafka is the one at {named}, as STREAMPROC_BOOTSTRAP says")
            return named
        cluster = LocalCluster()
        status = cluster.status()
        if self._own_broker is None and status.state == "running" and status.bootstrap is not None:
            self._told(f"Kafka is the local one at {status.bootstrap}; it runs already, and will be left running")
            return status.bootstrap
        self._own_broker = cluster
        try:
            change = cluster.start(progress=self._told)
        except PortInUseError:  # nobody needs to know the number
            change = cluster.start(port=0, progress=self._told)
        assert change.status.bootstrap is not None  # noqa: S101 - it was started
        return change.status.bootstrap

    def start(self, bootstrap: str, *, stop: threading.Event, note: Callable[[], None]) -> Running:
        """Start everything, step by step; what ends by itself is waited for.

        Args:
            bootstrap: Address of Kafka.
            stop: Set when no more is to be started.
            note: Called after each start, to write down what runs.

        Raises:
            StreamprocError: A step that others need failed.
        """
        local = self._local(bootstrap)
        local.data.mkdir(parents=True, exist_ok=True)
        everything = [
            one for service in self._services.values() for one in processes_of(service, self._services, local)
        ]
        for service in (service for step in in_order(self._services.values()) for service in step):
            for process in (one for one in everything if one.service == service.name):
                if stop.is_set():
                    break
                ours = adapted(process, service, self._services, local, everything)
                self._crew.start(ours)
                self._started.append(ours)
                note()
                if ours.once:
                    self._crew.ended(ours.name, timeout_s=ONCE_S, stopped=stop.is_set)
        return Running(
            bootstrap=bootstrap,
            processes=tuple(one for one in self._started if not one.once),
            missing=tuple(
                one.name for one in self._services.values() if one.image in PROGRAMS and one.image not in self._programs
            ),
            logs=self._data / "logs",
        )

    def _local(self, bootstrap: str) -> Local:
        named = [name for service in self._services.values() for name in names_of(service)]
        return Local(
            folder=FOLDER,
            data=self._data,
            bootstrap=bootstrap,
            metrics_ports=dict(zip(named, choose_ports(0, len(named)), strict=True)),
            secrets={name: file for name, path in self._project.secrets.items() if (file := FOLDER / path).is_file()},
            programs=self._programs,
        )

    def wait_until_ready(self, running: Running, *, stop: threading.Event) -> Running:
        """Wait until all say that they are ready, and a picture has come; bounded. What is not is told."""
        deadline_s = time.monotonic() + READY_S
        waiting = {process.name: process.ready for process in running.processes if process.ready}
        picture_s, viewer = None, running.url("viewer")
        while not stop.is_set() and time.monotonic() < deadline_s and (waiting or picture_s is None):
            self._crew.look()
            waiting = {name: url for name, url in waiting.items() if not answers(url)}
            if viewer is not None and picture_s is None and has_picture(viewer):
                picture_s = time.monotonic() - self._begun_s
            stop.wait(_LOOK_S)
        if not stop.is_set():
            for name in waiting:
                self._told(f"{name} is not ready after {READY_S:g} s: see {self._crew.log_of(name)}")
            if picture_s is None:
                log = self._crew.log_of("camera")
                self._told(f"no picture within {READY_S:g} s; the camera's last words: {last_words(log)} (log: {log})")
        return replace(running, first_picture_s=picture_s)

    def watch(self, *, stop: threading.Event, note: Callable[[], None]) -> None:
        """Start again what ends, until told to stop."""
        while not stop.wait(_LOOK_S):
            if self._crew.look():
                note()

    def close(self) -> None:
        """Stop all, what depends on others first; the broker last, if it is ours. Ctrl-C meanwhile kills."""
        hurry = False
        for step in reversed(in_order(self._services.values())):
            names = {one.name for one in step}
            chosen = [process.name for process in self._started if process.service in names]
            try:
                self._crew.stop(chosen, kill=hurry)
            except KeyboardInterrupt:
                hurry = True
                self._crew.stop(chosen, kill=True)
        if self._own_broker is not None:
            self._own_broker.stop(graceful_s=0 if hurry else _BROKER_GRACE_S)


def require_free_ports(services: Mapping[str, Service], programs: Mapping[str, str]) -> None:
    """Refuse a port that another program holds, or two services have; of services that will run.

    Raises:
        UsageError: Names the service, and how to choose another port.
    """
    seen: dict[int, str] = {}
    for service in services.values():
        if service.image != "streamproc" and service.image not in programs:
            continue
        for port, _ in service.ports:
            other = f"choose another: make up {service.name.upper()}_PORT={port + 1 if port < 65535 else port - 1}"
            if port in seen:
                raise UsageError(f"port {port} is wanted by {seen[port]} and {service.name}: {other}")
            if not is_free(port):
                raise UsageError(f"port {port} of {service.name} is in use by another program: {other}")
            seen[port] = service.name


def _chosen(project: Project, profiles: str) -> dict[str, Service]:
    """Services without those of profiles that were not asked for."""
    asked = {name.strip() for name in profiles.split(",")}
    return {name: one for name, one in project.services.items() if not one.profiles or asked & {*one.profiles}}


def _installed() -> dict[str, str]:
    found = {image: next(filter(None, map(shutil.which, names)), None) for image, names in PROGRAMS.items()}
    return {image: path for image, path in found.items() if path is not None}


def answers(url: str) -> bool:
    """Whether a URL of ours answers with 200."""
    with suppress(OSError, ValueError), _opened(url) as answer:
        return bool(answer.status == 200)
    return False


def has_picture(viewer: str) -> bool:
    """Whether the viewer has a picture of some camera."""
    with suppress(OSError, ValueError, KeyError, TypeError), _opened(f"{viewer}/api/state") as answer:
        state = json.loads(answer.read(_ANSWER_BYTES))
        return any(camera["last_picture_ms"] for camera in state["cameras"])
    return False


def _opened(url: str) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before our own processes
    return direct.open(url, timeout=_ASK_S)
