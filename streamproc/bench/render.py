"""The figures as tables for a person."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

COLUMNS = (
    ("plain ms", "plain_ms", False),
    ("on tiles", "plain_tiles_ms", False),
    ("whole ms", "whole_ms", False),
    ("tiles ms", "tiled_ms", False),
    ("merging ms", "merge_ms", False),
    ("whole/plain", "whole_ratio", False),
    ("tiles/plain", "tiled_ratio", True),
    ("same tiles", "same_tiles_ratio", True),
)
"""Of operators: heading, figure, and whether it is held against the limit."""

EXACTNESS = {"exact": "exact", "rounding": "rounding", "no": "[dim]no[/]"}


def render(result: dict[str, Any], console: Console) -> None:
    """Print one table for each pipeline and tile size."""
    for run in result["runs"]:
        title = f"pipeline {run['pipeline']}, tiles of {run['tile']} ({run['tile_bytes'] / 1000:.0f} kB JPEG)"
        table = Table(
            "what", "tiles/s", "CPU µs per tile", "of the limit", "by CPU", title=title, title_justify="left", box=None
        )
        rows = {
            "plain loop of the tile kernels: the limit": run["limit_tile_kernels"],
            "plain OpenCV on whole frames": run["limit_whole_frames"],
            **{f"Faust naively, {way.replace('_', ' ')}": entry for way, entry in run["faust_naive"].items()},
            "streamproc, broker included": run["streamproc"],
        }
        for name, entry in rows.items():
            cpu = "-" if entry["cpu_us_per_tile"] is None else str(entry["cpu_us_per_tile"])
            table.add_row(
                name,
                f"{entry['tiles_per_s']:.0f}",
                cpu,
                f"{entry['ratio_to_limit']:.2f}",
                str(entry["cpu_ratio_to_limit"] or "-"),
            )
        console.print(table)
        latency = run["latency_ms_at_half_load"]
        console.print(
            f"{run['ratio_to_naive']:.1f} times the naive way; worker peak RSS {run['worker_peak_rss_mb']} MB;"
            f" capture to event at half load: median {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms\n"
        )


def render_operators(result: dict[str, Any], console: Console) -> None:
    """Print one table for each family; what is exact on tiles and costs more than it should is marked."""
    limit, entries = result["ratio_limit"], result["operators"]
    for family, rows in groupby(entries, itemgetter("family")):
        table = Table(title=f"[bold]{escape(family)}[/]", title_justify="left", box=None)
        table.add_column("operator", no_wrap=True)
        table.add_column("tiles")
        for heading in ("halo", *(heading for heading, *_ in COLUMNS)):
            table.add_column(heading, justify="right")
        table.add_column("")
        for row in rows:
            table.add_row(*_cells(row, limit))
        console.print(table)
    told = []
    for name in ("tiled_ratio", "same_tiles_ratio"):
        ratios = [row[name] for row in entries if row["exact"] == "exact" and row[name] is not None]
        told.append(f"{sum(ratio <= limit for ratio in ratios)} of {len(ratios)}")
    console.print(
        f"\n{result['frame']}, {result['grid']} tiles with their halo, CPU time of one thread, medians;"
        f" OpenCV {result['opencv']}, scikit-image {result['scikit_image']}."
        f"\n{told[0]} operators that are exact on tiles cost at most {limit} times the plain calls on the whole frame,"
        f" merging included; {told[1]} at most {limit} times the plain calls on the same tiles."
    )


def _cells(row: dict[str, Any], limit: float) -> list[str]:
    def number(name: str, limited: bool) -> str:
        if row[name] is None:
            return "-"
        dear = limited and row["exact"] == "exact" and row[name] > limit
        return f"[bold red]{row[name]:.2f}[/]" if dear else f"{row[name]:.2f}"

    on_tiles = row["halo_px"] is not None
    return [
        escape(row["name"]),
        EXACTNESS[row["exact"]] if on_tiles else "[cyan]frame[/]",
        str(row["halo_px"]) if on_tiles else "-",
        *(number(name, limited) for _, name, limited in COLUMNS),
        f"[dim]{escape(row['note'] or '')}[/]",
    ]
