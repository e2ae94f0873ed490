"""`streamproc stitch`: pictures of several cameras joined into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from streamproc.cli.connect import Json, SettingsFile, settings_for
from streamproc.cli.notices import err
from streamproc.cli.writing import write_whole
from streamproc.errors import UsageError


def stitch(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE", help="2 to 16 overlapping pictures.")],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The panorama; replaced if it is there.")],
    features: Annotated[int, typer.Option(min=10, max=20_000, help="Points looked for in each picture.")] = 2000,
    least_matches: Annotated[
        int, typer.Option(min=4, max=10_000, help="Points that two pictures must agree on to be joined.")
    ] = 20,
    settings_file: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Join overlapping pictures of one scene, taken from one place or of something flat, into one picture."""
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the panorama is written as PNG, name it so")
    settings = settings_for(settings_file)
    from producers.sources.picture import read_picture
    from producers.sources.source import Notices
    from streamproc.operators.pixels import encode
    from streamproc.operators.stitching import stitch as join

    notices = Notices(lambda line: err.print(escape(line)))
    frames = [read_picture(path, max_pixels=settings.max_frame_pixels, notices=notices) for path in pictures]
    panorama = join(frames, features=features, least_matches=least_matches)
    write_whole(out, encode(panorama.pixels, "png"))
    height, width = panorama.pixels.shape[:2]
    placed = list(zip(pictures, panorama.places, panorama.homographies, strict=True))
    if as_json:
        told = {
            "out": str(out),
            "width": width,
            "height": height,
            "pictures": [
                {
                    "path": str(path),
                    "place": [place.x, place.y, place.width, place.height],
                    "homography": homography.tolist(),
                }
                for path, place, homography in placed
            ],
            "joints": [
                {"first": first, "second": second, "points": points} for first, second, points in panorama.joints
            ],
        }
        typer.echo(json.dumps(told))
        return
    for path, place, _ in placed:
        typer.echo(f"{path}  {place.width}x{place.height} px at x {place.x}, y {place.y}")
    for first, second, points in panorama.joints:
        typer.echo(f"{pictures[first].name} and {pictures[second].name} agree on {points} points")
    typer.echo(f"panorama  {out}, {width}x{height} px")
