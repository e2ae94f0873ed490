"""Whether an archive is whole: every byte is read and judged against digests, checksums, indexes and positions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mcap.opcode import Opcode
from mcap.records import DataEnd

from streamproc import wire
from streamproc.archive import envelope
from streamproc.archive.index import FileIndex, Gap, Span
from streamproc.archive.mcap_in import Found, Opened, messages, open_file, walk
from streamproc.archive.mcap_out import HEADER, message_index, packed
from streamproc.archive.reader import ArchiveReader
from streamproc.archive.references import References, Wrong
from streamproc.archive.storage import Storage, StoredFile
from streamproc.errors import ArchiveError, BadMessage, StoreError
from streamproc.model import TileHeader
from streamproc.reader import Record

Kind = Literal["damaged", "gap", "double", "digest", "index", "reference"]
MAX_PROBLEMS = 1000  # told; more are counted
_LETTER = "dl_"  # headers of dead letters: their tiles may well differ from their digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: `damaged` bytes that cannot be what was written; `gap` offsets missing without a word; `double` offsets
            that stand twice; `digest` a tile's payload is not what its header says; `index` the index tells
            otherwise than the records; `reference` the earlier tile whose pixels tiles refer to is not there, told
            once for each such tile, or for each file that such tiles are lost with.
    """

    topic: str
    file: str
    kind: Kind
    what: str


@dataclass(slots=True)
class _Astray:
    """Tiles that refer, for one cause, to what is not there; the first of them in words, and the file it stands in."""

    file: str
    what: str
    tiles: int = 1


