"""Plain loops without Kafka, in processes of their own: the limits."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np

from streamproc.bench.material import Material
from streamproc.memory import keep_freed_memory
from streamproc.model import Rect, TileHeader
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pipeline_file import default_pipeline, load
from streamproc.operators.pixels import decode
from streamproc.operators.table import Measure, Window
from streamproc.operators.tiling import window_of

Kind = Literal["tiles", "whole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one way of processing reached.

    Attributes:
        tiles_per_s: All processes together.
        cpu_us_per_tile: CPU time of all processes, broker included where there is one; None if it is not known.
    """

    tiles_per_s: float
    cpu_us_per_tile: float | None


def run_loops(kind: Kind, material: Material, pipeline_file: Path | None, *, processes: int, seconds: float) -> Rate:
    """Run the loop in `processes` processes at once for `seconds`, after a short warm-up."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    children = [
        context.Process(target=_loop, args=(sender, kind, material, pipeline_file, seconds), daemon=True)
        for _, sender in pipes
    ]
    for child in children:
        child.start()
    try:
        results = []
        for receiver, _ in pipes:
            if not receiver.poll(seconds + 60):
                raise TimeoutError(f"a {kind} loop gave no result")
            results.append(receiver.recv())
    finally:
        for child in children:
            child.join(timeout=5)
            if child.is_alive():
                child.kill()
    tiles = sum(count for count, _, _ in results)
    return Rate(
        tiles_per_s=sum(count / wall for count, wall, _ in results),
        cpu_us_per_tile=1e6 * sum(cpu for _, _, cpu in results) / max(1, tiles),
    )


def _loop(sender: Connection, kind: Kind, material: Material, pipeline_file: Path | None, seconds: float) -> None:
    keep_freed_memory()
    cv2.setNumThreads(1)
    pipeline = default_pipeline() if pipeline_file is None else load(pipeline_file)
    work = _tile_work(material, pipeline) if kind == "tiles" else _whole_work(material, pipeline)
    for sequence in range(3):
        work(sequence)
    tiles, sequence = 0, 0
    started, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        tiles += work(sequence)
        sequence += 1
    sender.send((tiles, time.perf_counter() - started, time.process_time() - cpu))


def decoded(header: TileHeader, payload: bytes) -> Window:
    """A tile as the pipeline takes it."""
    rect = header.rect
    pixels = decode(payload, codec=header.codec, pixel_format=header.pixel_format, width=rect.width, height=rect.height)
    return window_of(pixels, header.core, header.halo, header.frame_width, header.frame_height)


def _tile_work(material: Material, pipeline: Pipeline) -> Callable[[int], int]:
    """The very kernels of an extract agent: decode a tile, run the pipeline."""

    def work(sequence: int) -> int:
        tiles = material.frames[sequence % len(material.frames)]
        for header, payload in tiles:
            pipeline.run(decoded(header, payload), sequence)
        return len(tiles)

    return work


def _whole_work(material: Material, pipeline: Pipeline) -> Callable[[int], int]:
    """What somebody without tiles would write: decode the frame, `cv2.Canny` and the other operators on all of it."""
    shape = material.shape
    whole = Rect(0, 0, shape.width, shape.height)

    def work(sequence: int) -> int:
        encoded = np.frombuffer(material.whole[sequence % len(material.whole)], np.uint8)
        pixels = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
        gray = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
        for step in pipeline.measures:
            if sequence % step.every:
                continue
            if step.operator.name == "canny":
                low, high = (float(cast(float, step.parameters[name])) for name in ("low", "high"))
                edges = cv2.Canny(gray, low, high)
                np.packbits(np.asarray(edges, np.uint8), axis=1)
                continue
            source = gray if pipeline.kind_of(step.input) == "gray" else pixels
            measure: Measure = step.operator.run  # type: ignore[assignment] # measures alone are listed here
            measure(
                Window(pixels=source, rect=whole, core=whole, width=shape.width, height=shape.height),
                step.parameters,
            )
        return shape.grid.count

    return work
