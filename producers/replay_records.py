"""A record of the log as it is sent again: pure.

Key, value and headers stay as they are, duplicates and nulls too, but for what names the run: the `tile` header, the
key `camera/run/row/col`, and the trace that is made of camera, run and sequence; the new one is not recorded. The
`tile` header also says with which frame the new run begins, and refers to no other record's pixels. Where the record
stood, headers tell:

| header | says |
|---|---|
| `origin_topic`, `origin_partition`, `origin_offset` | where the record stood |
| `origin_run` | its run |
| `origin_timestamp_ms` | its timestamp, milliseconds since 1970 |
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from streamproc.errors import BrokerError
from streamproc.model import TileHeader
from streamproc.records import Record
from streamproc.topics import tile_key, tile_partition
from streamproc.wire import TILE_HEADER, TILE_SCHEMA, TRACEPARENT, RawHeaders, trace_id, traceparent

ORIGIN_RUN = "origin_run"
_ORIGIN = ("origin_topic", "origin_partition", "origin_offset", ORIGIN_RUN, "origin_timestamp_ms")
MAX_BASE = 80
"""Longest name that runs are made of, so that they keep below 100 characters."""

_pack = msgspec.msgpack.Encoder()


def is_replay(record: Record) -> bool:
    """Whether a record was sent by a replay."""
    return any(name == ORIGIN_RUN for name, _ in record.headers)


def run_name(base: str, original: str, *, apart: str = "") -> str:
    """The run that an original run is replayed as; always the same for the same base.

    Args:
        base: Of this replay.
        original: The original run.
        apart: What else tells it from others.
    """
    return f"{base}-{hashlib.sha256(f'{original}{apart}'.encode()).hexdigest()[:12]}"


def key_of(record: Record, header: TileHeader, *, run: str) -> bytes | None:
    """The key with another run, if it holds one."""
    if "key" in record.nulls:
        return None
    return tile_key(_renamed(header, run)) if record.key == tile_key(header) else record.key


def headers_of(record: Record, header: TileHeader, *, run: str, first: int) -> RawHeaders:
    """The headers with another run, and where the record stood.

    Args:
        record: As it stands in the log.
        header: Its `tile` header.
        run: The new run.
        first: Lowest sequence that is sent in that run.
    """
    trace = trace_id(header.key).encode()
    kept: list[tuple[str, bytes | None]] = []
    for at, (name, value) in enumerate(record.headers):
        if name == TILE_HEADER:
            kept.append((name, _with_run(value, run, first=first)))
        elif name == TRACEPARENT and value[3:35] == trace:  # 00-<trace>-<span>-<flags>
            kept.append((name, traceparent(_renamed(header, run))))
        elif name not in _ORIGIN:  # of a replay that is replayed
            kept.append((name, None if at in record.nulls else value))
    origin = (record.topic, record.partition, record.offset, header.run, record.timestamp_ms)
    return [*kept, *((name, str(value).encode()) for name, value in zip(_ORIGIN, origin, strict=True))]


def partition_of(record: Record, header: TileHeader, *, of: int, to: int) -> int:
    """The partition of a topic with `to` partitions for a record of a topic with `of`."""
    return record.partition if of == to else tile_partition(header.camera, header.index, to)


def require_enough_partitions(*, source: str, of: int, target: str, to: int) -> None:
    """Refuse a topic in which records of several partitions would be mixed.

    Raises:
        BrokerError: Says both counts.
    """
    if to < of:
        raise BrokerError(
            f"topic {target} has {to} partitions, {source} has {of}: replay into a topic with at least as many"
            " (streamproc topics create with another STREAMPROC_PREFIX and STREAMPROC_PARTITIONS)"
        )


def _with_run(packed: bytes, run: str, *, first: int) -> bytes:
    fields: dict[str, Any] = msgspec.msgpack.decode(packed)  # as a map: fields that are not known here stay
    if fields.get("same_as") is not None:  # an offset of the log it was read from; `base` still tells what it was
        fields |= {"schema": TILE_SCHEMA, "base": True, "same_as": None}
    return _pack.encode({**fields, "run": run, "first": first})


def _renamed(header: TileHeader, run: str) -> TileHeader:
    return msgspec.structs.replace(header, run=run)
