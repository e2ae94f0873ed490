"""A cluster of its own whose nodes can be killed, frozen and started again one by one, each behind a proxy."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka.admin import AdminClient

from streamproc.broker import LocalCluster, ephemeral
from streamproc.broker.nodes import Amend, node_folder
from streamproc.broker.ports import HOST, choose_ports
from streamproc.broker.processes import Process, end
from streamproc.broker.state import read_run
from tests.chaos.proxy import GOOD, Link, Proxy

_STOP_S = 30.0
_RESTARTS = 3
_OFFSETS = "__consumer_offsets"


@dataclass(slots=True, kw_only=True)
class Cluster:
    """One or three brokers.

    Attributes:
        bootstrap: The brokers themselves.
        proxied: The same through the proxies: clients that start there stay behind them.
        proxies: By node id.
    """

    folder: Path
    bootstrap: str
    proxied: str
    proxies: Mapping[int, Proxy]
    amend: Amend
    _frozen: set[int] = field(default_factory=set)

    @property
    def nodes(self) -> list[int]:
        """Ids of the nodes that run."""
        return [node for node, process in self._processes().items() if process.alive]

    def kill(self, node: int) -> None:
        """SIGKILL."""
        os.kill(self._processes()[node].pid, signal.SIGKILL)
        self._frozen.discard(node)
        _wait_for_end(self._processes()[node])

    def terminate(self, node: int) -> None:
        """SIGTERM, and wait: a clean stop."""
        end([self._processes()[node]], graceful_s=_STOP_S)

    def freeze(self, node: int) -> None:
        """SIGSTOP."""
        self._frozen.add(node)
        os.kill(self._processes()[node].pid, signal.SIGSTOP)

    def thaw(self, node: int) -> None:
        """SIGCONT."""
        os.kill(self._processes()[node].pid, signal.SIGCONT)
        self._frozen.discard(node)

    def restore(self) -> None:
        """Thaw and start whatever is not there; waits until all answer."""
        for node in list(self._frozen):
            self.thaw(node)
        for proxy in self.proxies.values():
            proxy.set(GOOD)
        for attempt in range(_RESTARTS):
            try:
                LocalCluster(self.folder, amend=self.amend).start()
            except Exception:
                if attempt == _RESTARTS - 1:
                    raise
                time.sleep(1)
            else:
                return

    def link(self, link: Link, *nodes: int) -> None:
        """How the network between clients and brokers behaves; no node named means all."""
        for node in nodes or self.proxies:
            self.proxies[node].set(link)

    def keep_logs(self, folder: Path) -> None:
        """Copy what the brokers wrote."""
        folder.mkdir(parents=True, exist_ok=True)
        for node in self.proxies:
            for log in node_folder(self.folder, node).glob("server.log*"):
                with contextlib.suppress(OSError):
                    shutil.copy(log, folder / f"broker-{node}-{log.name}")

    def admin(self) -> AdminClient:
        """A client that sees all that runs; must outlive its futures."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def leader(self, topic: str, partition: int) -> int:
        """Which node leads a partition."""
        metadata = self.admin().list_topics(topic, timeout=10)
        return int(metadata.topics[topic].partitions[partition].leader)

    def coordinator(self, group: str) -> int:
        """Which node coordinates a group: the leader of the group's partition of Kafka's own topic.

        Not asked for: when the connection drops meanwhile, librdkafka ends the whole process (librdkafka #4605).
        """
        partitions = self.admin().list_topics(_OFFSETS, timeout=10).topics[_OFFSETS].partitions
        return int(partitions[_java_hash(group) % len(partitions)].leader)

    def _processes(self) -> dict[int, Process]:
        run = read_run(self.folder)
        assert run is not None, f"nothing was started in {self.folder}"
        return {node.id: node.process for node in run.nodes}


def _java_hash(text: str) -> int:
    """The absolute value of `String.hashCode`, as Kafka uses it for groups; plain ASCII only."""
    value = 0
    for byte in text.encode("ascii"):
        value = (31 * value + byte) & 0xFFFFFFFF
    return abs(value - 2**32 if value >= 2**31 else value)


def _wait_for_end(process: Process) -> None:
    deadline_s = time.monotonic() + _STOP_S
    while process.alive and time.monotonic() < deadline_s:
        time.sleep(0.02)


@contextmanager
def cluster_for_chaos(
    brokers: int = 1, *, data: Callable[[int], Path | None] = lambda _node: None
) -> Iterator[Cluster]:
    """Run a cluster; it is killed and its records are deleted at the end.

    Args:
        brokers: 1 or 3.
        data: Where a node keeps its records, if not in the cluster's folder.
    """
    behind = dict(enumerate(choose_ports(0, brokers), start=1))
    with ExitStack() as stack:
        proxies = {node: stack.enter_context(Proxy(port)) for node, port in behind.items()}

        def amend(node: int, settings: dict[str, str]) -> dict[str, str]:
            at = data(node)
            return {
                **settings,
                "listeners": f"{settings['listeners']},PROXIED://{HOST}:{behind[node]}",
                "advertised.listeners": f"{settings['advertised.listeners']},PROXIED://{HOST}:{proxies[node].port}",
                "listener.security.protocol.map": f"{settings['listener.security.protocol.map']},PROXIED:PLAINTEXT",
                **({"log.dirs": str(at)} if at is not None else {}),
            }

        status = stack.enter_context(ephemeral(brokers, amend=amend))
        assert status.bootstrap is not None
        cluster = Cluster(
            folder=status.folder,
            bootstrap=status.bootstrap,
            proxied=",".join(f"{HOST}:{proxy.port}" for proxy in proxies.values()),
            proxies=proxies,
            amend=amend,
        )
        try:
            yield cluster
        finally:
            for node in list(cluster._frozen):
                cluster.thaw(node)
