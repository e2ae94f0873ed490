"""How far a target is behind the log. Time is an argument."""

from __future__ import annotations

from streamproc.sinks.waiting import Waiting


def test_what_was_read_waits_until_it_is_written() -> None:
    waiting = Waiting({0: 10}, now_s=100.0)
    assert waiting.look({0: 0}, {0: 10}, now_s=100.0) == (10, 0.0)
    for offset in range(10):
        waiting.read(0, 40.0 + offset)
    assert waiting.look({0: 0}, {0: 10}, now_s=101.0) == (10, 61.0), "the first read, not the last"
    waiting.begin_batch()
    waiting.read(0, 95.0)
    assert waiting.look({0: 0}, {0: 11}, now_s=150.0) == (11, 110.0), "the target does not answer"
    waiting.end_batch()
    assert waiting.look({0: 10}, {0: 11}, now_s=150.0) == (1, 55.0)
    waiting.begin_batch()
    waiting.end_batch()
    assert waiting.look({0: 11}, {0: 11}, now_s=151.0) == (0, 0.0)


def test_a_stuck_partition_shows_beside_those_that_move() -> None:
    waiting = Waiting({0: 1, 1: 1}, now_s=100.0)
    waiting.read(0, 99.0)
    waiting.read(1, 99.0)
    waiting.begin_batch()
    waiting.end_batch()
    for second in range(60):
        waiting.read(1, 100.0 + second)
        waiting.begin_batch()
        waiting.end_batch()
        records, seconds = waiting.look({0: 1, 1: second + 2}, {0: 5, 1: second + 2}, now_s=100.0 + second)
        assert (records, seconds) == (4, second + 1.0)


def test_a_burst_after_a_pause_is_no_older_than_the_end_of_the_pause() -> None:
    waiting = Waiting({0: 1}, now_s=100.0)
    waiting.read(0, 99.0)
    waiting.begin_batch()
    waiting.end_batch()
    assert waiting.look({0: 1}, {0: 1}, now_s=147.0) == (0, 0.0)
    assert waiting.look({0: 1}, {0: 9}, now_s=148.0) == (8, 1.0)


def test_while_the_broker_is_away_nobody_says_that_the_log_is_read() -> None:
    waiting = Waiting({0: 1}, now_s=100.0)
    waiting.read(0, 99.0)
    waiting.begin_batch()
    waiting.end_batch()
    assert waiting.look({0: 1}, {}, now_s=400.0) == (0, 0.0)
    assert waiting.look({0: 1}, {0: 9}, now_s=401.0) == (8, 301.0)


def test_what_is_read_again_from_elsewhere_is_judged_anew() -> None:
    waiting = Waiting({0: 9}, now_s=100.0)
    waiting.read(0, 99.0)
    waiting.go_back()
    waiting.read(0, 30.0)
    assert waiting.look({0: 2}, {0: 9}, now_s=100.0) == (7, 70.0)
