"""Pages drawn for documents: units as Grafana writes them, gaps, colours of thresholds, each kind of panel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dashboards.drawing import COLOURS, GAP, HEAD_ROWS, INCH_PER_COLUMN, INCH_PER_ROW, Line, draw, shown, with_gaps
from dashboards.grafana import GREEN, RED, Dashboard, Panel, Row, as_json, one


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0, "s", None, "0 s"),
        (0.00025, "s", None, "250 µs"),
        (0.0421, "s", None, "42.1 ms"),
        (3, "s", None, "3 s"),
        (90, "s", None, "1.5 min"),
        (7200, "s", None, "2 h"),
        (172_800, "s", None, "2 d"),
        (0.5, "percentunit", None, "50%"),
        (2048, "bytes", None, "2 KiB"),
        (3 * 2**20, "bytes", None, "3 MiB"),
        (512, "bytes", None, "512 B"),
        (1500, "Bps", None, "1.5 kB/s"),
        (12.345, "suffix: /s", None, "12.3 /s"),
        (3.04, "short", 0, "3"),
        (12_345, "short", None, "12.3 K"),
        (-0.0, "short", None, "0"),
    ],
)
def test_values_are_written_as_grafana_does(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert shown(value, unit, decimals=decimals) == text


def test_a_line_is_broken_where_samples_are_missing() -> None:
    points = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (9.0, 1.0), (10.0, 1.0)]
    drawn = with_gaps(points)
    assert [at_s for at_s, value in drawn if math.isnan(value)] == [5.5]
    assert [point for point in drawn if not math.isnan(point[1])] == points
    assert with_gaps([]) == []
    assert with_gaps(points[:1]) == points[:1]


def page(*kinds: str) -> dict[str, Any]:
    """Panels of these kinds side by side."""
    made = Dashboard(
        uid="page",
        title="Page",
        description="All kinds.",
        rows=(
            Row(
                title="Row",
                panels=[
                    Panel(
                        title=kind,
                        kind=kind,
                        width=6,
                        queries=one("query", "{{camera}}"),
                        thresholds=((None, GREEN), (1, RED)),
                        description="What it shows.",
                    )
                    for kind in kinds
                ],
            ),
        ),
    )
    return as_json(made)


def test_a_page_is_as_large_as_its_grid_and_a_big_number_has_the_colour_of_its_threshold(tmp_path: Path) -> None:
    lines = [Line("gate", [(float(at_s), 2.0) for at_s in range(60)])]
    draw(page("stat"), lambda _expr, _legend: lines, start_s=0, end_s=60, file=tmp_path / "page.png")
    picture = cv2.imread(str(tmp_path / "page.png"))
    assert picture is not None
    rows = 1 + 7 + HEAD_ROWS
    assert picture.shape[:2] == (round(rows * INCH_PER_ROW * 100), round(24 * INCH_PER_COLUMN * 100))
    red = [int(COLOURS[RED][at : at + 2], 16) for at in (5, 3, 1)]  # blue, green, red as OpenCV has them
    x = round(100 * (GAP + 0.2))
    y = round(100 * (HEAD_ROWS + 1) * INCH_PER_ROW + 100 * 0.7)
    assert np.abs(picture[y, x].astype(int) - red).max() <= 2


def _always(lines: Sequence[Line], _expr: str, _legend: str) -> Sequence[Line]:
    return lines


@pytest.mark.parametrize("kind", ["bargauge", "state-timeline", "timeseries"])
def test_each_kind_of_panel_shows_its_series_and_says_when_there_are_none(kind: str, tmp_path: Path) -> None:
    lines = [Line("gate", [(float(at_s), at_s / 30) for at_s in range(60)])]
    drawn = []
    for number, series in enumerate((lines, [])):
        file = tmp_path / f"{number}.png"
        draw(page(kind), partial(_always, series), start_s=0, end_s=60, file=file)
        drawn.append(cv2.imread(str(file)))
    with_series, without = drawn
    assert with_series is not None
    assert without is not None
    assert with_series.shape == without.shape
    changed = np.abs(with_series.astype(int) - without).max(axis=2) > 40
    assert 0.001 < changed.mean() < 0.3
    assert not changed[: round(100 * HEAD_ROWS * INCH_PER_ROW)].any()
