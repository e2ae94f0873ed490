"""`streamproc operators` and `streamproc pipeline`: what can be run, and whether a pipeline file is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

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
    for operator in OPERATORS.values():
        halo = operator.halo(operator.defaults())
        about = f"{operator.kind}, halo {halo} px, {EXACTNESS[operator.exact]}"
        console.print(f"[bold]{operator.name}[/]  {about}")
        console.print(f"    {escape(operator.meaning)}", soft_wrap=True)
        for parameter in operator.parameters:
            console.print(f"    {escape(_line(parameter))}", soft_wrap=True)


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
    console.print(f"pipeline [bold]{escape(pipeline.name)}[/]")
    for step in pipeline.steps:
        every = "" if step.every == 1 else f", on every {step.every}th frame"
        about = f"{step.operator.name} of {escape(step.input)}{every}, halo {step.halo} px"
        console.print(f"  [bold]{escape(step.name)}[/]  {about}, {EXACTNESS[step.operator.exact]}", soft_wrap=True)
        if step.parameters:
            told = "  ".join(f"{key}={_shown(value)}" for key, value in step.parameters.items())
            console.print(f"      {escape(told)}", soft_wrap=True)
    console.print(f"tiles carry a halo of {pipeline.halo} px; digest {pipeline.digest}")


@pipeline_app.command()
def default() -> None:
    """Print the built-in pipeline, to start a file of your own from."""
    from streamproc.operators.pipeline_file import DEFAULT_PIPELINE

    typer.echo(DEFAULT_PIPELINE, nl=False)


def _line(parameter: Parameter) -> str:
    from streamproc.operators.parameters import described

    return f"{parameter.name} = {_shown(parameter.default)}  ({described(parameter)}): {parameter.meaning}"


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
