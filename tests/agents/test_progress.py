"""A moment is reached when all that was published until then is worked off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamproc.agents.progress import Progress


def test_a_backlog_holds_time_back_until_it_is_worked_off() -> None:
    progress = Progress()
    progress.observe(0, done={0: 0, 1: 0}, ends={0: 5, 1: 9})
    assert progress.reached_s == float("-inf")
    progress.observe(1, done={0: 5, 1: 8}, ends={0: 7, 1: 9})
    assert progress.reached_s == float("-inf"), "one partition lags"
    progress.observe(2, done={0: 6, 1: 9}, ends={0: 8, 1: 9})
    assert progress.reached_s == 0
    progress.observe(3, done={0: 8, 1: 9}, ends={0: 8, 1: 9})
    assert progress.reached_s == 3


def test_under_steady_load_time_runs_behind_by_the_lag_alone() -> None:
    progress = Progress()
    for second in range(100):
        progress.observe(second, done={0: 10 * (second - 4)}, ends={0: 10 * second})
    assert progress.reached_s == 95


def test_a_backlog_of_days_is_remembered_in_bounded_memory() -> None:
    progress = Progress()
    for second in range(50_000):
        progress.observe(second, done={0: 0}, ends={0: second + 1})
    assert len(progress._moments) <= 1024
    progress.observe(50_000, done={0: 40_000}, ends={0: 50_001})
    assert 39_000 < progress.reached_s < 40_000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_time_never_passes_what_was_published_by_then(steps: list[tuple[int, int]]) -> None:
    progress, end, done, published = Progress(), 0, 0, list[int]()
    for moment, (more, worked) in enumerate(steps):
        end += more
        done = min(end, done + worked)
        published.append(end)
        progress.observe(moment, done={0: done}, ends={0: end})
        assert progress.reached_s == max(
            (at for at, ends in enumerate(published) if ends <= done), default=float("-inf")
        )
