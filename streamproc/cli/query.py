"""`streamproc query`: events out of a database that `streamproc sink` fills."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.cli.connect import Json, SettingsFile
from streamproc.cli.events import parse_time
from streamproc.cli.notices import err
from streamproc.cli.sink import Kind, TargetUrl, parse_kind, target_of
from streamproc.errors import SinkError, UsageError
from streamproc.settings import load_settings

WIDE = 240  # columns of a table that goes into a file or a pipe


def query(
    url: TargetUrl = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Time of capture (2026-01-31T12:00:00) or age (90s, 15m, 2h).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same, exclusive.")] = None,
    label: Annotated[
        str | None, typer.Option(help="Only events with an object, or about something, so labelled.")
    ] = None,
    kind: Kind = "all",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 100,
    settings_file: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Print events from SQLite or PostgreSQL, oldest first; CloudEvents JSON lines with --json."""
    now_s = time.time()
    since_ms, until_ms = parse_time(since, now_s=now_s, name="--from"), parse_time(until, now_s=now_s, name="--to")
    if since_ms is not None and until_ms is not None and until_ms <= since_ms:
        raise UsageError(f"--to {until} is not after --from {since}")
    asked_kind = parse_kind(kind)
    address = target_of(url, load_settings(file=settings_file))
    if address.kind != "sql":
        raise UsageError(f"{address.shown} is no database: query sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    try:
        from streamproc.sinks.querying import Asked
        from streamproc.sinks.querying import query as ask
    except ImportError as error:
        raise SinkError(f"a query needs {error.name}: pip install 'streamproc[sinks]'") from None
    asked = Asked(
        camera=camera, kind=asked_kind, since=_moment(since_ms), until=_moment(until_ms), label=label, limit=limit
    )
    found = ask(address, asked)
    if as_json:
        for event in found:
            typer.echo(json.dumps(event))
    elif not found:
        err.print(f"no events match in {address.shown}", markup=False)
    else:
        _show(found)
        if len(found) == limit:
            err.print(f"shown: the newest {limit} (--limit)")


def _moment(since_ms: int | None) -> datetime | None:
    return None if since_ms is None else datetime.fromtimestamp(since_ms / 1000, tz=UTC)


def _show(found: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time", "frame", "type", "what", "id"):
        table.add_column(name, no_wrap=True)
    for event in found:
        camera = str(event.get("source", "")).removeprefix("/cameras/")
        frame = f"{camera}/{event['subject']}" if event.get("subject") else camera
        kind = str(event.get("type", "")).removeprefix("io.streamproc.").removesuffix(".v1")
        cells = (str(event.get("time", "?")), frame, kind, _what(event), str(event.get("id", "")))
        table.add_row(*(Text(cell if cell.isprintable() else ascii(cell)) for cell in cells))
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=WIDE)).print(table)


def _what(event: dict[str, Any]) -> str:
    """In a few words: the objects of a frame, or what happened."""
    data = event.get("data")
    if not isinstance(data, dict):
        return ""
    objects = data.get("objects")
    labels = [str(one.get("label")) for one in objects if isinstance(one, dict)] if isinstance(objects, list) else []
    counted = [f"{labels.count(label)} {label}" for label in sorted(set(labels))]
    said = [str(data[name]) for name in ("what", "subject", "outcome") if data.get(name)]
    return ", ".join([*said, *counted])
