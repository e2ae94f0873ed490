"""How long records have waited. Time is an argument."""

from __future__ import annotations

import pytest

from streamproc.lag import Lag, Standing, most_of_kept


def standing(next_offset: int, end: int, heard_s: float, since_s: float | None = None) -> Standing:
    return Standing(next=next_offset, end=end, heard_s=heard_s, since_s=since_s)


def test_a_burst_after_a_pause_has_not_waited_for_as_long_as_the_pause() -> None:
    lag = Lag[int]()
    assert lag.look({0: standing(10, 10, 100.0, 100.0)}, 100.0) == {0: 0.0}
    assert lag.look({0: standing(10, 10, 147.0, 100.0)}, 147.0) == {0: 0.0}
    assert lag.look({0: standing(10, 60, 148.0, 100.0)}, 148.0) == {0: 1.0}
    assert lag.look({0: standing(10, 60, 158.0, 100.0)}, 158.0) == {0: 11.0}, "and grows while nothing is read"
    assert lag.look({0: standing(30, 60, 159.0, 157.5)}, 159.0) == {0: 1.5}, "the record read last is the better bound"


def test_after_a_start_a_backlog_is_as_old_as_the_records_that_are_read() -> None:
    lag = Lag[int]()
    assert lag.look({0: standing(10, 60, 100.0)}, 100.0) == {0: 0.0}
    assert lag.look({0: standing(10, 60, 130.0)}, 130.0) == {0: 30.0}, "nothing is read: at least since it was found"
    assert lag.look({0: standing(11, 60, 131.0, 31.0)}, 131.0) == {0: 100.0}


def test_an_end_that_was_not_heard_anew_does_not_make_what_came_meanwhile_young() -> None:
    lag = Lag[int]()
    assert lag.look({0: standing(10, 10, 100.0, 90.0)}, 400.0) == {0: 0.0}, "the broker has been away for 300 s"
    assert lag.look({0: standing(10, 60, 401.0, 90.0)}, 401.0) == {0: 301.0}


def test_an_end_before_the_position_is_no_word_of_an_empty_partition() -> None:
    lag = Lag[int]()
    assert lag.look({0: standing(10, 0, 100.0)}, 100.0) == {0: 0.0}
    assert lag.look({0: standing(11, 60, 101.0, 41.0)}, 101.0) == {0: 60.0}


def test_each_partition_is_judged_by_itself_and_forgotten_with_its_going() -> None:
    lag = Lag[int]()
    both = {0: standing(5, 5, 100.0), 1: standing(5, 5, 100.0)}
    assert lag.look(both, 100.0) == {0: 0.0, 1: 0.0}
    moving = {0: standing(5, 9, 110.0, 99.0), 1: standing(9, 10, 110.0, 109.5)}
    assert lag.look(moving, 110.0) == {0: 10.0, 1: 0.5}
    assert lag.look({1: standing(10, 10, 111.0, 110.0)}, 111.0) == {1: 0.0}
    assert lag.look({0: standing(5, 9, 200.0)}, 200.0) == {0: 0.0}, "it came back: nothing is known of it"


def test_a_partition_read_again_from_further_back_is_older_than_its_last_quiet_moment() -> None:
    lag = Lag[int]()
    lag.look({0: standing(10, 10, 100.0, 99.0)}, 100.0)
    assert lag.look({0: standing(5, 10, 101.0, 80.0)}, 101.0) == {0: 21.0}


def test_a_clock_of_the_writer_that_is_ahead_makes_no_negative_age() -> None:
    assert Lag[int]().look({0: standing(1, 3, 100.0, 103.0)}, 100.0) == {0: 0.0}


@pytest.mark.parametrize(
    ("first", "next_offset", "end", "share"),
    [
        (0, 100, 100, 0.0),
        (20, 100, 100, 0.0),
        (20, 40, 100, 0.75),
        (20, 20, 100, 1.0),
        (20, 19, 100, 1.0),  # one was deleted unread
        (20, 5, 10, 1.0),  # more than was known of was deleted unread
        (100, 40, 100, 0.0),  # nothing is kept: nothing is left to lose
        (20, 100, 90, 0.0),  # nothing was heard for long
        (0, 0, 0, 0.0),
        (None, 40, 100, 0.0),
    ],
)
def test_the_share_of_what_is_kept_that_is_unread(first: int | None, next_offset: int, end: int, share: float) -> None:
    assert Standing(next=next_offset, end=end, heard_s=1.0, first=first).unread_of_kept == share


def test_the_partition_nearest_to_a_loss_counts() -> None:
    parts = [Standing(next=next_offset, end=100, heard_s=1.0, first=0) for next_offset in (90, 30, 100)]
    assert most_of_kept(parts) == 0.7
    assert most_of_kept([]) == 0.0
