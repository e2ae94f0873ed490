"""Keeping a camera alive: which state follows which, when it is tried again, and what is told of it."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from producers.keeping import HEALTHY_S, LONGEST_S, OFFLINE_REASONS, CameUp, Keeping, delay_s
from streamproc.errors import LostReason

CHANCES = st.floats(0, 1, exclude_max=True)


@given(failures=st.integers(0, 10_000), chance=CHANCES)
def test_waits_are_1_to_30_seconds(failures: int, chance: float) -> None:
    assert 1 <= delay_s(failures, chance=chance) <= LONGEST_S
    assert delay_s(failures, chance=0) <= delay_s(failures + 1, chance=0)


def test_the_first_tries_come_soon_enough_to_see_a_return_within_5_s() -> None:
    assert [delay_s(failures, chance=0.999) < limit for failures, limit in ((0, 2), (1, 4), (2, 8))] == [True] * 3


def test_chance_spreads_tries_over_a_time_as_long_as_the_least_wait() -> None:
    assert delay_s(4, chance=0) == LONGEST_S / 2
    assert delay_s(4, chance=0.5) == 0.75 * LONGEST_S


def test_all_reasons_of_sources_are_reasons() -> None:
    assert set(get_args(LostReason)) < set(OFFLINE_REASONS)


def test_pictures_of_another_form_are_opened_anew_at_once_but_not_for_ever() -> None:
    keeping = Keeping()
    waits = []
    for number in range(4):
        keeping.opening(number)
        keeping.frame(number)
        waits.append(keeping.lost(number + 0.5, "changed", chance=0).after_s)
    assert waits == [0, 2, 4, 8]


def test_a_camera_that_never_answered_is_told_once() -> None:
    keeping = Keeping()
    told = []
    for number in range(3):
        keeping.opening(number)
        told.append(keeping.lost(number, "refused", chance=0).tell)
    assert told == [True, False, False]
    assert not keeping.end()


def test_down_time_counts_from_the_first_loss() -> None:
    keeping = Keeping()
    keeping.opening(100)
    assert keeping.frame(103) == CameUp(again=False, down_s=3)
    keeping.lost(110, "ended", chance=0)
    keeping.opening(112)
    keeping.lost(116, "timeout", chance=0)
    keeping.opening(120)
    assert keeping.frame(121) == CameUp(again=True, down_s=11)
    assert keeping.end()


def test_frames_of_a_camera_that_was_not_opened_are_refused() -> None:
    with pytest.raises(ValueError, match="the camera is idle, expected opening or up"):
        Keeping().frame(0)


class Life(RuleBasedStateMachine):
    """Any life of a camera: what is told alternates, and waits fit what went before."""

    def __init__(self) -> None:
        super().__init__()
        self.keeping = Keeping()
        self.now_s = 1000.0
        self.up_since_s: float | None = None
        self.told: list[str] = []
        self.in_a_row = 0

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.keeping.phase in ("idle", "waiting"))
    @rule()
    def is_tried(self) -> None:
        self.keeping.opening(self.now_s)

    @precondition(lambda self: self.keeping.phase in ("opening", "up"))
    @rule()
    def gives_a_frame(self) -> None:
        was_up = self.keeping.phase == "up"
        news = self.keeping.frame(self.now_s)
        assert (news is None) == was_up
        if news is not None:
            assert news.down_s >= 0
            assert news.again == ("up" in self.told)
            self.told.append("up")
            self.up_since_s = self.now_s

    @precondition(lambda self: self.keeping.phase in ("opening", "up"))
    @rule(reason=st.sampled_from(get_args(LostReason)), chance=CHANCES)
    def is_lost(self, reason: LostReason, chance: float) -> None:
        healthy = self.up_since_s is not None and self.now_s - self.up_since_s >= HEALTHY_S
        before = 0 if healthy else self.in_a_row
        at_once = reason == "changed" and self.up_since_s is not None and before == 0
        found = self.keeping.lost(self.now_s, reason, chance=chance)
        assert found.after_s == (0 if at_once else delay_s(before, chance=chance))
        self.in_a_row = before + 1
        self.up_since_s = None
        if found.tell:
            self.told.append("down")

    @rule()
    @precondition(lambda self: self.keeping.phase != "over" and len(self.told) > 6)
    def is_ended(self) -> None:
        if self.keeping.end():
            self.told.append("down")
        assert self.told[-1] == "down"

    @invariant()
    def what_is_told_alternates(self) -> None:
        assert all(one != other for one, other in zip(self.told, self.told[1:], strict=False))


TestLife = Life.TestCase
