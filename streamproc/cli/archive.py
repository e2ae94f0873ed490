"""`streamproc archive`: keep topics as files, see what is kept, verify it, take events out of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streamproc.cli.archive_shown import (
    judgement_facts,
    print_files,
    print_topics,
    size,
    tell_judgements,
    tell_run,
)
from streamproc.cli.connect import Bootstrap, Json, MetricsPort, SettingsFile, settings_for
from streamproc.cli.events import parse_time
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err, say
from streamproc.cli.sink import parse_kind
from streamproc.errors import ArchiveError, CannotJudge, UsageError
from streamproc.topics import Topics
from streamproc.words import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from streamproc.archive import ArchiveReader
    from streamproc.archive.run import ArchiveRun
    from streamproc.archive.storage import Storage
    from streamproc.metrics import Metrics
    from streamproc.reader import Record

app = typer.Typer(help="Keep topics as files on a local disk, S3 or HDFS, and look after them.", no_args_is_help=True)

Url = Annotated[str, typer.Argument(help="Folder of the archive: a path, s3://..., hdfs://...")]
OnlyTopic = Annotated[str | None, typer.Option(help="Only this topic: a short name, or its full one.")]

SHORT = ("tiles", "features", "events", "edges", "deadletters")
INTERRUPTED = {2: 130, 15: 143}
_GIB = 2**30


@app.command()
def run(
    url: Url,
    topics: Annotated[
        str,
        typer.Option(help="Topics, separated by commas: tiles, features, events, edges, deadletters, or full names."),
    ] = "tiles,events",
    start: Annotated[
        Literal["beginning", "now"],
        typer.Option("--from", help="Where to begin with a topic of which nothing is archived yet."),
    ] = "beginning",
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop at the end of the log as it is now, instead of going on.")
    ] = False,
    rotate_bytes: Annotated[int, typer.Option(min=2**16, max=64 * _GIB, help="A file ends at this size.")] = 256
    * 2**20,
    rotate_s: Annotated[
        float,
        typer.Option(min=1, max=86_400, help="A file ends at this age; keep it well below the topics' retention."),
    ] = 300,
    keep_s: Annotated[
        float | None, typer.Option(min=1, help="Delete files whose newest record is older. Default: keep all.")
    ] = None,
    keep_bytes: Annotated[
        int | None, typer.Option(min=1, help="Delete the oldest files while those of a topic take more.")
    ] = None,
    outage_s: Annotated[
        float,
        typer.Option(
            min=0,
            max=30 * 86_400,
            help="Longest outage of broker or store that is waited out once a topic was begun; then it ends.",
        ),
    ] = 86_400,
    metrics_port: MetricsPort = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Write topics into MCAP files, on and on, until Ctrl-C; goes on right behind what is archived already."""
    from streamproc.archive.run import ArchiveRun
    from streamproc.archive.writer import Rules
    from streamproc.exporter import exported
    from streamproc.surroundings import local_path, surroundings
    from streamproc.vitals import Vitals, Wanted

    settings = settings_for(settings_file, bootstrap=bootstrap, metrics_port=metrics_port)
    rules = Rules(rotate_bytes=rotate_bytes, rotate_s=rotate_s, keep_s=keep_s, keep_bytes=keep_bytes)
    names = full_names(topics, Topics(settings.prefix))
    with (
        stop_on_signals(lambda: err.print("stopping: completing open files (again: at once)")) as (stop, received),
        exported(settings, vitals := Vitals("archive", wanted=Wanted(tuple(names)), stopping=stop.is_set)) as metrics,
        surroundings(metrics, settings, places={"archive": local_path(url)}),
    ):
        archiving = ArchiveRun(
            settings,
            url,
            names,
            rules=rules,
            start=start,
            until_end=until_end,
            outage_s=outage_s,
            stop=stop,
            told=say,
        )
        try:
            turned = partial(vitals.turn, "loop of the archive", limit_s=settings.stall_timeout_s)
            _run_shown(archiving, metrics, turned, quiet=as_json, until_end=until_end)
        except BaseException:
            if begun := [one for one in archiving.topics if one.ends is not None]:
                tell_run(archiving.topics if as_json else begun, as_json=as_json)
            raise
        tell_run(archiving.topics, as_json=as_json)
        if received:
            raise typer.Exit(INTERRUPTED[received[0]])


