"""The assemble agent: features in, events and pictures out. Carries only: decode, assemble, merge, send.

All its state is memory: open frames are rebuilt by reading again from the committed offset, which never passes a frame
that is still open; what was emitted already is read back from the events topic.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec
from faust.types import Message, StreamT

from streamproc import cloudevents, wire
from streamproc.agents import guard
from streamproc.agents.acknowledger import Acknowledger
from streamproc.agents.batches import Batch, MakeWindow, Window, collect
from streamproc.agents.lease import Lease
from streamproc.agents.pictures import Pictures
from streamproc.agents.transport import StreamApp
from streamproc.aggregator.assembly import Assembler, ClosedFrame, Limits, Piece
from streamproc.aggregator.recognition import FrameView, frame_event, merge_frame
from streamproc.aggregator.whole import WholeSteps
from streamproc.errors import BadMessage, BrokerError, LeaseError
from streamproc.metrics import Metrics
from streamproc.model import Features, FrameEvent
from streamproc.operators.pipeline import Pipeline
from streamproc.settings import Settings
from streamproc.topics import MAX_RECORD_BYTES, Topics
from streamproc.tracing import AssemblyTraces, Tracer

log = logging.getLogger(__name__)

ReadBack: TypeAlias = Callable[[int, int], Iterable[cloudevents.Emitted]]
"""(partition, since_ms) -> a run's newest frame event, and events of frames after it whose own is not out."""

ReadAgain: TypeAlias = Callable[[int, Sequence[int]], Mapping[int, Features]]
"""(partition, offsets) -> the features that still stand there, by offset."""

TICK_S = 0.25
_LEASE_LOOK_S = 0.02
_EVENT_OVERHEAD_BYTES = 16 * 1024  # key and headers
_OBJECTS_OF_A_LARGE_EVENT = 1000
_CLOCK_MARGIN_MS = 60_000  # record timestamps come from several hosts


@dataclass(slots=True, eq=False)
class _Partition:
    tenure: int
    assembler: Assembler
    steps: WholeSteps
    read_back_ms: int
    traces: AssemblyTraces | None
    pictures: Pictures
    said: set[str] = field(default_factory=set)  # ids of events that are out, of frames whose own is not


