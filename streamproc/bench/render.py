"""The figures as tables for a person."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

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
        for heading in ("halo", "plain ms", "whole ms", "tiles ms", "merging ms", "whole/plain", "tiles/plain"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for row in rows:
            table.add_row(*_cells(row, limit))
        console.print(table)
    compared = [row for row in entries if row["exact"] == "exact" and row["tiled_ratio"] is not None]
    dear = [row["name"] for row in compared if row["tiled_ratio"] > limit]
    console.print(
        f"\n{result['frame']}, {result['grid']} tiles with their halo, CPU time of one thread, medians;"
        f" OpenCV {result['opencv']}, scikit-image {result['scikit_image']}."
        f"\n{len(compared) - len(dear)} of {len(compared)} operators that are exact on tiles cost at most {limit} times"
        " the plain calls, merging included."
    )


def _cells(row: dict[str, Any], limit: float) -> list[str]:
    def number(name: str, digits: int) -> str:
        return "-" if row[name] is None else f"{row[name]:.{digits}f}"

    on_tiles, ratio = row["halo_px"] is not None, number("tiled_ratio", 2)
    if row["exact"] == "exact" and row["tiled_ratio"] is not None and row["tiled_ratio"] > limit:
        ratio = f"[bold red]{ratio}[/]"
    return [
        escape(row["name"]),
        EXACTNESS[row["exact"]] if on_tiles else "[cyan]frame[/]",
        str(row["halo_px"]) if on_tiles else "-",
        *(number(name, 2) for name in ("plain_ms", "whole_ms", "tiled_ms", "merge_ms", "whole_ratio")),
        ratio,
        f"[dim]{escape(row['note'] or '')}[/]",
    ]
