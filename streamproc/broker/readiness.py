"""Whether a cluster answers: not an open port, but metadata of the right cluster that names all brokers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamproc.broker.ports import accepts
from streamproc.errors import BrokerError

POLL_S = 0.1
ASK_S = 2.0

log = logging.getLogger("streamproc.librdkafka.broker")
# librdkafka writes an error for each refused connection, and waiting for a start is made of those. Without
# any handler, logging would print them on stderr.
log.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a cluster said of itself."""

    cluster_id: str | None
    brokers: int


def ask(bootstrap: str, *, wait_s: float = ASK_S) -> Answer | None:
    """Ask a cluster for its metadata; None if nobody answers in time."""
    client = AdminClient({"bootstrap.servers": bootstrap, "client.id": "streamproc-broker"}, logger=log)
    try:
        metadata = client.list_topics(timeout=wait_s)
    except KafkaException:
        return None
    return Answer(cluster_id=metadata.cluster_id, brokers=len(metadata.brokers))


def wait_until_ready(
    ports: Sequence[int], *, bootstrap: str, cluster_id: str, ready_s: float, check_alive: Callable[[], None]
) -> None:
    """Wait until every port is open and the cluster names all its brokers.

    Args:
        ports: Of all brokers, for clients.
        bootstrap: Of the cluster.
        cluster_id: What it must call itself.
        ready_s: Longest wait.
        check_alive: Called often; raises when waiting has become pointless.

    Raises:
        BrokerError: Not ready in time, or another cluster answers.
    """
    deadline_s = time.monotonic() + ready_s
    closed = list(ports)
    answer: Answer | None = None
    while (left_s := deadline_s - time.monotonic()) > 0:
        check_alive()
        closed = [port for port in closed if not accepts(port)]
        if not closed:
            answer = ask(bootstrap, wait_s=min(ASK_S, left_s))
            if answer is not None and answer.cluster_id not in (None, cluster_id):
                raise BrokerError(f"another Kafka cluster answers at {bootstrap}: choose another --port")
            if answer is not None and answer.brokers == len(ports):
                return
        time.sleep(POLL_S)
    missing = f"{answer.brokers} of {len(ports)} brokers" if answer else "no answer"
    raise BrokerError(f"Kafka was not ready within {ready_s:g} s ({missing}): is this machine very busy?")