class Aggregation:
    """Assembles the frames of all partitions of one worker. Called by one thread at a time.

    Attributes:
        open_frames: Frames held after the last call, for whom a deadline may pass without a new record; any thread may
            read it.
        taken: By partition, the offset after the last record taken; any thread may read it.
        worked_off_until_s: Monotonic time up to which all that was published has been taken; deadlines that lie later
            have not passed, whatever the clock says. Set from outside.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pipeline: Pipeline,
        metrics: Metrics,
        read_back: ReadBack,
        read_again: ReadAgain,
        lease: Lease,
        tracer: Tracer | None = None,
    ) -> None:
        self._lease = lease
        self._tracer = tracer
        self._pipeline = pipeline
        self.taken: dict[int, int] = {}
        self.worked_off_until_s = float("-inf")
        self._settings = settings
        self._topics = Topics(settings.prefix)
        self._metrics = metrics
        self._read_back, self._read_again = read_back, read_again
        self._partitions: dict[int, _Partition] = {}
        self._unread_since_s: float | None = None
        self.open_frames = 0
        self._over = -1  # records of this assignment and earlier ones are no longer ours

    def __call__(self, batch: Batch) -> None:
        """Take a batch of features (an empty one looks at deadlines) and emit the frames that are done."""
        for event in batch.events:
            self._take(batch, event.message)
            self.taken[event.message.partition] = event.message.offset + 1
        for number, partition in self._partitions.items():
            self._finish(batch, number, partition)
        self._make_room(batch)
        assemblers = [partition.assembler for partition in self._partitions.values()]
        self.open_frames = sum(assembler.open_frames for assembler in assemblers)
        self._metrics.open_frames.set(self.open_frames)
        self._metrics.open_bytes.set(self._held_bytes())
        batch.floors = {number: partition.assembler.needed_offset() for number, partition in self._partitions.items()}

    def _finish(self, batch: Batch, number: int, partition: _Partition) -> None:
        """Emit the frames that are done; results of theirs that were set aside are read again first."""
        assembler, bound = partition.assembler, self._settings.max_open_bytes
        self._emit_all(batch, number, partition, assembler.finish(self.worked_off_until_s))
        while batch.tenure > self._over:
            piece = assembler.lacking(min(bound // 8, bound - self._held_bytes()))
            if piece is None or (found := self._read(batch, number, piece)) is None:
                return
            assembler.put_back(piece, found)
            self._emit_all(batch, number, partition, assembler.finish(self.worked_off_until_s))

    def _read(self, batch: Batch, number: int, piece: Piece) -> Mapping[int, Features] | None:
        """Results that were set aside; None while the broker does not answer: they are read later.

        Raises:
            BrokerError: It has not for as long as a worker may make no progress.
        """
        try:
            found = self._read_again(number, piece.offsets)
        except BrokerError as error:
            self._unread_since_s = self._unread_since_s or time.monotonic()
            silent_s = time.monotonic() - self._unread_since_s
            if silent_s > self._settings.stall_timeout_s and batch.tenure > self._over:
                raise
            about = {"topic": self._topics.features, "partition": number, "records": len(piece.offsets)}
            log.warning("results that were set aside cannot be read again yet: %s", error, extra=about)
            return None
        self._unread_since_s = None
        self._metrics.results_read_again.inc(len(found))
        return found

    def _make_room(self, batch: Batch) -> None:
        """Keep what all partitions of this worker hold within its bound: the fullest sets aside first.

        Only when what is left of each tile fills the memory, frames are let go unfinished.
        """
        bound, before = self._settings.max_open_bytes, -1
        while batch.tenure > self._over and bound < (held := self._held_bytes()) != before:
            before = held
            if self._set_aside(held - bound * 3 // 4):
                continue
            number = max(self._partitions, key=lambda one: self._partitions[one].assembler.open_bytes)
            partition = self._partitions[number]
            self._emit_all(batch, number, partition, partition.assembler.evict_oldest(self.worked_off_until_s))
            self._finish(batch, number, partition)

    def _set_aside(self, bytes_wanted: int) -> int:
        """Bytes that it freed, in the fullest partitions first."""
        freed = 0
        for partition in sorted(self._partitions.values(), key=lambda one: one.assembler.open_bytes, reverse=True):
            freed += partition.assembler.set_aside(bytes_wanted - freed)
        return freed

    def _held_bytes(self) -> int:
        return sum(partition.assembler.open_bytes for partition in self._partitions.values())

    def end(self, tenure: int) -> None:
        """From now on nothing of this assignment is emitted; from any thread."""
        self._over = max(self._over, tenure)

    def let_go(self) -> None:
        """Forget all open frames: their records will be read again, here or elsewhere."""
        self._partitions.clear()
        self.taken.clear()
        self.open_frames = 0

    def _take(self, batch: Batch, message: Message) -> None:
        partition = self._partition(message, batch.tenure)
        if partition is None:
            return
        value = guard.value_bytes(message)
        try:
            features = wire.decode_features(value, max_frame_pixels=self._settings.max_frame_pixels)
        except Exception as error:  # noqa: BLE001 - every error is one dead letter
            bad = guard.as_bad_message(error, message)
            guard.dead_letter(batch, message, bad, stage="assemble", topics=self._topics, metrics=self._metrics)
            if partition.traces is not None:
                partition.traces.refuse(
                    guard.header_list(message), offset=message.offset, size=len(value), at_ns=time.time_ns(), bad=bad
                )
            return
        published_ms = features.published_ns // 1_000_000
        if published_ms < partition.read_back_ms and not partition.assembler.knows(
            features.tile.camera, features.tile.run
        ):
            # an old tile that is extracted again: its frame may have been told of before its features were written anew
            self._resume(partition, message.partition, published_ms)
        outcome = partition.assembler.add(
            features, size_bytes=len(value), offset=message.offset, now_s=time.monotonic()
        )
        if outcome is not None:
            self._metrics.tiles.labels(outcome).inc()
        if partition.traces is not None and outcome in {None, "deadlettered"}:
            partition.traces.add(features.tile, guard.header_list(message), now_ns=time.time_ns())

    def _partition(self, message: Message, tenure: int) -> _Partition | None:
        """The state of the record's partition; anew for each assignment, with what was emitted before."""
        known = self._partitions.get(message.partition)
        if tenure <= self._over:
            return None
        if known is not None and known.tenure == tenure:
            return known
        settings = self._settings
        assembler = Assembler(
            Limits(
                deadline_s=settings.frame_deadline_s,
                min_coverage=settings.min_coverage,
                max_frames=settings.max_open_frames,
                max_bytes=settings.max_open_bytes,
            )
        )
        since_ms = int(message.timestamp * 1000)
        partition = _Partition(
            tenure=tenure,
            assembler=assembler,
            steps=WholeSteps(self._pipeline),
            read_back_ms=since_ms,
            traces=self._traces_of(message.partition),
            pictures=Pictures(self._topics.edges, message.partition, per_s=settings.preview_per_s),
        )
        self._resume(partition, message.partition, since_ms)
        self._partitions[message.partition] = partition
        return partition

    def _traces_of(self, number: int) -> AssemblyTraces | None:
        if self._tracer is None:
            return None
        topics = self._topics
        return AssemblyTraces(self._tracer, topic=topics.features, partition=number, group=topics.group)

    def _resume(self, partition: _Partition, number: int, since_ms: int) -> None:
        """Learn which frames have been told of since a moment, and what was known after them."""
        partition.read_back_ms = since_ms
        for event in self._read_back(number, since_ms - _CLOCK_MARGIN_MS):
            camera, run = event.key.camera, event.key.run
            if not event.is_frame:
                partition.said.add(event.id)
                continue
            partition.assembler.resume(camera, run, last_sequence=event.key.sequence)
            if event.memory:
                try:
                    partition.steps.remember(camera, run, event.memory)
                except BadMessage as error:
                    about = {"camera": camera, "run": run, "partition": number, "reason": error.reason}
                    log.warning("followers begin anew: %s", error.detail, extra=about)

    def _emit_all(self, batch: Batch, number: int, partition: _Partition, done: Iterable[ClosedFrame]) -> None:
        for closed in done:
            if batch.tenure > self._over:
                self._emit(batch, number, partition, closed)

    def _emit(self, batch: Batch, number: int, partition: _Partition, closed: ClosedFrame) -> None:
        started_ns = time.time_ns()
        shown = any(part.thumbnail for part in closed.parts) and partition.pictures.due(closed.header.camera)
        try:
            view = merge_frame(closed, partition.steps, shown=shown)
        except Exception as error:  # noqa: BLE001 - results that do not fit are one rejected frame
            closed = closed.rejected(str(guard.as_bad_message(error)))
            view = merge_frame(closed, partition.steps, shown=False)
        event = frame_event(
            closed, view, tiles_topic=self._topics.tiles, assembling_ns=started_ns, emitted_ns=time.time_ns()
        )
        self._metrics.assemble_seconds.observe((event.emitted_ns - started_ns) / 1e9)
        told = [cloudevents.encode_occurrence(event, step, occurrence) for step, occurrence in view.occurrences]
        told.append(_fitting_event(event, partition.steps.memory(event.camera, event.run)))
        trace = None if partition.traces is None else partition.traces.leave(event.key)
        if trace is not None:
            told = [([*headers, *trace.headers], value) for headers, value in told]
        if not self._tell(batch, number, partition, event.camera, told):
            return
        if partition.traces is not None and trace is not None:
            partition.traces.end(trace, event, merge_ns=started_ns, ended_ns=time.time_ns())
        partition.pictures.send(batch, event, view)
        self._count(closed, event)
        self._count_steps(view)

    def _tell(
        self, batch: Batch, number: int, partition: _Partition, camera: str, told: list[tuple[wire.Headers, bytes]]
    ) -> bool:
        """Send the events of a frame; False when the partition is not certainly this worker's any more."""
        for headers, value in told:
            if not self._may_emit(batch):
                return False
            identity = dict(headers)["ce_id"].decode()
            if identity in partition.said:
                partition.said.discard(identity)  # sent by a worker that died before the frame's own event
                continue
            batch.send(
                topic=self._topics.events,
                partition=number,
                key=camera.encode(),
                value=value,
                headers=headers,
                fenced=True,
            )
        return True

    def _may_emit(self, batch: Batch) -> bool:
        """Wait until the batch's partitions are certainly this worker's; False when they are not any more.

        Raises:
            LeaseError: Nobody answers for too long.
        """
        give_up_s = time.monotonic() + self._lease.session_timeout_s
        while batch.tenure > self._over:
            now_s = time.monotonic()
            if self._lease.holds(now_s):
                return True
            if now_s > give_up_s:
                raise LeaseError(f"no heartbeat was answered for {self._lease.session_timeout_s:g} s")
            time.sleep(_LEASE_LOOK_S)
        return False

    def _count_steps(self, view: FrameView) -> None:
        for step in view.skipped:
            self._metrics.steps_skipped.labels(step).inc()
        for _step, occurrence in view.occurrences:
            self._metrics.occurrences.labels(occurrence.kind, occurrence.what).inc()

    def _count(self, closed: ClosedFrame, event: FrameEvent) -> None:
        metrics, camera = self._metrics, self._metrics.camera(event.camera)
        for outcome, count in closed.tiles.items():
            metrics.tiles.labels(outcome).inc(count)
        metrics.frames.labels(camera, event.outcome).inc()
        if event.run.startswith("replay-"):
            return  # captured long ago: nobody waited for it
        for stage, milliseconds in event.latency_ms.items():
            if stage == "total":
                metrics.event_seconds.labels(camera).observe(max(0.0, milliseconds / 1000))
            else:
                metrics.stage_seconds.labels(stage).observe(max(0.0, milliseconds / 1000))


