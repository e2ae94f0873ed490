"""What is told of the broker, and how topics are followed through outages, by a reader of our own and no clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from streamproc.errors import BrokerError
from streamproc.reader import Record
from streamproc.settings import load_settings
from streamproc.view import follow
from streamproc.view.follow import LONGEST_PAUSE_S, SILENT_S, Back, Follower, LastWords, Pulse, pauses, probe
from streamproc.view.shown import Shown, event_of
from tests.view.material import frame_record, record

TOPICS = ("events", "edges")


START = "start one with: streamproc broker start"


def test_the_pulse_says_what_is_known_and_when_nothing_is() -> None:
    pulse = Pulse("k:9092", now_s=0.0)
    assert pulse.state(0.0) == (False, "asking the broker at k:9092")
    silent = pulse.state(SILENT_S + 1)
    assert silent == (False, f"no Kafka broker answers at k:9092: check STREAMPROC_BOOTSTRAP, or {START}")
    pulse.failed(f"no Kafka broker answers at k:9092 (Local: Broker transport failure): check X, or {START}")
    assert pulse.state(SILENT_S + 9) == silent, "one wording through an outage"
    pulse.failed(
        "no Kafka broker answers at k:9092 (Local: Authentication failure): check STREAMPROC_SECURITY_USERNAME"
    )
    assert "Authentication" in pulse.state(SILENT_S + 9)[1]
    pulse.answered({"events": 8, "edges": 8}, 10.0)
    assert pulse.state(10.0) == (True, "reading from k:9092")
    assert pulse.state(10.0 + SILENT_S + 1)[0] is False
    pulse.failed("topic events does not exist")
    assert pulse.state(10.0) == (False, "topic events does not exist")
    pulse.answered({"events": 8, "edges": 8}, 11.0)
    pulse.unread("events", "may not be read")
    assert pulse.state(11.0) == (False, "may not be read")
    pulse.reads("events")
    assert pulse.state(11.0)[0] is True


def test_pauses_grow_to_a_bound() -> None:
    found = [pauses(number) for number in range(1, 100)]
    assert found == sorted(found)
    assert (found[0] < 1, found[-1]) == (True, LONGEST_PAUSE_S)


class Log:
    """A topic of one partition in memory, with a broker that can be away."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.low = 0
        self.away: Exception | None = None
        self.refused: Exception | None = None
        self.idle: Callable[[], None] = lambda: None
        self.opened = 0

    def answer(self) -> None:
        """Give records again."""
        self.refused = None


class Reader:
    """What `TopicReader` is to a real broker."""

    log: Log

    def __init__(self, _settings: object, topic: str, **_options: object) -> None:
        self.topic = topic
        self.log.opened += 1

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def partitions(self) -> list[int]:
        if self.log.away is not None:
            raise self.log.away
        return [0]

    def bounds(self, _partition: int) -> tuple[int, int]:
        return self.log.low, len(self.log.records)

    def offset_at(self, _partition: int, *, since_ms: int) -> int:
        assert since_ms > 0
        return self.log.low

    def follow(self, starts: Mapping[int, int], *, stop: Callable[[], bool]) -> Iterator[Record | None]:
        at = starts.get(0, 0)
        while not stop():
            if self.log.away is not None:
                raise self.log.away
            if self.log.refused is not None:
                raise self.log.refused
            if starts and at < len(self.log.records):
                yield self.log.records[at]
                at += 1
            else:
                self.log.idle()
                yield None


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log([])
    monkeypatch.setattr(Reader, "log", made, raising=False)
    monkeypatch.setattr(follow, "TopicReader", Reader)
    monkeypatch.setattr(follow, "pauses", lambda _number: 0.0)
    return made


class Told(Pulse):
    """A pulse that can be listened to."""

    heard: Callable[[], None] = staticmethod(lambda: None)

    def unread(self, topic: str, told: str) -> None:
        super().unread(topic, told)
        self.heard()


class Seen:
    """A follower and what it told."""

    def __init__(self, log: Log, *, records: int = 1000) -> None:
        self.events: list[int] = []
        self.passed = 0
        self.missed = 0
        self.stop = threading.Event()
        self.pulse = Told("k:9092", now_s=0.0)
        self.log = log
        self.follower: Follower[Shown] = Follower(
            settings=load_settings(),
            topic="events",
            back=Back(seconds=600, records=records),
            pulse=self.pulse,
            read=event_of,
            take=lambda event, _record: self.events.append(event.sequence),
            passed=self._pass,
            missed=self._miss,
            stop=self.stop,
        )

    def _pass(self) -> None:
        self.passed += 1

    def _miss(self, count: int) -> None:
        self.missed += count

    def run(self, *steps: Callable[[], None]) -> None:
        """Take one step each time that nothing is left to read; the end after the last."""
        left = [*steps, self.stop.set]

        def step() -> None:
            left.pop(0)()

        self.log.idle = step
        self.follower.run()


