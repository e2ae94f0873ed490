"""`streamproc operators` and `streamproc pipeline`: what can be run, and whether a pipeline file is right.

Operators of other packages are listed with the built-in ones; `operators test` holds them to what all promise.
"""

from __future__ import annotations

import inspect
import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from streamproc.cli.connect import Json, pipeline_for
from streamproc.errors import UsageError

if TYPE_CHECKING:
    from streamproc.contract import Verdict
    from streamproc.operators.pipeline import Pipeline
    from streamproc.operators.table import Operator, Parameter, Value

EXACTNESS = {
    "exact": "[green]exact[/]",
    "rounding": "[yellow]up to rounding[/]",
    "no": "[dim]not exact[/]",
}

OUTCOMES = {
    "passed": "[green]passed [/]",
    "failed": "[bold red]failed [/]",
    "warning": "[yellow]warning[/]",
    "skipped": "[dim]skipped[/]",
}
MAX_ROUNDS = 50
LEGEND = """
[green]exact[/] 2  tiles with 2 pixels of their neighbours give what the whole frame gives
[yellow]~[/] 2      so they do up to rounding;  [dim]no[/]: that is not promised
[cyan]frame[/]    works on the whole frame
One in full, with its parameters: [bold]streamproc operators show NAME[/]"""


