"""Plots as inline SVG that takes its colours from the page. matplotlib is used here alone.

Figures are drawn in stand-in colours, one for each colour of the style sheet, which CSS variables replace
afterwards: so one plot serves the light and the dark page. Same numbers, same bytes: no dates, no random ids.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamproc.report import series, text
from streamproc.report.facts import Facts
from streamproc.report.summary import latencies_ms, percentile
from streamproc.report.values import ReportError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT, WARN, BAD = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06"
HOPS = tuple(f"#0a0c0{index}" for index in range(1, series.MAX_HOPS + 1))
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", ACCENT: "accent", WARN: "warn", BAD: "bad"} | {
    colour: f"hop{index}" for index, colour in enumerate(HOPS, start=1)
}
_SIZE_IN = (4.5, 2.8)
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be selected, read aloud and takes the page's font
    "svg.hashsalt": "streamproc",
    "path.simplify": True,
    "font.size": 9.2,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot for the page: a heading, one sentence, pairs (CSS colour, meaning), and the drawing."""

    title: str
    caption: str
    legend: tuple[tuple[str, str], ...]
    svg: str


def plots_of(facts: Sequence[Facts], seconds: float) -> list[Plot]:
    """Every plot there are numbers for.

    Args:
        facts: Of frame events, by camera, run and sequence.
        seconds: Wall time of the run; captures longer ago than that are of an archive.

    Raises:
        ReportError: matplotlib is not installed.
    """
    made = (_latency(facts), _latency_histogram(facts), _content(facts), _rates(facts, seconds))
    return [plot for plot in made if plot is not None]


def _latency(facts: Sequence[Facts]) -> Plot | None:
    hops = series.hop_series(facts)
    if hops is None:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        floor = np.zeros(len(hops.slowest))
        for colour, means in zip(HOPS, hops.means.values(), strict=False):
            top = floor + np.nan_to_num(means)
            axes.stairs(top, hops.bounds, baseline=floor, fill=True, color=colour)
            floor = top
        if hops.binned:
            axes.stairs(hops.slowest, hops.bounds, baseline=None, color=INK, linewidth=0.7)
        axes.set(xlabel=_frames_axis(facts), ylabel="ms", ylim=(0, max(1e-3, 1.05 * float(hops.slowest.max()))))
        axes.set_xlim(hops.bounds[0], hops.bounds[-1])
        _whole_numbers(axes.xaxis, 8)

    legend = [(_css(colour), name.replace("_", " ")) for colour, name in zip(HOPS, hops.means, strict=False)]
    legend += [(_css(INK), "slowest of a group")] if hops.binned else []
    means = {name: float(np.nanmean(values)) for name, values in hops.means.items()}
    told = ", ".join(f"{name.replace('_', ' ')} {text.milliseconds(value)}" for name, value in means.items())
    caption = f"Mean of each hop: {told}." if told else "Capture to event."
    return Plot(
        title="Latency of each frame, by hop",
        caption=caption,
        legend=tuple(legend),
        svg=_svg("latency", draw),
    )


def _latency_histogram(facts: Sequence[Facts]) -> Plot | None:
    values = latencies_ms(facts)
    if not values:
        return None
    edges, numbers, spread = series.histogram(values)
    marks = {"median": (percentile(values, 50) or 0.0, ACCENT), "p99": (percentile(values, 99) or 0.0, BAD)}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.stairs(numbers, edges, fill=True, color=HOPS[0], alpha=0.75)
        for value, colour in marks.values():
            axes.axvline(value, color=colour, linewidth=1.6)
        if spread:
            _log_axis(axes)
        axes.set(xlabel="ms from capture to event", ylabel="frames")
        _whole_numbers(axes.yaxis, 5)

    legend = [(_css(colour), f"{name} {text.milliseconds(value)}") for name, (value, colour) in marks.items()]
    told = ", ".join(name for _, name in legend)
    caption = f"{text.plural(len(values), 'frame')}: {told}, longest {text.milliseconds(max(values))}."
    return Plot(title="How long frames took", caption=caption, legend=tuple(legend), svg=_svg("spread", draw))


