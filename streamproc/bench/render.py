"""The figures as a table for a person."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


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
