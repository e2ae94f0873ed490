"""`streamproc diff`: what one run found and another did not."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.cli.events import parse_time
from streamproc.cli.show import Archive, events_path, has_broker, open_sources, progress, sight_of
from streamproc.cli.writing import write_whole
from streamproc.errors import CannotJudge, StreamprocError, UsageError
from streamproc.settings import Settings
from streamproc.topics import Topics

if TYPE_CHECKING:
    from streamproc.compare import Comparison
    from streamproc.compare.pictures import Finder
    from streamproc.evidence import Sources
    from streamproc.evidence.store import EventStore, Frame, Told
    from streamproc.model import Pixels

Run = Annotated[str, typer.Argument(help="An events.jsonl, a folder with one, or the id of a run in the events topic.")]
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
WIDE = 240

_json = msgspec.json.Encoder()


def diff(
    run_a: Run,
    run_b: Run,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Only frames captured from here on: 2026-01-31T12:00:00, or 15m, 2h.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same, exclusive.")] = None,
    iou: Annotated[float, typer.Option(min=0.01, max=1, help="Overlap from which on two boxes are one object.")] = 0.5,
    score: Annotated[float, typer.Option(min=0, help="Scores that differ by no more are the same.")] = 0.05,
    box_px: Annotated[float, typer.Option(min=0, help="Sides of boxes that differ by no more have not moved.")] = 1.0,
    number: Annotated[float, typer.Option(min=0, max=1, help="Share by which figures may differ.")] = 1e-6,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Leave out: edges, feature:corners, object.score, digests, ... May be given several times."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the pictures side by side.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=200, help="Frames that are printed.")] = 20,
    archive: Archive = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Compare the events of two runs over the same frames.

    Exit status as of diff(1): 0 they tell the same, 1 they differ, 2 they could not be compared.
    """
    from streamproc.compare import Tolerances, compare

    tolerances = Tolerances(iou=iou, score=score, box_px=box_px, number=number, ignore=_ignored(ignore or []))
    wanted, runs = _range(camera, since, until), (run_a, run_b)
    with _trouble_is_two(), ExitStack() as stack:
        settings = settings_for(settings_file, bootstrap=bootstrap)
        if html is not None:
            archive = archive or next(filter(None, (_rerun_of(run).archive for run in runs)), None)
        sources = stack.enter_context(open_sources(settings, archive))
        a, b = (stack.enter_context(_open(run, sources, settings, camera=camera, quiet=as_json)) for run in runs)
        comparison = compare(a, b, tolerances, wanted=wanted)
        _go_through(a, b, comparison, limit, as_json=as_json)
        if html is not None:
            asked = sources if archive is not None or has_broker(settings) else None
            _write_page(html, (a, b), runs, comparison, asked, settings, quiet=as_json)
    if not comparison.is_same:
        raise typer.Exit(1)


def _go_through(a: EventStore, b: EventStore, comparison: Comparison, limit: int, *, as_json: bool) -> None:
    """Compare all frames and print what was found."""
    with progress(as_json) as bar:
        task = bar.add_task("comparing frames", total=comparison.pairs)
        found = comparison.differences(seen=lambda: bar.advance(task))
        if as_json:
            _print_json(a, b, comparison, found)
        else:
            for _ in found:
                pass
    if not as_json:
        _print(a, b, comparison, limit)


@dataclass(frozen=True, slots=True)
class _Rerun:
    """What a rerun's `run.json` says of where its frames came from."""

    archive: str | None = None
    note: str | None = None


def _rerun_of(run: str) -> _Rerun:
    """What lies beside a run's events; nothing if it is no rerun, or what it says cannot be read."""
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    try:
        about = msgspec.json.decode((folder / "run.json").read_bytes())
        source = about["source"]
        note = (
            None if about["complete"] else f"this rerun was not completed: {about['problem'] or 'frames are missing'}"
        )
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return _Rerun()
    return _Rerun(archive=source.get("url") if source.get("kind") == "archive" else None, note=note)


