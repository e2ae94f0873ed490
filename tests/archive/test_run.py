"""Archiving outlives its broker and its store: what a person is told, what is kept, and what ends it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.archive import ArchiveReader, patience, run, session
from streamproc.archive.storage import NewFile, Storage
from streamproc.archive.verify import verify
from streamproc.archive.writer import Rules
from streamproc.errors import ArchiveError, BrokerError, StoreError
from streamproc.reader import Record
from tests.archive.broker import Archiving, Broker, Reader
from tests.archive.material import TOPIC, Log, fresh, log_of, record
from tests.waiting import wait_until

BROKER_AWAY = "no Kafka broker answers at 127.0.0.1:9092"


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The broker that archiving talks to; looks and pauses are short."""
    made = Broker(log_of({0: 5, 1: 3}))
    monkeypatch.setattr(Reader, "broker", made, raising=False)
    monkeypatch.setattr(run, "TopicReader", Reader)
    monkeypatch.setattr(run, "TopicIds", lambda _settings: made)
    monkeypatch.setattr(run, "_WAIT_S", 0.01)
    monkeypatch.setattr(session, "LOOK_S", 0.02)
    monkeypatch.setattr(session, "HELD_S", 0.01)
    monkeypatch.setattr(session, "_BREATH_S", 0.001)
    monkeypatch.setattr(patience, "FIRST_S", 0.005)
    monkeypatch.setattr(patience, "LONGEST_S", 0.02)
    monkeypatch.setattr(patience, "QUIET_S", 0.03)
    return made


def held(storage: Storage) -> dict[int, list[Record]]:
    with ArchiveReader(storage, TOPIC) as reader:
        found: dict[int, list[Record]] = {partition: [] for partition in reader.partitions()}
        for one in reader.read({partition: reader.bounds(partition) for partition in found}):
            found[one.partition].append(one)
    return found


def refusal(code: int) -> BrokerError:
    error = BrokerError("no Kafka broker answers: check STREAMPROC_SECURITY_USERNAME and _PASSWORD")
    error.__cause__ = KafkaException(KafkaError(code))
    return error


def test_a_broker_that_goes_and_comes_is_waited_for_told_once_at_each_end_and_nothing_is_lost(broker: Broker) -> None:
    storage = fresh()
    with Archiving(broker, storage) as archiving:
        archiving.wait_until_taken(8)
        broker.away = BrokerError(BROKER_AWAY)
        asked = broker.asked
        wait_until(lambda: broker.asked > asked + 3, "some tries", timeout_s=5)
        assert archiving.told == [f"topic {TOPIC}: {BROKER_AWAY}: trying again for up to 24 hours"]
        assert held(storage) == broker.log.records  # what had come by then is in a complete file
        broker.log.records[0].append(record(0, 5))
        broker.away = None
        archiving.wait_until_taken(9)
        archiving.wait_until_told(2)
        assert archiving.told[1:] == [f"topic {TOPIC}: it goes on after 0 s"]
    assert archiving.error is None
    assert held(storage) == broker.log.records
    assert verify(storage, TOPIC).problems == []


def test_what_retention_removed_during_an_outage_is_told_and_stands_in_the_archive(broker: Broker) -> None:
    storage = fresh()
    with Archiving(broker, storage) as archiving:
        archiving.wait_until_taken(8)
        broker.away = BrokerError(BROKER_AWAY)
        archiving.wait_until_told(1)
        broker.log.records[1] += [record(1, at) for at in range(3, 9)]
        broker.log.low = {0: 0, 1: 9}
        broker.away = None
        archiving.wait_until_told(3)
    gone = f"gap: {TOPIC}[1] offsets 3 to 8: retention removed them before they were archived"
    assert sorted(archiving.told[1:]) == [gone, f"topic {TOPIC}: it goes on after 0 s"]
    assert [(gap.partition, gap.first, gap.last) for gap in verify(storage, TOPIC).gaps] == [(1, 3, 8)]


