"""What `make up` understands of `compose.yaml`: services as values. Pure; the text and the variables are arguments.

A small part of the Compose specification (https://github.com/compose-spec/compose-spec/blob/main/spec.md): what our
file uses. A key that is not understood is refused, so that nothing in the file is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import yaml

from streamproc.errors import UsageError

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]

_CONDITIONS: Final = {"service_started", "service_healthy", "service_completed_successfully"}
_TOP: Final = {"name", "services", "networks", "volumes", "secrets"}
# What bounds a container says nothing to a process of this machine.
_FOR_CONTAINERS: Final = {
    *("build", "cap_drop", "cpus", "init", "logging", "mem_limit", "networks", "pids_limit", "read_only"),
    *("healthcheck", "security_opt", "tmpfs", "user"),
}
_UNDERSTOOD: Final = {
    *("image", "command", "environment", "depends_on", "ports", "profiles", "restart", "secrets", "stop_grace_period"),
    *("volumes", "deploy"),
}
_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
_DURATION: Final = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")
_PORT: Final = re.compile(r"127\.0\.0\.1:(\d{1,5}):(\d{1,5})")
_RESTART: Final = re.compile(r"no|always|unless-stopped|on-failure(?::(\d+))?")
_DEFAULT_GRACE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """When a process that has ended is started again.

    Attributes:
        after_success: Also after status 0.
        at_most: Starts after the first one; None is without end.
    """

    after_success: bool
    at_most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service.

    Attributes:
        image: Name without registry and tag: streamproc, kafka, prometheus, grafana.
        ports: Port on this machine, and the one inside.
        volumes: Path inside to path on this machine, or to the name of a volume.
        depends_on: Services that come first, and what of them is waited for.
        grace_s: Time to end after SIGTERM.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    ports: tuple[tuple[int, int], ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    restart: Restart = Restart(after_success=False, at_most=0)
    replicas: int = 1
    grace_s: float = _DEFAULT_GRACE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All services, by name, and the files of the secrets."""

    services: Mapping[str, Service]
    secrets: Mapping[str, str]


def read_project(text: str, variables: Mapping[str, str]) -> Project:
    """Read a compose file.

    Args:
        text: YAML.
        variables: For `${NAME}` and `${NAME:-default}`.

    Raises:
        UsageError: A key, value or reference that is not understood; names the service.
    """
    content = _interpolated(yaml.safe_load(text), variables)
    if unknown := sorted(key for key in content if key not in _TOP and not key.startswith("x-")):
        raise UsageError(f"compose file: {unknown[0]} is not understood here")
    services = {name: _service(name, body) for name, body in content["services"].items()}
    for service in services.values():
        if missing := sorted(service.depends_on.keys() - services.keys()):
            raise UsageError(f"compose file: {service.name} depends on {missing[0]}, and there is no such service")
    return Project(services=services, secrets={name: body["file"] for name, body in content.get("secrets", {}).items()})


def in_order(services: Iterable[Service]) -> list[list[Service]]:
    """Services in the order of starting, in steps: each needs only those of the steps before. Stopping goes back.

    Raises:
        UsageError: They wait for one another in a circle.
    """
    left = {service.name: service for service in services}
    steps: list[list[Service]] = []
    while left:
        step = [service for service in left.values() if not service.depends_on.keys() & left.keys()]
        if not step:
            raise UsageError(f"compose file: {', '.join(sorted(left))} wait for one another")
        steps.append(step)
        left = {name: service for name, service in left.items() if service not in step}
    return steps


def _interpolated(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _interpolated(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolated(value, variables) for value in node]
    return _VARIABLE.sub(lambda match: _value(match, variables), node) if isinstance(node, str) else node


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match[1]:
        return "$"
    return variables.get(match[2] or match[4], "") or match[3] or ""  # `:-` stands for an empty one, too


def _service(name: str, body: Mapping[str, Any]) -> Service:
    if unknown := sorted(body.keys() - _UNDERSTOOD - _FOR_CONTAINERS):
        raise UsageError(f"compose file: {name}: {unknown[0]} is not understood here")
    return Service(
        name=name,
        image=body["image"].rpartition("/")[2].partition(":")[0],
        command=tuple(map(str, body.get("command", ()))),
        environment={key: str(value) for key, value in body.get("environment", {}).items()},
        depends_on={other: _condition(name, how) for other, how in body.get("depends_on", {}).items()},
        ports=tuple(_port(name, port) for port in body.get("ports", ())),
        volumes=dict(_volume(name, volume) for volume in body.get("volumes", ())),
        secrets=tuple(body.get("secrets", ())),
        profiles=tuple(body.get("profiles", ())),
        restart=_restart(name, body.get("restart", "no")),
        replicas=_replicas(name, body.get("deploy", {}).get("replicas", 1)),
        grace_s=_seconds(name, body["stop_grace_period"]) if "stop_grace_period" in body else _DEFAULT_GRACE_S,
    )


def _condition(name: str, how: Mapping[str, Any]) -> Condition:
    condition: Condition = how["condition"]
    if condition not in _CONDITIONS:
        raise UsageError(f"compose file: {name}: condition {condition!r} is none of {', '.join(sorted(_CONDITIONS))}")
    return condition


def _port(name: str, port: Any) -> tuple[int, int]:
    found = _PORT.fullmatch(str(port))
    if found is None or not all(0 < int(number) < 65536 for number in found.groups()):
        raise UsageError(f"compose file: {name}: port {port!r}: write 127.0.0.1:PORT:PORT, each 1 to 65535")
    return int(found[1]), int(found[2])


def _volume(name: str, volume: str) -> tuple[str, str]:
    source, colon, rest = volume.partition(":")
    if not (source and colon and rest.startswith("/")):
        raise UsageError(f"compose file: {name}: volume {volume!r}: write SOURCE:/TARGET or SOURCE:/TARGET:ro")
    return rest.removesuffix(":ro"), source


def _restart(name: str, text: str) -> Restart:
    found = _RESTART.fullmatch(text)
    if found is None:
        raise UsageError(f"compose file: {name}: restart {text!r}: use no, always, unless-stopped or on-failure[:N]")
    if text == "no":
        return Restart(after_success=False, at_most=0)
    limit = int(found[1]) if found[1] else None
    return Restart(after_success=not text.startswith("on-failure"), at_most=limit)


def _replicas(name: str, value: Any) -> int:
    text = str(value)
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise UsageError(f"compose file: {name}: replicas {text!r}: give a number from 1 to 64")
    return int(text)


def _seconds(name: str, text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise UsageError(f"compose file: {name}: {text!r} is no time like 90s or 1m30s")
    return 60.0 * int(found[1] or 0) + int(found[2] or 0)
