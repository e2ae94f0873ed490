"""What a report is made of: plain values, gathered by whoever ran the pipeline. No files, no pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from streamproc.errors import StreamprocError

if TYPE_CHECKING:
    from datetime import datetime

    from streamproc.model import Pixels, Rect
    from streamproc.operators.pipeline import Pipeline

CloudEvent: TypeAlias = Mapping[str, Any]
"""One line of `events.jsonl`: structured CloudEvents JSON, the event itself under `data`."""

StageKind = Literal["source", "process", "topic"]

FRAMES = "frames_published"
TILES = "tiles_published"
BYTES = "bytes_published"


class ReportError(StreamprocError):
    """The report cannot be made: a library of the `demo` extra is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One box of the drawing of the way of the data, in its order.

    Topics that follow each other stand side by side: `events` and `edges` are both fed by what comes before.

    Attributes:
        name: Short: "producer", "tiles", "extract x2".
        detail: One line below it: "8 partitions", "2 worker processes".
        kind: "topic" is drawn as a log with `lanes` partitions.
        count: What went through: "1,440 tiles". May be empty.
        lanes: Partitions of a topic, or processes of a stage; drawn as so many strokes, at most 12.
    """

    name: str
    detail: str
    kind: StageKind = "process"
    count: str = ""
    lanes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One frame that is shown with its pictures.

    Attributes:
        event: Its event, as in `events.jsonl`.
        pixels: The frame put together again from the tiles topic, BGR or grey.
        edges: (rows, cols) 0 or 255; None if the frame has none, or no picture of them was kept.
        cores: The part of the frame each tile owns.
        halo: Pixels around a core that travelled with it.
    """

    event: CloudEvent
    pixels: Pixels
    edges: Pixels | None
    cores: Sequence[Rect]
    halo: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """Everything `write_report` shows.

    Attributes:
        title: Headline: "streamproc demo".
        source: What was read: a path, an address, "builtin".
        command: The command line that makes this report again.
        started: When the run began.
        seconds: Wall time of the whole run.
        grid: How a frame was cut and why, one line.
        codec: Of the tiles: "jpeg", "png" or "raw".
        pipeline: What ran on each tile.
        counters: What the run counted, by name. `frames_published`, `tiles_published` and `bytes_published`
            are key figures (the first is at least the number of frames with an event); all are listed.
        events: Lines of `events.jsonl`, in any order. Others than frame events are listed as what happened.
        samples: At most `MAX_SAMPLES` of them are shown.
        stages: The way of the data, from source to events.
        tiles: What became of each tile: {"merged": 1440, "duplicate": 0, ...}; empty if unknown.
        versions: Of libraries, broker, interpreter: {"opencv": "4.14.0"}.
        problems: What went wrong, one line for each; shown at the top.
    """

    title: str
    source: str
    command: str
    started: datetime
    seconds: float
    grid: str
    codec: str
    pipeline: Pipeline
    counters: Mapping[str, int | float]
    events: Sequence[CloudEvent]
    samples: Sequence[Sample]
    stages: Sequence[Stage]
    versions: Mapping[str, str]
    problems: Sequence[str]
    tiles: Mapping[str, int] = field(default_factory=dict)
