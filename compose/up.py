"""`make up`: the services of `compose.yaml` as processes of this machine, beside the local broker, until Ctrl-C."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from compose.camera_watch import CameraWatch, last_happening
from compose.crew import Crew
from compose.kafka_keeper import KafkaKeeper
from compose.plan import HOST, Local, LocalProcess, names_of, processes_of
from compose.prepare import adapted, bound_told, camera_list, child_variables, pipeline_file, require_numbers
from compose.services import Project, Service, in_order, read_project
from compose.viewer_client import Viewer, answers, not_ready
from producers.cameras_file import read_cameras
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
_ASK_FIRST_S: Final = 0.5
_ASK_S: Final = 5.0
_ASKED_AT_ONCE: Final = 8
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
        first_picture_s: From the start of the command to the first picture of a camera of the list in the viewer;
            None without one in time.
        unseen: Cameras of the list without a picture so far.
    """

    bootstrap: str
    processes: tuple[LocalProcess, ...]
    missing: tuple[str, ...]
    logs: Path
    first_picture_s: float | None = None
    unseen: tuple[str, ...] = ()

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
            "unseen": list(self.unseen),
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
        self._begun_s, self._asked_s = time.monotonic(), 0.0
        self._data, self._told = data, told
        require_numbers(variables)
        files = {"PIPELINE": pipeline_file(variables, FOLDER), "CAMERAS": camera_list(variables, FOLDER, data)}
        listed = read_cameras(files["CAMERAS"], variable=variables.get).values()
        self._cameras = CameraWatch([one.name for one in listed if one.enabled], time.time() * 1000)
        if bound := bound_told(variables):
            told(bound)
        self._variables = {**variables, **{name: str(path) for name, path in files.items()}}
        self._project: Project = read_project(FILE.read_text(), self._variables)
        self._services = _chosen(self._project, self._variables.get("COMPOSE_PROFILES", ""))
        self._programs = _installed()
        require_free_ports(self._services, self._programs)
        self._crew = Crew(data / "logs", environment=child_variables(self._variables), told=told, hint=_of_lost_port)
        self._own_broker = LocalCluster() if take_over_broker else None
        self._kafka: KafkaKeeper | None = None
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
        self._kafka = KafkaKeeper(cluster, told=self._told)
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
            self._wait_for_healthy(service, stop)
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

    def _wait_for_healthy(self, service: Service, stop: threading.Event) -> None:
        """Wait for those that a service wants ready before it starts; bounded, and what is not ready is told."""
        wanted = {name for name, condition in service.depends_on.items() if condition == "service_healthy"}
        urls = {one.name: one.ready for one in self._started if one.service in wanted and one.ready}
        if names := not_ready(urls, timeout_s=READY_S, stop=stop, look=self._look):
            self._told(
                f"{service.name} is started, though not ready after {READY_S:g} s: {', '.join(names)}; see the logs"
            )

    def _look(self) -> bool:
        if self._kafka is not None:
            self._kafka.look()
        return self._crew.look()

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
        """Wait until all say that they are ready, and each camera shows a picture or says why not; bounded.

        What is not ready is told.
        """
        deadline_s = time.monotonic() + READY_S
        waiting = {process.name: process.ready for process in running.processes if process.ready}
        picture_s, many = None, len(self._cameras.unseen)
        while not stop.is_set() and time.monotonic() < deadline_s and (waiting or self._cameras.waiting):
            self._look()
            waiting = {name: url for name, url in waiting.items() if not answers(url)}
            self._look_at_cameras(every_s=_ASK_FIRST_S, first=True)
            if picture_s is None and len(self._cameras.unseen) < many:
                picture_s = time.monotonic() - self._begun_s
            stop.wait(_LOOK_S)
        if not stop.is_set():
            for name in waiting:
                self._told(f"{name} is not ready after {READY_S:g} s: see {self._crew.log_of(name)}")
            if self._cameras.waiting:
                log, names = self._crew.log_of("camera"), ", ".join(self._cameras.waiting)
                words = f"the last words of their process: {last_words(log)} (log: {log})"
                self._told(f"no picture of {names} within {READY_S:g} s; {words}")
        return replace(running, first_picture_s=picture_s, unseen=self._cameras.unseen)

    def watch(self, *, stop: threading.Event, note: Callable[[], None]) -> None:
        """Start again what ends, and tell of cameras and workers what a person should know, until told to stop."""
        while not stop.wait(_LOOK_S):
            if self._look():
                note()
            self._look_at_cameras(every_s=_ASK_S, first=False)

    def _look_at_cameras(self, *, every_s: float, first: bool) -> None:
        """Ask the viewer, at most so often, and tell what is new."""
        now_s = time.monotonic()
        if self.viewer is None or now_s - self._asked_s < every_s:
            return
        token = FOLDER / self._project.secrets.get("viewer-token", "")
        viewer = Viewer(self.viewer, token if token.is_file() else None)
        cameras = viewer.cameras()
        told = [
            self._cameras.happened(name, last_happening(viewer.happenings(name), self._cameras.begun_ms))
            for name in self._cameras.to_ask(cameras)[:_ASKED_AT_ONCE]
        ]
        for name in self._cameras.to_look_at(cameras)[:_ASKED_AT_ONCE]:
            if viewer.shows(name, self._cameras.begun_ms):
                self._cameras.shown(name)
                told.append(None if first else f"camera {name}: its first picture is there: {self.viewer}")
        told.append(self._cameras.behind(cameras, now_s))
        for line in filter(None, told):
            self._told(line)
        self._asked_s = time.monotonic()

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
            other = f"choose another: {_other_port(service.name, port)}"
            if port in seen:
                raise UsageError(f"port {port} is wanted by {seen[port]} and {service.name}: {other}")
            if not is_free(port):
                raise UsageError(f"port {port} of {service.name} is in use by another program: {other}")
            seen[port] = service.name


def _chosen(project: Project, profiles: str) -> dict[str, Service]:
    """Services without those of profiles that were not asked for.

    Raises:
        UsageError: There is no such profile.
    """
    asked = {name.strip() for name in profiles.split(",") if name.strip()}
    known = {profile for one in project.services.values() for profile in one.profiles}
    if unknown := sorted(asked - known):
        there_are = " and ".join(sorted(known))
        raise UsageError(f"COMPOSE_PROFILES={profiles}: there is no {unknown[0]}; there are {there_are}")
    return {name: one for name, one in project.services.items() if not one.profiles or asked & {*one.profiles}}


def _of_lost_port(process: LocalProcess) -> str | None:
    """What to do when another program listens where a process that has ended did."""
    if process.url is None:
        return None
    port = int(process.url.rpartition(":")[2])
    if is_free(port):
        return None
    return (
        f"port {port} now belongs to another program: do not trust {process.url};"
        f" end that program, or start anew with {_other_port(process.service, port)}"
    )


def _other_port(service: str, port: int) -> str:
    return f"make up {service.upper()}_PORT={port + 1 if port < 65535 else port - 1}"


def _installed() -> dict[str, str]:
    found = {image: next(filter(None, map(shutil.which, names)), None) for image, names in PROGRAMS.items()}
    return {image: path for image, path in found.items() if path is not None}