@contextmanager
def _trouble_is_two() -> Iterator[None]:
    """Whatever goes wrong has exit status 2: 1 says that the runs differ."""
    try:
        yield
    except (UsageError, CannotJudge):
        raise
    except (StreamprocError, OSError) as error:
        raise CannotJudge(" ".join(str(error).split())) from error
    except Exception as error:  # an event that is none of ours: whatever it lacks, it is trouble
        raise CannotJudge(f"the events cannot be compared: {type(error).__name__}: {error}") from error


def _ignored(given: Sequence[str]) -> frozenset[str]:
    return frozenset(part.strip() for one in given for part in one.split(",") if part.strip())


def _range(camera: str | None, since: str | None, until: str | None) -> Callable[[Frame], bool]:
    now_s = time.time()
    from_ms, to_ms = parse_time(since, now_s=now_s, name="--from"), parse_time(until, now_s=now_s, name="--to")
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise UsageError(f"--to {until} is not after --from {since}")

    def wanted(frame: Frame) -> bool:
        return (
            camera in (None, frame.key.camera)
            and (from_ms is None or frame.captured_ns >= from_ms * 10**6)
            and (to_ms is None or frame.captured_ns < to_ms * 10**6)
        )

    return wanted


def _open(run: str, sources: Sources, settings: Settings, *, camera: str | None, quiet: bool) -> EventStore:
    """The events of a run, from a file or from the events topic.

    Raises:
        StreamprocError: There are none.
    """
    from streamproc.evidence.finding import events_of_run, records_of
    from streamproc.evidence.store import EventStore

    path = Path(run)
    if path.exists():
        file = events_path(path)
        if not file.is_file():
            raise UsageError(f"{path} holds no events.jsonl")
        with progress(quiet) as bar:
            task = bar.add_task(f"reading {file.name}", total=file.stat().st_size)
            return EventStore.of_file(file, seen=lambda size: bar.advance(task, size))
    if not _RUN_ID.fullmatch(run):
        raise UsageError(f"{run} is no file or folder, and no id of a run")
    topic = Topics(settings.prefix).events
    places = sources.of(topic)
    if not places:
        raise StreamprocError(f"{run} is no file, and no run can be looked for: {'; '.join(sources.silent(topic))}")
    with progress(quiet) as bar:
        task = bar.add_task(f"searching {topic}", total=records_of(sources, topic, camera))
        for name, source in places:
            found = events_of_run(source, run, camera=camera, seen=lambda count: bar.advance(task, count))
            store = EventStore.of_events(f"run {run} in {name}", found)
            if len(store):
                return store
            store.close()
    where = " and ".join(name for name, _ in places)
    raise StreamprocError(f"{run} is no file, and {topic} has no events of such a run in {where}")


def _print_json(a: EventStore, b: EventStore, comparison: Comparison, found: Iterator[Any]) -> None:
    """One object, written as it is found: sums stand at its end."""
    out = sys.stdout
    out.write('{"a":' + _encoded(_facts(a)) + ',"b":' + _encoded(_facts(b)) + ',"differences":[')
    for number, one in enumerate(found):
        out.write((",\n" if number else "\n") + _encoded(one))
    in_a, in_b, both = comparison.frames
    sums = {
        "same": comparison.is_same,
        "frames": {"a": in_a, "b": in_b, "both": both, "same": comparison.same, "different": comparison.differing},
        "matched_by": comparison.how,
        "counts": comparison.counts,
    }
    out.write("\n]," + _encoded(sums)[1:] + "\n")


def _encoded(value: Any) -> str:
    return _json.encode(value).decode()


def _facts(store: EventStore) -> dict[str, Any]:
    return {
        "name": store.name,
        "frames": len(store),
        "pipelines": store.pipelines,
        "repeated": store.repeated,
        "other": store.other,
        "orphans": store.orphans,
    }


