"""A page drawn as Grafana lays it out, from what a Prometheus has: for documents, where there is no Grafana.

Pure but for matplotlib: panels and their series in, a picture out. Colours, grid, units are those of its light theme;
what it does not know (zooming, hovering, links) is not there.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

INCH_PER_COLUMN: Final = 0.62
INCH_PER_ROW: Final = 0.36
HEAD_ROWS: Final = 2.2
GAP: Final = 0.06  # inches around a panel
COLOURS: Final = {
    "green": "#56a64b",
    "yellow": "#e0b400",
    "red": "#e02f44",
    "blue": "#3274d9",
    "orange": "#e0752d",
    "purple": "#7c2ea3",
    "dark-red": "#ad0317",
    "light-blue": "#8ab8ff",
    "#8e8e8e": "#8e8e8e",
}
LINES: Final = (
    *("#56a64b", "#e0b400", "#3274d9", "#e0752d", "#e02f44", "#7c2ea3", "#1f9c9c", "#b15928"),
    *("#8ab8ff", "#b877d9", "#ffa6b0", "#96d98d", "#5c6773", "#a352cc"),
)
INK, FAINT, PAPER, PAGE = "#24292e", "#6e7781", "#ffffff", "#f4f5f5"
_MOST_LEGENDS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One series of a panel: its legend, and (unix time, value) pairs."""

    name: str
    points: Sequence[tuple[float, float]]


Ask = Callable[[str, str], Sequence[Line]]
"""(query, legend with `{{label}}`) -> its series over the time that is drawn."""


def draw(page: Mapping[str, Any], ask: Ask, *, start_s: float, end_s: float, file: Path) -> None:
    """Draw a page into a PNG file.

    Args:
        page: As Grafana reads it (`grafana.as_json`).
        ask: Gives the series of a query.
        start_s: Unix time of the left edge.
        end_s: And of the right one.
        file: Made, or written over.
    """
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in page["panels"]) + HEAD_ROWS
    width, height = 24 * INCH_PER_COLUMN, rows * INCH_PER_ROW
    figure = Figure(figsize=(width, height), facecolor=PAGE, dpi=100)
    FigureCanvasAgg(figure)  # what text is measured with
    times = " to ".join(f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S}" for at_s in (start_s, end_s))
    top = 1 - 0.75 * INCH_PER_ROW / height
    figure.text(0.008, top, page["title"], fontsize=15, weight="bold", color=INK, va="center")
    figure.text(0.992, top, f"{times} UTC", fontsize=10, color=FAINT, va="center", ha="right")
    figure.text(0.008, 1 - 1.6 * INCH_PER_ROW / height, page["description"], fontsize=10, color=FAINT, va="center")
    for panel in page["panels"]:
        at = panel["gridPos"]
        left, bottom = at["x"] / 24, 1 - (at["y"] + at["h"] + HEAD_ROWS) * INCH_PER_ROW / height
        box = (left, bottom, at["w"] / 24, at["h"] * INCH_PER_ROW / height)
        if panel["type"] == "row":
            figure.text(left + 0.008, bottom + box[3] / 2, f"▾ {panel['title']}", fontsize=11, color=INK, va="center")
            continue
        lines = [
            line
            for query in panel["targets"]
            for line in ask(query["expr"], query["legendFormat"])
            if not query["instant"] or line.points[-1][0] > end_s - (end_s - start_s) / 50
        ]
        _Panel(figure, panel, box, size=(width, height), span=(start_s, end_s)).draw(lines)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        file, optimize=True
    )  # a fourth of the bytes


