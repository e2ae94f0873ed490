"""`python -m compose sizing`: the calculator of the sizing guide; and the tables that the guide shows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from compose.sizing import GB, MB, SIZES, TILES_KEPT_BYTES, UTILISATION, Cameras, Plan, plan
from streamproc.errors import UsageError

PAGE: Final = Path(__file__).parent.parent / "docs" / "sizing.md"
BEGIN, END = "<!-- made by python -m compose sizing --tables: {} -->", "<!-- end -->"
_COLUMNS: Final = (
    *(
        "cameras",
        "MB/s written",
        "brokers",
        "in, out of each, MB/s",
        "disk of each",
        "partitions",
        "workers",
        "ingests",
    ),
    *("cores in all", "tiles kept", "of one camera: cores, MB/s"),
)


def sizing(
    cameras: Annotated[int, typer.Option(help="How many.")] = 100,
    size: Annotated[str, typer.Option(help=f"Of the pictures: {', '.join(SIZES)}.")] = "720p",
    fps: Annotated[float, typer.Option(help="Frames a second of each.")] = 5,
    pipeline: Annotated[str, typer.Option(help="What is computed: edges, builtin.")] = "edges",
    changed_only: Annotated[
        bool, typer.Option("--changed-only", help="A small thing moves before a still scene.")
    ] = False,
    pictures: Annotated[float, typer.Option(help="STREAMPROC_PREVIEW_PER_S.")] = 5,
    tiles_kept: Annotated[float, typer.Option(min=0.2, help="STREAMPROC_TILES_KEPT_BYTES, in GiB.")] = TILES_KEPT_BYTES
    / 2**30,
    viewers: Annotated[int, typer.Option(help="Who watch all cameras at once.")] = 1,
    archived: Annotated[bool, typer.Option("--archived", help="Tiles and events are archived, too.")] = False,
    core_price: Annotated[float | None, typer.Option(min=0, help="Of a core for a month, in any money.")] = None,
    gb_price: Annotated[float | None, typer.Option(min=0, help="Of a GB of disk for a month.")] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Write the tables of docs/sizing.md anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Say how many brokers, partitions, workers and cores so many cameras need, and what breaks first."""
    if tables:
        PAGE.write_text(with_tables(PAGE.read_text()))
        return
    if size not in SIZES:
        raise UsageError(f"--size {size}: use one of {', '.join(SIZES)}")
    asked = Cameras(
        count=cameras,
        size=SIZES[size],
        fps=fps,
        pipeline=pipeline,
        changed_only=changed_only,
        viewers=viewers,
        archived=archived,
        pictures=pictures,
        tiles_kept_bytes=tiles_kept * 2**30,
    )
    found = plan(asked)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "cores": found.cores}))
        return
    lines = _lines(found, cameras)
    if core_price is not None or gb_price is not None:
        price = found.cores * (core_price or 0) + found.broker_disk * found.brokers / GB * (gb_price or 0)
        lines.append(("a month, all and one camera", f"{price:,.2f}, {price / cameras:,.2f}"))
    for what, figure in lines:
        typer.echo(f"{what:<34}{figure}")
    for one in found.breaks:
        typer.echo(f"! {one}")


def _lines(found: Plan, cameras: int) -> list[tuple[str, str]]:
    return [
        ("tiles of a frame, of bytes", f"{found.tiles}, {found.tile_bytes / 1000:.0f} kB"),
        ("tiles a second", f"{found.tiles_s:,.0f}"),
        ("written a second, all topics", f"{found.written / MB:,.1f} MB"),
        ("brokers", f"{found.brokers}"),
        ("in and out of each, a second", f"{found.broker_in / MB:,.0f} MB, {found.broker_out / MB:,.0f} MB"),
        ("disk of each", _disk(found)),
        ("partitions of each topic", f"{found.partitions}"),
        ("workers of one core", f"{found.workers}"),
        ("processes of streamproc ingest", f"{found.ingests}"),
        (
            "busy cores",
            f"extract {found.extract_cores:.1f}, aggregate {found.aggregate_cores:.1f},"
            f" ingest {found.ingest_cores:.1f}, brokers {found.broker_cores:.1f}",
        ),
        (f"cores to have, {UTILISATION:.0%} busy", f"{found.cores:,.1f}"),
        ("of one camera", f"{found.cores / cameras:.3f} cores, {found.written / cameras / MB:.2f} MB/s"),
        ("tiles are kept for", _kept(found)),
    ]


def row(asked: Cameras) -> str:
    """One line of a table."""
    found = plan(asked)
    cells = (
        f"{asked.count:,} {asked.size.name}, {asked.fps:g} fps",
        f"{found.written / MB:,.0f}",
        f"{found.brokers}",
        f"{found.broker_in / MB:,.0f}, {found.broker_out / MB:,.0f}",
        _disk(found),
        f"{found.partitions}",
        f"{found.workers:,}",
        f"{found.ingests:,}",
        f"{found.cores:,.0f}",
        _kept(found),
        f"{found.cores / asked.count:.2f}, {found.written / asked.count / MB:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def table(rows: list[Cameras]) -> str:
    """A table in Markdown."""
    head = "| " + " | ".join(_COLUMNS) + " |\n|" + "---|" * len(_COLUMNS)
    return "\n".join([head, *map(row, rows)])


def page_tables() -> dict[str, str]:
    """The guide's tables, by name."""
    counts, small = (10, 100, 1000, 10_000), SIZES["720p"]
    return {
        "sizes": table([Cameras(count=count, size=size, fps=5) for count in counts for size in SIZES.values()]),
        "rates": table([Cameras(count=count, size=small, fps=fps) for count in counts for fps in (1, 5, 15)]),
        "previews": table(
            [Cameras(count=count, size=size, fps=5, pictures=1) for count in counts for size in SIZES.values()]
        ),
        "sparing": table(
            [
                Cameras(count=count, size=size, fps=5, changed_only=True, pictures=1)
                for count in counts
                for size in SIZES.values()
            ]
        ),
        "builtin": table([Cameras(count=count, size=small, fps=5, pipeline="builtin") for count in counts]),
    }


def with_tables(page: str) -> str:
    """The page with its tables as they are now.

    Raises:
        ValueError: It has no place for one.
    """
    for name, text in page_tables().items():
        before, found, rest = page.partition(BEGIN.format(name))
        _, ends, after = rest.partition(END)
        if not (found and ends):
            raise ValueError(f"{PAGE.name} has no place for the table {name!r}")
        page = f"{before}{found}\n\n{text}\n\n{ends}{after}"
    return page


def _disk(found: Plan) -> str:
    return f"{found.broker_disk / GB:,.0f} GB"


def _kept(found: Plan) -> str:
    seconds = found.tiles_kept_s
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s" if seconds >= 1 else "below 1 s"
