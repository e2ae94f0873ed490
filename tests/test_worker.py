"""What a worker tells of itself, without a broker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from streamproc.errors import BrokerError
from streamproc.lag import Lag, Standing
from streamproc.metrics import Metrics
from streamproc.settings import load_settings
from streamproc.vitals import Vitals
from streamproc.worker import _lag, _Run


class Consumer:
    """Partitions and how far they are read."""

    def __init__(self, standings: dict[TP, Standing | None]) -> None:
        self._standings = standings

    def assignment(self) -> set[TP]:
        return set(self._standings)

    def standing(self, tp: TP) -> Standing | None:
        return self._standings[tp]


def standing(next_offset: int, end: int, since_s: float | None = None) -> Standing:
    return Standing(next=next_offset, end=end, heard_s=100.0, since_s=since_s)


def test_lag_is_told_in_records_and_in_seconds_of_the_partition_furthest_behind() -> None:
    tiles = [TP("tiles", number) for number in range(4)]
    consumer = Consumer(
        {
            tiles[0]: standing(10, 10, 50.0),
            tiles[1]: standing(12, 20, 97.0),
            tiles[2]: standing(3, 5, 91.5),
            tiles[3]: None,
            TP("features", 0): standing(7, 7, 99.0),
        }
    )
    assert _lag(consumer, Lag(), 100.0) == {"tiles": (10, 8.5, 0.0), "features": (0, 0.0, 0.0)}


def test_the_share_of_what_is_kept_is_that_of_the_partition_worst_off() -> None:
    consumer = Consumer(
        {
            TP("tiles", 0): replace(standing(90, 100, 97.0), first=0),
            TP("tiles", 1): replace(standing(40, 100, 97.0), first=20),
            TP("features", 0): standing(0, 100, 97.0),
        }
    )
    assert _lag(consumer, Lag(), 100.0) == {"tiles": (70, 3.0, 0.75), "features": (100, 3.0, 0.0)}


def test_a_partition_of_which_nothing_was_read_lags_from_when_it_was_found() -> None:
    consumer, ages = Consumer({TP("tiles", 0): standing(0, 3)}), Lag[TP]()
    assert _lag(consumer, ages, 100.0) == {"tiles": (3, 0.0, 0.0)}
    assert _lag(consumer, ages, 130.0) == {"tiles": (3, 30.0, 0.0)}


def test_a_topic_whose_end_nobody_has_told_is_there_all_the_same() -> None:
    assert _lag(Consumer({TP("tiles", 0): None}), Lag(), 100.0) == {"tiles": (0, 0.0, 0.0)}


def test_a_broker_that_goes_while_the_worker_starts_ends_it_with_one_line() -> None:
    async def start() -> None:
        raise KafkaConnectionError("Unable to bootstrap")

    async def begin() -> None:
        metrics = Metrics()
        settings = load_settings(bootstrap="kafka-1:9092")
        run = _Run(
            settings,
            metrics=metrics,
            vitals=Vitals("worker-all"),
            publisher=cast("Any", None),
            parent_pid=None,
            tracer=cast("Any", None),
        )
        wiring: Any = SimpleNamespace(app=SimpleNamespace(start=start))
        await run._started(wiring)

    with pytest.raises(BrokerError, match=r"kafka-1:9092 went away while the worker was starting.*start it again"):
        asyncio.run(begin())
