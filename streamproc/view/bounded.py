"""Reads of the log that end: in time, in records, and at most so many at once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from streamproc.errors import StreamprocError
from streamproc.evidence import Sources
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings

_T = TypeVar("_T")
AT_ONCE: Final = 6
WAITING: Final = 64
IDLE_READERS: Final = 4  # of each topic; opening one takes a tenth of a second
MAX_RECORDS: Final = 200_000
LIMIT_S: Final = 8.0
_READER_BYTES: Final = 16 * 2**20


class NotThere(StreamprocError):
    """What is asked for is not in the log."""


class Gone(StreamprocError):
    """The event is there, its pixels are not any more."""


class Busy(StreamprocError):
    """Too many reads of the log at once."""


class TooLong(StreamprocError):
    """A read of the log took longer than it may."""


class Budget:
    """What one read may take.

    Args:
        seconds: Of wall-clock time from now on.
        records: Read from the log.
        stop: The process ends.
    """

    def __init__(
        self, *, seconds: float = LIMIT_S, records: int = MAX_RECORDS, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._end_s = time.monotonic() + seconds
        self._seconds = seconds
        self._stop = stop
        self.records = records

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._end_s - time.monotonic()

    @property
    def spent(self) -> bool:
        """Nothing is left."""
        return self.left_s <= 0 or self.records <= 0 or self._stop()

    def take(self) -> None:
        """One record more.

        Raises:
            TooLong: It is one too many, or too late.
        """
        self.records -= 1
        if self.spent:
            raise TooLong(f"looking for it in the log took more than {self._seconds:g} s or too many records")


class BoundedReader:
    """A `TopicReader` whose reads end with a budget; see `streamproc.records.RecordSource`."""

    def __init__(self, reader: TopicReader, budget: Budget) -> None:
        self._reader = reader
        self._budget = budget

    @property
    def topic(self) -> str:
        """Its name."""
        return self._reader.topic

    def partitions(self) -> list[int]:
        """The topic's partitions."""
        return self._reader.partitions()

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset kept and the one after the last."""
        return self._reader.bounds(partition)

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        """The first offset whose timestamp is not before `since_ms`; the end if there is none."""
        return self._reader.offset_at(partition, since_ms=since_ms)

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """Read offset ranges.

        Raises:
            TooLong: The budget is spent.
        """
        records = self._reader.read(ranges, stall_s=max(0.1, self._budget.left_s))
        with contextlib.closing(records):  # type: ignore[type-var]  # a generator, though its type says iterator
            for record in records:
                self._budget.take()
                yield record


class Readers:
    """Open readers that wait for the next question, a few of each topic."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: dict[str, list[TopicReader]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, topic: str, budget: Budget) -> Iterator[BoundedReader]:
        """A reader of one topic for one question. One that failed is not used again."""
        with self._lock:
            idle = self._idle.setdefault(topic, [])
            reader = idle.pop() if idle else None
        if reader is None:
            reader = TopicReader(self._settings, topic, max_queue_bytes=_READER_BYTES)
        try:
            yield BoundedReader(reader, budget)
        except BaseException:
            reader.__exit__()
            raise
        for _ in reader.follow({}, stop=lambda: True):
            pass  # a question that ended early leaves partitions assigned, which would be fetched for nobody
        with self._lock:
            keep = len(idle) < IDLE_READERS
            if keep:
                idle.append(reader)
        if not keep:
            reader.__exit__()

    def sources(self, budget: Budget) -> Sources:
        """The log as a place where evidence is looked for."""
        return Sources([(f"the log on {self._settings.bootstrap}", lambda topic: self.of(topic, budget))])


class Desk:
    """Runs questions on threads of their own, at most `AT_ONCE`; some may wait for their turn. Use on one event loop.

    The threads are daemons: the end of the process does not wait for a broker.
    """

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._asked = 0

    async def ask(self, question: Callable[[], _T], *, limit_s: float = LIMIT_S + 2) -> _T:
        """The answer of a question.

        Raises:
            Busy: Too many are asked already.
            TooLong: It did not end in time; its thread is still counted until it does.
        """
        if self._asked >= self._most:
            raise Busy("too many requests read the log at once: try again in a moment")
        self._asked += 1
        try:
            async with asyncio.timeout(limit_s):
                await self._free.acquire()
        except TimeoutError:
            self._asked -= 1
            raise Busy("too many requests read the log at once: try again in a moment") from None
        except BaseException:
            self._asked -= 1
            raise
        answer = self._start(question)
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise TooLong(f"the log gave no answer within {limit_s:g} s") from None

    def _start(self, question: Callable[[], _T]) -> asyncio.Future[_T]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        answer.add_done_callback(_heard)

        def settle(value: _T | None, error: BaseException | None) -> None:
            self._free.release()
            self._asked -= 1
            if answer.cancelled():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(value)  # type: ignore[arg-type]  # None only where _T allows it

        def work() -> None:
            value, problem = None, None
            try:
                value = question()
            except Exception as error:  # noqa: BLE001 - it is raised where it was asked
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, value, problem)

        threading.Thread(target=work, name="view-log", daemon=True).start()
        return answer


def _heard(answer: asyncio.Future[_T]) -> None:
    """Nobody may be left to hear of an error."""
    if not answer.cancelled():
        answer.exception()


def one_line(error: BaseException) -> str:
    """What a page is told of an error."""
    return " ".join(str(error).split())
