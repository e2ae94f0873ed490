"""The waiting room of frames: bounds and order under any pattern of arrivals and stalls, and each policy's own rule."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from producers.waiting import DROP_POLICIES, DropPolicy, WaitingRoom, cost, parse_drop
from streamproc.errors import UsageError
from streamproc.model import Frame

BOUND = 100_000


def frame(size: int, number: int = 0, *, keyframe: bool = True) -> Frame:
    """A frame of so many bytes; its capture time is its number."""
    return Frame(pixels=np.zeros((1, size), np.uint8), captured_ns=number, keyframe=keyframe)


def numbers(frames: tuple[Frame, ...]) -> list[int]:
    return [one.captured_ns for one in frames]


def full_room(policy: DropPolicy) -> WaitingRoom:
    """Frames 0 to 4 wait, and there is no room for a sixth."""
    room = WaitingRoom(policy, bound_bytes=5 * cost(frame(10_000)))
    for number in range(5):
        assert room.offer(frame(10_000, number), queued_bytes=0).taken
    return room


def test_block_neither_takes_nor_drops_what_has_no_room() -> None:
    room = full_room("block")
    offer = room.offer(frame(10_000, 5), queued_bytes=0)
    assert (offer.taken, offer.dropped) == (False, ())
    assert numbers(room.clear()) == [0, 1, 2, 3, 4]


def test_drop_newest_lets_the_frame_go_that_finds_no_room() -> None:
    room = full_room("drop-newest")
    offer = room.offer(frame(10_000, 5), queued_bytes=0)
    assert (offer.taken, numbers(offer.dropped)) == (False, [5])
    assert numbers(room.clear()) == [0, 1, 2, 3, 4]


def test_drop_oldest_lets_as_many_of_the_oldest_go_as_are_needed() -> None:
    room = full_room("drop-oldest")
    offer = room.offer(frame(15_000, 5), queued_bytes=0)
    assert (offer.taken, numbers(offer.dropped)) == (True, [0, 1])
    assert numbers(room.clear()) == [2, 3, 4, 5]


def test_keyframe_only_takes_every_frame_while_there_is_room() -> None:
    room = WaitingRoom("keyframe-only", bound_bytes=BOUND)
    assert all(room.offer(frame(1000, number, keyframe=number == 0), queued_bytes=0).taken for number in range(20))


def test_keyframe_only_lets_all_but_key_frames_go_until_those_that_wait_were_called() -> None:
    room = full_room("keyframe-only")
    delta, key = (
        room.offer(frame(10_000, 5, keyframe=False), queued_bytes=0),
        room.offer(frame(10_000, 6), queued_bytes=0),
    )
    assert (delta.taken, numbers(delta.dropped)) == (False, [5])
    assert (key.taken, numbers(key.dropped)) == (True, [0])
    first = room.call()
    assert first is not None
    room.leave(cost(first))
    assert numbers(room.offer(frame(1000, 7, keyframe=False), queued_bytes=0).dropped) == [7], "though it would fit"
    for _ in range(4):
        one = room.call()
        assert one is not None
        room.leave(cost(one))
    assert not room.waits
    assert room.offer(frame(1000, 8, keyframe=False), queued_bytes=0).taken


def test_another_bound_holds_from_then_on() -> None:
    room = full_room("drop-newest")
    room.rebound(7 * cost(frame(10_000)))
    assert [room.offer(frame(10_000), queued_bytes=0).taken for _ in range(3)] == [True, True, False]


def test_drop_oldest_never_drops_what_was_called_nor_anything_in_vain() -> None:
    room = full_room("drop-oldest")
    called = [room.call(), room.call(), room.call()]
    assert [one.captured_ns for one in called if one] == [0, 1, 2]
    offer = room.offer(frame(30_000, 5), queued_bytes=0)
    assert (offer.taken, numbers(offer.dropped)) == (False, [5])
    assert numbers(room.clear()) == [3, 4]


@pytest.mark.parametrize("policy", DROP_POLICIES)
def test_a_frame_larger_than_the_room_goes_alone(policy: DropPolicy) -> None:
    room = WaitingRoom(policy, bound_bytes=BOUND)
    assert room.offer(frame(2 * BOUND, 0), queued_bytes=BOUND).taken
    assert not room.offer(frame(1, 1), queued_bytes=0).taken or policy in ("drop-oldest", "keyframe-only")


@pytest.mark.parametrize("policy", DROP_POLICIES)
def test_records_that_wait_to_be_sent_take_room(policy: DropPolicy) -> None:
    room = WaitingRoom(policy, bound_bytes=BOUND)
    assert room.offer(frame(10_000, 0), queued_bytes=0).taken
    assert room.call() is not None
    assert not room.offer(frame(10_000, 1), queued_bytes=BOUND - 20_000).taken
    assert room.offer(frame(10_000, 2), queued_bytes=BOUND // 2).taken


def test_most_frames_bounds_tiny_ones() -> None:
    room = WaitingRoom("block", bound_bytes=BOUND, most_frames=3)
    assert [room.offer(frame(1), queued_bytes=0).taken for _ in range(5)] == [True, True, True, False, False]


def test_tiny_frames_are_bounded_by_what_they_cost_beside_their_pixels() -> None:
    room = WaitingRoom("drop-newest", bound_bytes=BOUND)
    assert sum(room.offer(frame(1), queued_bytes=0).taken for _ in range(1000)) < 100


@given(st.text())
def test_only_the_policies_have_names(text: str) -> None:
    if text in DROP_POLICIES:
        assert parse_drop(text) == text
    else:
        with pytest.raises(UsageError, match="block, drop-oldest, drop-newest"):
            parse_drop(text)


class Flow(RuleBasedStateMachine):
    """A source, the room, a sender whose queue takes half of the bound, and a broker that stalls at will."""

    def __init__(self) -> None:
        super().__init__()
        self.policy: DropPolicy = "block"
        self.room = WaitingRoom("block", bound_bytes=BOUND)
        self.read = 0
        self.refused: Frame | None = None  # under `block` it is offered again
        self.called: deque[Frame] = deque()
        self.numbered: list[int] = []
        self.dropped: list[int] = []
        self.queue: deque[int] = deque()
        self.largest = 0

    @initialize(policy=st.sampled_from(DROP_POLICIES))
    def begin(self, policy: DropPolicy) -> None:
        self.policy = policy
        self.room = WaitingRoom(policy, bound_bytes=BOUND)

    @rule(size=st.integers(1, 40_000) | st.integers(20_000, 40_000), keyframe=st.booleans())
    def arrive(self, size: int, keyframe: bool) -> None:
        new = self.refused
        if new is None:
            new = frame(size, self.read, keyframe=keyframe)
            self.read += 1
        newest_waiting = self.read - 2
        offer = self.room.offer(new, queued_bytes=sum(self.queue))
        self.refused = None if offer.taken or offer.dropped else new
        gone = numbers(offer.dropped)
        if self.policy == "block":
            assert gone == []
        elif self.policy == "drop-newest":
            assert gone in ([], [new.captured_ns])
        else:
            assert gone == sorted(gone)
            assert offer.taken != (new.captured_ns in gone)
            assert len(gone) == 1 or new.captured_ns not in gone
            assert all(number <= newest_waiting for number in gone if number != new.captured_ns)
        assert not set(gone) & set(self.numbered)
        self.dropped.extend(gone)

    @rule(count=st.integers(1, 4))
    def call(self, count: int) -> None:
        for _ in range(count):
            if (one := self.room.call()) is not None:
                self.called.append(one)
                self.numbered.append(one.captured_ns)

    @rule()
    def hand_over(self) -> None:
        if not self.called or sum(self.queue) + cost(self.called[0]) > BOUND // 2:
            return
        one = self.called.popleft()
        tiles = (one.pixels.nbytes // 2, one.pixels.nbytes - one.pixels.nbytes // 2)
        for tile in tiles:
            self.queue.append(tile)
            self.room.shrink(tile)
        self.room.leave(cost(one) - sum(tiles))

    @rule(count=st.integers(1, 6))
    def acknowledge(self, count: int) -> None:
        for _ in range(min(count, len(self.queue))):
            self.queue.popleft()

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.room.held_bytes >= 0
        assert self.room.held_bytes + sum(self.queue) <= BOUND

    @invariant()
    def numbers_are_given_in_order_of_reading(self) -> None:
        assert self.numbered == sorted(self.numbered)

    @invariant()
    def each_frame_is_in_one_place(self) -> None:
        waiting = self.room.held_frames - len(self.called)
        assert self.read == len(self.numbered) + len(self.dropped) + waiting + (self.refused is not None)

    def teardown(self) -> None:
        waiting = numbers(self.room.clear())
        refused = [] if self.refused is None else [self.refused.captured_ns]
        assert sorted([*self.numbered, *self.dropped, *waiting, *refused]) == list(range(self.read))
        assert self.room.held_frames == len(self.called)
        assert self.room.held_bytes == sum(cost(one) for one in self.called)


TestFlow = Flow.TestCase