@dataclass(slots=True, kw_only=True)
class Judgement:
    """What was found in a topic.

    Attributes:
        epoch: Of the part of the archive.
        tiles: Records with a digest that was compared.
        references: Tiles without a payload of whose pixels the earlier record was found.
        outside: The same whose earlier record is from before the archive, or in one of its gaps.
        gaps: That the archive itself tells of.
        more: Problems beyond `MAX_PROBLEMS`.
    """

    topic: str
    epoch: int = 1
    files: int = 0
    records: int = 0
    tiles: int = 0
    references: int = 0
    outside: int = 0
    bytes: int = 0
    gaps: list[Gap] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0

    _astray: dict[Hashable, _Astray] = field(default_factory=dict)

    def astray(self, file: str, place: str, wrong: Wrong) -> None:
        """Note a tile that refers to what is not there; `tell_astray` tells of it."""
        known = self._astray.get(wrong.cause)
        if known is not None:
            known.tiles += 1
        elif len(self._astray) < MAX_PROBLEMS:
            self._astray[wrong.cause] = _Astray(file, f"{place}, {wrong.what}")
        else:
            self.more += 1

    def tell_astray(self) -> None:
        """Tell of the tiles that refer to what is not there, as one problem for each cause."""
        for one in self._astray.values():
            self.add(one.file, "reference", one.what + (f"; {one.tiles} tiles in all" if one.tiles > 1 else ""))

    def add(self, file: str, kind: Kind, what: str) -> None:
        """Note a problem."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(topic=self.topic, file=file, kind=kind, what=what))
        else:
            self.more += 1


def verify(storage: Storage, topic: str, *, read: Callable[[int], None] = lambda _bytes: None) -> Judgement:
    """Read all files of a topic.

    Args:
        storage: Where.
        topic: Which.
        read: Told how many bytes were read since the last call.

    Raises:
        StoreError: Files could not be looked at: nothing is known about them.
    """
    judgement = Judgement(topic=topic, epoch=storage.epoch)
    positions: dict[int, int] = {}
    unread: list[str] = []  # files since then that cannot be opened
    files = storage.files(topic)
    references = References(lambda: ArchiveReader(storage, topic, told=_passed_over))
    for file in files:
        judgement.files += 1
        judgement.bytes += file.size
        try:
            opened = open_file(storage, file)
        except StoreError:
            raise
        except ArchiveError as error:
            judgement.add(file.name, "damaged", str(error).removeprefix(f"{topic}/{file.name}: "))
            read(file.size)
            unread.append(file.name)
            continue
        index = opened.index
        if not unread:  # what they held is not known
            _check_chain(judgement, file, positions, index.first)
        _note_lost(references, positions, index.first, where=_where(file.name, unread))
        unread = []
        judgement.gaps += index.gaps
        references.file(index)
        _look(storage, opened, _FileLook(judgement, opened, references), judgement, read)
        positions = dict(index.next)
    judgement.tell_astray()
    return judgement


def _look(storage: Storage, opened: Opened, look: _FileLook, judgement: Judgement, read: Callable[[int], None]) -> None:
    """Show all records of a file."""
    try:
        with storage.reading(opened.file.path) as stream:
            for opcode, at, content in walk(stream, opened.file.size):
                look.see(opcode, at, content)
                read(9 + len(content))
    except StoreError:
        raise
    except ArchiveError as error:
        judgement.add(opened.file.name, "damaged", str(error))
        look.break_off()
    else:
        look.finish()


def _passed_over(_line: str) -> None:
    """Damage is told as a problem."""


def _note_lost(references: References, positions: Mapping[int, int], first: Mapping[int, int], *, where: str) -> None:
    """What stood between the last file that could be opened and this one is lost."""
    for partition, ended in positions.items():
        if first.get(partition, 0) > ended:
            references.lost(partition, ended, first[partition] - 1, where)


def _where(name: str, unread: list[str]) -> str:
    """With what records before a file are lost."""
    if not unread:
        return f"a file missing before {name}"
    return f"the damaged file {unread[0]}" + (f" and {len(unread) - 1} more after it" if len(unread) > 1 else "")


def _check_chain(
    judgement: Judgement, file: StoredFile, positions: Mapping[int, int], first: Mapping[int, int]
) -> None:
    """Each file must begin where the one before it ended."""
    for partition, ended in sorted(positions.items()):
        begins = first.get(partition, 0)
        if begins > ended:
            judgement.add(
                file.name, "gap", f"partition {partition}: offsets {ended} to {begins - 1}: a file before it is missing"
            )
        elif begins < ended:
            judgement.add(
                file.name, "double", f"partition {partition}: offsets {begins} to {ended - 1} stand in an earlier file"
            )


class _FileLook:
    """One file, record by record."""

    def __init__(self, judgement: Judgement, opened: Opened, references: References) -> None:
        self._judgement = judgement
        self._references = references
        self._opened = opened
        self._index: FileIndex = opened.index
        self._positions = dict(opened.index.first)
        self._explained = {(gap.partition, gap.first): gap.last for gap in opened.index.gaps}
        self._chunks = 0
        self._records = 0
        self._times: dict[int, list[int]] = {}  # of the last chunk: log time, position, ... by channel
        self._damaged = False
        self._ended = False
        known = [packed(one) for one in (HEADER, DataEnd(0), *opened.declared)]
        self._plain = {(one[0], one[9:]) for one in known}

    def see(self, opcode: int, at: int, content: bytes) -> None:
        """Judge one record of the data section; what stands behind it has a checksum that was compared."""
        if self._ended:
            return
        if opcode == Opcode.CHUNK:
            self._no_index_missing()
            self._chunk(at, content)
        elif opcode == Opcode.MESSAGE_INDEX:
            self._message_index(at, content)
        else:
            self._no_index_missing()
            self._ended = opcode == Opcode.DATA_END
            if opcode != Opcode.ATTACHMENT and (opcode, content) not in self._plain:
                self._tell("damaged", f"the record at byte {at} is not what was written")

    def _message_index(self, at: int, content: bytes) -> None:
        channel = int.from_bytes(content[:2], "little")
        times = self._times.pop(channel, None)
        if not self._damaged and (times is None or message_index(channel, times)[9:] != content):
            self._tell("index", f"message index at byte {at} differs from its chunk")

    def _no_index_missing(self) -> None:
        if self._times and not self._damaged:
            self._tell("index", f"chunk {self._chunks - 1} has no message index of {len(self._times)} channels")
        self._times = {}

    def break_off(self) -> None:
        """The rest of the file cannot be read."""
        for number in range(self._chunks, len(self._index.chunks)):
            self._pass_over(number)

    def finish(self) -> None:
        """What must be true of the whole file."""
        if self._damaged:
            return
        if self._chunks != len(self._index.chunks) or self._records != self._index.records:
            self._tell(
                "index",
                f"{self._records} records in {self._chunks} chunks, but its index names {self._index.records}"
                f" in {len(self._index.chunks)}",
            )
        for partition, end in sorted(self._index.next.items()):
            self._until(partition, end)

    def _chunk(self, at: int, content: bytes) -> None:
        number = self._chunks
        self._chunks += 1
        spans: dict[int, Span] = {}
        self._times = {}
        if number < len(self._opened.chunks) and self._opened.chunks[number] != (at, 9 + len(content)):
            self._tell("index", f"chunk {number} is at byte {at}, its summary says {self._opened.chunks[number][0]}")
        try:
            for found in messages(memoryview(content)):
                self._message(found, spans)
        except ArchiveError as error:
            self._damaged = True
            self._tell("damaged", f"chunk {number} at byte {at}: {error}")
            self._pass_over(number)
            return
        logs = [log_ns for times in self._times.values() for log_ns in times[0::2]]
        if logs and content[:16] != struct.pack("<QQ", min(logs), max(logs)):
            self._tell("index", f"chunk {number} at byte {at} holds other times than it says")
        if number < len(self._index.chunks) and [spans[one] for one in sorted(spans)] != self._index.chunks[number]:
            self._tell("index", f"chunk {number} holds other records than its index says")

    def _pass_over(self, number: int) -> None:
        """The records of a damaged chunk are lost; that is told once, not for each offset."""
        if number < len(self._index.chunks):
            for span in self._index.chunks[number]:
                self._positions[span.partition] = max(self._positions.get(span.partition, 0), span.last + 1)
                self._references.lost(
                    span.partition, span.first, span.last, f"the damaged file {self._opened.file.name}"
                )

    def _message(self, found: Found, spans: dict[int, Span]) -> None:
        partition = self._opened.partitions.get(found.channel)
        if partition is None:
            raise ArchiveError(f"channel {found.channel} is unknown")
        record = envelope.decode(found.data, topic=self._judgement.topic, partition=partition)
        self._records += 1
        self._judgement.records += 1
        self._times.setdefault(found.channel, []).extend((found.log_ns, found.position))
        offset, time_ms = record.offset, record.timestamp_ms
        if found.sequence != offset & 0xFFFF_FFFF or found.log_ns != envelope.log_time_ns(record):
            self._tell("index", f"partition {partition} offset {offset}: message and envelope differ")
        seen = spans.get(partition) or Span(partition, offset, offset, 0, time_ms, time_ms)
        spans[partition] = Span(
            partition,
            seen.first,
            offset,
            seen.count + 1,
            min(seen.low_ms, time_ms),
            max(seen.high_ms, time_ms),
        )
        self._until(partition, offset)
        self._positions[partition] = max(self._positions.get(partition, 0), offset + 1)
        self._digest(record)

    def _until(self, partition: int, offset: int) -> None:
        """Offsets between the last one and this must be explained."""
        at = self._positions.get(partition, 0)
        if offset < at:
            self._tell("double", f"partition {partition}: offset {offset} stands after offset {at - 1}")
        while at < offset and (partition, at) in self._explained:
            at = self._explained[partition, at] + 1
        if at < offset:
            self._tell("gap", f"partition {partition}: offsets {at} to {offset - 1} are missing")

    def _digest(self, record: Record) -> None:
        names = [name for name, _ in record.headers]
        if wire.TILE_HEADER not in names or any(name.startswith(_LETTER) for name in names):
            return
        try:
            header = wire.read_tile_header(record.headers)
        except BadMessage:
            return  # it came like that: workers send it to dead letters
        if record.value:
            self._payload(record, header)
        elif header.same_as is not None:
            self._reference(record, header)

    def _payload(self, record: Record, header: TileHeader) -> None:
        self._judgement.tiles += 1
        digest = wire.digest_payload(record.value)
        if header.base:
            self._references.held(record.partition, record.offset, digest)
        if digest != header.payload_digest:
            self._tell("digest", f"{_place(record, header)} differs from its digest")

    def _reference(self, record: Record, header: TileHeader) -> None:
        found = self._references.judge(record.partition, record.offset, header)
        if isinstance(found, Wrong):
            place = f"{_place(record, header)} is that of offset {header.same_as}"
            self._judgement.astray(self._opened.file.name, place, found)
        elif found == "here":
            self._judgement.references += 1
        else:
            self._judgement.outside += 1

    def _tell(self, kind: Kind, what: str) -> None:
        self._judgement.add(self._opened.file.name, kind, what)


def _place(record: Record, header: TileHeader) -> str:
    return (
        f"partition {record.partition} offset {record.offset}: the payload of tile {header.row},{header.col} of"
        f" {header.camera}/{header.run}/{header.sequence}"
    )
