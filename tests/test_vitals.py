"""What a process notes of itself, with a clock of the test's."""

from __future__ import annotations

from streamproc.health import Hearing, Membership, Trouble, Turn
from streamproc.vitals import Vitals, Wanted, topics_problem


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_trouble_lasts_from_its_first_note_until_it_is_over() -> None:
    clock = Clock()
    vitals = Vitals("sink", clock=clock)
    vitals.trouble("target", "away")
    clock.now_s += 5
    vitals.trouble("target", "still away")
    assert vitals.facts().troubles == (Trouble(what="still away", since_s=100.0),)
    vitals.trouble("target", None)
    vitals.trouble("never there", None)
    assert vitals.facts().troubles == ()
    vitals.trouble("target", "away again", fatal=True)
    assert vitals.facts().troubles == (Trouble(what="away again", since_s=105.0, fatal=True),)


def test_what_is_over_need_not_come_round() -> None:
    clock = Clock()
    vitals = Vitals("ingest", clock=clock)
    vitals.turn("loop", limit_s=60)
    clock.now_s += 1
    vitals.turn("loop", limit_s=60)
    assert vitals.facts().turns == (Turn(name="loop", last_s=101.0, limit_s=60),)
    vitals.forget("loop")
    assert vitals.facts().turns == ()


def test_a_refusal_does_not_make_the_last_answer_younger() -> None:
    clock = Clock()
    vitals = Vitals("ingest", clock=clock)
    vitals.heard()
    assert vitals.facts().hearing is None, "nobody is asked"
    vitals.asks("kafka:9092")
    vitals.heard()
    clock.now_s += 3
    vitals.heard("timed out")
    assert vitals.facts().hearing == Hearing(address="kafka:9092", since_s=100.0, last_s=100.0, words="timed out")
    vitals.heard()
    assert vitals.facts().hearing == Hearing(address="kafka:9092", since_s=100.0, last_s=103.0)


def test_a_worker_has_joined_once_it_had_a_share_even_of_nothing() -> None:
    clock = Clock()
    vitals = Vitals("worker-all", clock=clock)
    vitals.holds(3)
    assert vitals.facts().membership is None
    vitals.joins("g")
    vitals.holds(None)
    assert vitals.facts().membership == Membership(group="g", since_s=100.0)
    clock.now_s += 1
    vitals.holds(0)
    assert vitals.facts().membership == Membership(group="g", since_s=101.0, partitions=0, joined=True)
    clock.now_s += 1
    vitals.holds(None)
    assert vitals.facts().membership == Membership(group="g", since_s=102.0, joined=True)


def test_the_time_of_stopping_is_that_of_the_first_word() -> None:
    clock, told = Clock(), [False]
    vitals = Vitals("sink", stopping=lambda: told[0], clock=clock)
    assert vitals.facts().stopping_s is None
    told[0] = True
    assert vitals.facts().stopping_s == 100.0
    clock.now_s += 9
    vitals.stop()
    assert vitals.facts().stopping_s == 100.0


def test_topics_that_are_missing_or_have_other_partitions_are_named_with_what_to_do() -> None:
    found = {"t.tiles": 8, "t.events": 8, "t.features": 4}
    assert topics_problem(found, Wanted(("t.tiles", "t.events"), 8)) is None
    assert topics_problem(found, Wanted(("t.features",))) is None
    other = topics_problem(found, Wanted(("t.tiles", "t.features"), 8))
    assert other is not None
    assert other.startswith("topic t.features has 4 partitions, it had 8")
    gone = topics_problem(found, Wanted(("t.edges", "t.tiles", "t.dead"), 8))
    assert gone is not None
    assert gone.startswith("t.edges, t.dead are missing: run streamproc topics create")
