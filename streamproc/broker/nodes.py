"""One node of the cluster: its folder, its Java command, its log."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from streamproc.broker.processes import Process, spawn
from streamproc.broker.server_properties import NodePorts, render, server_properties
from streamproc.broker.state import Identity
from streamproc.errors import BrokerError
from streamproc.settings import child_environment

FORMAT_S = 60.0
TAIL_BYTES = 65_536
LOG_NAME = "server.log"

HEAP = ("-Xms64m", "-Xmx512m")
BROKER_OPTIONS = (
    # On a few cores shared with workers, the optimising compiler and the parallel collector cost more than they
    # give: broker CPU for a tile 954 us instead of 1339 in the third 10 s, 1293 instead of 2396 in the first.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",  # would leave a file in /tmp for each broker that is killed
    "-XX:ErrorFile=java-crash-%p.log",
    "-Djava.awt.headless=true",
    "-Djava.io.tmpdir=tmp",  # compression libraries unpack themselves there; /tmp may be mounted noexec
)
TOOL_OPTIONS = ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
LOG_OPTIONS = (
    "-Dstdout.encoding=UTF-8",
    "-Dstderr.encoding=UTF-8",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.showShortLogName=true",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",  # 200 lines of settings at each start
)


Amend: TypeAlias = Callable[[int, dict[str, str]], dict[str, str]]
"""(node id, its settings) -> the settings it gets."""


def unchanged(_node_id: int, settings: dict[str, str]) -> dict[str, str]:
    """The settings as they are."""
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What Kafka runs on."""

    java: Path
    jars: tuple[Path, ...]

    def environment(self) -> dict[str, str]:
        """For the child: the class path there keeps the command line readable in `ps`."""
        # In a C locale Java cannot open a path that is not ASCII; elsewhere than Linux it always takes UTF-8.
        locale = {"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}
        return child_environment({"CLASSPATH": ":".join(map(str, self.jars)), **locale})


def node_folder(cluster: Path, node_id: int) -> Path:
    """The folder of one node: its settings, records and log."""
    return cluster / f"broker-{node_id}"


def write_properties(cluster: Path, ports: Sequence[NodePorts], *, amend: Amend = unchanged) -> None:
    """Write the settings of every node, changed by `amend`."""
    for node_id in range(1, len(ports) + 1):
        folder = node_folder(cluster, node_id)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        settings = server_properties(node_id=node_id, ports=ports, data=folder / "data")
        (folder / "server.properties").write_text(render(amend(node_id, settings)), encoding="ascii")


def format_nodes(runtime: Runtime, cluster: Path, identity: Identity) -> None:
    """Make the folders of all nodes ready for Kafka, side by side.

    Raises:
        BrokerError: With what the tool said.
    """
    ids = range(1, len(identity.ports) + 1)
    with ThreadPoolExecutor(len(ids)) as pool:
        list(pool.map(lambda node_id: _format(runtime, node_folder(cluster, node_id), identity.cluster_id), ids))


def _format(runtime: Runtime, folder: Path, cluster_id: str) -> None:
    command = [str(runtime.java), *TOOL_OPTIONS, *LOG_OPTIONS, "kafka.tools.StorageTool", "format"]
    # --ignore-formatted: a start that was killed half way may have formatted some of the nodes already.
    command += ["-t", cluster_id, "-c", "server.properties", "--ignore-formatted"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=runtime.environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FORMAT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(
            f"formatting {folder} took longer than {FORMAT_S:.0f} s: is this machine very busy?"
        ) from None
    except OSError as error:
        raise BrokerError(f"cannot run {runtime.java}: {error}") from None
    if done.returncode != 0:
        raise BrokerError(f"Kafka could not format {folder}: {telling_lines(done.stdout + done.stderr)}")


def spawn_node(runtime: Runtime, cluster: Path, node_id: int) -> Process:
    """Start one node; it goes on when we end.

    Raises:
        BrokerError: Java could not be started at all.
    """
    folder = node_folder(cluster, node_id)
    log = folder / LOG_NAME
    if log.exists():
        log.replace(log.with_name(f"{LOG_NAME}.1"))  # one start, one log; the one before is kept
    command = [str(runtime.java), *HEAP, *BROKER_OPTIONS, *LOG_OPTIONS, "kafka.Kafka", "server.properties"]
    try:
        return spawn(command, folder=folder, log=log, environment=runtime.environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"cannot start {runtime.java}: {error}") from None


def last_words(log: Path) -> str:
    """The lines at the end of a log that say most, joined into one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return "(no log)"
    return telling_lines(text)


def telling_lines(text: str, *, most: int = 3) -> str:
    """The last lines that tell of an error, else the last lines; never the frames of a Java stack."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not re.match(r"\s+(at |\.\.\. \d)", line)]
    errors = [line for line in lines if re.search(r"\b(ERROR|FATAL)\b|Exception\b|\bError\b", line)]
    chosen = list(dict.fromkeys(errors or lines))[-most:]
    return " | ".join(chosen) or "(it said nothing)"