def test_it_begins_shortly_before_the_end_and_goes_on(log: Log) -> None:
    log.records = [frame_record(number) for number in range(50)]
    seen = Seen(log, records=10)
    seen.run(lambda: log.records.append(frame_record(50)))
    assert seen.events == list(range(40, 51))
    assert (seen.passed, seen.missed) == (0, 0)


def test_foreign_records_are_counted_and_passed_over(log: Log) -> None:
    log.records = [frame_record(0), record([], b"what?"), frame_record(1), record([("ce_type", b"x")], b"{}")]
    seen = Seen(log)
    seen.run()
    assert (seen.events, seen.passed) == ([0, 1], 2)


def test_after_an_outage_it_goes_on_where_it_stopped(log: Log) -> None:
    log.records = [frame_record(number) for number in range(3)]
    seen = Seen(log)

    def outage() -> None:
        log.refused = BrokerError("the leader\nis gone")
        log.records += [frame_record(number) for number in range(3, 6)]

    seen.pulse.heard = log.answer
    seen.run(outage)
    assert seen.events == list(range(6))
    assert (log.opened, seen.missed) == (2, 0)


def test_what_is_too_much_after_an_outage_is_passed_over_and_told(log: Log) -> None:
    log.records = [frame_record(0)]
    seen = Seen(log, records=5)

    def outage() -> None:
        log.records += [frame_record(number) for number in range(1, 100)]
        log.refused = BrokerError("gone")

    seen.pulse.heard = log.answer
    seen.run(outage)
    assert seen.events == [0, 95, 96, 97, 98, 99]
    assert seen.missed == 94


def test_a_topic_made_anew_is_read_from_its_new_beginning(log: Log) -> None:
    log.records = [frame_record(number) for number in range(10)]
    seen = Seen(log)

    def anew() -> None:
        log.records = [frame_record(100)]
        log.refused = BrokerError("unknown topic")

    seen.pulse.heard = log.answer
    seen.run(anew)
    assert seen.events == [*range(10), 100]


def test_a_refused_right_is_told_with_what_is_needed(log: Log) -> None:
    log.refused = BrokerError("topic events: Fetch from broker 1 failed: Broker: Topic authorization failed")
    seen = Seen(log)
    seen.pulse.heard = seen.stop.set
    seen.pulse.answered({"events": 1}, 0.0)
    seen.follower.run()
    ok, told = seen.pulse.state(0.0)
    assert not ok
    assert "Topic authorization failed" in told
    assert "rights DESCRIBE and READ" in told
    assert "\n" not in told


def probed(log: Log, settings: Any) -> tuple[bool, str]:
    """What is told after one round of questions."""
    stop = threading.Event()
    pulse = Pulse("k:9092", now_s=0.0)

    class Once(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            stop.set()
            self.set()
            return super().wait(timeout)

    probe(settings, TOPICS, pulse, stop=Once())
    return pulse.state(time.monotonic()) if log.away is None else pulse.state(0.0)


def test_the_probe_tells_that_all_is_well_or_what_is_missing(log: Log) -> None:
    assert probed(log, load_settings()) == (True, "reading from k:9092")
    log.away = BrokerError("topic events does not exist on k:9092: run streamproc topics create")
    assert probed(log, load_settings()) == (
        False,
        "topic events does not exist on k:9092: run streamproc topics create",
    )


def test_the_probe_adds_what_the_client_said_of_passwords(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="streamproc.librdkafka")  # as `view` does by `show_clients`
    line = "FAIL [rdkafka#consumer-1] [thrd:sasl://k:9092/bootstrap]: SASL authentication error: Invalid credentials"

    def refuse(_reader: Reader) -> list[int]:
        logging.getLogger("streamproc.librdkafka").error(line)
        raise BrokerError("no Kafka broker answers at k:9092")

    log.away = BrokerError("a poll fails too")
    monkeypatch.setattr(Reader, "partitions", refuse)
    ok, told = probed(log, load_settings())
    assert not ok
    assert told.startswith("no Kafka broker answers at k:9092 (the client says: ")
    assert "SASL authentication error: Invalid credentials" in told


def test_only_words_on_rights_and_certificates_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="streamproc.librdkafka")  # commands set it; other tests, too
    client, said = logging.getLogger("streamproc.librdkafka"), []
    with LastWords() as words:
        for line in (
            "[thrd:main]: Connect to 127.0.0.1:1 failed",
            "[thrd:main]: SSL handshake failed: bad certificate",
        ):
            client.error(line)
            said.append(words.said)
    assert said == [None, "SSL handshake failed: bad certificate"]
    assert words not in client.handlers
