"""`streamproc sink`: events out of Kafka, into files, databases, streams and webhooks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err, say
from streamproc.errors import SinkUnavailable, UsageError
from streamproc.settings import NAME_PATTERN, Settings
from streamproc.topics import Topics
from streamproc.words import counted

if TYPE_CHECKING:
    from streamproc.sinks import Address, Report
    from streamproc.vitals import Vitals

TargetUrl = Annotated[
    str | None,
    typer.Argument(
        metavar="URL",
        help="jsonl:PATH, parquet:DIR, sqlite:///FILE, postgresql://..., redis://HOST/STREAM, https://...;"
        " default: STREAMPROC_SINK_URL.",
    ),
]
Kind = Annotated[str, typer.Option("--type", help="Only these events: frame, track, rule, anomaly, camera, or all.")]
_STARTS: dict[str, Literal["beginning", "committed", "now"]] = {
    "beginning": "beginning",
    "committed": "committed",
    "now": "now",
}
_TOLD_EVERY_S = 0.2


def sink(
    url: TargetUrl = None,
    camera: Annotated[str | None, typer.Option(help="Only events of this camera.")] = None,
    kind: Kind = "all",
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where to begin: committed (where this sink stopped; the beginning if it is new), beginning, now.",
        ),
    ] = "committed",
    until_end: Annotated[bool, typer.Option("--until-end", help="End when all that is in the log is written.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of this sink, which its position belongs to; default: from the target.")
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(help="File for events that a webhook refuses for good; without it the sink stops at the first."),
    ] = None,
    give_up_after: Annotated[
        float | None, typer.Option(min=1, help="Seconds that a target may not answer; default: waited for without end.")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of the Prometheus exporter; 0 is off.")] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Write events into a target, each once, and go on where it stopped; Ctrl-C ends it with all that was read written.

    A target that is away is waited for. Passwords stand in STREAMPROC_SINK_PASSWORD, never in an argument.
    """
    settings = settings_for(settings_file, bootstrap=bootstrap, metrics_port=metrics_port)
    from streamproc.exporter import exported
    from streamproc.sinks import Choice, Options, drive, open_sink
    from streamproc.sinks.log import KafkaLog
    from streamproc.surroundings import surroundings
    from streamproc.vitals import Vitals, Wanted

    if start not in _STARTS:
        raise UsageError(f"--from {start!r}: use committed, beginning or now")
    choice = Choice(camera=camera, kind=parse_kind(kind))
    address = target_of(url, settings)
    topics = Topics(settings.prefix)
    named = _name(name, address.default_name(str(choice), settings.prefix))
    target = open_sink(address, settings, name=named, topic=topics.events, refused=refused)
    options = Options(
        kind=address.kind,
        topic=topics.events,
        choice=choice,
        start=_STARTS[start],
        until_end=until_end,
        give_up_after_s=give_up_after,
    )
    log = KafkaLog(settings, topics.events, group=f"{settings.prefix}sink-{named}", told=say)
    if not as_json:
        say(f"events of {topics.events} to {address.shown} as {named}")
    with (
        stop_on_signals(lambda: say("stopping: what was read is written")) as (stop, received),
        exported(settings, vitals := Vitals("sink", wanted=Wanted((topics.events,)), stopping=stop.is_set)) as metrics,
        surroundings(metrics, settings, places={"sink": address.path, "refused": refused}),
        _progress(quiet=as_json) as progress,
    ):
        report = drive(
            log,
            target,
            options,
            metrics=metrics,
            stop=_turning(vitals, stop.is_set, limit_s=settings.stall_timeout_s),
            told=say,
            away=lambda why: vitals.trouble(
                "target", None if why is None else f"{why}: nothing is lost, it is waited for"
            ),
            progress=progress,
        )
    _tell(report, address, named, as_json=as_json)
    if received:
        raise typer.Exit(128 + received[0])
    if report.problem is not None:
        raise SinkUnavailable(f"{address.shown}: {report.problem}")


def _turning(vitals: Vitals, stop: Callable[[], bool], *, limit_s: float) -> Callable[[], bool]:
    """Note each question whether to stop: the loop that asks it turns."""

    def asked() -> bool:
        vitals.turn("loop of the sink", limit_s=limit_s)
        return stop()

    return asked


def target_of(url: str | None, settings: Settings) -> Address:
    """The target that an argument or the settings name.

    Raises:
        UsageError: Neither does, or it cannot be used.
    """
    from streamproc.sinks import parse_address
    from streamproc.sinks.address import FORMS

    password = None if settings.sink_password is None else settings.sink_password.get_secret_value()
    if url is not None:
        return parse_address(url, password=password, visible=True)
    if settings.sink_url is None:
        raise UsageError(f"no target: name one ({FORMS}), or set STREAMPROC_SINK_URL")
    return parse_address(settings.sink_url.get_secret_value(), password=password, visible=False)


def parse_kind(text: str) -> str | None:
    """A kind of events; None for all.

    Raises:
        UsageError: Another word.
    """
    from streamproc.sinks.event import KINDS

    if text == "all":
        return None
    if text not in KINDS:
        raise UsageError(f"--type {text!r}: use {', '.join(KINDS)} or all")
    return text


def _name(given: str | None, default: str) -> str:
    import re

    if given is None:
        return default
    if not re.match(NAME_PATTERN, given):
        raise UsageError(f"--name {given!r}: use letters, digits, '.', '_' and '-', at most 100")
    return given


def _tell(report: Report, address: Address, name: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"target": address.shown, "name": name, **report.as_json()}))
        return
    more = {
        "known already": report.known,
        "refused": report.refused,
        "unreadable": report.unreadable,
        "removed by retention before they were read": report.missing,
        "read and not written": report.unwritten,
    }
    said = "".join(f", {count} {what}" for what, count in more.items() if count)
    written, left = counted(report.written, "event"), counted(report.behind, "record")
    typer.echo(f"{written} written to {address.shown}{said}; {left} left")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Report], None]]:
    """A bar on a terminal: events written, of those and what is left."""
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    last_s = 0.0
    with Progress(*columns, console=err, disable=quiet or not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("records written", total=None)

        def heard(report: Report) -> None:
            nonlocal last_s
            if time.monotonic() - last_s >= _TOLD_EVERY_S:
                last_s = time.monotonic()
                done = report.written + report.known + report.refused + report.passed_over
                bar.update(task, completed=done, total=done + report.behind)

        yield heard