@pytest.mark.parametrize("fails", ["write", "publish", "files"])
def test_a_store_that_fails_for_a_while_costs_nothing(
    fails: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = fresh()
    failing = threading.Event()
    kind: Any = Storage if fails == "files" else NewFile
    real = getattr(kind, fails)
    tries: list[int] = []

    def call(*arguments: Any) -> Any:
        if failing.is_set():
            tries.append(1)
            raise StoreError("/archive: No space left on device") from OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with Archiving(broker, storage, rules=Rules(rotate_s=0.05)) as archiving:
        archiving.wait_until_taken(8)
        wait_until(lambda: archiving.one.written.records == 8, "a complete file", timeout_s=5)
        monkeypatch.setattr(kind, fails, call)
        failing.set()
        broker.log.records[0] += [record(0, at) for at in range(5, 30)]
        wait_until(lambda: len(tries) > 3, "some tries", timeout_s=5)
        assert len(archiving.told) == 1
        assert archiving.told[0].endswith("No space left on device: trying again for up to 24 hours")
        failing.clear()
        archiving.wait_until_told(2)
        wait_until(lambda: archiving.one.written.records == 33, "all in complete files", timeout_s=5)
    assert (archiving.error, archiving.told[1:]) == (None, [f"topic {TOPIC}: it goes on after 0 s"])
    assert archiving.one.written.taken == 33
    assert held(storage) == broker.log.records
    assert verify(storage, TOPIC).problems == []


def test_an_outage_that_is_longer_than_the_bound_ends_it_in_one_line(broker: Broker) -> None:
    storage = fresh()
    with Archiving(broker, storage, outage_s=0.1) as archiving:
        archiving.wait_until_taken(8)
        broker.away = BrokerError(BROKER_AWAY)
        ended = archiving.ended()
    assert isinstance(ended, BrokerError)
    assert str(ended) == (
        f"topic {TOPIC}: {BROKER_AWAY}: given up, it lasted 0 s; start it again, it goes on where complete files end"
    )
    assert held(storage) == broker.log.records


@pytest.mark.parametrize("code", [KafkaError._AUTHENTICATION, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_wrong_credentials_end_it_soon_whatever_the_bound(code: int, broker: Broker) -> None:
    with Archiving(broker, fresh()) as archiving:
        archiving.wait_until_taken(8)
        broker.away = refusal(code)
        ended = archiving.ended()
    assert isinstance(ended, BrokerError)
    assert "check STREAMPROC_SECURITY_USERNAME and _PASSWORD: given up, it refused again and again" in str(ended)
    assert broker.polls


def test_a_store_that_says_no_ends_it_soon(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise StoreError("s3://frames/x: Access Denied") from PermissionError("Access Denied")

    with Archiving(broker, fresh(), rules=Rules(rotate_s=0.05)) as archiving:
        archiving.wait_until_taken(8)
        monkeypatch.setattr(NewFile, "publish", refuse)
        broker.log.records[0].append(record(0, 5))
        ended = archiving.ended()
    assert isinstance(ended, StoreError)
    assert "Access Denied: given up, it refused again and again" in str(ended)


@pytest.mark.parametrize("error", [BrokerError(BROKER_AWAY), refusal(KafkaError._AUTHENTICATION)])
def test_what_is_wrong_from_the_beginning_is_told_at_once(error: BrokerError, broker: Broker) -> None:
    broker.away = error
    with Archiving(broker, fresh()) as archiving:
        ended = archiving.ended()
    assert (ended, archiving.told, broker.asked) == (error, [], 1)


def test_damage_is_no_outage(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_arguments: object) -> None:
        raise ArchiveError("another process writes there")

    with Archiving(broker, fresh(), rules=Rules(rotate_s=0.05)) as archiving:
        archiving.wait_until_taken(8)
        monkeypatch.setattr(NewFile, "publish", damaged)
        broker.log.records[0].append(record(0, 5))
        ended = archiving.ended()
    assert (str(ended), archiving.told) == ("another process writes there", [])


def test_ctrl_c_during_an_outage_ends_it_at_once_and_well(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_S", 30)
    monkeypatch.setattr(patience, "LONGEST_S", 30)
    storage = fresh()
    with Archiving(broker, storage) as archiving:
        archiving.wait_until_taken(8)
        broker.away = BrokerError(BROKER_AWAY)
        archiving.wait_until_told(1)
    assert archiving.ended() is None
    assert held(storage) == broker.log.records


@pytest.mark.parametrize("count", [2, 5, 40])
def test_a_topic_made_anew_while_it_runs_goes_on_in_a_part_of_its_own(count: int, broker: Broker) -> None:
    """Whether its log is shorter than what was archived, or as long, or longer when that is noticed."""
    storage, old = fresh(), broker.log
    with Archiving(broker, storage) as archiving:
        archiving.wait_until_taken(8)
        broker.away = BrokerError(f"topic {TOPIC} does not exist")
        archiving.wait_until_told(1)
        broker.log = log_of({0: count, 1: 1, 2: 1}, make=lambda partition, at: record(partition, at, value=b"new"))
        broker.topic_id, broker.away = "two", None
        archiving.wait_until_taken(8 + count + 2)
    assert archiving.error is None
    assert archiving.told[1] == (
        f"topic {TOPIC}: it was deleted and made anew; it goes on in {storage.url}/epoch-2. Of the log before, nothing"
        " was archived from these offsets on (partition:offset): 0:5, 1:3"
    )
    first, second = storage.epochs(TOPIC)
    assert (held(first), held(second)) == (old.records, broker.log.records)


def test_a_client_that_goes_on_in_a_topic_made_anew_mixes_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As librdkafka does without a word when the new log is longer than what was read of the old one."""
    monkeypatch.setattr(session, "LOOK_S", 60)
    storage, old = fresh(), broker.log
    with Archiving(broker, storage) as archiving:
        archiving.wait_until_taken(8)
        new = log_of({0: 40, 1: 40}, make=lambda partition, at: record(partition, at, value=b"new"))
        broker.topic_id, broker.log = "two", new
        archiving.wait_until_taken(8 + 80)
    assert (archiving.error, len(archiving.told)) == (None, 1)
    first, second = storage.epochs(TOPIC)
    assert (held(first), held(second)) == (old.records, new.records)


@settings(max_examples=60)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 20), st.integers(0, 20))
def test_of_what_is_held_all_that_stands_in_the_new_log_is_left_to_it(
    old: int, new: int, length: int, low: int
) -> None:
    """Read from offset 3 on: so many of the old log, then so many of the new one."""
    made_anew = log_of({0: max(length, 3 + old + new)}, make=lambda _, at: record(0, at, value=b"new"))
    made_anew.low = {0: min(low, 3 + old)}
    broker = Broker(made_anew)
    reader: Any = Reader()
    reader.broker = broker
    held_back = session.Held()
    read = [record(0, at) for at in range(3, 3 + old)]
    for one in [*read, *made_anew.records[0][3 + old : 3 + old + new]]:
        held_back.add(one, 0)
    assert held_back.old(reader, made_anew.bounds()) == read


def test_what_was_read_last_of_a_topic_that_is_deleted_is_kept(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HELD_S", 60)
    monkeypatch.setattr(session, "LOOK_S", 60)
    storage = fresh()
    with Archiving(broker, storage) as archiving:
        wait_until(lambda: broker.polls > 2, "all is read, and held", timeout_s=5)
        assert archiving.one.written.taken == 0
        broker.gone = True
        archiving.wait_until_told(1)
    assert archiving.told == [f"topic {TOPIC}: topic {TOPIC} does not exist: trying again for up to 24 hours"]
    assert held(storage) == broker.log.records


def test_a_topic_made_anew_unnoticed_is_known_by_the_offsets_that_come(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for an offset that the new log has not, and is given it from its beginning."""
    monkeypatch.setattr(session, "LOOK_S", 60)
    storage, old = fresh(), broker.log
    with Archiving(broker, storage) as archiving:
        archiving.wait_until_taken(8)
        broker.topic_id, broker.log = "", log_of({0: 2, 1: 1})
        archiving.wait_until_taken(8 + 3)
    assert "ends at offset 2, though it is archived up to 4, so it was made anew or cut back" in archiving.told[0]
    first, second = storage.epochs(TOPIC)
    assert (held(first), held(second)) == (old.records, broker.log.records)


def test_partitions_that_are_added_are_taken_in_at_the_next_look(broker: Broker) -> None:
    storage = fresh()
    with Archiving(broker, storage) as archiving:
        archiving.wait_until_taken(8)
        broker.log.low[2] = 0
        broker.log = Log({**broker.log.records, 2: [record(2, 0)]})
        archiving.wait_until_taken(9)
    assert archiving.told == [f"topic {TOPIC} has 3 partitions now"]
    assert held(storage) == broker.log.records


def test_until_the_end_an_outage_in_the_middle_changes_nothing_of_what_the_end_is(broker: Broker) -> None:
    storage = fresh()
    broker.log = log_of({0: 400})
    calls = [0]
    real = Reader.read

    def read(self: Reader, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        calls[0] += 1
        for number, one in enumerate(real(self, ranges)):
            if calls[0] == 1 and number == 150:
                broker.log.records[0].append(record(0, 400))
                raise BrokerError(f"topic {TOPIC}: no record came for 30 s, 1 partitions left")
            yield one

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Reader, "read", read)
        with Archiving(broker, storage, until_end=True) as archiving:
            assert archiving.ended() is None
    assert (calls, archiving.one.target) == ([2], 400)
    assert held(storage) == {0: broker.log.records[0][:400]}
    assert archiving.told == [
        f"topic {TOPIC}: topic {TOPIC}: no record came for 30 s, 1 partitions left: trying again for up to 24 hours",
        f"topic {TOPIC}: it goes on after 0 s",
    ]
