"""`streamproc doctor`: what is wrong with this machine, this broker, these settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.settings import known_variables, our_variables

if TYPE_CHECKING:
    from streamproc.doctor import Finding, Verdict

console = Console(highlight=False)
_COLOURS: Final[dict[Verdict, str]] = {"ok": "green", "warning": "yellow", "wrong": "red"}


def doctor(
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Look at this machine, the broker and the settings; exit 1 if something is wrong. Ends within 15 seconds."""
    from streamproc.broker import find_folder
    from streamproc.doctor import examine

    settings = settings_for(settings_file, bootstrap=bootstrap)
    folder = find_folder(settings.bootstrap)
    findings = examine(
        settings,
        variables=our_variables(),
        known=known_variables(),
        folders=() if folder is None else (folder,),
    )
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        console.print(_table(findings))
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(1)


def _table(findings: list[Finding]) -> Table:
    table = Table("what", "verdict", box=None, pad_edge=False)
    table.add_column("details", overflow="fold")  # commands are to be copied: nothing is cut off
    for finding in findings:
        colour = _COLOURS[finding.verdict]
        table.add_row(finding.what, f"[{colour}]{finding.verdict}[/]", escape(finding.told))
    return table
