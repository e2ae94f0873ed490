"""`streamproc bench`: speed, beside plain loops and plain library calls on the same cores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from streamproc.cli.connect import Json, pipeline_for
from streamproc.cli.notices import err
from streamproc.errors import UsageError

app = typer.Typer(help="Measure speed: a whole pipeline, or each operator.")

Out = Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")]


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=2, max=120, help="Length of each measurement.")] = 8,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Worker processes, and processes of the plain loops.")
    ] = 2,
    pipeline: Annotated[
        Path | None, typer.Option(help="Measure this pipeline; default: the built-in one, and edges alone.")
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure plain loops, Faust used naively, and this pipeline, in one go on a broker of its own.

    Takes a few minutes. Ratios can be compared between machines, absolute figures cannot.
    """
    if context.invoked_subcommand is not None:
        sources = [context.get_parameter_source(name) for name in context.params]
        if any(source is not None and source.name != "DEFAULT" for source in sources):
            raise UsageError(f"options stand after the command: streamproc bench {context.invoked_subcommand} ...")
        return
    from streamproc.bench import measure_all, render

    _require_folder(out)
    result = measure_all(
        seconds=seconds,
        workers=workers,
        pipelines=None if pipeline is None else {pipeline.stem: (pipeline_for(pipeline), pipeline)},
        told=(lambda _line: None) if as_json else err.print,
    )
    _tell(result, out, as_json=as_json)
    if not as_json:
        render(result, Console(highlight=False))


@app.command()
def operators(
    seconds: Annotated[float, typer.Option(min=0.01, max=60, help="For each operator.")] = 2,
    family: Annotated[str | None, typer.Option(help="Only operators of this family.")] = None,
    operator: Annotated[str | None, typer.Option(help="Only this operator.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure each operator on a 1280x720 frame: plain library calls, the whole frame, and 2x2 tiles."""
    from rich.progress import Progress

    from streamproc.bench import choose, measure_operators, render_operators

    rows = choose(family, operator)
    _require_folder(out)
    with Progress(console=err, transient=True, disable=as_json) as progress:
        task = progress.add_task("", total=len(rows))
        result = measure_operators(
            rows, seconds=seconds, told=lambda name: progress.update(task, advance=1, description=name)
        )
    _tell(result, out, as_json=as_json)
    if not as_json:
        render_operators(result, Console(highlight=False))


def _require_folder(out: Path | None) -> None:
    """Refuse a file that cannot be written before minutes are spent.

    Raises:
        UsageError: Its folder is not there.
    """
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"--out {out}: expected a file in a folder that exists")


def _tell(result: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    text = json.dumps(result, indent=2)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
