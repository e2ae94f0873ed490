"""Batches join without a hole or an overlap, whatever comes and whenever they are taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamproc.sinks.collecting import PASSED_OVER_S, Collecting
from streamproc.sinks.sink import Batch, Limits
from tests.sinks.material import sink_event

LIMITS = Limits(events=5, bytes=5000, wait_s=1.0)
EVENTS = {(partition, at): sink_event(at, at, partition=partition) for partition in range(3) for at in range(30)}
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["event", "event", "unwanted", "again", "gap", "take"])), max_size=60
)


class Walk:
    """A log that is walked along at random, beside what must come of it."""

    def __init__(self, known: set[int]) -> None:
        self.collecting = Collecting(dict.fromkeys(known, 0), LIMITS)
        self.at = dict.fromkeys(range(3), 0)
        self.wanted: list[tuple[int, int]] = []
        self.batches: list[Batch] = []

    def step(self, partition: int, step: str) -> None:
        offset = self.at[partition]
        if step == "event":
            assert self.collecting.add(EVENTS[partition, offset], now_s=0)
            self.wanted.append((partition, offset))
            self.at[partition] += 1
        elif step == "unwanted":
            assert self.collecting.pass_over(partition, offset + 1, now_s=0)
            self.at[partition] += 1
        elif step == "gap":  # markers of transactions, compaction
            self.at[partition] += 2
        elif step == "again" and offset and self.collecting.at(partition) == offset:
            assert not self.collecting.add(EVENTS[partition, offset - 1], now_s=0)
        elif step == "take" and not self.collecting.empty:
            self.batches.append(self.collecting.take())


@given(STEPS, st.sets(st.integers(0, 2)))
def test_batches_of_any_interleaving_join_and_hold_each_event_once(
    steps: list[tuple[int, str]], known: set[int]
) -> None:
    walk = Walk(known)
    for partition, step in steps:
        if walk.at[partition] < 28:
            walk.step(partition, step)
    batches = [*walk.batches, walk.collecting.take()]
    ends: dict[int, int | None] = {partition: 0 if partition in known else None for partition in range(3)}
    for batch in batches:
        assert set(batch.starts) == set(batch.ends)
        for partition, start in batch.starts.items():
            assert start == ends[partition]
            ends[partition] = batch.ends[partition]
        for event in batch.events:
            assert (batch.starts[event.partition] or 0) <= event.offset < batch.ends[event.partition]
    assert [(event.partition, event.offset) for batch in batches for event in batch.events] == walk.wanted
    assert (walk.collecting.empty, len(walk.collecting)) == (True, 0)


def test_a_batch_is_due_when_it_is_full_or_its_first_event_has_waited() -> None:
    collecting = Collecting({0: 0}, LIMITS)
    assert not collecting.due(now_s=1e9)
    collecting.add(EVENTS[0, 0], now_s=10.0)
    assert not collecting.due(now_s=10.9)
    assert collecting.due(now_s=11.0)
    for at in range(1, 5):
        assert collecting.room == 5 - at
        collecting.add(EVENTS[0, at], now_s=10.0)
    assert collecting.due(now_s=10.0)


def test_a_batch_is_full_by_its_bytes() -> None:
    line = len(EVENTS[0, 0].line)
    collecting = Collecting({0: 0}, Limits(events=100, bytes=2 * line, wait_s=1))
    collecting.add(EVENTS[0, 0], now_s=0)
    assert collecting.room == 99
    collecting.add(EVENTS[0, 1], now_s=0)
    assert (collecting.room, collecting.due(now_s=0)) == (0, True)


def test_positions_alone_are_written_seldom_and_wait_from_the_first_event_on() -> None:
    collecting = Collecting({0: 0}, LIMITS)
    collecting.pass_over(0, 4, now_s=0.0)
    assert not collecting.due(now_s=PASSED_OVER_S - 0.1)
    assert collecting.due(now_s=PASSED_OVER_S)
    collecting.add(EVENTS[0, 4], now_s=4.0)
    assert not collecting.due(now_s=4.9)
    assert collecting.due(now_s=5.0)
    batch = collecting.take()
    assert (dict(batch.starts), dict(batch.ends), len(batch.events)) == ({0: 0}, {0: 5}, 1)
