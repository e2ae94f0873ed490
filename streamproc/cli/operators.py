"""`streamproc operators` and `streamproc pipeline`: what can be run, and whether a pipeline file is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamproc.cli.connect import Json

if TYPE_CHECKING:
    from streamproc.operators.pipeline import Pipeline
    from streamproc.operators.table import Operator, Parameter

EXACTNESS = {
    "exact": "[green]exact[/]",
    "rounding": "[yellow]up to rounding[/]",
    "no": "[dim]not exact[/]",
}

pipeline_app = typer.Typer(help="Check pipeline files, print the built-in one.", no_args_is_help=True)
console = Console(highlight=False)


def operators(as_json: Json = False) -> None:
    """Show every operator: parameters, halo, and whether tiles give what the whole frame gives."""
    from streamproc.operators.catalogue import OPERATORS

    if as_json:
        console.print_json(json.dumps([_as_values(operator) for operator in OPERATORS.values()]))
        return
    table = Table(title="Operators", show_lines=True)
    for heading in (
        "operator",
        "kind",
        "parameters (default; allowed)",
        "halo px",
        "tiles = frame",
        "meaning",
    ):
        table.add_column(heading, overflow="fold")
    for operator in OPERATORS.values():
        table.add_row(
            f"[bold]{operator.name}[/]",
            operator.kind,
            "\n".join(_line(parameter) for parameter in operator.parameters),
            str(operator.halo(operator.defaults())),
            EXACTNESS[operator.exact],
            operator.meaning,
        )
    console.print(table)


@pipeline_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Pipeline file, TOML.")],
    as_json: Json = False,
) -> None:
    """Check a pipeline file and show its steps, halo and digest."""
    from streamproc.operators.pipeline_file import load

    pipeline = load(file)
    if as_json:
        console.print_json(json.dumps(_pipeline_values(pipeline)))
        return
    table = Table(title=escape(f'Pipeline "{pipeline.name}"'))
    for heading in ("step", "operator", "input", "every", "parameters", "halo px", "tiles = frame"):
        table.add_column(heading, overflow="fold")
    for step in pipeline.steps:
        table.add_row(
            f"[bold]{escape(step.name)}[/]",
            step.operator.name,
            step.input,
            "" if step.every == 1 else str(step.every),
            " ".join(f"{key}={_shown(value)}" for key, value in step.parameters.items()),
            str(step.halo),
            EXACTNESS[step.operator.exact],
        )
    console.print(table)
    console.print(f"tiles carry a halo of {pipeline.halo} px; digest {pipeline.digest}")


@pipeline_app.command()
def default() -> None:
    """Print the built-in pipeline, to start a file of your own from."""
    from streamproc.operators.pipeline_file import DEFAULT_PIPELINE

    typer.echo(DEFAULT_PIPELINE, nl=False)


def _line(parameter: Parameter) -> str:
    from streamproc.operators.parameters import described

    return f"{parameter.name} ({_shown(parameter.default)}; {described(parameter)})"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _as_values(operator: Operator) -> dict[str, Any]:
    from streamproc.operators.parameters import described

    return {
        "name": operator.name,
        "kind": operator.kind,
        "meaning": operator.meaning,
        "version": operator.version,
        "exact": operator.exact,
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
                "allowed": described(parameter),
                "meaning": parameter.meaning,
            }
            for parameter in operator.parameters
        ],
    }


def _pipeline_values(pipeline: Pipeline) -> dict[str, Any]:
    return {
        "name": pipeline.name,
        "digest": pipeline.digest,
        "halo_px": pipeline.halo,
        "operators": pipeline.operators,
        "steps": pipeline.describe(),
    }