def _fitting_event(event: FrameEvent, memory: bytes) -> tuple[wire.Headers, bytes]:
    """The event of a frame as a record that the topic takes: results that make it too large are left out, and told."""
    headers, value = cloudevents.encode_frame_event(event, memory=memory)
    if len(value) + len(memory) > MAX_RECORD_BYTES - _EVENT_OVERHEAD_BYTES:
        skipped = {step: {"skipped": "the event would be too large"} for step in event.features}
        small = msgspec.structs.replace(event, features=skipped, objects=event.objects[:_OBJECTS_OF_A_LARGE_EVENT])
        headers, value = cloudevents.encode_frame_event(small, memory=memory)
    return headers, value


def add_assemble_agent(
    app: StreamApp, aggregation: Aggregation, *, settings: Settings, make_window: MakeWindow
) -> None:
    """Register the agent that turns features into events on `app`; the window's pool must have one thread."""
    features = app.topic(Topics(settings.prefix).features, key_type=bytes, value_type=bytes, value_serializer="raw")

    async def assemble(stream: StreamT[bytes]) -> None:
        window = make_window(work=aggregation, settled=Acknowledger().settled)
        ticker = asyncio.create_task(_look_at_deadlines(aggregation, window))
        try:
            await collect(stream, window, limit=4 * settings.batch_tiles)
        finally:
            ticker.cancel()

    app.agent(features, name="assemble")(assemble)


async def _look_at_deadlines(aggregation: Aggregation, window: Window) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        if aggregation.open_frames and not window.busy:
            await window.submit([])  # an empty batch looks at deadlines
