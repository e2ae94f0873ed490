"""The viewer as one process: threads that read, the loop that serves, and an end within two seconds."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from streamproc.errors import BrokerError, UsageError
from streamproc.metrics import Metrics
from streamproc.operators.pipeline import Pipeline
from streamproc.reader import Record
from streamproc.settings import Settings
from streamproc.topics import Topics
from streamproc.view.access import Access
from streamproc.view.bounded import Desk, TooLong, one_line
from streamproc.view.follow import PROBE_S, Back, Follower, probe
from streamproc.view.intake import Intake
from streamproc.view.past import Past
from streamproc.view.server import Viewer, serve
from streamproc.view.shown import Picture, Shown, event_of, picture_of
from streamproc.view.state import CAMERAS_EVERY_S, State

log = logging.getLogger(__name__)

EVENTS_BACK: Final = Back(seconds=600, records=5000)
PICTURES_BACK: Final = Back(seconds=120, records=400)
_HOUR_S: Final = 3600.0
_END_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """How the viewer is served.

    Attributes:
        host: An address, or a name of one.
        port: 0: one that is free.
        token: None: whoever reaches it may look.
        pipeline: Whose edges can be drawn again on an event's pixels.
    """

    host: str
    port: int
    token: str | None
    local: bool
    pipeline: Pipeline


def run_viewer(
    settings: Settings,
    options: ViewOptions,
    *,
    metrics: Metrics,
    ready: Callable[[str, int], None],
    turned: Callable[[], None] = lambda: None,
) -> int | None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: Where the broker is.
        options: Where to listen.
        metrics: Of this process.
        ready: Told host and port once it listens.
        turned: Called twice a second as long as the event loop turns.

    Returns:
        Number of the signal that ended it.

    Raises:
        UsageError: The port is taken, or the address is not this machine's.
    """
    return asyncio.run(_Run(settings, options, metrics).serve(ready, turned))


class _Run:
    def __init__(self, settings: Settings, options: ViewOptions, metrics: Metrics) -> None:
        self._settings = settings
        self._options = options
        self._state = State(settings, metrics)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    async def serve(self, ready: Callable[[str, int], None], turned: Callable[[], None]) -> int | None:
        options, loop = self._options, asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()

        def end(number: int) -> None:
            if not ended.done():
                ended.set_result(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, int(number))
        past = Past(self._settings, place_of=self._state.place_of, pipeline=options.pipeline, stop=self._stop.is_set)
        access = Access(options.token, local=options.local, cookie=f"streamproc-view-{options.port}")
        viewer = Viewer(self._state, past, Desk(), access)
        try:
            runner, port = await serve(viewer.application(), host=options.host, port=options.port)
        except (OSError, OverflowError) as error:
            raise UsageError(_cannot_listen(options.host, options.port, error)) from None
        ticker = asyncio.create_task(self._tick(turned))
        self._start_reading(past, loop)
        ready(options.host, port)
        try:
            return await ended
        finally:
            self._stop.set()
            ticker.cancel()
            await runner.cleanup()
            deadline_s = time.monotonic() + _END_S
            while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline_s:
                await asyncio.sleep(0.02)

    async def _tick(self, turned: Callable[[], None]) -> None:
        number = 0
        while True:
            turned()
            await asyncio.sleep(CAMERAS_EVERY_S)
            number += 1
            self._state.tick(number)

    def _start_reading(self, past: Past, loop: asyncio.AbstractEventLoop) -> None:
        topics, state, stop = Topics(self._settings.prefix), self._state, self._stop
        events = self._intake(loop, state.event)
        pictures = self._intake(loop, state.picture)
        self._start("view-probe", lambda: probe(self._settings, (topics.events, topics.edges), state.pulse, stop=stop))
        self._start("view-hour", lambda: self._look_back(past, loop))

        def take_event(event: Shown, record: Record) -> None:
            events.put((event, _bare(record)), 2 * len(record.value))

        def take_picture(picture: Picture, record: Record) -> None:
            pictures.put((picture, _bare(record)), len(picture.message))

        followers: tuple[Follower[Any], ...] = (
            self._follower(topics.events, "events", EVENTS_BACK, event_of, take_event),
            self._follower(topics.edges, "edges", PICTURES_BACK, picture_of, take_picture),
        )
        for follower in followers:
            self._start(f"view-{follower.topic}", follower.run)

    def _follower(
        self, topic: str, kind: str, back: Back, read: Callable[[Record], Any], take: Callable[[Any, Record], None]
    ) -> Follower[Any]:
        metrics = self._state.metrics
        return Follower(
            settings=self._settings,
            topic=topic,
            back=back,
            pulse=self._state.pulse,
            read=read,
            take=take,
            passed=metrics.viewer_foreign.labels(kind).inc,
            missed=metrics.viewer_missed.labels(kind).inc,
            stop=self._stop,
        )

    def _intake(
        self, loop: asyncio.AbstractEventLoop, take: Callable[[Any, Record], None]
    ) -> Intake[tuple[Any, Record]]:
        def drain() -> None:
            for thing, record in intake.drain():
                take(thing, record)

        def ready() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(drain)

        intake: Intake[tuple[Any, Record]] = Intake(ready, stop=self._stop.is_set)
        self._state.intakes.append(intake)
        return intake

    def _look_back(self, past: Past, loop: asyncio.AbstractEventLoop) -> None:
        """Learn of the last hour: when each camera was blind, and when its frames came."""
        while not self._stop.wait(PROBE_S / 4):
            if not self._state.broker()["ok"]:
                continue
            try:
                for event in past.last_hour(seconds=_HOUR_S):
                    loop.call_soon_threadsafe(self._state.cameras.note, event, self._state.now_ms())
            except TooLong as error:
                log.info("blindness of the last hour is not known whole: %s", one_line(error))
            except (BrokerError, RuntimeError):  # gone again; or the loop has ended
                continue
            return

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _bare(record: Record) -> Record:
    """Where a record stands; what it held is not needed any more."""
    return replace(record, key=b"", value=b"", headers=[])


def _cannot_listen(host: str, port: int, error: OSError | OverflowError) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or number == errno.EADDRNOTAVAIL:
        return f"--host {host}: this machine has no such address"
    why = "another program listens there" if number == errno.EADDRINUSE else str(error)
    return f"cannot listen on {host}:{port}: {why}; choose another port with --port"
