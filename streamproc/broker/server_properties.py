"""The `server.properties` of one node: broker and controller in one process, for one machine alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamproc.broker.ports import HOST

MIB = 2**20
MESSAGE_MAX_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts:
    """Where one node listens: to clients and other brokers, and as a controller."""

    client: int
    controller: int


def server_properties(*, node_id: int, ports: Sequence[NodePorts], data: Path) -> dict[str, str]:
    """The settings of one node.

    Args:
        node_id: From 1.
        ports: Of all nodes, in order of their ids; their number is the number of brokers.
        data: Folder of this node's records; without a comma, since Kafka reads a list there.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": str(node_id),
        "log.dirs": str(data),
        **_listeners(ports[node_id - 1], ports),
        **_copies(len(ports)),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MESSAGE_MAX_BYTES),
        "replica.fetch.max.bytes": str(2 * MESSAGE_MAX_BYTES),
        # One machine, few clients: a group of workers must not wait 3 s for members that will not come,
        # and 50 partitions of each internal topic are 50 files to open at each start.
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "4",
        # A killed broker is let in again, and its partitions move, when its session ends: 6 s instead of 9.
        "broker.session.timeout.ms": "6000",
        "broker.heartbeat.interval.ms": "1000",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * MIB),
    }


def _listeners(own: NodePorts, ports: Sequence[NodePorts]) -> dict[str, str]:
    return {
        "controller.quorum.voters": ",".join(f"{i}@{HOST}:{p.controller}" for i, p in enumerate(ports, start=1)),
        "listeners": f"PLAINTEXT://{HOST}:{own.client},CONTROLLER://{HOST}:{own.controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{own.client}",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }


def _copies(brokers: int) -> dict[str, str]:
    """As many copies as there are brokers, and with three one of them may be away."""
    copies, in_sync = str(brokers), "2" if brokers > 2 else "1"
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def render(settings: Mapping[str, str]) -> str:
    """The text of a Java properties file; plain ASCII, since Java reads it as Latin-1."""
    return "".join(f"{name}={escape(value)}\n" for name, value in settings.items())


def escape(value: str) -> str:
    r"""Write a value so that `java.util.Properties` reads it back unchanged.

    Args:
        value: Any text; characters beyond printable ASCII become \uXXXX, in pairs where Java needs two.
    """
    written = []
    for index, character in enumerate(value):
        if character == "\\" or (character == " " and index == 0):
            written.append("\\" + character)
        elif " " <= character <= "~":
            written.append(character)
        else:
            units = character.encode("utf-16-be")
            written.extend(f"\\u{units[at : at + 2].hex().upper()}" for at in range(0, len(units), 2))
    return "".join(written)
