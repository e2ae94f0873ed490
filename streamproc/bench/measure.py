"""All measurements in one go, and their ratios."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamproc import __version__
from streamproc.bench.kafka_runs import Load, run_naive, run_pipeline
from streamproc.bench.loops import Rate, run_loops
from streamproc.bench.material import SHAPES, Material, Shape, make_material
from streamproc.broker import ephemeral
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pipeline_file import default_pipeline, load
from streamproc.settings import Settings, load_settings

EDGES = 'name = "edges"\n[[step]]\noperator = "gray"\n[[step]]\nname = "edges"\noperator = "canny"\n'
Told = Callable[[str], None]


def measure_all(
    *,
    seconds: float,
    workers: int,
    pipelines: Mapping[str, tuple[Pipeline, Path | None]] | None,
    told: Told,
    shapes: tuple[Shape, ...] = SHAPES,
) -> dict[str, Any]:
    """Measure every pipeline on every tile size, on a broker started for it.

    Args:
        seconds: Length of each measurement.
        workers: Worker processes, and processes of the plain loops.
        pipelines: By name; None measures the built-in pipeline and edges alone.
        told: Takes a line for the user.
        shapes: Tile sizes.

    Returns:
        JSON-able: one entry in `runs` for each pipeline and tile size.
    """
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as scratch:
        folder = Path(scratch)
        chosen = pipelines or _usual_pipelines(folder)
        with ephemeral(progress=told) as cluster:
            settings = load_settings(bootstrap=cluster.bootstrap)
            pids = [node.pid for node in cluster.nodes]
            runs = [
                _measure(
                    name,
                    pipeline,
                    file,
                    shape,
                    settings,
                    pids=pids,
                    seconds=seconds,
                    workers=workers,
                    folder=folder,
                    told=told,
                )
                for name, (pipeline, file) in chosen.items()
                for shape in shapes
            ]
    return {
        "streamproc": __version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "workers": workers,
        "seconds": seconds,
        "runs": runs,
    }


def _usual_pipelines(folder: Path) -> dict[str, tuple[Pipeline, Path | None]]:
    file = folder / "edges.toml"
    file.write_text(EDGES, encoding="utf-8")
    return {"default": (default_pipeline(), None), "edges": (load(file), file)}


def _measure(
    name: str,
    pipeline: Pipeline,
    file: Path | None,
    shape: Shape,
    settings: Settings,
    *,
    pids: list[int],
    seconds: float,
    workers: int,
    folder: Path,
    told: Told,
) -> dict[str, Any]:
    what = f"pipeline {name}, tiles of {shape.name}"
    material = make_material(shape, pipeline, settings)
    told(f"{what}: plain loop of the tile kernels")
    limit = run_loops("tiles", material, file, processes=workers, seconds=seconds)
    told(f"{what}: plain OpenCV on whole frames")
    whole = run_loops("whole", material, file, processes=workers, seconds=seconds)
    told(f"{what}: this pipeline")
    load_ = run_pipeline(
        settings,
        material,
        file,
        broker_pids=pids,
        processes=workers,
        expected_tiles_per_s=limit.tiles_per_s,
        seconds=seconds,
        folder=folder / f"{name}-{shape.name}",
    )
    told(f"{what}: Faust with one send awaited for each tile")
    ways = {
        "one_process": (1, True),
        f"{workers}_processes": (workers, True),
        "one_process_acknowledged_before_delivery": (1, False),
    }
    naive = {
        way: run_naive(
            settings,
            material,
            file,
            processes=processes,
            delivered=delivered,
            seconds=seconds / 2,
            expected=limit.tiles_per_s / 3,
        )
        for way, (processes, delivered) in ways.items()
    }
    return _told(name, material, limit=limit, whole=whole, load_=load_, naive=naive)


def _share(limit: float | None, used: float | None) -> float | None:
    """CPU time of the plain loop as a share of the CPU time used: hardly moved by what else a machine does."""
    return None if not limit or not used else round(limit / used, 3)


def _told(
    name: str, material: Material, *, limit: Rate, whole: Rate, load_: Load, naive: dict[str, Rate]
) -> dict[str, Any]:
    ours = load_.rate.tiles_per_s

    def entry(rate: Rate) -> dict[str, float | None]:
        return {
            "tiles_per_s": round(rate.tiles_per_s, 1),
            "cpu_us_per_tile": None if rate.cpu_us_per_tile is None else round(rate.cpu_us_per_tile),
            "ratio_to_limit": round(rate.tiles_per_s / limit.tiles_per_s, 3),
            "cpu_ratio_to_limit": _share(limit.cpu_us_per_tile, rate.cpu_us_per_tile),
        }

    return {
        "pipeline": name,
        "tile": material.shape.name,
        "frame": f"{material.shape.width}x{material.shape.height}",
        "tile_bytes": round(material.tile_bytes),
        "limit_tile_kernels": entry(limit),
        "limit_whole_frames": entry(whole),
        "faust_naive": {way: entry(rate) for way, rate in naive.items()},
        "streamproc": entry(load_.rate),
        "ratio_to_limit": round(ours / limit.tiles_per_s, 3),
        "cpu_ratio_to_limit": _share(limit.cpu_us_per_tile, load_.rate.cpu_us_per_tile),
        "ratio_to_whole_frames": round(ours / whole.tiles_per_s, 3),
        "ratio_to_naive": round(ours / naive["one_process"].tiles_per_s, 2),
        "worker_peak_rss_mb": None if load_.rss_bytes is None else round(load_.rss_bytes / 1e6),
        "latency_ms_at_half_load": {"p50": round(load_.p50_ms, 1), "p99": round(load_.p99_ms, 1)},
    }
