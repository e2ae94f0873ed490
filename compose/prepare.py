"""What `make up` writes before it starts: the list of cameras, and configurations with addresses of this machine."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from compose.plan import HOST, Local, LocalProcess, localised, prometheus_config
from compose.services import Service
from producers.cameras_file import read_cameras
from streamproc.errors import UsageError
from streamproc.operators.pipeline_file import load
from streamproc.settings import NAME_PATTERN

_NOT_FOR_CHILDREN: Final = {
    *("SOURCE", "CAMERA", "FPS", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES"),  # a source may hold a password
    "STREAMPROC_INSTANCE_ID",  # belongs to one worker
}
MOST_FPS: Final = 10
"""What a live camera of SOURCE is bounded to when FPS is not said: a camera may give more than one machine can do."""
_FPS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
_MADE_UP: Final = re.compile(r"builtin|synthetic(:.*)?")
_FILM: Final = re.compile(r"https?://[^?#]*\.(mp4|m4v|mov|mkv|avi|webm)([?#].*)?", re.IGNORECASE)
_PORTS: Final = ("VIEWER_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "KAFKA_PORT")
_MOST_WORKERS: Final = 64
_GLOB: Final = re.compile(r"[*?\[]")
_GRAFANA_HOME: Final = Path("/usr/share/grafana")


def require_numbers(variables: Mapping[str, str]) -> None:
    """Refuse ports and a number of workers that cannot be, by the names under which they were given.

    Raises:
        UsageError: Names the variable.
    """
    for name in _PORTS:
        if (said := variables.get(name, "")) and not _is_number(said, 65535):
            raise UsageError(f"{name}={said}: give a port from 1 to 65535")
    if (said := variables.get("WORKERS", "")) and not _is_number(said, _MOST_WORKERS):
        raise UsageError(f"WORKERS={said}: give a number from 1 to {_MOST_WORKERS}")


def _is_number(text: str, most: int) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= most


def bound_told(variables: Mapping[str, str]) -> str | None:
    """That a camera's rate is bounded, and how to change it; None where it is not, or was chosen."""
    source = variables.get("SOURCE", "")
    if not source or variables.get("FPS") or not _is_live(source):
        return None
    return f"at most {MOST_FPS} frames a second are taken of SOURCE; another bound: FPS=25"


def _is_live(source: str) -> bool:
    """Whether frames come whether they are taken or not; a film would only be played at another speed."""
    live = _MADE_UP.fullmatch(source) or source.startswith("/dev/") or "://" in source
    return bool(live) and not _FILM.fullmatch(source) and not source.startswith("file://")


def child_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of all processes, but for what each sets itself."""
    return {name: value for name, value in variables.items() if name not in _NOT_FOR_CHILDREN}


def camera_list(variables: Mapping[str, str], folder: Path, data: Path) -> Path:
    """The list of cameras: made of SOURCE, CAMERA and FPS, or the named one, or ours; read once, to refuse it early.

    Args:
        variables: SOURCE is a camera, film or folder; CAMERA its name; FPS frames a second; CAMERAS a list.
        folder: Of the compose file, with the list that is taken when nothing is said.
        data: Where a list is written to.

    Raises:
        UsageError: SOURCE, CAMERA or FPS cannot be.
        SettingError: The list is refused.
    """
    said = {name: variables.get(name, "") for name in ("SOURCE", "CAMERA", "FPS")}
    if any(said.values()):
        data.mkdir(parents=True, exist_ok=True)
        path = data / "cameras.toml"
        path.unlink(missing_ok=True)
        text = camera_toml(said["SOURCE"] or "builtin", name=said["CAMERA"] or "camera", fps=said["FPS"])
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)  # 0600: a URL may hold a password
    else:
        path = Path(variables.get("CAMERAS") or folder / "cameras.toml").expanduser().absolute()
    read_cameras(path, variable=variables.get)
    return path


def camera_toml(source: str, *, name: str, fps: str) -> str:
    """A list with one camera.

    Raises:
        UsageError: A name, number or source that cannot be.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"CAMERA={name}: use letters, digits, '.', '_' and '-', a letter or digit first")
    if fps and not (_FPS.fullmatch(fps) and float(fps) > 0):
        raise UsageError(f"FPS={fps}: give a number of frames a second, like 5")
    if source == "-" or source.startswith("stdin:"):
        raise UsageError("SOURCE: standard input cannot be read here: use streamproc produce")
    kind, colon, rest = source.partition(":")
    if kind == "watch" and colon:
        source = f"watch:{Path(rest).expanduser().absolute()}"
    elif "://" not in source and not _MADE_UP.fullmatch(source):
        path = Path(source).expanduser().absolute()
        if not path.exists() and not _GLOB.search(source):
            raise UsageError(
                f"SOURCE={source} does not exist: give a film, a folder, a picture, or the URL of a camera"
            )
        source = str(path)
    lines = ["[[camera]]", f"name = {json.dumps(name)}", f"source = {json.dumps(source)}"]
    if rate := fps or (MOST_FPS if _is_live(source) else ""):
        lines.append(f"fps = {float(rate):g}")
    return "\n".join(lines) + "\n"


