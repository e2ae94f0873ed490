"""From the log to a target: read, collect, write, note. At most one batch is read while another is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final, TypeVar

from streamproc.errors import BadMessage, SinkError, SinkUnavailable, UsageError
from streamproc.metrics import Metrics
from streamproc.reader import Record
from streamproc.sinks.collecting import Collecting
from streamproc.sinks.event import read_event
from streamproc.sinks.log import Log, Reached, check_position
from streamproc.sinks.persisting import Persisting
from streamproc.sinks.report import Options, Report
from streamproc.sinks.sink import Batch, Sink, TargetMoved, Written
from streamproc.sinks.waiting import Waiting
from streamproc.words import Line

_T = TypeVar("_T")
_READ: Final = 100
_POLL_S: Final = 0.1
_COMMIT_S: Final = 1.0
_SHOW_S: Final = 0.5
STOP_S: Final = 7.0  # for the target after a signal, so that all is over in 10 s
STOP_FAILING_S: Final = 2.0  # for one that does not answer anyway
CLOSE_S: Final = 2.0
MAX_MOVES: Final = 100
MAX_TOLD: Final = 10  # unreadable records that are told of one by one


def drive(
    log: Log,
    sink: Sink,
    options: Options,
    *,
    metrics: Metrics,
    stop: Callable[[], bool],
    told: Callable[[str], None],
    away: Callable[[str | None], None] = lambda _: None,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Write events until told to stop, or until the end.

    Args:
        log: Closed by this.
        sink: Closed by this, unless it hangs.
        options: What and from where.
        metrics: Counts events, tries, and what is left.
        stop: Asked several times a second; what was read is then written, for at most 7 seconds.
        told: Takes lines for a person.
        away: Hears why the target does not answer, and None when it is back.
        progress: Hears after each batch.

    Raises:
        SinkError: The target refuses for good, or did not answer for as long as it may. What it has taken is noted.
        BrokerError: The log cannot be read.
        UsageError: `start` would leave a hole or write twice.
    """
    driver = _Driver(log, sink, options, metrics=metrics, stop=stop, told=told, away=away, progress=progress)
    try:
        return driver.run()
    finally:
        driver.close()


