"""`streamproc deadletters`: records that could not be handled; list them, look at one, send them back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.cli.notices import err
from streamproc.deadletters import Letter, find_letters, read_letter, read_letter_at, redrive
from streamproc.deadletters.box import Redriven, wanted
from streamproc.deadletters.letter import parse_place, plain
from streamproc.errors import BadMessage, StreamprocError, UsageError
from streamproc.letterhead import PREFIX

if TYPE_CHECKING:
    from streamproc.deadletters.picture import Judged
    from streamproc.reader import Record

app = typer.Typer(help="List, show and send back records that could not be handled.", no_args_is_help=True)

Camera = Annotated[str | None, typer.Option(help="Only of this camera.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason: checksum, decode, limits, ...")]

_MAX_HEADERS = 100  # shown of one record
WIDE = 240  # columns of a table that goes into a file or a pipe
DUPLICATES = (
    "A tile that its frame has already counts as duplicate, one whose frame is closed as late: no event changes twice."
)


@app.command("list")
def list_(
    camera: Camera = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 50,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """List dead letters, oldest first."""
    settings = settings_for(settings_file, bootstrap=bootstrap)
    found = find_letters(settings, wanted(camera=camera, reason=reason), limit=limit)
    if as_json:
        letters = [letter.as_json() for letter in found.letters]
        typer.echo(json.dumps({"matching": found.matching, "reasons": dict(found.reasons), "letters": letters}))
        return
    if not found.matching:
        err.print(f"no dead letters{_filtered(camera, reason)} on {settings.bootstrap}", markup=False)
        return
    _print_table(found.letters)
    reasons = ", ".join(f"{reason} {count}" for reason, count in found.reasons.most_common(20))
    shown = "" if len(found.letters) == found.matching else f", the newest {len(found.letters)} shown (--limit)"
    _console().print(f"\n{found.matching} dead letters{shown}: {reasons}", markup=False)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="PARTITION:OFFSET, as list prints it.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Draw the tile into this .png; with another suffix, write its untouched bytes."),
    ] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Tell all about one dead letter, and draw its tile."""
    place = parse_place(letter_id)
    settings = settings_for(settings_file, bootstrap=bootstrap)
    from streamproc.deadletters.picture import judge

    record = read_letter_at(settings, place)
    letter = read_letter(record)
    judged = judge(letter.tile, record.value, max_pixels=settings.max_frame_pixels)
    if as_json:
        held = [
            {"name": plain(name), "bytes": len(value), "text": _header_text(value)} for name, value in record.headers
        ]
        drawable = judged.shape is not None
        typer.echo(
            json.dumps({**letter.as_json(), "payload": judged.told, "drawable": drawable, "headers": held}), nl=True
        )
    else:
        _tell(letter, record, judged)
    if out is not None:
        written = _write(out, record, judged)
        if not as_json:
            typer.echo(written)


