"""From the services of the compose file to processes of this machine. Pure: ports and folders are arguments.

In a container a service listens on all addresses of a network of its own, and is known by its name. Here each listens
on 127.0.0.1 at a port of its own, and names, addresses and paths in commands and variables become those
of this machine.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from compose.services import Restart, Service

HOST: Final = "127.0.0.1"
_ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - what is replaced
_SECRETS: Final = "/run/secrets/"
_FOR_MACHINES: Final = "--log-json"  # logs here are read by people
_METRICS: Final = "STREAMPROC_METRICS_PORT"
_READY: Final[Mapping[str, str]] = {"streamproc": "/readyz", "prometheus": "/-/ready", "grafana": "/api/health"}
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""A process that ran so long begins anew with the pauses between restarts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Where things are on this machine.

    Attributes:
        folder: Of the compose file, which its paths are relative to.
        data: For volumes and logs.
        bootstrap: The broker's address, in place of the service `kafka`.
        metrics_ports: Of each process, by name.
        secrets: Files of secrets that there are, by name.
        programs: Programs that are no part of streamproc, by image; those that are missing are left out.
    """

    folder: Path
    data: Path
    bootstrap: str
    metrics_ports: Mapping[str, int] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProcess:
    """One process to run.

    Attributes:
        name: Of the service; with a number where it has several.
        argv: The program and its arguments.
        environment: Set over what is there.
        url: What a person opens; None for a service without a published port.
        metrics: Its /metrics; None without.
        ready: Answers 200 when it is ready; None if there is nothing to ask.
        once: Ends by itself; the others wait for it.
    """

    name: str
    service: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    restart: Restart
    grace_s: float
    url: str | None = None
    metrics: str | None = None
    ready: str | None = None
    once: bool = False


def names_of(service: Service) -> list[str]:
    """Names of its processes."""
    if service.replicas == 1:
        return [service.name]
    return [f"{service.name}-{number}" for number in range(1, service.replicas + 1)]


def processes_of(service: Service, services: Mapping[str, Service], local: Local) -> list[LocalProcess]:
    """The processes of one service; none for the broker, and for a program that is not here."""
    if service.image == "streamproc":
        program: tuple[str, ...] = (sys.executable, "-P", "-m", "streamproc")  # -P: no modules from where we stand
    elif service.image in local.programs:
        program = (local.programs[service.image],)
    else:
        return []
    completed = [
        other for other in services.values() if other.depends_on.get(service.name) == "service_completed_successfully"
    ]
    return [
        _process(name, service, services, local, program=program, once=bool(completed)) for name in names_of(service)
    ]


def _process(
    name: str, service: Service, services: Mapping[str, Service], local: Local, *, program: Sequence[str], once: bool
) -> LocalProcess:
    environment = _environment(service, services, local)
    url = f"http://{HOST}:{service.ports[0][0]}" if service.ports else None
    metrics = None
    if _METRICS in environment:
        port = local.metrics_ports.get(name, 0)
        environment[_METRICS] = str(port)  # 0 is off
        metrics = f"http://{HOST}:{port}" if port else None
    answers = url or metrics
    return LocalProcess(
        name=name,
        service=service.name,
        argv=(*program, *_arguments(service, services, local)),
        environment=environment,
        restart=service.restart,
        grace_s=service.grace_s,
        url=url,
        metrics=f"{metrics}/metrics" if metrics else None,
        ready=f"{answers}{_READY[service.image]}" if answers and not once else None,
        once=once,
    )


def _arguments(service: Service, services: Mapping[str, Service], local: Local) -> list[str]:
    """A command's arguments as they are here; an option for a secret that there is not goes with its value."""
    kept: list[str] = []
    for argument in service.command:
        if argument == _FOR_MACHINES:
            continue
        if argument.startswith(_SECRETS) and argument.removeprefix(_SECRETS) not in local.secrets:
            if kept and kept[-1].startswith("--"):
                kept.pop()
            continue
        kept.append(localised(argument, service, services, local))
    return kept


def _environment(service: Service, services: Mapping[str, Service], local: Local) -> dict[str, str]:
    return {
        name: localised(value, service, services, local)
        for name, value in service.environment.items()
        if not (value.startswith(_SECRETS) and value.removeprefix(_SECRETS) not in local.secrets)
    }


def localised(text: str, service: Service, services: Mapping[str, Service], local: Local) -> str:
    """A text of a command or variable with the addresses, ports and paths of this machine."""
    if text.startswith(_SECRETS):
        return str(local.secrets[text.removeprefix(_SECRETS)])
    for outside, inside in service.ports:
        if text == str(inside):
            return str(outside)
        text = re.sub(rf"(?:(?<=^)|(?<==)):{inside}$", f"{HOST}:{outside}", text)
    for target, source in sorted(service.volumes.items(), key=lambda pair: -len(pair[0])):
        place = str(_place(source, local)).replace("\\", r"\\")
        text = re.sub(rf"(?<![\w/.-]){re.escape(target)}(?=/|$)", place, text)
    for other in services.values():
        text = re.sub(rf"\b{re.escape(other.name)}:(\d+)", partial(_address, other, local=local), text)
    return text.replace(_ANYWHERE, HOST)


def _place(source: str, local: Local) -> Path:
    """Where a volume lies: a path beside the compose file, or a folder for a named volume."""
    if source.startswith((".", "/", "~")):
        return (local.folder / Path(source).expanduser()).resolve()
    return local.data / source


def _address(service: Service, match: re.Match[str], *, local: Local) -> str:
    if service.image == "kafka":
        return local.bootstrap
    ports = {inside: outside for outside, inside in service.ports}
    return f"{HOST}:{ports.get(int(match[1]), int(match[1]))}"


def prometheus_config(
    text: str, processes: Sequence[LocalProcess], services: Mapping[str, Service], local: Local
) -> str:
    """Prometheus' configuration with the processes of this machine in place of names and paths of containers.

    Args:
        text: The configuration that containers have.
        processes: All that run.
        services: All of the compose file.
        local: Of this machine.
    """
    config = yaml.safe_load(text)
    (own,) = (service for service in services.values() if service.image == "prometheus")
    config["rule_files"] = [localised(rule, own, services, local) for rule in config.get("rule_files", ())]
    config["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": targets}]}
        for job in config["scrape_configs"]
        if (targets := _targets(job, processes, own))
    ]
    return yaml.safe_dump(config, sort_keys=False)


def _targets(job: Mapping[str, Any], processes: Sequence[LocalProcess], own: Service) -> list[str]:
    named = {name for found in job.get("dns_sd_configs", ()) for name in found["names"]}
    targets = [
        process.metrics.removeprefix("http://").removesuffix("/metrics")
        for process in processes
        if process.service in named and process.metrics
    ]
    ports = {f"{HOST}:{inside}": f"{HOST}:{outside}" for outside, inside in own.ports}
    return targets + [ports.get(one, one) for static in job.get("static_configs", ()) for one in static["targets"]]


def runs_again(restart: Restart, code: int, restarts: int) -> bool:
    """Whether a process that has ended is started again.

    Args:
        restart: What is to be done.
        code: Its exit status; negative for a signal.
        restarts: How often it was started again already.
    """
    if restart.at_most is not None and restarts >= restart.at_most:
        return False
    return code != 0 or restart.after_success


def pause_s(restarts: int) -> float:
    """Seconds before the next start, the longer the more there were: 1, 2, 4, ... 30."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * (1 << min(restarts, 10)))
