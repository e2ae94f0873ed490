"""Tiles that name the record of their pixels: found, held within bounds, and refused where they may not be named."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from producers.cutting import encode_frame
from streamproc import wire
from streamproc.errors import BadMessage, BrokerError
from streamproc.model import Frame, FrameKey, Grid, TileHeader
from streamproc.records import Record
from streamproc.references import References, fetch_from


def tile(value: int = 7, **changes: Any) -> tuple[TileHeader, bytes]:
    frame = Frame(pixels=np.full((32, 32), value, np.uint8), captured_ns=1)
    ((header, payload),) = encode_frame(
        frame, FrameKey("cam", "run", 0), grid=Grid(1, 1), halo=0, codec="raw", jpeg_quality=90, bases={0}
    )
    return msgspec.structs.replace(header, **changes), payload


def naming(header: TileHeader, offset: int, **changes: Any) -> TileHeader:
    return msgspec.structs.replace(
        header, schema=wire.REFERENCE_SCHEMA, sequence=5, base=False, same_as=offset, **changes
    )


def record(offset: int, header: TileHeader, payload: bytes) -> Record:
    return Record(
        topic="t",
        partition=2,
        offset=offset,
        timestamp_ms=0,
        key=b"",
        value=payload,
        headers=wire.tile_headers(header),
    )


class Log:
    """Records by partition and offset; notes what was asked for."""

    def __init__(self, *records: Record) -> None:
        self.records = {(one.partition, one.offset): one for one in records}
        self.asked: list[tuple[int, int]] = []

    def fetch(self, partition: int, offset: int) -> Record | None:
        self.asked.append((partition, offset))
        return self.records.get((partition, offset))


def test_a_tile_that_was_seen_is_not_asked_for() -> None:
    header, payload = tile()
    log = Log()
    references = References(log.fetch)
    assert references.payload(header, partition=2, offset=40, value=payload) == payload
    assert references.payload(naming(header, 40), partition=2, offset=41, value=b"") == payload
    assert not log.asked


def test_a_tile_that_was_not_seen_is_asked_for_once() -> None:
    header, payload = tile()
    log = Log(record(40, header, payload))
    references = References(log.fetch)
    for offset in (41, 42):
        assert references.payload(naming(header, 40), partition=2, offset=offset, value=b"") == payload
    assert log.asked == [(2, 40)]


def test_what_nothing_refers_to_is_not_held_and_what_is_held_stays_within_bounds() -> None:
    header, payload = tile()
    log = Log(*[record(offset, header, payload) for offset in range(10)])
    references = References(log.fetch, bound_bytes=3 * (len(payload) + 300))
    references.payload(msgspec.structs.replace(header, base=False), partition=2, offset=50, value=payload)
    assert references.held_bytes == 0
    for offset in range(10):
        references.payload(naming(header, offset), partition=2, offset=60, value=b"")
        assert references.held_bytes <= 3 * (len(payload) + 300)
    references.payload(naming(header, 9), partition=2, offset=60, value=b"")
    references.payload(naming(header, 0), partition=2, offset=60, value=b"")
    assert log.asked == [*[(2, offset) for offset in range(10)], (2, 0)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"camera": "other"}, "its camera differs"),
        ({"run": "other"}, "its run differs"),
        ({"row": 1, "rows": 2, "tile_count": 2}, "its row differs"),
        ({"codec": "png"}, "its codec differs"),
        ({"halo": 4}, "its halo differs"),
        ({"base": False}, "nothing may refer to that"),
    ],
)
def test_only_a_tile_of_the_same_place_that_is_meant_for_it_may_be_named(changes: dict[str, Any], said: str) -> None:
    header, payload = tile()
    there = msgspec.structs.replace(header, **changes)
    references = References(Log(record(40, there, payload)).fetch)
    with pytest.raises(BadMessage, match=said) as refused:
        references.payload(naming(header, 40), partition=2, offset=41, value=b"")
    assert refused.value.reason == "base"


def test_pixels_that_are_gone_other_or_unreadable_are_refused() -> None:
    header, _ = tile()
    other, other_payload = tile(8)
    foreign = Record(topic="t", partition=2, offset=42, timestamp_ms=0, key=b"", value=b"x", headers=[])
    references = References(Log(record(41, other, other_payload), foreign).fetch)
    for offset, reason in ((40, "base"), (41, "checksum"), (42, "base")):
        with pytest.raises(BadMessage) as refused:
            references.payload(naming(header, offset), partition=2, offset=50, value=b"")
        assert refused.value.reason == reason


@pytest.mark.parametrize("named", [41, 42, 2**62])
def test_a_tile_that_names_a_later_record_is_refused_without_looking(named: int) -> None:
    log = Log()
    with pytest.raises(BadMessage) as refused:
        References(log.fetch).payload(naming(tile()[0], named), partition=2, offset=41, value=b"")
    assert (refused.value.reason, log.asked) == ("base", [])


def test_a_broker_that_does_not_answer_is_no_refusal() -> None:
    def silent(_partition: int, _offset: int) -> Record | None:
        raise BrokerError("no answer")

    with pytest.raises(BrokerError):
        References(silent).payload(naming(tile()[0], 1), partition=2, offset=2, value=b"")


def test_a_source_is_asked_for_one_record() -> None:
    header, payload = tile()
    asked: list[object] = []

    class Source:
        topic = "t"

        def read(self, ranges: object) -> Any:
            asked.append(ranges)
            return iter([record(40, header, payload)])

    found = fetch_from(Source())(2, 40)  # type: ignore[arg-type]  # the part that is needed
    assert found is not None
    assert (found.offset, asked) == (40, [{2: (40, 41)}])