def pipeline_file(variables: Mapping[str, str], folder: Path) -> Path:
    """The pipeline: the named one, or ours; read once, to refuse it early.

    Raises:
        PipelineError: It is refused.
    """
    path = Path(variables.get("PIPELINE") or folder / "pipeline.toml").expanduser().absolute()
    load(path)
    return path


def adapted(
    process: LocalProcess,
    service: Service,
    services: Mapping[str, Service],
    local: Local,
    all_of_us: Sequence[LocalProcess],
) -> LocalProcess:
    """A process whose program reads a configuration, with one written for this machine; others as they are.

    Args:
        process: To be started.
        service: Whose it is.
        services: All that run.
        local: Of this machine.
        all_of_us: What Prometheus asks.
    """
    if service.image == "prometheus":
        return _prometheus(process, services, local, all_of_us)
    if service.image == "grafana":
        return _grafana(process, service, services, local)
    return process


def _prometheus(
    process: LocalProcess, services: Mapping[str, Service], local: Local, all_of_us: Sequence[LocalProcess]
) -> LocalProcess:
    file = local.data / "prometheus.yml"
    file.write_text(prometheus_config((local.folder / "prometheus.yml").read_text(), all_of_us, services, local))
    argv = [f"--config.file={file}" if one.startswith("--config.file=") else one for one in process.argv]
    return replace(process, argv=tuple(argv))


def _grafana(process: LocalProcess, service: Service, services: Mapping[str, Service], local: Local) -> LocalProcess:
    """Grafana from a package: its folders and its port by variables, the provisioning rewritten."""
    home = local.data / "grafana"
    for file in (local.folder / "grafana" / "provisioning").rglob("*.yml"):
        written = home / "provisioning" / file.relative_to(local.folder / "grafana" / "provisioning")
        written.parent.mkdir(parents=True, exist_ok=True)
        lines = (_line(line, service, services, local) for line in file.read_text().splitlines())
        written.write_text("\n".join(lines) + "\n")
    program = Path(process.argv[0])
    share = _GRAFANA_HOME if _GRAFANA_HOME.is_dir() else program.resolve().parent.parent
    argv = (str(program), *(["server"] if program.name == "grafana" else []), "--homepath", str(share))
    paths = {name.upper(): str(home / name) for name in ("data", "logs", "plugins", "provisioning")}
    environment = {
        "GF_SECURITY_ADMIN_PASSWORD__FILE": str(_password(home / "password")),
        **process.environment,
        **{f"GF_PATHS_{name}": path for name, path in paths.items()},
        "GF_SERVER_HTTP_ADDR": HOST,
        "GF_SERVER_HTTP_PORT": str(service.ports[0][0]),
    }
    return replace(process, argv=argv, environment=environment)


def _line(line: str, service: Service, services: Mapping[str, Service], local: Local) -> str:
    """A line of YAML, its value as it is here."""
    key, colon, value = line.partition(": ")
    return f"{key}{colon}{localised(value, service, services, local)}"


def _password(file: Path) -> Path:
    """A file with a password of its own, for who did not give one."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(secrets.token_urlsafe(18))
    return file
