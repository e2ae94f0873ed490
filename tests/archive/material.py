"""Records and logs for the tests of the archive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from streamproc import wire
from streamproc.archive.storage import Storage, StoredFile
from streamproc.archive.writer import Rules, Start, TopicWriter, Written
from streamproc.reader import Record
from streamproc.topics import tile_key
from tests.features import tile_header

TOPIC = "t.tiles"
BEGAN_MS = 1_767_225_600_000


def record(partition: int = 0, offset: int = 0, **changes: Any) -> Record:
    """A record that says where it belongs."""
    made = Record(
        topic=TOPIC,
        partition=partition,
        offset=offset,
        timestamp_ms=BEGAN_MS + 10 * offset + partition,
        key=f"gate-{partition}/run-1/0/0".encode(),
        value=f"{partition}:{offset}".encode() * 20,
        headers=[("a", b"1"), ("a", b"2")],
    )
    return replace(made, **changes)


def tile(offset: int, *, value: bytes = b"pixels", **changes: Any) -> Record:
    """A tile whose digest is right."""
    header = tile_header(sequence=offset, camera="gate", payload_digest=wire.digest_payload(value))
    return record(0, offset, key=tile_key(header), value=value, headers=wire.tile_headers(header), **changes)


class Log:
    """A topic in memory as a broker keeps it: partitions of offsets, of which the first may be gone."""

    def __init__(self, records: Mapping[int, list[Record]]) -> None:
        self.records = records
        self.low = dict.fromkeys(records, 0)

    def bounds(self) -> dict[int, tuple[int, int]]:
        ends = {partition: (found[-1].offset + 1 if found else 0) for partition, found in self.records.items()}
        return {partition: (min(self.low[partition], end), end) for partition, end in ends.items()}

    def from_(self, positions: Mapping[int, int]) -> list[Record]:
        """What is left from these positions on, partitions interleaved."""
        left = [
            one
            for partition, found in self.records.items()
            for one in found
            if partition in positions and one.offset >= max(positions[partition], self.low[partition])
        ]
        return sorted(left, key=lambda one: (one.offset, one.partition))


def log_of(counts: Mapping[int, int], make: Callable[[int, int], Record] = record) -> Log:
    """So many records in each partition."""
    return Log({partition: [make(partition, offset) for offset in range(count)] for partition, count in counts.items()})


def writer_on(
    storage: Storage,
    log: Log,
    *,
    start: Start = "beginning",
    topic_id: str = "",
    told: Callable[[str], None] = lambda _line: None,
    written: Written | None = None,
    **rules: Any,
) -> TopicWriter:
    """A writer that has found where to go on."""
    low = lambda partition: log.low[partition]  # noqa: E731 - what it needs of the log
    writer = TopicWriter(storage, TOPIC, Rules(**rules), low=low, written=written, told=told)
    writer.begin(log.bounds(), start=start, topic_id=topic_id)
    return writer


def archive(storage: Storage, log: Log, **options: Any) -> TopicWriter:
    """Archive all of a log that is not archived yet."""
    writer = writer_on(storage, log, **options)
    for one in log.from_(writer.positions):
        writer.add(one, time.monotonic())
    writer.publish()
    return writer


def fresh() -> Storage:
    """An archive in memory, empty."""
    return Storage(f"memory://{os.urandom(6).hex()}")


def change(storage: Storage, file: StoredFile, edit: Callable[[bytearray], None]) -> None:
    """Change the bytes of a complete file."""
    data = bytearray(storage.read(file.path, 0, file.size))
    edit(data)
    storage._fs.pipe_file(file.path, bytes(data))


@contextmanager
def counted_reads(storage: Storage) -> Iterator[list[int]]:
    """The sizes of all reads while the block runs."""
    sizes: list[int] = []
    real = storage.read

    def read(path: str, start: int, end: int) -> bytes:
        data = real(path, start, end)
        sizes.append(len(data))
        return data

    storage.read = read  # type: ignore[method-assign] # looked at from outside
    try:
        yield sizes
    finally:
        storage.read = real  # type: ignore[method-assign]
