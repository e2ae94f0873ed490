"""One idempotent producer with delivery reports and a queue bounded in bytes; used by producers and agents alike.

`produce()` returning means nothing; the delivery report is the only truth. librdkafka calls it on the thread that
polls, here one of our own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamproc.client import client_config
from streamproc.errors import DeliveryError, RecordRefused
from streamproc.settings import Settings
from streamproc.topics import MAX_DEADLETTER_BYTES
from streamproc.wire import RawHeaders

OnDelivery: TypeAlias = Callable[[Exception | None, int | None], None]
"""Called once for each record, on the polling thread: (None, offset) when acknowledged, (error, None) when not."""

log = logging.getLogger(__name__)
_POLL_S = 0.1
_FULL_WAIT_S = 0.005
ROOM_S = 0.5  # longest wait for room of a record that has little time
_TOO_LATE = "topic {topic}: an earlier record was not delivered in time, no more are sent"
# librdkafka takes a batch for delivered when a later one of its partition is acknowledged before it. A broker that
# knows nothing of the producer yet accepts any first number, so a first batch that was refused (the partition is just
# being created, or moves) is lost. Measured right after topics were made: 4 to 16 of 192 records in one start of five.
UNCONFIRMED = "a record was taken for delivered, but no broker has confirmed it; it may be lost"
_BATCH_BYTES = 1_000_000  # the broker judges batches: one record too large, and all records beside it are refused
_RENEW_FIRST_S = 1.0
_RENEW_LONGEST_S = 30.0
_LOOK_S = 0.05
_SELDOM_S = 60.0
_LAST_REPORTS_S = 1.0
_NO_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


class Publisher:
    """An idempotent producer (acks=all) whose queue is bounded in bytes.

    Use as a context manager, or call `start` and `close`.

    Args:
        delivery_timeout_s: Time a record may take; None is that of the settings.
        expire_s: When a record has no report by then, it and all others are given up at once, and none is taken any
            more: so no later one is delivered without it. None never does so. (librdkafka's own timeouts leave gaps,
            `enable.gapless.guarantee` does not cover them.)

    Attributes:
        acked, failed: Records that ended so; together with the queue they are all that were sent.
        fatal: What ended the idempotent producer for good, None while it lives: no record is taken any more.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client_id: str,
        linger_ms: float = 5,
        delivery_timeout_s: float | None = None,
        expire_s: float | None = None,
    ) -> None:
        self._delivery_timeout_s = settings.delivery_timeout_s if delivery_timeout_s is None else delivery_timeout_s
        self._bound_bytes = settings.producer_queue_bytes
        self._producer = Producer(
            {
                **client_config(settings, client_id=client_id),
                "enable.idempotence": True,
                "linger.ms": linger_ms,
                "batch.size": _BATCH_BYTES,
                "compression.type": "none",
                "message.max.bytes": MAX_DEADLETTER_BYTES,
                "queue.buffering.max.kbytes": max(1, self._bound_bytes // 1024),
                "queue.buffering.max.messages": 100_000,
                "delivery.timeout.ms": int(self._delivery_timeout_s * 1000),
                "request.timeout.ms": int(min(30, self._delivery_timeout_s) * 1000),
                "message.copy.max.bytes": 65_535,
            }
        )
        self._lock = threading.Lock()
        self._gate = threading.Lock()  # held while a record is handed over, and while all are given up
        self._queued_bytes = 0
        self._expire_s = expire_s
        self._given_up = False
        self._unreported: dict[int, float] = {}  # when each record was sent, oldest first
        self._sent = 0
        self.acked = 0
        self.failed = 0
        self.fatal: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="publisher", daemon=True)

    def start(self) -> Self:
        """Start the polling thread."""
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(timeout_s=0.5 if kind else self._delivery_timeout_s)

    @property
    def queued_bytes(self) -> int:
        """Bytes of values sent and not yet reported."""
        return self._queued_bytes

    def send(
        self,
        *,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: RawHeaders,
        on_delivery: OnDelivery | None = None,
        timeout_s: float = 60,
    ) -> None:
        """Queue one record; waits while the queue is full.

        Raises:
            RecordRefused: The queue stayed full for `timeout_s`, the record is larger than any topic takes, or the
                producer can send no more.
        """
        size = len(value or b"")
        held = size + len(key or b"") + sum(len(name) + len(content or b"") for name, content in headers)
        deadline = time.monotonic() + timeout_s
        self._wait_for_room(held, deadline=deadline, topic=topic)

        self._expire()
        number = self._sent = self._sent + 1

        def report(error: KafkaError | None, message: Message) -> None:
            offset = None if error else message.offset()
            problem = None if error is None else self._problem(error, topic=topic, size=size)
            if problem is None and offset is None:
                problem = DeliveryError(f"topic {topic}: {UNCONFIRMED}")
            self._count(held, number, problem)
            if on_delivery is not None:
                on_delivery(problem, offset)

        with self._lock:
            self._queued_bytes += held
            self._unreported[number] = time.monotonic()
        while True:
            try:
                self._hand_over(topic, value, key, partition=partition, headers=list(headers), on_delivery=report)
            except BufferError:
                if time.monotonic() > deadline:
                    self._unqueue(held, number)
                    raise RecordRefused(_full(topic)) from None
                time.sleep(_FULL_WAIT_S)
            except KafkaException as error:
                self._unqueue(held, number)
                self._note_fatal(error.args[0])
                raise _refusal(error.args[0])(_explain(error.args[0], topic=topic, size=size)) from None
            except RecordRefused:
                self._unqueue(held, number)
                raise
            else:
                return

    def _hand_over(self, topic: str, value: bytes | None, key: bytes | None, **more: Any) -> None:
        with self._gate:  # nothing may follow what was given up
            if self._given_up:
                raise RecordRefused(_TOO_LATE.format(topic=topic))
            self._producer.produce(topic, value, key, **more)

    def _problem(self, error: KafkaError, *, topic: str, size: int) -> DeliveryError:
        """What a delivery report says."""
        self._note_fatal(error)
        # A missing topic proves nothing: a broker that comes back may say so for a moment, an earlier try in its log.
        kind = RecordRefused if error.code() == KafkaError.MSG_SIZE_TOO_LARGE else DeliveryError
        return kind(_explain(error, topic=topic, size=size))

    def _note_fatal(self, error: Any) -> None:
        is_fatal = isinstance(error, KafkaError) and (error.fatal() or error.code() == KafkaError._FATAL)
        if is_fatal and self.fatal is None:
            self.fatal = error.str()

    def flush(self, timeout_s: float) -> int:
        """Wait for the reports of all queued records; returns how many are still missing."""
        # librdkafka counts its own pending errors with the records
        return min(self._producer.flush(timeout_s), len(self._unreported))

    def close(self, *, timeout_s: float) -> int:
        """Flush, then stop polling; returns how many records have no report."""
        left = self.flush(timeout_s)
        self._stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
        if left:
            self._producer.purge()
            self._producer.poll(0)
        return left

    def abandon(self) -> None:
        """Deliver nothing more: what is queued or under way is reported as failed, what is sent later refused."""
        self._give_up()
        self._stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
        self._producer.poll(0)

    def _wait_for_room(self, size: int, *, deadline: float, topic: str) -> None:
        while self._queued_bytes and self._queued_bytes + size > self._bound_bytes:
            if time.monotonic() > deadline:
                raise RecordRefused(_full(topic))
            time.sleep(_FULL_WAIT_S)

    def _unqueue(self, size: int, number: int) -> None:
        with self._lock:
            self._queued_bytes -= size
            self._unreported.pop(number, None)

    def _count(self, size: int, number: int, error: Exception | None) -> None:
        with self._lock:
            self._unreported.pop(number, None)
            self._queued_bytes -= size
            if error is None:
                self.acked += 1
            else:
                self.failed += 1

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(_POLL_S)
            self._expire()

    def _expire(self) -> None:
        """Give all up when the oldest record has waited too long."""
        if self._expire_s is None or self._given_up:
            return
        with self._lock:
            oldest_s = next(iter(self._unreported.values()), None)
        if oldest_s is not None and time.monotonic() - oldest_s > self._expire_s:
            self._give_up()

    def _give_up(self) -> None:
        with self._gate:
            self._given_up = True
            self._producer.purge()