class _Panel:
    """One panel, at its place (fractions of the figure)."""

    def __init__(
        self,
        figure: Figure,
        panel: Mapping[str, Any],
        box: tuple[float, float, float, float],
        *,
        size: tuple[float, float],
        span: tuple[float, float],
    ) -> None:
        self._figure, self._panel, self._span = figure, panel, span
        self._defaults = panel["fieldConfig"]["defaults"]
        self._unit: str = self._defaults["unit"]
        left, bottom, width, height = box
        x, y = GAP / size[0], GAP / size[1]
        self._box = (left + x / 2, bottom + y / 2, width - x, height - y)
        self._inches = (self._box[2] * size[0], self._box[3] * size[1])
        frame = FancyBboxPatch(
            self._box[:2], self._box[2], self._box[3], boxstyle="square,pad=0", facecolor=PAPER, edgecolor="#d8d9da"
        )
        frame.set(transform=figure.transFigure, zorder=-1)
        figure.add_artist(frame)
        title = self._box[0] + 0.08 / size[0], self._box[1] + self._box[3] - 0.16 / size[1]
        figure.text(*title, panel["title"], fontsize=9, color=INK, va="center")

    def draw(self, lines: Sequence[Line]) -> None:
        """Draw what the panel shows of these series."""
        kinds = {
            "stat": self._stat,
            "bargauge": self._bars,
            "state-timeline": self._states,
            "timeseries": self._lines,
        }
        if not lines:
            axes = self._axes()
            axes.axis("off")
            axes.text(0.5, 0.5, self._defaults["noValue"], color=FAINT, ha="center", va="center", fontsize=12)
            return
        kinds[self._panel["type"]](lines)

    def _axes(self, *, left: float = 0.1, right: float = 0.1, top: float = 0.3, bottom: float = 0.1) -> Axes:
        """Axes inside the panel; margins in inches."""
        x, y, width, height = self._box
        wide, high = self._inches
        place = (
            x + left / wide * width,
            y + bottom / high * height,
            width * (1 - (left + right) / wide),
            height * (1 - (top + bottom) / high),
        )
        return self._figure.add_axes(place)

    def _fixed(self, name: str) -> str | None:
        """Colour that a line has by its name."""
        for one in self._panel["fieldConfig"]["overrides"]:
            if re.search(one["matcher"]["options"].strip("/"), name):
                return COLOURS[one["properties"][0]["value"]["fixedColor"]]
        return None

    def _colour(self, value: float) -> str:
        """Of the threshold that a value has reached."""
        found = "green"
        for step in self._defaults["thresholds"]["steps"]:
            if step["value"] is None or value >= step["value"]:
                found = step["color"]
        return COLOURS[found]

    def _shown(self, value: float) -> str:
        return shown(value, self._unit, decimals=self._defaults.get("decimals"))

    def _stat(self, lines: Sequence[Line]) -> None:
        axes = self._axes(left=0, right=0, bottom=0, top=0.3)
        value = lines[0].points[-1][1]
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], facecolor=self._colour(value))
        axes.set_frame_on(True)
        for spine in axes.spines.values():
            spine.set_visible(False)
        self._spark(lines[0])
        axes.text(0.5, 0.56, self._shown(value), color="white", weight="bold", fontsize=20, ha="center", va="center")

    def _spark(self, line: Line) -> None:
        """The faint course below a big number."""
        x, y, width, height = self._box
        axes = self._figure.add_axes((x, y, width, height * 0.28))
        axes.axis("off")
        times, values = zip(*line.points, strict=True)
        axes.fill_between(times, values, color="white", alpha=0.3, linewidth=0)
        axes.set(xlim=self._span, ylim=(0, max(*values, 1e-9) * 1.1))

    def _bars(self, lines: Sequence[Line]) -> None:
        axes = self._axes(left=1.5, right=0.85, bottom=0.12, top=0.36)
        values = [line.points[-1][1] for line in lines]
        most = self._defaults.get("max") or max(*values, 1e-12)
        for number, (line, value) in enumerate(zip(lines, values, strict=True)):
            axes.add_patch(Rectangle((0, number - 0.38), 1, 0.76, facecolor="#eceeef", linewidth=0))
            share = min(1.0, max(0.004, value / most))
            axes.add_patch(Rectangle((0, number - 0.38), share, 0.76, facecolor=self._colour(value), linewidth=0))
            axes.text(-0.02, number, line.name, ha="right", va="center", fontsize=8.5, color=INK)
            colour = self._colour(value)
            axes.text(1.02, number, self._shown(value), va="center", fontsize=9.5, color=colour, weight="bold")
        axes.set(xlim=(0, 1), ylim=(max(len(lines), 4) - 0.5, -0.5))
        axes.axis("off")

    def _states(self, lines: Sequence[Line]) -> None:
        axes = self._axes(left=0.9, right=0.15, bottom=0.35, top=0.36)
        for number, line in enumerate(lines):
            ends = [at_s for at_s, _ in line.points[1:]] + [line.points[-1][0]]
            for (at_s, value), end_s in zip(line.points, ends, strict=True):
                begin = number - 0.38
                axes.add_patch(Rectangle((at_s, begin), end_s - at_s, 0.76, facecolor=self._colour(value), linewidth=0))
        axes.set(xlim=self._span, ylim=(len(lines) - 0.5, -0.5))
        axes.set_yticks(range(len(lines)), [line.name for line in lines], fontsize=8.5, color=INK)
        self._time_axis(axes)
        axes.tick_params(axis="y", length=0)

    def _lines(self, lines: Sequence[Line]) -> None:
        names = [line.name for line in lines[:_MOST_LEGENDS]]
        columns = max(1, int(self._inches[0] // (0.45 + 0.075 * max(map(len, names)))))
        legend_rows = math.ceil(len(names) / columns)
        axes = self._axes(left=0.72, right=0.15, bottom=0.42 + 0.17 * legend_rows, top=0.36)
        if self._defaults["custom"].get("stacking"):
            self._stack(axes, lines)
        else:
            for number, line in enumerate(lines):
                times, values = zip(*with_gaps(line.points), strict=True)
                colour = self._fixed(line.name) or LINES[number % len(LINES)]
                axes.plot(times, values, color=colour, linewidth=1.3, label=line.name, zorder=3)
                axes.fill_between(times, values, color=colour, alpha=0.08, linewidth=0)
        stacked = "stacking" in self._defaults["custom"]
        most = axes.get_ylim()[1] if stacked else max(value for line in lines for _, value in line.points)
        top = self._defaults.get("max") or (most * 1.06 if most > 0 else 1.0)
        least = min((value for line in lines for _, value in line.points), default=0.0)
        axes.set(xlim=self._span, ylim=(min(0.0, least), top))
        self._thresholds(axes, top)
        axes.yaxis.set_major_locator(_binary(top) if self._unit == "bytes" else MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, self._unit)))
        axes.grid(color="#e9eaeb", linewidth=0.7)
        axes.tick_params(axis="y", labelsize=8, colors=FAINT, length=0)
        self._time_axis(axes)
        axes.legend(
            *_first(axes, _MOST_LEGENDS),
            loc="upper left",
            bbox_to_anchor=(-0.72 / (self._inches[0] - 0.87), -0.3 / (self._inches[1] - 0.78 - 0.17 * legend_rows)),
            ncols=columns,
            fontsize=8,
            frameon=False,
            handlelength=1.1,
            columnspacing=1.2,
            labelspacing=0.25,
            borderaxespad=0,
            labelcolor=INK,
        )

    def _stack(self, axes: Axes, lines: Sequence[Line]) -> None:
        times = sorted({at_s for line in lines for at_s, _ in line.points})
        layers = [[dict(line.points).get(at_s, 0.0) for at_s in times] for line in lines]
        names = [line.name for line in lines]
        axes.stackplot(times, layers, labels=names, colors=LINES[: len(lines)], alpha=0.75, linewidth=0)

    def _thresholds(self, axes: Axes, top: float) -> None:
        if "thresholdsStyle" not in self._defaults["custom"]:
            return
        for step in self._defaults["thresholds"]["steps"][1:]:
            if step["value"] <= top:
                axes.axhline(step["value"], color=COLOURS[step["color"]], linewidth=1, linestyle=(0, (5, 4)))

    def _time_axis(self, axes: Axes) -> None:
        seconds = self._span[1] - self._span[0]
        wanted = max(3, int(self._inches[0] / 1.1))
        steps = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
        step = next((step for step in steps if seconds / step <= wanted), 7200)
        first = math.ceil(self._span[0] / step) * step
        ticks = list(range(first, int(self._span[1]) + 1, step))
        pattern = "%H:%M" if step >= 60 else "%H:%M:%S"
        axes.set_xticks(ticks, [f"{datetime.fromtimestamp(at_s, UTC):{pattern}}" for at_s in ticks])
        axes.tick_params(axis="x", labelsize=8, colors=FAINT, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)


