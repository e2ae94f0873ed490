"""What the commands of `streamproc archive` print: tables, lines, the facts for JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.words import counted

if TYPE_CHECKING:
    from streamproc.archive.session import TopicRun
    from streamproc.archive.verify import Judgement

WIDE = 240  # columns of a table that goes into a file or a pipe
GAPS = 100  # told one by one, of a topic in a part


def part_name(topic: str, epoch: int) -> str:
    """A topic as it lies in the archive: later ones of the same name in folders of their own."""
    return topic if epoch == 1 else f"epoch-{epoch}/{topic}"


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= step:
            return f"{number / step:.1f} {unit}"
    return f"{number:.0f} B"


def tell_run(topics: list[TopicRun], *, as_json: bool) -> None:
    """What a run has done, topic by topic."""
    if as_json:
        typer.echo(json.dumps({"topics": [_run_facts(one) for one in topics]}))
        return
    for one in topics:
        done = one.written
        gaps = f", {counted(len(done.gaps), 'gap')} (told above)" if done.gaps else ""
        deleted = f", {counted(done.deleted, 'old file')} deleted" if done.deleted else ""
        typer.echo(
            f"{one.topic}: {counted(done.records, 'record')}, {size(done.payload_bytes)}, in"
            f" {counted(done.files, 'file')}{gaps}{deleted}"
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


def print_topics(topics: list[dict[str, Any]]) -> None:
    """A table of topics, their partitions and gaps."""
    table = _table("topic", "partition", "offsets", "records", "from", "to", "cameras")
    for facts in topics:
        many = f"{len(facts['cameras'])}{'+' if facts['more_cameras'] else ''}"
        cameras = f"{many}: {', '.join(facts['cameras'][:5])}" if facts["cameras"] else "-"
        files = f"{counted(facts['files'], 'file')}, {size(facts['bytes'])}"
        row = (
            part_name(facts["topic"], facts["epoch"]),
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


def print_files(files: list[dict[str, Any]]) -> None:
    """A table of files."""
    table = _table("file", "bytes", "records", "from", "to", "cameras")
    for one in files:
        name = f"{part_name(one['topic'], one['epoch'])}/{one['file']}"
        if "problem" in one:
            table.add_row(*map(Text, (name, size(one["bytes"]), "unreadable", "", "", "")), style="red")
            continue
        times = (_when(one["from_ms"]), _when(one["to_ms"]))
        cells = (name, size(one["bytes"]), str(one["records"]), *times, ", ".join(one["cameras"][:5]))
        table.add_row(*map(Text, cells))
    _console().print(table)


def tell_judgements(judgements: list[Judgement]) -> None:
    """What was found, topic by topic, a line for each problem and for each gap that the archive tells of."""
    from streamproc.archive.look import gap_text

    for one in judgements:
        name = part_name(one.topic, one.epoch)
        for problem in one.problems:
            typer.echo(f"{problem.kind}: {name}/{problem.file}: {problem.what}")
        if one.more:
            typer.echo(f"and {one.more} more problems of topic {name}")
        for gap in one.gaps[:GAPS]:
            typer.echo(gap_text(name, gap))
        if len(one.gaps) > GAPS:
            typer.echo(f"and {len(one.gaps) - GAPS} more gaps of topic {name}")
        typer.echo(f"{name}: {_judged(one)}")


def _judged(one: Judgement) -> str:
    explained = f", {counted(len(one.gaps), 'gap')} that the archive tells of" if one.gaps else ""
    outside = f" ({one.outside} more refer to pixels from before this archive)" if one.outside else ""
    references = f", {one.references} references to earlier pixels{outside}" if one.references or one.outside else ""
    wrong = len(one.problems) + one.more
    found = counted(wrong, "problem") if wrong else "all well"
    return (
        f"{counted(one.files, 'file')}, {size(one.bytes)}, {counted(one.records, 'record')},"
        f" {one.tiles} digests of tiles compared{references}{explained}: {found}"
    )


def judgement_facts(one: Judgement) -> dict[str, Any]:
    """What was found in a topic, as JSON has it."""
    return {
        "topic": one.topic,
        "epoch": one.epoch,
        "files": one.files,
        "bytes": one.bytes,
        "records": one.records,
        "tiles": one.tiles,
        "references": one.references,
        "references_outside": one.outside,
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
