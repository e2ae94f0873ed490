"""From a stream's own times to capture times, and how far they may leave our clock."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.health import Clocks
from producers.sources.stream_clock import DRIFT_NS, StreamClock

if TYPE_CHECKING:
    from collections.abc import Iterable

MS = Fraction(1, 1000)
NOW_NS = 1_800_000_000_000_000_000
S = 1_000_000_000


def live() -> StreamClock:
    return StreamClock(paced=True, endless=True)


def test_presentation_times_count_from_the_first_frame() -> None:
    clock = live()
    assert clock.time_of(5000, MS, now_ns=NOW_NS, now_s=0) == (NOW_NS, "pts")
    for pts, step_ms in ((5040, 40), (5040, 40), (5020, 20), (1000, -4000)):  # repeats, goes back: passed on
        assert clock.time_of(pts, MS, now_ns=NOW_NS + S, now_s=1) == (NOW_NS + step_ms * 10**6, "pts")
    assert clock.time_of(90_000_000, MS, now_ns=NOW_NS, now_s=0) == (NOW_NS + 89_995_000 * 10**6, "pts")  # a jump, too
    assert clock.time_of(None, MS, now_ns=NOW_NS, now_s=0) == (NOW_NS, "wall")
    assert clock.time_of(5, None, now_ns=NOW_NS, now_s=0) == (NOW_NS, "wall")


def test_a_first_frame_without_a_time_is_of_the_stream_s_clock_if_it_has_one() -> None:
    clock = live()
    assert clock.time_of(None, MS, now_ns=NOW_NS, now_s=0) == (NOW_NS, "pts")
    assert clock.time_of(91, MS, now_ns=NOW_NS + S, now_s=1) == (NOW_NS + S, "pts")
    assert live().time_of(None, None, now_ns=NOW_NS, now_s=0) == (NOW_NS, "wall")
    untimed = live()
    assert [untimed.time_of(None, MS, now_ns=NOW_NS, now_s=0)[1] for _ in range(3)] == ["pts", "wall", "wall"]


def test_frames_that_waited_for_the_probe_do_not_make_later_ones_come_from_the_future() -> None:
    clock = live()
    clock.time_of(0, MS, now_ns=NOW_NS + 900 * 10**6, now_s=0)  # captured 900 ms before it was read
    assert clock.time_of(40, MS, now_ns=NOW_NS + 900 * 10**6, now_s=0) == (NOW_NS + 900 * 10**6, "pts")
    assert clock.time_of(1000, MS, now_ns=NOW_NS + 1000 * 10**6, now_s=0.1) == (NOW_NS + 1000 * 10**6, "pts")
    assert clock.time_of(1040, MS, now_ns=NOW_NS + 1100 * 10**6, now_s=0.2) == (NOW_NS + 1040 * 10**6, "pts")


def test_the_cameras_own_time_goes_before_all_others_and_only_for_its_packet() -> None:
    clock = live()
    clock.note(40, NOW_NS - 7, waited_s=0)
    assert clock.time_of(0, MS, now_ns=NOW_NS, now_s=0) == (NOW_NS, "pts")
    assert clock.time_of(40, MS, now_ns=NOW_NS, now_s=0) == (NOW_NS - 7, "rtcp")
    clock.note(80, -5, waited_s=0)
    clock.note(None, NOW_NS, waited_s=0)
    clock.note(80, None, waited_s=0)
    assert clock.time_of(80, MS, now_ns=NOW_NS + S, now_s=1) == (NOW_NS + 80 * 10**6, "pts")


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1) | st.none(), st.floats(0, 1e6))
    ),
    st.booleans(),
)
def test_any_times_are_taken_and_stay_within_64_bits(packets: list[tuple[int, int | None, float]], paced: bool) -> None:
    clock = StreamClock(paced=paced, endless=True)
    for pts, rtcp_ns, now_s in packets:
        clock.note(pts, rtcp_ns, waited_s=now_s)
        captured_ns, _kind = clock.time_of(pts, Fraction(1, 90_000), now_ns=NOW_NS, now_s=now_s)
        assert 0 < captured_ns < 2**63


def run(
    clock: StreamClock, frames: Iterable[tuple[float, float]], *, waited: float = 0.5, set_s: float = 0.0
) -> list[tuple[float, float]]:
    """Reads frames, each of a time of arrival and a time of the stream, seconds.

    Args:
        clock: As it stands.
        frames: In their order.
        waited: Share of the time that is spent waiting for them.
        set_s: By how much our wall clock is set after an hour.

    Returns:
        For each frame its arrival, and how far its capture time is ahead of the true wall clock then.
    """
    found, last_s = [], 0.0
    for now_s, at_s in frames:
        clock.note(None, None, waited_s=waited * (now_s - last_s))
        last_s = now_s
        now_ns = NOW_NS + round((now_s + (set_s if now_s >= 3600 else 0)) * S)
        captured_ns, kind = clock.time_of(round(at_s * 1000), MS, now_ns=now_ns, now_s=now_s)
        assert kind == "pts"
        found.append((now_s, (captured_ns - now_ns) / S))
    return found


def steps(found: list[tuple[float, float]]) -> list[float]:
    """Events of the clock, as ingest tells them."""
    clocks = Clocks(2.0)
    told = [clocks.frame(now_s, NOW_NS + round((now_s + ahead_s) * S), "pts") for now_s, ahead_s in found]
    return [finding.data["step_s"] for finding in told if finding is not None]


HOURS = [float(second) for second in range(6 * 3600)]
BOUND_S = DRIFT_NS / S + 0.1  # and what a clock that is 1 in 1000 wrong makes in a minute and a half


@pytest.mark.parametrize("rate", [0.999, 0.9999, 1.0, 1.0001, 1.001])
def test_a_camera_s_clock_that_is_slow_or_fast_never_leaves_ours_by_more_than_the_bound(rate: float) -> None:
    found = run(live(), [(now_s, now_s * rate) for now_s in HOURS])
    assert all(-BOUND_S <= ahead_s <= 0.001 for _now_s, ahead_s in found)
    assert len(steps(found)) == (7 if rate == 0.999 else 0)  # 21.6 s in 6 h, 3 s at a time
    assert all(2.9 < step_s < 3.1 for step_s in steps(found))


def bursts(rate: float) -> list[tuple[float, float]]:
    """HLS for two hours: three segments of 6 s at once, then one every 6 s by a clock of this rate; 5 fps."""
    segments = 1200
    return [
        (max(0.0, (number - 2) * 6 / rate) + step * 0.01, number * 6 + step * 0.2)
        for number in range(segments)
        for step in range(30)
    ]


@pytest.mark.parametrize("rate", [0.999, 1.0, 1.001])
def test_a_live_playlist_stays_ahead_by_its_bursts_alone(rate: float) -> None:
    frames = bursts(rate)
    found = run(StreamClock(paced=False, endless=True), frames, waited=0.9)
    assert all(11 - BOUND_S <= ahead_s <= 18 + BOUND_S for now_s, ahead_s in found if now_s > 1)
    begun = [now_s + ahead_s - at_s for (now_s, ahead_s), (_now_s, at_s) in zip(found, frames, strict=True)]
    moves = [after - before for before, after in pairwise(begun) if abs(after - before) > 0.01]
    assert len(moves) == (0 if rate == 1.0 else 2)
    assert all(3 < (move if rate < 1 else -move) < 3.2 for move in moves)


def test_a_network_that_stalls_now_and_then_and_a_reader_that_is_held_up_are_no_drift() -> None:
    late = [(max(now_s, now_s // 40 * 40 + 25), now_s) for now_s in HOURS[:3600]]  # 25 s of silence in every 40 s
    assert steps(run(live(), late)) == []
    behind = [(now_s + min(30.0, now_s / 10), now_s) for now_s in HOURS[:3600]]
    found = run(live(), behind, waited=0.01)
    assert found[-1][1] == pytest.approx(-30)
    assert run(live(), behind, waited=0.9)[-1][1] > -BOUND_S


@pytest.mark.parametrize("set_s", [-7200.0, -1.0, 5.0, 7200.0])
@pytest.mark.parametrize("paced", [True, False])
def test_when_our_clock_is_set_the_times_go_with_it(set_s: float, paced: bool) -> None:
    clock = StreamClock(paced=paced, endless=True)
    found = run(clock, [(now_s, now_s) for now_s in HOURS[:5000]], set_s=set_s, waited=0.01)
    assert all(ahead_s == pytest.approx(0, abs=0.001) for _now_s, ahead_s in found)


@pytest.mark.parametrize("jump_s", [-100_000.0, -5.0, 5.0, 100_000.0])
def test_a_jump_of_the_camera_s_own_times_is_passed_on_and_mended_within_two_minutes(jump_s: float) -> None:
    found = run(live(), [(now_s, now_s + (jump_s if now_s >= 1000 else 0)) for now_s in HOURS[:2000]])
    at = {round(now_s): ahead_s for now_s, ahead_s in found}
    assert at[1000] == pytest.approx(jump_s, abs=0.01)
    assert at[1120] == pytest.approx(0, abs=0.01)
    there, back = steps(found)
    assert (there > 0) == (jump_s > 0)
    assert (back > 0) == (jump_s < 0)


def test_a_film_keeps_its_own_times_however_fast_it_is_read() -> None:
    found = run(StreamClock(paced=False, endless=False), [(at_s / 50, at_s) for at_s in HOURS], set_s=0)
    assert all(later[1] - sooner[1] == pytest.approx(0.98, abs=0.001) for sooner, later in pairwise(found))
    found = run(StreamClock(paced=False, endless=False), [(at_s * 2, at_s) for at_s in HOURS], waited=1)
    assert found[-1][1] == pytest.approx(-HOURS[-1])
