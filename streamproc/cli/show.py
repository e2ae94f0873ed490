"""`streamproc show` and `streamproc clip`: the pixels of an event, and a video of a time range."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, pipeline_for, settings_for
from streamproc.cli.events import parse_time
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err, say
from streamproc.cli.writing import write_whole
from streamproc.cloudevents import event_time
from streamproc.errors import StreamprocError, UsageError
from streamproc.settings import Settings
from streamproc.topics import Topics

if TYPE_CHECKING:
    from rich.progress import Progress

    from streamproc.evidence import Sight, Sources
    from streamproc.evidence.clip import Clip
    from streamproc.evidence.store import EventStore, Told


Archive = Annotated[
    str | None,
    typer.Option(metavar="URL", help="An archive that is asked before the log: a path, s3://..., hdfs://..."),
]
Events = Annotated[
    Path | None,
    typer.Option("--events", metavar="PATH", help="Look for the event in this events.jsonl, or a folder with one."),
]
PipelineFile = Annotated[
    Path | None, typer.Option(help="TOML file of the event's pipeline, to draw its edges. Default: the built-in one.")
]
INTERRUPTED = {2: 130, 15: 143}


def show(
    event_id: Annotated[
        str, typer.Argument(metavar="EVENT_ID", help="The `id` of an event, as `events --json` has it.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture; replaced if it is there.")],
    camera: Annotated[
        str | None, typer.Option(help="Its camera, if known: one partition is searched, not all.")
    ] = None,
    archive: Archive = None,
    events_file: Events = None,
    pipeline: PipelineFile = None,
    plain: Annotated[bool, typer.Option("--plain", help="The pixels alone, nothing drawn.")] = False,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Show the pixels an event came from, with what was found on them, and say where they stand.

    Exit status 1 if no pixel of it is left anywhere; the picture then has the boxes alone.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the picture is written as PNG, name it so")
    settings = settings_for(settings_file, bootstrap=bootstrap)
    steps = pipeline_for(pipeline)
    with open_sources(settings, archive) as sources:
        event, told = _find(event_id, sources, settings, camera=camera, file=events_file, quiet=as_json)
        sight = sight_of(sources, settings, told)
        from streamproc.evidence.edges import edges_again

        edges, edges_line = edges_again(sight, told.data, steps)
        if plain and sight.seen is None:
            raise StreamprocError(f"event {event_id}: no pixel is left: {'; '.join(sight.told)}")
        _write_picture(out, event, told, sight, edges=edges, plain=plain)
    facts = _facts(event, told, sight, edges_line=edges_line, out=out)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _tell(facts)
    if sight.seen is None:
        raise typer.Exit(1)


def clip(
    camera: Annotated[str, typer.Option(help="Whose frames.")],
    since: Annotated[str, typer.Option("--from", help="Capture time (2026-01-31T12:00:00) or age (90s, 15m, 2h).")],
    until: Annotated[str, typer.Option("--to", help="The same, exclusive.")],
    out: Annotated[Path, typer.Option(metavar="FILE.mp4", help="The video; replaced if it is there.")],
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=60, help="Pictures a second. Default: as the camera gave them.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Only this run. Default: the first that tells of a frame.")] = None,
    archive: Archive = None,
    pipeline_events: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Draw the events of this events.jsonl, or of a folder with one, instead."),
    ] = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Make an annotated video of a camera and a time range; it runs as fast as the frames were captured."""
    if out.suffix.lower() != ".mp4":
        raise UsageError(f"--out {out}: the video is written as MP4, name it so")
    span = _range(since, until)
    settings = settings_for(settings_file, bootstrap=bootstrap)
    begins: list[int] = []
    with (
        open_sources(settings, archive) as sources,
        _evidence(sources, settings, camera, span, run, begins=begins, quiet=as_json) as evidence,
        _results(evidence, pipeline_events) as results,
        stop_on_signals(lambda: err.print("stopping: the video ends here (again: at once)")) as (stop, received),
    ):
        from streamproc.evidence.clip import make_clip, usual_fps
        from streamproc.evidence.video import Video

        rate = (
            Fraction(fps).limit_denominator(1000)
            if fps
            else usual_fps(sorted(one.captured_ns for one in evidence.frames()))
        )
        with progress(as_json) as bar:
            task = bar.add_task("frames", total=len(evidence))
            done = make_clip(
                lambda width, height: Video(out, width=width, height=height, fps=rate),
                sources,
                evidence,
                results,
                fps=rate,
                max_frame_pixels=settings.max_frame_pixels,
                seen=lambda: bar.advance(task),
                stop=stop.is_set,
            )
    _tell_clip(done, out, begins=event_time(begins[0] * 10**6) if begins else None, as_json=as_json)
    if received:
        raise typer.Exit(INTERRUPTED[received[0]])


