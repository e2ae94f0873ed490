"""One worker process: start, run until told to stop or something breaks for good, drain, stop within bounds."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import uvloop
from aiokafka.errors import KafkaError

from streamproc.agents.stall import TP
from streamproc.app import Role, Wiring, create_app, end_events, finish, watched
from streamproc.errors import BrokerError, StreamprocError
from streamproc.exporter import exported
from streamproc.lag import Lag, most_of_kept
from streamproc.memory import keep_freed_memory
from streamproc.metrics import Metrics
from streamproc.operators.pipeline import Pipeline
from streamproc.provision import require_topics
from streamproc.publisher import Publisher
from streamproc.settings import Settings
from streamproc.surroundings import Place, surroundings
from streamproc.topics import Topics
from streamproc.tracing import Tracer, traced
from streamproc.vitals import Vitals, Wanted
from streamproc.watch import follow_backlog, note_health, watch_for_stalls, watch_topics

log = logging.getLogger(__name__)

_FORCED_EXIT = 70
_OBSERVE_S = 1.0


def run_worker(
    settings: Settings,
    *,
    role: Role,
    pipeline: Pipeline,
    parent_pid: int | None = None,
    places: Mapping[Place, Path | None] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        settings: All of them.
        role: Which agents run here.
        pipeline: For extract agents.
        parent_pid: Stop when this process is gone (workers started by another command).
        places: Whose disk is watched on the machine's behalf.

    Raises:
        BrokerError: No broker, or its topics are not as they must be.
        StreamprocError: A result could not be delivered; its input stays unacknowledged.
        SettingError: The settings ask for traces, and OpenTelemetry is not installed.
    """
    keep_freed_memory()
    cv2.setNumThreads(1)  # one thread of ours for each core; OpenCV's own would fight them
    partitions = require_topics(settings)
    # Measured: worker CPU for a tile 3.5 ms instead of 4.0; Faust's consumer thread takes its loop from the policy too.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    vitals = Vitals(f"worker-{role}", wanted=Wanted(Topics(settings.prefix).names, partitions))
    vitals.joins(Topics(settings.prefix).group)
    with (
        exported(settings, vitals) as metrics,
        surroundings(metrics, settings, places=places),
        traced(settings, metrics, part="worker") as tracer,
    ):
        publisher = Publisher(settings, client_id=f"streamproc-worker-{role}").start()
        run = _Run(settings, metrics=metrics, vitals=vitals, publisher=publisher, parent_pid=parent_pid, tracer=tracer)
        try:
            asyncio.run(run.main(role=role, pipeline=pipeline, partitions=partitions))
        finally:
            publisher.close(timeout_s=2)