class _Driver:
    def __init__(
        self,
        log: Log,
        sink: Sink,
        options: Options,
        *,
        metrics: Metrics,
        stop: Callable[[], bool],
        told: Callable[[str], None],
        away: Callable[[str | None], None],
        progress: Callable[[Report], None],
    ) -> None:
        self._log, self._sink, self._options = log, sink, options
        self._metrics, self._stop, self._told, self._progress = metrics, stop, told, progress
        self._report = Report()
        self._target = Persisting(
            told=told,
            retried=self._retried,
            away=away,
            give_up_after_s=options.give_up_after_s,
            first_s=options.first_pause_s,
        )
        self._hangs = False
        self._stop_by_s: float | None = None
        self._committed_s = 0.0
        self._moves = 0
        self._taken_of_last = 0  # events of a batch that was not written whole
        self._ends: dict[int, int] = {}
        self._waiting = Waiting({}, now_s=0.0)
        self._writing_bytes = 0
        self._shown_s = 0.0
        metrics.sink_events.expect(options.kind)
        metrics.sink_retries.labels(options.kind)

    def run(self) -> Report:
        """All of it."""
        positions = self._begin()
        if positions is None:
            return self._ended_early()
        collecting = Collecting(positions, self._sink.limits)
        while True:
            collecting, over = self._collect(collecting)
            if collecting.empty and over:
                return self._report
            self._writing_bytes = collecting.bytes
            batch = collecting.take()
            self._waiting.begin_batch()
            written = self._write(batch, collecting)
            self._writing_bytes = 0
            if isinstance(written, TargetMoved):
                collecting = self._go_to(written)
            elif written is None:
                self._report.unwritten = len(batch.events) - self._taken_of_last + len(collecting)
                return self._ended_early()
            else:
                self._note(batch, written)
                self._waiting.end_batch()

    def close(self) -> None:
        """Leave the log, and the target unless it hangs."""
        if not self._hangs:
            self._target.give_up()
            closed = self._target.submit(self._sink.close)
            self._patient(closed, CLOSE_S)
            if closed.done():
                self._target.close()
        self._log.close(self._report.positions, timeout_s=CLOSE_S)

    # --- beginning ---------------------------------------------------------------------------------------------

    def _begin(self) -> dict[int, int] | None:
        """Open the target and the log; where to begin, or None if it was stopped before the target answered."""
        bounds = self._log.bounds()
        stored = self._call(self._sink.positions)
        if stored is None:
            return None
        if not self._sink.keeps_positions:
            stored = self._log.committed()
        self._ends = {partition: high for partition, (_, high) in bounds.items()}
        self._waiting = Waiting(self._ends, now_s=time.time())
        positions = self._starts(stored, bounds)
        if not self._start_at(positions):
            return None
        return positions

    def _start_at(self, positions: Mapping[int, int]) -> bool:
        """Note a place at the target, and read on from there; whether the target was there to be told."""

        def begin() -> bool:
            self._sink.begin(positions)
            return True

        if not self._call(begin):
            return False
        self._report.positions = dict(positions)
        self._log.begin(positions)
        return True

    def _starts(self, stored: Mapping[int, int], bounds: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        start = self._options.start
        if stored and start != "committed" and not self._sink.can_rewind:
            raise UsageError(
                f"this sink has a position already, and --from {start} would write events twice or leave some out:"
                " use another target, or another --name and another target"
            )
        if start == "now" or (start == "beginning" and stored):
            at = {partition: high if start == "now" else low for partition, (low, high) in bounds.items()}
        else:  # a partition that is not stored is new: it begins at its first record
            at = {partition: stored.get(partition, low) for partition, (low, _) in bounds.items()}
        for partition, offset in at.items():
            topic = self._options.topic
            missing = check_position(partition, offset, bounds[partition], topic=topic, told=self._told)
            self._report.missing += missing
            at[partition] = offset + missing
        return at

    # --- reading -----------------------------------------------------------------------------------------------

    def _collect(self, collecting: Collecting) -> tuple[Collecting, bool]:
        """Read until a batch is due; whether it is the last."""
        while True:
            over = self._stopping() or self._reached_end(collecting)
            self._show(collecting, at_once=over)
            if over or collecting.due(now_s=time.monotonic()):
                return collecting, over
            self._read(collecting, timeout_s=_POLL_S)

    def _read(self, collecting: Collecting, *, timeout_s: float) -> None:
        for item in self._log.read(max(1, min(_READ, collecting.room)), timeout_s=timeout_s):
            if isinstance(item, Reached):
                collecting.pass_over(item.partition, item.offset, now_s=time.monotonic())
            else:
                self._take(item, collecting)

    def _take(self, record: Record, collecting: Collecting) -> None:
        now_s = time.monotonic()
        if record.offset >= collecting.at(record.partition):
            self._waiting.read(record.partition, record.timestamp_ms / 1000)
        if not self._options.choice.wants(record):
            if collecting.pass_over(record.partition, record.offset + 1, now_s=now_s):
                self._report.passed_over += 1
            return
        try:
            collecting.add(read_event(record), now_s=now_s)
        except BadMessage as bad:
            if collecting.pass_over(record.partition, record.offset + 1, now_s=now_s):
                self._unreadable(record, bad)

    def _unreadable(self, record: Record, bad: BadMessage) -> None:
        self._report.unreadable += 1
        self._metrics.sink_events.labels(self._options.kind, "unreadable").inc()
        if self._report.unreadable <= MAX_TOLD:
            at = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            self._told(Line(f"skipped {record.topic}[{record.partition}]@{record.offset}: {bad}", **at))

    def _reached_end(self, collecting: Collecting) -> bool:
        return self._options.until_end and all(collecting.at(partition) >= end for partition, end in self._ends.items())

    # --- writing -----------------------------------------------------------------------------------------------

    def _write(self, batch: Batch, collecting: Collecting) -> Written | TargetMoved | None:
        """Write a batch, and read on meanwhile; None if the target was given up."""
        future = self._target.submit(lambda: self._sink.write(batch))
        while not future.done():
            self._show(collecting)
            if self._given_up(future):
                self._note_part(batch, future.exception() if future.done() else None)
                return None
            if collecting.room and not self._stopping() and not self._reached_end(collecting):
                self._read(collecting, timeout_s=0.005)
            else:
                self._patient(future, _POLL_S)
        try:
            return future.result()
        except TargetMoved as moved:
            return moved
        except SinkError as error:
            self._note_part(batch, error)
            if isinstance(error, SinkUnavailable) and self._stopping():
                return None
            raise

    def _note_part(self, batch: Batch, error: BaseException | None) -> None:
        """Note what a target that takes events one by one has taken of a batch that it ends at."""
        if isinstance(error, SinkError) and error.taken:
            self._taken_of_last = len(error.taken)
            written = Written(new=sum(error.taken), refused=len(error.taken) - sum(error.taken))
            self._note(batch.first(len(error.taken)), written)

    def _note(self, batch: Batch, written: Written) -> None:
        report, kind = self._report, self._options.kind
        report.written += written.new
        report.known += written.known
        report.refused += written.refused
        for outcome, count in (("written", written.new), ("known", written.known), ("refused", written.refused)):
            self._metrics.sink_events.labels(kind, outcome).inc(count)
        report.positions |= batch.ends
        now_s = time.monotonic()
        if not self._sink.keeps_positions or now_s - self._committed_s >= _COMMIT_S:
            self._committed_s = now_s
            self._log.commit(report.positions)
        report.behind = self._log.behind(report.positions)
        self._progress(report)

    def _show(self, collecting: Collecting, *, at_once: bool = False) -> None:
        """Keep gauges current, also while the target does not answer."""
        now_s = time.monotonic()
        if now_s - self._shown_s < _SHOW_S and not at_once:
            return
        self._shown_s, topic, metrics = now_s, self._options.topic, self._metrics
        positions = self._report.positions
        behind, waited_s = self._waiting.look(positions, self._log.ends(positions), now_s=time.time())
        metrics.lag.labels(topic, "sink").set(behind)
        metrics.lag_seconds.labels(topic, "sink").set(waited_s)
        metrics.buffer_bytes.labels("sink").set(collecting.bytes + self._writing_bytes)
        metrics.buffer_limit.labels("sink").set(2 * self._sink.limits.bytes)

    def _go_to(self, moved: TargetMoved) -> Collecting:
        """Read on from where the target stands."""
        self._moves += 1
        self._waiting.go_back()
        if self._moves > MAX_MOVES:
            raise SinkError(
                f"the target's position was changed {MAX_MOVES} times by others: run one sink for each --name"
            )
        self._told(
            "the target does not stand where this sink left it (set back, or written by another): reading from there"
        )
        bounds = self._log.bounds()
        positions = {partition: moved.positions.get(partition, low) for partition, (low, _) in bounds.items()}
        for partition, offset in positions.items():
            topic = self._options.topic
            missing = check_position(partition, offset, bounds[partition], topic=topic, told=self._told)
            self._report.missing += missing
            positions[partition] = offset + missing
        self._start_at(positions)
        return Collecting(positions, self._sink.limits)

    # --- waiting -----------------------------------------------------------------------------------------------

    def _call(self, call: Callable[[], _T]) -> _T | None:
        """Call the target; None if it was given up after a signal."""
        future = self._target.submit(call)
        while not future.done():
            if self._given_up(future):
                return None
            self._patient(future, _POLL_S)
        try:
            return future.result()
        except SinkUnavailable:
            if self._stopping():
                return None
            raise

    def _given_up(self, future: Future[Any]) -> bool:
        """Whether the time after a signal is over; the target is left alone then."""
        if not self._stopping() or self._stop_by_s is None:
            return False
        left_s = self._stop_by_s - time.monotonic()
        if left_s > (STOP_S - STOP_FAILING_S if self._target.failing else 0):
            return False
        self._target.give_up()
        self._patient(future, _POLL_S)
        self._hangs = not future.done()
        return self._hangs or isinstance(future.exception(), SinkError)

    def _stopping(self) -> bool:
        if self._stop_by_s is None and self._stop():
            self._stop_by_s = time.monotonic() + STOP_S
        return self._stop_by_s is not None

    def _patient(self, future: Future[Any], timeout_s: float) -> None:
        with contextlib.suppress(NotYet):
            future.exception(timeout_s)

    def _ended_early(self) -> Report:
        self._report.problem = "the target did not answer in time; what was not written is read again by the next start"
        return self._report

    def _retried(self) -> None:
        self._report.retries += 1
        self._metrics.sink_retries.labels(self._options.kind).inc()