class OperatorsGroup(TyperGroup):
    """Commands about operators; the name of an operator where a command is expected is told what to do."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # of click, or of the click that typer brings
        """As click does it.

        Raises:
            UsageError: The first argument is no command.
        """
        name = args[0]
        if self.get_command(ctx, name) is None:
            raise UsageError(f"no command {name!r}{_meant(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


operators_app = typer.Typer(cls=OperatorsGroup, help="Show every operator by family, or one in full; test your own.")
pipeline_app = typer.Typer(help="Check pipeline files, print the built-in one.", no_args_is_help=True)
console = Console(highlight=False)


@operators_app.callback(invoke_without_command=True)
def operators(
    context: typer.Context,
    family: Annotated[str | None, typer.Option(help="Only operators of this family.")] = None,
    as_json: Json = False,
) -> None:
    """Show every operator by family: what it does, and whether tiles give what the whole frame gives."""
    if context.invoked_subcommand is not None:
        if family is not None or as_json:
            raise UsageError(f"options stand after the command: streamproc operators {context.invoked_subcommand} ...")
        return
    from streamproc.operators.catalogue import OPERATORS

    rows = list(OPERATORS.values())
    families = list(dict.fromkeys(row.family for row in rows))
    if family is not None and family not in families:
        raise UsageError(f"no family {family!r}; there are: {', '.join(families)}")
    rows = [row for row in rows if family in (None, row.family)]
    if as_json:
        console.print_json(json.dumps([_as_values(row) for row in rows]))
        return
    for title in families if family is None else [family]:
        console.print(f"[bold]{escape(title)}[/]")
        console.print(_table([row for row in rows if row.family == title]))
    console.print(LEGEND)


@operators_app.command()
def show(
    name: Annotated[str, typer.Argument(help="Of an operator.")],
    as_json: Json = False,
) -> None:
    """Show one operator in full: what it does, its parameters, halo, scope and exactness."""
    from streamproc.operators.catalogue import OPERATORS

    operator = OPERATORS.get(name)
    if operator is None:
        raise UsageError(f"no operator {name!r}{_near(name, list(OPERATORS))}")
    doc = inspect.getdoc(operator.run) or ""
    if as_json:
        console.print_json(json.dumps({**_as_values(operator), "documentation": doc}))
        return
    package = OPERATORS.package(name)
    console.print(f"[bold]{operator.name}[/]  {escape(operator.meaning)}", soft_wrap=True)
    facts = [
        f"{operator.kind} of family {operator.family}, version {operator.version}",
        f"takes {' or '.join(operator.accepts)}{'' if operator.gives is None else f', gives {operator.gives}'}",
        f"works on {_where(operator)}",
    ]
    if operator.needs is not None:
        facts.append(f"needs {operator.needs[0]}: pip install 'streamproc\\[{operator.needs[1]}]'")
    if package is not None:
        facts.append(f"from {escape(package)}")
    for fact in facts:
        console.print(f"    {fact}", soft_wrap=True)
    for parameter in operator.parameters:
        console.print(f"    {escape(_line(parameter))}", soft_wrap=True)
    if doc:
        console.print()
        console.print(escape(doc), soft_wrap=True)


@operators_app.command("test")
def try_out(
    name: Annotated[str, typer.Argument(metavar="PACKAGE", help="An installed package, or a module with operators.")],
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPERATOR.PARAMETER=VALUE", help="For parameters that must be given: files."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=MAX_ROUNDS, help="Pictures of each kind; more find more.")] = 3,
    as_json: Json = False,
) -> None:
    """Hold operators to what all operators promise; ends with 1 if one breaks a promise."""
    from streamproc.contract import check, failures, subjects_of

    given = _given(values or [])
    subjects = subjects_of(name)
    unknown = sorted(set(given) - {row.name for row in subjects.rows})
    if unknown:
        raise UsageError(f"{subjects.source} has no operator {', '.join(unknown)}")
    verdicts: list[Verdict] = []
    if not as_json:
        console.print(f"{escape(subjects.source)}: {_counted(len(subjects.rows), 'operator')}", soft_wrap=True)
    for row in subjects.rows:
        found = check(row, values=given.get(row.name), rounds=rounds)
        verdicts += found
        if not as_json:
            console.print(f"[bold]{escape(str(row.name))}[/]")
            for one in found:
                console.print(f"  {OUTCOMES[one.outcome]} {one.check:<11} {escape(one.detail)}", soft_wrap=True)
    bad = failures(verdicts)
    if as_json:
        told = {"source": subjects.source, "passed": not bad, "checks": [asdict(one) for one in verdicts]}
        console.print_json(json.dumps(told))
    else:
        counts = Counter(one.outcome for one in verdicts)
        warnings = _counted(counts["warning"], "warning")
        console.print(f"{counts['passed']} passed, {counts['failed']} failed, {warnings}, {counts['skipped']} skipped")
    if bad:
        raise typer.Exit(1)


@pipeline_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Pipeline file, TOML.")],
    as_json: Json = False,
) -> None:
    """Check a pipeline file and show its steps, halo and digest."""
    from streamproc.operators.catalogue import OPERATORS

    pipeline = pipeline_for(file, runs_here=True)
    if as_json:
        console.print_json(json.dumps(_pipeline_values(pipeline)))
        return
    console.print(f"pipeline [bold]{escape(pipeline.name)}[/]")
    for step in pipeline.steps:
        every = "" if step.every == 1 else f", on one frame of {step.every}"
        package = OPERATORS.package(step.operator.name)
        origin = "" if package is None else f" ({escape(package)})"
        about = f"{step.operator.name}{origin} of {escape(step.input)}{every}, halo {step.halo} px"
        seams = "on the whole frame" if step.on == "frame" else EXACTNESS[step.operator.exact]
        console.print(f"  [bold]{escape(step.name)}[/]  {about}, {seams}", soft_wrap=True)
        if step.parameters:
            told = "  ".join(f"{key}={_shown(value)}" for key, value in step.parameters.items())
            console.print(f"      {escape(told)}", soft_wrap=True)
    console.print(f"tiles carry a halo of {pipeline.halo} px; digest {pipeline.digest}")


@pipeline_app.command()
def default() -> None:
    """Print the built-in pipeline, to start a file of your own from."""
    from streamproc.operators.pipeline_file import DEFAULT_PIPELINE

    typer.echo(DEFAULT_PIPELINE, nl=False)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _table(rows: Sequence[Operator]) -> Table:
    from streamproc.operators.catalogue import OPERATORS

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=24)
    table.add_column(width=9)
    table.add_column(width=9)
    table.add_column()
    for row in rows:
        package = OPERATORS.package(row.name)
        origin = "" if package is None else f" [dim]({escape(package)})[/]"
        table.add_row(f"  {row.name}", f"[dim]{row.kind}[/]", _seams(row), f"{escape(row.meaning)}{origin}")
    return table


def _seams(operator: Operator) -> str:
    """Short: whether tiles give what the whole frame gives, and with how much halo."""
    if operator.scope == "frame":
        return "[cyan]frame[/]"
    halo = operator.halo(operator.defaults())
    word = {"exact": "[green]exact[/]", "rounding": "[yellow]~[/]", "no": "[dim]no[/]"}[operator.exact]
    return f"{word} {halo}" if halo else word


def _where(operator: Operator) -> str:
    if operator.scope == "frame":
        return "the whole frame"
    return f"tiles with a halo of {operator.halo(operator.defaults())} px, {EXACTNESS[operator.exact]}"


def _near(wrong: str, names: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(wrong, names, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else "; streamproc operators lists them"


def _meant(wrong: str, commands: Sequence[str]) -> str:
    """What stands in place of a command: the name of an operator, or a command that is not written right."""
    import difflib

    from streamproc.operators.catalogue import OPERATORS

    if wrong in OPERATORS:
        return f"; did you mean streamproc operators show {wrong}?"
    if near := difflib.get_close_matches(wrong, commands, n=1):
        return f"; did you mean streamproc operators {near[0]}?"
    if near := difflib.get_close_matches(wrong, list(OPERATORS), n=1):
        return f"; did you mean streamproc operators show {near[0]}?"
    return f"; there are {' and '.join(commands)}, and streamproc operators alone lists all"


def _given(texts: Sequence[str]) -> dict[str, dict[str, Value]]:
    """Values by operator and parameter; TOML, or text as it stands."""
    found: dict[str, dict[str, Value]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        operator, dot, parameter = place.partition(".")
        if not (equals and dot and operator and parameter):
            raise UsageError(f"--set {text}: write OPERATOR.PARAMETER=VALUE")
        try:
            found.setdefault(operator, {})[parameter] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found.setdefault(operator, {})[parameter] = value
    return found


def _line(parameter: Parameter) -> str:
    from streamproc.operators.parameters import described

    return f"{parameter.name} = {_shown(parameter.default)}  ({described(parameter)}): {parameter.meaning}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _as_values(operator: Operator) -> dict[str, Any]:
    from streamproc.operators.catalogue import OPERATORS
    from streamproc.operators.parameters import described

    return {
        "name": operator.name,
        "family": operator.family,
        "kind": operator.kind,
        "scope": operator.scope,
        "package": OPERATORS.package(operator.name),
        "meaning": operator.meaning,
        "version": operator.version,
        "exact": operator.exact if operator.scope == "tile" else None,
        "halo_px": operator.halo(operator.defaults()),
        "accepts": list(operator.accepts),
        "gives": operator.gives,
        "parameters": [
            {
                "name": parameter.name,
                "default": parameter.default,
                "low": parameter.low,
                "high": parameter.high,
                "choices": list(parameter.choices),
                "odd": parameter.odd,
                "below": parameter.below or None,
                "allowed": described(parameter),
                "meaning": parameter.meaning,
            }
            for parameter in operator.parameters
        ],
    }


def _pipeline_values(pipeline: Pipeline) -> dict[str, Any]:
    from streamproc.operators.catalogue import OPERATORS

    return {
        "name": pipeline.name,
        "digest": pipeline.digest,
        "halo_px": pipeline.halo,
        "operators": pipeline.operators,
        "steps": [{**step, "package": OPERATORS.package(str(step["operator"]))} for step in pipeline.describe()],
    }
