"""Each partition is delivered in order and without a hole, whatever Faust drops between the fetch and the stream."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.consumer import Consumer as Original
from faust.transport.drivers.aiokafka import Consumer as Unmended
from hypothesis import given, settings
from hypothesis import strategies as st
from intervaltree import IntervalTree

from streamproc.agents.transport import Consumer
from streamproc.errors import BrokerError
from streamproc.lag import Standing
from tests.agents.test_commits import TILES


class Reading:
    """A consumer over a log whose records have the given offsets; what is fetched may be lost on its way."""

    def __init__(self, log: list[int], *, committed: int) -> None:
        self.log, self.committed, self.position = log, committed, committed
        self.delivered: list[int] = []
        self.back: list[int] = []
        self.refuse = False
        consumer: Any = object.__new__(Consumer)
        consumer.__dict__.update(
            _heads={},
            _next={},
            _sought={},
            _lacking={},
            read_at={},
            _firsts={},
            _going_back=set(),
            _gone_back=True,
            _fetches=0,
            _gap=defaultdict(IntervalTree),
            _acked=defaultdict(list),
            _acked_index=defaultdict(set),
            _deliver=self._deliver,
            committed_by_group=self._committed_by_group,
            _asked=self._asked,
            _read_offset={},
            log=SimpleNamespace(dev=lambda *_a: None),
            assignment=lambda: {TILES},
            add_future=lambda coroutine: self._under_way.append(asyncio.ensure_future(coroutine)),
            sleep=self._sleep,
        )
        self._under_way: list[asyncio.Future[None]] = []
        self.consumer = consumer

    async def _deliver(self, message: Any) -> None:
        self.delivered.append(message.offset)
        self.consumer._acked[TILES].append(message.offset)
        self.consumer._acked_index[TILES].add(message.offset)

    async def _committed_by_group(self, _topic: str, numbers: list[int]) -> dict[int, int]:
        if self.refuse:
            raise BrokerError("away")
        return dict.fromkeys(numbers, self.committed)

    async def _sleep(self, _seconds: float) -> None:
        self.refuse = False  # the broker has come back

    async def _asked(self, question: Any) -> None:
        await question(SimpleNamespace(seek=self._seek))

    def _seek(self, _tp: Any, offset: int) -> None:
        self.back.append(offset)
        self.position = offset

    def fetch(self, most: int = 3) -> list[int]:
        """What the next request brings."""
        self.consumer._fetches += 1
        found = [offset for offset in self.log if offset >= self.position][:most]
        self.position = found[-1] + 1 if found else self.position
        if found:
            self.consumer._note_lacking(TILES, found[0])
        return found

    async def hand_on(self, offsets: list[int]) -> None:
        for offset in offsets:
            await self.consumer._in_order(SimpleNamespace(tp=TILES, offset=offset, timestamp=float(offset)))
        await asyncio.gather(*self._under_way)
        self._under_way.clear()

    async def read_on(self) -> None:
        while found := self.fetch():
            await self.hand_on(found)


def test_a_partition_is_read_from_what_is_committed() -> None:
    async def main() -> None:
        reading = Reading(list(range(20)), committed=5)
        await reading.hand_on([9, 10])  # left over from an assignment before
        await reading.read_on()
        assert reading.delivered == list(range(5, 20))
        assert reading.consumer._new_offset(TILES) == 20

    asyncio.run(main())


def test_nothing_is_handed_on_before_reading_has_gone_back_to_what_is_committed() -> None:
    async def main() -> None:
        reading = Reading(list(range(20)), committed=5)
        reading.consumer._gone_back = False  # Faust resumes the flow too early
        await reading.hand_on(reading.fetch())
        assert reading.delivered == reading.back == []
        reading.consumer._gone_back = True
        await reading.read_on()
        assert reading.delivered == list(range(5, 20))

    asyncio.run(main())


def test_records_that_were_dropped_on_the_way_are_read_again_and_not_committed() -> None:
    async def main() -> None:
        reading = Reading(list(range(20)), committed=0)
        await reading.hand_on(reading.fetch(1))
        await reading.hand_on(reading.fetch(4))
        assert reading.delivered == [0, 1, 2, 3]
        reading.fetch(5)  # dropped while the flow was stopped
        await reading.hand_on(reading.fetch(2))
        assert reading.delivered == [0, 1, 2, 3]
        assert reading.consumer._new_offset(TILES) == 4
        assert reading.back == [0, 4]
        await reading.read_on()
        assert reading.delivered == list(range(20))

    asyncio.run(main())


def test_records_that_were_fetched_before_going_back_are_no_proof_that_the_log_has_a_hole() -> None:
    async def main() -> None:
        reading = Reading(list(range(20)), committed=0)
        await reading.read_on()
        reading.delivered.clear()
        reading.consumer._next[TILES] = 10
        stale = [15, 16]
        await reading.hand_on(stale)
        await reading.hand_on(stale)
        assert reading.delivered == []
        await reading.read_on()
        assert reading.delivered == list(range(10, 20))

    asyncio.run(main())


def test_offsets_that_the_log_itself_lacks_are_passed() -> None:
    async def main() -> None:
        reading = Reading([0, 1, 5, 6], committed=0)  # the mark of a transaction, or what retention took
        for _ in range(3):
            await reading.read_on()
        assert reading.delivered == [0, 1, 5, 6]
        assert reading.consumer._new_offset(TILES) == 7

    asyncio.run(main())


def test_a_broker_that_is_away_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        reading = Reading(list(range(4)), committed=2)
        reading.refuse = True
        await reading.hand_on([0])
        assert "could not go back" in caplog.text
        assert reading.back == [2]
        await reading.read_on()
        assert reading.delivered == [2, 3]

    asyncio.run(main())


def test_what_was_dropped_of_a_quiet_partition_that_has_no_commit_is_fetched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async def nothing_committed(_self: Any) -> None:
            return None

        monkeypatch.setattr(Original, "perform_seek", nothing_committed)
        reading = Reading([0, 1, 2], committed=0)
        reading.consumer._gone_back = False
        reading.consumer._committed_offset = {}
        await reading.hand_on(reading.fetch())  # too early: dropped, and nothing more ever comes
        await reading.consumer.perform_seek()
        await reading.hand_on([])
        await reading.read_on()
        assert reading.delivered == [0, 1, 2]

    asyncio.run(main())


def test_reading_goes_back_on_the_thread_that_fetches_which_knows_what_was_asked_for_by_then() -> None:
    there = asyncio.new_event_loop()
    thread = threading.Thread(target=there.run_forever)
    thread.start()
    consumer = Reading(list(range(8)), committed=0).consumer
    del consumer.__dict__["_asked"]
    at: list[tuple[int | None, int]] = []
    real = SimpleNamespace(seek=lambda _tp, offset: at.append((threading.current_thread().ident, offset)))
    consumer._thread = SimpleNamespace(thread_loop=there, _ensure_consumer=lambda: real)

    async def main() -> None:
        there.call_soon_threadsafe(time.sleep, 0.2)  # a fetch that has not given up the thread yet
        going_back = asyncio.ensure_future(consumer.seek(TILES, 5))
        await asyncio.sleep(0.05)
        consumer._fetches += 1  # asked for meanwhile
        await going_back

    try:
        asyncio.run(main())
    finally:
        there.call_soon_threadsafe(there.stop)
        thread.join(timeout=5)
        there.close()
    assert at == [(thread.ident, 5)]
    assert consumer._sought == {TILES: (5, 1)}


def test_records_go_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def init(self: Any, *_args: Any, **_options: Any) -> None:
        self.callback = "the stream's"
        made.append(self)

    monkeypatch.setattr(Unmended, "__init__", init)
    consumer: Any = Consumer()
    assert consumer.callback == consumer._in_order
    assert consumer._deliver == "the stream's"


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["on", "drop", "part", "stale", "assign"]), max_size=30), st.sets(st.integers(0, 39)))
def test_whatever_is_dropped_each_record_is_delivered_once_and_in_order(steps: list[str], lacking: set[int]) -> None:
    async def main() -> None:
        log = [offset for offset in range(40) if offset not in lacking]
        reading = Reading(log, committed=0)
        kept: list[int] = []
        since = 0  # where the present assignment began to deliver
        for step in steps:
            found = reading.fetch()
            match step:
                case "on":
                    await reading.hand_on(found)
                case "drop":
                    kept = found
                case "part":
                    await reading.hand_on(found[1:])
                case "stale":
                    await reading.hand_on(kept)
                case "assign":
                    reading.committed = max(reading.committed, reading.consumer._new_offset(TILES) or 0)
                    reading.consumer._forget()
                    reading.consumer._gone_back = True
                    since = len(reading.delivered)
            done = reading.consumer._new_offset(TILES) or 0
            assert all(offset in reading.delivered for offset in log if offset < done)
        for _ in range(80):
            await reading.read_on()
            if reading.delivered[since:] and reading.delivered[-1] == max(log, default=0):
                break
            reading.position = max(0, reading.position - 1)  # a new record comes
        now = reading.delivered[since:]
        assert now == sorted(set(now))
        assert set(reading.delivered) == set(log)

    asyncio.run(main())


def test_where_a_partition_stands_is_known_without_asking_or_not_at_all() -> None:
    consumer = Reading([], committed=0).consumer

    def fetches(end: int | None, heard_ms: int | None) -> None:
        fetching = SimpleNamespace(last_poll_timestamp=lambda _tp: heard_ms)
        consumer._thread = SimpleNamespace(highwater=lambda _tp: end, _ensure_consumer=lambda: fetching)

    fetches(None, None)
    assert consumer.standing(TILES) is None, "the broker has told nothing"
    fetches(9, 12_500)
    assert consumer.standing(TILES) == Standing(next=0, end=9, heard_s=12.5, since_s=None)
    consumer._next[TILES], consumer.read_at[TILES] = 4, 11.0
    assert consumer.standing(TILES) == Standing(next=4, end=9, heard_s=12.5, since_s=11.0)

    async def told(_question: Any) -> dict[Any, int]:
        return {TILES: 2}

    consumer._asked = told
    assert asyncio.run(consumer.firsts(TILES.topic, [TILES.partition])) == {TILES.partition: 2}
    assert consumer.standing(TILES) == Standing(next=4, end=9, heard_s=12.5, since_s=11.0, first=2)

    def given_up(_tp: Any) -> int:
        raise AssertionError("Partition is not assigned")

    consumer._thread = SimpleNamespace(highwater=given_up)
    assert consumer.standing(TILES) is None
