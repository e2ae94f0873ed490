"""`streamproc archive`: keep topics as files, see what is kept, verify it, take events out of it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.cli.events import parse_time
from streamproc.cli.interrupts import stop_on_signals
from streamproc.errors import ArchiveError, CannotJudge, StoreError, UsageError
from streamproc.topics import Topics

if TYPE_CHECKING:
    from rich.progress import Progress

    from streamproc.archive.run import ArchiveRun, TopicRun
    from streamproc.archive.verify import Judgement

app = typer.Typer(help="Keep topics as files on a local disk, S3 or HDFS, and look after them.", no_args_is_help=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Url = Annotated[str, typer.Argument(help="Folder of the archive: a path, s3://..., hdfs://...")]
OnlyTopic = Annotated[str | None, typer.Option(help="Only this topic: a short name, or its full one.")]

SHORT = ("tiles", "features", "events", "edges", "deadletters")
INTERRUPTED = {2: 130, 15: 143}
WIDE = 240  # columns of a table that goes into a file or a pipe
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
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Write topics into MCAP files, on and on, until Ctrl-C; goes on right behind what is archived already."""
    from streamproc.archive.run import ArchiveRun
    from streamproc.archive.writer import Rules

    settings = settings_for(settings_file, bootstrap=bootstrap)
    rules = Rules(rotate_bytes=rotate_bytes, rotate_s=rotate_s, keep_s=keep_s, keep_bytes=keep_bytes)
    names = full_names(topics, Topics(settings.prefix))
    with stop_on_signals(lambda: err.print("stopping: completing open files (again: at once)")) as (stop, received):
        archiving = ArchiveRun(
            settings,
            url,
            names,
            rules=rules,
            start=start,
            until_end=until_end,
            stop=stop,
            told=lambda line: err.print(line, markup=False),
        )
        try:
            _run_shown(archiving, quiet=as_json, until_end=until_end)
        finally:
            _tell_run(archiving, as_json=as_json)
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
    from streamproc.archive.storage import Storage

    storage = Storage(url)
    found: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    for name in _held(storage, topic, settings_file):
        with _progress(as_json) as progress:
            task = progress.add_task(name, total=len(storage.files(name)))
            looks = look(storage, name, seen=lambda: progress.advance(task))  # noqa: B023 - called within this turn
        found.append((topic_facts(name, looks), [file_facts(one) for one in looks]))
    if as_json:
        typer.echo(json.dumps([{**facts, "each": each} for facts, each in found]))
    else:
        _print_topics([facts for facts, _ in found])
        if files:
            _print_files([file for _, each in found for file in each])
    problems = [problem for facts, _ in found for problem in facts["problems"]]
    if problems:
        raise ArchiveError(f"{_count(len(problems), 'file')} cannot be read, the first: {problems[0]}")


@app.command()
def verify(url: Url, topic: OnlyTopic = None, settings_file: SettingsFile = None, as_json: Json = False) -> None:
    """Read every byte and compare: checksums, each tile's digest, indexes, offsets. Exit 1 and say what is wrong.

    Exit 2 if the files cannot be looked at.
    """
    from streamproc.archive.storage import Storage
    from streamproc.archive.verify import verify as verify_topic

    judgements = []
    try:
        storage = Storage(url)
        for name in _held(storage, topic, settings_file):
            with _progress(as_json, of_bytes=True) as progress:
                task = progress.add_task(name, total=sum(file.size for file in storage.files(name)))
                judgements.append(
                    verify_topic(storage, name, read=lambda size: progress.advance(task, size))  # noqa: B023 - as above
                )
    except StoreError as error:
        raise CannotJudge(str(error)) from None
    wrong = sum(len(one.problems) + one.more for one in judgements)
    if as_json:
        typer.echo(json.dumps({"ok": not wrong, "topics": [_judgement_facts(one) for one in judgements]}))
    else:
        _tell_judgements(judgements)
    if wrong:
        raise typer.Exit(1)


@app.command()
def export(
    url: Url,
    out: Annotated[str, typer.Option(help="The Parquet file: a path, or a URL as for the archive.")],
    topic: Annotated[str, typer.Option(help="A topic of events: a short name, or its full one.")] = "events",
    camera: Annotated[str | None, typer.Option(help="Only of this camera.")] = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="Only events of this type: frame, track, rule, or a full ce_type.")
    ] = None,
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
    folder, slash, name = out.rpartition("/")
    if not name:
        raise UsageError(f"--out {out}: expected the name of a file")
    from streamproc.archive import ArchiveReader
    from streamproc.archive.export import export as export_events
    from streamproc.archive.storage import Storage

    (wanted_topic,) = full_names(topic, Topics(settings_for(settings_file).prefix))
    reader = ArchiveReader(url, wanted_topic)
    ranges = {partition: reader.bounds(partition) for partition in reader.partitions()}
    full_kind = kind if kind is None or "." in kind else f"io.streamproc.{kind}.v1"

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
            records = progress.track(
                reader.read(ranges), total=sum(high - low for low, high in ranges.values()), description=wanted_topic
            )
            done = export_events(records, file, wanted=wanted)
        file.publish()
    except BaseException:
        file.discard()
        raise
    if as_json:
        told = {"out": out, "events": done.events, "skipped": done.skipped, "passed_over": done.passed_over}
        typer.echo(json.dumps({**told, "bytes": file.size}))
        return
    skipped = f", {done.skipped} records that are no events skipped" if done.skipped else ""
    typer.echo(f"wrote {_count(done.events, 'event')}, {_size(file.size)}, to {out}{skipped}")


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


