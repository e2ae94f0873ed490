"""`streamproc replay`: send frames of the log, or of an archive, again."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from streamproc.cli.connect import Bootstrap, Json, MetricsPort, SettingsFile, settings_for
from streamproc.cli.interrupts import stop_on_signals
from streamproc.cli.notices import err, say
from streamproc.errors import BrokerError, UsageError
from streamproc.reader import TopicReader
from streamproc.settings import Settings, load_settings
from streamproc.topics import Topics

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from producers.replay import Control
    from producers.replay_choice import Choice
    from producers.replay_order import Ranges
    from producers.replay_report import OnProgress, ReplayProgress, ReplayReport
    from streamproc.archive import ArchiveReader
    from streamproc.records import RecordSource

_QUEUE_BYTES = 8 * 2**20  # reading goes from window to window: what is fetched beyond one is fetched again

From = Annotated[
    str | None,
    typer.Option("--from", help="Capture time (2026-01-31T12:00:00, UTC unless it says otherwise) or age (90s, 15m)."),
]
To = Annotated[str | None, typer.Option("--to", help="The same, exclusive.")]
OfRun = Annotated[list[str] | None, typer.Option(help="Only frames of this original run; may be repeated.")]
Archive = Annotated[
    str | None, typer.Option(help="Read from this archive (a path, s3://..., hdfs://...) instead of the live log.")
]
Replays = Annotated[bool, typer.Option("--replays", help="Also frames that were sent by an earlier replay.")]
Slack = Annotated[
    float,
    typer.Option(
        min=0,
        max=86_400,
        help="Seconds by which a frame's capture time and the time it was sent may differ. The log is searched by the"
        " latter, from so long before --from to so long after --to; raise it for wrong clocks and late frames.",
    ),
]


def replay(
    *,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be repeated.")] = None,
    since: From = None,
    until: To = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(help="Frames with a tile at PARTITION:FIRST-LAST of the source; may be repeated."),
    ] = None,
    event: Annotated[list[str] | None, typer.Option(help="The frame of this event's id; may be repeated.")] = None,
    of_run: OfRun = None,
    replays: Replays = False,
    archive: Archive = None,
    slack: Slack = 60,
    speed: Annotated[str, typer.Option(help="Times real time: 1, 4x, 0.5, or max.")] = "1",
    prefix: Annotated[
        str | None, typer.Option(help="Prefix of the topics to send to; default: that of the source.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Full name of the topic to send to, instead of --prefix.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Name that the new runs are made of; default: replay-TIME-RANDOM.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many frames.")] = None,
    metrics_port: MetricsPort = None,
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Send frames of the log again as new runs, at the pace they had; space pauses and resumes, Ctrl-C ends.

    SIGUSR1 pauses and SIGUSR2 resumes as well. Frames come whole: Ctrl-C ends after those that were begun.
    """
    from producers.replay import Control, Target
    from producers.replay import replay as send
    from producers.replay_choice import Choice, parse_moment, parse_offsets
    from producers.replay_meter import ReplayMeter
    from producers.replay_pace import parse_speed
    from streamproc.exporter import exported
    from streamproc.vitals import Vitals, Wanted

    if event and (offsets or camera or since or until or of_run):
        raise UsageError("--event names frames alone: leave --camera, --from, --to, --offsets and --of-run out")
    if prefix is not None and topic is not None:
        raise UsageError("--prefix and --topic both say where to: use one")
    from_ns, to_ns = parse_moment(since, name="--from"), parse_moment(until, name="--to")
    require_order(from_ns, to_ns, since=since, until=until)
    settings = settings_for(settings_file, bootstrap=bootstrap, metrics_port=metrics_port)
    target_topic = topic or Topics(_prefix(prefix, settings)).tiles
    wanted = Choice(cameras=camera or (), runs=of_run or (), from_ns=from_ns, to_ns=to_ns, replays=replays)
    asked, times = parse_offsets(offsets or ()), parse_speed(speed)
    base, control = _base(run), Control()
    with opened(settings, archive, Topics(settings.prefix).tiles) as source, TopicReader(settings, target_topic) as to:
        target = Target(
            topic=target_topic,
            partitions=len(to.partitions()),
            base=base,
            apart=bool(event) and len(event or ()) > 1,
        )
        ranges = _ranges(settings, source, wanted, asked, event, archive=archive, slack_s=slack)
        begins = (
            None if asked or event else tell_beginning(source, wanted, archive=archive, slack_s=slack, quiet=as_json)
        )
        with (
            stop_on_signals(_stopping) as (stop, received),
            controlled(control),
            shown(quiet=as_json, limit=limit) as progress,
            exported(settings, Vitals("replay", wanted=Wanted((target_topic,)), stopping=stop.is_set)) as metrics,
        ):
            report = send(
                source,
                ranges,
                wanted,
                target,
                settings,
                speed=times,
                limit=limit,
                stop=stop,
                control=control,
                on_progress=progress,
                meter=ReplayMeter(
                    metrics,
                    source="archive" if archive else "log",
                    target="same" if target_topic == Topics(settings.prefix).tiles else "other",
                    limit_bytes=settings.producer_queue_bytes // 2,
                    limit=limit,
                ),
            )
    _tell(report, received, begins=begins, as_json=as_json)
    report.raise_for_problem()
    if received:
        raise typer.Exit(128 + received[0])
    if not report.frames:
        raise BrokerError(nothing_found(report.source, wanted, archive=archive))


