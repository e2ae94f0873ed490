"""Outages are waited out with growing, jittered pauses, up to a bound, and told once at each end."""

from __future__ import annotations

import pytest

from streamproc.archive.patience import LONGEST_S, Patience, Wait, span_text


def test_pauses_grow_with_jitter_up_to_half_a_minute_and_only_the_first_failure_is_news() -> None:
    patience = Patience(10_000, rotate_s=300)
    waits = [patience.failed("broker", 0, chance=1, refused=False) for _ in range(8)]
    assert waits == [Wait(pause, number == 0) for number, pause in enumerate([1, 2, 4, 8, 16, 30, 30, 30])]
    assert patience.failed("broker", 0, chance=0, refused=False) == Wait(LONGEST_S / 2, tell=False)


def test_it_ends_at_the_bound_with_a_last_try_right_there() -> None:
    patience = Patience(100, rotate_s=300)
    now_s, tries = 50.0, 0
    while (wait := patience.failed("store", now_s, chance=1, refused=False)) is not None:
        now_s, tries = now_s + wait.after_s, tries + 1
    assert (now_s, tries) == (150.0, 8)
    assert Patience(0, rotate_s=300).failed("store", 0, chance=1, refused=False) is None


def test_who_is_refused_three_times_in_a_row_waits_no_longer() -> None:
    patience = Patience(10_000, rotate_s=300)
    waits = [patience.failed("store", at, chance=1, refused=bool(said)) for at, said in enumerate([1, 1, 0, 1, 1, 1])]
    assert [wait is None for wait in waits] == [False, False, False, False, False, True]


@pytest.mark.parametrize(("records", "now_s", "over"), [(True, 100.1, True), (False, 110, False), (False, 110.1, True)])
def test_a_broker_is_back_when_a_record_came_or_after_some_quiet(records: bool, now_s: float, over: bool) -> None:
    patience = Patience(1000, rotate_s=300)
    patience.failed("broker", 40, chance=0, refused=False)
    patience.began(100)
    lasted_s = patience.well(now_s, records=records, files=False)
    assert (lasted_s, patience.is_waiting) == ((now_s - 40, False) if over else (None, True))
    assert patience.well(now_s, records=True, files=True) == (None if over else now_s - 40)


def test_a_store_is_back_when_a_file_was_completed_not_when_records_come() -> None:
    patience = Patience(1000, rotate_s=300)
    assert patience.well(0, records=True, files=True) is None
    patience.failed("store", 40, chance=0, refused=False)
    patience.began(100)
    assert patience.well(410, records=True, files=False) is None
    assert patience.well(411, records=True, files=False) == 371
    patience.failed("store", 500, chance=0, refused=False)
    assert patience.well(501, records=False, files=True) == 1
    assert patience.failed("store", 600, chance=1, refused=False) == Wait(1, tell=True)


def test_spans_are_said_as_people_say_them() -> None:
    assert [span_text(at) for at in (0.4, 119, 120, 7000, 7200, 86_400, 172_800)] == [
        "0 s",
        "119 s",
        "2 min",
        "117 min",
        "2 hours",
        "24 hours",
        "2 days",
    ]
