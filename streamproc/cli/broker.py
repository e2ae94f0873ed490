"""`streamproc broker`: a real Apache Kafka on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamproc.broker import ClusterStatus, LocalCluster
from streamproc.cli.notices import err

ASK_S = 5.0

app = typer.Typer(
    help="A real Apache Kafka on this machine, for trying things out; it runs on when the command ends.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder of the cluster. Default: streamproc/broker in the user's data folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as one line of JSON.")]


@app.command()
def start(
    folder: Folder = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the first broker; 0 takes free ones. Default: that of last time, else 9092.",
        ),
    ] = None,
    brokers: Annotated[int | None, typer.Option(help="1 or 3. Default: as last time, else 1.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start it, wait until it answers, and leave it running; if it runs already, say where."""
    change = LocalCluster(folder).start(port=port, brokers=brokers, progress=_tell)
    if as_json:
        typer.echo(change.status.as_json())
        return
    status = change.status
    how = "is ready" if change.changed else "was already running"
    _say(f"Apache Kafka {status.version} {how} at {status.bootstrap}")
    _say(f"  data {status.folder}, log {status.nodes[0].log}")


@app.command()
def stop(
    folder: Folder = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Delete its topics and records as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop it; its records stay. When nothing runs, say so and exit with 0."""
    change = LocalCluster(folder).stop(delete_data=delete_data)
    if as_json:
        typer.echo(change.status.as_json())
        return
    done = "stopped" if change.changed else "nothing was running"
    _say(f"{done}; data {'deleted' if delete_data else 'kept'} ({change.status.folder})")


@app.command()
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Say how it is. Exits with 0 if it runs and answers, with 1 if not."""
    now = LocalCluster(folder).status(ask_s=ASK_S)
    if as_json:
        typer.echo(now.as_json())
    else:
        _show(now)
    raise typer.Exit(0 if now.usable else 1)


def _show(status: ClusterStatus) -> None:
    rows = {
        "state": status.detail,
        "bootstrap": status.bootstrap or "-",
        "version": f"Apache Kafka {status.version}",
        "uptime": "-" if status.uptime_s is None else f"{status.uptime_s:.0f} s",
        "data": str(status.folder),
    }
    for node in status.nodes:
        alive = f"pid {node.pid}, port {node.port}" if node.alive else f"gone (was pid {node.pid})"
        rows[f"broker {node.id}"] = f"{alive}, log {node.log}"
    for name, value in rows.items():
        _say(f"{name:<10} {value}")


def _say(line: str) -> None:
    # soft_wrap: a path that is cut into lines cannot be copied. No markup: a path may hold brackets.
    Console().print(line, soft_wrap=True, markup=False, highlight=False)


def _tell(line: str) -> None:
    err.print(line, markup=False)
