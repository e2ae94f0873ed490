"""What a process says to a kubelet, from facts and the time alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamproc.health import BROKER_S, REBALANCE_S, Facts, Hearing, Membership, Trouble, Turn, alive, ready

NOW_S = 1000.0
WELL = Facts(
    role="worker-all",
    turns=(Turn(name="event loop", last_s=NOW_S - 1, limit_s=60),),
    hearing=Hearing(address="kafka:9092", since_s=0, last_s=NOW_S - 2),
    membership=Membership(group="streamproc.workers", since_s=NOW_S - 300, partitions=4, joined=True),
)


def test_a_worker_that_turns_hears_the_broker_and_holds_partitions_is_ready() -> None:
    for judged in (alive(WELL, NOW_S), ready(WELL, NOW_S)):
        assert (judged.good, judged.status, judged.role, judged.reasons) == (True, "ok", "worker-all", ())


def test_a_loop_that_does_not_come_round_is_neither_alive_nor_ready_and_may_be_killed() -> None:
    facts = replace(WELL, turns=(Turn(name="event loop", last_s=NOW_S - 60.5, limit_s=60),))
    for judged in (alive(facts, NOW_S), ready(facts, NOW_S)):
        assert (judged.good, judged.status) == (False, "failing")
        (reason,) = judged.reasons
        assert reason.startswith("the event loop has not come round for 60 s (limit 60 s")
        assert "kill it" in reason
    assert alive(facts, NOW_S - 0.6).good


def test_a_broker_that_is_away_makes_a_process_unready_and_never_dead() -> None:
    deaf = Hearing(address="kafka:9092", since_s=0, last_s=NOW_S - BROKER_S - 1, words="Connection refused")
    facts = replace(WELL, hearing=deaf)
    judged = ready(facts, NOW_S)
    assert (judged.good, judged.status) == (False, "failing")
    assert judged.reasons == (
        "no answer from the Kafka broker at kafka:9092 for 7.0 s (Connection refused): it is waited for; see that it"
        " runs, streamproc doctor says more",
    )
    assert alive(facts, NOW_S + 10 * 86_400).reasons != judged.reasons
    assert alive(replace(facts, turns=()), NOW_S + 10 * 86_400).good
    assert ready(facts, NOW_S - 2).good, "a single answer that is late is no outage"


def test_a_broker_that_never_answered_is_told_from_one_that_was_not_asked_yet() -> None:
    new = Hearing(address="kafka:9092", since_s=NOW_S - 1)
    judged = ready(replace(WELL, hearing=new), NOW_S)
    assert (judged.good, judged.status) == (False, "starting")
    assert "not asked the broker at kafka:9092 yet" in judged.reasons[0]
    silent = ready(replace(WELL, hearing=replace(new, since_s=NOW_S - 30, words="timed out")), NOW_S)
    assert (silent.status, len(silent.reasons)) == ("failing", 1)
    assert "for 30 s (timed out)" in silent.reasons[0]


def test_a_worker_is_starting_until_its_group_gave_it_a_share() -> None:
    joining = Membership(group="streamproc.workers", since_s=NOW_S - 3)
    judged = ready(replace(WELL, membership=joining), NOW_S)
    assert (judged.good, judged.status) == (False, "starting")
    assert "no share of group streamproc.workers yet, for 3.0 s" in judged.reasons[0]


@pytest.mark.parametrize(("lasts_s", "good"), [(REBALANCE_S - 1, True), (REBALANCE_S + 1, False)])
def test_a_short_rebalance_belongs_to_every_deployment_and_a_long_one_is_told(lasts_s: float, good: bool) -> None:
    shared = Membership(group="g", since_s=NOW_S - lasts_s, partitions=None, joined=True)
    judged = ready(replace(WELL, membership=shared), NOW_S)
    assert judged.good == good
    assert good or "shared out anew for 11 s" in judged.reasons[0]


def test_a_worker_that_holds_nothing_stands_by_and_says_so() -> None:
    """It is ready: it takes over at once, and a deployment that waited for it would wait for ever."""
    spare = Membership(group="g", since_s=NOW_S - 200, partitions=0, joined=True)
    judged = ready(replace(WELL, membership=spare), NOW_S)
    assert (judged.good, judged.status) == (True, "standby")
    assert judged.reasons == (
        "holds no partition of group g for 3 min 20 s: it has more workers than partitions,"
        " this one waits to take over",
    )


def test_what_is_wrong_inside_is_told_with_its_time_and_kills_only_when_it_cannot_pass() -> None:
    slow = Trouble(what="partition 3 of tiles stands still", since_s=NOW_S - 5)
    facts = replace(WELL, troubles=(slow,))
    assert ready(facts, NOW_S).reasons == ("partition 3 of tiles stands still (for 5.0 s)",)
    assert alive(facts, NOW_S).good
    dead = replace(facts, troubles=(replace(slow, fatal=True),))
    assert (
        ready(dead, NOW_S).reasons == alive(dead, NOW_S).reasons == ("partition 3 of tiles stands still (for 5.0 s)",)
    )
    assert not alive(dead, NOW_S).good


def test_a_process_that_is_told_to_stop_is_not_ready_and_lives() -> None:
    facts = replace(WELL, stopping_s=NOW_S - 2, troubles=(Trouble(what="also this", since_s=NOW_S),))
    judged = ready(facts, NOW_S)
    assert (judged.good, judged.status) == (False, "stopping")
    assert judged.reasons[0].startswith("told to stop 2.0 s ago")
    assert judged.reasons[1].startswith("also this"), "why it may take long"
    assert alive(facts, NOW_S).good
    assert alive(facts, NOW_S + 500).good, "its loops may have ended"


@pytest.mark.parametrize(
    ("seconds", "told"), [(-1, "0.0 s"), (9.94, "9.9 s"), (119, "119 s"), (125, "2 min 5 s"), (7380, "2 h 3 min")]
)
def test_times_are_told_as_people_want_them(seconds: float, told: str) -> None:
    assert ready(replace(WELL, troubles=(Trouble(what="x", since_s=NOW_S - seconds),)), NOW_S).reasons == (
        f"x (for {told})",
    )


def test_every_reason_is_one_line() -> None:
    worst = Facts(
        role="x",
        stopping_s=0,
        turns=(Turn(name="loop", last_s=0, limit_s=1),),
        hearing=Hearing(address="a:1", since_s=0, words="no"),
        membership=Membership(group="g", since_s=0),
        troubles=(Trouble(what="t", since_s=0), Trouble(what="f", since_s=0, fatal=True)),
    )
    judged = ready(worst, NOW_S)
    assert len(judged.reasons) == 5
    assert len(ready(replace(worst, stopping_s=None), NOW_S).reasons) == 5
    assert not any("\n" in reason for reason in judged.reasons)
