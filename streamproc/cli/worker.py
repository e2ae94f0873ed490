"""`streamproc worker`: one Faust worker."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from streamproc.cli.connect import Bootstrap, SettingsFile, pipeline_for, settings_for


def worker(
    role: Annotated[
        str,
        typer.Option(help="What runs here: extract (tiles to features), aggregate (features to events), all."),
    ] = "all",
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline file; default: the built-in pipeline.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of the Prometheus exporter; 0 is off.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that run operators.")] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    parent_pid: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run one worker until SIGTERM or Ctrl-C; start as many as you like, on any number of hosts."""
    from streamproc.app import ROLES
    from streamproc.broker import find_folder
    from streamproc.errors import UsageError
    from streamproc.logs import bind, show_clients, show_events
    from streamproc.worker import run_worker

    if role not in ROLES:
        raise UsageError(f"--role {role!r}: use one of {', '.join(ROLES)}")
    settings = settings_for(settings_file, bootstrap=bootstrap, metrics_port=metrics_port, worker_threads=threads)
    show_clients()
    show_events()
    bind(role=f"worker-{role}", worker=settings.instance_id or f"{socket.gethostname()}-{os.getpid()}")
    run_worker(
        settings,
        role=ROLES[role],
        pipeline=pipeline_for(pipeline, runs_here=True),
        parent_pid=parent_pid,
        places={"broker": find_folder(settings.bootstrap)},
    )
