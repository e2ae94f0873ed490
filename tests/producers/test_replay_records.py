"""A record is sent again as it was, but for its run; and it says where it stood."""

from __future__ import annotations

import msgspec
import pytest

from producers.replay_records import (
    headers_of,
    is_replay,
    key_of,
    partition_of,
    require_enough_partitions,
    run_name,
)
from streamproc import wire
from streamproc.errors import BrokerError
from streamproc.topics import tile_key, tile_partition
from tests.features import tile_header
from tests.producers.replayed import TOPIC, record

HEADER = tile_header(index=3, sequence=41, run="file-1", camera="gate")
FIRST = 37
NEW = msgspec.structs.replace(HEADER, run="replay-1", first=FIRST)
ORIGIN = [
    ("origin_topic", TOPIC.encode()),
    ("origin_partition", str(tile_partition("gate", 3, 4)).encode()),
    ("origin_offset", b"12"),
    ("origin_run", b"file-1"),
    ("origin_timestamp_ms", b"777"),
]


def test_headers_keep_all_but_the_run_and_tell_the_origin() -> None:
    one = record(HEADER, offset=12, timestamp_ms=777)
    assert headers_of(one, HEADER, run="replay-1", first=FIRST) == [*wire.tile_headers(NEW), *ORIGIN]


def test_duplicates_nulls_and_strange_headers_stay_where_they_are() -> None:
    strange = [("a", b"1"), ("a", b""), *wire.tile_headers(HEADER), ("a", b"1"), ("dl_attempt", b"2"), ("", b"")]
    one = record(HEADER, offset=12, timestamp_ms=777, headers=strange, nulls=frozenset({1, 7}))
    expected = [("a", b"1"), ("a", None), *wire.tile_headers(NEW), ("a", b"1"), ("dl_attempt", b"2"), ("", None)]
    assert headers_of(one, HEADER, run="replay-1", first=FIRST) == [*expected, *ORIGIN]


def test_fields_of_a_later_version_stay_in_the_tile_header() -> None:
    fields = {**msgspec.msgpack.decode(dict(wire.tile_headers(HEADER))["tile"]), "later": [1, {"x": b"y"}]}
    one = record(HEADER, offset=12, timestamp_ms=777, headers=[("tile", msgspec.msgpack.encode(fields))])
    sent = dict(headers_of(one, HEADER, run="replay-1", first=FIRST))["tile"]
    assert sent is not None
    assert msgspec.msgpack.decode(sent) == {**fields, "run": "replay-1", "first": FIRST}
    assert wire.read_tile_header([("tile", sent)]) == NEW


def test_a_trace_of_somebody_else_is_kept() -> None:
    foreign = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = [("traceparent", foreign), wire.tile_headers(HEADER)[0]]
    one = record(HEADER, offset=12, timestamp_ms=777, headers=headers)
    assert headers_of(one, HEADER, run="replay-1", first=FIRST)[0] == ("traceparent", foreign)


def test_a_replay_of_a_replay_tells_where_it_was_read_and_grows_no_headers() -> None:
    once = record(NEW, offset=5, timestamp_ms=888, headers=[*wire.tile_headers(NEW), *ORIGIN])
    twice = headers_of(once, NEW, run="replay-2", first=41)
    assert is_replay(once)
    assert len(twice) == len(once.headers)
    assert [value for name, value in twice if name == "origin_run"] == [b"replay-1"]
    assert wire.read_tile_header([(name, value or b"") for name, value in twice]).first == 41


def test_a_header_of_before_the_first_frame_was_told_gets_it() -> None:
    fields = msgspec.msgpack.decode(dict(wire.tile_headers(HEADER))["tile"])
    for later in ("clock", "first", "base", "same_as"):
        del fields[later]
    one = record(HEADER, offset=12, timestamp_ms=777, headers=[("tile", msgspec.msgpack.encode(fields))])
    sent = dict(headers_of(one, HEADER, run="replay-1", first=FIRST))["tile"]
    assert wire.read_tile_header([("tile", sent or b"")]) == NEW


def test_the_key_changes_where_it_holds_the_run_and_nowhere_else() -> None:
    one = record(HEADER, offset=12, timestamp_ms=777)
    assert key_of(one, HEADER, run="replay-1") == b"gate/replay-1/1/1" == tile_key(NEW)
    other = record(HEADER, offset=12, timestamp_ms=777, key=b"mine")
    assert key_of(other, HEADER, run="replay-1") == b"mine"
    null = record(HEADER, offset=12, timestamp_ms=777, key=b"", nulls=frozenset({"key"}))
    assert key_of(null, HEADER, run="replay-1") is None
    assert not is_replay(one)


def test_a_partition_stays_and_with_more_of_them_it_is_that_of_a_fresh_tile() -> None:
    moved = record(HEADER, offset=12, timestamp_ms=777, partition=0)
    assert partition_of(moved, HEADER, of=4, to=4) == 0
    assert partition_of(moved, HEADER, of=4, to=9) == tile_partition("gate", 3, 9)


def test_a_topic_with_fewer_partitions_is_refused_with_both_counts() -> None:
    require_enough_partitions(source="a", of=4, target="b", to=4)
    with pytest.raises(BrokerError, match="topic b has 3 partitions, a has 4"):
        require_enough_partitions(source="a", of=4, target="b", to=3)


def test_runs_are_named_by_base_and_origin_always_alike() -> None:
    assert run_name("night", "file-1") == run_name("night", "file-1")
    assert run_name("night", "file-1").startswith("night-")
    assert len({run_name("night", "file-1"), run_name("night", "file-2"), run_name("day", "file-1")}) == 3
    assert len({run_name("night", "file-1", apart=f"/{sequence}") for sequence in range(3)}) == 3
    assert len(run_name("n" * 80, "r" * 100)) <= 100
