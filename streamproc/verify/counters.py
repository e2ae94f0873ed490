"""The books of all processes against ledger and log. Pure: samples and counts in, differences out.

Counters tell of a process's whole life and of all its runs, so the frames of the ledger's cameras are compared,
whatever their run. Counters of a process that was killed are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from streamproc.exporter import Sample
from streamproc.ledger import Ledger

_FAMILIES = {
    "producer": ("frames_published", "frames_failed", "frames_dropped"),
    "worker": ("frames", "tiles", "deadletters"),
}
_Label = TypeVar("_Label")
_REPEATED = ("duplicate", "late")  # what a tile may be more than once


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What ledger and log say.

    Attributes:
        events: By camera and outcome, of the ledger's cameras.
        merged_tiles: Tiles in the complete and partial frames; None if the log has other runs, of unknown tiles.
        features: Records of the features topic; None if it was cut.
        deadletters: By stage and reason, all that are in the log; None if it was cut.
    """

    events: Mapping[tuple[str, str], int]
    merged_tiles: int | None
    features: int | None
    deadletters: Mapping[tuple[str, str], int] | None


@dataclass(slots=True)
class Compared:
    """What differs, and what could not be compared."""

    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare(samples: Iterable[Sample], ledger: Ledger, read: Read) -> Compared:
    """Compare the summed counters of all processes with ledger and log."""
    totals: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    for sample in samples:
        totals[sample.name, tuple(sorted(sample.labels.items()))] += int(sample.value)
    sums: dict[str, Counter[tuple[str, ...]]] = {}
    for (name, labels), value in totals.items():
        short = name.removeprefix("streamproc_").removesuffix("_total")
        sums.setdefault(short, Counter())[tuple(value for _, value in labels)] += value
    done = Compared()
    for role, names in _FAMILIES.items():
        if not any(sums.get(name) for name in names):
            done.notes.append(f"no {role} among the processes asked: its counters were not compared")
        elif role == "producer":
            done.differences += _producers(sums, ledger)
        else:
            done.differences += _workers(sums, ledger, read, done.notes)
    return done


def _producers(sums: Mapping[str, Counter[tuple[str, ...]]], ledger: Ledger) -> Iterator[str]:
    published: Counter[str] = Counter(key.camera for key, one in ledger.frames.items() if one.status == "acked")
    failed: Counter[str] = Counter(key.camera for key, one in ledger.frames.items() if one.status != "acked")
    failed.update(frame.camera for frame in ledger.unsent)
    dropped: Counter[str] = Counter(frame.camera for frame in ledger.dropped)
    for name, ours in (("frames_published", published), ("frames_failed", failed), ("frames_dropped", dropped)):
        counted: Counter[str] = Counter()
        for labels, value in sums.get(name, Counter()).items():
            counted[labels[0]] += value
        yield from _differences(name, counted, ours, what="the ledger")


def _workers(
    sums: Mapping[str, Counter[tuple[str, ...]]], ledger: Ledger, read: Read, notes: list[str]
) -> Iterator[str]:
    cameras = {camera for camera, _ in ledger.runs}
    frames = {(key[0], key[1]): value for key, value in sums.get("frames", Counter()).items() if key[0] in cameras}
    yield from _differences("frames", frames, read.events, what="the events")
    tiles = Counter({labels[0]: value for labels, value in sums.get("tiles", Counter()).items()})
    if read.merged_tiles is None:
        notes.append("the log has runs that are in no ledger: merged tiles were not compared")
    elif tiles["merged"] != read.merged_tiles:
        yield f"tiles merged: counters say {tiles['merged']}, the events are made of {read.merged_tiles}"
    if read.features is None:
        notes.append("the features topic was cut by retention: tiles read were not compared")
    else:
        once = sum(value for outcome, value in tiles.items() if outcome not in _REPEATED)
        if not once <= read.features <= tiles.total():
            yield (
                f"tiles by outcome: counters say {tiles.total()} ({tiles.total() - once} of them repeats),"
                f" the features topic holds {read.features}"
            )
    if read.deadletters is None:
        notes.append("the dead letters topic was cut by retention: dead letters were not compared")
    else:
        counted = {(stage, reason): value for (reason, stage), value in sums.get("deadletters", Counter()).items()}
        yield from _differences("deadletters", counted, read.deadletters, what="the log")


def _differences(name: str, counted: Mapping[_Label, int], ours: Mapping[_Label, int], *, what: str) -> Iterator[str]:
    for label in sorted({*counted, *ours}, key=str):
        if counted.get(label, 0) != ours.get(label, 0):
            shown = " ".join(label) if isinstance(label, tuple) else str(label)
            yield f"{name} {shown}: counters say {counted.get(label, 0)}, {what} {ours.get(label, 0)}"
