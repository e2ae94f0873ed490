"""What a run amounts to: the verdict, the key figures and the tables. Values in, short texts out."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamproc.model import OUTCOMES
from streamproc.report import text
from streamproc.report.facts import FRAME_TYPE, Facts, is_frame
from streamproc.report.values import BYTES, FRAMES, TILES, CloudEvent, Report

Tone = Literal["ok", "warn", "bad"]

SILENT = "no event"
STRIP_CELLS = 240  # a cell is then 4 px wide on a page of 1,000 px
_WORST_FIRST = (SILENT, "unknown", "rejected", "expired", "partial", "complete")
_TONES: Mapping[str, Tone] = {"complete": "ok", "partial": "warn"}
_MEANING = {
    "complete": "all tiles arrived and were put together",
    "partial": "some tiles are missing, the rest was put together",
    "expired": "too few tiles arrived before the deadline",
    "rejected": "its tiles contradict each other or were refused",
    "unknown": "the event names no known outcome",
    SILENT: "published, but no event tells what became of it",
}
_WHY = {
    "partial": "Of the others some tiles are missing; the rest was put together.",
    "expired": "Of the others too few tiles arrived before the deadline.",
    "rejected": "The tiles of the others contradict each other or were refused.",
    "unknown": "The events of the others name no known outcome.",
    SILENT: "What became of the others is not known: they were published, but have no event.",
}
_SPOKEN = {SILENT: "without an event", "unknown": "of unknown outcome"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The one line everybody reads, and the sentence below it."""

    tone: Tone
    headline: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A stretch of the strip of frames: `start` and `length` in cells, its worst outcome, a tooltip."""

    start: int
    length: int
    outcome: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Frames counted once each.

    Attributes:
        facts: One for each frame, by camera, run and sequence; of events that came twice, the first.
        outcomes: Frames by outcome, `SILENT` included; without zeros.
        expected: Frames published, or with an event if those are more.
        repeated: Events beyond the first of their frame.
        other_types: Events that are not about frames, by type.
    """

    facts: Sequence[Facts]
    outcomes: Mapping[str, int]
    expected: int
    repeated: int
    other_types: Mapping[str, int]

    @property
    def complete(self) -> int:
        """Frames of which all tiles were put together."""
        return self.outcomes.get("complete", 0)


def tally(facts: Sequence[Facts], events: Iterable[CloudEvent], counters: Mapping[str, int | float]) -> Tally:
    """Count each frame once; frames that were published and have no event count as `SILENT`."""
    once = list({one.key: one for one in reversed(facts)}.values())[::-1]
    expected = max(int(counters.get(FRAMES, 0)), len(once))
    outcomes = Counter(one.outcome for one in once)
    outcomes[SILENT] = expected - len(once)
    return Tally(
        facts=once,
        outcomes={name: outcomes[name] for name in (*OUTCOMES, "unknown", SILENT) if outcomes[name]},
        expected=expected,
        repeated=len(facts) - len(once),
        other_types=Counter(str(one.get("type", FRAME_TYPE)) for one in events if not is_frame(one)),
    )


def verdict(counted: Tally, problems: Sequence[str]) -> Verdict:
    """Say in one line whether everything is complete."""
    if counted.expected == 0:
        detail = "Nothing was published and no event was read."
        return Verdict(tone="bad", headline="No frames", detail=detail)
    frames = text.plural(counted.expected, "frame")
    troubles = {name: number for name, number in counted.outcomes.items() if name != "complete"}
    if not troubles:
        return _all_complete(counted, frames, problems)
    tone: Tone = "warn" if set(troubles) == {"partial"} else "bad"
    lost = sum(troubles.values())
    if len(troubles) == 1:
        (name,) = troubles
        headline = f"{lost:,} of {frames} {_SPOKEN.get(name, name)}"
        return Verdict(tone=tone, headline=headline, detail=f"{counted.complete:,} complete. {_WHY[name]}")
    told = "".join(f", {number:,} {_SPOKEN.get(name, name)}" for name, number in troubles.items())
    return Verdict(
        tone=tone,
        headline=f"{lost:,} of {frames} not complete",
        detail=f"{counted.complete:,} complete{told}.",
    )