class _Run:
    """The life of one worker on its event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics,
        vitals: Vitals,
        publisher: Publisher,
        parent_pid: int | None,
        tracer: Tracer | None,
    ) -> None:
        self._settings = settings
        self._tracer = tracer
        self._metrics = metrics
        self._vitals = vitals
        self._publisher = publisher
        self._parent_pid = parent_pid
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None

    async def main(self, *, role: Role, pipeline: Pipeline, partitions: int) -> None:
        wiring = create_app(
            self._settings,
            role=role,
            pipeline=pipeline,
            partitions=partitions,
            metrics=self._metrics,
            publisher=self._publisher,
            crash=self._fail,
            tracer=self._tracer,
        )
        self._catch_signals()
        app = wiring.app
        app.finalize()
        watchers = self._watch(wiring, partitions=partitions)
        health = watched(asyncio.create_task(note_health(self._settings, wiring, self._vitals)), self._fail)
        log.info(
            "worker starts: role %s, pipeline %s, group %s",
            role,
            pipeline.name,
            app.conf.id,
            extra={"pipeline": pipeline.name, "group": app.conf.id, "partitions": partitions},
        )
        try:
            if await self._started(wiring):
                await self._until_stopped(wiring)
        finally:
            for watcher in watchers:
                watcher.cancel()
            self._vitals.stop()
            await self._leave(wiring)
            health.cancel()
        if self._failure is not None:
            raise StreamprocError(f"worker stopped: {self._failure}") from self._failure

    def _watch(self, wiring: Wiring, *, partitions: int) -> list[asyncio.Task[None]]:
        """Begin what goes on beside the agents until the worker stops."""
        return [
            watched(asyncio.create_task(one), self._fail)
            for one in (
                self._observe(wiring),
                watch_for_stalls(self._settings, wiring, partitions=partitions, fail=self._fail, vitals=self._vitals),
                follow_backlog(self._settings, wiring, partitions=partitions),
                watch_topics(self._settings, partitions=partitions, fail=self._fail),
            )
        ]

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._stop.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number)

    def _told_to_stop(self, number: int) -> None:
        self._vitals.stop()
        log.info("told to stop by %s", signal.Signals(number).name, extra={"signal": signal.Signals(number).name})
        self._stop.set()

    async def _started(self, wiring: Wiring) -> bool:
        """Join the group; False if told to stop before that (a broker that is away lets a start wait for ever)."""
        starting, told = asyncio.ensure_future(wiring.app.start()), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if starting.done():
            try:
                await starting
            except KafkaError as error:
                raise BrokerError(
                    f"the broker at {self._settings.bootstrap} went away while the worker was starting ({error}): start"
                    " it again when the broker answers"
                ) from None
            return True
        starting.cancel()
        return False

    async def _until_stopped(self, wiring: Wiring) -> None:
        told = asyncio.ensure_future(self._stop.wait())
        ended = asyncio.ensure_future(wiring.app.wait_until_stopped())
        await asyncio.wait({told, ended}, return_when=asyncio.FIRST_COMPLETED)
        for future in (told, ended):
            future.cancel()
        if wiring.app.crash_reason is not None:
            self._failure = self._failure or wiring.app.crash_reason

    async def _leave(self, wiring: Wiring) -> None:
        """Drain what is in flight, commit, leave the group; a stop that hangs ends in a forced exit."""
        started = time.monotonic()
        alarm = threading.Timer(self._settings.shutdown_s, _exit_now)
        alarm.daemon = True
        alarm.start()
        app = wiring.app
        if self._failure is None:
            await finish(app, wiring.windows, timeout_s=self._settings.shutdown_s / 2)
            consumer: Any = app.consumer  # ours, but Faust's type
            await consumer.commit_all()
        await end_events(wiring)
        await app.stop()
        for pool in wiring.pools:
            pool.shutdown(wait=False, cancel_futures=True)
        if any(window.busy for window in wiring.windows):
            log.warning("work is still under way in a thread; if it does not end the process is ended")
            return  # the interpreter waits for its threads: leave the alarm set
        if wiring.extractor is not None:
            wiring.extractor.close()
        if wiring.events is not None:
            wiring.events.close(timeout_s=0)
        alarm.cancel()
        took_s = time.monotonic() - started
        log.info("worker stopped in %.1f s", took_s, extra={"seconds": round(took_s, 3)})

    async def _observe(self, wiring: Wiring) -> None:
        """Keep gauges current, and notice a parent that is gone."""
        known: dict[str, tuple[int, float, float]] = {}  # a topic of which all partitions have left lags no more
        ages = Lag[TP]()
        _show_limits(self._metrics, self._settings, wiring)
        while True:
            await asyncio.sleep(_OBSERVE_S)
            lag = _lag(wiring.app.consumer, ages, time.time())
            known.update(dict.fromkeys(lag, (0, 0.0, 0.0)))
            for topic, (records, seconds, of_kept) in {**known, **lag}.items():
                self._metrics.lag.labels(topic, "worker").set(records)
                self._metrics.lag_seconds.labels(topic, "worker").set(seconds)
                self._metrics.lag_of_kept.labels(topic, "worker").set(of_kept)
            for buffer, waiting in _buffers(wiring).items():
                self._metrics.buffer_bytes.labels(buffer).set(waiting)
            if self._parent_pid is not None and os.getppid() != self._parent_pid:
                log.warning(
                    "the process that started this worker is gone, stopping", extra={"parent_pid": self._parent_pid}
                )
                self._stop.set()


def _lag(consumer: Any, ages: Lag[TP], now_s: float) -> dict[str, tuple[int, float, float]]:
    """Records not yet read, by topic, the age of the oldest of them, and their share of those kept.

    As far as this worker's partitions go. Age and share are those of the partition that is worst off.
    """
    assigned: set[TP] = consumer.assignment()
    standings = {tp: standing for tp in assigned if (standing := consumer.standing(tp)) is not None}
    late_s = ages.look(standings, now_s)
    lag = {tp.topic: (0, 0.0, 0.0) for tp in assigned}
    for topic in {tp.topic for tp in standings}:
        of_topic = {tp: standing for tp, standing in standings.items() if tp.topic == topic}
        records = sum(one.unread for one in of_topic.values())
        lag[topic] = records, max(late_s[tp] for tp in of_topic), most_of_kept(of_topic.values())
    return lag


def _buffers(wiring: Wiring) -> dict[str, int]:
    """Bytes that wait in each buffer of a worker."""
    held = {
        "producer": wiring.publisher.queued_bytes,
        "streams": sum(window.waiting_bytes() for window in wiring.windows),
    }
    if wiring.events is not None:
        held["events"] = wiring.events.queued_bytes
    if wiring.extractor is not None:
        held["references"] = wiring.extractor.held_bytes
    return held


def _show_limits(metrics: Metrics, settings: Settings, wiring: Wiring) -> None:
    """The bounds of these buffers."""
    metrics.buffer_limit.labels("producer").set(settings.producer_queue_bytes)
    metrics.buffer_limit.labels("streams").set(
        settings.buffer_bytes * ((wiring.extractor is not None) + (wiring.aggregation is not None))
    )
    if wiring.events is not None:
        metrics.buffer_limit.labels("events").set(settings.producer_queue_bytes)
    if wiring.extractor is not None:
        metrics.buffer_limit.labels("references").set(2 * settings.references_bytes)


def _exit_now() -> None:
    log.critical("the worker did not stop in time and is ended; unacknowledged records will be read again")
    logging.shutdown()
    os._exit(_FORCED_EXIT)