def shown(value: float, unit: str, *, decimals: int | None = None) -> str:
    """A value with its unit, as Grafana writes it.

    Args:
        value: In the unit's base.
        unit: Grafana's name of it.
        decimals: Digits behind the point; None: three that count.
    """
    if unit == "s":
        return _seconds(value)
    if unit == "percentunit":
        return f"{_short(100 * value)}%"
    if unit in {"bytes", "Bps"}:
        step, names = (1024, "KMGT") if unit == "bytes" else (1000, "kMGT")
        return _scaled(value, step, names, "iB" if unit == "bytes" else "B") + ("/s" if unit == "Bps" else "")
    text = _short(value) if decimals is None else f"{value:.{decimals}f}"
    return text + unit.removeprefix("suffix:") if unit.startswith("suffix:") else text


def _seconds(value: float) -> str:
    size = abs(value)
    for limit, factor, name in ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (60, 1, "s"), (3600, 1 / 60, "min")):
        if size < limit and size > 0:
            return f"{_short(value * factor)} {name}"
    if size < 86_400:
        return "0 s" if not size else f"{_short(value / 3600)} h"
    return f"{_short(value / 86_400)} d"


def _scaled(value: float, step: int, names: str, base: str) -> str:
    power = 0
    while abs(value) >= step and power < len(names):
        value, power = value / step, power + 1
    if not power:
        return f"{_short(value)} B"
    return f"{_short(value)} {names[power - 1]}{base}"


def _short(value: float) -> str:
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g} Mil"
    if size >= 10_000:
        return f"{value / 1e3:.3g} K"
    text = f"{value:.0f}" if size >= 100 else f"{value:.3g}"
    return "0" if text in {"-0", "0"} else text


def _binary(top: float) -> MultipleLocator:
    """Marks at whole kibibytes, mebibytes and so on."""
    return MultipleLocator(2.0 ** math.ceil(math.log2(max(top, 4.0) / 4)))


def with_gaps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line ends where samples are missing."""
    steps = sorted(after - before for (before, _), (after, _) in itertools.pairwise(points))
    usual = steps[len(steps) // 2] if steps else 0.0
    broken = list(points[:1])
    for (before, _), (at_s, value) in itertools.pairwise(points):
        if at_s - before > 2.5 * usual:
            broken.append(((before + at_s) / 2, math.nan))
        broken.append((at_s, value))
    return broken


def _first(axes: Axes, most: int) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return list(handles[:most]), list(labels[:most])