class RenewablePublisher:
    """A publisher for records that may only be delivered in time or not at all, replaced when one was not.

    Used by one thread to send and by others to renew.
    """

    def __init__(self, make: Callable[[], Publisher]) -> None:
        self._make = make
        self._renewing = threading.Lock()
        self._publisher = make().start()

    @property
    def queued_bytes(self) -> int:
        """Bytes of values sent and not yet reported."""
        return self._publisher.queued_bytes

    def send(self, **record: Any) -> None:
        """Queue one record; see `Publisher.send`. A queue without room is not waited for long: time is short."""
        self._publisher.send(**record, timeout_s=ROOM_S)

    def flush_or_renew(self, timeout_s: float) -> None:
        """Wait for all reports; what has none by then is never delivered."""
        if self._publisher.flush(timeout_s):
            self.renew()

    def renew(self) -> None:
        """Deliver nothing of what is queued, and begin anew."""
        with self._renewing:
            old, self._publisher = self._publisher, self._make().start()
            old.abandon()

    def close(self, *, timeout_s: float) -> int:
        """Flush, then stop; returns how many records have no report."""
        return self._publisher.close(timeout_s=timeout_s)


class LastingPublisher:
    """A publisher that goes on for months. For any number of threads.

    When its idempotent producer ends by a fatal error, a new one follows: what the old one has not delivered by then is
    reported as failed, and nothing of it is sent again. A new one is made at most every second, and every 30 s where
    each of them ends at once. Records for a topic that does not exist wait for it, as long as they may.

    Args:
        make: Makes a publisher, not started.
        notice: Takes one line for the user.
        stop: No record waits any more when it is set.
    """

    def __init__(self, make: Callable[[], Publisher], *, notice: Callable[[str], None], stop: threading.Event) -> None:
        self._make, self._notice, self._stop = make, notice, stop
        self._renewing = threading.Lock()
        self._pause_s = _RENEW_FIRST_S
        self._next_s = 0.0  # no other one is made before
        self._tell_next_s: dict[str, float] = {}  # of each missing topic
        self._publisher = make()

    def start(self) -> Self:
        """Start the polling thread."""
        self._publisher.start()
        return self

    @property
    def queued_bytes(self) -> int:
        """Bytes of values sent and not yet reported."""
        return self._publisher.queued_bytes

    def send(self, *, timeout_s: float = 60, **record: Any) -> None:
        """Queue one record; waits for room, for a producer that lives, and for the topic. See `Publisher.send`."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            publisher = self._living()
            try:
                publisher.send(**record, timeout_s=max(0.0, deadline_s - time.monotonic()))
            except RecordRefused as refused:
                missing = isinstance(refused, _NoTopic)
                if missing:
                    self._tell_missing(record["topic"], str(refused))
                may_wait = missing or publisher.fatal is not None
                if not may_wait or time.monotonic() >= deadline_s or self._stop.wait(_LOOK_S):
                    raise
            else:
                return

    def flush(self, timeout_s: float) -> int:
        """Wait for the reports of all queued records; returns how many are still missing."""
        return self._publisher.flush(timeout_s)

    def close(self, *, timeout_s: float) -> int:
        """Flush, then stop polling; returns how many records have no report."""
        return self._publisher.close(timeout_s=timeout_s)

    def _living(self) -> Publisher:
        with self._renewing:
            old, now_s = self._publisher, time.monotonic()
            if old.fatal is None or now_s < self._next_s:
                return old
            self._pause_s = _RENEW_FIRST_S if old.acked else min(2 * self._pause_s, _RENEW_LONGEST_S)
            self._next_s = now_s + self._pause_s
            old.flush(_LAST_REPORTS_S)  # what is under way may still be acknowledged
            old.abandon()
            self._publisher = self._make().start()
            self._notice(f"the connection to the broker is made anew after a fatal error: {old.fatal}")
            return self._publisher

    def _tell_missing(self, topic: str, line: str) -> None:
        """At most once a minute."""
        now_s = time.monotonic()
        with self._renewing:
            if now_s < self._tell_next_s.get(topic, now_s):
                return
            self._tell_next_s[topic] = now_s + _SELDOM_S
        self._notice(f"{line}; records wait for it")


class _NoTopic(RecordRefused):
    """The topic does not exist, or not that partition of it."""


def _refusal(error: Any) -> type[RecordRefused]:
    return _NoTopic if isinstance(error, KafkaError) and error.code() in _NO_TOPIC else RecordRefused


def _full(topic: str) -> str:
    return f"topic {topic}: the queue of unsent records stayed full; is the broker up? (streamproc doctor)"


def _explain(error: Any, *, topic: str, size: int) -> str:
    code = error.code() if isinstance(error, KafkaError) else None
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return (
            f"topic {topic} refused a record of {size} bytes, or the batch of up to {_BATCH_BYTES} bytes it was in, as "
            "larger than its max.message.bytes: raise the topic's limit (streamproc topics check), or choose a finer "
            "grid (--grid) if the limit is above that of a batch"
        )
    if code in _NO_TOPIC:
        return f"topic {topic} does not exist or has fewer partitions: run streamproc topics create"
    if code == KafkaError._PURGE_QUEUE:
        return f"topic {topic}: a record was not acknowledged before the run ended; is the broker up?"
    if code == KafkaError._MSG_TIMED_OUT:
        return f"topic {topic}: a record was not acknowledged in time; is the broker up? (streamproc doctor)"
    return f"topic {topic}: {error.str() if isinstance(error, KafkaError) else error}"
