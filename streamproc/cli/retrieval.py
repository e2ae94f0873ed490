"""`streamproc index` and `streamproc search`: find frames, objects and pictures that look like a picture."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.cli.events import parse_time, read_events
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err
from streamproc.cloudevents import event_time
from streamproc.errors import StreamprocError, UsageError

if TYPE_CHECKING:
    from streamproc.retrieval import Added, Match
    from streamproc.retrieval.adding import Heard
    from streamproc.settings import Settings

DEFAULT_FOLDER = Path("streamproc-index")
SHOWN_SKIPPED = 10
WIDE = 240  # columns of a table that goes into a file or a pipe
_TOLD_EVERY_S = 0.2


def index(
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PICTURE_OR_FOLDER", help="Picture files and folders; none: frames of events."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The index; what is there stays.")] = DEFAULT_FOLDER,
    of: Annotated[
        str, typer.Option(metavar="frames|objects|LABEL", help="Whole frames, all objects, or those of one label.")
    ] = "frames",
    camera: Annotated[str | None, typer.Option(help="Only events of this camera.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Time (2026-01-31T12:00:00) or age (90s, 15m, 2h) of events.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same, exclusive.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Only every so many frames, or picture files.")] = 1,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Add frames or objects of events, or picture files, to an index of how they look.

    What is in the index already is passed over, so the command may be run again and again.
    Ctrl-C ends it; what was added until then stays.
    """
    if pictures and (of != "frames" or camera or since or until):
        raise UsageError("picture files are indexed whole: --of, --camera, --from and --to choose among events")
    now_s = time.time()
    since_ms, until_ms = (
        parse_time(since, now_s=now_s, name="--from"),
        parse_time(until, now_s=now_s, name="--to"),
    )
    if since_ms is not None and until_ms is not None and until_ms <= since_ms:
        raise UsageError(f"--to {until} is not after --from {since}")
    settings = settings_for(settings_file, bootstrap=bootstrap)
    from streamproc.retrieval import add_events, add_pictures, writing

    with (
        stop_on_signals(lambda: err.print("stopping: what was added is kept")) as (stop, received),
        writing(out) as writer,
    ):
        with _progress(quiet=as_json) as heard:
            if pictures:
                added = add_pictures(
                    writer, pictures, max_pixels=settings.max_frame_pixels, every=every, stop=stop.is_set, heard=heard
                )
            else:
                records = read_events(settings, camera=camera, since_ms=since_ms, until_ms=until_ms, follow=False)
                added = add_events(
                    writer, records, settings, of=of, camera=camera, every=every, stop=stop.is_set, heard=heard
                )
        writer.commit()
        held = len(writer)
    if as_json:
        told = {"index": str(out), "looked_at": added.looked_at, "added": added.entries, "entries": held}
        typer.echo(json.dumps(told | {"passed_over": dict(added.passed_over), "skipped": added.skipped}))
    else:
        _tell_added(added, held, out, "picture file" if pictures else "frame event")
    if received:
        raise typer.Exit(128 + received[0])


