"""What a worker looks at now and again: whether it makes progress, how much lies before its tiles, its decoders."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamproc.agents.progress import Progress
from streamproc.agents.stall import TP, Silence, StallWatch, Standing
from streamproc.app import Wiring
from streamproc.errors import BrokerError, StreamprocError
from streamproc.provision import topics_changed
from streamproc.settings import Settings
from streamproc.topics import Topics
from streamproc.vitals import Vitals

log = logging.getLogger(__name__)

_LOOKS_IN_STALL = 10
_TURN_S = 1.0
_EARLY = 3  # a stall is told after a third of the time after which the worker ends
_FOLLOW_S = 1.0
_TOPICS_S = 5.0


async def watch_for_stalls(
    settings: Settings,
    wiring: Wiring,
    *,
    partitions: int,
    fail: Callable[[BaseException], None],
    vitals: Vitals | None = None,
) -> None:
    """End the worker when a partition stands still although the broker answers and has records for it.

    Or when the consumer gets no answer although others do. Both are noted in the vitals some time before.
    """
    vitals = vitals or Vitals("worker")
    topics, limit_s = Topics(settings.prefix), settings.stall_timeout_s
    watch = StallWatch({topics.tiles: limit_s, topics.features: limit_s})
    early = StallWatch(dict.fromkeys(watch.limit_s, limit_s / _EARLY))
    hearing = _Hearing(settings, vitals)
    consumer: Any = wiring.app.consumer  # ours, but Faust's type
    while True:
        await asyncio.sleep(settings.stall_timeout_s / _LOOKS_IN_STALL)
        finished: dict[TP, int | None] = {tp: _finished(wiring, tp, topics) for tp in consumer.assignment()}
        try:
            bounds = await _bounds(consumer, tuple(finished))
        except BrokerError as error:
            log.warning("cannot see whether there is progress: %s", error, extra={"broker": settings.bootstrap})
            watch.forgive(time.monotonic())
            early.forgive(time.monotonic())
            if not await _answers_others(settings, partitions=partitions):
                hearing.hears()
            elif hearing.is_lost(time.monotonic()):
                fail(_deaf(settings))
                return
            continue
        hearing.hears()
        steps = wiring.extractor.handled if wiring.extractor is not None else 0
        standings = {tp: Standing(offset, *bounds[tp], steps=steps) for tp, offset in finished.items()}
        slow = early.look(standings, time.monotonic())
        stalled = watch.look(standings, time.monotonic())
        vitals.trouble("progress", _slow(slow, standings, limit_s) if slow else None, fatal=bool(stalled))
        if stalled:
            fail(_stall(stalled[0], standings[stalled[0]], limit_s=limit_s))
            return


class _Hearing:
    """Whether the worker's consumer gets answers from a broker that answers others."""

    def __init__(self, settings: Settings, vitals: Vitals) -> None:
        self._settings, self._vitals = settings, vitals
        self._silence = Silence(settings.stall_timeout_s)
        self._short = Silence(settings.stall_timeout_s / _EARLY)

    def hears(self) -> None:
        """It does, or nobody does."""
        self._silence.hears()
        self._short.hears()
        self._vitals.trouble("consumer", None)

    def is_lost(self, now_s: float) -> bool:
        """It does not; whether for too long."""
        self._vitals.trouble("consumer", _silence(self._settings) if self._short.lasts(now_s) else None)
        if not self._silence.lasts(now_s):
            return False
        self._vitals.trouble("consumer", _silence(self._settings), fatal=True)
        return True


def _slow(slow: list[TP], standings: Mapping[TP, Standing], limit_s: float) -> str:
    """What is told of partitions that stand still before the worker ends by it."""
    tp = slow[0]
    more = f" (and {len(slow) - 1} more)" if len(slow) > 1 else ""
    return (
        f"stalled: partition {tp.partition} of {tp.topic}{more} makes no progress although"
        f" {standings[tp].waiting} records wait: a step of the pipeline or a thread hangs; the worker ends itself after"
        f" {limit_s:g} s of it (STREAMPROC_STALL_TIMEOUT_S)"
    )


def _silence(settings: Settings) -> str:
    return (
        f"the worker's consumer gets no answer although the broker at {settings.bootstrap} answers others: the worker"
        f" ends itself after {settings.stall_timeout_s:g} s of it (STREAMPROC_STALL_TIMEOUT_S)"
    )


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
            # at once: without its topics the worker may have to be ended by force
            log.critical("%s", changed, extra={"broker": settings.bootstrap})
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
            log.warning(
                "cannot see what lies before the aggregator, no frame expires meanwhile: %s",
                error,
                extra={"topic": topics.tiles, "broker": settings.bootstrap},
            )
            continue
        own = [tp for tp in consumer.assignment() if tp.topic == topics.features]
        done = {tp.partition: max(_finished(wiring, tp, topics) or 0, firsts[tp.partition]) for tp in own}
        features.observe(tiles.reached_s, done=done, ends={number: ends[number] for number in done})
        aggregation.worked_off_until_s = features.reached_s


async def note_health(settings: Settings, wiring: Wiring, vitals: Vitals) -> None:
    """Note once a second that the loops turn, how many partitions are held, and how the decoders are."""
    consumer: Any = wiring.app.consumer

    def assigned(_app: Any, found: set[TP], **_kw: Any) -> None:
        vitals.holds(len(found))

    def revoked(_app: Any, _gone: set[TP], **_kw: Any) -> None:
        vitals.holds(None)

    app: Any = wiring.app  # the types of Faust's signals fit no function
    app.on_partitions_assigned.connect(assigned, weak=False)
    app.on_partitions_revoked.connect(revoked, weak=False)

    def turned(name: str) -> None:
        vitals.turn(name, limit_s=settings.stall_timeout_s)

    while True:
        turned("event loop")
        loop = getattr(consumer._thread, "thread_loop", None)
        if loop is not None:
            try:
                loop.call_soon_threadsafe(turned, "consumer's thread")
            except RuntimeError:  # it has ended, as it does when the worker stops
                vitals.forget("consumer's thread")
        if wiring.extractor is not None:
            states = {pid: state_of(pid) for pid in wiring.extractor.decoder_pids()}
            vitals.trouble("decoders", decoders_trouble(states))
        await asyncio.sleep(_TURN_S)


def decoders_trouble(states: Mapping[int, str]) -> str | None:
    """What is wrong with the decoder processes; None if nothing.

    Args:
        states: Of each by process id, as /proc tells it (proc_pid_stat(5), field 3); empty for one that is gone.
    """
    stopped = [pid for pid, state in states.items() if state in {"T", "t"}]
    gone = [pid for pid, state in states.items() if state in {"", "Z", "X"}]
    if stopped:
        return (
            f"decoder process {stopped[0]} is stopped: kill -CONT {stopped[0]}, or it is replaced when a tile has"
            " waited STREAMPROC_DECODE_TIMEOUT_S for it"
        )
    if gone:
        return f"decoder process {gone[0]} has died: the next tile starts another; the kernel's log may say why"
    return None


def state_of(pid: int) -> str:
    """The state of a process, one letter; empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]  # its name may hold anything, parentheses too