@app.command()
def ls(
    url: Url,
    topic: OnlyTopic = None,
    files: Annotated[bool, typer.Option("--files", help="One line for each file as well.")] = False,
    settings_file: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Tell what an archive holds: files, partitions, offsets, times, cameras, bytes. Reads only the ends of files."""
    from streamproc.archive.look import file_facts, look, topic_facts

    found: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    for storage, name in _held(url, topic, settings_file):
        with _progress(as_json) as progress:
            task = progress.add_task(name, total=len(storage.files(name)))
            looks = look(storage, name, seen=lambda: progress.advance(task))  # noqa: B023 - called within this turn
        part = {"epoch": storage.epoch, "url": storage.url}
        found.append(({**topic_facts(name, looks), **part}, [{**file_facts(one), **part} for one in looks]))
    if as_json:
        typer.echo(json.dumps([{**facts, "each": each} for facts, each in found]))
    else:
        print_topics([facts for facts, _ in found])
        if files:
            print_files([file for _, each in found for file in each])
    problems = [problem for facts, _ in found for problem in facts["problems"]]
    if problems:
        raise ArchiveError(f"{counted(len(problems), 'file')} cannot be read, the first: {problems[0]}")


@app.command()
def verify(url: Url, topic: OnlyTopic = None, settings_file: SettingsFile = None, as_json: Json = False) -> None:
    """Read every byte and compare: checksums, each tile's digest, indexes, offsets. Exit 1 and say what is wrong.

    Exit 2 if the files cannot be looked at.
    """
    from streamproc.archive.verify import verify as verify_topic

    judgements = []
    try:
        for storage, name in _held(url, topic, settings_file):
            with _progress(as_json, of_bytes=True) as progress:
                task = progress.add_task(name, total=sum(file.size for file in storage.files(name)))
                judgements.append(
                    verify_topic(storage, name, read=lambda more: progress.advance(task, more))  # noqa: B023 - as above
                )
    except ArchiveError as error:
        raise CannotJudge(str(error)) from None
    wrong = sum(len(one.problems) + one.more for one in judgements)
    if as_json:
        typer.echo(json.dumps({"ok": not wrong, "topics": [judgement_facts(one) for one in judgements]}))
    else:
        tell_judgements(judgements)
    if wrong:
        raise typer.Exit(1)


@app.command()
def export(
    url: Url,
    out: Annotated[str, typer.Option(help="The Parquet file: a path, or a URL as for the archive.")],
    topic: Annotated[str, typer.Option(help="A topic of events: a short name, or its full one.")] = "events",
    camera: Annotated[str | None, typer.Option(help="Only of this camera.")] = None,
    kind: Annotated[
        str,
        typer.Option("--type", help="Only these events: frame, track, rule, anomaly, camera, a full ce_type, or all."),
    ] = "all",
    since: Annotated[
        str | None, typer.Option("--from", help="Capture time (2026-01-31T12:00:00) or age (90s, 15m, 2h).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same, exclusive.")] = None,
    settings_file: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Write archived events into a Parquet file: typed columns, and each whole event as JSON."""
    now_s = time.time()
    since_ms = parse_time(since, now_s=now_s, name="--from")
    until_ms = parse_time(until, now_s=now_s, name="--to")
    if since_ms is not None and until_ms is not None and until_ms <= since_ms:
        raise UsageError(f"--to {until} is not after --from {since}")
    full_kind = _full_kind(kind)
    folder, slash, name = out.rpartition("/")
    if not name:
        raise UsageError(f"--out {out}: expected the name of a file")
    from streamproc.archive import ArchiveReader
    from streamproc.archive.export import export as export_events
    from streamproc.archive.storage import Storage

    sources = [ArchiveReader(part, name) for part, name in _held(url, topic, settings_file)]

    def wanted(row: dict[str, Any]) -> bool:
        time_ms = None if row["time"] is None else row["time"] // 1000
        return (
            (camera is None or row["camera"] == camera)
            and (full_kind is None or row["type"] == full_kind)
            and (since_ms is None or (time_ms is not None and time_ms >= since_ms))
            and (until_ms is None or (time_ms is not None and time_ms < until_ms))
        )

    file = Storage(folder or ("/" if slash else ".")).create_beside(name)
    try:
        with _progress(as_json) as progress:
            records = progress.track(_records(sources), total=_total(sources), description=topic)
            done = export_events(records, file, wanted=wanted)
        file.publish()
    except BaseException:
        file.discard()
        raise
    if as_json:
        told = {"out": out, "events": done.events, "skipped": done.skipped, "passed_over": done.passed_over}
        damaged = [line for source in sources for line in source.damaged]
        typer.echo(json.dumps({**told, "bytes": file.size, "damaged": damaged}))
        return
    skipped = f", {done.skipped} records that are no events skipped" if done.skipped else ""
    typer.echo(f"wrote {counted(done.events, 'event')}, {size(file.size)}, to {out}{skipped}")


def _full_kind(kind: str) -> str | None:
    """The ce_type of a kind of events; None for all.

    Raises:
        UsageError: There is no such kind.
    """
    if "." in kind:
        return kind
    known = parse_kind(kind)
    return None if known is None else f"io.streamproc.{known}.v1"


def full_names(names: str, topics: Topics) -> list[str]:
    """Topics as Kafka names them, from short or full names separated by commas.

    Raises:
        UsageError: None is named.
    """
    given = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not given:
        raise UsageError(f"name at least one topic: {', '.join(SHORT)}")
    if unknown := [name for name in given if name not in SHORT and "." not in name]:
        raise UsageError(f"there is no topic {unknown[0]!r}: use {', '.join(SHORT)}, or a full name")
    return list(dict.fromkeys(getattr(topics, name) if name in SHORT else name for name in given))


def _held(url: str, topic: str | None, settings_file: Any) -> list[tuple[Storage, str]]:
    """The topics to look at, each with the part of the archive where it lies, oldest part first.

    Raises:
        ArchiveError: There are none.
    """
    from streamproc.archive.storage import Storage

    storage = Storage(url)
    held = [(part, name) for part in storage.epochs() for name in part.topics()]
    if not held:
        raise ArchiveError(f"{storage.url} holds no archive files: streamproc archive run writes them")
    if topic is None:
        return held
    (wanted,) = full_names(topic, Topics(settings_for(settings_file).prefix))
    found = [(part, name) for part, name in held if name == wanted]
    if not found:
        others = ", ".join(dict.fromkeys(name for _, name in held))
        raise ArchiveError(f"{storage.url} holds no files of topic {wanted}; it holds {others}")
    return found


def _records(sources: Sequence[ArchiveReader]) -> Iterator[Record]:
    """All that these hold, one after the other."""
    for source in sources:
        yield from source.read({partition: source.bounds(partition) for partition in source.partitions()})


def _total(sources: Sequence[ArchiveReader]) -> int:
    bounds = [source.bounds(partition) for source in sources for partition in source.partitions()]
    return sum(high - low for low, high in bounds)


def _progress(quiet: bool, *, of_bytes: bool = False) -> Progress:
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn(binary_units=True) if of_bytes else MofNCompleteColumn()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        amount,
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    )