def _all_complete(counted: Tally, frames: str, problems: Sequence[str]) -> Verdict:
    headline = f"{counted.complete:,} of {frames} complete"
    if counted.repeated:
        twice = f"{text.plural(counted.repeated, 'event')} came twice"
        return Verdict(tone="warn", headline=headline, detail=f"Each frame was put together, but {twice}.")
    if problems:
        detail = "Each frame was put together, but not everything went well: see below."
        return Verdict(tone="warn", headline=headline, detail=detail)
    detail = "Each frame was put together again from all its tiles and has exactly one event."
    return Verdict(tone="ok", headline=headline, detail=detail)


def outcome_rows(counted: Tally) -> list[dict[str, str]]:
    """Rows of the outcome table: the four outcomes always, others if they occurred; reasons under each."""
    rows = []
    for name in (*OUTCOMES, "unknown", SILENT):
        number = counted.outcomes.get(name, 0)
        if not number and name not in OUTCOMES:
            continue
        rows.append(
            {
                "name": name,
                "tone": _TONES.get(name, "bad") if number else "none",
                "frames": f"{number:,}",
                "share": text.percent(number / counted.expected) if counted.expected else text.DASH,
                "meaning": _MEANING[name],
                "reasons": _reasons(counted.facts, name),
            }
        )
    return rows


def _reasons(facts: Iterable[Facts], outcome: str, most: int = 6) -> str:
    reasons = Counter(text.short(one.reason, 120) for one in facts if one.outcome == outcome and one.reason)
    told = [f"{reason} ({number:,})" for reason, number in reasons.most_common(most)]
    return "; ".join(told + ["…"] * (len(reasons) > most))


def tile_rows(tiles: Mapping[str, int], published: int) -> list[tuple[str, str, bool]]:
    """Rows (outcome, tiles, is it in order) of the table of tiles, with what is not accounted for."""
    rows = [(name, f"{number:,}", name == "merged" or number == 0) for name, number in tiles.items()]
    left = published - sum(number for name, number in tiles.items() if name != "duplicate")
    if tiles and published and left > 0:
        rows.append(("not accounted for", f"{left:,}", False))
    return rows


