"""Frames at an even rate, and the ones that get preview pictures; all on a clock of our own."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.pacing import Fps, Pacer, PreviewChoice, StreamPacer, frames_a_second, parse_fps
from streamproc.errors import UsageError
from streamproc.model import Clock as Whose
from streamproc.model import Frame


class Clock:
    """A clock that only waiting and working moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits: list[float] = []
        self.stop = False

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_s += seconds
        return self.stop


def pacer(fps: float | None) -> tuple[Pacer, Clock]:
    clock = Clock()
    return Pacer(fps, now_s=lambda: clock.now_s, wait=clock.wait), clock


def test_frames_go_at_the_rate_from_the_first_one_on() -> None:
    made, clock = pacer(25)
    times = []
    for _ in range(101):
        assert made.wait_for_next()
        times.append(clock.now_s)
        clock.now_s += 0.013  # work
    assert times[0] == 100
    assert times[100] == pytest.approx(104)
    assert max(b - a for a, b in itertools.pairwise(times)) == pytest.approx(0.04)


def test_a_short_delay_is_made_good() -> None:
    made, clock = pacer(10)
    made.wait_for_next()
    clock.now_s += 0.5
    for _ in range(5):
        made.wait_for_next()
    assert clock.now_s == pytest.approx(100.5)
    made.wait_for_next()
    assert clock.now_s == pytest.approx(100.6)


def test_a_long_stall_is_not_made_good_by_a_burst() -> None:
    made, clock = pacer(10)
    made.wait_for_next()
    clock.now_s += 60
    made.wait_for_next()
    made.wait_for_next()
    assert clock.now_s == pytest.approx(160.1)


def test_without_a_rate_nothing_waits() -> None:
    made, clock = pacer(None)
    for _ in range(10):
        assert made.wait_for_next()
    assert sum(clock.waits) == 0


def test_a_stop_while_waiting_is_told() -> None:
    made, clock = pacer(1)
    made.wait_for_next()
    clock.stop = True
    assert not made.wait_for_next()


# --- what comes in bursts ----------------------------------------------------------------------

WALL_NS = 1_700_000_000 * 10**9
NOTHING = np.zeros((1, 1), np.uint8)


def played(
    frames: Iterable[tuple[float, float]], *, whose: Whose = "pts", work_s: float = 0.002
) -> Iterator[tuple[float, float]]:
    """Frames (when it is there, its own time) as they are let go: when, and its own time."""
    clock = Clock()
    begun_s = clock.now_s
    paced = StreamPacer(now_s=lambda: clock.now_s, wait=clock.wait)
    for there_s, own_s in frames:
        clock.now_s = max(clock.now_s, begun_s + there_s) + work_s  # a source is read when the frame before is gone
        assert paced.wait_for(Frame(pixels=NOTHING, captured_ns=WALL_NS + round(own_s * 1e9), clock=whose))
        yield clock.now_s - begun_s, own_s