def _held(storage: Any, topic: str | None, settings_file: Any) -> list[str]:
    """The topics to look at.

    Raises:
        ArchiveError: There are none.
    """
    held: list[str] = storage.topics()
    if not held:
        raise ArchiveError(f"{storage.url} holds no archive files: streamproc archive run writes them")
    if topic is None:
        return held
    (name,) = full_names(topic, Topics(settings_for(settings_file).prefix))
    if name not in held:
        raise ArchiveError(f"{storage.url} holds no files of topic {name}; it holds {', '.join(held)}")
    return [name]


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
        disable=quiet,
    )


def _run_shown(archiving: ArchiveRun, *, quiet: bool, until_end: bool) -> None:
    """Run with a line for each topic."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=err, transient=True, disable=quiet, refresh_per_second=4) as progress:
        tasks = [progress.add_task(one.topic, total=None, told="") for one in archiving.topics]
        before = [(time.monotonic(), 0)] * len(tasks)

        def every() -> None:
            for at, (task, one) in enumerate(zip(tasks, archiving.topics, strict=True)):
                now_s, last_s = time.monotonic(), before[at][0]
                taken = one.written.taken_bytes
                if now_s - last_s < 1:
                    continue
                speed = (taken - before[at][1]) / (now_s - last_s)
                before[at] = (now_s, taken)
                told = f"{one.written.taken} records, {_size(taken)}, {_size(speed)}/s, {one.written.files} files"
                total = one.target or 1 if until_end else None
                progress.update(task, completed=one.written.taken if until_end else 0, total=total, told=told)

        archiving.run(every=every)


def _tell_run(archiving: ArchiveRun, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"topics": [_run_facts(one) for one in archiving.topics]}))
        return
    for one in archiving.topics:
        done = one.written
        gaps = f", {_count(len(done.gaps), 'gap')} (told above)" if done.gaps else ""
        deleted = f", {_count(done.deleted, 'old file')} deleted" if done.deleted else ""
        typer.echo(
            f"{one.topic}: {_count(done.records, 'record')}, {_size(done.payload_bytes)}, in"
            f" {_count(done.files, 'file')}{gaps}{deleted}"
        )


def _run_facts(one: TopicRun) -> dict[str, Any]:
    done = one.written
    return {
        "topic": one.topic,
        "files": done.files,
        "records": done.records,
        "payload_bytes": done.payload_bytes,
        "file_bytes": done.file_bytes,
        "deleted_files": done.deleted,
        "gaps": [
            {"partition": gap.partition, "first": gap.first, "last": gap.last, "why": gap.why} for gap in done.gaps
        ],
        "next": {str(partition): offset for partition, offset in sorted(one.positions.items())},
        "error": None if one.error is None else " ".join(str(one.error).split()),
    }


def _print_topics(topics: list[dict[str, Any]]) -> None:
    table = _table("topic", "partition", "offsets", "records", "from", "to", "cameras")
    for facts in topics:
        many = f"{len(facts['cameras'])}{'+' if facts['more_cameras'] else ''}"
        cameras = f"{many}: {', '.join(facts['cameras'][:5])}" if facts["cameras"] else "-"
        files = f"{_count(facts['files'], 'file')}, {_size(facts['bytes'])}"
        row = (
            facts["topic"],
            "all",
            files,
            str(facts["records"]),
            _when(facts["from_ms"]),
            _when(facts["to_ms"]),
            cameras,
        )
        table.add_row(*map(Text, row), style="bold")
        for one in facts["partitions"]:
            offsets = f"{one['first']} to {one['last']}"
            times = (_when(one["from_ms"]), _when(one["to_ms"]))
            table.add_row(*map(Text, ("", str(one["partition"]), offsets, str(one["records"]), *times, "")))
        for gap in facts["gaps"]:
            missing = f"{gap['first']} to {gap['last']}"
            table.add_row(*map(Text, ("", str(gap["partition"]), missing, f"gap: {gap['why']}", "", "", "")))
    _console().print(table)


def _print_files(files: list[dict[str, Any]]) -> None:
    table = _table("file", "bytes", "records", "from", "to", "cameras")
    for one in files:
        name = f"{one['topic']}/{one['file']}"
        if "problem" in one:
            table.add_row(*map(Text, (name, _size(one["bytes"]), "unreadable", "", "", "")), style="red")
            continue
        times = (_when(one["from_ms"]), _when(one["to_ms"]))
        cells = (name, _size(one["bytes"]), str(one["records"]), *times, ", ".join(one["cameras"][:5]))
        table.add_row(*map(Text, cells))
    _console().print(table)


def _tell_judgements(judgements: list[Judgement]) -> None:
    for one in judgements:
        for problem in one.problems:
            typer.echo(f"{problem.kind}: {problem.topic}/{problem.file}: {problem.what}")
        if one.more:
            typer.echo(f"and {one.more} more problems of topic {one.topic}")
        explained = f", {_count(len(one.gaps), 'gap')} that the archive tells of" if one.gaps else ""
        wrong = len(one.problems) + one.more
        found = _count(wrong, "problem") if wrong else "all well"
        typer.echo(
            f"{one.topic}: {_count(one.files, 'file')}, {_size(one.bytes)}, {_count(one.records, 'record')},"
            f" {one.tiles} digests of tiles compared{explained}: {found}"
        )


def _judgement_facts(one: Judgement) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "files": one.files,
        "bytes": one.bytes,
        "records": one.records,
        "tiles": one.tiles,
        "gaps": [
            {"partition": gap.partition, "first": gap.first, "last": gap.last, "why": gap.why} for gap in one.gaps
        ],
        "problems": [{"file": problem.file, "kind": problem.kind, "what": problem.what} for problem in one.problems],
        "more_problems": one.more,
    }


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name != "cameras")
    return table


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def _when(time_ms: int | None) -> str:
    if time_ms is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):
        return "-"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _size(count: float) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count:.0f} B"
