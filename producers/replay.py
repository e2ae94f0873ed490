"""Records of the `tiles` topic sent again: from the log or an archive, as runs of their own, at the pace they had.

Pixels are neither decoded nor encoded. One thread reads ahead, a window of time at a time (`replay_order`); the
caller's waits until a record is due (`replay_pace`), renames it (`replay_records`) and sends it. Record timestamps are
those of sending: retention looks at the newest of a segment, so records with old ones would be deleted as soon as their
segment is full. The capture time stands in the header. Whatever ends a replay, it ends on a whole frame, as far as the
log has it and reading goes on: a stop waits for no more than `_FINISH_S`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.replay_choice import Choice
from producers.replay_frames import FrameBook
from producers.replay_meter import ReplayMeter
from producers.replay_order import Ranges, Timed, Window, in_time_order
from producers.replay_pace import Lateness, Pace
from producers.replay_pixels import OwnPixels
from producers.replay_records import headers_of, key_of, partition_of, require_enough_partitions, run_name
from producers.replay_report import Replayed, ReplayReport
from producers.replay_window import Ahead
from streamproc.errors import DeliveryError, RecordRefused, StreamprocError
from streamproc.metrics import Metrics
from streamproc.publisher import Publisher

if TYPE_CHECKING:
    from producers.replay_report import OnProgress, ReplayProgress
    from streamproc.model import FrameKey
    from streamproc.records import RecordSource
    from streamproc.settings import Settings

_FINISH_S = 2.0  # longest reading on, after a stop, for the rest of frames that were begun
_STOP_S = 10.0  # longest flush after Ctrl-C or a failure
_SLICE_S = 0.1  # of waiting, between looks at `stop` and `pause`
_PAUSE_SLICE_S = 0.01

MayBegin = Callable[["FrameKey"], bool]
"""Asked before the first tile of a frame is sent; may wait; False ends the replay."""


class Control:
    """Pause and resume, from any thread or signal handler."""

    def __init__(self) -> None:
        self._paused = False  # no Event: its lock may be held by the very thread that a signal handler interrupts

    @property
    def is_paused(self) -> bool:
        """Whether nothing is sent at present."""
        return self._paused

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False

    def toggle(self) -> None:
        """The other of both."""
        self._paused = not self._paused


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where records go.

    Attributes:
        base: Name that the new runs are made of.
        apart: Each frame is a run of its own: for frames that do not follow each other, so that nobody waits for
            those between them.
    """

    topic: str
    partitions: int
    base: str
    apart: bool = False

    def run_of(self, key: FrameKey) -> str:
        """The run that a frame is replayed in."""
        return run_name(self.base, key.run, apart=f"/{key.sequence}" if self.apart else "")


def replay(
    source: RecordSource,
    ranges: Ranges,
    choice: Choice,
    target: Target,
    settings: Settings,
    *,
    speed: float | None,
    limit: int | None = None,
    stop: threading.Event | None = None,
    control: Control | None = None,
    may_begin: MayBegin = lambda _key: True,
    on_sent: Callable[[Timed], None] = lambda _timed: None,
    on_progress: OnProgress = lambda _progress: None,
    meter: ReplayMeter | None = None,
) -> ReplayReport:
    """Send chosen records again, until the ranges' end, `limit` frames, `stop`, or a failure.

    Args:
        source: Read on a thread of its own; not closed.
        ranges: Where to look: first offset and the one after the last, by partition.
        choice: What to send.
        target: Where to, and as which runs.
        settings: The broker.
        speed: Times real time; None is as fast as possible.
        limit: At most so many frames.
        stop: Set it to end the replay: frames that were begun are sent to their end.
        control: To pause and resume.
        may_begin: Asked before each frame.
        on_sent: Told of each record that was handed over.
        on_progress: Told about ten times a second.
        meter: Counts there too; None keeps a registry nobody sees.

    Returns:
        Counts, and what ended it early: call `raise_for_problem`.

    Raises:
        BrokerError: The target has fewer partitions than the source.
    """
    of = max(source.partitions(), default=-1) + 1
    require_enough_partitions(source=source.topic, of=of, target=target.topic, to=target.partitions)
    started_s, own_pixels = time.monotonic(), OwnPixels(source)
    publisher = Publisher(settings, client_id="streamproc-replay").start()
    counting = meter or ReplayMeter(
        Metrics(), source="log", target="other", limit_bytes=settings.producer_queue_bytes // 2
    )

    def tell(now: ReplayProgress) -> None:
        counting.progress(now)
        on_progress(now)

    run = _Replay(
        choice,
        target,
        settings,
        publisher=publisher,
        of=of,
        pace=Pace(speed),
        limit=limit,
        stop=stop or threading.Event(),
        control=control or Control(),
        may_begin=may_begin,
        on_sent=on_sent,
        told=Replayed(total=sum(end - first for first, end in ranges.values()), tell=tell),
        meter=counting,
    )
    try:
        with Ahead(lambda over: own_pixels.of(in_time_order(source, ranges, take=choice.take, stop=over))) as ahead:
            run.send_all(ahead)
        run.flush()
    finally:
        publisher.close(timeout_s=0)
    counting.ended(whole=run.is_whole)
    return run.report(source.topic, left_out=own_pixels.left_out, seconds=time.monotonic() - started_s)


