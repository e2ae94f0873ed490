"""A worker whose consumer alone gets no answer from the broker ends; one whose broker is away for all waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streamproc import watch
from streamproc.agents.stall import TP
from streamproc.errors import BrokerError
from streamproc.settings import Settings, load_settings

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
