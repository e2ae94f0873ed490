"""`streamproc demo`: everything at once on one machine, and a report worth looking at."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, pipeline_for, settings_for
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err
from streamproc.errors import StreamprocError, UsageError

if TYPE_CHECKING:
    from streamproc.demo import DemoResult

BUILTIN_FRAMES = 120


def demo(
    source: Annotated[
        str, typer.Option(help="Picture, folder, glob, video file, 'builtin' or 'synthetic'.")
    ] = "builtin",
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many; default: all (builtin: 120).")] = None,
    codec: Annotated[str, typer.Option(help="How tiles are encoded: jpeg, png or raw.")] = "jpeg",
    grid: Annotated[str, typer.Option(help="Rows and columns of tiles, like 2x3, or auto.")] = "auto",
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline file; default: the built-in pipeline.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder for events.jsonl, report.html and pictures.")] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Run everything at once: broker unless one is given, topics, workers, producer, until each frame has its outcome.

    Exit status 0 only if every frame is complete.
    """
    from producers.cutting import parse_grid
    from producers.runs import new_run
    from producers.sources import open_source
    from streamproc.broker.ports import choose_ports
    from streamproc.cli.produce import parse_codec
    from streamproc.demo import DemoOptions, run_demo, write_outputs

    started, started_s = datetime.now(UTC), time.monotonic()
    settings = settings_for(settings_file, bootstrap=bootstrap)
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: this is a file, name a folder")
    limit = frames if frames is not None or source not in {"builtin", "synthetic"} else BUILTIN_FRAMES
    told = _quiet if as_json else _say
    with (
        _logs_folder(out) as logs,
        open_source(source, settings, notice=told) as opened,
    ):
        told(opened.describe())
        options = DemoOptions(
            camera="demo",
            run=new_run("demo"),
            codec=parse_codec(codec),
            grid=parse_grid(grid),
            frames=limit,
            pipeline=pipeline_for(pipeline, runs_here=True),
            pipeline_file=pipeline,
            folder=logs,
            metrics_ports=tuple(choose_ports(0, workers)),
        )
        total = limit if opened.length is None or (limit is not None and limit < opened.length) else opened.length

        def finish(result: DemoResult) -> None:
            if out is not None:
                told("writing the report")
                write_outputs(
                    result,
                    options,
                    folder=out,
                    source=opened.describe(),
                    started=started,
                    command=_command(),
                    seconds=time.monotonic() - started_s,
                )

        def stopping() -> None:
            _stopping()
            opened.interrupt()

        with stop_on_signals(stopping) as (stop, received), _bar(total, quiet=as_json) as progress:
            result = run_demo(opened, settings, options, told=told, progress=progress, stop=stop, finish=finish)
    _tell(result, out, seconds=time.monotonic() - started_s, as_json=as_json)
    _end(result, received)


@contextmanager
def _logs_folder(out: Path | None) -> Iterator[Path]:
    """Where workers log: below `out`, else a temporary folder that is kept only if something goes wrong."""
    if out is not None:
        yield out / "logs"
        return
    folder = Path(mkdtemp(prefix="streamproc-demo-"))
    try:
        yield folder
    except BaseException:
        if not any(folder.iterdir()):  # else the error's message names a log in it
            folder.rmdir()
        raise
    rmtree(folder, ignore_errors=True)


def _end(result: DemoResult, received: Sequence[int]) -> None:
    """Exit as the outcomes ask for."""
    if result.stall is not None:
        raise result.stall
    if received:
        raise typer.Exit(128 + received[0])
    result.published.raise_for_problem()
    if not result.all_complete:
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.outcomes.items()))
        raise StreamprocError(
            f"not every frame is complete: {result.published.frames_read} read, {told or 'no outcome'}"
        )


def _tell(result: DemoResult, out: Path | None, *, seconds: float, as_json: bool) -> None:
    totals = sorted(event["data"]["latency_ms"]["total"] for event in result.events)
    labels = sum(len(event["data"]["objects"]) for event in result.events)
    summary: dict[str, Any] = {
        "frames": result.published.frames_read,
        "outcomes": result.outcomes,
        "repeated": result.repeated,
        "tiles": result.published.tiles_acked,
        "tiles_by_outcome": result.tiles,
        "bytes": result.published.bytes,
        "objects": labels,
        "happened": len(result.happened),
        "latency_ms": {"p50": _quantile(totals, 0.5), "p99": _quantile(totals, 0.99)},
        "seconds": round(seconds, 2),
        "grid": str(result.published.grid),
        "run": result.published.run,
        "complete": result.all_complete,
        "report": str(out / "report.html") if out else None,
        "events": str(out / "events.jsonl") if out else None,
    }
    if as_json:
        typer.echo(json.dumps(summary))
        return
    table = Table("outcome", "frames", box=None, pad_edge=False)
    for outcome, count in sorted(result.outcomes.items()):
        table.add_row(f"[{'green' if outcome == 'complete' else 'red'}]{outcome}[/]", str(count))
    err.print(table)
    latency = summary["latency_ms"]
    err.print(
        f"{summary['frames']} frames, {summary['tiles']} tiles, {summary['bytes'] / 1e6:.1f} MB, {labels} objects;"
        f" capture to event {latency['p50']:.0f} ms median, {latency['p99']:.0f} ms p99; {seconds:.1f} s in all"
    )
    if out is not None:
        err.print(f"report: {out / 'report.html'}   events: {out / 'events.jsonl'}")


def _quantile(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0


def _say(line: str) -> None:
    err.print(line)


def _quiet(_line: str) -> None:
    """With --json nothing but the result is printed."""


def _command() -> str:
    return shlex.join(["streamproc", *sys.argv[1:]])


def _stopping() -> None:
    err.print("stopping after the frames that are under way; once more to stop at once")


@contextmanager
def _bar(total: int | None, *, quiet: bool) -> Iterator[Any]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, transient=True) as progress:
        sent = progress.add_task("published", total=total)
        done = progress.add_task("with an outcome", total=total)

        def show(published: int, finished: int) -> None:
            progress.update(sent, completed=published)
            progress.update(done, completed=finished)

        yield show