def strip(counted: Tally) -> list[Cell]:
    """Every frame in order as one cell, or `STRIP_CELLS` stretches with the worst outcome of each."""
    names: list[str] = []
    for _, stream in itertools.groupby(counted.facts, key=lambda one: one.key[:2]):
        found = list(stream)
        names += _with_holes(found, room=counted.outcomes.get(SILENT, 0) - names.count(SILENT))
    names += [SILENT] * (counted.expected - len(names))
    cells = min(len(names), STRIP_CELLS)
    bounds = [index * len(names) // cells for index in range(cells + 1)] if cells else [0]
    worst = [(min(names[start:end], key=_WORST_FIRST.index), start, end) for start, end in itertools.pairwise(bounds)]
    return _merged(worst, per_frame=cells == len(names))


def _with_holes(stream: Sequence[Facts], room: int) -> list[str]:
    """Outcomes of one run in order; sequence numbers without event count as silent if so many are missing."""
    have = {one.sequence: one.outcome for one in stream}
    last = max(have)
    if not 0 <= last < len(have) + room:  # wrong numbers, or a run that began before this report
        return list(have.values())
    return [have.get(sequence, SILENT) for sequence in range(last + 1)]


def _merged(cells: Sequence[tuple[str, int, int]], *, per_frame: bool) -> list[Cell]:
    """Join equal neighbours of a long strip; cells of a short one stay apart, each with its own tooltip."""
    told: list[Cell] = []
    for at, (outcome, start, end) in enumerate(cells):
        frames = f"frame {start:,}" if end - start == 1 else f"frames {start:,} to {end - 1:,}"
        told.append(Cell(start=at, length=1, outcome=outcome, title=f"{frames}: {outcome}"))
    if per_frame:
        return told
    groups = [list(group) for _, group in itertools.groupby(told, key=lambda cell: cell.outcome)]
    return [
        Cell(start=group[0].start, length=len(group), outcome=group[0].outcome, title=_stretch(group, cells))
        for group in groups
    ]


def _stretch(group: Sequence[Cell], cells: Sequence[tuple[str, int, int]]) -> str:
    start, end = cells[group[0].start][1], cells[group[-1].start][2]
    outcome = group[0].outcome
    return f"frames {start:,} to {end - 1:,}: {outcome if outcome == 'complete' else f'some {outcome}'}"


# --- key figures ------------------------------------------------------------------------------------------


def key_figures(report: Report, counted: Tally) -> list[tuple[str, str, str]]:
    """The figures at the top: (name, value, remark); the last is of edges, or where there are none of what happened."""
    facts = counted.facts
    totals = latencies_ms(facts)
    densities = [one.edges.density for one in facts if one.edges is not None]
    labels = Counter(thing.label for one in facts for thing in one.objects)
    rate = frames_per_second(facts, report.seconds)
    tiles = int(report.counters.get(TILES, 0))
    data = report.counters.get(BYTES, 0)
    per_frame = tiles / counted.expected if counted.expected else 0
    top = ", ".join(f"{text.short(label, 16)}: {number:,}" for label, number in labels.most_common(2))
    return [
        ("Frames", f"{counted.expected:,}", _frame_size(facts)),
        (
            "Tiles",
            f"{tiles:,}" if tiles else text.DASH,
            f"{text.count(per_frame)} in a frame" if tiles else "",
        ),
        (
            "Data",
            text.size(data) if data else text.DASH,
            f"{text.size(data / tiles)} a tile" if data and tiles else "",
        ),
        (
            "Speed",
            f"{rate:,.{0 if rate >= 100 else 1}f} frames/s" if rate else text.DASH,
            f"the run took {text.seconds(report.seconds)}",
        ),
        ("Latency, median", text.milliseconds(percentile(totals, 50)), "capture to event"),
        ("Latency, p99", text.milliseconds(percentile(totals, 99)), "capture to event"),
        ("Objects", f"{labels.total():,}", top or "none found"),
        ("Edge density", text.percent(sum(densities) / len(densities)), "mean of edge pixels")
        if densities
        else _happened_figure(counted),
    ]


def _happened_figure(counted: Tally) -> tuple[str, str, str]:
    kinds = {
        name.removeprefix("io.streamproc.").rpartition(".")[0]: number for name, number in counted.other_types.items()
    }
    told = ", ".join(f"{text.short(kind, 16)} {number:,}" for kind, number in list(kinds.items())[:3])
    return ("Happened", f"{sum(kinds.values()):,}", told or "no events but those of frames")


def latencies_ms(facts: Iterable[Facts]) -> list[float]:
    """Capture to event of the frames that tell it."""
    return [one.total_ms for one in facts if one.total_ms is not None]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value below which `percent` of `values` lie; None of no values."""
    return float(np.percentile(values, percent)) if values else None


def frames_per_second(facts: Sequence[Facts], seconds: float) -> float:
    """Frames with an event, over the time from the first capture to the last event.

    Frames captured long ago (a replay of an archive) would make that time absurd: it is at most `seconds`,
    the wall time of the run.
    """
    ends = [one.emitted_ns for one in facts if one.emitted_ns > 0]
    starts = [one.captured_ns for one in facts if one.captured_ns > 0]
    if not ends or not starts:
        return len(facts) / seconds if seconds > 0 else 0.0
    span = (max(ends) - min(starts)) / 1e9
    if span <= 0 or 0 < seconds < span:
        span = seconds
    return len(facts) / span if span > 0 else 0.0


def _frame_size(facts: Sequence[Facts]) -> str:
    sizes = Counter((one.width, one.height) for one in facts)
    if not sizes:
        return ""
    (width, height), _ = sizes.most_common(1)[0]
    return f"{width} {text.TIMES} {height} px" + (" and other sizes" if len(sizes) > 1 else "")