class _Replay:
    """One replay under way; the state that its steps share."""

    def __init__(
        self,
        choice: Choice,
        target: Target,
        settings: Settings,
        *,
        publisher: Publisher,
        of: int,
        pace: Pace,
        limit: int | None,
        stop: threading.Event,
        control: Control,
        may_begin: MayBegin,
        on_sent: Callable[[Timed], None],
        told: Replayed,
        meter: ReplayMeter,
    ) -> None:
        self._choice, self._target, self._settings = choice, target, settings
        self._publisher, self._of = publisher, of
        self._pace, self._lateness = pace, Lateness()
        self._limit, self._stop, self._control = limit, stop, control
        self._may_begin, self._on_sent, self._told, self._meter = may_begin, on_sent, told, meter
        self._book = FrameBook()
        self._runs: dict[tuple[str, str], str] = {}
        self._firsts: dict[tuple[str, str], int] = {}  # lowest sequence of each original run, as far as is known
        self._ending = False
        self._ended_s: float | None = None  # since then no other frame is begun
        self._next_ns: int | None = None
        self._problem: StreamprocError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it came to the end of what was asked for."""
        return self._problem is None and not self._stop.is_set()

    def send_all(self, ahead: Ahead) -> None:
        """Send what is read until it ends or a record fails."""
        try:
            for window in ahead:
                if (window is not None and not self._send_window(window)) or self._is_over(window):
                    return
                self._told.now(time.monotonic(), paused=self._control.is_paused, frames=self._book.complete)
        except StreamprocError as error:
            self._problem = self._problem or error

    def _is_over(self, window: Window | None) -> bool:
        """Whether nothing more is to be sent, after a window (None: none is read yet)."""
        if not self._must_end():
            return False
        now_s = time.monotonic()
        self._ended_s = self._ended_s or now_s
        is_late = now_s - self._ended_s > _FINISH_S
        is_open = self._book.finishing(0 if window is None else window.until_ms)
        if not self._stop.is_set():
            return is_late and not is_open  # for a while it is looked where to go on
        if is_open and not is_late:
            return False
        if self._next_ns is None:  # no other frame was met: behind the last one, in whole microseconds
            last_ns = self._told.last_ns
            self._next_ns = self._choice.from_ns if last_ns is None else (last_ns // 1000 + 1) * 1000
        return True

    def _must_end(self) -> bool:
        """Whether no other frame is to be begun."""
        full = self._limit is not None and self._book.begun >= self._limit
        self._ending = self._ending or full or self._stop.is_set()
        return self._ending

    def _send_window(self, window: Window) -> bool:
        for header in (timed.header for timed in window.records):
            run = (header.camera, header.run)
            self._firsts[run] = min(header.sequence, self._firsts.get(run, header.sequence))
        share = window.passed / max(1, len(window.records))
        self._told.passed += 0 if window.records else window.passed
        for timed in window.records:
            if self._problem is not None or not self._step(timed):
                return False
            self._told.passed += share
            self._told.now(time.monotonic(), paused=self._control.is_paused, frames=self._book.complete)
        return self._problem is None

    def _step(self, timed: Timed) -> bool:
        """Send one record when it is due; False when nothing more is to be sent."""
        known = self._book.knows(timed.header.key)
        if not known and not self._must_end():
            self._ending = not self._may_begin(timed.header.key)
        if not self._wait_until_due(timed) and not known:
            self._ending = True
        if self._ending and not known:
            captured_ns = timed.header.captured_ns
            self._next_ns = captured_ns if self._next_ns is None else min(self._next_ns, captured_ns)
            return self._book.finishing(timed.moment_ms)
        self._send(timed)
        return True

    def _wait_until_due(self, timed: Timed) -> bool:
        """Wait for a record's time; False when asked to stop: then what is begun goes at once."""
        while not self._ending and not self._stop.is_set():
            now_s = time.monotonic()
            if self._control.is_paused:
                self._told.now(now_s, paused=True, frames=self._book.complete)
                self._stop.wait(_PAUSE_SLICE_S)
                self._pace.paused(time.monotonic() - now_s)
                continue
            due_s = self._pace.due_s(timed.moment_ms, now_s=now_s)
            if due_s <= now_s:
                self._lateness.add(now_s - due_s)
                self._meter.behind(now_s - due_s + self._pace.slipped_s)
                return True
            self._stop.wait(min(due_s - now_s, _SLICE_S))
            self._told.now(time.monotonic(), paused=False, frames=self._book.complete)
        return not self._stop.is_set()

    def _send(self, timed: Timed) -> None:
        record, header = timed.record, timed.header
        run = self._run_of(header.key)
        first = header.sequence if self._target.apart else self._firsts[header.camera, header.run]
        size = len(record.value)
        self._wait_for_room(size)
        self._publisher.send(
            topic=self._target.topic,
            partition=partition_of(record, header, of=self._of, to=self._target.partitions),
            key=key_of(record, header, run=run),
            value=None if "value" in record.nulls else record.value,
            headers=headers_of(record, header, run=run, first=first),
            on_delivery=self._reported,
            timeout_s=self._settings.delivery_timeout_s,
        )
        begun = self._book.begun
        self._book.add(header, moment_ms=timed.moment_ms)
        self._meter.sent(
            size,
            begins=self._book.begun > begun,
            captured_ns=header.captured_ns,
            waiting_bytes=self._publisher.queued_bytes,
        )
        self._told.sent(size, captured_ns=header.captured_ns)
        self._on_sent(timed)

    def _run_of(self, key: FrameKey) -> str:
        """The new run of a frame, and a note of it."""
        run = self._target.run_of(key)
        self._runs.setdefault((key.camera, key.run), run)
        return run

    def _reported(self, error: Exception | None, _offset: int | None) -> None:
        if error is not None and self._problem is None:
            self._problem = error if isinstance(error, StreamprocError) else DeliveryError(str(error))

    def _wait_for_room(self, size: int) -> None:
        """Wait here rather than in the publisher, so that a failure and Ctrl-C are seen.

        Raises:
            RecordRefused: No room in time.
        """
        deadline_s = time.monotonic() + self._settings.delivery_timeout_s
        while (queued := self._publisher.queued_bytes) and queued + size > self._settings.producer_queue_bytes // 2:
            if self._stop.is_set():
                deadline_s = min(deadline_s, time.monotonic() + _STOP_S)
            if time.monotonic() > deadline_s or self._problem is not None:
                raise self._problem or RecordRefused(
                    f"topic {self._target.topic}: the queue of unsent records stayed full; is the broker up?"
                )
            time.sleep(0.002)

    def flush(self) -> None:
        """Wait for all reports; not for long after a stop or a failure."""
        deadline_s = time.monotonic() + self._settings.delivery_timeout_s + _STOP_S
        while left := self._publisher.flush(0.2):
            if self._stop.is_set() or self._problem is not None:
                deadline_s = min(deadline_s, time.monotonic() + _STOP_S)
            if time.monotonic() > deadline_s:
                self._problem = self._problem or DeliveryError(
                    f"topic {self._target.topic}: {left} records were not acknowledged when the replay ended"
                )
                return

    def report(self, source: str, *, left_out: int, seconds: float) -> ReplayReport:
        """What became of it."""
        return ReplayReport(
            source=source,
            target=self._target.topic,
            runs=dict(self._runs),
            apart=self._target.apart,
            frames=self._book.begun,
            frames_complete=self._book.complete,
            incomplete=tuple(self._book.incomplete()),
            tiles=self._told.tiles,
            tiles_acked=self._publisher.acked,
            duplicates=self._book.duplicates,
            unreadable=self._choice.unreadable,
            left_out=left_out,
            bytes=self._told.bytes,
            first_ns=self._told.first_ns,
            last_ns=self._told.last_ns,
            next_ns=self._next_ns,
            slipped_s=self._pace.slipped_s,
            late_ms=(self._lateness.quantile_ms(0.5), self._lateness.quantile_ms(0.95)),
            seconds=seconds,
            stopped=self._stop.is_set(),
            problem=self._problem,
        )
