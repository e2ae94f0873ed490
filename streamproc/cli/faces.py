"""`streamproc face tag`: what a folder of examples is good for, and whose faces pictures show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from streamproc.cli.connect import Json, SettingsFile, settings_for
from streamproc.cli.notices import err
from streamproc.errors import SourceError, UsageError

if TYPE_CHECKING:
    from streamproc.operators.face_tags import Gallery

app = typer.Typer(help="Name faces after examples.", no_args_is_help=True)
SHOWN_WHOLE = 10


@app.callback()
def _face() -> None:
    """Name faces after examples."""


@app.command("tag")
def tag(
    examples: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Pictures of one face each, called anna-1.jpg, anna-2.jpg, ...")
    ],
    pictures: Annotated[list[Path] | None, typer.Argument(metavar="PICTURE", help="Pictures to tag.")] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least cosine that gives a name; 0: the descriptor's own.")
    ] = 0,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ONNX file of a face network (SFace); none: no network.")
    ] = None,
    min_size_px: Annotated[int, typer.Option(min=20, max=4096, help="Smallest face in the pictures.")] = 48,
    settings_file: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Say how well the examples of a folder tell faces apart, and tag the faces of pictures.

    Each example is left out once and named after the others.
    That says how far the examples carry, among people who all have examples.
    A picture that cannot be read is named and left out; the status is then 1.
    """
    for path in pictures or []:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name the pictures in it")
    settings = settings_for(settings_file)
    from streamproc.operators.face_tags import SFACE_THRESHOLD, THRESHOLD, gallery_of

    gallery = gallery_of(str(examples.resolve()))
    network = "" if model is None else str(model.resolve())
    least = threshold or (SFACE_THRESHOLD if network else THRESHOLD)
    held = _held_out(gallery, network, least)
    tagged, skipped = _tagged(pictures or [], gallery, network, least, min_size_px, settings.max_frame_pixels)
    if as_json:
        told = {"examples": str(examples), "threshold": least, **held, "pictures": tagged, "skipped": skipped}
        typer.echo(json.dumps(told))
    else:
        _show_examples(gallery, held, least)
        _show_faces(tagged, skipped)
    if skipped:
        raise typer.Exit(1)


def _show_faces(tagged: Sequence[dict[str, Any]], skipped: Sequence[str]) -> None:
    for picture in tagged:
        count = len(picture["faces"])
        typer.echo(f"\n{picture['path']}: {count or 'no'} face{'' if count == 1 else 's'}")
        for face in picture["faces"]:
            place = ",".join(str(side) for side in face["box"])
            typer.echo(f"  {face['name']}  {face['similarity']:.3f}  at {place}")
    for line in skipped:
        err.print(f"[yellow]left out[/]: {escape(line)}")


def _held_out(gallery: Gallery, network: str, least: float) -> dict[str, Any]:
    """Each name's examples against all others."""
    from streamproc.operators.face_tags import leave_one_out

    judged = leave_one_out(gallery, network, threshold=least)
    names = []
    for name in gallery.names:
        rows = [at for at, example in enumerate(gallery.examples) if example.name == name]
        own = [value for at in rows if (value := judged.own[at]) is not None]
        names.append(
            {
                "name": name,
                "examples": len(rows),
                "taken_whole": sum(not gallery.examples[at].found for at in rows),
                "right": sum(judged.said[at] == name for at in rows) if own else None,
                "least_own": min(own, default=None),
                "most_other": max((value for at in rows if (value := judged.other[at]) is not None), default=None),
            }
        )
    return {"names": names, "judged": judged.count, "accuracy": judged.accuracy}


def _tagged(
    pictures: Sequence[Path], gallery: Gallery, network: str, least: float, min_size_px: int, max_pixels: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """The faces of each picture that can be read, and a line for each that cannot."""
    from producers.sources.picture import read_picture
    from producers.sources.source import Notices
    from streamproc.operators.face_tags import ROWS, find_faces, name_face

    params = {**ROWS[0].defaults(), "min_size_px": min_size_px}
    notices = Notices(lambda line: err.print(escape(line)))
    told: list[dict[str, Any]] = []
    skipped: list[str] = []
    for path in pictures:
        try:
            pixels = read_picture(path, max_pixels=max_pixels, notices=notices)
        except SourceError as error:
            skipped.append(str(error))
            continue
        found = []
        for left, top, right, bottom in find_faces(pixels, params).tolist():
            name, alike = name_face(pixels[top:bottom, left:right], gallery, model=network, threshold=least)
            found.append({"name": name, "similarity": round(alike, 6), "box": [left, top, right, bottom]})
        told.append({"path": str(path), "faces": found})
    return told, skipped


def _show_examples(gallery: Gallery, held: dict[str, Any], least: float) -> None:
    table = Table("name", "examples", "right", "least own", "most other", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in held["names"]:
        alike = ("-" if row[key] is None else f"{row[key]:.3f}" for key in ("least_own", "most_other"))
        right = "-" if row["right"] is None else str(row["right"])
        table.add_row(Text(row["name"]), str(row["examples"]), right, *alike)
    Console(highlight=False).print(table)
    if held["accuracy"] is None:
        typer.echo("\nno name has two examples, so none can be left out and named: add a second picture of each person")
    else:
        named = sum(row["right"] or 0 for row in held["names"])
        share = f"{held['accuracy']:.3f}, threshold {least:g}"
        typer.echo(f"\n{named} of {held['judged']} left-out examples named right ({share})")
        if single := [row["name"] for row in held["names"] if row["right"] is None]:
            names = "1 name has" if len(single) == 1 else f"{len(single)} names have"
            typer.echo(f"{names} a single example, which cannot be left out: add a second picture of each")
    whole = [example.file for example in gallery.examples if not example.found]
    for file in whole[:SHOWN_WHOLE]:
        err.print(f"[yellow]no face found[/] in {escape(file)}: the whole picture is taken for one")
    if len(whole) > SHOWN_WHOLE:
        err.print(f"[yellow]no face found[/] in {len(whole)} examples in all")
