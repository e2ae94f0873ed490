"""`python -m compose up`, `down` and `sizing`: what `make up` and `make down` run, and the calculator of sizes."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from compose.running_state import alone, bring_down, data_folder, kept_bytes, remove_kept, state_of_ours
from compose.sizing_command import sizing
from compose.up import Running, Up
from streamproc.cli.interrupts import stop_on_signals
from streamproc.errors import StreamprocError

app = typer.Typer(help="The whole of streamproc on this machine.", no_args_is_help=True, add_completion=False)
app.command("sizing")(sizing)
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
_WHAT = {
    "viewer": "your cameras, live",
    "prometheus": "metrics and alerts",
    "grafana": "dashboards",
}


@app.command()
def up(as_json: Annotated[bool, typer.Option("--json", help="One line of JSON when all is ready.")] = False) -> None:
    """Run the services of compose.yaml as processes of this machine until Ctrl-C.

    Variables: SOURCE, CAMERA, FPS, CAMERAS, PIPELINE, WORKERS, VIEWER_PORT, PROMETHEUS_PORT, GRAFANA_PORT,
    COMPOSE_PROFILES, STREAMPROC_BOOTSTRAP.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until what has to be undone is known
    folder = data_folder()
    with alone(folder) as broker_left:
        everything = Up(os.environ, folder, told=_tell, take_over_broker=broker_left)
        try:
            _run(everything, as_json=as_json)
        finally:
            _tell("stopping …")
            everything.close()
            kept = f"{kept_bytes(folder) / 1e9:.1f} GB of records and logs stay in {folder.parent}"
            _tell(f"stopped; nothing is left running; {kept} (make down CLEAN=1 deletes them)")


def _run(everything: Up, *, as_json: bool) -> None:
    folder = data_folder()

    def note() -> None:
        viewer = everything.viewer
        state_of_ours(everything.crew.alive(), viewer=viewer, own_broker=everything.owns_broker).write(folder)

    note()
    bootstrap = everything.broker()
    note()
    with stop_on_signals() as (stop, _):
        running = everything.start(bootstrap, stop=stop, note=note)
        if not stop.is_set():
            _tell("waiting for the first picture …")
        running = everything.wait_until_ready(running, stop=stop)
        if not stop.is_set():
            if as_json:
                typer.echo(json.dumps(running.as_json()))
            else:
                _show(running)
        everything.watch(stop=stop, note=note)


@app.command()
def down(
    clean: Annotated[
        bool, typer.Option("--clean", help="Delete records of the local Kafka, logs and volumes.")
    ] = False,
) -> None:
    """End what `up` runs, from another terminal."""
    typer.echo(bring_down(data_folder()))
    if clean:
        typer.echo(remove_kept(data_folder()))


def _tell(line: str) -> None:
    err.print(line, markup=False)


def _show(running: Running) -> None:
    """One table of what runs where."""
    rows = [(one.name, one.url or one.metrics or "", _WHAT.get(one.service, "metrics")) for one in running.processes]
    rows.sort(key=lambda row: (row[2] == "metrics", list(_WHAT).index(row[0]) if row[0] in _WHAT else 0))
    rows.append(("kafka", running.bootstrap, "for other commands: streamproc events --follow"))
    widths = [max(len(row[column]) for row in rows) + 2 for column in (0, 1)]
    out.print()
    for name, where, what in rows:
        line = f"  {name:<{widths[0]}}{where:<{widths[1]}}{what}"
        out.print(f"[bold]{escape(line)}[/]" if name == "viewer" else escape(line))
    for name in running.missing:
        out.print(f"  {name} is not installed here and left out; the rest needs nothing of it", markup=False)
    out.print(f"  logs: {running.logs}", markup=False)
    out.print()
    if running.first_picture_s is not None and (viewer := running.url("viewer")):
        after = f"the first picture came {running.first_picture_s:.0f} s after the start, setting up not counted"
        out.print(f"[bold green]Open {viewer} in a browser[/] ({after}). Ctrl-C stops all.")
    else:
        out.print(
            f"No picture yet of {', '.join(running.unseen)}; it is told when one comes. Ctrl-C stops all.", markup=False
        )


def main() -> int:
    """Run; an error that a person is meant to read is one line."""
    try:
        app()
    except StreamprocError as error:
        err.print("[bold red]error:[/]", escape(" ".join(str(error).split())))
        return error.exit_code
    except KeyboardInterrupt:
        err.print("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
