"""What a worker asks the broker now and again: whether it makes progress, and how much lies before its tiles."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from streamproc.agents.progress import Progress
from streamproc.agents.stall import TP, Silence, StallWatch, Standing
from streamproc.app import Wiring
from streamproc.errors import BrokerError, StreamprocError
from streamproc.provision import topics_changed
from streamproc.settings import Settings
from streamproc.topics import Topics

log = logging.getLogger(__name__)

_LOOKS_IN_STALL = 10
_FOLLOW_S = 1.0
_TOPICS_S = 5.0


async def watch_for_stalls(
    settings: Settings, wiring: Wiring, *, partitions: int, fail: Callable[[BaseException], None]
) -> None:
    """End the worker when a partition stands still although the broker answers and has records for it.

    Or when the consumer gets no answer although others do.
    """
    topics = Topics(settings.prefix)
    watch = StallWatch(
        {
            topics.tiles: settings.stall_timeout_s,
            topics.features: settings.stall_timeout_s,
        }
    )
    silence = Silence(settings.stall_timeout_s)
    consumer: Any = wiring.app.consumer  # ours, but Faust's type
    while True:
        await asyncio.sleep(settings.stall_timeout_s / _LOOKS_IN_STALL)
        finished: dict[TP, int | None] = {tp: _finished(wiring, tp, topics) for tp in consumer.assignment()}
        try:
            bounds = await _bounds(consumer, tuple(finished))
        except BrokerError as error:
            log.warning("cannot see whether there is progress: %s", error)
            watch.forgive(time.monotonic())
            if not await _answers_others(settings, partitions=partitions):
                silence.hears()
            elif silence.lasts(time.monotonic()):
                fail(_deaf(settings))
                return
            continue
        silence.hears()
        steps = wiring.extractor.handled if wiring.extractor is not None else 0
        standings = {tp: Standing(offset, *bounds[tp], steps=steps) for tp, offset in finished.items()}
        if stalled := watch.look(standings, time.monotonic()):
            fail(_stall(stalled[0], standings[stalled[0]], limit_s=watch.limit_s[stalled[0].topic]))
            return


def _finished(wiring: Wiring, tp: TP, topics: Topics) -> int | None:
    """How far a partition is worked off; commits of features are held back by open frames, so what is taken counts."""
    consumer: Any = wiring.app.consumer
    committed: int | None = consumer.finished(tp)
    if tp.topic != topics.features or wiring.aggregation is None:
        return committed
    taken = wiring.aggregation.taken.get(tp.partition)
    return committed if taken is None else max(taken, committed or 0)


def _stall(tp: TP, standing: Standing, *, limit_s: float) -> StreamprocError:
    return StreamprocError(
        f"partition {tp.partition} of {tp.topic} made no progress for {limit_s:g} s although {standing.waiting} records"
        " wait (STREAMPROC_STALL_TIMEOUT_S); start the worker again, they will be read again"
    )


async def _answers_others(settings: Settings, *, partitions: int) -> bool:
    try:
        await asyncio.to_thread(topics_changed, settings, partitions=partitions)
    except BrokerError:
        return False
    return True


def _deaf(settings: Settings) -> StreamprocError:
    return StreamprocError(
        f"the consumer has had no answer for {settings.stall_timeout_s:g} s although the broker at"
        f" {settings.bootstrap} answers others (STREAMPROC_STALL_TIMEOUT_S); start the worker again, records that are"
        " not finished will be read again"
    )


async def _bounds(consumer: Any, assigned: tuple[TP, ...]) -> dict[TP, tuple[int, int]]:
    """First offset kept and the one after the last, of each partition.

    Raises:
        BrokerError: The broker does not answer.
    """
    bounds: dict[TP, tuple[int, int]] = {}
    for topic in {tp.topic for tp in assigned}:
        numbers = [tp.partition for tp in assigned if tp.topic == topic]
        firsts, ends = await consumer.firsts(topic, numbers), await consumer.ends(topic, numbers)
        bounds |= {TP(topic, number): (firsts[number], ends[number]) for number in numbers}
    return bounds


async def watch_topics(settings: Settings, *, partitions: int, fail: Callable[[BaseException], None]) -> None:
    """End the worker when a topic is gone or has other partitions.

    It must be seen twice: a broker that has just started may not know all topics yet.
    """
    before: str | None = None
    while True:
        await asyncio.sleep(_TOPICS_S)
        try:
            changed = await asyncio.to_thread(topics_changed, settings, partitions=partitions)
        except BrokerError:
            continue  # told by the others here
        if changed is not None and changed == before:
            log.critical("%s", changed)  # at once: without its topics the worker may have to be ended by force
            fail(BrokerError(changed))
            return
        before = changed


async def follow_backlog(settings: Settings, wiring: Wiring, *, partitions: int) -> None:
    """Tell the aggregation up to which moment all published tiles have come through, so that no backlog expires."""
    aggregation = wiring.aggregation
    if aggregation is None:
        return
    topics, numbers = Topics(settings.prefix), range(partitions)
    tiles, features = Progress(), Progress()
    consumer: Any = wiring.app.consumer
    while True:
        await asyncio.sleep(_FOLLOW_S)
        try:
            moment_s = time.monotonic()
            ends = await consumer.ends(topics.tiles, numbers)
            done = await consumer.committed_by_group(topics.tiles, numbers)
            tiles.observe(moment_s, done=done, ends=ends)
            ends, firsts = (
                await consumer.ends(topics.features, numbers),
                await consumer.firsts(topics.features, numbers),
            )
        except BrokerError as error:
            log.warning("cannot see what lies before the aggregator, no frame expires meanwhile: %s", error)
            continue
        own = [tp for tp in consumer.assignment() if tp.topic == topics.features]
        done = {tp.partition: max(_finished(wiring, tp, topics) or 0, firsts[tp.partition]) for tp in own}
        features.observe(tiles.reached_s, done=done, ends={number: ends[number] for number in done})
        aggregation.worked_off_until_s = features.reached_s
