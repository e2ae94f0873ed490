"""`streamproc topics`: create the topics with explicit configs, and say what differs."""

from __future__ import annotations

import json

import typer
from rich.console import Console

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.errors import BrokerError
from streamproc.provision import check_topics, create_topics

app = typer.Typer(help="Create and check the topics.", no_args_is_help=True)
console = Console(highlight=False)


@app.command()
def create(
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    partitions: int | None = typer.Option(None, help="Partitions of each topic."),
    replication: int | None = typer.Option(None, help="Replication factor."),
    as_json: Json = False,
) -> None:
    """Create the topics that are missing; existing ones are left as they are."""
    settings = settings_for(settings_file, bootstrap=bootstrap, partitions=partitions, replication=replication)
    created = create_topics(settings)
    differences = check_topics(settings)
    if as_json:
        console.print_json(json.dumps({"created": created, "differences": [str(one) for one in differences]}))
    else:
        for name in created:
            console.print(f"created {name} with {settings.partitions} partitions")
        if not created:
            console.print(f"all topics exist on {settings.bootstrap}")
    if differences:
        raise BrokerError("; ".join(str(one) for one in differences))


@app.command()
def check(
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    partitions: int | None = typer.Option(None, help="Partitions each topic should have."),
    as_json: Json = False,
) -> None:
    """Compare the topics with what they must be; exit 1 and say what differs."""
    settings = settings_for(settings_file, bootstrap=bootstrap, partitions=partitions)
    differences = check_topics(settings)
    if as_json:
        console.print_json(json.dumps({"ok": not differences, "differences": [str(one) for one in differences]}))
    else:
        for one in differences:
            console.print(str(one))
        if not differences:
            console.print(f"all topics on {settings.bootstrap} are as they must be")
    if differences:
        raise typer.Exit(1)
