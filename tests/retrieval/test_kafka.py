"""Index and search on a real broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamproc.cli.events import read_events
from streamproc.operators.embedding import embed
from streamproc.publisher import Publisher
from streamproc.retrieval import add_events, frames, pixels_of, reading, writing
from streamproc.retrieval.adding import GONE
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition
from tests.retrieval.material import PHOTOGRAPHS, Log, brighter, found, photograph

pytestmark = pytest.mark.kafka


def send(settings: Settings, log: Log) -> None:
    """Put a log in memory on the broker, each record at its offset."""
    topics = Topics(settings.prefix)
    with Publisher(settings, client_id="test") as publisher:
        for partition, records in log.tiles.items():
            for record in records:
                publisher.send(
                    topic=topics.tiles, partition=partition, key=None, value=record.value, headers=record.headers
                )
        for record in log.events:
            publisher.send(
                topic=topics.events,
                partition=camera_partition("gate", settings.partitions),
                key=None,
                value=record.value,
                headers=record.headers,
            )


def test_frames_of_a_broker_are_indexed_found_and_shown_until_retention_takes_them(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=3)
    tiles = Topics(settings.prefix).tiles
    log = Log(topic=tiles)
    for sequence, name in enumerate(PHOTOGRAPHS):
        log.add(photograph(name), sequence, objects=[found("thing", (10, 10, 90, 70))])
        if sequence == 4:
            log.add_noise(frames.NEAR + 1)
    send(settings, log)

    def add(of: str) -> tuple[int, dict[str, int]]:
        records = read_events(settings, camera="gate", since_ms=None, until_ms=None, follow=False)
        with writing(tmp_path) as writer:
            added = add_events(writer, records, settings, of=of, every=2)
        return added.entries, dict(added.passed_over)

    assert add("frames") == (5, {})
    with reading(tmp_path) as index:
        matches = index.search(embed(brighter(photograph("coffee"))), 5)
    assert matches[0].entry.sequence == PHOTOGRAPHS.index("coffee")
    shown = dict(pixels_of(settings, [match.entry for match in matches]))
    for at, match in enumerate(matches):
        assert np.array_equal(np.asarray(shown[at]), photograph(PHOTOGRAPHS[match.entry.sequence]))

    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    cut = TopicPartition(tiles, 1, 6)  # the tile of each frame before the seventh
    admin.delete_records([cut])[cut].result(20)
    assert add("objects") == (2, {GONE: 3})
    shown = dict(pixels_of(settings, [match.entry for match in matches]))
    for at, match in enumerate(matches):
        assert isinstance(shown[at], str) == (match.entry.sequence < 6)
