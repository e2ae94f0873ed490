"""`streamproc events`: read recognition events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err
from streamproc.cloudevents import structured_event
from streamproc.errors import BadMessage, UsageError
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition


def events(
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events until Ctrl-C.")] = False,
    since: Annotated[
        str | None, typer.Option("--from", help="Time (2026-01-31T12:00:00) or age (90s, 15m, 2h).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same, exclusive.")] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Print events, oldest first within a camera: one line each, or CloudEvents JSON lines with --json."""
    now_s = time.time()
    since_ms, until_ms = (
        parse_time(since, now_s=now_s, name="--from"),
        parse_time(until, now_s=now_s, name="--to"),
    )
    if since_ms is not None and until_ms is not None and until_ms <= since_ms:
        raise UsageError(f"--to {until} is not after --from {since}")
    settings = settings_for(settings_file, bootstrap=bootstrap)
    with stop_on_signals() as (stop, received):
        records = read_events(
            settings, camera=camera, since_ms=since_ms, until_ms=until_ms, follow=follow, stop=stop.is_set
        )
        shown = _show(records, camera=camera, as_json=as_json, stop=stop.is_set)
    if received:
        raise typer.Exit(128 + received[0])
    if not shown and not as_json:
        err.print(f"no events{f' of camera {camera}' if camera else ''} on {settings.bootstrap}", markup=False)


def _show(records: Iterator[Record], *, camera: str | None, as_json: bool, stop: Callable[[], bool]) -> int:
    """Print what are events; returns how many."""
    shown = 0
    for record in records:
        if stop():
            break
        try:
            event = structured_event(record.headers, record.value)
        except BadMessage as bad:
            err.print(f"skipped {record.topic}[{record.partition}]@{record.offset}: {bad}", markup=False)
            continue
        if camera is not None and event.get("source") != f"/cameras/{camera}":
            continue
        shown += 1
        typer.echo(json.dumps(event) if as_json else _line(event))
    return shown


def read_events(
    settings: Settings,
    *,
    camera: str | None,
    since_ms: int | None,
    until_ms: int | None,
    follow: bool,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """Records of the events topic in a time range (record timestamps), then new ones if `follow`, until `stop`."""
    with TopicReader(settings, Topics(settings.prefix).events) as reader:
        numbers = reader.partitions()
        if camera is not None:
            numbers = [camera_partition(camera, len(numbers))]
        ranges = {}
        for number in numbers:
            low, high = reader.bounds(number)
            start = reader.offset_at(number, since_ms=since_ms) if since_ms is not None else low
            end = reader.offset_at(number, since_ms=until_ms) if until_ms is not None else high
            ranges[number] = (start, max(start, end))
        yield from reader.read(ranges)
        if follow and until_ms is None:
            starts = {number: end for number, (_, end) in ranges.items()}
            yield from (record for record in reader.follow(starts, stop=stop) if record is not None)


def parse_time(text: str | None, *, now_s: float, name: str) -> int | None:
    """A point in time as milliseconds since 1970, from ISO 8601 (UTC unless it says otherwise) or an age like 15m.

    Raises:
        UsageError: Neither, or not of the years 1970 to 9999; the message names the option.
    """
    from producers.replay_choice import parse_moment

    moment_ns = parse_moment(text, now_s=now_s, name=name)
    return None if moment_ns is None else moment_ns // 10**6


def _happened(event: dict[str, Any], data: dict[str, Any]) -> str:
    """One line of what happened on a frame or to a camera."""
    kind = str(event.get("type", "?")).removeprefix("io.streamproc.").removesuffix(".v1")
    plain = {name: value for name, value in (data.get("data") or {}).items() if not isinstance(value, dict | list)}
    told = " ".join(f"{name}={value}" for name, value in plain.items())
    place = f"{data.get('camera')}/{event.get('subject')}"
    parts = [event.get("time", "?"), place, f"{kind} {data.get('what')}", data.get("subject") or "", told]
    return "  ".join(part for part in parts if part)


def _line(event: dict[str, Any]) -> str:
    data = event.get("data", {})
    if "outcome" not in data:
        return _happened(event, data)
    objects = ", ".join(f"{one['label']} {one['score']:.2f}" for one in data.get("objects", []))
    edges = data.get("edges") or {}
    parts = [
        event.get("time", "?"),
        f"{data.get('camera')}/{event.get('subject')}",
        str(data.get("outcome")),
        f"edges {100 * edges['density']:.1f} %" if edges else "",
        objects,
        f"{data.get('latency_ms', {}).get('total', 0):.0f} ms",
        data.get("reason") or "",
    ]
    return "  ".join(part for part in parts if part)
