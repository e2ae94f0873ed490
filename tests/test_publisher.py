"""What counts as delivered; the publisher on a real broker stands in tests/kafka."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from streamproc.errors import DeliveryError
from streamproc.publisher import Publisher
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
