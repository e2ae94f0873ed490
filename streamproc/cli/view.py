"""`streamproc view`: the live web viewer."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamproc.cli.connect import Bootstrap, Json, MetricsPort, SettingsFile, pipeline_for, settings_for
from streamproc.cli.notices import quiet, say
from streamproc.errors import UsageError
from streamproc.settings import Settings, value_of
from streamproc.topics import Topics

if TYPE_CHECKING:
    from streamproc.view import ViewOptions


def view(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond loopback a token file is needed. [127.0.0.1]")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 is a free one. [8080]")] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the token, one line, that visitors must give.")
    ] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page in a browser; default: if there is a screen."),
    ] = None,
    pipeline: Annotated[
        Path | None,
        typer.Option(help="TOML file of the workers' pipeline, to draw edges on an event's pixels. Default: built-in."),
    ] = None,
    metrics_port: MetricsPort = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Show cameras, their edges and events in a browser, live and back into the log; Ctrl-C ends it.

    It reads the topics and changes nothing. A broker that is away is waited for.
    """
    settings = settings_for(
        settings_file,
        bootstrap=bootstrap,
        metrics_port=metrics_port,
        view_host=host,
        view_port=port,
        view_token_file=token_file,
    )
    from streamproc.exporter import exported
    from streamproc.logs import show_clients
    from streamproc.view import run_viewer
    from streamproc.vitals import Vitals, Wanted

    show_clients()  # why a broker turns the viewer away, only its client says
    options = _options(settings, pipeline)
    wanted = _has_screen() and sys.stdout.isatty() if open_browser is None else open_browser
    topics = Topics(settings.prefix)
    vitals = Vitals("viewer", wanted=Wanted((topics.events, topics.edges)))
    with exported(settings, vitals) as metrics:
        ended_by = run_viewer(
            settings,
            options,
            metrics=metrics,
            ready=partial(_tell, settings, options, is_opened=wanted, as_json=as_json),
            turned=lambda: vitals.turn("loop of the viewer", limit_s=settings.stall_timeout_s),
        )
    if ended_by is not None:
        raise typer.Exit(128 + ended_by)


def _options(settings: Settings, pipeline: Path | None) -> ViewOptions:
    """Where and for whom it is served.

    Raises:
        UsageError: The network would see the cameras without a token, or the token cannot be read.
    """
    from streamproc.view import ViewOptions
    from streamproc.view.access import is_loopback, read_token

    local = is_loopback(settings.view_host)
    token = None if settings.view_token_file is None else read_token(settings.view_token_file)
    if token is None and not local:
        raise UsageError(
            f"--host {settings.view_host} shows the cameras to the network: name a token with --token-file FILE, made"
            " with: openssl rand -hex 32 > FILE"
        )
    return ViewOptions(
        host=settings.view_host, port=settings.view_port, token=token, local=local, pipeline=pipeline_for(pipeline)
    )


def _tell(settings: Settings, options: ViewOptions, address: str, port: int, *, is_opened: bool, as_json: bool) -> None:
    """Say where the page is, and open it."""
    shown = f"[{address}]" if ":" in address else address
    url = f"http://{shown}:{port}/"
    if as_json:
        typer.echo(json.dumps({"url": url, "host": address, "port": port, "token": options.token is not None}))
    else:
        typer.echo(f"viewer at {url}, reading from {settings.bootstrap}; Ctrl-C ends it")
    if is_opened:
        threading.Thread(target=_open, args=(url, quiet if as_json else say), daemon=True).start()


def _has_screen() -> bool:
    """Whether a window can be opened here."""
    return sys.platform in ("darwin", "win32") or bool(value_of("DISPLAY") or value_of("WAYLAND_DISPLAY"))


def _open(url: str, told: Callable[[str], None]) -> None:
    """Open the page in a browser of this machine, or say that it cannot be."""
    import webbrowser

    if not (_has_screen() and webbrowser.open(url)):
        told(f"no browser can be opened here: go to {url}")
