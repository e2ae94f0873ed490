"""What frames say of their camera: gaps, frozen pictures, jumps of the clock, speed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.health import WINDOW_S, ClockCheck, Clocks, Finding, Health, Speed
from streamproc.model import Clock

NS = 10**9
WALL_NS = 1_700_000_000 * NS


def health(**options: float | None) -> Health:
    made = Health(**{"gap_s": 2.0, "clock_step_s": 2.0, "fps_sag": 0.7, "fps_expected": None, **options})  # type: ignore[arg-type] # by name
    made.connected(0, waited_s=0, fps=None)
    return made


def arrive(one: Health, now_s: float, *, captured_s: float | None = None, waited_s: float = 0) -> list[Finding]:
    captured_ns = WALL_NS + round((now_s if captured_s is None else captured_s) * NS)
    return one.frame(now_s, captured_ns, waited_s=waited_s, clock="wall", wall_ns=WALL_NS + round(now_s * NS))


# --- gaps --------------------------------------------------------------------------------------


def test_a_gap_says_how_long_it_was_and_how_many_frames_are_missing() -> None:
    one = health(fps_expected=10)
    for number in range(20):
        assert arrive(one, number / 10) == []
    (gap,) = arrive(one, 4.9)
    assert gap.what == "gap"
    assert gap.data["length_s"] == pytest.approx(3.0)
    assert gap.data["to_ns"] - gap.data["from_ns"] == pytest.approx(3 * NS, rel=1e-6)
    assert gap.data["frames_missed"] == 29


def test_a_gap_lasts_over_connections_and_misses_nobody_knows_how_many() -> None:
    one = health()
    arrive(one, 0)
    one.connected(50, waited_s=0, fps=None)
    (gap,) = arrive(one, 60)
    assert (gap.data["length_s"], gap.data["frames_missed"]) == (60, None)


def test_time_without_room_is_no_gap_of_the_camera() -> None:
    one = health()
    arrive(one, 0)
    assert arrive(one, 30, waited_s=29) == []


@given(pauses=st.lists(st.floats(0, 10), max_size=30), limit_s=st.floats(0.1, 5))
def test_exactly_the_pauses_from_the_limit_on_are_gaps(pauses: list[float], limit_s: float) -> None:
    one = health(gap_s=limit_s, clock_step_s=0, fps_sag=0)
    now_s, found = 0.0, 0
    arrive(one, now_s)
    expected = 0
    for pause in pauses:
        expected += (now_s + pause) - now_s >= limit_s
        now_s += pause
        found += len(arrive(one, now_s))
    assert found == expected


# --- clocks ------------------------------------------------------------------------------------


@given(delays=st.lists(st.floats(0, 1.9), min_size=1, max_size=200), fps=st.sampled_from([1.0, 5.0, 25.0]))
def test_late_frames_and_bursts_are_no_clock_steps(delays: list[float], fps: float) -> None:
    clock, arrived_s = ClockCheck(2.0), 0.0
    for number, delay in enumerate(delays):
        arrived_s = max(arrived_s, number / fps + delay)
        assert clock.frame(arrived_s, WALL_NS + round(number / fps * NS)) is None


def test_a_stall_of_the_network_and_the_burst_after_it_are_no_clock_steps() -> None:
    clock = ClockCheck(2.0)
    captured = [number / 10 for number in range(200)]
    arrived = [at if not 5 <= at < 13 else 13.0 for at in captured]
    assert [clock.frame(now, WALL_NS + round(at * NS)) for now, at in zip(arrived, captured, strict=True)] == [
        None
    ] * 200


@given(step_s=st.floats(2.5, 10**6), back=st.booleans(), before=st.integers(1, 50))
def test_a_step_is_told_once_with_its_size(step_s: float, back: bool, before: int) -> None:
    clock = ClockCheck(2.0)
    found = []
    for number in range(before + 200):
        captured_s = number / 10 + ((-step_s if back else step_s) if number >= before else 0)
        if (step := clock.frame(number / 10, WALL_NS + round(captured_s * NS))) is not None:
            found.append((number, step))
    (only,) = found
    assert only[0] == before
    assert only[1] == pytest.approx(-step_s if back else step_s, abs=1e-3)


def test_a_clock_set_back_during_a_gap_is_told_when_lateness_does_not_end() -> None:
    clock = ClockCheck(2.0)
    times = [(at, at) for at in range(10)] + [(at, at - 30) for at in range(100, 130)]
    found = [step for now, at in times if (step := clock.frame(now, WALL_NS + at * NS)) is not None]
    assert found == [pytest.approx(-30, abs=0.2)]


@pytest.mark.parametrize("rate", [1 - 1e-4, 1 + 1e-4])
def test_a_clock_that_runs_a_little_wrong_never_steps(rate: float) -> None:
    clock = ClockCheck(2.0)
    assert all(clock.frame(now, WALL_NS + round(now * rate * NS)) is None for now in range(0, 86_400, 2))


def test_repeated_times_and_times_a_little_back_are_no_steps() -> None:
    clock = ClockCheck(2.0)
    times = [(0.0, 0.0), (0.1, 0.0), (0.2, 0.0), (0.3, 0.5), (0.4, 0.2)]
    assert [clock.frame(now, WALL_NS + round(at * NS)) for now, at in times] == [None] * 5


def steps(clocks: Clocks, frames: list[tuple[float, float, Clock]]) -> list[tuple[float, dict[str, Any]]]:
    """When something is told of frames (arrival, capture time, clock), and what."""
    found = [(now, clocks.frame(now, WALL_NS + round(at * NS), clock)) for now, at, clock in frames]
    return [(now, step.data) for now, step in found if step is not None]


def test_a_clock_that_appears_is_told_once_however_often_both_come() -> None:
    alternating: list[tuple[float, float, Clock]] = [
        (number / 10, number / 10 + 500 * (number % 2), "rtcp" if number % 2 else "pts") for number in range(100)
    ]
    clocks = Clocks(2.0)
    assert steps(clocks, alternating) == [(0.1, {"step_s": 500, "clock": "rtcp", "steps": 1})]
    clocks.begin()
    assert steps(clocks, [(20, 520, "rtcp")]) == [], "the first clock of a connection is no news"


def test_a_clock_that_appears_without_a_jump_is_no_news() -> None:
    """As at each RTSP connection: our clock, then the stream's, then the camera's, all within a second."""
    clocks = Clocks(2.0)
    frames: list[tuple[float, float, Clock]] = [(0.0, 0.0, "wall"), (0.1, 0.099912, "pts"), (0.2, 0.21, "rtcp")]
    assert steps(clocks, frames) == []
    assert steps(clocks, [(0.3, 5.3, "rtcp")]) == [(0.3, {"step_s": 4.99, "clock": "rtcp", "steps": 1})]
    clocks.begin()
    assert steps(clocks, frames) == []
    assert steps(Clocks(0.04), [*frames[:2], (0.2, 0.15, "rtcp")]) == [
        (0.2, {"step_s": -0.049912, "clock": "rtcp", "steps": 1})
    ]


def test_times_that_jump_all_the_time_are_told_seldom_with_their_number() -> None:
    wild: list[tuple[float, float, Clock]] = [(number / 10, 100.0 * number, "pts") for number in range(301)]
    found = steps(Clocks(2.0), wild)
    assert [now for now, _ in found] == pytest.approx([0.1, 10.1, 20.1])
    assert [data["steps"] for _, data in found] == [1, 100, 100]


# --- speed -------------------------------------------------------------------------------------


def sags(speed: Speed, arrivals: list[float]) -> list[tuple[float, str]]:
    return [(at, found.what) for at in arrivals if (found := speed.frame(at)) is not None]


def test_a_sag_is_told_when_it_begins_and_when_it_ends() -> None:
    slow = [20 + number / 2 for number in range(40)]
    arrivals = [number / 10 for number in range(200)] + slow + [40 + number / 10 for number in range(200)]
    speed = Speed(0.7, None)
    speed.begin(0, None)
    found = sags(speed, arrivals)
    assert [what for _, what in found] == ["fps-sag", "fps-restored"]
    assert 20 < found[0][0] < 20 + WINDOW_S
    assert 40 < found[1][0] < 40 + WINDOW_S + 1


@given(jitter=st.lists(st.floats(-0.04, 0.04), min_size=300, max_size=300))
def test_jitter_is_no_sag(jitter: list[float]) -> None:
    speed = Speed(0.7, 10.0)
    speed.begin(0, None)
    arrivals = sorted(max(0.0, number / 10 + late) for number, late in enumerate(jitter))
    assert sags(speed, arrivals) == []


def test_nothing_is_told_before_a_window_is_full() -> None:
    speed = Speed(0.7, 25.0)
    speed.begin(0, None)
    assert sags(speed, [number / 2 for number in range(20)]) == []
    assert sags(speed, [10.0]) == [(10.0, "fps-sag")]


def test_what_the_list_says_is_stronger_than_what_the_source_says() -> None:
    told, said = Speed(0.7, 5.0), Speed(0.7, None)
    for speed in (told, said):
        speed.begin(0, 25.0)
    assert (told.expected, said.expected) == (5.0, 25.0)


def test_a_very_fast_camera_is_measured_in_bounded_memory() -> None:
    speed = Speed(0.7, None)
    speed.begin(0, None)
    for number in range(30_000):
        speed.frame(number / 2000)
    assert speed.measured(15.0) == pytest.approx(2000, rel=0.01)


# --- pictures ----------------------------------------------------------------------------------


def test_a_picture_counts_as_the_same_until_another_comes() -> None:
    one = health()
    assert [one.picture(at, digest) for at, digest in ((0, b"a"), (3, b"a"), (4, b"b"), (9, b"b"))] == [0, 3, 0, 5]
    one.connected(20, waited_s=0, fps=None)
    assert one.picture(21, b"b") == 1


# --- sources that are no cameras ---------------------------------------------------------------


def test_of_a_source_where_silence_is_normal_only_the_speed_is_known() -> None:
    one = health(fps_expected=10)
    one.connected(0, waited_s=0, fps=None, steady=False)
    times = [(0.0, 0.0), (60.0, 5000.0), (60.1, 0.0), (90.0, 1.0)] + [(100 + number, 1.0) for number in range(20)]
    assert [arrive(one, now_s, captured_s=at_s) for now_s, at_s in times] == [[]] * len(times)
    assert one.measured_fps(119, waited_s=0) == 1
