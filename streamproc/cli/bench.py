"""`streamproc bench`: speed, beside a plain loop of the same kernels on the same cores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamproc.cli.connect import Json, pipeline_for

err = Console(stderr=True, highlight=False, soft_wrap=True)


def bench(
    seconds: Annotated[float, typer.Option(min=2, max=120, help="Length of each measurement.")] = 8,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Worker processes, and processes of the plain loops.")
    ] = 2,
    pipeline: Annotated[
        Path | None, typer.Option(help="Measure this pipeline; default: the built-in one, and edges alone.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Measure plain loops, Faust used naively, and this pipeline, in one go on a broker of its own.

    Takes a few minutes. Ratios can be compared between machines, absolute figures cannot.
    """
    from streamproc.bench import measure_all, render

    result = measure_all(
        seconds=seconds,
        workers=workers,
        pipelines=None if pipeline is None else {pipeline.stem: (pipeline_for(pipeline), pipeline)},
        told=(lambda _line: None) if as_json else err.print,
    )
    text = json.dumps(result, indent=2)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
    else:
        render(result, Console(highlight=False))
