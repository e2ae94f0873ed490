"""Publishing into a real Kafka: what arrives is what was read, and what cannot arrive is said in one line."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from producers.publish import publish
from producers.sources import Source, read_marks
from producers.sources.synthetic import SyntheticSource, synthetic_frame
from streamproc import wire
from streamproc.cli.produce import with_topic_limit
from streamproc.errors import DeliveryError
from streamproc.ledger import LedgerWriter, read_ledger
from streamproc.model import Frame, Grid, TileHeader
from streamproc.operators import pixels as pixel_ops
from streamproc.operators import tiling
from streamproc.provision import create_topics, require_topics
from streamproc.settings import Settings
from streamproc.topics import Topics, tile_key, tile_partition

pytestmark = pytest.mark.kafka


def read_back(settings: Settings, partitions: int, count: int) -> list[Message]:
    """`count` records of the tiles topic from its beginning, and the assurance that there are no more."""
    topic = Topics(settings.prefix).tiles
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": "test",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found: list[Message] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        found.extend(consumer.consume(500, timeout=0.5))
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10) for number in range(partitions)]
    consumer.close()
    assert not [message.error() for message in found if message.error()]
    assert sum(high for _, high in ends) == len(found) == count
    return found


def header_of(message: Message) -> TileHeader:
    pairs: Any = message.headers()
    return wire.read_tile_header(pairs)


def test_what_arrives_is_what_was_read(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=4)
    frames: dict[int, Frame] = {}
    report = publish(
        SyntheticSource(640, 384, max_pixels=10**6),
        settings,
        camera="gate-3",
        partitions=require_topics(settings),
        codec="raw",
        grid=Grid(2, 3),
        fps="max",
        limit=20,
        pipeline_halo=2,
        on_frame=lambda headers, frame: frames.__setitem__(headers[0].sequence, frame),
    )
    report.raise_for_problem()
    assert (report.frames_published, report.frames_failed, report.tiles_acked) == (20, 0, 120)

    messages = read_back(settings, 4, 120)
    parts: dict[int, list[Any]] = {}
    for message in messages:
        header, payload = header_of(message), message.value() or b""
        wire.check_tile(header, payload, max_frame_pixels=10**6)
        assert header.frame_digest == wire.digest_frame(frames[header.sequence].pixels)
        assert message.partition() == tile_partition("gate-3", header.index, 4)
        assert message.key() == tile_key(header)
        assert abs(message.timestamp()[1] - time.time() * 1000) < 60_000
        tile = pixel_ops.decode(payload, "raw", "bgr8", header.rect.width, header.rect.height)
        parts.setdefault(header.sequence, []).append((header.core, tile[header.core.within(header.rect)]))
    assert sorted(parts) == list(range(20))
    for number, cores in parts.items():
        joined = tiling.join(cores, 640, 384)
        assert np.array_equal(joined, synthetic_frame(number, width=640, height=384))
        assert read_marks(joined).proves(number)
    loads = Counter(message.partition() for message in messages)
    assert max(loads.values()) - min(loads.values()) <= 20
    for partition in range(4):
        order = [header_of(message).sequence for message in messages if message.partition() == partition]
        assert order == sorted(order)


class Growing(Source):
    """Small frames, then large ones."""

    name = "growing"

    def __iter__(self) -> Any:
        for number in itertools.count():
            time.sleep(0.05)  # so that small frames travel in batches of their own
            side = 32 if number < 5 else 320
            yield Frame(pixels=np.zeros((side, side, 3), np.uint8), captured_ns=time.time_ns())

    def describe(self) -> str:
        return "small frames, then large ones"


def test_a_record_larger_than_the_topic_allows_ends_the_run_in_one_line(
    new_settings: Callable[..., Settings],
) -> None:
    settings = new_settings(partitions=2)
    topic = Topics(settings.prefix).tiles
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    small = NewTopic(topic, num_partitions=2, replication_factor=1, config={"max.message.bytes": "60000"})
    admin.create_topics([small])[topic].result(20)
    create_topics(settings)

    started = time.monotonic()
    report = publish(
        Growing(), settings, camera="cam", partitions=2, codec="raw", grid=Grid(1, 1), fps="max", limit=200
    )
    assert time.monotonic() - started < 15
    assert report.frames_published == 5
    assert 1 <= report.frames_failed == report.frames_read - 5 < 50
    assert isinstance(report.problem, DeliveryError)
    line = str(with_topic_limit(report.problem, settings))
    assert "\n" not in line
    for part in (topic, "307200 bytes", "max.message.bytes is 60000", "--grid"):
        assert part in line
    assert [header_of(message).sequence for message in read_back(settings, 2, 5)] == list(range(5))


def test_a_batch_larger_than_the_topic_allows_is_told_as_such_and_is_certainly_not_in_the_log(
    new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = new_settings()
    topic = Topics(settings.prefix).tiles
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    small = NewTopic(topic, num_partitions=1, replication_factor=1, config={"max.message.bytes": "60000"})
    admin.create_topics([small])[topic].result(20)
    with LedgerWriter(tmp_path / "ledger") as writer:
        report = publish(
            SyntheticSource(96, 64, max_pixels=10**6),  # 18 kB each: alone they would pass
            settings,
            camera="cam",
            partitions=1,
            codec="raw",
            grid=Grid(1, 1),
            fps="max",
            limit=100,
            ledger=writer,
        )
    line = str(report.problem)
    for part in (topic, "a record of 18432 bytes, or the batch of up to 1000000 bytes it was in", "topics check"):
        assert part in line
    found = read_ledger(tmp_path / "ledger")
    fates = {frame.key.sequence: frame.status for frame in found.frames.values()}
    assert "failed" in fates.values()
    acked = sorted(number for number, status in fates.items() if status == "acked")
    in_log = {header_of(message).sequence for message in read_back(settings, 1, len(acked))}
    assert sorted(in_log) == acked


def test_a_topic_that_is_not_there_ends_the_run(new_settings: Callable[..., Settings]) -> None:
    started = time.monotonic()
    settings = new_settings(delivery_timeout_s=5)
    report = publish(
        SyntheticSource(64, 64, max_pixels=10**6), settings, camera="cam", partitions=2, fps="max", limit=3
    )
    assert time.monotonic() - started < 20
    assert report.frames_published == 0
    assert Topics(settings.prefix).tiles in str(report.problem)
