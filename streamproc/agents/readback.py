"""What the aggregator emitted before: the tail of its own events partition."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from streamproc.model import FrameKey
from streamproc.reader import TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics
from streamproc.wire import event_key

log = logging.getLogger(__name__)


def read_back(settings: Settings, partition: int, since_ms: int) -> Iterable[FrameKey]:
    """The frames whose events stand in `partition` since `since_ms`, in log order.

    A frame's event is written after its features, so reading from the timestamp of the first features record that
    is not committed (with a margin for clocks) finds every event of a frame that will be read again.

    Raises:
        BrokerError: The broker does not answer.
    """
    started = time.monotonic()
    with TopicReader(settings, Topics(settings.prefix).events) as reader:
        start, end = reader.offset_at(partition, since_ms=since_ms), reader.bounds(partition)[1]
        keys = [key for record in reader.read({partition: (start, end)}) if (key := event_key(record.headers))]
    log.info("read back %d events of partition %d in %.2f s", len(keys), partition, time.monotonic() - started)
    return keys