def live(
    seconds: int,
    *,
    fps: int = 5,
    rate: float = 1.0,
    segment_s: int = 6,
    behind: int = 3,
    stall: range = range(0),
) -> list[tuple[float, float]]:
    """A live playlist read from `behind` segments before its end; `rate` is of the encoder's clock.

    What would have come during `stall` comes at its end.
    """
    found = []
    for number in range(seconds * fps):
        own_s = number / fps
        there_s = (own_s // segment_s + 1 - behind) * segment_s / rate
        found.append((stall.stop if there_s in stall else max(0.0, there_s), own_s))
    return found


def test_a_film_that_is_there_at_once_goes_at_its_own_pace() -> None:
    times = list(played((0.0, number / 25) for number in range(250)))
    assert all(own_s - 0.01 < at_s < own_s + 0.01 for at_s, own_s in times)


def test_at_the_live_end_no_delay_is_added_and_none_grows() -> None:
    for rate in (1 - 1e-4, 1.0, 1 + 1e-4):
        behind = [at_s - own_s / rate for at_s, own_s in played(live(4 * 3600, fps=2, rate=rate))]
        assert max(behind) < min(behind[:100]) + 0.5, rate


def test_segments_that_come_later_and_later_are_played_without_holes() -> None:
    """Each a little late for ever must not mean each a little fast, with a hole before the next."""
    times = [at_s for at_s, _ in played(live(3600, rate=1 - 1e-3, segment_s=12, behind=1))][-5000:]
    assert max(b - a for a, b in itertools.pairwise(times)) < 1


@pytest.mark.parametrize("stall_s", [25, 65])
def test_what_a_stall_costs_is_made_good_without_a_burst(stall_s: int) -> None:
    times = list(played(live(600, stall=range(60, 60 + stall_s))))
    behind = {round(own_s): at_s - own_s for at_s, own_s in times}
    assert behind[75] > behind[50] + 5, "the stall was longer than what was there"
    assert behind[590] == pytest.approx(behind[50], abs=0.2)
    assert min(b - a for (a, _), (b, _) in itertools.pairwise(times)) > 0.2 / 1.3


@pytest.mark.parametrize("step_s", [3600 * 24 * 365.0, -3600.0, 30.0, -0.01])
def test_a_jump_of_the_times_holds_no_frame_and_lets_none_go_at_once(step_s: float) -> None:
    own = [number / 10 + (step_s if number >= 50 else 0) for number in range(100)]
    times = [at_s for at_s, _ in played((0.0, at) for at in own)]
    assert [b - a for a, b in itertools.pairwise(times)] == [pytest.approx(0.1, abs=0.02)] * 99


@pytest.mark.parametrize(
    ("whose", "own"),
    [
        ("wall", [0.0] * 500),
        ("wall", [number / 1000 for number in range(500)]),
        ("pts", [0.0] * 500),
        ("pts", [number * 100.0 for number in range(500)]),
        ("pts", [-number * 1.0 for number in range(500)]),
    ],
)
def test_times_that_say_nothing_let_frames_go_at_a_bounded_rate(whose: Whose, own: list[float]) -> None:
    times = [at_s for at_s, _ in played([(0.0, at) for at in own], whose=whose)]
    assert 500 / 160 < times[-1] < 500 / 20


def test_repeated_times_keep_the_pace() -> None:
    times = [at_s for at_s, _ in played((0.0, number // 2 / 12.5) for number in range(1000))]
    assert times[-1] == pytest.approx(40, abs=0.2)


@given(own=st.lists(st.floats(-1e6, 1e6) | st.floats(0, 20), max_size=50), whose=st.sampled_from(["pts", "wall"]))
def test_no_frame_is_held_for_long_whatever_its_time_is(own: list[float], whose: Whose) -> None:
    times = [0.0, *(at_s for at_s, _ in played([(0.0, at) for at in own], whose=whose))]
    assert all(b - a < 10.1 for a, b in itertools.pairwise(times))


def test_a_stop_while_a_frame_is_held_is_told() -> None:
    clock = Clock()
    paced = StreamPacer(now_s=lambda: clock.now_s, wait=clock.wait)
    assert paced.wait_for(Frame(pixels=NOTHING, captured_ns=WALL_NS, clock="pts"))
    clock.stop = True
    assert not paced.wait_for(Frame(pixels=NOTHING, captured_ns=WALL_NS + 10**9, clock="pts"))


# --- rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fps", "source", "expected"),
    [("max", 25.0, None), ("source", 25.0, 25.0), ("source", None, None), (5.0, 25.0, 5.0), (5.0, None, 5.0)],
)
def test_what_a_rate_means_for_a_source(fps: Fps, source: float | None, expected: float | None) -> None:
    assert frames_a_second(fps, source) == expected


@pytest.mark.parametrize(("text", "fps"), [("max", "max"), ("source", "source"), ("25", 25.0), ("0.5", 0.5)])
def test_rates_as_people_write_them(text: str, fps: Fps) -> None:
    assert parse_fps(text) == fps


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "inf", "1e9"])
def test_wrong_rates_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--fps"):
        parse_fps(text)


def previews(choice: PreviewChoice, fps: float, frames: int = 250) -> list[int]:
    return [number for number in range(frames) if choice.chosen(number, int(number * 1e9 / fps))]


@pytest.mark.parametrize("fps", [1.0, 4.9, 5.0, 25.0, 29.97, 60.0, 240.0])
@pytest.mark.parametrize("per_s", [0.5, 1.0, 5.0])
def test_previews_stay_below_their_rate_of_capture_time(fps: float, per_s: float) -> None:
    chosen = previews(PreviewChoice(per_s), fps)
    assert chosen[0] == 0
    assert len(chosen) <= 250 / fps * per_s + 1
    assert len(chosen) >= min(250, 250 / fps * per_s) / 2


def test_previews_of_a_film_read_flat_out_follow_its_own_time() -> None:
    choice = PreviewChoice(5, stream_fps=25)
    assert previews(choice, fps=1000, frames=20) == [0, 5, 10, 15]
    assert previews(PreviewChoice(5, stream_fps=2), fps=1000, frames=3) == [0, 1, 2]


def test_no_previews_when_switched_off() -> None:
    assert previews(PreviewChoice(0), 25) == []
    assert previews(PreviewChoice(0, stream_fps=25), 25) == []


def test_a_clock_set_back_does_not_end_previews() -> None:
    choice = PreviewChoice(5)
    assert choice.chosen(0, 10**18)
    assert choice.chosen(1, 10**18 - 10**15)
    assert not choice.chosen(2, 10**18 - 10**15 + 10**6)