def search(
    picture: Annotated[Path, typer.Argument(help="What to look for: a picture file.")],
    folder: Annotated[Path, typer.Option("--index", metavar="FOLDER", help="The index.")] = DEFAULT_FOLDER,
    top: Annotated[int, typer.Option(min=1, max=1000, help="At most so many results.")] = 10,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write what was found there, as PNG files.")
    ] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Find what looks most like a picture in an index, best first.

    Pixels of frames are read from the log, where its retention still has them.
    """
    settings = settings_for(settings_file, bootstrap=bootstrap)
    from producers.sources.picture import read_picture
    from producers.sources.source import Notices
    from streamproc.operators.embedding import embed
    from streamproc.retrieval import reading

    with reading(folder) as opened:
        notices = Notices(lambda line: err.print(escape(line)))
        vector = embed(read_picture(picture, max_pixels=settings.max_frame_pixels, notices=notices))
        matches = opened.search(vector, top)
    written = {} if out is None else _write(settings, matches, out)
    if as_json:
        typer.echo(json.dumps([_as_json(match, written.get(at)) for at, match in enumerate(matches)]))
    elif not matches:
        err.print(f"the index in {folder} is empty: add to it with streamproc index --out {folder}", markup=False)
    else:
        _show(matches)
        for at, told in sorted(written.items()):
            typer.echo(f"{at + 1:>4}  {f'wrote {told}' if isinstance(told, Path) else f'not written: {told}'}")


def _tell_added(added: Added, held: int, out: Path, what: str) -> None:
    for line in added.skipped[:SHOWN_SKIPPED]:
        err.print(f"[yellow]left out:[/] {escape(line)}")
    if len(added.skipped) > SHOWN_SKIPPED:
        from streamproc.retrieval.adding import NO_PICTURE

        err.print(f"[yellow]left out:[/] {added.passed_over[NO_PICTURE]} files in all")
    looked_at = f"{added.looked_at} {what}{'' if added.looked_at == 1 else 's'}"
    typer.echo(f"looked at {looked_at}, added {added.entries}; the index in {out} holds {held}")
    for why, count in added.passed_over.most_common():
        typer.echo(f"  {why}: {count}")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Heard]:
    """One line that changes, on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _added: None
        return
    last_s = 0.0
    with err.status("reading") as status:

        def heard(added: Added) -> None:
            nonlocal last_s
            if time.monotonic() - last_s > _TOLD_EVERY_S:
                last_s = time.monotonic()
                status.update(f"looked at {added.looked_at}, added {added.entries}")

        yield heard


def _write(settings: Settings, matches: Sequence[Match], out: Path) -> dict[int, Path | str]:
    """Write what was found; by position where each went, or why it did not."""
    from streamproc.operators.pixels import encode
    from streamproc.retrieval import pixels_of

    written: dict[int, Path | str] = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for at, pixels in pixels_of(settings, [match.entry for match in matches]):
            if isinstance(pixels, str):
                written[at] = pixels
                continue
            file = out / f"{at + 1:04d}-{matches[at].entry.event.removeprefix('sha256:')[:32]}.png"
            file.write_bytes(encode(pixels, "png"))
            written[at] = file
    except OSError as error:
        raise StreamprocError(f"{out} cannot be written: {error.strerror}") from None
    return written


def _as_json(match: Match, written: Path | str | None) -> dict[str, Any]:
    entry = match.entry
    told: dict[str, Any] = {"similarity": round(match.similarity, 6), "event": entry.event}
    if entry.source is None:
        told["path"] = entry.path
    else:
        told |= {
            "camera": entry.camera,
            "run": entry.run,
            "sequence": entry.sequence,
            "time": event_time(entry.captured_ns),
            "evidence": {"topic": entry.source.topic, "offsets": entry.source.offsets},
        }
    told |= {"width": entry.width, "height": entry.height}
    if entry.box is not None:
        told |= {"box": entry.box, "label": entry.label, "score": entry.score}
    if written is not None:
        told["pixels"] = {"file": str(written)} if isinstance(written, Path) else {"missing": written}
    return told


def _show(matches: Sequence[Match]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rank", "alike"):
        table.add_column(name, justify="right")
    for name in ("event", "time", "what", "where"):
        table.add_column(name, no_wrap=True)
    for rank, match in enumerate(matches, start=1):
        entry = match.entry
        box = "" if entry.box is None else " at " + ",".join(f"{side:.0f}" for side in entry.box)
        frame = f"{entry.camera}/{entry.run}/{entry.sequence}"
        cells = [
            str(rank),
            f"{match.similarity:.4f}",
            entry.event.removeprefix("sha256:")[:32],
            "-" if entry.source is None else event_time(entry.captured_ns),
            f"{entry.label or 'frame'}{box}" if entry.source else "picture",
            frame if entry.source else entry.path,
        ]
        table.add_row(*map(Text, cells))
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=WIDE)).print(table)
