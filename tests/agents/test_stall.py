"""A partition that stands still while records wait is noticed, and no other."""

from __future__ import annotations

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streamproc.agents.stall import Silence, StallWatch, Standing

TILES, FEATURES = TP("tiles", 0), TP("features", 0)
LIMITS = {"tiles": 10.0, "features": 40.0}


def test_standing_still_while_records_wait_is_a_stall_after_the_limit_of_its_topic() -> None:
    watch = StallWatch(LIMITS)
    now = {TILES: Standing(5, 0, 9), FEATURES: Standing(None, 0, 3)}
    assert [watch.look(now, second) for second in (0, 10, 10.5)] == [[], [], [TILES]]
    assert watch.look(now, 41) == [TILES, FEATURES]


def test_records_that_the_log_holds_no_longer_do_not_wait() -> None:
    watch = StallWatch(LIMITS)
    now = {TILES: Standing(5, 9, 9), FEATURES: Standing(None, 3, 3)}
    assert [watch.look(now, second) for second in (0, 100)] == [[], []]


def test_a_commit_begins_the_count_anew() -> None:
    watch = StallWatch(LIMITS)
    assert watch.look({TILES: Standing(5, 0, 9)}, 0) == []
    assert watch.look({TILES: Standing(6, 0, 9)}, 9) == []
    assert watch.look({TILES: Standing(6, 0, 9)}, 18) == []
    assert watch.look({TILES: Standing(6, 0, 9)}, 20) == [TILES]


def test_nothing_waiting_is_no_stall_and_the_count_begins_with_the_first_record() -> None:
    watch = StallWatch(LIMITS)
    assert watch.look({TILES: Standing(9, 0, 9)}, 0) == []
    assert watch.look({TILES: Standing(9, 0, 9)}, 100) == []
    assert watch.look({TILES: Standing(9, 0, 10)}, 105) == []
    assert watch.look({TILES: Standing(9, 0, 10)}, 111) == [TILES]


def test_a_partition_that_went_away_and_came_back_is_counted_anew() -> None:
    watch = StallWatch(LIMITS)
    watch.look({TILES: Standing(5, 0, 9)}, 0)
    watch.look({}, 8)
    assert watch.look({TILES: Standing(5, 0, 9)}, 11) == []


def test_a_broker_that_was_away_is_forgiven() -> None:
    watch = StallWatch(LIMITS)
    watch.look({TILES: Standing(5, 0, 9)}, 0)
    watch.forgive(9)
    assert watch.look({TILES: Standing(5, 0, 9)}, 18) == []
    assert watch.look({TILES: Standing(5, 0, 9)}, 20) == [TILES]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 9)), min_size=1))
def test_whoever_commits_within_the_limit_is_never_stalled(steps: list[tuple[int, float]]) -> None:
    watch, now_s = StallWatch(LIMITS), 0.0
    for committed, (ahead, pause_s) in enumerate(steps):
        assert watch.look({TILES: Standing(committed, 0, committed + ahead)}, now_s) == []
        now_s += pause_s


def test_a_worker_that_handles_records_of_a_long_batch_does_not_stand_still() -> None:
    watch = StallWatch(LIMITS)
    for second in range(40):
        assert watch.look({TILES: Standing(5, 0, 90, steps=second // 8)}, second) == []
    assert watch.look({TILES: Standing(5, 0, 90, steps=4)}, 50) == [TILES]


def test_a_consumer_that_alone_gets_no_answer_is_noticed_after_the_limit() -> None:
    silence = Silence(60)
    assert not silence.lasts(100)
    assert not silence.lasts(160)
    assert silence.lasts(161)


def test_one_answer_or_a_broker_that_is_away_for_all_begins_the_count_anew() -> None:
    silence = Silence(60)
    assert not silence.lasts(100)
    silence.hears()
    assert not silence.lasts(161)
    assert not silence.lasts(221)
    assert silence.lasts(222)
