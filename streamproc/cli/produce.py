"""`streamproc produce`: one camera into Kafka; `streamproc split`: a picture into a folder of tiles."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producers.changed_only import FULL_EVERY_S, LEVEL, LONGEST_FULL_S, ChangedOnly
from streamproc.cli.connect import Bootstrap, Json, SettingsFile, pipeline_for, settings_for
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err, quiet, say
from streamproc.errors import DeliveryError, StreamprocError, UsageError
from streamproc.model import CODECS, Codec
from streamproc.provision import check_topics, require_topics
from streamproc.settings import Settings, load_settings
from streamproc.topics import MAX_RECORD_BYTES, Topics

if TYPE_CHECKING:
    from producers.runs import PublishReport
    from producers.sources import Source
    from streamproc.ledger import LedgerWriter


def produce(
    source: Annotated[
        str,
        typer.Argument(
            help="Picture, folder, 'glob*.png', film, folder of tiles, builtin, synthetic[:WxH]; live: rtsp://, http://,"
            " hls+http://, /dev/video0, watch:FOLDER, stdin:WHAT."
        ),
    ],
    *,
    camera: Annotated[str, typer.Option(help="Name of the camera.")],
    codec: Annotated[str, typer.Option(help="How tiles are encoded: jpeg, png or raw.")] = "jpeg",
    grid: Annotated[str, typer.Option(help="Rows and columns of tiles, like 2x3, or auto.")] = "auto",
    fps: Annotated[str, typer.Option(help="Frames a second: a number, max, or source (its own speed).")] = "source",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many frames.")] = None,
    drop: Annotated[
        str,
        typer.Option(
            help="While the broker takes less than the source gives: block (reading waits, nothing is lost),"
            " drop-oldest, drop-newest or keyframe-only (for live sources; each drop is counted)."
        ),
    ] = "block",
    ledger: Annotated[
        Path | None, typer.Option(help="File that is told of each frame and what became of it; appended to.")
    ] = None,
    changed_only: Annotated[
        bool,
        typer.Option(
            "--changed-only", help="For a camera that stands still: send unchanged tiles as references to their pixels."
        ),
    ] = False,
    change_level: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=255,
            help=f"With --changed-only: grey levels of a change, default {LEVEL:g}; 0: every difference.",
        ),
    ] = None,
    full_every: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=LONGEST_FULL_S,
            help=f"With --changed-only: seconds between full frames, default {FULL_EVERY_S:g}.",
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="Name of this run; default: file-TIME-RANDOM, or live-.")] = None,
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline file, for the halo; default: the built-in.")] = None,
    tiles_pattern: Annotated[
        str | None, typer.Option(help="Names of a folder's tile files, like '{name}_{row}_{col}.png'.")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of the Prometheus exporter; 0 is off.")] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Publish one camera's frames, cut into tiles, and wait until the broker has acknowledged them all."""
    from producers.cutting import parse_grid
    from producers.pacing import parse_fps
    from producers.publish import publish
    from producers.runs import new_run, require_name
    from producers.sources import open_source
    from producers.sources.live import LiveSource
    from producers.waiting import parse_drop
    from streamproc.exporter import exported
    from streamproc.surroundings import surroundings
    from streamproc.vitals import Vitals, Wanted

    settings = settings_for(settings_file, bootstrap=bootstrap, metrics_port=metrics_port)
    require_name("camera", camera)
    if run is not None:
        require_name("run", run)
    codec_chosen, grid_chosen, fps_chosen = parse_codec(codec), parse_grid(grid), parse_fps(fps)
    policy = parse_drop(drop)
    changed = _changed(changed_only, level=change_level, full_every_s=full_every)
    halo = pipeline_for(pipeline).halo
    told = quiet if as_json else say
    with open_source(source, settings, tiles_pattern=tiles_pattern, notice=told) as opened:
        told(opened.describe())
        partitions = require_topics(settings)
        with (
            stop_on_signals(opened.interrupt) as (stop, received),
            exported(
                settings,
                Vitals("produce", wanted=Wanted(Topics(settings.prefix).names, partitions), stopping=stop.is_set),
            ) as metrics,
            surroundings(metrics, settings, places={"ledger": ledger}),
            _ledger(ledger) as writer,
            _bar(opened, limit, quiet=as_json) as progress,
        ):
            report = publish(
                opened,
                settings,
                camera=camera,
                partitions=partitions,
                run=run or new_run("live" if isinstance(opened, LiveSource) else "file"),
                codec=codec_chosen,
                grid=grid_chosen,
                fps=fps_chosen,
                limit=limit,
                drop=policy,
                ledger=writer,
                pipeline_halo=halo,
                changed=changed,
                metrics=metrics,
                stop=stop,
                on_progress=progress,
                notice=told,
            )
    _tell(report, received, as_json=as_json)
    if report.problem is not None and not received:
        raise with_topic_limit(report.problem, settings)
    if received:
        raise typer.Exit(128 + received[0])