def opened(settings: Settings, archive: str | None, topic: str) -> AbstractContextManager[TopicReader | ArchiveReader]:
    """A topic in the live log, or in an archive.

    Raises:
        ArchiveError: The archive cannot be read, or holds nothing of the topic.
    """
    if archive is None:
        return TopicReader(settings, topic, max_queue_bytes=_QUEUE_BYTES)
    from streamproc.archive import ArchiveReader

    return ArchiveReader(archive, topic)


def require_order(from_ns: int | None, to_ns: int | None, *, since: str | None, until: str | None) -> None:
    """Refuse a span that ends before it begins.

    Raises:
        UsageError: Says so.
    """
    if from_ns is not None and to_ns is not None and to_ns <= from_ns:
        raise UsageError(f"--to {until} is not after --from {since}")


def nothing_found(topic: str, choice: Choice, *, archive: str | None) -> str:
    """One line for a choice that nothing fits."""
    where = f"the archive's {topic}" if archive else topic
    echo = "" if choice.replays or choice.runs else "; frames of earlier replays count with --replays"
    return f"{where} holds no frame that fits (streamproc events and archive ls tell what there is){echo}"


def tell_beginning(
    source: RecordSource, choice: Choice, *, archive: str | None, slack_s: float, quiet: bool
) -> str | None:
    """Say in a line if a log or an archive begins only after the span that is asked for does.

    Returns:
        When it begins, if so.
    """
    from producers.replay_span import begins_ms
    from streamproc.cloudevents import event_time

    begins = begins_ms(source, from_ns=choice.from_ns, slack_s=slack_s)
    if begins is None:
        return None
    begun = event_time(begins * 10**6)
    if not quiet:
        asked = " to ".join(event_time(moment) for moment in (choice.from_ns, choice.to_ns) if moment is not None)
        where = f"the archive's {source.topic}" if archive else source.topic
        say(f"{where} begins at {begun}, asked was from {asked}: what was captured before is not there")
    return begun


def _prefix(prefix: str | None, settings: Settings) -> str:
    return settings.prefix if prefix is None else load_settings(prefix=prefix).prefix


def _base(run: str | None) -> str:
    """The name that new runs are made of.

    Raises:
        UsageError: A bad one, or too long.
    """
    from producers.replay_records import MAX_BASE
    from producers.runs import new_run, require_name

    if run is None:
        return new_run("replay")
    if len(require_name("run", run)) > MAX_BASE:
        raise UsageError(f"--run {run!r}: at most {MAX_BASE} characters, runs are made of it")
    return run


