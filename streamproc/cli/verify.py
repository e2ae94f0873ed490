"""`streamproc verify`: judge from outside that nothing was lost and nothing came twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.errors import CannotJudge, StreamprocError

if TYPE_CHECKING:
    from streamproc.model import FrameKey
    from streamproc.verify import Finding, Verdict

_Name = TypeVar("_Name", bound=str)
_SHOWN = 10  # lines of findings of each kind


def verify(
    ledgers: Annotated[list[Path], typer.Argument(metavar="LEDGER...", help="Files that produce --ledger wrote.")],
    wait: Annotated[
        float, typer.Option(min=0, max=86_400, help="Wait so many seconds for events that are still to come.")
    ] = 0,
    pixels: Annotated[
        bool, typer.Option("--pixels/--no-pixels", help="Put frames together again from the log and compare them.")
    ] = True,
    metrics: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="http://HOST:PORT/metrics of each producer and worker; may be repeated."),
    ] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Compare producers' ledgers with what the log holds: lost, twice, foreign, out of order, wrong pixels.

    Run it when the producers have ended. Exit status: 0 all is well, 1 something is wrong, 2 it could not be judged (no
    broker, unreadable ledger, or a log that begins after the ledger's frames because of retention).

    With --metrics the summed counters of all processes must equal ledger and log when all is quiet. Counters of a
    process that was killed or has ended are gone, so after a kill they fall short of the log.
    """
    try:
        verdict = _judge(
            ledgers,
            settings_file=settings_file,
            bootstrap=bootstrap,
            wait_s=wait,
            pixels=pixels,
            metrics=metrics or [],
            quiet=as_json,
        )
    except StreamprocError as error:
        raise CannotJudge(str(error)) from None
    if as_json:
        typer.echo(json.dumps(verdict.as_json()))
    else:
        show(verdict, Console(highlight=False, soft_wrap=True))
    if verdict.exit_code:
        raise typer.Exit(verdict.exit_code)


def _judge(
    ledgers: list[Path],
    *,
    settings_file: Path | None,
    bootstrap: str | None,
    wait_s: float,
    pixels: bool,
    metrics: list[str],
    quiet: bool,
) -> Verdict:
    from streamproc.verify import verify as judge
    from streamproc.verify.look import read_ledgers

    ledger = read_ledgers(ledgers)
    settings = settings_for(settings_file, bootstrap=bootstrap)
    with _progress(quiet=quiet) as on_progress:
        return judge(settings, ledger, wait_s=wait_s, pixels=pixels, metrics=metrics, on_progress=on_progress)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Bars on a terminal, gone when all is read."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()
    ) as bars:
        tasks = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield told


def show(verdict: Verdict, console: Console) -> None:
    """Print a verdict: the books, what is wrong, what could not be judged, and one line that says it all."""
    console.print(_table(_books(verdict)))
    console.print(_table(_faults(verdict)))
    told = list(_findings(verdict))
    told += [Text(f"not compared  {note}", style="yellow") for note in verdict.notes]
    told += [Text(f"not judged    {cut}", style="yellow") for cut in verdict.cut]
    for line in told:
        console.print(line)
    if told:
        console.print()
    console.print(_conclusion(verdict))


def _table(rows: Iterable[tuple[Text, Text, Text]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(min_width=12, no_wrap=True)
    table.add_column(min_width=8, justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    table.add_row()
    return table


def _books(verdict: Verdict) -> Iterator[tuple[Text, Text, Text]]:
    def row(name: str, count: int, *told: str) -> tuple[Text, Text, Text]:
        return Text(name, style="bold"), Text(str(count)), Text("; ".join(part for part in told if part))

    yield row("frames", sum(verdict.frames.values()), _listed(verdict.frames))
    unproven = dict(verdict.unproven)
    yield row(
        "events",
        verdict.events,
        _listed(verdict.outcomes),
        f"frames not acknowledged: {_listed(unproven)}, both are right" if any(unproven.values()) else "",
        f"{verdict.other_events} more of other runs, not judged" if verdict.other_events else "",
    )
    yield row(
        "dead letters",
        sum(verdict.deadletters.values()),
        _listed(verdict.deadletters),
        f"{verdict.other_deadletters} more of other runs or unknown frames" if verdict.other_deadletters else "",
    )
    if verdict.pixels_checked is not None:
        gone = f"{verdict.pixels_unchecked} no longer in the log" if verdict.pixels_unchecked else ""
        yield row("pixels", verdict.pixels_checked, "frames in the log as the ledger has them", gone)


def _faults(verdict: Verdict) -> Iterator[tuple[Text, Text, Text]]:
    from streamproc.verify.verdict import KINDS

    looked = {"pixels": verdict.pixels_checked is not None, "counters": verdict.compared}
    for kind, meaning in KINDS.items():
        if looked.get(kind, True):
            count = verdict.counts.get(kind, 0)
            style = "bold red" if count else "green"
            yield Text(kind, style=style), Text(str(count), style=style), Text(meaning)


def _findings(verdict: Verdict) -> Iterator[Text]:
    """The first of each kind; frames of one run that follow each other share a line."""
    from streamproc.verify.verdict import MAX_TOLD

    for kind, count in verdict.counts.items():
        spans = _spans([finding for finding in verdict.findings if finding.kind == kind])
        for first, last in spans[:_SHOWN]:
            to = f" to {last.frame.sequence}" if last is not first and last.frame else ""
            where = f"{first.frame.camera}/{first.frame.run}/{first.frame.sequence}{to}: " if first.frame else ""
            yield Text.assemble((f"{kind:<14}", "bold red"), where, first.told)
        if len(spans) > _SHOWN or count > MAX_TOLD:
            yield Text(f"{'':<14}and more: {count} in all (--json tells the first {MAX_TOLD})")


def _spans(findings: Sequence[Finding]) -> list[tuple[Finding, Finding]]:
    """First and last of findings that say the same of frames that follow each other."""
    spans: list[tuple[Finding, Finding]] = []
    for finding in findings:
        last = spans[-1][1] if spans else None
        if last is not None and last.told == finding.told and _follows(last.frame, finding.frame):
            spans[-1] = spans[-1][0], finding
        else:
            spans.append((finding, finding))
    return spans


def _follows(before: FrameKey | None, after: FrameKey | None) -> bool:
    if before is None or after is None:
        return False
    return (before.camera, before.run, before.sequence + 1) == (after.camera, after.run, after.sequence)


def _conclusion(verdict: Verdict) -> Text:
    if not verdict.clean:
        return Text(f"wrong: {_listed(verdict.counts)}", style="bold red")
    if verdict.cut:
        return Text("nothing wrong was found, but not all could be judged", style="bold yellow")
    others = sum(count for outcome, count in verdict.outcomes.items() if outcome != "complete")
    told = f"{verdict.frames['acked']} acknowledged frames, each with one event"
    if others:
        return Text(f"nothing lost, nothing twice: {told}; {others} are not complete", style="bold yellow")
    return Text(f"all is well: {told}", style="bold green")


def _listed(counts: Mapping[_Name, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
