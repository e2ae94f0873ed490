"""Reading topics from one place to another, outside any consumer group: read-back, events, evidence, reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamproc.client import client_config, unreachable
from streamproc.errors import BrokerError
from streamproc.settings import Settings
from streamproc.wire import Headers

_T = TypeVar("_T")
_POLL_S = 0.2
_ANSWER_S = 10.0
_CLOSE_S = 5.0
_NO_LEADER_YET = (  # a new topic, or a leader that has just changed
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
)
_PASSING = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)  # the client goes on trying; a stall ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record as it stands in the log.

    Attributes:
        timestamp_ms: Wall clock.
        key, value, headers: Bytes; what is null is empty here.
        nulls: What is null: `key`, `value`, and positions of headers.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: Headers
    nulls: frozenset[str | int] = frozenset()


class TopicReader:
    """A consumer of given partitions without a group: nothing is committed, nobody is disturbed.

    Use as a context manager. Not thread-safe.

    Raises:
        BrokerError: The broker does not answer, or the topic does not exist.
    """

    def __init__(self, settings: Settings, topic: str, *, max_queue_bytes: int = 32 * 2**20) -> None:
        self.topic = topic
        self._settings = settings
        self._consumer = Consumer(
            {
                **client_config(settings, client_id="streamproc-reader"),
                "group.id": "streamproc-reader-none",  # required by the client; no group is ever joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": max_queue_bytes // 1024,
                "fetch.queue.backoff.ms": 10,
                "fetch.wait.max.ms": 100,
            }
        )

    def __enter__(self) -> TopicReader:
        return self

    def __exit__(self, *_exc: object) -> None:
        closing = threading.Thread(target=self._consumer.close, name="reader-close", daemon=True)
        closing.start()  # librdkafka gives closing no time limit
        closing.join(_CLOSE_S)

    def partitions(self) -> list[int]:
        """The topic's partitions."""
        found = self._ask(lambda: self._consumer.list_topics(self.topic, timeout=_ANSWER_S)).topics[self.topic]
        if found.error is not None and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise BrokerError(f"topic {self.topic} on {self._settings.bootstrap}: {found.error.str()}")
        if found.error is not None or not found.partitions:
            raise BrokerError(
                f"topic {self.topic} does not exist on {self._settings.bootstrap}: run streamproc topics create"
            )
        return sorted(found.partitions)

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset kept and the one after the last."""
        at = TopicPartition(self.topic, partition)
        low, high = self._ask(lambda: self._consumer.get_watermark_offsets(at, timeout=_ANSWER_S))
        return low, high

    def known_end(self, partition: int) -> int:
        """The offset after the last, as far as is known without asking; 0 if nothing is."""
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
        return max(0, high)

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        """The first offset whose timestamp is not before `since_ms`; the end if there is none."""
        at = TopicPartition(self.topic, partition, max(0, since_ms))
        offset: int = self._ask(lambda: self._consumer.offsets_for_times([at], timeout=_ANSWER_S))[0].offset
        return self.bounds(partition)[1] if offset in (OFFSET_END, -1) else offset

    def read(self, ranges: Mapping[int, tuple[int, int]], *, stall_s: float = 30) -> Iterator[Record]:
        """Read offset ranges (first, one after the last) by partition; each in order, partitions interleaved.

        Raises:
            BrokerError: Nothing came for `stall_s` although records are left.
        """
        left = {partition: end for partition, (start, end) in ranges.items() if start < end}
        if not left:
            return
        self._consumer.assign([TopicPartition(self.topic, partition, ranges[partition][0]) for partition in left])
        last = time.monotonic()
        while left:
            message = self._consumer.poll(_POLL_S)
            if message is None:
                if time.monotonic() - last > stall_s:
                    raise BrokerError(
                        f"topic {self.topic}: no record came for {stall_s:g} s, {len(left)} partitions left"
                    )
                continue
            last = time.monotonic()
            record = self._within(message, left)
            if record is not None:
                yield record
                last = time.monotonic()  # the caller may have taken its time
        self._consumer.unassign()

    def _within(self, message: Message, left: dict[int, int]) -> Record | None:
        """The record if it lies below its partition's end; partitions that have reached theirs leave `left`."""
        partition, offset = message.partition() or 0, message.offset() or 0
        if partition not in left:
            return None
        end, error = left[partition], message.error()
        if error is not None and error.code() in _PASSING:
            return None
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise BrokerError(f"topic {self.topic}: {error.str()}") from KafkaException(error)
        if offset + (1 if error is None else 0) >= end:
            del left[partition]
        return _record(message) if error is None and offset < end else None

    def follow(self, starts: Mapping[int, int], *, stop: Callable[[], bool]) -> Iterator[Record | None]:
        """Read from `starts` (offset by partition) on and on; yields None when nothing came for a moment."""
        self._consumer.assign([TopicPartition(self.topic, partition, offset) for partition, offset in starts.items()])
        while not stop():
            message = self._consumer.poll(_POLL_S)
            if message is None:
                yield None
            elif (error := message.error()) is None:
                yield _record(message)
            elif error.code() not in (KafkaError._PARTITION_EOF, *_PASSING):
                raise BrokerError(f"topic {self.topic}: {error.str()}") from KafkaException(error)
        self._consumer.unassign()

    def _ask(self, question: Callable[[], _T], *, deadline_s: float | None = None) -> _T:
        """Ask, and again for a while as long as the partition's leader is not there yet."""
        deadline_s = deadline_s or time.monotonic() + _ANSWER_S
        try:
            return question()
        except KafkaException as error:
            if error.args[0].code() in _NO_LEADER_YET and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
                return self._ask(question, deadline_s=deadline_s)
            if error.args[0].code() in (KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC):
                raise BrokerError(
                    f"topic {self.topic} does not exist on {self._settings.bootstrap} or has fewer partitions:"
                    " run streamproc topics create"
                ) from None
            raise BrokerError(unreachable(self._settings, error.args[0])) from None


def _record(message: Message) -> Record:
    headers: Any = message.headers() or []
    parts: dict[str | int, Any] = {"key": message.key(), "value": message.value()}
    parts |= {at: value for at, (_, value) in enumerate(headers)}
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=_as_bytes(message.key()),
        value=_as_bytes(message.value()),
        headers=[(name, _as_bytes(value)) for name, value in headers],
        nulls=frozenset(name for name, held in parts.items() if held is None),
    )


def _as_bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
