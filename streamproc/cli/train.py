"""`streamproc train`: a classifier from pictures whose label is known."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamproc.cli.connect import Json
from streamproc.cli.notices import err

if TYPE_CHECKING:
    from streamproc.train import Trained

SHOWN_SKIPPED = 10
SHOWN_LABELS = 40


class TrainKind(StrEnum):
    """As `streamproc.train.Kind`."""

    svm = "svm"
    softmax = "softmax"


def train(
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|digits|lfw",
            help="Folder that holds a folder of pictures for each label; or data of scikit-learn (digits) or"
            " scikit-image (lfw: face or no face).",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The model, ONNX; replaced if it is there.")],
    kind: Annotated[
        TrainKind, typer.Option(help="Support vector machine, or softmax regression: smaller and faster.")
    ] = TrainKind.svm,
    report: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write report.html, confusion.png and report.json there.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the random halves.")] = 0,
    splits: Annotated[int, typer.Option(min=1, max=50, help="Random halves that are held out, one after another.")] = 5,
    as_json: Json = False,
) -> None:
    """Train a classifier for the operator classify, and say how well it does on pictures held out."""
    from streamproc.train import require_report_libraries, write_report
    from streamproc.train import train as run

    if report is not None:
        require_report_libraries()
    with _progress(quiet=as_json) as progress:
        trained = run(data, kind.value, out, seed=seed, splits=splits, progress=progress)
    page = None if report is None else write_report(trained, report)
    if as_json:
        typer.echo(json.dumps(trained.as_json() | {"model": str(out), "report": None if page is None else str(page)}))
        return
    _tell_skipped(trained)
    _show(trained, Console(highlight=False))
    typer.echo(f"model   {out}")
    if page is not None:
        typer.echo(f"report  {page}")


def _tell_skipped(trained: Trained) -> None:
    skipped = trained.examples.skipped
    for line in skipped[:SHOWN_SKIPPED]:
        err.print(f"[yellow]left out:[/] {escape(line)}")
    if len(skipped) > SHOWN_SKIPPED:
        err.print(f"[yellow]left out:[/] {len(skipped)} files in all; the report and --json name more")


def _show(trained: Trained, console: Console) -> None:
    table = Table("label", "pictures", "precision", "recall", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = trained.by_label
    for row in rows[:SHOWN_LABELS]:
        figures = ("-" if row[name] is None else f"{row[name]:.4f}" for name in ("precision", "recall"))
        table.add_row(escape(row["label"]), str(row["pictures"]), *figures)
    console.print(table)
    if left := len(rows[SHOWN_LABELS:]):
        console.print(f"and {left} more label{'' if left == 1 else 's'}; --report and --json tell of all")
    halves = "half" if len(trained.accuracies) == 1 else "halves"
    console.print(
        f"\naccuracy [bold]{trained.accuracy:.4f}[/] ± {trained.deviation:.4f} on {len(trained.accuracies)} held-out"
        f" {halves}; {len(trained.examples.truth)} pictures; {trained.total_s:.1f} s",
        soft_wrap=True,
    )
    if trained.differing:
        answers = f"{trained.differing} held-out answer{'' if trained.differing == 1 else 's'}"
        console.print(f"[yellow]{answers} of the model differ from scikit-learn's[/]", soft_wrap=True)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Bars on a terminal, gone when all is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=quiet or not sys.stderr.isatty()) as bars:
        tasks = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield told
