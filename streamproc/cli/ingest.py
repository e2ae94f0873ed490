"""`streamproc ingest`: all cameras of a list into Kafka, until Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, pipeline_for, settings_for
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err, say
from streamproc.settings import Settings, value_of
from streamproc.topics import Topics
from streamproc.words import Line, counted

if TYPE_CHECKING:
    from producers.cameras_file import CameraSpec
    from producers.ingest import CameraReport
    from producers.sources import Source
    from streamproc.ledger import LedgerWriter
    from streamproc.vitals import Vitals

_SHOWN = 40  # cameras in the table; of more, those that are not online come first


def ingest(
    cameras: Annotated[Path, typer.Argument(help="List of cameras, TOML; read again when it changes.")],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Say what the list holds, and end; connect to nothing.")
    ] = False,
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline file, for the halo; default: the built-in.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="File that is told of each frame and what became of it; appended to.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads that cut and encode, for all cameras.")] = 2,
    metrics_port: Annotated[int | None, typer.Option(help="Port of the Prometheus exporter; 0 is off.")] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Keep all cameras of a list alive and publish their frames, until Ctrl-C; changes of the list are taken on."""
    from producers.cameras_file import read_cameras, signature

    seen = signature(cameras)
    listed = read_cameras(cameras, variable=value_of)
    if check:
        _show_list(cameras, listed, as_json=as_json)
        return
    settings = settings_for(settings_file, bootstrap=bootstrap, metrics_port=metrics_port)
    _run(cameras, listed, settings, seen=seen, pipeline=pipeline, ledger=ledger, threads=threads, as_json=as_json)


def _run(
    file: Path,
    listed: dict[str, CameraSpec],
    settings: Settings,
    *,
    seen: object,
    pipeline: Path | None,
    ledger: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    from producers.cameras_file import read_cameras
    from producers.ingest import Ingest
    from producers.ingest_crew import Crew
    from producers.ingest_run import Outlet
    from streamproc.exporter import exported
    from streamproc.provision import require_topics
    from streamproc.publisher import LastingPublisher, Publisher
    from streamproc.surroundings import surroundings
    from streamproc.tracing import traced
    from streamproc.vitals import Vitals, Wanted

    halo = pipeline_for(pipeline).halo
    partitions = require_topics(settings)
    producer = partial(Publisher, settings, client_id="streamproc-ingest")
    with (
        stop_on_signals() as (stop, received),
        exported(
            settings,
            vitals := Vitals("ingest", wanted=Wanted(Topics(settings.prefix).names, partitions), stopping=stop.is_set),
        ) as metrics,
        surroundings(metrics, settings, places={"ledger": ledger}),
        traced(settings, metrics, part="producer") as tracer,
        _ledger(ledger) as writer,
        _closing(LastingPublisher(producer, notice=say, stop=stop)) as publisher,
        _table(quiet=as_json) as on_tick,
    ):
        outlet = Outlet(
            settings=settings,
            sender=publisher,
            metrics=metrics,
            partitions=partitions,
            crew=Crew(threads),
            ledger=writer,
            pipeline_halo=halo,
            notice=say,
            stop=stop,
            tracer=tracer,
        )
        say(f"{file}: {counted(len(listed), 'camera')}; Ctrl-C ends")
        report = Ingest(
            file,
            listed,
            seen=seen,
            read=lambda path: read_cameras(path, variable=value_of),
            outlet=outlet,
            open_camera=_opener(settings),
        ).run(on_tick=_turning(vitals, on_tick, limit_s=settings.stall_timeout_s))
    if received:
        say(f"stopped by {signal.Signals(received[0]).name}")
    typer.echo(json.dumps(report.as_json()) if as_json else report.summary())
    if report.problem is not None:
        raise report.problem
    if received:
        raise typer.Exit(128 + received[0])


def _turning(
    vitals: Vitals, on_tick: Callable[[list[CameraReport]], None] | None, *, limit_s: float
) -> Callable[[list[CameraReport]], None]:
    """Note each tick: the loop that looks after the cameras turns."""

    def tick(reports: list[CameraReport]) -> None:
        vitals.turn("loop over the cameras", limit_s=limit_s)
        if on_tick is not None:
            on_tick(reports)

    return tick


def _opener(settings: Settings) -> Callable[[CameraSpec], Source]:
    from producers.sources import open_source

    def open_camera(spec: CameraSpec) -> Source:
        return open_source(
            spec.source,
            settings,
            notice=lambda line: say(Line(f"camera {spec.name}: {line}", camera=spec.name)),
            open_timeout_s=spec.open_timeout_s,
            read_timeout_s=spec.read_timeout_s,
        )

    return open_camera


def _show_list(file: Path, listed: dict[str, CameraSpec], *, as_json: bool) -> None:
    rows = [_row(spec) for spec in listed.values()]
    if as_json:
        typer.echo(json.dumps({"file": str(file), "cameras": rows}))
        return
    for row in rows:
        typer.echo(
            f"{row['name']}: {row['source']}, grid {row['grid']}, {row['codec']}, fps {row['fps']}, {row['drop']}"
        )
    typer.echo(f"{file} is right: {counted(len(rows), 'enabled camera')}")


def _row(spec: CameraSpec) -> dict[str, Any]:
    from producers.cameras_file import shown_source

    return {**spec.model_dump(mode="json"), "source": shown_source(spec, variable=value_of)}


def _ledger(file: Path | None) -> AbstractContextManager[LedgerWriter | None]:
    from streamproc.ledger import LedgerWriter

    return nullcontext() if file is None else LedgerWriter(file)


@contextmanager
def _closing(publisher: Any) -> Iterator[Any]:
    """A publisher that is started, and stopped without waiting: what was to be waited for was waited for."""
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.close(timeout_s=0)


@contextmanager
def _table(*, quiet: bool) -> Iterator[Callable[[list[CameraReport]], None] | None]:
    if quiet or not err.is_terminal:
        yield None
        return
    with Live(console=err, auto_refresh=False, transient=True) as live:
        yield lambda reports: live.update(_drawn(reports), refresh=True)


def _drawn(reports: list[CameraReport]) -> Table:
    table = Table("camera", "state", "fps", "published", "dropped", "failed", box=None, pad_edge=False)
    running = sorted(
        (one for one in reports if one.state != "ended"), key=lambda one: (one.state == "online", one.camera)
    )
    for one in running[:_SHOWN]:
        state = one.state if one.state == "online" or one.reason is None else f"{one.state} ({one.reason})"
        figures = (one.counts.frames_published, one.counts.frames_dropped, one.counts.frames_failed)
        fps = "" if one.fps is None else f"{one.fps:.1f}"
        table.add_row(escape(one.camera), state, fps, *(str(figure) for figure in figures))
    if len(running) > _SHOWN:
        table.caption = f"and {len(running) - _SHOWN} more"
    return table
