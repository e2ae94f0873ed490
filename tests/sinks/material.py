"""Events as records, a log in memory, and a way to drive a sink without a broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamproc.cloudevents import encode_frame_event, encode_occurrence
from streamproc.metrics import Metrics
from streamproc.model import DetectedObject, Evidence, FrameEvent, Occurrence
from streamproc.reader import Record
from streamproc.sinks import Options, Report, SinkEvent, drive, read_event
from streamproc.sinks.log import Reached
from streamproc.sinks.sink import Batch, Sink

TOPIC = "t.events"
SECOND_NS = 10**9
BEGAN_NS = 1_767_225_600 * SECOND_NS  # 2026-01-01T00:00:00Z


def frame(sequence: int, *, camera: str = "gate", run: str = "run-1", labels: Iterable[str] = ("car",)) -> FrameEvent:
    """A frame each second."""
    captured_ns = BEGAN_NS + sequence * SECOND_NS
    return FrameEvent(
        camera=camera,
        run=run,
        sequence=sequence,
        captured_ns=captured_ns,
        emitted_ns=captured_ns + SECOND_NS // 2,
        width=640,
        height=480,
        outcome="complete",
        coverage=1.0,
        missing_tiles=[],
        edges=None,
        features={},
        objects=[
            DetectedObject(label=label, score=0.5, box=(1, 2, 30, 40), track="t1", source="cars") for label in labels
        ],
        evidence=Evidence(topic="t.tiles", offsets={"0": (0, 3)}, pipeline="p1", operators={}),
        latency_ms={"total": 1.0},
    )


def record(event: FrameEvent, offset: int, *, partition: int = 0) -> Record:
    """The record of a frame's event."""
    headers, value = encode_frame_event(event)
    return _record(headers, value, offset, partition)


def crossing(event: FrameEvent, offset: int, *, label: str = "person", partition: int = 0) -> Record:
    """The record of something that happened on a frame."""
    data = {"label": label, "point": [1.0, 2.0], "direction": "left-to-right", "left_to_right": 1, "right_to_left": 0}
    occurrence = Occurrence(kind="rule", what="crossed", subject="t1", data=data)
    headers, value = encode_occurrence(event, "line", occurrence)
    return _record(headers, value, offset, partition)


def _record(headers: list[tuple[str, bytes]], value: bytes, offset: int, partition: int) -> Record:
    return Record(
        topic=TOPIC, partition=partition, offset=offset, timestamp_ms=0, key=b"", value=value, headers=headers
    )


def sink_event(sequence: int, offset: int, *, partition: int = 0, labels: Iterable[str] = ("car",)) -> SinkEvent:
    """The same, read."""
    camera = f"cam{partition}"
    return read_event(record(frame(sequence, camera=camera, labels=labels), offset, partition=partition))


def batch(*stretches: tuple[int, int, int]) -> Batch:
    """A batch of stretches (partition, first, one after the last), an event at each offset."""
    events = [
        sink_event(at, at, partition=partition) for partition, first, end in stretches for at in range(first, end)
    ]
    return Batch(
        events=tuple(events),
        starts={partition: first for partition, first, _ in stretches},
        ends={partition: end for partition, _, end in stretches},
    )


@dataclass
class MemoryLog:
    """A log of lists, by partition; what is no longer kept is None."""

    partitions: Mapping[int, Sequence[Record]]
    group: dict[int, int] = field(default_factory=dict)
    low: dict[int, int] = field(default_factory=dict)
    per_read: int = 7
    closed: bool = False
    on_read: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._next: dict[int, int] = {}

    def bounds(self) -> dict[int, tuple[int, int]]:
        return {number: (self.low.get(number, 0), len(records)) for number, records in self.partitions.items()}

    def committed(self) -> dict[int, int]:
        return dict(self.group)

    def begin(self, positions: Mapping[int, int]) -> None:
        self._next = {number: positions.get(number, 0) for number in self.partitions}

    def read(self, most: int, *, timeout_s: float) -> list[Record | Reached]:
        self.on_read()
        found: list[Record | Reached] = []
        for number, records in self.partitions.items():
            first = self._next[number]
            taken = records[first : first + min(self.per_read, most)]
            most -= len(taken)
            found += taken
            self._next[number] += len(taken)
            if self._next[number] == len(records):
                found.append(Reached(number, len(records)))
        if not any(isinstance(item, Record) for item in found):
            threading.Event().wait(min(timeout_s, 0.01))
        return found

    def commit(self, positions: Mapping[int, int]) -> None:
        self.group |= positions

    def behind(self, positions: Mapping[int, int]) -> int:
        return sum(len(records) - positions.get(number, 0) for number, records in self.partitions.items())

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        return {number: len(self.partitions[number]) for number in partitions}

    def close(self, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        self.commit(positions)
        self.closed = True
        return True


def log_of(events: int, *, partitions: int = 3) -> MemoryLog:
    """Frames of one camera for each partition, and a crossing after each fifth."""
    found: dict[int, list[Record]] = {}
    for number in range(partitions):
        records: list[Record] = []
        sequence = 0
        while len(records) < events // partitions:
            one = frame(sequence, camera=f"cam{number}")
            if sequence % 5 == 4:
                records.append(crossing(one, len(records), partition=number))
            records.append(record(one, len(records), partition=number))
            sequence += 1
        found[number] = records
    return MemoryLog(found)


def ids_of(log: MemoryLog) -> list[str]:
    """The ids of all its events, sorted."""
    return sorted(read_event(one).id for records in log.partitions.values() for one in records)


def run(
    log: MemoryLog,
    sink: Sink,
    *,
    stop: Callable[[], bool] = lambda: False,
    lines: list[str] | None = None,
    **options: Any,
) -> Report:
    """Drive a sink to the end of a log."""
    asked = Options(**{"kind": "test", "topic": TOPIC, "until_end": True, "first_pause_s": 0.01, **options})
    told = (lines if lines is not None else []).append
    return drive(log, sink, asked, metrics=Metrics(), stop=stop, told=told)
