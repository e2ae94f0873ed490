"""Batches of records on their way through one executor hop, out through the publisher, and acknowledged in order.

One `await` for each tile costs about 4 ms of event loop; so whatever has arrived goes to the pool at once, several
batches are in flight, and each is acknowledged after the delivery reports of all its results, in the order in which
its records were read. Faust commits past an unfinished record when acks are out of order (faust-streaming #606).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from faust import Stream, Topic
from faust.types import EventT, Message, StreamT

from streamproc.errors import DeliveryError, LeaseError
from streamproc.publisher import OnDelivery
from streamproc.wire import RawHeaders

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tenure:
    """Which assignment of partitions this worker holds, numbered by itself; changed and read on the loop.

    Kafka numbers them too, but starts anew when a group was empty and removed.

    Attributes:
        number: Of the present one; higher than all before.
    """

    number: int = 0
    _revoked_generation: int | None = None

    def revoke(self, generation: int) -> int:
        """The assignment of Kafka's `generation` is over; returns its own number."""
        self._revoked_generation = generation
        self.number += 1
        return self.number - 1

    def assign(self) -> None:
        """A new assignment is in force."""
        self._revoked_generation = None

    def admits(self, message: Message) -> bool:
        """Whether a record belongs to the present assignment, and is not left over from the one before."""
        return self._revoked_generation is None or message.generation_id != self._revoked_generation