def _content(facts: Sequence[Facts]) -> Plot | None:
    if not facts:
        return None
    edges = series.bounds(len(facts))
    at = series.positions(facts, edges)
    density = series.binned_mean([one.edges.density * 100 if one.edges else np.nan for one in facts], edges)
    objects = series.binned_mean([len(one.objects) for one in facts], edges)

    known = [one.edges.density for one in facts if one.edges]

    def draw(figure: Figure) -> None:
        if known:
            upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
            upper.stairs(density, at, baseline=None, color=ACCENT, linewidth=1.3)
            upper.set(ylabel="edge pixels, %", ylim=(0, _headroom(density)))
        else:
            lower = figure.add_subplot()
        lower.stairs(np.nan_to_num(objects), at, fill=True, color=HOPS[3])
        lower.set(ylabel="objects", xlabel=_frames_axis(facts), ylim=(0, max(1.0, _headroom(objects))))
        _whole_numbers(lower.yaxis, 3)
        lower.set_xlim(at[0], at[-1])
        _whole_numbers(lower.xaxis, 8)
        figure.align_ylabels()

    found = sum(len(one.objects) for one in facts)
    if not known and not found:
        return None
    told = f"edges cover {text.percent(min(known))} to {text.percent(max(known))} of a frame" if known else "no edges"
    caption = f"{told.capitalize()}; {text.plural(found, 'object')} in {text.plural(len(facts), 'frame')}."
    return Plot(title="What was found in each frame", caption=caption, legend=(), svg=_svg("content", draw))


def _rates(facts: Sequence[Facts], seconds: float) -> Plot | None:
    out = [one.emitted_ns for one in facts if one.emitted_ns > 0]
    taken = [one.captured_ns for one in facts if one.captured_ns > 0]
    if not out:
        return None
    end = max(out)
    live = bool(taken) and (end - min(taken)) / 1e9 <= seconds + 1 and max(taken) <= end
    start = min(taken) if live else min(out)
    events = series.rate_series(out, start, end)
    if events is None:
        return None
    captures = series.rate_series(taken, start, end) if live else None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.stairs(events[1], events[0], fill=True, color=HOPS[0], alpha=0.75)
        if captures is not None:
            axes.stairs(captures[1], captures[0], baseline=None, color=INK, linewidth=1.1)
        axes.set(xlabel="seconds since the first frame", ylabel="frames/s")
        axes.set_xlim(0, events[0][-1])
        axes.set_ylim(bottom=0)

    step = events[0][1] - events[0][0]
    caption = f"{text.plural(len(out), 'event')} in {text.seconds((end - start) / 1e9)}, counted every {step:g} s."
    legend = ((_css(HOPS[0]), "events out"), *([(_css(INK), "frames in")] if captures is not None else []))
    return Plot(title="Frames per second", caption=caption, legend=legend, svg=_svg("rates", draw))


# --- drawing ----------------------------------------------------------------------------------------------


def _svg(name: str, draw: Callable[[Figure], None]) -> str:
    """Draw a figure; give it as an SVG element whose ids begin with `name`, in the page's colours."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ReportError("the report's plots need matplotlib: pip install 'streamproc[demo]'") from error
    out = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=_SIZE_IN, layout="constrained")
        draw(figure)
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue(), name)


def _inline(document: str, name: str) -> str:
    """Make a document an element of a page: no prolog, no global style, own ids, its colours and font."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r"<style[^>]*>.*?</style>", "", element, flags=re.DOTALL)
    element = re.sub(r'xmlns:xlink="[^"]*"|xlink:(?=href=)', "", element)
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", element)
    element = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", element)
    element = re.sub(r"#0a0[bc]\d\d", lambda found: _css(found[0]), element)
    return re.sub(r'<svg\b[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg class="plot" \1 aria-hidden="true">', element, count=1)


def _log_axis(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _whole_numbers(axis: Axis, most: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, integer=True))


def _css(colour: str) -> str:
    return f"var(--{_VARIABLES[colour]})"


def _headroom(values: series.Numbers) -> float:
    known = values[np.isfinite(values)]
    return max(1e-3, 1.15 * float(known.max())) if known.size else 1.0


def _frames_axis(facts: Sequence[Facts]) -> str:
    return "frame" if len({one.key[:2] for one in facts}) <= 1 else "frame, one run after the other"
