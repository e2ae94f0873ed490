"""Batches: acknowledged in the order they were read, after their results are delivered, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streamproc.agents.batches import Batch, Tenure, Window, collect
from streamproc.errors import DeliveryError
from streamproc.publisher import Publisher

Report = Callable[[Exception | None, int | None], None]


class HeldPublisher:
    """Keeps delivery reports until a test gives them."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.sent = threading.Semaphore(0)

    def send(self, *, on_delivery: Report, **_record: Any) -> None:
        self.reports.append(on_delivery)
        self.sent.release()


def _event(offset: int, generation: int = 1) -> Any:
    return SimpleNamespace(message=SimpleNamespace(topic="tiles", partition=0, offset=offset, generation_id=generation))


def _send_one(batch: Batch) -> None:
    batch.send(topic="t", partition=0, key=b"", value=b"", headers=[])


class Bench:
    """A window over a held publisher."""

    def __init__(self, work: Callable[[Batch], None] = _send_one, size: int = 4) -> None:
        self.publisher = HeldPublisher()
        self.pool = ThreadPoolExecutor(2)
        self.settled: list[int] = []
        self.crashes: list[BaseException] = []
        self.window = Window(
            pool=self.pool,
            publisher=cast("Publisher", self.publisher),
            work=work,
            settled=lambda batch: self.settled.extend(event.message.offset for event in batch.events),
            crash=self.crashes.append,
            size=size,
            tenure=Tenure(),
        )

    async def sent(self, count: int) -> None:
        for _ in range(count):
            await asyncio.to_thread(self.publisher.sent.acquire, timeout=5)


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.005)


def test_a_batch_is_acknowledged_only_after_its_delivery_report() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.window.submit([_event(0)])
        await bench.sent(1)
        await _settle()
        assert bench.settled == []
        assert bench.window.busy
        bench.publisher.reports[0](None, 7)
        await _settle()
        assert bench.settled == [0]
        assert not bench.window.busy

    asyncio.run(main())


def test_batches_are_acknowledged_in_order_even_when_delivered_out_of_order() -> None:
    async def main() -> None:
        bench = Bench()
        order: dict[int, Report] = {}

        def work(batch: Batch) -> None:
            _send_one(batch)

        bench.window._work = work
        for offset in range(3):
            await bench.window.submit([_event(offset)])
            await bench.sent(1)
            order[offset] = bench.publisher.reports[-1]
        order[2](None, 0)
        order[1](None, 0)
        await _settle()
        assert bench.settled == []
        order[0](None, 0)
        await _settle()
        assert bench.settled == [0, 1, 2]

    asyncio.run(main())


def test_an_undelivered_result_ends_the_worker_and_nothing_after_it_is_acknowledged() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.window.submit([_event(0)])
        await bench.window.submit([_event(1)])
        await bench.sent(2)
        bench.publisher.reports[0](DeliveryError("refused"), None)
        bench.publisher.reports[1](None, 1)
        await _settle()
        await bench.window.submit([_event(2)])
        await _settle()
        assert bench.settled == []
        assert [str(error) for error in bench.crashes] == ["refused"]

    asyncio.run(main())


def test_an_exception_in_the_work_is_a_crash_and_no_acknowledgement() -> None:
    def work(_batch: Batch) -> None:
        raise ValueError("broken")

    async def main() -> None:
        bench = Bench(work)
        await bench.window.submit([_event(0)])
        await _settle()
        assert bench.settled == []
        assert [str(error) for error in bench.crashes] == ["broken"]

    asyncio.run(main())


def test_submit_waits_while_the_window_is_full() -> None:
    async def main() -> None:
        bench = Bench(size=2)
        await bench.window.submit([_event(0)])
        await bench.window.submit([_event(1)])
        third = asyncio.create_task(bench.window.submit([_event(2)]))
        await bench.sent(2)
        await _settle()
        assert not third.done()
        for report in list(bench.publisher.reports):
            report(None, 0)
        await asyncio.wait_for(third, 5)

    asyncio.run(main())


class FakeStream:
    """Yields events; its queue knows what is left."""

    def __init__(self, events: list[Any]) -> None:
        self._events = events
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=lambda: not self._events, qsize=lambda: 0))

    def noack(self) -> FakeStream:
        return self

    async def events(self) -> Any:
        while self._events:
            yield self._events.pop(0)


@pytest.mark.parametrize(
    ("events", "batches"),
    [
        ([_event(offset) for offset in range(5)], [[0, 1], [2, 3], [4]]),
        ([_event(0)], [[0]]),
        ([], []),
    ],
)
def test_what_has_arrived_is_gathered(events: list[Any], batches: list[list[int]]) -> None:
    taken: list[list[int]] = []

    class Taker:
        tenure = Tenure()

        async def submit(self, batch: list[Any]) -> None:
            taken.append([event.message.offset for event in batch])

    asyncio.run(collect(cast("Any", FakeStream(list(events))), cast("Window", Taker()), limit=2))
    assert taken == batches


def test_what_is_left_of_a_revoked_assignment_is_dropped_even_if_kafka_counts_from_the_start_again() -> None:
    tenure = Tenure()
    taken: list[tuple[int, list[int]]] = []

    class Taker:
        async def submit(self, batch: list[Any]) -> None:
            taken.append((tenure.number, [event.message.offset for event in batch]))

    taker = Taker()
    taker.tenure = tenure  # type: ignore[attr-defined] # a window has one

    class Rebalancing(FakeStream):
        async def events(self) -> Any:
            yield _event(0, generation=1)
            assert tenure.revoke(1) == 0
            yield _event(1, generation=1)
            tenure.assign()
            yield _event(0, generation=1)
            yield _event(1, generation=1)

    stream = Rebalancing([])
    stream.channel.queue.empty = lambda: len(taken) > 0 or tenure.number > 0
    asyncio.run(collect(cast("Any", stream), cast("Window", taker), limit=10))
    assert taken == [(1, [0]), (1, [1])]


def test_a_batch_of_an_assignment_that_is_over_is_not_acknowledged() -> None:
    """Its offsets would be taken for those of the next assignment, which reads on from elsewhere."""

    async def main() -> None:
        bench = Bench()
        await bench.window.submit([_event(0)])
        await bench.sent(1)
        bench.window.tenure.revoke(1)
        bench.window.tenure.assign()
        bench.publisher.reports[0](None, 0)
        await _settle()
        assert bench.settled == []
        assert not bench.window.busy

    asyncio.run(main())
