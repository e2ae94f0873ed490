"""Events as Parquet files in a folder: one file for each partition of a batch, whole or not there at all.

A file is named by the offsets it stands for: `events-p00003-FIRST-NEXT.parquet`, FIRST inclusive and NEXT exclusive, 20
digits each. It is written beside its place, synced, and renamed. So the names say how far the sink has come. How far it
has come through events that it does not write, or whose files were taken away, says `_position.json`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streamproc.errors import SinkError, SinkUnavailable
from streamproc.sinks.event import SinkEvent
from streamproc.sinks.files import Position, disk_error, lock, missing_library, move, read_position, write_position
from streamproc.sinks.rows import event_row, found_objects
from streamproc.sinks.sink import Batch, Limits, Written

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = re.compile(r"events-p(\d{5})-(\d{20})-(\d{20})\.parquet")
_PART: Final = ".events.part"


class ParquetSink:
    """Writes files of up to 10,000 events into a folder, each at most a minute after its first event was read.

    Args:
        folder: Made if missing.
        name: Of the sink.
        topic: Of the events.
    """

    limits = Limits(events=10_000, bytes=8 * 2**20, wait_s=60)
    keeps_positions = True
    can_rewind = False

    def __init__(self, folder: Path, *, name: str, topic: str) -> None:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise missing_library(error, "a sink of Parquet files") from None
        self._write_table: Any = pyarrow.parquet.write_table
        self._schema = _schema()
        self._folder, self._name, self._topic = folder, name, topic
        self._beside = folder / "_position.json"
        self._lock: int | None = None
        self._positions: dict[int, int] = {}

    def positions(self) -> dict[int, int]:
        """Lock the folder, sweep away what is not whole, and read how far the files go."""
        with self._disk():
            self._folder.mkdir(parents=True, exist_ok=True)
            self.close()
            self._lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            lock(self._lock, str(self._folder))
            (self._folder / _PART).unlink(missing_ok=True)
            found = read_position(self._beside, name=self._name, topic=self._topic)
            files = [match for file in self._folder.iterdir() if (match := _NAME.fullmatch(file.name)) is not None]
            if found is None and files:
                raise SinkError(
                    f"{self._folder} has files of events, but no {self._beside.name} that says whose:"
                    " name another folder, or move them away"
                )
            self._positions = dict(found.positions) if found is not None else {}
            for match in files:
                partition, _, end = map(int, match.groups())
                self._positions[partition] = max(end, self._positions.get(partition, 0))
            return dict(self._positions)

    def begin(self, positions: Mapping[int, int]) -> None:
        """Note where the first batch begins."""
        with self._disk():
            self._note(dict(positions))

    def write(self, batch: Batch) -> Written:
        """Write a file for each partition, then note how far that is."""
        with self._disk():
            for partition, end in batch.ends.items():
                events = batch.of(partition)
                if events:
                    start = batch.starts[partition]
                    first = events[0].offset if start is None else start
                    self._write(events, f"events-p{partition:05d}-{first:020d}-{end:020d}.parquet")
            self._note({**self._positions, **batch.ends})
        return Written(new=len(batch.events))

    def close(self) -> None:
        """Free the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(self, events: list[SinkEvent], name: str) -> None:
        import pyarrow as pa

        rows = [_row(event) for event in events]
        part = self._folder / _PART
        with part.open("wb") as out:
            self._write_table(pa.Table.from_pylist(rows, schema=self._schema), out, compression="zstd")
            out.flush()
            os.fsync(out.fileno())
        move(part, self._folder / name)

    def _note(self, positions: dict[int, int]) -> None:
        write_position(self._beside, Position(name=self._name, topic=self._topic, positions=positions))
        self._positions = positions

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (SinkError, OSError) as error:
            told = disk_error(str(self._folder), error) if isinstance(error, OSError) else error
            if not isinstance(told, SinkUnavailable):
                self.close()  # it will not be used again
            raise told from None


def _schema() -> pa.Schema:
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    one = [("label", pa.string()), ("score", pa.float64()), ("track", pa.string())]
    box = [(side, pa.float64()) for side in ("x1", "y1", "x2", "y2")]
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("type", pa.string(), nullable=False),
            pa.field("camera", pa.string(), nullable=False),
            pa.field("run", pa.string()),
            pa.field("sequence", pa.int64()),
            pa.field("time", moment),
            pa.field("emitted", moment),
            pa.field("outcome", pa.string()),
            pa.field("coverage", pa.float64()),
            pa.field("objects", pa.list_(pa.struct([*one, *box]))),
            pa.field("event", pa.string(), nullable=False),
            pa.field("partition", pa.int32(), nullable=False),
            pa.field("offset", pa.int64(), nullable=False),
        ]
    )


def _row(event: SinkEvent) -> dict[str, Any]:
    return {
        **event_row(event),
        "objects": [found._asdict() for found in found_objects(event)],
        "event": event.line.decode(),
        "partition": event.partition,
        "offset": event.offset,
    }
