"""From the log to a target: where it begins, what fails on the way, how it ends."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from streamproc.errors import BrokerError, SinkError, SinkUnavailable, UsageError
from streamproc.metrics import Metrics
from streamproc.sinks import Choice, Options, drive
from streamproc.sinks.sink import Batch, Limits, TargetMoved, Written
from tests.sinks.material import TOPIC, ids_of, log_of, run


class MemorySink:
    """A target of lists that keeps its position, checks it as SQL does, and fails as it is told."""

    limits = Limits(events=10, bytes=2**20, wait_s=0.0)

    def __init__(self, *, keeps_positions: bool = True, can_rewind: bool = False) -> None:
        self.keeps_positions, self.can_rewind = keeps_positions, can_rewind
        self.stored: dict[int, int] = {}
        self.ids: list[str] = []
        self.failures: list[Exception] = []
        self.closed = False
        self.hang = threading.Event()
        self.hang.set()

    def positions(self) -> dict[int, int]:
        self._fail()
        return dict(self.stored) if self.keeps_positions else {}

    def begin(self, positions: Mapping[int, int]) -> None:
        self._fail()
        self.stored |= positions

    def write(self, batch: Batch) -> Written:
        self.hang.wait(30)
        self._fail()
        if any(self.stored.get(number) != start for number, start in batch.starts.items()):
            raise TargetMoved(dict(self.stored))
        assert len(batch.events) <= self.limits.events
        self.ids += [event.id for event in batch.events]
        self.stored |= batch.ends
        return Written(new=len(batch.events))

    def close(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def test_every_event_is_written_once_in_the_order_of_its_partition() -> None:
    log, sink = log_of(300), MemorySink()
    report = run(log, sink)
    assert sorted(sink.ids) == ids_of(log)
    assert (report.written, report.positions, report.behind) == (300, {0: 100, 1: 100, 2: 100}, 0)
    for number in log.partitions:
        own = ids_of(replace(log, partitions={number: log.partitions[number]}))
        order = [one for one in sink.ids if one in set(own)]
        assert sorted(order) == own
    assert (log.group, log.closed, sink.closed) == (report.positions, True, True)
    assert run(log_of(300), sink).written == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_target_that_fails_again_and_again_gets_every_event_once(seed: int) -> None:
    chance, log, sink, lines = random.Random(seed), log_of(300), MemorySink(), list[str]()
    write = sink.write

    def failing(batch: Batch) -> Written:
        if chance.random() < 0.4:
            raise SinkUnavailable("away")
        written = write(batch)
        if chance.random() < 0.2:  # its answer is lost: the next try finds a position that has moved
            raise SinkUnavailable("away")
        return written

    sink.write = failing  # type: ignore[method-assign]
    report = run(log, sink, lines=lines, first_pause_s=0.0001)
    assert sorted(sink.ids) == ids_of(log)
    assert report.retries > 5
    assert any("away" in line for line in lines)


def test_positions_at_the_target_outlive_it_and_positions_in_kafka_serve_those_without() -> None:
    log, sink = log_of(30), MemorySink()
    sink.stored = {0: 4, 1: 10, 2: 0}
    log.group = {0: 9, 1: 9, 2: 9}
    assert run(log, sink).written == 16
    log, sink = log_of(30), MemorySink(keeps_positions=False)
    log.group = {0: 4, 1: 10}
    sink.stored = {}
    assert run(log, sink).written == 16


@pytest.mark.parametrize(("start", "written"), [("beginning", 30), ("committed", 30), ("now", 0)])
def test_a_new_sink_begins_where_it_is_told(start: Any, written: int) -> None:
    sink = MemorySink()
    assert run(log_of(30), sink, start=start).written == written
    assert sink.stored == {0: 10, 1: 10, 2: 10}


@pytest.mark.parametrize("start", ["beginning", "now"])
def test_a_sink_that_would_write_twice_or_leave_a_hole_is_not_begun_elsewhere(start: Any) -> None:
    sink = MemorySink()
    sink.stored = {0: 4, 1: 4, 2: 4}
    with pytest.raises(UsageError, match="position already"):
        run(log_of(30), sink, start=start)
    assert sink.closed
    sink = MemorySink(can_rewind=True)
    sink.stored = {0: 4, 1: 4, 2: 4}
    assert run(log_of(30), sink, start=start).written == (30 if start == "beginning" else 0)


def test_a_target_that_was_set_back_is_followed_and_one_that_has_lost_everything_begins_anew() -> None:
    for stored in ({0: 2, 1: 3, 2: 0}, {}):
        log, sink, lines = log_of(60), MemorySink(), list[str]()
        write, batches = sink.write, list[Batch]()

        def set_back(
            batch: Batch, write: Any = write, batches: Any = batches, sink: Any = sink, to: Any = stored
        ) -> Any:
            batches.append(batch)
            if len(batches) == 3:
                sink.stored = dict(to)
            return write(batch)

        sink.write = set_back  # type: ignore[method-assign]
        run(log, sink, lines=lines)
        assert set(sink.ids) == set(ids_of(log))
        assert sink.stored == {0: 20, 1: 20, 2: 20}
        assert any("does not stand where" in line for line in lines)


def test_two_that_fight_for_one_position_end_with_an_error() -> None:
    sink = MemorySink()

    def always_moved(_batch: Batch) -> Written:
        raise TargetMoved({})

    sink.write = always_moved  # type: ignore[method-assign, assignment]
    with pytest.raises(SinkError, match="one sink for each --name"):
        run(log_of(30), sink)


def test_records_that_retention_removed_are_told_and_counted() -> None:
    log, sink, lines = log_of(30), MemorySink(), list[str]()
    sink.stored, log.low = {0: 2, 1: 9, 2: 0}, {0: 6, 1: 6}
    report = run(log, sink, lines=lines)
    assert (report.missing, report.written) == (4, 4 + 1 + 10)
    assert any("removed 4 records" in line and "[0]" in line for line in lines)


def test_a_topic_that_was_made_anew_is_refused() -> None:
    sink = MemorySink()
    sink.stored = {0: 11, 1: 0, 2: 0}
    with pytest.raises(BrokerError, match=r"ends at 10, but was read to 11"):
        run(log_of(30), sink)


def test_a_new_partition_is_read_from_its_first_record() -> None:
    sink = MemorySink()
    sink.stored = {0: 10, 1: 10}
    assert run(log_of(30), sink).written == 10


def test_a_choice_and_records_that_are_no_events_move_the_position_on() -> None:
    log, sink, lines = log_of(30), MemorySink(), list[str]()
    records = list(log.partitions[1])
    records[3] = replace(records[3], value=b"{")
    log.partitions = {**log.partitions, 1: records}
    metrics = Metrics()
    options = Options(kind="jsonl", topic=TOPIC, choice=Choice(camera="cam1", kind="frame"), until_end=True)
    report = drive(log, sink, options, metrics=metrics, stop=lambda: False, told=lines.append)
    assert (report.written, report.unreadable, report.passed_over) == (8, 1, 21)
    assert sink.stored == {0: 10, 1: 10, 2: 10}
    assert any("skipped t.events[1]@3" in line for line in lines)
    told = metrics.registry.get_sample_value
    assert told("streamproc_sink_events_total", {"kind": "jsonl", "outcome": "written"}) == 8
    assert told("streamproc_sink_events_total", {"kind": "jsonl", "outcome": "unreadable"}) == 1
    assert told("streamproc_consumer_lag_records", {"topic": TOPIC, "reader": "sink"}) == 0


def test_a_slow_target_holds_up_reading_and_loses_nothing() -> None:
    log, sink = log_of(3000), MemorySink()
    sink.hang.clear()
    read: list[int] = []

    def release() -> None:
        read.append(sum(log._next.values()))
        sink.hang.set()

    threading.Timer(0.5, release).start()
    run(log, sink)
    assert sorted(sink.ids) == ids_of(log)
    assert 0 < read[0] <= 2 * sink.limits.events


def test_a_signal_ends_it_with_all_that_was_read_written() -> None:
    log, sink, reads = log_of(300), MemorySink(), list[int]()
    log.on_read = lambda: reads.append(1)
    report = run(log, sink, stop=lambda: len(reads) > 5, until_end=False)
    assert 0 < report.written < 300
    assert (report.problem, report.unwritten) == (None, 0)
    assert len(sink.ids) == sum(sink.stored.values()) == sum(log._next.values())


@pytest.mark.parametrize("failing", [True, False])
def test_a_signal_is_heard_while_the_target_hangs_or_fails(failing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.sinks.driving.STOP_S", 0.5)
    monkeypatch.setattr("streamproc.sinks.driving.STOP_FAILING_S", 0.2)
    log, sink = log_of(30), MemorySink()
    if failing:
        sink.write = lambda _: (_ for _ in ()).throw(SinkUnavailable("away"))  # type: ignore[method-assign, assignment]
    else:
        sink.hang.clear()
    started_s = time.monotonic()
    report = run(log, sink, stop=lambda: time.monotonic() - started_s > 0.2)
    assert 0.3 < time.monotonic() - started_s < 3
    assert report.problem is not None
    assert report.unwritten > 0
    assert (sink.closed, sink.stored) == (failing, {0: 0, 1: 0, 2: 0})
    sink.hang.set()


def test_a_signal_is_heard_before_the_target_has_answered_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.sinks.driving.STOP_FAILING_S", 0.1)
    sink = MemorySink()
    sink.failures = [SinkUnavailable("away")] * 10**4
    started_s = time.monotonic()
    report = run(log_of(30), sink, stop=lambda: time.monotonic() - started_s > 0.2)
    assert time.monotonic() - started_s < 3
    assert (report.written, report.problem is not None) == (0, True)


def test_a_target_that_may_be_away_for_so_long_ends_it_with_an_error() -> None:
    log, sink = log_of(30), MemorySink()
    sink.failures = [SinkUnavailable("away")] * 10**4
    with pytest.raises(SinkUnavailable, match="away"):
        run(log, sink, give_up_after_s=0.1)
    assert log.closed
    assert sink.closed


def test_a_target_that_refuses_for_good_ends_it_and_what_was_taken_is_noted() -> None:
    log, sink = log_of(300), MemorySink(keeps_positions=False)
    write = sink.write

    def refusing(batch: Batch) -> Written:
        if len(sink.ids) >= 50:
            raise SinkError("no more")
        return write(batch)

    sink.write = refusing  # type: ignore[method-assign]
    with pytest.raises(SinkError, match="no more"):
        run(log, sink)
    assert sum(log.group.values()) == len(sink.ids) >= 50
