"""`streamproc rerun`: frames of the past through another pipeline."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamproc.cli.connect import Bootstrap, Json, MetricsPort, SettingsFile, pipeline_for, settings_for
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err
from streamproc.cli.replay import (
    Archive,
    From,
    OfRun,
    Replays,
    Slack,
    To,
    nothing_found,
    opened,
    require_order,
    tell_beginning,
)
from streamproc.errors import BrokerError, StreamprocError, UsageError
from streamproc.topics import Topics

if TYPE_CHECKING:
    from streamproc.rerun import RerunResult
    from streamproc.rerun.run import Progress
    from streamproc.settings import Settings


def rerun(
    *,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be repeated.")] = None,
    since: From = None,
    until: To = None,
    of_run: OfRun = None,
    replays: Replays = False,
    archive: Archive = None,
    slack: Slack = 60,
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline file; default: the built-in pipeline.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    name: Annotated[
        str | None, typer.Option(help="Name of the rerun, in its topics and runs; default: TIME-RANDOM.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for events.jsonl and run.json; default: rerun-NAME.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the rerun's topics on the broker.")] = False,
    metrics_port: MetricsPort = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Run frames of the past through a pipeline again, apart from everything live, as fast as the workers can.

    With --archive and no broker at hand, one is started for the length of the rerun.
    """
    from producers.replay_choice import Choice, parse_moment
    from producers.replay_span import around_captures
    from producers.runs import require_name
    from streamproc.exporter import exported
    from streamproc.rerun import RerunOptions, run_rerun
    from streamproc.vitals import Vitals

    from_ns, to_ns = parse_moment(since, name="--from"), parse_moment(until, name="--to")
    require_order(from_ns, to_ns, since=since, until=until)
    settings = settings_for(settings_file, bootstrap=bootstrap, metrics_port=metrics_port)
    name = require_name("--name", name) if name else f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    options = RerunOptions(
        name=name,
        pipeline=pipeline_for(pipeline, runs_here=True),
        pipeline_file=pipeline,
        workers=workers,
        archive=archive,
        out=_folder(out or Path(f"rerun-{name}")),
        keep=keep,
    )
    choice = Choice(cameras=camera or (), runs=of_run or (), from_ns=from_ns, to_ns=to_ns, replays=replays)
    with (
        _broker(settings, archive, quiet=as_json) as used,
        opened(used, archive, Topics(used.prefix).tiles) as source,
        stop_on_signals(_stopping) as (stop, received),
        _bars(quiet=as_json) as progress,
        exported(settings, Vitals("rerun", stopping=stop.is_set)) as metrics,
    ):
        begins = tell_beginning(source, choice, archive=archive, slack_s=slack, quiet=as_json)
        result = run_rerun(
            source,
            around_captures(source, from_ns=from_ns, to_ns=to_ns, slack_s=slack),
            choice,
            used,
            options,
            told=(lambda _line: None) if as_json else (lambda line: err.print(line, markup=False)),
            progress=progress,
            stop=stop,
            metrics=metrics,
        )
    _tell(result, options.out, name=name, begins=begins, as_json=as_json)
    _end(result, received, lambda: nothing_found(source.topic, choice, archive=archive))


def _folder(out: Path) -> Path:
    """The folder for what comes of it.

    Raises:
        UsageError: It cannot be made, or holds a rerun already.
    """
    if (out / "events.jsonl").exists() or (out / ".events").exists():
        raise UsageError(f"--out {out}: a rerun's events are there already; name another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; name a folder that can be written") from None
    return out


@contextmanager
def _broker(settings: Settings, archive: str | None, *, quiet: bool) -> Iterator[Settings]:
    """The broker that is named or runs; for an archive alone, one of our own for as long as this lasts."""
    from streamproc.broker import ephemeral

    if archive is None or "bootstrap" in settings.model_fields_set:
        yield settings
        return
    with ephemeral(progress=lambda line: None if quiet else err.print(line, markup=False)) as cluster:
        yield settings.model_copy(update={"bootstrap": cluster.bootstrap})


def _tell(result: RerunResult, out: Path, *, name: str, begins: str | None, as_json: bool) -> None:
    summary: dict[str, Any] = {
        "name": name,
        "complete": result.is_whole,
        "frames": result.replayed.frames,
        "outcomes": result.outcomes,
        "occurrences": result.occurrences,
        "unanswered": result.unanswered,
        "seconds": round(result.seconds, 2),
        "events": str(out / "events.jsonl") if result.replayed.frames else None,
        "run": None if result.is_empty else str(out / "run.json"),
        "replay": result.replayed.as_json(),
        "source_begins": begins,
    }
    if as_json:
        typer.echo(json.dumps(summary))
        return
    if not result.replayed.frames:
        return
    for line in result.replayed.lines():
        typer.echo(line)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.outcomes.items())) or "none"
    typer.echo(f"outcomes: {told}; {result.occurrences} occurrences; {result.seconds:.1f} s in all")
    typer.echo(f"events: {out / 'events.jsonl'}   what was run: {out / 'run.json'}")


def _end(result: RerunResult, received: Sequence[int], nothing: Any) -> None:
    """Exit as the outcomes ask for."""
    if result.problem is not None:
        raise result.problem
    if received:
        raise typer.Exit(128 + received[0])
    if not result.replayed.frames:
        raise BrokerError(nothing())
    if result.unanswered:
        raise StreamprocError(f"{result.unanswered} frames have no outcome: see the workers' logs")


def _stopping() -> None:
    err.print("stopping after the frames that are under way; once more to stop at once")


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Progress]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from streamproc.cloudevents import event_time

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, transient=True) as bars:
        sent, done = bars.add_task("frames replayed"), bars.add_task("with an outcome")

        def show(begun: int, finished: int, reached_ns: int | None) -> None:
            at = "" if reached_ns is None else f", up to {event_time(reached_ns)[:23]}"
            bars.update(sent, completed=begun, description=f"frames replayed{at}")
            bars.update(done, completed=finished)

        yield show
