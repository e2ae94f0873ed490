"""Calls that are repeated: how long between them, what is told, and how they end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import TimeoutError as NotYet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import SinkError, SinkUnavailable
from streamproc.sinks.persisting import FIRST_S, LONGEST_S, Persisting, pause_s


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 300))
def test_pauses_grow_to_a_bound_and_keep_what_the_target_asks_for(
    tried: int, chance: float, asked_s: float | None
) -> None:
    pause = pause_s(tried, asked_s=asked_s, chance=chance)
    assert FIRST_S / 2 <= pause <= max(LONGEST_S, asked_s or 0)
    assert pause >= (asked_s or 0)
    assert pause_s(tried + 1, asked_s=None, chance=0) >= pause_s(tried, asked_s=None, chance=0)


def test_the_first_pauses_are_half_a_second_doubled() -> None:
    assert [pause_s(tried, asked_s=None, chance=1) for tried in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


class Target:
    """Fails so many times."""

    def __init__(self, failures: int, error: SinkError | None = None) -> None:
        self.left, self.error, self.calls = failures, error or SinkUnavailable("away"), 0

    def __call__(self) -> int:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return self.calls


def test_a_call_is_repeated_until_it_succeeds_and_that_is_told_once() -> None:
    lines: list[str] = []
    retries: list[int] = []
    persisting = Persisting(told=lines.append, retried=lambda: retries.append(1), first_s=0.001)
    assert persisting.submit(Target(4)).result(5) == 5
    assert len(retries) == 4
    assert (len(lines), lines[0]) == (2, "away; nothing is lost, trying again until it answers")
    assert "4 tries" in lines[1]
    assert not persisting.failing
    assert persisting.submit(Target(0)).result(5) == 1
    assert len(lines) == 2
    persisting.submit(Target(1)).result(5)
    assert lines[3].endswith("s and 1 try")
    persisting.close()


@pytest.mark.parametrize("error", [SinkError("no"), ValueError("a bug")])
def test_another_error_is_not_repeated(error: Exception) -> None:
    persisting = Persisting(told=print, retried=lambda: None, first_s=0.001)
    target = Target(9)
    target.error = error  # type: ignore[assignment] # any error
    with pytest.raises(type(error)):
        persisting.submit(target).result(5)
    assert target.calls == 1
    persisting.close()


def test_a_call_is_given_up_when_its_time_is_over() -> None:
    persisting = Persisting(told=lambda _: None, retried=lambda: None, give_up_after_s=0.2, first_s=0.01)
    target = Target(10**9)
    started_s = time.monotonic()
    with pytest.raises(SinkUnavailable):
        persisting.submit(target).result(5)
    assert 0.2 <= time.monotonic() - started_s < 2
    assert target.calls > 2
    persisting.close()


def test_giving_up_ends_a_pause_at_once_and_each_later_call_is_tried_once() -> None:
    persisting = Persisting(told=lambda _: None, retried=lambda: None, first_s=1000)
    future = persisting.submit(Target(10**9))
    with pytest.raises(NotYet):
        future.result(0.1)
    assert persisting.failing
    persisting.give_up()
    with pytest.raises(SinkUnavailable):
        future.result(5)
    later = Target(1)
    with pytest.raises(SinkUnavailable):
        persisting.submit(later).result(5)
    assert later.calls == 1
    persisting.close()


def test_a_call_that_hangs_holds_up_nobody() -> None:
    go_on = threading.Event()
    persisting = Persisting(told=lambda _: None, retried=lambda: None)
    future = persisting.submit(lambda: go_on.wait(30))
    with pytest.raises(NotYet):
        future.result(0.05)
    go_on.set()
    assert future.result(5)
    persisting.close()
