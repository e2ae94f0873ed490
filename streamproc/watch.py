"""What a worker asks the broker now and again: whether it makes progress, and how much lies before its tiles."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from streamproc.agents.progress import Progress
from streamproc.agents.stall import TP, StallWatch, Standing
from streamproc.app import Wiring
from streamproc.errors import BrokerError, StreamprocError
from streamproc.provision import GroupOffsets
from streamproc.settings import Settings
from streamproc.topics import Topics

log = logging.getLogger(__name__)

_LOOKS_IN_STALL = 10
_FOLLOW_S = 1.0


async def watch_for_stalls(settings: Settings, wiring: Wiring, *, fail: Callable[[BaseException], None]) -> None:
    """End the worker when a partition stands still although the broker answers and has records for it."""
    topics = Topics(settings.prefix)
    watch = StallWatch(
        {
            topics.tiles: settings.stall_timeout_s,
            topics.features: settings.stall_timeout_s + settings.frame_deadline_s,  # open frames hold commits back
        }
    )
    offsets = GroupOffsets(settings)
    consumer: Any = wiring.app.consumer  # Faust's interface has no committed offsets
    while True:
        await asyncio.sleep(settings.stall_timeout_s / _LOOKS_IN_STALL)
        finished: dict[TP, int | None] = {tp: consumer.finished(tp) for tp in consumer.assignment()}
        try:
            bounds = await asyncio.to_thread(_bounds, offsets, tuple(finished))
        except BrokerError as error:
            log.warning("cannot see whether there is progress: %s", error)
            watch.forgive(time.monotonic())
            continue
        standings = {tp: Standing(offset, *bounds[tp]) for tp, offset in finished.items()}
        if stalled := watch.look(standings, time.monotonic()):
            fail(_stall(stalled[0], standings[stalled[0]], limit_s=watch.limit_s[stalled[0].topic]))
            return


def _stall(tp: TP, standing: Standing, *, limit_s: float) -> StreamprocError:
    return StreamprocError(
        f"partition {tp.partition} of {tp.topic} made no progress for {limit_s:g} s although {standing.waiting} records"
        " wait (STREAMPROC_STALL_TIMEOUT_S); start the worker again, they will be read again"
    )


def _bounds(offsets: GroupOffsets, assigned: tuple[TP, ...]) -> dict[TP, tuple[int, int]]:
    """First offset kept and the one after the last, of each partition.

    Raises:
        BrokerError: The broker does not answer.
    """
    bounds: dict[TP, tuple[int, int]] = {}
    for topic in {tp.topic for tp in assigned}:
        numbers = [tp.partition for tp in assigned if tp.topic == topic]
        firsts, ends = offsets.firsts(topic, numbers), offsets.ends(topic, numbers)
        bounds |= {TP(topic, number): (firsts[number], ends[number]) for number in numbers}
    return bounds


async def follow_backlog(settings: Settings, wiring: Wiring, *, partitions: int) -> None:
    """Tell the aggregation up to which moment all published tiles have come through, so that no backlog expires."""
    aggregation = wiring.aggregation
    if aggregation is None:
        return
    topics, offsets = Topics(settings.prefix), GroupOffsets(settings)
    tiles, features = Progress(), Progress()
    consumer: Any = wiring.app.consumer
    look = partial(_look_at_tiles, offsets, topics, partitions, tiles)
    while True:
        await asyncio.sleep(_FOLLOW_S)
        try:
            ends = await asyncio.to_thread(look)
        except BrokerError as error:
            log.warning("cannot see what lies before the aggregator, no frame expires meanwhile: %s", error)
            continue
        own = [tp for tp in consumer.assignment() if tp.topic == topics.features]
        done = {tp.partition: max(aggregation.taken.get(tp.partition, 0), consumer.finished(tp) or 0) for tp in own}
        features.observe(tiles.reached_s, done=done, ends={number: ends[number] for number in done})
        aggregation.worked_off_until_s = features.reached_s


def _look_at_tiles(offsets: GroupOffsets, topics: Topics, partitions: int, tiles: Progress) -> dict[int, int]:
    """See how far tiles are extracted; returns where the features ended after that."""
    numbers = range(partitions)
    moment_s = time.monotonic()
    ends = offsets.ends(topics.tiles, numbers)
    tiles.observe(moment_s, done=offsets.finished(topics.tiles, numbers), ends=ends)
    return offsets.ends(topics.features, numbers)