def _run_shown(
    archiving: ArchiveRun, metrics: Metrics, turned: Callable[[], None], *, quiet: bool, until_end: bool
) -> None:
    """Run with a line for each topic; `turned` is called each time round."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    from streamproc.archive.meter import ArchiveMeter

    meter = ArchiveMeter(metrics, archiving.topics, now_s=time.monotonic())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    off = quiet or not err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=off, refresh_per_second=4) as progress:
        tasks = [progress.add_task(one.topic, total=None, told="") for one in archiving.topics]
        before = [(time.monotonic(), 0)] * len(tasks)

        def every() -> None:
            turned()
            meter.show(now_s=time.monotonic(), wall_s=time.time())
            for at, (task, one) in enumerate(zip(tasks, archiving.topics, strict=True)):
                now_s, last_s = time.monotonic(), before[at][0]
                taken = one.written.taken_bytes
                if now_s - last_s < 1:
                    continue
                speed = (taken - before[at][1]) / (now_s - last_s)
                before[at] = (now_s, taken)
                told = f"{one.written.taken} records, {size(taken)}, {size(speed)}/s, {one.written.files} files"
                total = one.target or 1 if until_end else None
                progress.update(task, completed=one.written.taken if until_end else 0, total=total, told=told)

        archiving.run(every=every)
