"""What is written about a cluster in its folder, so that a later command finds it, and what is told about it.

cluster.json   what the cluster is: its id, its ports; stays as long as its records
state.json     what runs: processes with their start times; removed by stop
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from streamproc.broker.jars import KAFKA_VERSION
from streamproc.broker.processes import Process
from streamproc.broker.server_properties import NodePorts
from streamproc.errors import BrokerError

IDENTITY_FILE = "cluster.json"
STATE_FILE = "state.json"

State = Literal["running", "partly", "stopped"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a cluster is, whether it runs or not.

    Attributes:
        cluster_id: As Kafka knows it; tells our broker from another at the same port.
        ports: Of each node; their number is the number of brokers.
        formatted: Whether the folders of all nodes have been made ready for Kafka.
    """

    cluster_id: str
    ports: tuple[NodePorts, ...]
    formatted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningNode:
    """One node that was started."""

    id: int
    pid: int
    born: str
    port: int
    controller_port: int
    log: Path

    @property
    def process(self) -> Process:
        """Its process, known by pid and start time."""
        return Process(pid=self.pid, born=self.born)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was started, and when (seconds since 1970)."""

    version: str
    bootstrap: str
    cluster_id: str
    started_at_s: float
    nodes: tuple[RunningNode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One broker as it is now."""

    id: int
    pid: int
    alive: bool
    port: int
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """A cluster as it is now.

    Attributes:
        state: "partly" when some of its brokers are gone.
        answering: Whether it answered a metadata request; None if it was not asked.
        bootstrap: For clients; None when it is stopped.
        detail: One line for a person.
        nodes: As last started; empty when it was stopped in good order.
        uptime_s: Since its start; None when it is stopped.
    """

    state: State
    answering: bool | None = None
    bootstrap: str | None = None
    version: str = KAFKA_VERSION
    folder: Path
    detail: str
    nodes: tuple[NodeStatus, ...] = ()
    uptime_s: float | None = None

    @property
    def usable(self) -> bool:
        """Whether a client can work with it; what `streamproc broker status` exits with."""
        return self.state != "stopped" and self.answering is not False

    def as_json(self) -> str:
        """The same for a machine."""
        fields: dict[str, Any] = {**asdict(self), "pids": [node.pid for node in self.nodes if node.alive]}
        return msgspec.json.encode(fields, enc_hook=str).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a command led to; `changed` is False when there was nothing to do."""

    changed: bool
    status: ClusterStatus


def read_identity(folder: Path) -> Identity | None:
    """What the cluster of this folder is; None if there never was one.

    Raises:
        BrokerError: The file is there and cannot be read.
    """
    return _read(folder / IDENTITY_FILE, Identity)


def read_run(folder: Path) -> Run | None:
    """What was started in this folder and not stopped since; None if nothing.

    Raises:
        BrokerError: The file is there and cannot be read.
    """
    return _read(folder / STATE_FILE, Run)


def write(folder: Path, value: Identity | Run) -> None:
    """Put one of the two files in place, whole or not at all."""
    file = folder / (IDENTITY_FILE if isinstance(value, Identity) else STATE_FILE)
    half = file.with_name(f".{file.name}.new")
    half.write_bytes(msgspec.json.format(msgspec.json.encode(value, enc_hook=str)))
    half.replace(file)


def forget_run(folder: Path) -> None:
    """Say that nothing runs."""
    (folder / STATE_FILE).unlink(missing_ok=True)


def status_of(folder: Path, run: Run | None) -> ClusterStatus:
    """Look at the processes of a run; nobody is asked over the network."""
    if run is None:
        return ClusterStatus(state="stopped", folder=folder, detail="not running")
    nodes = tuple(
        NodeStatus(id=node.id, pid=node.pid, alive=node.process.alive, port=node.port, log=node.log)
        for node in run.nodes
    )
    gone = ", ".join(f"broker {node.id} (pid {node.pid})" for node in nodes if not node.alive)
    if not any(node.alive for node in nodes):
        detail = f"not running: {gone} ended without being stopped; log: {nodes[0].log}"
        return ClusterStatus(state="stopped", version=run.version, folder=folder, detail=detail, nodes=nodes)
    return ClusterStatus(
        state="partly" if gone else "running",
        bootstrap=run.bootstrap,
        version=run.version,
        folder=folder,
        detail=f"running without {gone}: start it again" if gone else "running",
        nodes=nodes,
        uptime_s=max(0.0, round(time.time() - run.started_at_s, 1)),
    )


def _read(file: Path, kind: type[Value]) -> Value | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind, dec_hook=lambda wanted, text: wanted(text))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrokerError(f"cannot use the folder {file.parent}: {error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokerError(
            f"{file} cannot be read ({error}): make sure that no broker of this folder runs, delete that "
            "file, run again"
        ) from None
