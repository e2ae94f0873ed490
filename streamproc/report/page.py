"""Values to the page: what each part of the template is given. The template decides how it looks."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from streamproc.report import graph, series, summary, text
from streamproc.report.facts import (
    Facts,
    FrameId,
    Thing,
    evidence_of,
    feature_counts,
    figures_of,
    frame_facts,
    is_frame,
)
from streamproc.report.happenings import LISTED, UPDATE, happenings_of, totals
from streamproc.report.pictures import Picture
from streamproc.report.plots import plots_of
from streamproc.report.values import BYTES, TILES, CloudEvent, Report, ReportError

if TYPE_CHECKING:
    from jinja2 import Environment

PICTURES = "pictures"
"""Folder beside the report."""
HOP_MEANINGS = {
    "publish": "capture to Kafka",
    "wait": "in the tiles topic",
    "extract": "decode and operators",
    "gather": "until the last tile is in",
    "assemble": "seams and merging",
}
EXACTNESS = {"exact": "equal, bit for bit", "rounding": "equal up to rounding", "no": "may differ at seams"}
WHOLE = "sees the whole frame"
_OUTCOME_TONES = {"complete": "ok", "partial": "warn"}
_EXCERPTS = 3
_DEEPEST = 12
_MOST_PROBLEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One part of the latency bar of a frame."""

    name: str
    time: str
    share: float
    colour: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleView:
    """One sampled frame as the template shows it; `rows` are (name, value, is the value code, tooltip)."""

    heading: str
    captured: str
    tone: str
    facts: Facts
    total: str
    layout: str
    pictures: Sequence[Picture]
    rows: Sequence[tuple[str, str, bool, str]]
    hops: Sequence[Hop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """One event as indented JSON, its long lists cut."""

    heading: str
    json: str


def render(report: Report, samples: Sequence[tuple[Facts, Sequence[Picture]]]) -> str:
    """Make the page.

    Args:
        report: What to tell.
        samples: Facts and drawn pictures of the frames that are shown.

    Raises:
        ReportError: jinja2 or matplotlib is not installed.
    """
    template = _environment().get_template("report.html")
    facts = frame_facts(report.events)
    counted = summary.tally(facts, report.events, report.counters)
    hop_names, _ = series.hop_shares(counted.facts)
    has_edges = any(one.edges is not None for one in counted.facts)
    return template.render(
        report=report,
        samples=[_sample_view(one, pictures, hop_names, has_edges=has_edges) for one, pictures in samples],
        plots=plots_of(counted.facts, report.seconds),
        excerpts=_excerpts(counted.facts) + _first_happenings(report.events),
        hop_meanings={name: HOP_MEANINGS[name] for name in hop_names if name in HOP_MEANINGS},
        **_figures(report, counted),
        **_happened(report, [one.key for one, _ in samples]),
        **_drawn(report),
        **_assets(),
    )


def _figures(report: Report, counted: summary.Tally) -> dict[str, Any]:
    strip = summary.strip(counted)
    return {
        "counted": counted,
        "verdict": summary.verdict(counted, report.problems),
        "strip": strip,
        "strip_cells": sum(cell.length for cell in strip),
        "figures": summary.key_figures(report, counted),
        "outcomes": summary.outcome_rows(counted),
        "tiles": summary.tile_rows(report.tiles, int(report.counters.get(TILES, 0))),
        "counters": _counters(report.counters),
        "duration": text.seconds(report.seconds),
        "problems": _problems(report.problems),
    }


def _happened(report: Report, shown: Sequence[FrameId]) -> dict[str, Any]:
    """What happened, in the order of frames, each with the place on the page where its frame is shown."""
    found = happenings_of(report.events)
    listed = [one for one in found if one.what != UPDATE]
    places = {frame: f"sample-{index}" for index, frame in enumerate(shown, start=1)}
    return {
        "happened": [(one, places.get(one.frame, "")) for one in listed[:LISTED]],
        "unlisted": len(listed) - min(len(listed), LISTED),
        "updates": len(found) - len(listed),
        "totals": totals(listed),
    }


def _drawn(report: Report) -> dict[str, Any]:
    steps = report.pipeline.describe()
    rows = [step | {"told": _parameters(step), "seams": EXACTNESS[str(step["exact"])]} for step in steps]
    return {
        "stages": _drawings(graph.stage_nodes(report.stages)),
        "steps": [row | ({"halo": "", "seams": WHOLE} if row["on"] == "frame" else {}) for row in rows],
        "steps_drawing": _drawings(graph.step_nodes(steps)),
    }


def _assets() -> dict[str, str]:
    """Style and script, and the hash by which the page's policy lets this script run and no other."""
    script = _text_of("zoom.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": _text_of("style.css"), "script": script, "script_hash": f"sha256-{digest}"}


@cache
def _environment() -> Environment:
    """Everything a template is given is escaped unless it says otherwise; unknown names are errors."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise ReportError("the report needs jinja2: pip install 'streamproc[demo]'") from error
    return Environment(
        loader=FunctionLoader(_text_of),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text_of(name: str) -> str:
    return resources.files("streamproc.report").joinpath("templates", name).read_text(encoding="utf-8")


def _drawings(nodes: Sequence[graph.Node]) -> dict[str, graph.Drawing] | None:
    return {"across": graph.across(nodes), "down": graph.down(nodes)} if nodes else None


def _counters(counters: Mapping[str, int | float]) -> list[tuple[str, str]]:
    """Counters by spoken name; bytes in units."""
    return [
        (
            name.replace("_", " "),
            text.size(value) if name == BYTES or name.endswith("_bytes") else text.count(value),
        )
        for name, value in counters.items()
    ]


def _parameters(step: Mapping[str, Any]) -> str:
    """Parameters as a pipeline file has them."""
    told = [f"{name} {_spelt(value)}" for name, value in step["parameters"].items() if value != ""]
    return ", ".join(told + ([f"every {step['every']} frames"] if step["every"] != 1 else []))


def _spelt(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_spelt, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _problems(problems: Sequence[str]) -> list[str]:
    more = len(problems) - _MOST_PROBLEMS
    return [*problems[:_MOST_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]


# --- one frame --------------------------------------------------------------------------------------------


def _sample_view(facts: Facts, pictures: Sequence[Picture], hop_names: Sequence[str], *, has_edges: bool) -> SampleView:
    shown = [one for one in pictures if has_edges or one.data or one.kind != "edges"]
    return SampleView(
        heading=f"Frame {facts.sequence:,}",
        captured=text.moment(facts.captured_ns),
        tone=_OUTCOME_TONES.get(facts.outcome, "bad"),
        facts=facts,
        total=text.milliseconds(facts.total_ms),
        layout=_layout(facts, shown),
        pictures=shown,
        rows=_rows(facts, has_edges=has_edges),
        hops=_hops(facts, hop_names),
    )


def _layout(facts: Facts, pictures: Sequence[Picture]) -> str:
    """How pictures stand on a wide page, a class of the style sheet; without edges, what was found has their room."""
    if facts.width > 3 * max(1, facts.height):
        return "wide"
    if len(pictures) != 3:
        return ""
    return "found" if facts.objects or pictures[-1].legend else "three"


def _rows(facts: Facts, *, has_edges: bool) -> list[tuple[str, str, bool, str]]:
    evidence = evidence_of(facts)
    digest = facts.edges.digest if facts.edges else ""
    features = ", ".join(f"{name} {number:,}" for name, number in feature_counts(facts).items())
    offsets = ", ".join(
        f"[{number}] {first}" if first == last else f"[{number}] {first}{text.DASH}{last}"
        for number, first, last in evidence["offsets"]
    )
    rows = [
        ("Outcome", facts.reason, False, ""),
        ("Missing tiles", _missing_text(facts), False, ""),
        ("Edges", _edges_text(facts) if has_edges else "", False, ""),
        ("Edge digest", text.short(digest, 17), True, digest),
        ("Points", features, False, ""),
        ("Objects", _things_text(facts.objects), False, ""),
        ("Classification", _things_text(facts.classification), False, ""),
        ("Figures", _figures_text(facts), False, ""),
        ("Tiles from", f"{evidence['topic']} {offsets}".strip(), True, "[partition] first and last offset"),
        ("Pipeline", evidence["pipeline"], True, ""),
        ("Operators", ", ".join(f"{name} v{version}" for name, version in evidence["operators"]), False, ""),
    ]
    return [row for row in rows if row[1]]


def _missing_text(facts: Facts) -> str:
    told = ", ".join(f"row {row} column {col}" for row, col in facts.missing[:6])
    return told + (f" and {len(facts.missing) - 6:,} more" if len(facts.missing) > 6 else "")


def _edges_text(facts: Facts) -> str:
    if facts.edges is None:
        return "none: the event has no edges"
    share = text.percent(facts.edges.density)
    return f"{facts.edges.pixels:,} pixels, {share} of the frame (step {facts.edges.operator})"


def _things_text(things: Sequence[Thing]) -> str:
    told = [
        f"{text.short(thing.label, 40)} {thing.score:.2f}" + (f" (track {thing.track})" if thing.track else "")
        for thing in things[:8]
    ]
    more = len(things) - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "")


def _figures_text(facts: Facts) -> str:
    told = [
        f"{text.short(name, 40)}: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in figures.items())
        for name, figures in figures_of(facts).items()
    ]
    return text.short("; ".join(told), 400)


def _hops(facts: Facts, names: Sequence[str]) -> list[Hop]:
    if not facts.hops and facts.total_ms is None:
        return []
    _, (part,) = series.hop_shares([facts])
    whole = sum(part.values())
    colours = {name: index for index, name in enumerate(names, start=1)}
    return [
        Hop(
            name=name.replace("_", " "),
            time=text.milliseconds(value),
            share=round(value / whole, 5) if whole > 0 else 0.0,
            colour=colours.get(name, series.MAX_HOPS),
        )
        for name, value in part.items()
        if name != series.REST or value > 0.02 * whole
    ]


# --- events -----------------------------------------------------------------------------------------------


def _excerpts(facts: Sequence[Facts]) -> list[Excerpt]:
    """The first event, then some with objects, then some that are not complete."""
    objects = [one for one in facts if one.objects]
    troubles = [one for one in facts if one.outcome != "complete"]
    chosen = {one.key: one for one in (*facts[:1], *objects[:_EXCERPTS], *troubles[:_EXCERPTS])}
    return [Excerpt(heading=_excerpt_heading(one), json=_indented(one.event)) for one in chosen.values()]


def _first_happenings(events: Sequence[CloudEvent]) -> list[Excerpt]:
    """The first event of each type that is not of frames."""
    first = {str(event.get("type")): event for event in reversed(events) if not is_frame(event)}
    return [Excerpt(heading=text.short(name, 80), json=_indented(event)) for name, event in sorted(first.items())]


def _excerpt_heading(facts: Facts) -> str:
    objects = f", {text.plural(len(facts.objects), 'object')}" if facts.objects else ""
    return f"{text.short(facts.camera, 60)}, frame {facts.sequence:,}: {facts.outcome}{objects}"


def _indented(event: Mapping[str, Any]) -> str:
    return text.short(json.dumps(_cut(event), indent=2, ensure_ascii=False, default=str), 12_000)


def _cut(value: object, depth: int = 0) -> object:
    """Lists without their long tails, nothing below `_DEEPEST`: an excerpt is for reading."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {str(name): _cut(one, depth + 1) for name, one in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    flat = all(isinstance(one, (int, float)) for one in value)
    most, kept = (16, 8) if flat else (4, 2)
    if len(value) <= most:
        return [_cut(one, depth + 1) for one in value]
    return [*(_cut(one, depth + 1) for one in value[:kept]), f"… and {len(value) - kept:,} more"]
