"""The two habits of Faust that are mended: queues in records, and the nap."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from aiokafka.consumer.subscription_state import TopicPartitionState
from faust.events import Event
from faust.transport.drivers import aiokafka as aiokafka_driver
from faust.types import TP
from mode import Service
from mode.utils.queues import FlowControlEvent

from streamproc.agents import transport
from streamproc.agents.transport import ByteQueue, Consumer, StreamApp, size_of


def _event(size: int) -> Any:
    event = Event.__new__(Event)
    event.value = bytes(size)
    return event


def _queue(maxsize: int) -> ByteQueue:
    return ByteQueue(maxsize=maxsize, flow_control=FlowControlEvent(initially_suspended=False), clear_on_resume=True)


def test_a_queue_is_measured_in_bytes_and_gives_them_back() -> None:
    async def main() -> None:
        queue = _queue(1_000_000)
        for size in (100, 200_000):
            queue.force_put_nowait(_event(size))
        assert queue.qsize() == size_of(_event(100)) + size_of(_event(200_000))
        await queue.get()
        await queue.get()
        assert queue.qsize() == 0
        queue.force_put_nowait(_event(5))
        queue.clear()
        assert queue.qsize() == 0

    asyncio.run(main())


def test_pressure_follows_bytes_and_not_the_number_of_records() -> None:
    async def main() -> None:
        queue, calls = _queue(1_000_000), []

        def put(size: int) -> None:
            queue.put_nowait_enhanced(
                _event(size), on_pressure_high=lambda: calls.append("high"), on_pressure_drop=drop
            )

        def drop() -> None:
            calls.append("drop")

        for _ in range(300):
            put(100)
        assert calls == []
        for _ in range(6):
            put(200_000)
        assert calls == ["high"]
        assert queue.full()
        while not queue.empty():
            queue.get_nowait()
        assert calls == ["high", "drop"]

    asyncio.run(main())


def test_a_position_that_is_being_reset_does_not_end_the_worker() -> None:
    """Faust's own consumer asks the driver's state of the partition, which asserts that there is a position."""
    tp = TP("tiles", 0)

    async def main(kind: type[Any]) -> None:
        resetting = TopicPartitionState(cast(Any, None))
        resetting.await_reset(-2)  # to the earliest offset

        def look(_now: float, _tp: TP) -> None:
            assert resetting.position >= 0

        consumer: Any = SimpleNamespace(
            _thread=SimpleNamespace(verify_event_path=look),
            assignment=lambda: {tp},
            sleep=asyncio.sleep,
            should_stop=False,
        )
        consumer.verify_event_path = partial(kind.verify_event_path, consumer)
        await kind.verify_all_partitions_active(consumer)

    with pytest.raises(AssertionError):
        asyncio.run(main(aiokafka_driver.Consumer))
    asyncio.run(main(Consumer))


def test_a_worker_whose_partitions_are_all_paused_looks_again_within_milliseconds() -> None:
    async def main() -> None:
        consumer = Consumer.__new__(Consumer)
        naps: list[float] = []

        async def sleep(seconds: float) -> None:
            naps.append(seconds)

        consumer.__dict__.update(
            flow_active=True, app=SimpleNamespace(client_only=False), sleep=sleep, _get_active_partitions=set
        )
        started = time.monotonic()
        assert await consumer._wait_next_records(1.0) == ({}, set())
        assert time.monotonic() - started < 0.5
        assert naps == [transport.NAP_S]

    asyncio.run(main())


def test_faust_still_has_the_nap_that_is_mended() -> None:
    """If this fails, Faust was mended: the subclass may go."""
    import inspect

    from faust.transport.consumer import Consumer as Original

    assert "await self.sleep(1)" in inspect.getsource(Original._wait_next_records)


def test_the_app_uses_our_transport_and_queues() -> None:
    async def main() -> None:
        app = StreamApp("test", broker="kafka://127.0.0.1:1", store="memory://", stream_buffer_maxsize=123_456)
        assert isinstance(app.transport, transport.Transport)
        assert cast("Any", app.transport).Consumer is Consumer
        queue = app.FlowControlQueue(clear_on_resume=True)
        assert isinstance(queue, ByteQueue)
        assert queue.maxsize == 123_456
        assert isinstance(app, faust.App)

    asyncio.run(main())


@pytest.mark.parametrize(("value", "extra"), [(b"", 0), (b"12345", 5), (None, 0)])
def test_anything_in_a_queue_has_a_size(value: bytes | None, extra: int) -> None:
    event = _event(0)
    event.value = value
    assert size_of(event) == transport._RECORD_OVERHEAD_BYTES + extra
    assert size_of(object()) == transport._RECORD_OVERHEAD_BYTES


class _Waits(Consumer):
    """A consumer of which only waiting works."""

    def __init__(self) -> None:
        Service.__init__(self)


def test_handing_over_a_record_that_need_not_wait_makes_no_task() -> None:
    async def main() -> None:
        consumer, suspended = _Waits(), asyncio.Event()

        async def hand_over() -> str:
            await asyncio.sleep(0) if suspended.is_set() else None
            return "there"

        before = len(asyncio.all_tasks())
        coroutine = hand_over()
        result = await consumer.wait_first(coroutine, suspended.wait())
        assert (result.done, result.results, result.stopped) == ([coroutine], ["there"], False)
        assert len(asyncio.all_tasks()) == before

    asyncio.run(main())


def test_handing_over_a_record_that_must_wait_goes_on_where_it_waits() -> None:
    async def main() -> None:
        consumer, room, suspended, steps = _Waits(), asyncio.Event(), asyncio.Event(), list[str]()

        async def hand_over() -> str:
            steps.append("begun")
            await room.wait()
            steps.append("room")
            await asyncio.sleep(0)
            return "there"

        async def make_room() -> None:
            await asyncio.sleep(0.01)
            room.set()

        task = asyncio.create_task(make_room())
        result = await consumer.wait_first(hand_over(), suspended.wait())
        assert (result.results, result.stopped, steps) == (["there"], False, ["begun", "room"])
        await task

    asyncio.run(main())


def test_a_record_that_waits_is_given_up_when_the_flow_is_stopped() -> None:
    async def main() -> None:
        consumer, suspended = _Waits(), asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, suspended.set)
        result = await asyncio.wait_for(consumer.wait_first(asyncio.Event().wait(), suspended.wait()), 5)
        assert result.results == [True]
        assert result.done[0].__class__.__name__ == "coroutine"

    asyncio.run(main())


def test_what_handing_over_raises_is_raised() -> None:
    async def main() -> None:
        async def hand_over() -> None:
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await _Waits().wait_first(hand_over(), asyncio.sleep(0))

    asyncio.run(main())
