"""All commands in one app, and what becomes of errors and interrupts."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer
from rich.console import Console

from streamproc import __version__
from streamproc.cli import (
    archive,
    bench,
    broker,
    deadletters,
    demo,
    diff,
    doctor,
    events,
    faces,
    ingest,
    operators,
    produce,
    query,
    replay,
    rerun,
    retrieval,
    show,
    sink,
    stitch,
    topics,
    train,
    verify,
    view,
    worker,
)
from streamproc.errors import StreamprocError
from streamproc.logs import LEVELS, as_json, prefer_logging
from streamproc.settings import value_of

app = typer.Typer(
    name="streamproc",
    help="A Kafka streaming processor for image and video frames: tiles in, recognition events out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.add_typer(broker.app, name="broker")
app.add_typer(topics.app, name="topics")
app.command("produce")(produce.produce)
app.command("split")(produce.split)
app.command("replay")(replay.replay)
app.command("rerun")(rerun.rerun)
app.command("ingest")(ingest.ingest)
app.command("worker")(worker.worker)
app.add_typer(operators.operators_app, name="operators")
app.add_typer(operators.pipeline_app, name="pipeline")
app.command("events")(events.events)
app.command("show")(show.show)
app.command("clip")(show.clip)
app.command("diff")(diff.diff)
app.command("view")(view.view)
app.command("sink")(sink.sink)
app.command("query")(query.query)
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(archive.app, name="archive")
app.command("verify")(verify.verify)
app.command("train")(train.train)
app.command("index")(retrieval.index)
app.command("search")(retrieval.search)
app.add_typer(faces.app, name="face")
app.command("stitch")(stitch.stitch)
app.add_typer(bench.app, name="bench")
app.command("doctor")(doctor.doctor)

INTERRUPTED = 130
_TRUE = ("1", "true", "t", "yes", "y", "on")  # what settings take for true


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamproc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    log_level: Annotated[
        str | None,
        typer.Option(
            help=f"Lowest level of log lines shown: {', '.join(LEVELS)}; default: STREAMPROC_LOG_LEVEL, else WARNING,"
            " INFO for a worker."
        ),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log lines as JSON objects; default: STREAMPROC_LOG_JSON.")
    ] = False,
) -> None:
    prefer_logging(level=None if log_level is None else log_level.upper(), as_json=log_json or None)


def run() -> None:
    """Run the command line; an error a user is meant to read is one line on stderr and its exit code."""
    if "--log-json" in sys.argv[1:] or (value_of("STREAMPROC_LOG_JSON") or "").lower() in _TRUE:
        prefer_logging(as_json=True)  # before anything is parsed: what is wrong with it must be JSON too
        sys.exit(_run_for_machines())
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app()
    except StreamprocError as error:
        if as_json():  # a settings file says so
            _log_error(error, str(error), error.exit_code)
        else:
            console.print("[bold red]error:[/]", _one_line(error), markup=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.print("interrupted")
        sys.exit(INTERRUPTED)


def _log_error(error: Exception, words: str, code: int) -> int:
    logging.getLogger("streamproc.cli").critical(
        " ".join(words.split()), extra={"kind": type(error).__name__, "exit_status": code}
    )
    return code


def _run_for_machines() -> int:
    """As `run`, with every line on stderr a JSON object; returns the exit status."""
    log = logging.getLogger("streamproc.cli")
    try:
        status = app(standalone_mode=False)
    except StreamprocError as error:
        return _log_error(error, str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        log.warning("interrupted", extra={"exit_status": INTERRUPTED})
        return INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # what typer raises for what was typed has one, and no public base
            raise
        return _log_error(error, error.format_message(), int(getattr(error, "exit_code", 2)))
    return status if isinstance(status, int) else 0


def _one_line(error: Exception) -> str:
    from rich.markup import escape

    return escape(" ".join(str(error).split()))