def has_broker(settings: Settings) -> bool:
    """Whether somebody has named a broker, or a local one runs; else there is no log to ask."""
    return "bootstrap" in settings.model_fields_set


def open_sources(settings: Settings, archive: str | None) -> Sources:
    """The archive, if one is named, then the log, if a broker is known or there is no archive."""
    from streamproc.evidence.sources import Opener, Sources, log_of

    places: list[tuple[str, Opener]] = []
    if archive is not None:
        from streamproc.archive import ArchiveReader
        from streamproc.archive.storage import Storage

        url = archive
        places.append((f"the archive {Storage(url).url}", lambda topic: ArchiveReader(url, topic)))
    if archive is None or has_broker(settings):
        places.append(log_of(settings))
    return Sources(places)


def events_path(path: Path) -> Path:
    """An `events.jsonl`, given itself or its folder."""
    return path / "events.jsonl" if path.is_dir() else path


def sight_of(sources: Sources, settings: Settings, told: Told) -> Sight:
    """The pixels of a frame: where its event says, or else of the same frame in another run (a replay's original)."""
    from streamproc.evidence import look
    from streamproc.evidence.finding import twin_of

    (sight,) = look(sources, [told.data], max_frame_pixels=settings.max_frame_pixels)
    if sight.seen is None:
        twin = twin_of(sources, Topics(settings.prefix).events, told.data)
        if twin is not None:
            (other,) = look(sources, [twin["data"]], max_frame_pixels=settings.max_frame_pixels)
            return other if other.seen is not None else sight
    return sight


