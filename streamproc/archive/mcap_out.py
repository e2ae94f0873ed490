"""Writing one MCAP file: records of one topic, in chunks, without compression (pictures are compressed already).

The library's own writer copies each value three times and hides where chunks begin and end, which the index of
offsets needs. So chunks are put together here, one copy from value to chunk; the records around them are the
library's.

References:
    MCAP 0, https://mcap.dev/spec
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.writer import MCAP0_MAGIC

from streamproc.archive import envelope
from streamproc.archive.index import ATTACHMENT, MEDIA_TYPE, Span
from streamproc.reader import Record

CHUNK_BYTES = 4 * 2**20  # a read of an object store costs about as much as 4 MiB of transfer
HEADER = Header(profile="streamproc", library="streamproc")
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log time, publish time
_MESSAGE_FIXED = _MESSAGE.size - 9
_CHUNK = struct.Struct("<BQQQQIIQ")  # opcode, length, times, size, CRC, length of the compression's name (0), size
_FOOTER_LENGTH = 20
_SCHEMA_ID = 1


class Sink(Protocol):
    """Where the bytes go."""

    size: int

    def write(self, data: bytes) -> None:
        """Append."""


class _Chunk:
    """Messages not written yet."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.times: dict[int, list[int]] = {}  # of a channel: log time, position, log time, ...
        self.spans: dict[int, Span] = {}