class Sender(Protocol):
    """What is needed of a `publisher.Publisher`."""

    def send(
        self,
        *,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: RawHeaders,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Queue one record."""


Delivered: TypeAlias = Callable[[float], None]
"""Told of each fenced record: how long it took from being sent to the broker's word, in seconds."""


def _untold(_seconds: float) -> None:
    """Nobody asks."""


class Batch:
    """Records handled together, and the account of what was sent for them.

    Done when the work has returned and every record sent through it has its delivery report. Thread-safe where it
    must be: the work runs in the pool, reports come on the publisher's thread, waiting happens on the loop.

    Attributes:
        tenure: Number of the assignment the records were read in.
        floors: Set by work that holds records back: lowest offset still needed, by partition.
    """

    def __init__(
        self,
        events: Sequence[EventT[Any]],
        *,
        tenure: int,
        publisher: Sender,
        fenced: Sender | None = None,
        delivered: Delivered = _untold,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.events = events
        self.tenure = tenure
        self.floors: dict[int, int | None] = {}
        self._publisher = publisher
        self._fenced = fenced or publisher
        self._delivered = delivered
        self._loop = loop
        self._lock = threading.Lock()
        self._unsettled = 1  # the work itself
        self._error: BaseException | None = None
        self._done: asyncio.Future[None] = loop.create_future()

    def facts(self) -> dict[str, object]:
        """The first record, if there is one, and how many there are, as facts of a log line."""
        told: dict[str, object] = {"records": len(self.events)}
        if self.events:
            first = self.events[0].message
            told |= {"topic": first.topic, "partition": first.partition, "offset": first.offset}
        return told

    def send(
        self,
        *,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: RawHeaders,
        fenced: bool = False,
    ) -> None:
        """Send one result; the batch is not done before it is delivered.

        A `fenced` one may only be delivered while the partition is certainly this worker's; its failure is a
        LeaseError.
        """
        sent_s = time.monotonic()

        def report(error: Exception | None, _offset: int | None) -> None:
            if fenced and error is None:
                self._delivered(time.monotonic() - sent_s)
            self._settle(LeaseError(str(error)) if fenced and error is not None else error)

        with self._lock:
            self._unsettled += 1
        publisher = self._fenced if fenced else self._publisher
        try:
            publisher.send(topic=topic, partition=partition, key=key, value=value, headers=headers, on_delivery=report)
        except BaseException as error:
            self._settle(None)
            if fenced and isinstance(error, DeliveryError):
                raise LeaseError(str(error)) from None
            raise

    def run(self, work: Callable[[Batch], None]) -> None:
        """Do the work, on a pool thread; whatever it raises is kept for `wait`."""
        error: BaseException | None = None
        try:
            work(self)
        except BaseException as raised:  # noqa: BLE001 - carried to the loop, which ends the worker
            error = raised
        self._settle(error)

    async def wait(self) -> None:
        """Wait until all is delivered.

        Raises:
            DeliveryError: A result was not delivered: the records must not be acknowledged.
        """
        await self._done

    def _settle(self, error: BaseException | None) -> None:
        with self._lock:
            self._unsettled -= 1
            self._error = self._error or error
            last = self._unsettled == 0
        if last and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self._done.done():
            return
        if self._error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(self._error)


Work: TypeAlias = Callable[[Batch], None]
Settled: TypeAlias = Callable[[Batch], None]
Crash: TypeAlias = Callable[[BaseException], None]


class Window:
    """Several batches in flight, finished in order.

    Args:
        work: Runs on the pool for each batch; sends results through `Batch.send`.
        settled: Runs on the loop when a batch and all before it are delivered; acknowledges.
        crash: Called once when a batch failed for good; nothing is acknowledged after that.
        lost: Called with the number of an assignment in which a fenced record was not delivered: its batches are not
            acknowledged, and it must be taken anew. None makes that a crash.
        delivered: Told how long each fenced record took.
        size: Batches in flight; `submit` waits for a free place.
        tenure: The worker's present assignment.
    """

    def __init__(
        self,
        *,
        pool: Executor,
        publisher: Sender,
        work: Work,
        settled: Settled,
        crash: Crash,
        size: int,
        tenure: Tenure,
        fenced: Sender | None = None,
        lost: Callable[[int], None] | None = None,
        delivered: Delivered = _untold,
    ) -> None:
        self.tenure = tenure
        self.waiting_bytes: Callable[[], int] = lambda: 0  # in the stream's queue; set when its agent starts
        self._pool, self._publisher, self._work = pool, publisher, work
        self._settled, self._crash = settled, crash
        self._fenced, self._lost, self._void = fenced, lost, -1
        self._delivered = delivered
        self._places = asyncio.Semaphore(size)
        self._in_flight: asyncio.Queue[Batch] = asyncio.Queue()
        self._finisher: asyncio.Task[None] | None = None
        self._failed = False
        self._under_way = 0

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""
        return self._under_way > 0

    async def submit(self, events: Sequence[EventT[Any]]) -> None:
        """Send a batch on its way; waits while the window is full."""
        tenure = self.tenure.number
        await self._places.acquire()
        if self._failed:
            return
        loop = asyncio.get_running_loop()
        if self._finisher is None:
            self._finisher = loop.create_task(self._finish_in_order())
        batch = Batch(
            events,
            tenure=tenure,
            publisher=self._publisher,
            fenced=self._fenced,
            delivered=self._delivered,
            loop=loop,
        )
        self._under_way += 1
        self._in_flight.put_nowait(batch)
        loop.run_in_executor(self._pool, batch.run, self._work)

    def fail(self, error: BaseException) -> None:
        """End the worker: nothing is acknowledged any more."""
        self._failed = True
        self._crash(error)

    async def _finish_in_order(self) -> None:
        while True:
            batch = await self._in_flight.get()
            try:
                await self._finish(batch)
            except Exception as error:  # noqa: BLE001 - nothing may be acknowledged any more: end the worker
                self.fail(error)
                log.critical(
                    "a result could not be delivered, stopping without acknowledging its input: %s",
                    error,
                    extra=batch.facts(),
                )
                return
            finally:
                self._under_way -= 1
                self._places.release()

    async def _finish(self, batch: Batch) -> None:
        try:
            await batch.wait()
        except LeaseError as error:
            if self._lost is None:
                raise
            if batch.tenure > self._void:
                log.warning(
                    "partitions may have gone to another worker and are taken anew: %s", error, extra=batch.facts()
                )
                self._void = batch.tenure
                self._lost(batch.tenure)
        if batch.tenure > self._void and batch.tenure == self.tenure.number:
            self._settled(batch)


class MakeWindow(Protocol):
    """Makes an agent's window when its stream starts."""

    def __call__(self, *, work: Work, settled: Settled) -> Window:
        """Make one on the running loop."""


async def collect(stream: StreamT[bytes], window: Window, *, limit: int) -> None:
    """Gather what has arrived into batches: full ones while there is more, a short one when the queue runs dry.

    Records of an assignment that is gone are dropped unsent; they will be read again.
    """
    own = cast("Stream[bytes]", stream)  # Faust's interfaces lack `noack` and `queue`
    waiting = cast("Topic", stream.channel).queue
    window.waiting_bytes = waiting.qsize
    tenure, events, gathered_in = window.tenure, list[EventT[Any]](), -1
    async for event in own.noack().events():
        if not tenure.admits(event.message):
            continue
        if gathered_in != tenure.number:
            events, gathered_in = [], tenure.number
        events.append(event)
        if len(events) >= limit or waiting.empty():
            await window.submit(events)
            events = []
