"""Topics that exist as long as a rerun."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamproc.client import client_config
from streamproc.errors import UsageError
from streamproc.provision import ANSWER_S, create_topics
from streamproc.settings import Settings
from streamproc.topics import Topics

log = logging.getLogger(__name__)


@contextmanager
def own_topics(settings: Settings, *, keep: bool) -> Iterator[None]:
    """Topics of a prefix that nobody else uses; deleted at the end with their consumer group, unless kept.

    Raises:
        UsageError: The prefix is in use.
        BrokerError: The broker is unreachable or refuses.
    """
    wanted = Topics(settings.prefix).specs(partitions=settings.partitions, tiles_bytes=settings.tiles_kept_bytes)
    created = create_topics(settings)
    try:
        if len(created) < len(wanted):
            raise UsageError(f"there are topics {settings.prefix}* already: another rerun has this name; choose one")
        yield
    finally:
        if not keep:
            _delete(settings, created)


def _delete(settings: Settings, topics: Sequence[str]) -> None:
    """Delete topics and group; what cannot be deleted is told, and left."""
    admin = AdminClient(client_config(settings, client_id="streamproc-rerun"))  # must outlive its futures
    groups = [Topics(settings.prefix).group] if topics else []
    futures = {
        **(admin.delete_topics(list(topics), operation_timeout=ANSWER_S) if topics else {}),
        **(admin.delete_consumer_groups(groups, request_timeout=ANSWER_S) if groups else {}),
    }
    for name, future in futures.items():
        try:
            future.result(timeout=2 * ANSWER_S)
        except (KafkaException, TimeoutError) as error:
            if name not in groups:  # a group in which nobody has committed is not known to the broker
                log.warning("%s could not be deleted on %s: %s", name, settings.bootstrap, error)
