"""The broker that the tests talk to.

STREAMPROC_BOOTSTRAP=host:port       that cluster
STREAMPROC_TEST_BROKER=container     Apache Kafka in a container, by testcontainers
neither                              the local broker, in a folder of its own, gone afterwards
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamproc.broker import ephemeral
from streamproc.broker.jars import KAFKA_VERSION
from streamproc.broker.ports import HOST, choose_ports
from streamproc.broker.readiness import ask
from streamproc.settings import value_of

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

IMAGE = f"apache/kafka:{KAFKA_VERSION}"
CLIENT_PORT = 9092
READY_S = 90.0
ASK_S = 2.0


@contextmanager
def broker_for_tests() -> Iterator[str]:
    """Yield the bootstrap address of the cluster the tests are to use."""
    if bootstrap := value_of("STREAMPROC_BOOTSTRAP"):
        yield bootstrap
        return
    kind = value_of("STREAMPROC_TEST_BROKER") or "local"
    if kind == "container":
        with container_broker() as bootstrap:
            yield bootstrap
    elif kind == "local":
        with ephemeral() as status:
            assert status.bootstrap is not None
            yield status.bootstrap
    else:
        raise ValueError(f"STREAMPROC_TEST_BROKER is {kind!r}: leave it unset, or set it to container")


@contextmanager
def container_broker() -> Iterator[str]:
    """Run Apache Kafka in a container; fails with one clear line if no container engine answers."""
    port = choose_ports(0, 1)[0]
    container = kafka_container(port)
    with container:
        bootstrap = container.env["KAFKA_ADVERTISED_LISTENERS"].removeprefix("PLAINTEXT://")
        _wait_until_answering(container, bootstrap)
        yield bootstrap


def kafka_container(port: int) -> DockerContainer:
    """The container, not started yet: one node, broker and controller, told what clients will call it.

    Kafka tells its clients the address to come back to, so the port on this machine must be known before the
    start: it is bound to a chosen one, the engine is not asked for any. The library's own KafkaContainer is
    for other images: it starts scripts that this one lacks.
    """
    from docker.errors import DockerException  # type: ignore[import-untyped] # ships no types
    from testcontainers.core.container import DockerContainer

    try:
        container = DockerContainer(IMAGE)
        host = container.get_docker_client().host()
    except DockerException as error:
        raise RuntimeError(
            f"STREAMPROC_TEST_BROKER=container, but no container engine answers ({error}): "
            "start one, or unset the variable to use the local broker"
        ) from error
    container.with_bind_ports(CLIENT_PORT, port)
    return container.with_envs(**container_settings(host, port))


def container_settings(host: str, port: int) -> dict[str, str]:
    """The image's settings: any of them replaces all of its defaults, so all that matter are here."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{CLIENT_PORT},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{HOST if host == 'localhost' else host}:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_MESSAGE_MAX_BYTES": str(2 * 2**20),
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "8",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }


def _wait_until_answering(container: DockerContainer, bootstrap: str) -> None:
    for _ in range(int(READY_S / ASK_S)):
        if ask(bootstrap, wait_s=ASK_S) is not None:
            return
    output = b"".join(container.get_logs()).decode(errors="replace")
    raise RuntimeError(f"Kafka in a container did not answer at {bootstrap} in {READY_S:.0f} s: {output[-2000:]}")
