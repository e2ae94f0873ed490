"""What counts as delivered; the publisher on a real broker stands in tests/kafka."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamproc.errors import DeliveryError, RecordRefused
from streamproc.publisher import LastingPublisher, Publisher
from streamproc.settings import load_settings
from tests.waiting import wait_until


class Report:
    """A delivery report as confluent-kafka gives it; no offset is one that librdkafka has only inferred."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset


class Reporting:
    """A producer that reports each record at once, without error."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def produce(self, *_record: Any, on_delivery: Callable[[None, Report], None], **_rest: Any) -> None:
        on_delivery(None, Report(self._offset))

    def flush(self, _timeout_s: float) -> int:
        return 0


class Mortal:
    """A producer that has acknowledged all but the last records it took when it meets a fatal error."""

    def __init__(self, lives_for: int, *, unreported: int = 2) -> None:
        self._lives_for, self._unreported = lives_for, unreported
        self._waiting: list[Callable[[KafkaError | None, Report], None]] = []
        self._lock = threading.RLock()
        self.taken = 0

    def produce(self, *_record: Any, on_delivery: Callable[[KafkaError | None, Report], None], **_rest: Any) -> None:
        with self._lock:
            if self.taken >= self._lives_for:
                raise KafkaException(KafkaError(KafkaError._FATAL, "Fatal error: out of order sequence number"))
            self.taken += 1
            self._waiting.append(on_delivery)
            self._report(None, most=self._unreported)

    def purge(self) -> None:
        self._report(KafkaError(KafkaError._PURGE_QUEUE), most=0)

    def poll(self, _timeout_s: float = 0) -> int:
        return 0

    def flush(self, _timeout_s: float) -> int:
        if self.taken < self._lives_for:
            self._report(None, most=0)
        return len(self._waiting)

    def _report(self, error: KafkaError | None, *, most: int) -> None:
        with self._lock:
            while len(self._waiting) > most:
                self._waiting.pop(0)(error, Report(None if error else self.taken))


def mortal(lives_for: int) -> Publisher:
    """A publisher whose producer ends by a fatal error at record `lives_for`, counted from 0."""
    made = Publisher(load_settings(), client_id="test")
    made._producer = Mortal(lives_for)  # type: ignore[assignment] # what it needs of a producer
    return made


@pytest.mark.parametrize(("offset", "acked"), [(0, 1), (41, 1), (None, 0)])
def test_a_record_is_acknowledged_only_if_a_broker_named_its_offset(offset: int | None, acked: int) -> None:
    publisher = Publisher(load_settings(), client_id="test")
    publisher._producer = Reporting(offset)  # type: ignore[assignment] # what it needs of a producer
    reports: list[tuple[Exception | None, int | None]] = []
    publisher.send(
        topic="tiles", partition=0, key=b"k", value=b"v", headers=[], on_delivery=lambda *report: reports.append(report)
    )
    assert (publisher.acked, publisher.failed, publisher.queued_bytes) == (acked, 1 - acked, 0)
    ((error, told),) = reports
    assert told == offset
    assert (error is None) == bool(acked)
    if error is not None:
        assert isinstance(error, DeliveryError)
        assert "topic tiles" in str(error)


def test_when_one_record_is_late_all_are_given_up_and_no_more_are_taken() -> None:
    """librdkafka would give up one and deliver the next, which leaves a gap."""
    publisher = Publisher(load_settings(bootstrap="127.0.0.1:1"), client_id="test", expire_s=0.5).start()
    reports: list[Exception | None] = []
    try:
        for _ in range(3):
            publisher.send(
                topic="events",
                partition=0,
                key=b"k",
                value=b"v",
                headers=[],
                on_delivery=lambda error, _offset: reports.append(error),
            )
            time.sleep(0.2)
        wait_until(lambda: len(reports) == 3, "all are reported", timeout_s=10)
        assert all(isinstance(error, DeliveryError) for error in reports)
        with pytest.raises(DeliveryError, match="an earlier record was not delivered in time"):
            publisher.send(topic="events", partition=0, key=b"k", value=b"v", headers=[])
    finally:
        publisher.abandon()
    assert (publisher.acked, publisher.queued_bytes) == (0, 0)


def test_what_is_unreported_changes_under_the_lock_alone() -> None:
    """Reports come on one thread while another looks for the oldest record."""
    publisher = Publisher(load_settings(bootstrap="127.0.0.1:1"), client_id="test", expire_s=0.3).start()
    guarded: list[bool] = []

    class Guarded(dict[int, float]):
        def pop(self, *args: Any) -> Any:
            guarded.append(publisher._lock.locked())
            return super().pop(*args)

    publisher._unreported = Guarded()
    reports: list[object] = []
    try:
        publisher.send(
            topic="t", partition=0, key=b"k", value=b"v", headers=[], on_delivery=lambda *said: reports.append(said)
        )
        wait_until(lambda: bool(reports), "it is reported", timeout_s=10)
    finally:
        publisher.abandon()
    assert guarded == [True]


def test_after_a_fatal_error_a_new_producer_goes_on_and_what_the_old_one_held_has_failed() -> None:
    made, notices = [mortal(10), mortal(1000)], list[str]()
    publisher = LastingPublisher(iter(made).__next__, notice=notices.append, stop=threading.Event()).start()
    reports: dict[int, Exception | None] = {}

    def send(number: int) -> None:
        def report(error: Exception | None, _offset: int | None) -> None:
            assert number not in reports
            reports[number] = error

        publisher.send(topic="t", partition=0, key=b"k", value=b"v", headers=[], on_delivery=report)

    for number in range(20):
        send(number)
    failed = {number: error for number, error in reports.items() if error is not None}
    assert set(failed) == {8, 9}
    assert all("not acknowledged" in str(error) for error in failed.values())
    assert made[0].queued_bytes == 0
    (notice,) = notices
    assert "made anew after a fatal error: Fatal error: out of order" in notice
    publisher.close(timeout_s=0)
    assert set(reports) == set(range(20))


def test_a_producer_that_ends_at_once_is_replaced_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, made = [100.0], 0

    def make() -> Publisher:
        nonlocal made
        made += 1
        return mortal(0)

    publisher = LastingPublisher(make, notice=lambda _line: None, stop=threading.Event()).start()
    monkeypatch.setattr("streamproc.publisher.time.monotonic", lambda: now_s[0])
    for _ in range(3000):
        now_s[0] += 0.1
        with pytest.raises(RecordRefused):
            publisher.send(topic="t", partition=0, key=b"k", value=b"v", headers=[], timeout_s=0)
    assert 10 <= made <= 20, "300 s: after 1, 2, 4, 8, 16, 30, 30, … s"
    publisher.close(timeout_s=0)


class Homeless(Mortal):
    """A producer whose topic is missing for its first tries."""

    def __init__(self, missing: int) -> None:
        super().__init__(10**6)
        self.missing = missing

    def produce(self, *record: Any, **rest: Any) -> None:
        self.missing -= 1
        if self.missing >= 0:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        super().produce(*record, **rest)


def test_records_wait_for_a_topic_that_is_missing_and_that_is_told_seldom() -> None:
    made, notices, stop = mortal(10**6), list[str](), threading.Event()
    made._producer = Homeless(3)  # type: ignore[assignment] # what it needs of a producer
    publisher = LastingPublisher(lambda: made, notice=notices.append, stop=stop).start()

    def send(timeout_s: float) -> None:
        publisher.send(topic="t", partition=0, key=b"k", value=b"v", headers=[], timeout_s=timeout_s)

    send(5)
    made._producer = Homeless(10**6)  # type: ignore[assignment] # as before
    for _ in range(2):
        with pytest.raises(RecordRefused, match="topic t does not exist"):
            send(0.1)
    stop.set()
    with pytest.raises(RecordRefused, match="topic t does not exist"):
        send(60)
    line = "topic t does not exist or has fewer partitions: run streamproc topics create; records wait for it"
    assert notices == [line]
    publisher.close(timeout_s=0)
