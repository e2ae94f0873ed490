"""What a worker tells of itself, without a broker."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from streamproc.errors import BrokerError
from streamproc.metrics import Metrics
from streamproc.settings import load_settings
from streamproc.vitals import Vitals
from streamproc.worker import _lag, _Run


class Consumer:
    """Positions as Faust's consumer has them: of the record read last, and one after the log's last."""

    def __init__(self, ends: dict[TP, int | None], read: dict[TP, int], read_at: dict[TP, float]) -> None:
        self._ends, self._read_offset, self.read_at = ends, read, read_at

    def assignment(self) -> set[TP]:
        return set(self._ends)

    def highwater(self, tp: TP) -> int | None:
        return self._ends[tp]


def lag(consumer: Consumer, now_s: float) -> dict[str, tuple[int, float]]:
    wiring: Any = SimpleNamespace(app=SimpleNamespace(consumer=consumer))
    return _lag(wiring, now_s)


def test_lag_is_told_in_records_and_in_seconds_of_the_partition_furthest_behind() -> None:
    tiles = [TP("tiles", number) for number in range(4)]
    consumer = Consumer(
        {tiles[0]: 10, tiles[1]: 20, tiles[2]: 5, tiles[3]: None, TP("features", 0): 7},
        {tiles[0]: 9, tiles[1]: 11, tiles[2]: 2, TP("features", 0): 6},
        {tiles[0]: 50.0, tiles[1]: 97.0, tiles[2]: 91.5, TP("features", 0): 99.0},
    )
    assert lag(consumer, 100.0) == {"tiles": (10, 8.5), "features": (0, 0.0)}


def test_a_partition_of_which_nothing_was_read_yet_counts_in_records_alone() -> None:
    tiles = TP("tiles", 0)
    assert lag(Consumer({tiles: 3}, {}, {}), 100.0) == {"tiles": (3, 0.0)}
    assert lag(Consumer({tiles: 3}, {tiles: 0}, {tiles: 103.0}), 100.0) == {"tiles": (2, 0.0)}  # a clock ahead of ours


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
