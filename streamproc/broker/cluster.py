"""The local cluster of one folder: start, find again, stop."""

from __future__ import annotations

import base64
import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from streamproc.broker.exclusive import exclusive
from streamproc.broker.fetch import Progress, ensure_jars, silent
from streamproc.broker.jars import KAFKA_VERSION
from streamproc.broker.java import find_java
from streamproc.broker.nodes import (
    FORMAT_S,
    LOG_NAME,
    Amend,
    Runtime,
    format_nodes,
    last_words,
    node_folder,
    spawn_node,
    unchanged,
    write_properties,
)
from streamproc.broker.places import default_data_folder, usable_path
from streamproc.broker.ports import DEFAULT_PORT, HOST, PortInUseError, choose_ports, require_free
from streamproc.broker.processes import Process, end
from streamproc.broker.readiness import ask, wait_until_ready
from streamproc.broker.server_properties import NodePorts
from streamproc.broker.state import (
    IDENTITY_FILE,
    Change,
    ClusterStatus,
    Identity,
    Run,
    RunningNode,
    forget_run,
    read_identity,
    read_run,
    status_of,
    write,
)
from streamproc.errors import BrokerError, UsageError

READY_S = 60.0
STOP_S = 30.0
LOCK_S = FORMAT_S + READY_S + 30.0
"""Longer than any start or stop that is still alive may take."""

LOCK_NAME = ".lock"