def split(
    picture: Annotated[Path, typer.Argument(help="PNG, JPEG, WebP, BMP, TIFF or PNM.")],
    grid: Annotated[str, typer.Option(help="Rows and columns of tiles, like 2x3.")],
    out: Annotated[Path, typer.Option(help="Folder for the tiles; made if missing.")],
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    settings_file: SettingsFile = None,
) -> None:
    """Cut a picture into PNG tiles NAME_ROW_COL.png; `produce DIR` reads them as the one picture."""
    from producers.cutting import parse_grid
    from producers.sources.picture import read_picture
    from producers.sources.source import Notices
    from producers.sources.tilefolder import write_tiles

    settings = load_settings(file=settings_file)
    chosen = parse_grid(grid)
    if chosen is None:
        raise UsageError("--grid auto is for produce: write rows and columns, like 2x3")
    pixels = read_picture(picture, max_pixels=settings.max_frame_pixels, notices=Notices(say))
    written = write_tiles(pixels, chosen, out, name=picture.stem, force=force)
    height, width = pixels.shape[:2]
    typer.echo(f"{len(written)} tiles of {width}x{height} px in {out}: {written[0].name} to {written[-1].name}")


def _changed(wanted: bool, *, level: float | None, full_every_s: float | None) -> ChangedOnly | None:
    """How only changed tiles are sent; None sends all.

    Raises:
        UsageError: Something is asked of it, and not that it be done.
    """
    if wanted:
        return ChangedOnly(
            level=LEVEL if level is None else level,
            full_every_s=FULL_EVERY_S if full_every_s is None else full_every_s,
        )
    if level is not None or full_every_s is not None:
        option = "--change-level" if level is not None else "--full-every"
        raise UsageError(f"{option} says nothing without --changed-only: give both, or leave it out")
    return None


def parse_codec(text: str) -> Codec:
    """One of the codecs, by name.

    Raises:
        UsageError: Another name.
    """
    for codec in CODECS:
        if text == codec:
            return codec
    raise UsageError(f"codec {text!r}: use one of {', '.join(CODECS)}")


def with_topic_limit(problem: StreamprocError, settings: Settings) -> StreamprocError:
    """Name the limit of a topic that refused a record as too large; other problems stay as they are."""
    if not isinstance(problem, DeliveryError) or "max.message.bytes" not in str(problem):
        return problem
    limit: str | None = str(MAX_RECORD_BYTES)
    try:
        for difference in check_topics(settings):
            if (difference.topic, difference.what) == (Topics(settings.prefix).tiles, "max.message.bytes"):
                limit = difference.have
    except StreamprocError:
        return problem
    return DeliveryError(f"{problem} (max.message.bytes is {limit})")


def _tell(report: PublishReport, received: Sequence[int], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json()))
        return
    if received:
        err.print(f"stopped by {signal.Signals(received[0]).name}", markup=False)
        if report.problem is not None:
            err.print(str(report.problem), markup=False)
    typer.echo(report.summary())


def _ledger(file: Path | None) -> AbstractContextManager[LedgerWriter | None]:
    """The ledger of a file, None for none.

    Raises:
        LedgerError: It cannot be appended to.
    """
    from streamproc.ledger import LedgerWriter

    return nullcontext() if file is None else LedgerWriter(file)


@contextmanager
def _bar(source: Source, limit: int | None, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    total = min((count for count in (source.length, limit) if count is not None), default=None)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, transient=True) as progress:
        task = progress.add_task(escape(source.name), total=total)
        yield lambda sent: progress.update(task, completed=sent)
