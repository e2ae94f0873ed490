"""Frames at an even rate, and the ones that get preview pictures; all on a clock of our own."""

from __future__ import annotations

import itertools

import pytest

from producers.pacing import Fps, Pacer, PreviewChoice, frames_a_second, parse_fps
from streamproc.errors import UsageError


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
