"""What a metric is: its definition, and labels that stay within bounds whatever they are given.

A label is a closed set of values, or capped at a number of them. A value beyond either counts as `other`: no message,
camera or pipeline can make more series than are declared.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streamproc.errors import LostReason, Reason
from streamproc.model import Outcome

PREFIX: Final = "streamproc_"
UNITS: Final = ("seconds", "bytes", "records", "ratio")
OTHER: Final = "other"
LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Label(Protocol):
    """One label of a metric."""

    @property
    def name(self) -> str:
        """Of the label."""

    @property
    def most(self) -> int:
        """Values it may have, `other` left out."""

    def of(self, value: str) -> str:
        """`value`, or `other` when it is not within bounds."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A label whose values are known beforehand.

    Attributes:
        together: Where one of them is, the others may come too: all are shown, at 0.
    """

    name: str
    values: tuple[str, ...]
    together: bool = True

    @property
    def most(self) -> int:
        """Values it may have."""
        return len(self.values)

    def of(self, value: str) -> str:
        """`value`, or `other` when it is not of the set."""
        return value if value in self.values else OTHER


class Capped:
    """A label whose values are not known, only how many there may be; later ones share `other`. Thread-safe."""

    def __init__(self, name: str, most: int) -> None:
        self.name, self.most = name, most
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def of(self, value: str) -> str:
        """`value`, or `other` once `most` different ones were seen."""
        if value in self._seen or value == OTHER:
            return value
        with self._lock:
            if value not in self._seen and len(self._seen) >= self.most:
                return OTHER
            self._seen.add(value)
        return value


TILE_OUTCOME: Final = Closed("outcome", ("merged", "duplicate", "late", "rejected", "deadlettered"))
FRAME_OUTCOME: Final = Closed("outcome", get_args(Outcome))
DROPPED: Final = Closed("reason", ("fps", "block", "drop-oldest", "drop-newest", "keyframe-only"))
SHED: Final = Closed("reason", ("load",))
LOST: Final = Closed("reason", (*get_args(LostReason), "frozen", "failed"))
STAGE: Final = Closed("stage", ("extract", "assemble"))
REFUSED: Final = Closed("reason", get_args(Reason))
ENDING: Final = Closed("ending", ("crash", "timeout"))
HOP: Final = Closed("stage", ("publish", "wait", "extract", "gather", "assemble", "deliver"))
HAPPENED: Final = Closed("kind", ("track", "rule", "anomaly"))
SINK: Final = Closed("kind", ("jsonl", "parquet", "sql", "redis", "webhook"), together=False)
SINK_OUTCOME: Final = Closed("outcome", ("written", "known", "refused", "unreadable"))
SOURCE: Final = Closed("source", ("log", "archive"))
TARGET: Final = Closed("target", ("same", "other"), together=False)
VIEWED: Final = Closed("topic", ("events", "edges"))
READER: Final = Closed("reader", ("worker", "archive", "sink"), together=False)
BUFFER: Final = Closed(
    "buffer", ("producer", "streams", "events", "references", "archive", "sink", "view"), together=False
)


class _Bounded:
    """Keeps the labels of a metric within their bounds.

    Values of a closed last label are shown together: `increase()` does not see a series that begins above 0.
    """

    bounds: tuple[Label, ...] = ()

    def labels(self, *labelvalues: Any, **labelkwargs: Any) -> Any:
        """The series of these values, in the order of the labels or by their names."""
        values = labelvalues or tuple(labelkwargs[bound.name] for bound in self.bounds)
        within = [bound.of(str(value)) for bound, value in zip(self.bounds, values, strict=True)]
        metric: Any = super()  # a class of prometheus_client
        last = self.bounds[-1]
        if isinstance(last, Closed) and last.together and tuple(within) not in getattr(self, "_metrics", ()):
            for value in last.values:
                metric.labels(*within[:-1], value)
        return metric.labels(*within)

    def expect(self, *leading: str) -> None:
        """Show the series of all values of the last label, which is closed, at 0."""
        last = self.bounds[-1]
        if isinstance(last, Closed):
            self.labels(*leading, last.values[0])


class BoundedCounter(_Bounded, Counter):
    """A counter with bounded labels."""


class BoundedGauge(_Bounded, Gauge):
    """A gauge with bounded labels."""


class BoundedHistogram(_Bounded, Histogram):
    """A histogram with bounded labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One metric, as its page has it.

    Attributes:
        name: As it is scraped, `_total` of counters included.
        kind: counter, gauge or histogram.
        unit: Of its values, in Prometheus' base units; empty for a plain number of things.
        labels: Their names and bounds.
        meaning: What it counts or measures.
        moves: What to think and do when it moves.
        part: Which processes have it.
    """

    name: str
    kind: str
    unit: str
    labels: tuple[Label, ...]
    meaning: str
    moves: str
    part: str


class Definer:
    """Makes metrics on a registry, and notes what they are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.made: list[Definition] = []
        self.part = ""

    def counter(self, name: str, meaning: str, *labels: Label, moves: str) -> BoundedCounter:
        """A number that only grows."""
        self._note(f"{name}_total", "counter", labels, meaning, moves)
        made = BoundedCounter(f"{PREFIX}{name}", meaning, _names(labels), registry=self._registry)
        made.bounds = labels
        return made

    def gauge(self, name: str, meaning: str, *labels: Label, moves: str) -> BoundedGauge:
        """A number as it is now."""
        self._note(name, "gauge", labels, meaning, moves)
        made = BoundedGauge(f"{PREFIX}{name}", meaning, _names(labels), registry=self._registry)
        made.bounds = labels
        return made

    def latency(self, name: str, meaning: str, *labels: Label, moves: str) -> BoundedHistogram:
        """Lengths of time, in buckets from a millisecond to a minute."""
        self._note(name, "histogram", labels, meaning, moves)
        made = BoundedHistogram(f"{PREFIX}{name}", meaning, _names(labels), buckets=LATENCY_S, registry=self._registry)
        made.bounds = labels
        return made

    def _note(self, name: str, kind: str, labels: tuple[Label, ...], meaning: str, moves: str) -> None:
        words = name.split("_")
        unit = next((unit for unit in UNITS if unit in words), "")
        one = Definition(
            name=PREFIX + name, kind=kind, unit=unit, labels=labels, meaning=meaning, moves=moves, part=self.part
        )
        self.made.append(one)


def _names(labels: Sequence[Label]) -> tuple[str, ...]:
    return tuple(label.name for label in labels)