class LocalCluster:
    """One or three Kafka nodes on this machine, known by their folder.

    Nothing is kept in memory between calls: a second object, or a later command, finds the same cluster.

    Args:
        folder: Of the cluster; None is the user's own.
        amend: Changes the settings of a node when the whole cluster starts.
    """

    def __init__(self, folder: Path | None = None, *, amend: Amend = unchanged) -> None:
        self._amend = amend
        self.folder = usable_path(
            folder or default_data_folder(), forbidden=",\n", why="which ends a path in Kafka's settings"
        )

    def status(self, *, ask_s: float = 0.0) -> ClusterStatus:
        """How it is now.

        Args:
            ask_s: Longest wait for an answer from the brokers themselves; 0 looks at their processes only.

        Raises:
            BrokerError: The state file cannot be read.
        """
        run = read_run(self.folder)
        status = status_of(self.folder, run)
        if run is None or status.bootstrap is None or ask_s <= 0:
            return status
        answer = ask(status.bootstrap, wait_s=ask_s)
        answering = answer is not None and answer.cluster_id in (None, run.cluster_id)
        detail = status.detail if answering else f"{status.detail}, but it does not answer (yet): see its log"
        return replace(status, answering=answering, detail=detail)

    def start(
        self,
        *,
        port: int | None = None,
        brokers: int | None = None,
        progress: Progress = silent,
        ready_s: float = READY_S,
    ) -> Change:
        """Start it and wait until it answers; if it runs already, say so.

        Of three brokers, those that are gone are started again.

        Args:
            port: Of the first broker, the others get the next free ones; None is that of the last time, else
                9092; 0 takes free ports.
            brokers: 1 or 3; None is as last time, else 1.
            progress: Told in words what takes long.
            ready_s: Longest wait for an answer.

        Raises:
            BrokerError: It cannot be started; nothing of it is left running.
            UsageError: The folder holds a cluster of another size.
        """
        self._check_size(brokers)
        if (status := self.status()).state == "running":
            return Change(changed=False, status=status)
        if status.state == "stopped":
            self._identity(port, brokers)  # a port in use is told before anything is fetched
        runtime = Runtime(java=find_java(), jars=ensure_jars(progress))
        with self._locked():
            if (status := self.status()).state == "running":
                return Change(changed=False, status=status)
            progress(f"starting Apache Kafka {KAFKA_VERSION} …")
            run = read_run(self.folder) if status.state == "partly" else None
            identity = self._same_again(run) if run else self._prepared(runtime, port, brokers)
            self._run(runtime, identity, before=run, ready_s=ready_s)
        return Change(changed=True, status=replace(self.status(), answering=True))

    def stop(self, *, delete_data: bool = False, graceful_s: float = STOP_S) -> Change:
        """Stop it: SIGTERM, a bounded wait, SIGKILL; only processes that are surely its own.

        Args:
            delete_data: Delete what the cluster wrote into its folder, and the folder if it is empty then.
            graceful_s: Longest wait before killing; 0 kills at once.

        Raises:
            BrokerError: A process could not be stopped.
        """
        if not self.folder.is_dir():
            return Change(changed=False, status=self.status())
        with self._locked():
            run = read_run(self.folder)
            before = status_of(self.folder, run)
            if run is not None:
                self._end([node.process for node in run.nodes], graceful_s=graceful_s)
                forget_run(self.folder)
            if delete_data:
                self._delete()
        return Change(changed=before.state != "stopped", status=self.status())

    def _check_size(self, brokers: int | None) -> None:
        if brokers not in (None, 1, 3):
            raise UsageError(f"{brokers} brokers cannot be started: choose 1 or 3")
        identity = read_identity(self.folder)
        if identity is not None and brokers not in (None, len(identity.ports)):
            raise UsageError(
                f"{self.folder} holds a cluster of {len(identity.ports)} broker(s), not {brokers}: "
                f"choose another --dir, or delete it with: streamproc broker stop --delete-data --dir '{self.folder}'"
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with exclusive(self.folder / LOCK_NAME, wait_s=LOCK_S, doing="starting or stopping this broker"):
                yield
        except OSError as error:
            raise BrokerError(f"cannot use the folder {self.folder}: {error}") from None

    def _identity(self, port: int | None, brokers: int | None) -> Identity:
        """What to start, its ports free at this moment."""
        self._check_size(brokers)
        known = read_identity(self.folder)
        last_time = [p.client for p in known.ports] + [p.controller for p in known.ports] if known else []
        first = port if port is not None else (last_time[0] if last_time else DEFAULT_PORT)
        size = len(known.ports) if known else (brokers or 1)
        preferred = last_time if last_time and first == last_time[0] else ()
        chosen = choose_ports(first, 2 * size, preferred=preferred)
        ports = tuple(NodePorts(client=chosen[i], controller=chosen[size + i]) for i in range(size))
        return replace(known, ports=ports) if known else Identity(cluster_id=_new_cluster_id(), ports=ports)

    def _prepared(self, runtime: Runtime, port: int | None, brokers: int | None) -> Identity:
        """What to start, everything ready for it."""
        identity = self._identity(port, brokers)
        write_properties(self.folder, identity.ports, amend=self._amend)
        if not identity.formatted:
            format_nodes(runtime, self.folder, identity)
        identity = replace(identity, formatted=True)
        write(self.folder, identity)
        return identity

    def _same_again(self, run: Run) -> Identity:
        """What runs in part, the missing nodes' ports free: those that run know the others by these ports."""
        identity = read_identity(self.folder)
        if identity is None:
            raise BrokerError(f"{self.folder / IDENTITY_FILE} is gone: stop this cluster, then start it again")
        for node in run.nodes:
            if not node.process.alive:
                require_free(node.port)
                require_free(node.controller_port)
        return identity

    def _run(self, runtime: Runtime, identity: Identity, *, before: Run | None, ready_s: float) -> None:
        """Start the nodes that are not there and wait for all; on failure end those started here."""
        nodes = {node.id: node for node in before.nodes if node.process.alive} if before else {}
        started_at_s = before.started_at_s if before else time.time()
        fresh: list[RunningNode] = []
        try:
            for node_id, ports in enumerate(identity.ports, start=1):
                if node_id in nodes:
                    continue
                process = spawn_node(runtime, self.folder, node_id)
                fresh.append(self._node(node_id, ports, process))
                nodes[node_id] = fresh[-1]
                # At once, not when ready: if we are killed now, the next command must know what runs.
                write(self.folder, _run_of(identity, [nodes[i] for i in sorted(nodes)], started_at_s))
            wait_until_ready(
                [ports.client for ports in identity.ports],
                bootstrap=_bootstrap(identity),
                cluster_id=identity.cluster_id,
                ready_s=ready_s,
                check_alive=_death_watch(fresh),
            )
        except BaseException:
            self._end([node.process for node in fresh], graceful_s=0)
            if before is None:
                forget_run(self.folder)
            else:
                write(self.folder, before)
            raise

    def _node(self, node_id: int, ports: NodePorts, process: Process) -> RunningNode:
        return RunningNode(
            id=node_id,
            pid=process.pid,
            born=process.born,
            port=ports.client,
            controller_port=ports.controller,
            log=node_folder(self.folder, node_id) / LOG_NAME,
        )

    def _end(self, processes: list[Process], *, graceful_s: float) -> None:
        try:
            left = end(processes, graceful_s=graceful_s)
        except PermissionError:
            raise BrokerError(f"the broker of {self.folder} belongs to another user: ask them to stop it") from None
        if left:
            pids = ", ".join(str(process.pid) for process in left)
            raise BrokerError(f"the kernel did not end the broker's process {pids}: look at that process")

    def _delete(self) -> None:
        """Delete what we wrote, by name: the folder may be one in which a user keeps other things too."""
        for broker in self.folder.glob("broker-[0-9]"):
            shutil.rmtree(broker)
        for name in (IDENTITY_FILE, LOCK_NAME):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def find_bootstrap(folder: Path | None = None) -> str | None:
    """Where the local cluster listens if one runs, for commands that were not told a cluster.

    Args:
        folder: Of the cluster; the default one if None.

    Raises:
        BrokerError: The state file cannot be read.
    """
    return LocalCluster(folder).status().bootstrap


def find_folder(bootstrap: str) -> Path | None:
    """Where the local cluster keeps its records, if it is the one that listens at an address; else None."""
    try:
        status = LocalCluster().status()
    except BrokerError:
        return None  # a cluster that nobody asked for must not keep a worker from starting
    return status.folder if status.bootstrap == bootstrap else None


def _new_cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # would look like an option to Kafka's tools
            return text


def _bootstrap(identity: Identity) -> str:
    return ",".join(f"{HOST}:{ports.client}" for ports in identity.ports)


def _run_of(identity: Identity, nodes: list[RunningNode], started_at_s: float) -> Run:
    return Run(
        version=KAFKA_VERSION,
        bootstrap=_bootstrap(identity),
        cluster_id=identity.cluster_id,
        started_at_s=started_at_s,
        nodes=tuple(nodes),
    )


def _death_watch(nodes: list[RunningNode]) -> Callable[[], None]:
    def check() -> None:
        for node in nodes:
            if node.process.alive:
                continue
            words = last_words(node.log)
            if "Address already in use" in words:
                raise PortInUseError(
                    f"another program took port {node.port} or {node.controller_port} while broker {node.id} "
                    f"started: run again, or choose another --port; log: {node.log}"
                )
            raise BrokerError(f"broker {node.id} ended while it started: {words}; log: {node.log}")

    return check