def _notes(store: EventStore) -> list[str]:
    """What is to be said of a run's events beside their differences."""
    rerun = _rerun_of(store.name).note
    said = {
        f"{store.repeated} events beyond the first of their frame; the first counts": store.repeated,
        f"{store.other} events that are not of frames are not compared": store.other,
        f"{store.orphans} events of what happened on frames that have no event are not compared": store.orphans,
    }
    return ([rerun] if rerun else []) + [line for line, number in said.items() if number]


def _print(a: EventStore, b: EventStore, comparison: Comparison, limit: int) -> None:
    from streamproc.compare.page import counted, verdict

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    headline, detail = verdict(comparison)
    for line in [*_about("A", a), *_about("B", b)]:
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"{headline}: {detail}", style="bold"), soft_wrap=True)
    by_sequence = [camera for camera, how in sorted(comparison.how.items()) if how == "sequence"]
    if by_sequence:
        told = f"no capture time is in both runs: frames of {', '.join(by_sequence[:5])} are matched by sequence"
        console.print(Text(told), soft_wrap=True)
    if comparison.is_same:
        return
    sums = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "number", "meaning"):
        sums.add_column(name, justify="right" if name == "number" else "left")
    for kind, meaning, count in counted(comparison):
        sums.add_row(kind, f"{count:,}", meaning)
    console.print(sums)
    _print_worst(console, comparison, limit)


def _about(letter: str, store: EventStore) -> list[str]:
    pipelines = ", ".join(store.pipelines)
    notes = [f"   {note}" for note in _notes(store)]
    return [f"{letter}  {store.name}: {len(store)} frames, pipeline {pipelines}", *notes]


def _print_worst(console: Console, comparison: Comparison, limit: int) -> None:
    from streamproc.compare.page import heading

    worst = comparison.worst()[:limit]
    if not worst:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("frame")
    table.add_column("what differs, the worst first")
    for one in worst:
        more = f"; and {len(one.changes) - 3} more" if len(one.changes) > 3 else ""
        table.add_row(Text(heading(one)), Text("; ".join(change.words for change in one.changes[:3]) + more))
    console.print(table)
    if comparison.differing > len(worst):
        console.print(f"{comparison.differing - len(worst):,} more frames differ: --json lists them all")


def _write_page(
    html: Path,
    stores: tuple[EventStore, EventStore],
    runs: tuple[str, str],
    comparison: Comparison,
    sources: Sources | None,
    settings: Settings,
    *,
    quiet: bool,
) -> None:
    """Write the page; pixels are looked for in `sources`, if there are such, and beside the files."""
    from streamproc.compare.page import PICTURED, RunFacts, Shown, render
    from streamproc.compare.pictures import sides_of

    finders = [_finder(run, sources, settings) for run in runs]
    shown = []
    with progress(quiet) as bar:
        for found in bar.track(comparison.varied(PICTURED), description="pictures"):
            a, b = (store.read(key) if key else None for store, key in zip(stores, (found.a, found.b), strict=True))
            shown.append(Shown(found=found, sides=sides_of(found, a, b, finders[0], finders[1])))
    facts = [
        RunFacts(name=run, frames=len(store), pipelines=store.pipelines, notes=_notes(store))
        for run, store in zip(runs, stores, strict=True)
    ]
    why = (
        "" if sources else "Pixels were looked for beside the files alone; --bootstrap or --archive name a log to ask."
    )
    page = render(facts[0], facts[1], comparison, shown, why_no_pictures=why if comparison.counts else "")
    write_whole(html, page.encode("utf-8", "replace"))
    if not quiet:
        typer.echo(f"page: {html}")


def _finder(run: str, sources: Sources | None, settings: Settings) -> Finder:
    """Where pixels of a run may be: the log and the archive, then the pictures beside its file."""
    from streamproc.compare.pictures import file_finder, first_of

    finders: list[Finder] = []
    if sources is not None:

        def asked(told: Told) -> Pixels | str:
            sight = sight_of(sources, settings, told)
            return sight.seen.pixels if sight.seen is not None else "; ".join(sight.told[:3])

        finders.append(asked)
    path = Path(run)
    if path.exists():
        finders.append(file_finder(path if path.is_dir() else path.parent))
    return first_of(finders)
