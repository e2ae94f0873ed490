"""What the aggregator reads beside its group: events it emitted before, and features that it set aside."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from streamproc import wire
from streamproc.cloudevents import Emitted, emitted
from streamproc.errors import BadMessage
from streamproc.model import Features
from streamproc.reader import TopicReader
from streamproc.records import rounds
from streamproc.settings import Settings
from streamproc.topics import Topics

log = logging.getLogger(__name__)

_QUEUE_BYTES = 8 * 2**20  # of records that have come and are not yet decoded


def read_back(settings: Settings, partition: int, since_ms: int) -> Iterable[Emitted]:
    """The events that stand in `partition` since `since_ms`, in log order; only a run's newest with its memory.

    A frame's event is written after its features, so reading from the timestamp of the first features record that
    is not committed (with a margin for clocks) finds every event of a frame that will be read again.

    Raises:
        BrokerError: The broker does not answer.
    """
    started, count = time.monotonic(), 0
    frames: dict[tuple[str, str], Emitted] = {}
    unfinished: dict[tuple[str, str], list[Emitted]] = {}
    with TopicReader(settings, Topics(settings.prefix).events) as reader:
        start, end = reader.offset_at(partition, since_ms=since_ms), reader.bounds(partition)[1]
        for record in reader.read({partition: (start, end)}):
            if (event := emitted(record.headers)) is None:
                continue
            count += 1
            stream = (event.key.camera, event.key.run)
            if event.is_frame:
                frames[stream] = event
                unfinished.pop(stream, None)
            else:
                unfinished.setdefault(stream, []).append(event)
    took_s = time.monotonic() - started
    log.info(
        "read back %d events of partition %d in %.2f s",
        *(count, partition, took_s),
        extra={
            "topic": Topics(settings.prefix).events,
            "partition": partition,
            "events": count,
            "seconds": round(took_s, 3),
        },
    )
    return [*frames.values(), *(event for events in unfinished.values() for event in events)]


def read_again(settings: Settings, partition: int, offsets: Sequence[int]) -> Mapping[int, Features]:
    """The features at offsets of a partition; those that are no longer kept are not among them.

    Raises:
        BrokerError: The broker does not answer.
    """
    wanted, found = set(offsets), dict[int, Features]()
    with TopicReader(settings, Topics(settings.prefix).features, max_queue_bytes=_QUEUE_BYTES) as reader:
        for ranges in rounds([{partition: (offset, offset + 1)} for offset in offsets], reader):
            for record in reader.read(ranges):
                if record.offset in wanted:
                    try:
                        found[record.offset] = wire.decode_features(
                            record.value, max_frame_pixels=settings.max_frame_pixels
                        )
                    except BadMessage:  # what was there has decoded: this is another record, of a topic made anew
                        continue
    return found
