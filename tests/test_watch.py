"""A worker whose consumer alone gets no answer from the broker ends; one whose broker is away for all waits."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from streamproc import watch
from streamproc.agents.stall import TP
from streamproc.errors import BrokerError
from streamproc.settings import Settings, load_settings
from streamproc.vitals import Vitals

STALL_S = 5.0


class Deaf:
    """A consumer that gets no answers."""

    def __init__(self) -> None:
        self.asked = 0

    def assignment(self) -> set[Any]:
        return {TP("streamproc.tiles", 0)}

    def finished(self, _tp: Any) -> int:
        return 0

    async def firsts(self, _topic: str, _numbers: list[int]) -> dict[int, int]:
        self.asked += 1
        raise BrokerError("the broker did not answer the consumer (not in time)")


async def _watched(consumer: Deaf, settings: Settings, *, looks: int) -> list[BaseException]:
    """What makes the worker fail within so many looks."""
    failures: list[BaseException] = []
    wiring: Any = SimpleNamespace(app=SimpleNamespace(consumer=consumer), extractor=None, aggregation=None)
    task = asyncio.ensure_future(watch.watch_for_stalls(settings, wiring, partitions=8, fail=failures.append))
    while consumer.asked < looks and not task.done():
        await asyncio.sleep(0)
    task.cancel()
    return failures


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that each look advances by what it would have slept."""
    clock = SimpleNamespace(now_s=0.0)

    async def sleep(seconds: float) -> None:
        clock.now_s += seconds
        await real_sleep(0)

    async def to_thread(function: Any, *args: Any, **options: Any) -> Any:
        return function(*args, **options)

    real_sleep = asyncio.sleep
    fake = SimpleNamespace(sleep=sleep, to_thread=to_thread)
    monkeypatch.setattr(watch, "asyncio", fake)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: clock.now_s))


@pytest.mark.usefixtures("fast")
def test_a_consumer_without_answers_from_a_broker_that_answers_others_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings(stall_timeout_s=STALL_S, bootstrap="kafka-1:9092")
    monkeypatch.setattr(watch, "topics_changed", lambda _settings, partitions: None)
    consumer = Deaf()
    (failure,) = asyncio.run(_watched(consumer, settings, looks=100))
    assert consumer.asked == 12  # the first look begins the count, a look each tenth of the limit
    assert str(failure).startswith("the consumer has had no answer for 5 s although the broker at kafka-1:9092 answers")
    assert "\n" not in str(failure)


@pytest.mark.usefixtures("fast")
def test_a_broker_that_is_away_for_all_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_settings: Settings, partitions: int) -> None:
        assert partitions == 8
        raise BrokerError("away")

    monkeypatch.setattr(watch, "topics_changed", away)
    assert asyncio.run(_watched(Deaf(), load_settings(stall_timeout_s=STALL_S), looks=100)) == []


class Standing:
    """A consumer whose partition has ten records and no progress until told."""

    def __init__(self) -> None:
        self.done = 0
        self.asked = 0

    def assignment(self) -> set[Any]:
        return {TP("streamproc.tiles", 3)}

    def finished(self, _tp: Any) -> int:
        return self.done

    async def firsts(self, _topic: str, _numbers: list[int]) -> dict[int, int]:
        self.asked += 1
        return {3: 0}

    async def ends(self, _topic: str, _numbers: list[int]) -> dict[int, int]:
        return {3: 10}


async def _noted(consumer: Any, settings: Settings, vitals: Vitals, *, looks: int) -> list[BaseException]:
    failures: list[BaseException] = []
    wiring: Any = SimpleNamespace(app=SimpleNamespace(consumer=consumer), extractor=None, aggregation=None)
    task = asyncio.ensure_future(
        watch.watch_for_stalls(settings, wiring, partitions=8, fail=failures.append, vitals=vitals)
    )
    while consumer.asked < looks and not task.done():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    return failures


@pytest.mark.usefixtures("fast")
def test_a_stall_is_told_before_the_worker_ends_by_it_and_forgotten_when_it_goes_on() -> None:
    settings, consumer, vitals = load_settings(stall_timeout_s=60), Standing(), Vitals("worker-all")
    assert asyncio.run(_noted(consumer, settings, vitals, looks=2)) == []
    assert vitals.facts().troubles == ()

    class Going(Standing):
        def finished(self, _tp: Any) -> int:
            return self.asked

    vitals.trouble("progress", "stalled before")
    assert asyncio.run(_noted(Going(), settings, vitals, looks=6)) == []
    assert vitals.facts().troubles == ()
    assert asyncio.run(_noted(Standing(), settings, vitals, looks=7)) == []
    (slow,) = vitals.facts().troubles
    assert slow.what.startswith("stalled: partition 3 of streamproc.tiles makes no progress although 10 records wait")
    assert not slow.fatal
    (failure,) = asyncio.run(_noted(Standing(), settings, vitals, looks=100))
    assert "made no progress for 60 s" in str(failure)
    assert [one.fatal for one in vitals.facts().troubles] == [True]


@pytest.mark.usefixtures("fast")
def test_a_consumer_that_alone_gets_no_answer_is_told_of_before_the_worker_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "topics_changed", lambda _settings, partitions: None)
    vitals = Vitals("worker-all")
    settings = load_settings(stall_timeout_s=60, bootstrap="kafka-1:9092")
    assert asyncio.run(_noted(Deaf(), settings, vitals, looks=6)) == []
    (deaf,) = vitals.facts().troubles
    assert deaf.what.startswith("the worker's consumer gets no answer although the broker at kafka-1:9092 answers")
    assert not deaf.fatal
    assert len(asyncio.run(_noted(Deaf(), settings, vitals, looks=100))) == 1
    assert [one.fatal for one in vitals.facts().troubles] == [True]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({}, None),
        ({7: "S", 8: "R", 9: "D"}, None),
        ({7: "S", 8: "T"}, "decoder process 8 is stopped: kill -CONT 8"),
        ({7: "Z"}, "decoder process 7 has died"),
        ({7: ""}, "decoder process 7 has died"),
    ],
)
def test_decoders_that_are_stopped_or_dead_are_told_of(states: dict[int, str], words: str | None) -> None:
    told = watch.decoders_trouble(states)
    assert told is None if words is None else told is not None and told.startswith(words)


def test_the_state_of_a_process_is_read() -> None:
    assert watch.state_of(os.getpid()) in {"R", "S"}
    assert watch.state_of(2**22 + 1) == ""
