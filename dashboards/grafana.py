"""Panels, rows and pages as values, and as the JSON that Grafana 11 reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 39  # of Grafana 11
WIDTH = 24  # columns of Grafana's grid
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
ORANGE, PURPLE, GREY = "orange", "purple", "#8e8e8e"

Steps = tuple[tuple[float | None, str], ...]
"""Values from which a colour holds; the first from None."""
ZERO_IS_GOOD: Steps = ((None, GREEN), (1, RED))
ZERO_IF_TOLD: Steps = ((None, GREY), (0, GREEN), (1, RED))
"""The same for a single number: where nobody tells it, it is not green."""
FIXED: Mapping[str, str] = {
    "published": BLUE,
    "sent": BLUE,
    "replayed": PURPLE,
    "complete": GREEN,
    "merged": GREEN,
    "written": GREEN,
    "partial": YELLOW,
    "duplicate": YELLOW,
    "expired": ORANGE,
    "late": ORANGE,
    "unreadable": ORANGE,
    "rejected": RED,
    "refused": RED,
    "deadlettered": "dark-red",
    "known": "light-blue",
}
"""Colours of outcomes: one and the same on every page, whichever others are there."""
PER_SECOND = "suffix: /s"
OVERVIEW_UID = "streamproc-overview"
NOTHING = "or on() vector(0)"
"""After a query by labels: 0 where there is no series at all."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query; `legend` names its series by their labels, `{{label}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        kind: timeseries, stat, table, state-timeline, bargauge or heatmap.
        unit: As Grafana names it: short, s, bytes, Bps, percentunit, suffix: /s, ...
        description: What it shows, and what to do when it moves.
        thresholds: Colours of values.
        width, height: In columns and rows of the grid.
        link: Dashboard that a click leads to; with the time range, and with what was clicked on where `by` says so.
        by: Label whose value is handed over as the variable of that name.
        most: Upper end of the axis; None: as the data are.
        instant: Ask for what is now alone, not for a course.
    """

    title: str
    queries: Sequence[Query]
    description: str
    kind: str = "timeseries"
    unit: str = "short"
    thresholds: Steps = ((None, GREEN),)
    width: int = 8
    height: int = 7
    link: str | None = None
    by: str | None = None
    most: float | None = None
    instant: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One page.

    Attributes:
        uid: Names its file and its URL.
        variables: Names and the queries of their values.
    """

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[tuple[str, str]] = ()


def one(expr: str, legend: str = "") -> tuple[Query, ...]:
    """A single query."""
    return (Query(expr=expr, legend=legend),)


def quantiles(metric: str, by: str = "", only: str = "") -> tuple[Query, ...]:
    """Median, 95th and 99th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        Query(
            expr=f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{only}[$__rate_interval])))",
            legend=f"p{round(100 * share)}{legend}",
        )
        for share in (0.5, 0.95, 0.99)
    )


def grown(series: str, span: str) -> str:
    """By how much a counter has grown, summed over its series, in whole numbers.

    `increase()` extrapolates, and does not see a series that begins above 0. Here a series that was not there before,
    or began anew, counts whole; one whose process has ended counts as far as it came.
    """
    now = f"last_over_time({series}[{span}])"
    return f"(sum(({now} - {series} offset {span}) >= 0 or {now}) or vector(0))"


def told(expr: str, alive: str) -> str:
    """A number that is 0 when those are there who would tell, and nothing when they are not.

    Args:
        expr: Gives what is above 0, without labels.
        alive: Has series if they are there.
    """
    return f"({expr}) > 0 or on () (vector(0) and on () {alive})"


HOPS = ("publish", "wait", "extract", "gather", "assemble", "deliver")
"""Values of the label `stage` of `stage_seconds`, in the order of a frame's way."""


def mean_of_hops() -> tuple[Query, ...]:
    """Mean time of a frame on each hop, in the order of its way."""
    series = 'streamproc_stage_seconds_{part}{{stage="{hop}"}}[$__rate_interval]'
    return tuple(
        Query(
            expr=" / ".join(f"sum(rate({series.format(part=part, hop=hop)}))" for part in ("sum", "count")),
            legend=hop,
        )
        for hop in HOPS
    )


def as_json(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(
            {
                "type": "row",
                "title": row.title,
                "id": len(panels) + 1,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
            }
        )
        top = _place(row, panels, top + 1)
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["streamproc"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            *([] if dashboard.uid == OVERVIEW_UID else [_back()]),
            {
                "type": "dashboards",
                "tags": ["streamproc"],
                "asDropdown": True,
                "title": "streamproc",
                "keepTime": True,
            },
        ],
        "templating": {"list": [_datasource(), *(_variable(*variable) for variable in dashboard.variables)]},
        "annotations": {"list": []},
        "panels": panels,
    }


def _back() -> dict[str, Any]:
    """A link from a detail to the overview."""
    return {"type": "link", "title": "Overview", "url": f"/d/{OVERVIEW_UID}", "icon": "dashboard", "keepTime": True}


def _place(row: Row, panels: list[dict[str, Any]], top: int) -> int:
    """Put a row's panels side by side, as many as fit; returns where the next row begins."""
    left = tallest = 0
    for panel in row.panels:
        if left + panel.width > WIDTH:
            left, top, tallest = 0, top + tallest, 0
        at = {"x": left, "y": top, "w": panel.width, "h": panel.height}
        panels.append(_panel(panel, number=len(panels) + 1, at=at))
        left, tallest = left + panel.width, max(tallest, panel.height)
    return top + tallest


_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "area"},
    "state-timeline": {"mergeValues": True, "showValue": "never", "rowHeight": 0.8},
    "bargauge": {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
    },
}
"""Of panels, by kind; other kinds have none."""


def _panel(panel: Panel, *, number: int, at: dict[str, int]) -> dict[str, Any]:
    links = [] if panel.link is None else [{"title": "details", "url": f"/d/{panel.link}?${{__url_time_range}}"}]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": at,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": panel.instant,
                "range": not panel.instant,
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": _defaults(panel),
            "overrides": _fixed_colours(panel),
        },
        "options": dict(_OPTIONS.get(panel.kind, {})),
        "links": links,
    }


def _fixed_colours(panel: Panel) -> list[dict[str, Any]]:
    """Of lines that end in the name of an outcome."""
    legends = {query.legend for query in panel.queries}
    if panel.kind != "timeseries" or not any("{{outcome}}" in legend for legend in legends):
        return []
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/(^| ){name}$/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in FIXED.items()
    ]


def _defaults(panel: Panel) -> dict[str, Any]:
    """How values are shown."""
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "noValue": "no data",
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in panel.thresholds],
        },
        "custom": _lines(panel) if panel.kind == "timeseries" else {},
    }
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind in {"stat", "bargauge"} and panel.unit == "short":
        defaults["decimals"] = 0
    if panel.link is not None and panel.by is not None:
        value = f"${{__field.labels.{panel.by}}}"
        url = f"/d/{panel.link}?${{__url_time_range}}&var-{panel.by}={value}"
        defaults["links"] = [{"title": f"this {panel.by}", "url": url}]
    return defaults


def _lines(panel: Panel) -> dict[str, Any]:
    """How the lines of a course are drawn."""
    lines: dict[str, Any] = {"fillOpacity": 8, "showPoints": "never", "spanNulls": False}
    if panel.options.get("stacking"):
        lines |= {"stacking": {"mode": panel.options["stacking"]}, "fillOpacity": 40}
    if len(panel.thresholds) > 1:
        lines["thresholdsStyle"] = {"mode": "dashed"}
    return lines


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus", "hide": 0}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "values"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