def _ranges(
    settings: Settings,
    source: TopicReader | ArchiveReader,
    wanted: Choice,
    asked: Ranges,
    event: Sequence[str] | None,
    *,
    archive: str | None,
    slack_s: float,
) -> Ranges:
    """Where to look; names the frames in `wanted` where they are known."""
    from producers.replay_choice import by_events, by_offsets
    from producers.replay_span import around_captures

    if event:
        with opened(settings, archive, Topics(settings.prefix).events) as events:
            ranges, wanted.frames = by_events(source, events, event)
        return ranges
    if asked:
        ranges, wanted.frames = by_offsets(source, asked, judge=wanted)
        wanted.unreadable = 0
        return ranges
    return around_captures(source, from_ns=wanted.from_ns, to_ns=wanted.to_ns, slack_s=slack_s)


def _tell(report: ReplayReport, received: Sequence[int], *, begins: str | None, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**report.as_json(), "source_begins": begins}))
        return
    if received:
        when = ", after the frames that were begun" if report.frames else " before any frame was sent"
        err.print(f"stopped by {signal.Signals(received[0]).name}{when}", markup=False)
    if report.frames:
        typer.echo("\n".join(report.lines()))


def _stopping() -> None:
    err.print("stopping after the frames that were begun; once more to stop at once")


@contextmanager
def controlled(control: Control) -> Iterator[None]:
    """Space pauses and resumes where stdin is a terminal; SIGUSR1 pauses, SIGUSR2 resumes."""
    signals: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGUSR1: control.pause,
        signal.SIGUSR2: control.resume,
    }
    before = {number: signal.signal(number, _calling(act)) for number, act in signals.items()}
    try:
        with _keys(control):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _calling(act: Callable[[], None]) -> Callable[[int, object], None]:
    return lambda _number, _frame: act()


@contextmanager
def _keys(control: Control) -> Iterator[None]:
    """Watch the keyboard; the terminal is as before at the end."""
    import termios
    import tty

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        yield
        return
    descriptor, over = sys.stdin.fileno(), threading.Event()
    before = termios.tcgetattr(descriptor)

    def watch() -> None:
        while not over.is_set():
            if select.select([descriptor], [], [], 0.1)[0] and os.read(descriptor, 64).count(b" ") % 2:
                control.toggle()

    keys = threading.Thread(target=watch, name="keys", daemon=True)
    tty.setcbreak(descriptor)  # Ctrl-C stays a signal
    try:
        keys.start()
        yield
    finally:
        over.set()
        keys.join(timeout=1)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def shown(*, quiet: bool, limit: int | None = None) -> Iterator[OnProgress]:
    """A bar with position, speed, frames, tiles and megabytes; without a terminal a line for each pause and its end.

    Args:
        quiet: Nothing.
        limit: Of the frames: the bar counts them. Without it, it counts offsets of the source.
    """
    from rich.progress import BarColumn, Progress, TextColumn

    if quiet or not err.is_terminal:
        yield _silent if quiet else _pauses()
        return
    share = TextColumn("{task.percentage:>5.1f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), share, TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=err, transient=True, refresh_per_second=5) as bar:
        task = bar.add_task("reading", total=None, told="")

        def show(now: ReplayProgress) -> None:
            at = _reached(now)
            bar.update(
                task,
                total=now.total if limit is None else limit,
                completed=now.passed if limit is None else min(now.frames, limit),
                description=f"paused  {at}" if now.paused else at,
                told=f"{now.speed:.1f}x  {now.frames} frames  {now.tiles} tiles  {now.bytes / 1e6:.1f} MB",
            )

        yield show


def _silent(_now: ReplayProgress) -> None:
    """With --json nothing but the result is printed."""


def _pauses() -> OnProgress:
    """Says when a replay pauses, and when it goes on."""
    paused = False

    def show(now: ReplayProgress) -> None:
        nonlocal paused
        if now.paused != paused:
            at = _reached(now)
            say(f"paused at {at}" if at and now.paused else "paused" if now.paused else "goes on")
        paused = now.paused

    return show


def _reached(now: ReplayProgress) -> str:
    """The capture time that was sent last, to the millisecond; empty before the first."""
    from streamproc.cloudevents import event_time

    return "" if now.captured_ns is None else event_time(now.captured_ns)[:23]
