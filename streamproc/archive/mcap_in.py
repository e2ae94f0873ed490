"""Reading MCAP files as `mcap_out` writes them, a piece at a time: the end first, then only the chunks asked for."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamproc.archive.index import ATTACHMENT, FileIndex, decode_index
from streamproc.archive.storage import INSTALL, Storage, StoredFile
from streamproc.errors import ArchiveError, StoreError

try:
    from mcap.data_stream import ReadDataStream
    from mcap.exceptions import McapError
    from mcap.opcode import Opcode
    from mcap.records import AttachmentIndex, Channel, ChunkIndex, Footer, Schema
    from mcap.stream_reader import StreamReader
    from mcap.writer import MCAP0_MAGIC
except ImportError:
    raise ArchiveError(f"an archive needs mcap: {INSTALL}") from None

_TAIL_BYTES = 256 * 2**10  # footer, summary and index of a file of 256 MiB are about 20 kB
_LARGEST_BYTES = 2**28  # of a record or a summary; the index of 64 GiB with 1024 partitions takes 170 MB
_RECORD = struct.Struct("<BQ")
_FOOTER_BYTES = _RECORD.size + 20 + len(MCAP0_MAGIC)
_CHUNK = struct.Struct("<QQQII")  # times, size, CRC, length of the compression's name
_MESSAGE = struct.Struct("<HIQQ")
_BROKEN = (McapError, struct.error, ValueError, IndexError, EOFError, KeyError)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A file's own account of what it holds and where.

    Attributes:
        chunks: Position and length of each chunk, in the order of `index.chunks`.
        partitions: By channel.
        declared: Schema and channels, as they stand in the file's beginning too.
    """

    file: StoredFile
    index: FileIndex
    chunks: tuple[tuple[int, int], ...]
    partitions: dict[int, int]
    declared: tuple[Schema | Channel, ...]

    @property
    def topic_id(self) -> str:
        """The broker's id of the topic when this was written; "" if it was not known."""
        return next((one.metadata.get("topic_id", "") for one in self.declared if isinstance(one, Channel)), "")


@dataclass(frozen=True, slots=True)
class Found:
    """One message in a chunk: which channel, and where its data stand."""

    channel: int
    sequence: int
    log_ns: int
    position: int
    data: memoryview


def open_file(storage: Storage, file: StoredFile) -> Opened:
    """Read the end of a file: two reads at most for a file of usual size.

    Raises:
        StoreError: It could not be looked at.
        ArchiveError: It is damaged, cut off or no archive file; the message names it.
    """
    try:
        return _open(storage, file)
    except _BROKEN as error:
        raise ArchiveError(f"{file.topic}/{file.name}: its end is damaged ({type(error).__name__})") from None
    except StoreError:
        raise
    except ArchiveError as error:
        raise ArchiveError(f"{file.topic}/{file.name}: {error}") from None


def _open(storage: Storage, file: StoredFile) -> Opened:
    start = max(0, file.size - _TAIL_BYTES)
    tail = storage.read(file.path, start, file.size)
    if len(tail) != file.size - start or not tail.endswith(MCAP0_MAGIC) or len(tail) < _FOOTER_BYTES:
        raise ArchiveError("it has no end: it is cut off, or no MCAP file")
    footer = _footer(tail)
    if not 0 < footer.summary_start < file.size:
        raise ArchiveError("it has no summary")
    if file.size - footer.summary_start > _LARGEST_BYTES:
        raise ArchiveError(f"its summary claims {file.size - footer.summary_start} bytes: damaged")
    if footer.summary_start < start:
        tail, start = storage.read(file.path, footer.summary_start, file.size), footer.summary_start
    summary = memoryview(tail)[footer.summary_start - start :]
    _check_summary(summary, footer)
    chunks, attached, declared = _summary(bytes(summary))
    if attached.offset < start:
        packed = storage.read(file.path, attached.offset, attached.offset + attached.length)
    else:
        packed = tail[attached.offset - start : attached.offset - start + attached.length]
    index = decode_index(attachment_data(memoryview(packed)))
    if len(index.chunks) != len(chunks) or index.topic != file.topic:
        raise ArchiveError("its index is of another file")
    places = tuple((one.chunk_start_offset, one.chunk_length) for one in chunks)
    partitions = {one.id: int(one.metadata["partition"]) for one in declared if isinstance(one, Channel)}
    return Opened(file, index, places, partitions, declared)


def _footer(tail: bytes) -> Footer:
    at = len(tail) - _FOOTER_BYTES
    opcode, length = _RECORD.unpack_from(tail, at)
    if opcode != Opcode.FOOTER or length != 20:
        raise ArchiveError("it has no footer")
    footer: Footer = Footer.read(ReadDataStream(io.BytesIO(tail[at + _RECORD.size :])))
    return footer


def _check_summary(summary: memoryview, footer: Footer) -> None:
    if zlib.crc32(summary[: -(4 + len(MCAP0_MAGIC))]) != footer.summary_crc:
        raise ArchiveError("its summary is damaged (CRC)")