class McapOut:
    """One MCAP file being written to a sink.

    Args:
        sink: Takes the bytes; its `size` is 0 now.
        topic: Of all records.
        partitions: That records may be of: a channel for each.
        topic_id: The broker's own id of the topic, which a topic made anew has not; "" if it is not known.
    """

    def __init__(self, sink: Sink, topic: str, partitions: Iterable[int], *, topic_id: str = "") -> None:
        self._sink = sink
        identity = {"topic_id": topic_id} if topic_id else {}
        self._schema = Schema(id=_SCHEMA_ID, name="streamproc.Record", encoding="x-streamproc", data=envelope.LAYOUT)
        self._channels = [
            Channel(
                id=partition + 1,
                topic=f"{topic}/{partition}",
                message_encoding=envelope.ENCODING,
                metadata={"topic": topic, "partition": str(partition), **identity},
                schema_id=_SCHEMA_ID,
            )
            for partition in partitions
        ]
        self._chunk = _Chunk()
        self._chunk_indexes: list[ChunkIndex] = []
        self._counts: dict[int, int] = {}
        self.spans: list[list[Span]] = []
        sink.write(MCAP0_MAGIC + packed(HEADER, self._schema, *self._channels))

    @property
    def size(self) -> int:
        """Bytes so far, those of the open chunk included."""
        return self._sink.size + self._chunk.size

    def add(self, record: Record, *, captured_ns: int | None = None) -> None:
        """Append a record; its publish time is `captured_ns`, or its timestamp."""
        log_ns = envelope.log_time_ns(record)
        head = envelope.encode(record)
        channel = record.partition + 1
        message = _MESSAGE.pack(
            Opcode.MESSAGE,
            _MESSAGE_FIXED + len(head) + len(record.value),
            channel,
            record.offset & 0xFFFF_FFFF,
            log_ns,
            log_ns if captured_ns is None else captured_ns,
        )
        chunk = self._chunk
        chunk.times.setdefault(channel, []).extend((log_ns, chunk.size))
        chunk.parts += (message, head, record.value)
        chunk.size += len(message) + len(head) + len(record.value)
        chunk.spans[record.partition] = _with(chunk.spans.get(record.partition), record)
        if chunk.size >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the open chunk."""
        chunk, self._chunk = self._chunk, _Chunk()
        if not chunk.parts:
            return
        data = b"".join(chunk.parts)
        chunk.parts.clear()
        logs = [times[0::2] for times in chunk.times.values()]
        low_ns, high_ns = min(map(min, logs)), max(map(max, logs))
        start = self._sink.size
        crc, length = zlib.crc32(data), _CHUNK.size - 9 + len(data)
        self._sink.write(_CHUNK.pack(Opcode.CHUNK, length, low_ns, high_ns, len(data), crc, 0, len(data)))
        self._sink.write(data)
        indexed_at, indexes, places = self._sink.size, b"", {}
        for channel, times in chunk.times.items():
            places[channel] = indexed_at + len(indexes)
            indexes += message_index(channel, times)
            self._counts[channel] = self._counts.get(channel, 0) + len(times) // 2
        self._sink.write(indexes)
        self._chunk_indexes.append(
            ChunkIndex(
                message_start_time=low_ns,
                message_end_time=high_ns,
                chunk_start_offset=start,
                chunk_length=indexed_at - start,
                message_index_offsets=places,
                message_index_length=len(indexes),
                compression="",
                compressed_size=len(data),
                uncompressed_size=len(data),
            )
        )
        self.spans.append([chunk.spans[partition] for partition in sorted(chunk.spans)])

    def finish(self, index: bytes) -> None:
        """Write what is left, the index as an attachment, summary and footer; `flush` was called before."""
        at = self._sink.size
        attachment = packed(Attachment(create_time=0, log_time=0, name=ATTACHMENT, media_type=MEDIA_TYPE, data=index))
        self._sink.write(attachment + packed(DataEnd(0)))
        attached = AttachmentIndex(
            offset=at,
            length=len(attachment),
            log_time=0,
            create_time=0,
            data_size=len(index),
            name=ATTACHMENT,
            media_type=MEDIA_TYPE,
        )
        groups: dict[Opcode, Sequence[McapRecord]] = {
            Opcode.SCHEMA: [self._schema],
            Opcode.CHANNEL: self._channels,
            Opcode.STATISTICS: [self._statistics()],
            Opcode.CHUNK_INDEX: self._chunk_indexes,
            Opcode.ATTACHMENT_INDEX: [attached],
        }
        self._write_summary(groups)

    def _statistics(self) -> Statistics:
        chunks = self._chunk_indexes
        return Statistics(
            attachment_count=1,
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(chunks),
            message_count=sum(self._counts.values()),
            message_end_time=max((chunk.message_end_time for chunk in chunks), default=0),
            message_start_time=min((chunk.message_start_time for chunk in chunks), default=0),
            metadata_count=0,
            schema_count=1,
        )

    def _write_summary(self, groups: Mapping[Opcode, Sequence[McapRecord]]) -> None:
        start = self._sink.size
        summary, offsets = b"", b""
        for opcode, records in groups.items():
            group = packed(*records)
            if group:
                at = start + len(summary)
                offsets += packed(SummaryOffset(group_opcode=opcode, group_start=at, group_length=len(group)))
            summary += group
        offsets_start = start + len(summary)
        crc = zlib.crc32(summary + offsets)
        crc = zlib.crc32(struct.pack("<BQQQ", Opcode.FOOTER, _FOOTER_LENGTH, start, offsets_start), crc)
        footer = Footer(summary_start=start, summary_offset_start=offsets_start, summary_crc=crc)
        self._sink.write(summary + offsets + packed(footer) + MCAP0_MAGIC)


def message_index(channel: int, times: list[int]) -> bytes:
    """A message index record: log time, position, log time, position, ... of a channel's messages in a chunk."""
    size = 8 * len(times)
    return struct.pack(f"<BQHI{len(times)}Q", Opcode.MESSAGE_INDEX, 6 + size, channel, size, *times)


def _with(span: Span | None, record: Record) -> Span:
    at, time_ms = record.offset, record.timestamp_ms
    if span is None:
        return Span(record.partition, at, at, 1, time_ms, time_ms)
    low_ms, high_ms = min(span.low_ms, time_ms), max(span.high_ms, time_ms)
    return Span(record.partition, span.first, at, span.count + 1, low_ms, high_ms)


def packed(*records: McapRecord) -> bytes:
    """Records as they stand in a file, one behind the other."""
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    data: bytes = builder.end()  # type: ignore[no-untyped-call] # the library leaves it without types
    return data
