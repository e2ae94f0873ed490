"""Faust's transport with its habits mended: queues in records, naps, tasks for each record, commits too far.

All are small subclasses of Faust 0.15; nothing is patched. `docs/faust.md` lists each habit with its test.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from typing import Any, ClassVar

import aiokafka
import faust
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, IllegalStateError, KafkaError, TopicAuthorizationFailedError
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, Message, TransportT
from faust.types.transports import ConsumerT
from mode.services import WaitResults
from mode.utils.queues import ThrowableQueue

from streamproc.agents.lease import Lease
from streamproc.agents.thread import ConsumerThread
from streamproc.errors import BrokerError
from streamproc.lag import Standing

log = logging.getLogger(__name__)

NAP_S = 0.01
ANSWER_S = 10.0
_RETRY_S = 0.5
_RECORD_OVERHEAD_BYTES = 1024  # headers and Python objects around a record


def size_of(item: Any) -> int:
    """Bytes a queued item stands for: its record's value and a flat share for what is around it."""
    value = item.value if isinstance(item, EventT) else None
    return _RECORD_OVERHEAD_BYTES + (len(value) if isinstance(value, bytes) else 0)


class ByteQueue(ThrowableQueue[Any]):
    """A stream's queue measured in bytes: `maxsize` and `qsize` are bytes, so flow control follows memory.

    Faust bounds a stream by records (4096 by default, which is 4 GB of 1 MB tiles). Its flow control asks `qsize`
    and `maxsize` alone, so giving both in bytes is enough.
    """

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0

    def qsize(self) -> int:
        """Bytes waiting."""
        return self._bytes

    def _put(self, item: Any) -> None:
        self._bytes += size_of(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._bytes -= size_of(item)
        return item

    def clear(self) -> None:
        """Drop everything that waits (on a rebalance)."""
        super().clear()
        self._bytes = 0


class _Begun:
    """A coroutine whose first step is done and waits for `future`; awaited, it goes on from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], future: Any) -> None:
        self._coroutine, self._future = coroutine, future

    def __await__(self) -> Generator[Any, Any, Any]:
        yield self._future
        return (yield from self._coroutine.__await__())


class Consumer(driver.Consumer):
    """Faust's consumer with its commits, its order, its sleep and its tasks mended.

    The order: Faust drops records on the way from the fetch to the stream, while its flow is stopped or when a
    rebalance begins, and may then go on behind them: it resumes the flow before it has gone back to what was committed
    (faust/tables/recovery.py, 0.15.3, lines 479 and 643), and takes the missing offsets for ones that hold no record
    (faust/transport/consumer.py, line 1215). So each partition is delivered in order from what was committed, without
    a hole; where one shows, reading goes back.

    The sleep: `Consumer._wait_next_records` in faust/transport/consumer.py (0.15.3, line 808) does
    `await self.sleep(1)` when no partition is active; with queues that fill in less than a second the worker then
    idles most of the time (measured: 378-408 tiles/s with it, 588 without).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heads: dict[TP, int] = {}  # first offset, by partition, of which not all before are acknowledged
        self._next: dict[TP, int] = {}  # offset to be delivered next, by partition
        self._sought: dict[TP, tuple[int, int]] = {}  # where reading went back to, and the fetch under way then
        self._lacking: dict[TP, tuple[int, int]] = {}  # from, to: offsets that the log itself does not have
        self.read_at: dict[TP, float] = {}  # timestamp of the record delivered last, by partition
        self._firsts: dict[TP, int] = {}  # of the oldest record kept, by partition, as told last
        self._going_back: set[TP] = set()
        self._gone_back = False  # to what is committed, since the partitions were assigned
        self._fetches = 0
        self._deliver, self.callback = self.callback, self._in_order

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: `watch.py` looks for stalls."""
        # Faust's own look asserts while aiokafka resets a position (drivers/aiokafka.py, 0.15.3, line 845)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, set[TP] | None]:
        if self.flow_active and not self.app.client_only and not self._get_active_partitions():
            await self.sleep(NAP_S)
            return {}, set()
        self._fetches += 1
        try:
            records, active = await super()._wait_next_records(timeout)
        except KafkaError as error:
            if isinstance(error, (GroupAuthorizationFailedError, TopicAuthorizationFailedError)):
                raise
            # Faust's would end the worker
            log.warning("nothing could be fetched, trying again: %s", error, extra={"retry_s": _RETRY_S})
            await self.sleep(_RETRY_S)
            return {}, set()
        for tp, found in (records or {}).items():
            if found:
                self._note_lacking(tp, found[0].offset)
        return records, active

    def _note_lacking(self, tp: TP, first: int) -> None:
        """See whether the first fetch that began after going back brings the record that was gone back to."""
        sought, fetch = self._sought.get(tp, (first, self._fetches))
        if self._fetches > fetch:
            del self._sought[tp]
            if first > sought:
                self._lacking[tp] = (sought, first)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: records may stand there that Faust has dropped; `_in_order` knows."""

    async def _in_order(self, message: Message) -> None:
        """Hand a record to its stream if it is the next one of its partition."""
        tp, offset = message.tp, message.offset
        wanted = self._next.get(tp)
        low, high = self._lacking.get(tp, (-1, -1))
        if wanted == low and offset >= high:
            self._gap[tp].addi(low, high)
            self._next[tp] = wanted = high
        if wanted is None or offset > wanted:
            if self._gone_back and tp not in self._going_back:
                self._going_back.add(tp)
                self.add_future(self._go_back(tp))
            return
        if offset == wanted:
            self.read_at[tp] = message.timestamp
            await self._deliver(message)
            if self._next.get(tp) == wanted:
                self._next[tp] = offset + 1

    async def _go_back(self, tp: TP) -> None:
        """Read a partition again from the record to be delivered next, or from what is committed."""
        try:
            while self._gone_back and tp in self.assignment():
                try:
                    await self._seek_next(tp)
                except (BrokerError, KafkaError, IllegalStateError) as error:
                    log.warning(
                        "could not go back to the next record of %s, trying again: %s",
                        *(tp, error),
                        extra={"topic": tp.topic, "partition": tp.partition, "retry_s": _RETRY_S},
                    )
                    await self.sleep(_RETRY_S)
                else:
                    return
        finally:
            self._going_back.discard(tp)

    async def _seek_next(self, tp: TP) -> None:
        wanted = self._next.get(tp)
        if wanted is None:
            committed = (await self.committed_by_group(tp.topic, [tp.partition]))[tp.partition]
            wanted = self._next.setdefault(tp, committed)
            self._heads.setdefault(tp, committed)
        await self.seek(tp, wanted)

    async def _seek(self, partition: TP, offset: int) -> None:
        """Do as Faust's, but on the thread that fetches.

        From another thread it takes records away under the fetch's hands, which ends the worker with a KeyError
        (faust/transport/consumer.py, 0.15.3, line 1454; aiokafka/consumer/fetcher.py, 0.14, line 1231).
        """

        async def seek(consumer: aiokafka.AIOKafkaConsumer) -> None:
            consumer.seek(partition, offset)
            self._sought[partition] = (offset, self._fetches)  # fetches begun by now may bring what was before

        await self._asked(seek)

    def _forget(self) -> None:
        """Know nothing of positions: an assignment is over."""
        self._gone_back = False
        positions = (self._heads, self._next, self._sought, self._lacking, self.read_at, self._firsts)
        for of_the_last in (*positions, self._acked, self._acked_index, self._gap):
            of_the_last.clear()

    def standing(self, tp: TP) -> Standing | None:
        """How far a partition is read, as far as is known without asking; None before the broker told its end."""
        thread: Any = self._thread
        try:
            end, heard_ms = thread.highwater(tp), thread._ensure_consumer().last_poll_timestamp(tp)
        except (AssertionError, AttributeError, KeyError):  # the thread that fetches is just giving it up
            return None
        if end is None:
            return None
        return Standing(
            next=self._next.get(tp, 0),
            end=end,
            heard_s=(heard_ms or 0) / 1000,
            since_s=self.read_at.get(tp),
            first=self._firsts.get(tp),
        )

    async def ends(self, topic: str, numbers: Iterable[int]) -> dict[int, int]:
        """The offset after the last record, by partition, as the broker says.

        Raises:
            BrokerError: It does not answer.
        """
        partitions = [TopicPartition(topic, number) for number in numbers]
        found = await self._asked(lambda consumer: consumer.end_offsets(partitions))
        return {one.partition: offset for one, offset in found.items()}

    async def firsts(self, topic: str, numbers: Iterable[int]) -> dict[int, int]:
        """The first offset that is kept, by partition, as the broker says.

        Raises:
            BrokerError: It does not answer.
        """
        partitions = [TopicPartition(topic, number) for number in numbers]
        found = await self._asked(lambda consumer: consumer.beginning_offsets(partitions))
        firsts = {one.partition: offset for one, offset in found.items()}
        self._firsts |= {TP(topic, number): offset for number, offset in firsts.items()}
        return firsts

    async def committed_by_group(self, topic: str, numbers: Iterable[int]) -> dict[int, int]:
        """The offset below which the group has committed all, by partition, or the first one kept if that is higher.

        Raises:
            BrokerError: The broker does not answer.
        """
        numbers = list(numbers)
        partitions = [TopicPartition(topic, number) for number in numbers]
        found = await self._asked(lambda consumer: consumer._coordinator.fetch_committed_offsets(partitions))
        committed = {one.partition: metadata.offset for one, metadata in found.items()}
        return {
            number: max(first, committed.get(number, -1))
            for number, first in (await self.firsts(topic, numbers)).items()
        }

    async def _asked(self, question: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """Ask over the connection that is there, on the consumer's own loop."""
        thread: Any = self._thread
        try:
            asked = asyncio.run_coroutine_threadsafe(question(thread._ensure_consumer()), thread.thread_loop)
            return await asyncio.wait_for(asyncio.wrap_future(asked), ANSWER_S)
        except (KafkaError, TimeoutError, ConsumerNotStarted) as error:
            raise BrokerError(f"the broker did not answer the consumer ({error or 'not in time'})") from None

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish what is under way and commit it before partitions go, so that nobody does it again.

        Faust forgets what was acknowledged since the last commit.
        """
        app: Any = self.app  # a StreamApp, but Faust's type
        await app.before_revoke()
        await self.commit_all()
        await super().on_partitions_revoked(revoked)
        self._forget()

    async def commit_all(self) -> None:
        """Commit what is acknowledged by now; Faust's `commit` does nothing while another one is under way."""
        await self.maybe_wait_for_commit_to_finish()
        await self.commit()

    async def beat(self) -> None:
        """Send a heartbeat now, so that the lease is known to hold."""
        thread: Any = self._thread
        await thread.call_thread(thread.beat)

    async def rejoin(self) -> None:
        """Give partitions up and take them anew: they are read again from what is committed."""
        thread: Any = self._thread
        await thread.call_thread(thread.rejoin)

    def finished(self, tp: TP) -> int | None:
        """The offset below which all is committed; before the first commit the first one read; None before that."""
        committed = self._committed_offset.get(tp)
        return self._heads.get(tp) if committed is None else committed

    async def perform_seek(self) -> None:
        """Go back to the committed offsets (after every assignment): what is read next is what has to be finished.

        Faust may ask for it twice, when records have been handed on already: those would be worked on again.
        """
        if self._gone_back:
            return
        self._forget()
        await super().perform_seek()
        for tp in self.assignment():
            if (committed := self._committed_offset.get(tp)) is not None:
                self._heads[tp] = self._next[tp] = committed
        self._gone_back = True
        for tp in self.assignment():
            if tp not in self._next:  # never committed: what was dropped until now must be fetched again
                self._going_back.add(tp)
                self.add_future(self._go_back(tp))

    def _new_offset(self, tp: TP) -> int | None:
        """The offset up to which every record that was read is acknowledged; None before any was read.

        Faust's own goes past one unfinished record at the head (faust-streaming #606; faust/transport/consumer.py,
        0.15.3, line 1140), and forgets what it has counted when the commit then fails.
        """
        if tp not in self._heads:
            return None
        done, gaps = self._acked_index[tp], self._gap[tp]
        position = self._heads[tp]
        while True:
            if position in done:
                position += 1
            elif over := gaps.at(position):  # offsets that hold no record
                position = max(gap.end for gap in over)
            else:
                break
        done.intersection_update([offset for offset in done if offset > position])
        self._acked[tp][:] = sorted(done)
        gaps.chop(0, position)
        self._heads[tp] = position
        return position

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Do as Faust's, but do not note a failed commit as done (faust-streaming #316; line 1080)."""
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed = await super()._commit_offsets(offsets, start_new_transaction)
        if not committed:
            self._committed_offset.update(before)
        return bool(committed)

    async def wait_first(self, *coros: Any, timeout: Any = None) -> WaitResults:
        """Do as Faust's, which makes four tasks for every record, but try first whether the first one ends at once.

        That is handing a record to its stream, which only waits while the flow is stopped or the stream is full.
        """
        first, *others = coros
        if timeout is None and isinstance(first, Coroutine) and not self.should_stop:
            try:
                future = first.send(None)
            except BaseException as ended:
                for other in others:
                    if isinstance(other, Coroutine):
                        other.close()
                if not isinstance(ended, StopIteration):
                    raise
                return WaitResults([first], [ended.value], stopped=False)
            coros = (_Begun(first, future), *others)
        return await super().wait_first(*coros, timeout=timeout)


class Transport(driver.Transport):
    """The transport that makes our consumer."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer


class StreamApp(faust.App):
    """A Faust app with byte-bounded stream queues and our transport.

    Attributes:
        lease: Kept up to date by the consumer.
        before_revoke: Awaited before partitions are given up.
    """

    lease: Lease
    before_revoke: Callable[[], Awaitable[None]]

    def _create_directories(self) -> None:
        """Nothing: there are no tables, and a worker may run where nothing can be written."""

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)

    def FlowControlQueue(self, maxsize: int | None = None, *, clear_on_resume: bool = False) -> ThrowableQueue[Any]:  # noqa: N802 - Faust's name
        """A stream's input queue, bounded by `stream_buffer_maxsize` bytes."""
        return ByteQueue(
            maxsize=maxsize or self.conf.stream_buffer_maxsize,
            flow_control=self.flow_control,
            clear_on_resume=clear_on_resume,
        )