def _summary(summary: bytes) -> tuple[list[ChunkIndex], AttachmentIndex, tuple[Schema | Channel, ...]]:
    chunks: list[ChunkIndex] = []
    attached: AttachmentIndex | None = None
    declared: list[Schema | Channel] = []
    for record in StreamReader(io.BytesIO(summary), skip_magic=True).records:
        if isinstance(record, ChunkIndex):
            chunks.append(record)
        elif isinstance(record, AttachmentIndex) and record.name == ATTACHMENT:
            attached = record
        elif isinstance(record, Schema | Channel):
            declared.append(record)
    if attached is None:
        raise ArchiveError("it is an MCAP file, but not of this archive: it has no streamproc.index")
    return chunks, attached, tuple(declared)


def attachment_data(packed: memoryview) -> bytes:
    """The data of an attachment record, its CRC checked (the library does not).

    Raises:
        ArchiveError: It is damaged.
    """
    opcode, length = _RECORD.unpack_from(packed)
    body = packed[_RECORD.size : _RECORD.size + length]
    if opcode != Opcode.ATTACHMENT or len(body) != length or length < 4:
        raise ArchiveError("its index is not where it should be")
    if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
        raise ArchiveError("its index is damaged (CRC)")
    at = 16
    for _ in range(2):  # name and media type
        at += 4 + int.from_bytes(body[at : at + 4], "little")
    size = int.from_bytes(body[at : at + 8], "little")
    return bytes(body[at + 8 : at + 8 + size])


def read_chunk(storage: Storage, opened: Opened, number: int) -> Iterator[Found]:
    """The messages of one chunk, its CRC checked before the first is given.

    Raises:
        ArchiveError: It is damaged; the message names file and position.
    """
    at, length = opened.chunks[number]
    packed = memoryview(storage.read(opened.file.path, at, at + length))
    try:
        yield from messages(_content(packed, length))
    except ArchiveError as error:
        raise ArchiveError(f"{opened.file.topic}/{opened.file.name}: chunk {number} at byte {at}: {error}") from None


def _content(packed: memoryview, length: int) -> memoryview:
    opcode, size = _RECORD.unpack_from(packed) if len(packed) >= _RECORD.size else (0, 0)
    if opcode != Opcode.CHUNK or size != length - _RECORD.size or len(packed) != length:
        raise ArchiveError("there is no whole chunk")
    return packed[_RECORD.size :]


def messages(chunk: memoryview) -> Iterator[Found]:
    """The messages in a chunk record's content.

    Raises:
        ArchiveError: It is damaged, or compressed.
    """
    try:
        data = _chunk_data(chunk)
    except struct.error:
        raise ArchiveError("the chunk is cut off") from None
    at = 0
    while at < len(data):
        if at + _RECORD.size > len(data):
            raise ArchiveError(f"a record at {at} is cut off")
        opcode, length = _RECORD.unpack_from(data, at)
        body = data[at + _RECORD.size : at + _RECORD.size + length]
        if len(body) != length:
            raise ArchiveError(f"a record at {at} of {length} bytes is cut off")
        if opcode == Opcode.MESSAGE:
            if length < _MESSAGE.size:
                raise ArchiveError(f"a message at {at} is cut off")
            channel, sequence, log_ns, _ = _MESSAGE.unpack_from(body)
            yield Found(channel, sequence, log_ns, at, body[_MESSAGE.size :])
        at += _RECORD.size + length


def _chunk_data(chunk: memoryview) -> memoryview:
    _, _, size, crc, named = _CHUNK.unpack_from(chunk)
    if named:
        name = bytes(chunk[_CHUNK.size : _CHUNK.size + named])[:20]
        raise ArchiveError(f"the chunk is compressed ({name.decode('ascii', 'replace')}), archive files never are")
    data = chunk[_CHUNK.size + 8 :]
    if len(data) != size or int.from_bytes(chunk[_CHUNK.size : _CHUNK.size + 8], "little") != size:
        raise ArchiveError("the chunk is cut off")
    if zlib.crc32(data) != crc:
        raise ArchiveError("the chunk is damaged (CRC)")
    return data


def walk(stream: Any, size: int) -> Iterator[tuple[int, int, bytes]]:
    """All records of a file of `size` bytes, from its beginning to its footer: opcode, position, content.

    Raises:
        ArchiveError: It is cut off, or no MCAP file.
    """
    if stream.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
        raise ArchiveError("it does not begin as an MCAP file")
    at, opcode = len(MCAP0_MAGIC), 0
    while opcode != Opcode.FOOTER:
        head = stream.read(_RECORD.size)
        if len(head) < _RECORD.size:
            raise ArchiveError(f"it is cut off at byte {at}")
        opcode, length = _RECORD.unpack(head)
        content = stream.read(length) if length <= min(size - at, _LARGEST_BYTES) else b""
        if len(content) != length:
            raise ArchiveError(f"the record at byte {at} claims {length} bytes: damaged or cut off there")
        yield opcode, at, content
        at += _RECORD.size + length
