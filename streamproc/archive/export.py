"""Events of an archive as one Parquet file: a column for each thing people ask for, and the whole event as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from streamproc.archive.storage import INSTALL, NewFile
from streamproc.cloudevents import structured_event
from streamproc.errors import ArchiveError, BadMessage
from streamproc.reader import Record

BATCH = 4096  # events held at once; a row group of the file

_LARGEST = 1e300  # whole numbers of JSON may be larger than any float

_json = msgspec.json.Encoder()


@dataclass(slots=True)
class Exported:
    """What became of the records.

    Attributes:
        skipped: Records that are no events.
        passed_over: Events that were not asked for.
    """

    events: int = 0
    skipped: int = 0
    passed_over: int = 0


def event_row(record: Record) -> dict[str, Any]:
    """A record of the events topic as a row; columns that an event has nothing for are None.

    Raises:
        BadMessage: It is no event of ours.
    """
    event = structured_event(record.headers, record.value)
    data = event["data"]
    if "id" not in event or "type" not in event or not isinstance(data, dict):
        raise BadMessage("envelope", "not a CloudEvent")
    edges, evidence = _dict(data.get("edges")), _dict(data.get("evidence"))
    captured_ns = _integer(data.get("captured_ns"))
    return {
        "id": str(event["id"]),
        "type": str(event["type"]),
        "source": _text(event.get("source")),
        "subject": _text(event.get("subject")),
        "time": None if captured_ns is None else captured_ns // 1000,
        "camera": _text(data.get("camera")),
        "run": _text(data.get("run")),
        "sequence": _integer(data.get("sequence")),
        "captured_ns": captured_ns,
        "emitted_ns": _integer(data.get("emitted_ns")),
        "width": _integer(data.get("width")),
        "height": _integer(data.get("height")),
        "outcome": _text(data.get("outcome")),
        "coverage": _number(data.get("coverage")),
        "missing_tiles": len(data["missing_tiles"]) if isinstance(data.get("missing_tiles"), list) else None,
        "edge_density": _number(edges.get("density")),
        "edge_digest": _text(edges.get("digest")),
        "objects": _objects(data.get("objects")),
        "pipeline": _text(evidence.get("pipeline") or data.get("pipeline")),
        "step": _text(data.get("step")),
        "what": _text(data.get("what")),
        "latency_ms": _number(_dict(data.get("latency_ms")).get("total")),
        "partition": record.partition,
        "offset": record.offset,
        "published": record.timestamp_ms,
        "json": _json.encode(event).decode(),
    }


def export(records: Iterable[Record], file: NewFile, *, wanted: Callable[[dict[str, Any]], bool]) -> Exported:
    """Write events into a Parquet file, zstd inside; it is not published here.

    Args:
        records: Of an events topic.
        file: Takes the bytes.
        wanted: Which rows.

    Raises:
        ArchiveError: pyarrow is missing, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ArchiveError(f"Parquet needs pyarrow: {INSTALL}") from None
    done = Exported()
    schema = _schema(pa)
    with pa.PythonFile(_Stream(file), mode="w") as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for rows in _batches(records, wanted, done):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            done.events += len(rows)
    return done


def _batches(
    records: Iterable[Record], wanted: Callable[[dict[str, Any]], bool], done: Exported
) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for record in records:
        try:
            row = event_row(record)
        except BadMessage:
            done.skipped += 1
            continue
        if not wanted(row):
            done.passed_over += 1
            continue
        rows.append(row)
        if len(rows) == BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


def _schema(pa: Any) -> Any:
    boxes = {side: pa.float64() for side in ("x1", "y1", "x2", "y2")}
    found = {"label": pa.string(), "score": pa.float64(), **boxes, "track": pa.string(), "source": pa.string()}
    objects = pa.list_(pa.struct(list(found.items())))
    texts = {name: pa.string() for name in ("id", "type", "source", "subject")}
    numbers = {name: pa.int64() for name in ("sequence", "captured_ns", "emitted_ns", "width", "height")}
    return pa.schema(
        {
            **texts,
            "time": pa.timestamp("us", tz="UTC"),
            "camera": pa.string(),
            "run": pa.string(),
            **numbers,
            "outcome": pa.string(),
            "coverage": pa.float64(),
            "missing_tiles": pa.int32(),
            "edge_density": pa.float64(),
            "edge_digest": pa.string(),
            "objects": objects,
            "pipeline": pa.string(),
            "step": pa.string(),
            "what": pa.string(),
            "latency_ms": pa.float64(),
            "partition": pa.int32(),
            "offset": pa.int64(),
            "published": pa.timestamp("ms", tz="UTC"),
            "json": pa.string(),
        }
    )


class _Stream:
    """A `NewFile` as pyarrow wants streams."""

    closed = False

    def __init__(self, file: NewFile) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(bytes(data))
        return len(data)

    def tell(self) -> int:
        return self._file.size

    def flush(self) -> None:
        """Nothing is held here."""

    def close(self) -> None:
        """The file is published, or not, by who made it."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def _objects(found: Any) -> list[dict[str, Any]] | None:
    if not isinstance(found, list):
        return None
    rows = []
    for one in found:
        about = _dict(one)
        box = about.get("box")
        sides = [_number(side) for side in box] if isinstance(box, list) and len(box) == 4 else [None] * 4
        rows.append(
            {
                "label": _text(about.get("label")),
                "score": _number(about.get("score")),
                **dict(zip(("x1", "y1", "x2", "y2"), sides, strict=True)),
                "track": _text(about.get("track")),
                "source": _text(about.get("source")),
            }
        )
    return rows


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if whole else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else None
