"""One Kafka record as the data of one MCAP message, and back. Values in, values out.

The envelope, version 1. Numbers are little-endian, as everywhere in MCAP:

    u8   version, 1
    u8   flags: 1 the key is null, 2 the value is null
    u32  number of headers
    u64  offset (the message's `sequence` has only 32 bits of it)
    i64  record timestamp, ms since 1970; negative if the record has none
    u32  length of the key
    key
    each header: u32 length of the name, name (UTF-8), i32 length of the value, -1 for null, value
    value: all that is left

So nothing of a record is lost: header order, names that stand twice, nulls and exact bytes are kept. Topic and
partition are those of the message's channel.
"""

from __future__ import annotations

import struct

import msgspec

from streamproc.errors import ArchiveError
from streamproc.reader import Record

VERSION = 1
ENCODING = "streamproc-record"
LAYOUT = (
    b"streamproc record, version 1, little-endian: u8 version; u8 flags (1 key is null, 2 value is null); u32 headers;"
    b" u64 offset; i64 timestamp ms; u32 key length; key; headers: u32 name length, name, i32 value length (-1 null),"
    b" value; then the value of the record to the end"
)
"""Stands in each file as the channels' schema, so that a file explains itself."""

_FIXED = struct.Struct("<BBIQqI")
_NAME = struct.Struct("<I")
_CONTENT = struct.Struct("<i")
_KEY_NULL, _VALUE_NULL = 1, 2
_NS_PER_MS = 10**6
_LATEST_NS = 2**64 - 1
_CAPTURE_HEADERS = ("tile", "picture")


def encode(record: Record) -> bytes:
    """All of a record's envelope but its value, which follows as it is."""
    nulls = record.nulls
    flags = (_KEY_NULL if "key" in nulls else 0) | (_VALUE_NULL if "value" in nulls else 0)
    parts = [
        _FIXED.pack(VERSION, flags, len(record.headers), record.offset, record.timestamp_ms, len(record.key)),
        record.key,
    ]
    for at, (name, content) in enumerate(record.headers):
        raw = name.encode("utf-8", "surrogateescape")
        parts += [_NAME.pack(len(raw)), raw, _CONTENT.pack(-1 if at in nulls else len(content)), content]
    return b"".join(parts)


def offset_of(data: memoryview) -> int:
    """The offset alone, from an envelope.

    Raises:
        ArchiveError: It is cut off.
    """
    if len(data) < _FIXED.size:
        raise ArchiveError(f"a record of {len(data)} bytes is cut off")
    offset: int = _FIXED.unpack_from(data)[3]
    return offset


def decode(data: memoryview, *, topic: str, partition: int) -> Record:
    """The record in an envelope; its value is copied once.

    Raises:
        ArchiveError: A newer version, or lengths that do not fit.
    """
    offset_of(data)
    version, flags, count, offset, timestamp_ms, key_length = _FIXED.unpack_from(data)
    if version != VERSION:
        raise ArchiveError(f"a record has envelope version {version}, this program reads {VERSION}: upgrade it")
    nulls: set[str | int] = set()
    if flags & _KEY_NULL:
        nulls.add("key")
    if flags & _VALUE_NULL:
        nulls.add("value")
    cursor = _Cursor(data, _FIXED.size)
    key = cursor.take(key_length)
    headers: list[tuple[str, bytes]] = []
    for at in range(count):
        name = cursor.take(cursor.number(_NAME)).decode("utf-8", "surrogateescape")
        length = cursor.number(_CONTENT)
        if length < 0:
            nulls.add(at)
        headers.append((name, cursor.take(max(0, length))))
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        key=key,
        value=bytes(data[cursor.at :]),
        headers=headers,
        nulls=frozenset(nulls),
    )


class _Cursor:
    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self.at = at

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self._data):
            raise ArchiveError(f"a record of {len(self._data)} bytes names {length} bytes at {self.at}")
        taken = bytes(self._data[self.at : end])
        self.at = end
        return taken

    def number(self, form: struct.Struct) -> int:
        found: int = form.unpack(self.take(form.size))[0]
        return found


class _Captured(msgspec.Struct):
    captured_ns: int


_captured = msgspec.msgpack.Decoder(_Captured)


def log_time_ns(record: Record) -> int:
    """The record's timestamp as MCAP has times: nanoseconds since 1970, 0 if there is none."""
    return min(max(0, record.timestamp_ms) * _NS_PER_MS, _LATEST_NS)


def capture_time_ns(record: Record) -> int | None:
    """When the pixels of a tile or picture were captured, by its header; None where none says so."""
    for name, content in record.headers:
        if name in _CAPTURE_HEADERS:
            try:
                captured_ns = _captured.decode(content).captured_ns
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
            return captured_ns if 0 <= captured_ns < 2**63 else None
    return None


def camera_of(record: Record) -> str | None:
    """The camera a record is about: all keys begin with it."""
    camera = record.key.split(b"/", 1)[0]
    if not 0 < len(camera) <= 100:
        return None
    text = camera.decode("ascii", "replace")
    return text if text.replace(".", "").replace("_", "").replace("-", "").isalnum() and text.isascii() else None