def progress(quiet: bool) -> Progress:
    """A bar on stderr; none for machines."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal)


def _find(
    event_id: str, sources: Sources, settings: Settings, *, camera: str | None, file: Path | None, quiet: bool
) -> tuple[dict[str, Any], Told]:
    """The event, and what is told of its frame."""
    from streamproc.evidence.finding import find_event, frame_event_of, is_frame_event, records_of
    from streamproc.evidence.store import EventStore, Told

    if file is not None:
        with EventStore.of_file(events_path(file)) as store:
            return store.find(event_id)
    topic = Topics(settings.prefix).events
    with progress(quiet) as bar:
        task = bar.add_task(f"searching {topic}", total=records_of(sources, topic, camera))
        event = find_event(sources, topic, event_id, camera=camera, seen=lambda count: bar.advance(task, count))
        if is_frame_event(event):
            return event, Told(event, [])
        return event, Told(frame_event_of(sources, topic, event), [event])


def _write_picture(out: Path, event: Mapping[str, Any], told: Told, sight: Sight, *, edges: Any, plain: bool) -> None:
    from streamproc.evidence.picture import draw_sight, with_words, words_of
    from streamproc.operators.pixels import encode

    if plain and sight.seen is not None:
        picture = sight.seen.pixels
    else:
        picture = with_words(draw_sight(sight, told, edges=edges), words_of(event, told, sight))
    write_whole(out, encode(picture, "png"))


def _facts(event: Mapping[str, Any], told: Told, sight: Sight, *, edges_line: str, out: Path) -> dict[str, Any]:
    data = told.data
    evidence = data["evidence"]
    return {
        "id": event["id"],
        "type": event["type"],
        "out": str(out),
        "camera": data["camera"],
        "run": data["run"],
        "sequence": data["sequence"],
        "captured_ns": data["captured_ns"],
        "clock": data.get("clock"),
        "outcome": data["outcome"],
        "objects": data["objects"],
        "topic": evidence["topic"],
        "offsets": evidence["offsets"],
        "pipeline": evidence["pipeline"],
        "operators": evidence["operators"],
        "edges": edges_line,
        "pixels": "gone" if sight.seen is None else ("incomplete" if sight.lost else "whole"),
        "shown_run": sight.key.run,
        "places": list(sight.places),
        "lost_tiles": [{"row": one.row, "col": one.col, "why": one.why} for one in sight.lost],
        "why": list(sight.told),
    }


def _tell(facts: Mapping[str, Any]) -> None:
    from streamproc.evidence.picture import offsets_text

    operators = ", ".join(f"{name} v{version}" for name, version in facts["operators"].items())
    lines = {
        "event": f"{facts['id']} ({facts['type']})",
        "frame": f"{facts['camera']}/{facts['run']}/{facts['sequence']}, captured {event_time(facts['captured_ns'])}"
        + (f" by the {facts['clock']} clock" if facts["clock"] else ""),
        "outcome": facts["outcome"],
        "objects": ", ".join(f"{one['label']} {one['score']:.3g}" for one in facts["objects"]) or "none",
        "tiles": f"{facts['topic']} {offsets_text(facts['offsets'])}",
        "pipeline": f"{facts['pipeline']} ({operators})",
        "edges": facts["edges"],
        "pixels": facts["pixels"] + (f", from {' and '.join(facts['places'])}" if facts["places"] else ""),
    }
    if facts["shown_run"] != facts["run"]:
        lines["pixels"] += f", of the same frame in run {facts['shown_run']}"
    for name, text in lines.items():
        typer.echo(f"{name:9} {text}")
    for tile in facts["lost_tiles"][:20]:
        typer.echo(f"missing   tile {tile['row']},{tile['col']}: {tile['why']}")
    if len(facts["lost_tiles"]) > 20:
        typer.echo(f"missing   and {len(facts['lost_tiles']) - 20} more tiles")
    for line in facts["why"] if facts["pixels"] == "gone" else ():
        typer.echo(f"missing   {line}")
    typer.echo(f"picture   {facts['out']}")


def _range(since: str, until: str) -> tuple[int, int]:
    now_s = time.time()
    from_ms, to_ms = parse_time(since, now_s=now_s, name="--from"), parse_time(until, now_s=now_s, name="--to")
    if from_ms is None or to_ms is None or to_ms <= from_ms:
        raise UsageError(f"--to {until} is not after --from {since}")
    return from_ms * 10**6, to_ms * 10**6


@contextmanager
def _evidence(
    sources: Sources,
    settings: Settings,
    camera: str,
    span: tuple[int, int],
    run: str | None,
    *,
    begins: list[int],
    quiet: bool,
) -> Iterator[EventStore]:
    """The events of the range, on disk; says if the log begins only after the range, and puts that into `begins`.

    Raises:
        StreamprocError: There are none.
    """
    from streamproc.evidence.finding import events_between, first_of_each
    from streamproc.evidence.store import EventStore

    topic = Topics(settings.prefix).events

    def begun(place: str, moment_ms: int) -> None:
        begins.append(moment_ms)
        if not quiet:
            asked = " to ".join(map(event_time, span))
            say(f"{place}: {topic} begins at {event_time(moment_ms * 10**6)}, asked was {asked}: the rest is gone")

    with progress(quiet) as bar:
        task = bar.add_task(f"reading {topic}", total=None)
        found = events_between(
            sources,
            topic,
            camera=camera,
            from_ns=span[0],
            to_ns=span[1],
            seen=lambda count: bar.advance(task, count),
            begun=begun,
        )
        chosen = (one for one in found if run is None or one["data"]["run"] == run)
        store = EventStore.of_events(topic, first_of_each(chosen) if run is None else chosen)
    with store:
        if not len(store):
            silent = sources.silent(topic)
            whose = f"camera {camera}" + (f", run {run}" if run else "")
            raise StreamprocError("; ".join([f"no events of {whose} in that range in {topic}", *silent]))
        yield store


@contextmanager
def _results(evidence: EventStore, path: Path | None) -> Iterator[EventStore]:
    """The events to draw: those of the range itself, or those of a file."""
    from streamproc.evidence.store import EventStore

    if path is None:
        yield evidence
        return
    with EventStore.of_file(events_path(path)) as store:
        yield store


def _tell_clip(done: Clip, out: Path, *, begins: str | None, as_json: bool) -> None:
    seconds = float(done.pictures / done.fps)
    if as_json:
        told = {name: getattr(done, name) for name in ("frames", "shown", "incomplete", "gone", "pictures", "stopped")}
        about = {"fps": float(done.fps), "seconds": round(seconds, 3), "width": done.width, "height": done.height}
        typer.echo(json.dumps({"out": str(out), **told, **about, "why": done.told, "source_begins": begins}))
        return
    left_out = done.frames - done.shown
    typer.echo(
        f"{out}: {seconds:.1f} s at {float(done.fps):g} pictures a second, {done.shown} of {done.frames} frames"
        + (
            " (stopped before the end)"
            if done.stopped
            else f" ({left_out} lasted less than a picture)"
            if left_out
            else ""
        )
    )
    if done.incomplete or done.gone:
        typer.echo(f"{done.incomplete} frames lack some of their pixels, {done.gone} have none left")
        for line in done.told:
            typer.echo(f"  {line}")
