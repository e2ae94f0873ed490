"""Events are sent only while a worker's partitions are certainly its own; what was not delivered in time is void."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.agents.batches import Batch, Tenure
from streamproc.agents.lease import Lease
from streamproc.errors import DeliveryError, LeaseError
from tests.agents.fakes import batch_of
from tests.agents.test_assemble import Aggregator, events
from tests.agents.test_batches import Bench, _event, _settle
from tests.features import features


@given(st.floats(6, 300), st.floats(0, 1e6), st.floats(0, 1e6))
def test_nothing_sent_under_a_lease_arrives_after_the_session(session_s: float, asked_s: float, sent_s: float) -> None:
    lease = Lease(session_s)
    assert not lease.holds(sent_s)
    lease.confirm(asked_s)
    lease.confirm(asked_s - 1)
    if lease.holds(sent_s):
        assert sent_s + lease.delivery_timeout_s < asked_s + session_s
    assert lease.holds(asked_s)


def _fenced(batch: Batch) -> None:
    batch.send(topic="t", partition=0, key=b"", value=b"", headers=[], fenced=True)


def test_an_event_that_was_not_delivered_in_time_voids_its_assignment_and_the_worker_goes_on() -> None:
    async def main() -> None:
        bench, lost = Bench(_fenced), list[int]()
        bench.window.__dict__.update(_lost=lost.append)
        tenure: Tenure = bench.window.tenure
        await bench.window.submit([_event(0)])
        await bench.window.submit([_event(1)])
        await bench.sent(2)
        bench.publisher.reports[0](DeliveryError("timed out"), None)
        bench.publisher.reports[1](None, 1)
        await _settle()
        assert (lost, bench.settled, bench.crashes) == ([0], [], [])
        tenure.revoke(1)
        tenure.assign()
        await bench.window.submit([_event(0)])
        await bench.sent(1)
        bench.publisher.reports[2](None, 2)
        await _settle()
        assert (lost, bench.settled, bench.crashes) == ([0], [0], [])

    asyncio.run(main())


def test_without_anybody_to_take_it_anew_it_ends_the_worker() -> None:
    async def main() -> None:
        bench = Bench(_fenced)
        await bench.window.submit([_event(0)])
        await bench.sent(1)
        bench.publisher.reports[0](DeliveryError("timed out"), None)
        await _settle()
        assert bench.settled == []
        assert [type(error) for error in bench.crashes] == [LeaseError]

    asyncio.run(main())


def test_a_publisher_that_can_send_no_more_voids_as_well() -> None:
    async def main() -> None:
        bench, lost = Bench(_fenced), list[int]()
        bench.window.__dict__.update(_lost=lost.append)

        def refuse(**_record: Any) -> None:
            raise DeliveryError("fatal")

        bench.publisher.send = refuse  # type: ignore[method-assign] # a producer that has failed for good
        await bench.window.submit([_event(0)])
        await _settle()
        assert (lost, bench.settled, bench.crashes) == ([0], [], [])

    asyncio.run(main())


def _without_lease() -> Aggregator:
    aggregator = Aggregator(session_timeout_s=6)
    aggregator.lease._asked_s = float("-inf")
    return aggregator


def test_no_event_is_sent_before_a_heartbeat_was_answered() -> None:
    aggregator = _without_lease()
    answered = threading.Timer(0.3, lambda: aggregator.lease.confirm(time.monotonic()))
    answered.start()
    started = time.monotonic()
    (event,) = events(aggregator.take(*(features(index=index) for index in range(4))))
    assert event["outcome"] == "complete"
    assert time.monotonic() - started >= 0.29
    answered.join()


def test_a_worker_whose_partitions_are_gone_sends_no_event() -> None:
    aggregator = _without_lease()
    gone = threading.Timer(0.2, lambda: aggregator.aggregation.end(1))
    gone.start()
    assert events(aggregator.take(*(features(index=index) for index in range(4)))) == []
    gone.join()


def test_a_coordinator_that_never_answers_voids_the_assignment() -> None:
    aggregator = _without_lease()
    aggregator.lease.session_timeout_s = 0.1
    with pytest.raises(LeaseError, match="no heartbeat was answered"):
        aggregator.aggregation(batch_of(*aggregator.take_later(*(features(index=index) for index in range(4)))))
