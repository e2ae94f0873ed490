"""Redis: events and position in one script; what a lost answer, a restart or an emptied server leaves."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamproc.errors import SinkError, SinkUnavailable, UsageError
from streamproc.sinks import parse_address
from streamproc.sinks.redis_stream import RedisSink
from streamproc.sinks.sink import Batch, TargetMoved, Written
from tests.event_schema import check_event
from tests.sinks.material import TOPIC, batch, ids_of, log_of, run
from tests.sinks.targets import PASSWORD, Redis


@pytest.fixture
def opened(redis: Redis) -> Iterator[Callable[..., RedisSink]]:
    made: list[RedisSink] = []
    redis.client().flushall()

    def make(url: str = "", name: str = "n") -> RedisSink:
        address = parse_address(url or redis.url("events"), visible=False)
        made.append(RedisSink(address, name=name, topic=TOPIC))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def ids(redis: Redis, stream: str = "events") -> list[str]:
    return [fields[b"id"].decode() for _, fields in redis.client().xrange(stream)]


def test_entries_are_events_in_the_order_of_the_log(redis: Redis, opened: Callable[..., RedisSink]) -> None:
    sink = opened()
    assert sink.positions() == {}
    sink.begin({0: 0})
    expected = batch((0, 0, 3))
    assert sink.write(expected).new == 3
    entries = redis.client().xrange("events")
    for (_, fields), event in zip(entries, expected.events, strict=True):
        assert set(fields) == {b"id", b"type", b"source", b"event"}
        assert (fields[b"id"].decode(), fields[b"source"]) == (event.id, b"/cameras/cam0")
        check_event(json.loads(fields[b"event"]))
    assert redis.client().hgetall("{events}:positions") == {b"n/t.events/0": b"3"}
    assert opened().positions() == {0: 3}
    assert opened(name="n/t.events").positions() == {}


def test_a_batch_whose_answer_was_lost_is_not_added_twice(redis: Redis, opened: Callable[..., RedisSink]) -> None:
    sink = opened()
    sink.begin(sink.positions() | {0: 0, 1: 0})
    assert sink.write(batch((0, 0, 3), (1, 0, 2))) == Written(new=5)
    assert sink.write(batch((0, 0, 3), (1, 0, 2))) == Written(new=0, known=5)
    assert len(ids(redis)) == 5


def test_a_position_that_is_not_ours_is_told_and_nothing_is_added(
    redis: Redis, opened: Callable[..., RedisSink]
) -> None:
    sink = opened()
    sink.begin({0: 0, 1: 0})
    sink.write(batch((0, 0, 3)))
    with pytest.raises(TargetMoved) as moved:
        sink.write(batch((0, 2, 5), (1, 0, 1)))
    assert moved.value.positions == {0: 3, 1: 0}
    assert len(ids(redis)) == 3


def test_a_redis_that_lost_everything_is_filled_again(redis: Redis, opened: Callable[..., RedisSink]) -> None:
    log, sink = log_of(600), opened()
    write, calls, lines = sink.write, list[int](), list[str]()

    def emptied(one: Batch) -> Written:
        calls.append(1)
        if len(calls) == 2:
            redis.client().flushall()
        return write(one)

    sink.write = emptied  # type: ignore[method-assign, assignment]
    sink.limits = type(sink.limits)(events=50, bytes=2**20, wait_s=0)
    run(log, sink, lines=lines)
    assert sorted(ids(redis)) == ids_of(log)
    assert any("does not stand where" in line for line in lines)


def test_a_redis_that_is_killed_and_started_again_has_every_event_once(
    redis: Redis, opened: Callable[..., RedisSink]
) -> None:
    log, sink, lines, reads = log_of(600), opened(), list[str](), list[int]()
    sink.limits = type(sink.limits)(events=20, bytes=2**20, wait_s=0.01)

    def bounce() -> None:
        redis.down(signal.SIGKILL)
        redis.up()

    thread = threading.Thread(target=bounce)

    def on_read() -> None:
        reads.append(1)
        if len(reads) == 10:
            thread.start()

    log.on_read = on_read
    run(log, sink, lines=lines, first_pause_s=0.05)
    thread.join()
    assert sorted(ids(redis)) == ids_of(log)
    assert not any(PASSWORD in line for line in lines)


def test_a_stream_is_kept_short_if_asked(redis: Redis, opened: Callable[..., RedisSink]) -> None:
    log = log_of(3000)
    run(log, opened(redis.url("short?maxlen=100&db=1")))
    import redis as library

    client = library.Redis(host="127.0.0.1", port=redis.port, password=PASSWORD, db=1)
    assert 100 <= client.xlen("short") < 400  # whole nodes of 100 entries are dropped
    client.close()


@pytest.mark.parametrize("place", ["", "a b", "a%0Ab", "{a}", "events?db=x", "events?maxlen=-1", "events?timeout=3"])
def test_a_place_that_is_no_stream_is_refused(place: str) -> None:
    with pytest.raises(UsageError):
        RedisSink(parse_address(f"redis://h/{place}".replace(" ", "%20"), visible=True), name="n", topic=TOPIC)


def test_a_wrong_password_and_a_key_of_another_type_end_it(redis: Redis, opened: Callable[..., RedisSink]) -> None:
    for url in (redis.url("events").replace(PASSWORD, "wrong-7781"), f"redis://127.0.0.1:{redis.port}/events"):
        with pytest.raises(SinkError, match=r"refuses us|Authentication") as refused:
            opened(url).positions()
        assert not isinstance(refused.value, SinkUnavailable)
        assert "7781" not in str(refused.value)
    redis.client().set("events", "mine")
    with pytest.raises(SinkError, match="is a string, not a stream"):
        opened().positions()


@pytest.mark.parametrize("state", ["away", "full"])
def test_a_redis_that_is_away_or_full_is_unavailable(
    redis: Redis, opened: Callable[..., RedisSink], state: str
) -> None:
    if state == "away":
        with pytest.raises(SinkUnavailable, match="does not answer"):
            opened("redis://127.0.0.1:1/events").positions()
        return
    sink: Any = opened()
    sink.begin(sink.positions() | {0: 0})
    redis.client().config_set("maxmemory", "1")
    try:
        with pytest.raises(SinkUnavailable, match="maxmemory"):
            sink.write(batch((0, 0, 1)))
    finally:
        redis.client().config_set("maxmemory", "0")
    assert sink.write(batch((0, 0, 1))) == Written(new=1)