@app.command("redrive")
def redrive_(
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="PARTITION:OFFSET each.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that match, instead of IDs.")] = False,
    reason: Reason = None,
    camera: Camera = None,
    max_attempts: Annotated[int, typer.Option(min=1, max=1000, help="Most times a record is tried in all.")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, say what would be sent.")] = False,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Send untouched records back to the topic and partition they came from, and wait for their delivery.

    A record keeps its count of attempts: if it fails again, its next letter says so. One whose frame has its event
    already stays where it is. Sending a record twice is harmless: a tile counts once in its frame.
    """
    if everything == bool(letter_ids):
        raise UsageError("name the dead letters to send back (PARTITION:OFFSET), or --all: one of the two")
    if letter_ids and (reason or camera):
        raise UsageError("--reason and --camera choose among --all; named dead letters are taken as they are")
    places = [parse_place(text) for text in letter_ids or ()]
    settings = settings_for(settings_file, bootstrap=bootstrap)
    choose = wanted(camera=camera, reason=reason) if everything else places
    done = redrive(settings, choose, max_attempts=max_attempts, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(_as_json(done, dry_run=dry_run)))
    else:
        _tell_redriven(done, dry_run=dry_run)
    if places and done.refused:
        raise StreamprocError(f"{len(done.refused)} of {len(places)} dead letters were not sent back, as said above")


def _filtered(camera: str | None, reason: str | None) -> str:
    return (f" of camera {camera}" if camera else "") + (f" with reason {reason}" if reason else "")


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def _print_table(letters: list[Letter]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "time", "camera", "run/sequence", "tile", "stage", "reason"):
        table.add_column(name, no_wrap=True)
    table.add_column("attempt", justify="right")
    table.add_column("detail", no_wrap=True, overflow="ellipsis", ratio=1)
    for letter in letters:
        tile = letter.tile
        cells = [
            str(letter.place),
            time_text(letter.time_ms),
            letter.camera or "-",
            f"{tile.run}/{tile.sequence}" if tile else "-",
            f"{tile.row},{tile.col}" if tile else "-",
            letter.stage,
            letter.reason,
            str(letter.attempt),
            letter.detail,
        ]
        table.add_row(*map(Text, cells))
    _console().print(table)


def time_text(time_ms: int) -> str:
    """Wall clock in UTC to the second; `-` beyond all calendars."""
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):
        return "-"


def _tell(letter: Letter, record: Record, judged: Judged) -> None:
    tile, origin = letter.tile, letter.origin
    rows = [
        ("dead letter", f"{letter.place}, written {time_text(letter.time_ms)} UTC"),
        ("why", f"{letter.reason}: {letter.detail}"),
        ("stage", letter.stage),
        ("came from", f"{origin.topic}, partition {origin.partition}, offset {origin.offset}" if origin else "?"),
        ("attempt", _attempt_text(letter)),
        ("key", "null" if "key" in record.nulls else plain(record.key) or "empty"),
    ]
    if tile is not None:
        core = tile.core
        rows += [
            ("frame", f"{tile.camera}/{tile.run}/{tile.sequence}, {tile.frame_width}x{tile.frame_height} px"),
            ("captured", f"{time_text(tile.captured_ns // 10**6)} UTC"),
            ("tile", f"row {tile.row}, column {tile.col} of {tile.rows}x{tile.cols}, {tile.codec} {tile.pixel_format}"),
            ("core", f"{core.width}x{core.height} px at x {core.x}, y {core.y}, with {tile.halo} px of halo"),
        ]
    whole = f"{letter.size_bytes} bytes" if letter.truncated_bytes is None else _truncated(letter)
    rows.append(("value", "null" if "value" in record.nulls and letter.truncated_bytes is None else whole))
    rows.append(("picture", judged.told + ("" if judged.shape else ": it cannot be drawn")))
    rows += [
        (f"header {plain(name, limit=40)}", "null" if at in record.nulls else _header_text(value))
        for at, (name, value) in enumerate(record.headers[:_MAX_HEADERS])
        if not name.startswith(PREFIX)
    ]
    if len(record.headers) > _MAX_HEADERS:
        rows.append(("", f"and {len(record.headers) - _MAX_HEADERS} more headers"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, told in rows:
        table.add_row(Text(name), Text(told))
    _console().print(table)


def _attempt_text(letter: Letter) -> str:
    first = f", first at {letter.lineage} on {time_text(letter.first_ms)} UTC" if letter.attempt > 1 else ""
    return f"{letter.attempt}{first}"


def _truncated(letter: Letter) -> str:
    return f"not kept: the record of {letter.truncated_bytes} bytes was too large"


def _header_text(value: bytes) -> str:
    """Text as it is; anything else by its size and first bytes."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text:
        return f"{len(value)} bytes: {value[:24].hex(' ')}{' …' if len(value) > 24 else ''}" if value else "empty"
    return plain(text, limit=200)


def _write(out: Path, record: Record, judged: Judged) -> str:
    """Write the picture, or the untouched bytes; says which."""
    from streamproc.deadletters.picture import draw

    data, what = record.value, "the untouched bytes"
    if out.suffix.lower() == ".png":
        hint = f"name another suffix ({out.with_suffix('.bin').name}) for the untouched bytes"
        if judged.shape is None:
            raise StreamprocError(f"the tile cannot be drawn ({judged.told}): {hint}")
        try:
            data, what = draw(record.value, judged.shape), f"the tile, {judged.shape}"
        except BadMessage as bad:
            raise StreamprocError(f"the tile cannot be drawn ({plain(str(bad))}): {hint}") from None
    try:
        out.write_bytes(data)
    except OSError as error:
        raise StreamprocError(f"{out} cannot be written: {error.strerror}") from None
    return f"\nwrote {what}, to {out}"


def _tell_redriven(done: Redriven, *, dry_run: bool) -> None:
    for letter, offset in done.sent:
        origin = f"{letter.origin.topic}[{letter.origin.partition}]" if letter.origin else "?"
        what = "would be sent" if dry_run else "sent"
        at = "" if offset is None else f", offset {offset}"
        typer.echo(f"{letter.place}  {what} to {origin}{at}, attempt {letter.attempt + 1}  {_about(letter)}")
    for letter, why in done.refused:
        typer.echo(f"{letter.place}  refused: {why}  {_about(letter)}")
    older = f", {done.older} older letters of the same records passed over" if done.older else ""
    verb = "would be sent back" if dry_run else "sent back and acknowledged"
    typer.echo(f"{len(done.sent)} {verb}, {len(done.refused)} refused{older}")
    if done.sent and not dry_run:
        typer.echo(DUPLICATES)


def _about(letter: Letter) -> str:
    if letter.tile is None:
        return f"({letter.reason})"
    tile = letter.tile
    return f"({tile.camera}/{tile.run}/{tile.sequence} tile {tile.row},{tile.col}: {letter.reason})"


def _as_json(done: Redriven, *, dry_run: bool) -> dict[str, Any]:
    sent = [
        {
            "id": str(letter.place),
            "topic": letter.origin.topic if letter.origin else None,
            "partition": letter.origin.partition if letter.origin else None,
            "offset": offset,
            "attempt": letter.attempt + 1,
        }
        for letter, offset in done.sent
    ]
    refused = [{"id": str(letter.place), "why": why} for letter, why in done.refused]
    return {"dry_run": dry_run, "sent": sent, "refused": refused, "older": done.older}
