"""Records are due at the distances they had, whatever the speed, however often it is paused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.replay_pace import CATCH_UP_S, Lateness, Pace, parse_speed
from streamproc.errors import UsageError

GAPS_MS = st.lists(st.integers(0, 5_000), min_size=1, max_size=40)


@given(gaps=GAPS_MS, speed=st.sampled_from([0.25, 1.0, 4.0, 60.0]), begun_s=st.floats(0, 1e6))
def test_who_is_on_time_keeps_the_distances_of_the_log_divided_by_the_speed(
    gaps: list[int], speed: float, begun_s: float
) -> None:
    pace, moments = Pace(speed), list(itertools.accumulate(gaps, initial=1_700_000_000_000))
    now_s, due = begun_s, []
    for moment_ms in moments:
        now_s = max(now_s, pace.due_s(moment_ms, now_s=now_s))
        due.append(now_s)
    for moment_ms, due_s in zip(moments, due, strict=True):
        assert due_s - begun_s == pytest.approx((moment_ms - moments[0]) / 1000 / speed, abs=1e-6)
    assert pace.slipped_s == 0


@given(
    steps=st.lists(st.tuples(st.integers(0, 2_000), st.floats(0, 0.9 * CATCH_UP_S)), min_size=1, max_size=30),
    speed=st.sampled_from([0.5, 1.0, 8.0]),
)
def test_work_that_takes_less_than_a_second_does_not_move_what_comes_later(
    steps: list[tuple[int, float]], speed: float
) -> None:
    pace, now_s, moment_ms = Pace(speed), 50.0, 0
    for gap_ms, work_s in steps:
        moment_ms += gap_ms
        due_s = pace.due_s(moment_ms, now_s=now_s)
        assert due_s == pytest.approx(50.0 + (moment_ms - steps[0][0]) / 1000 / speed, abs=1e-6)
        now_s = max(now_s, due_s + work_s)  # at most so late, however much work came before
    assert pace.slipped_s == 0


@given(pause_s=st.floats(0.01, 1e5), after=st.integers(1, 500))
def test_a_pause_moves_everything_after_it_by_its_length_and_nothing_slips(pause_s: float, after: int) -> None:
    pace = Pace(1.0)
    assert pace.due_s(1000, now_s=10.0) == 10.0
    pace.paused(pause_s)
    assert pace.due_s(1000 + after, now_s=10.0 + pause_s) == pytest.approx(10.0 + pause_s + after / 1000)
    assert pace.slipped_s == 0


def test_a_stall_of_more_than_a_second_is_no_reason_for_a_burst() -> None:
    pace = Pace(2.0)
    assert pace.due_s(0, now_s=0.0) == 0.0
    assert pace.due_s(1000, now_s=5.0) == 5.0
    assert pace.slipped_s == 4.5
    assert pace.due_s(2000, now_s=5.0) == 5.5


def test_at_full_speed_everything_is_due_at_once() -> None:
    pace = Pace(None)
    assert [pace.due_s(moment, now_s=3.0) for moment in (0, 10**6, 10**9)] == [3.0, 3.0, 3.0]


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("4x", 4.0), ("0.5", 0.5), ("1000x", 1000.0), ("max", None)])
def test_speeds_that_are_understood(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "1001", "4xx", "fast"])
def test_any_other_speed_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="--speed"):
        parse_speed(text)


def test_lateness_is_told_as_quantiles_to_a_tenth_of_a_millisecond() -> None:
    late = Lateness()
    assert late.quantile_ms(0.95) == 0.0
    for number in range(100):
        late.add(number / 10_000)
    late.add(3600)
    assert late.quantile_ms(0.5) == pytest.approx(5.0, abs=0.1)
    assert late.quantile_ms(0.95) == pytest.approx(9.5, abs=0.1)
    assert late.quantile_ms(1.0) == 10_000.0
