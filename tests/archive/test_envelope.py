"""A record's envelope keeps every byte, and refuses what cannot be one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.archive import envelope
from streamproc.errors import ArchiveError
from streamproc.reader import Record
from tests.archive.material import BEGAN_MS, record, tile
from tests.features import tile_header
from tests.golden import FOLDER

GOLDEN = FOLDER / "archive-record-v1.bin"

# Kafka's header names are UTF-8; a null value is an empty one with its position in `nulls`
headers = st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=40)), max_size=8)
maybe_bytes = st.none() | st.binary(max_size=200)


def made(key: bytes | None, value: bytes | None, raw: list[tuple[str, bytes | None]], **changes: Any) -> Record:
    nulls: set[str | int] = {at for at, (_, held) in enumerate(raw) if held is None}
    nulls |= {name for name, held in (("key", key), ("value", value)) if held is None}
    return record(
        3,
        key=key or b"",
        value=value or b"",
        headers=[(name, held or b"") for name, held in raw],
        nulls=frozenset(nulls),
        **changes,
    )


def packed(one: Record) -> bytes:
    return envelope.encode(one) + one.value


def unpacked(data: bytes) -> Record:
    return envelope.decode(memoryview(data), topic="t.tiles", partition=3)


@given(maybe_bytes, maybe_bytes, headers, st.integers(0, 2**63 - 1), st.integers(-1, 2**63 - 1))
def test_what_comes_out_is_what_went_in_to_the_byte(
    key: bytes | None, value: bytes | None, raw: list[tuple[str, bytes | None]], offset: int, timestamp_ms: int
) -> None:
    one = made(key, value, raw, offset=offset, timestamp_ms=timestamp_ms)
    assert unpacked(packed(one)) == one
    assert envelope.offset_of(memoryview(packed(one))) == offset


@given(headers, st.data())
def test_an_envelope_cut_off_before_its_value_is_refused(
    raw: list[tuple[str, bytes | None]], data: st.DataObject
) -> None:
    head = envelope.encode(made(b"key", b"", raw))
    with pytest.raises(ArchiveError):
        unpacked(head[: data.draw(st.integers(0, len(head) - 1))])


@given(st.binary(max_size=120))
def test_garbage_is_refused_or_read_but_never_crashes(garbage: bytes) -> None:
    with suppress(ArchiveError):
        assert unpacked(garbage).topic == "t.tiles"


def test_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(ArchiveError, match="envelope version 2, this program reads 1: upgrade it"):
        unpacked(b"\x02" + packed(record())[1:])


def golden_record() -> Record:
    return made(b"gate-1/run-1/0/1", b"value", [("a", b"1"), ("a", None), ("ü", b"")], offset=2**40 + 7)


def test_the_golden_envelope_is_read_and_written_to_the_byte() -> None:
    assert Path(GOLDEN).read_bytes() == packed(golden_record())
    assert unpacked(GOLDEN.read_bytes()) == golden_record()


def test_times_are_those_of_the_record_and_of_the_capture() -> None:
    assert envelope.log_time_ns(record(timestamp_ms=BEGAN_MS)) == BEGAN_MS * 10**6
    assert envelope.log_time_ns(record(timestamp_ms=-1)) == 0
    assert envelope.log_time_ns(record(timestamp_ms=2**63 - 1)) == 2**64 - 1
    assert envelope.capture_time_ns(tile(0)) == tile_header().captured_ns
    assert envelope.capture_time_ns(record()) is None
    for wrong in (b"", b"\xff", msgspec.msgpack.encode({"captured_ns": -1}), msgspec.msgpack.encode({"other": 1})):
        assert envelope.capture_time_ns(record(headers=[("tile", wrong)])) is None


@pytest.mark.parametrize(
    ("key", "camera"),
    [
        (b"gate-1/run/0/1", "gate-1"),
        (b"gate_1.a", "gate_1.a"),
        (b"", None),
        (b"/run", None),
        (b"a b/run", None),
        (b"\xff\xfe", None),
        ("ü/run".encode(), None),
        (b"x" * 101, None),
    ],
)
def test_the_camera_is_what_the_key_begins_with(key: bytes, camera: str | None) -> None:
    assert envelope.camera_of(record(key=key)) == camera
