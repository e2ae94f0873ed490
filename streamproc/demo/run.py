"""One run from a source to its outcomes, with workers of its own."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from producers.publish import publish
from producers.runs import PublishReport
from producers.sources import Source
from streamproc.broker import ephemeral
from streamproc.demo.collect import EventLog
from streamproc.errors import StreamprocError
from streamproc.exporter import tiles_by_outcome
from streamproc.model import Codec, Frame, Grid
from streamproc.operators.pipeline import Pipeline
from streamproc.provision import create_topics, require_topics, wait_for_group
from streamproc.settings import Settings
from streamproc.supervise import Workers, WorkerSpec

IN_FLIGHT_FRAMES = 12  # published and without an outcome; keeps latency and memory small when the source is fast
READY_S = 60.0

Told = Callable[[str], None]
Progress = Callable[[int, int], None]
"""(frames published, frames with an outcome)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What to run.

    Attributes:
        pipeline_file: None runs the built-in pipeline.
        grid: None chooses by the first frame.
        frames: At most so many; None reads the source to its end.
        folder: For the workers' logs.
        metrics_ports: One for each worker.
    """

    camera: str
    run: str
    codec: Codec
    grid: Grid | None
    frames: int | None
    pipeline: Pipeline
    pipeline_file: Path | None
    folder: Path
    metrics_ports: tuple[int, ...]

    @property
    def workers(self) -> int:
        """Worker processes: one for each exporter."""
        return len(self.metrics_ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What became of it.

    Attributes:
        events: One CloudEvent for each frame with an outcome, by sequence.
        happened: CloudEvents of what happened on frames (tracks, rules, anomalies), by sequence.
        repeated: Frames told of more than once.
        tiles: What became of the tiles, from the workers' metrics.
        settings: As used, with the broker's address.
    """

    published: PublishReport
    events: list[dict[str, Any]]
    happened: list[dict[str, Any]]
    repeated: int
    tiles: dict[str, int]
    settings: Settings
    partitions: int
    stall: StreamprocError | None = field(default=None)

    @property
    def outcomes(self) -> dict[str, int]:
        """Frames by outcome; `lost` are published ones without an event."""
        counts = Counter(event["data"]["outcome"] for event in self.events)
        lost = self.published.frames_published - len(self.events)
        return {**counts, **({"lost": lost} if lost > 0 else {})}

    @property
    def all_complete(self) -> bool:
        """Whether every frame read was published and ended complete, once."""
        return (
            self.published.frames_read > 0
            and self.published.frames_failed == 0
            and self.outcomes == {"complete": self.published.frames_read}
            and self.repeated == 0
        )


@contextlib.contextmanager
def broker_for(settings: Settings, *, told: Told) -> Iterator[Settings]:
    """The user's broker if one is named, else one of our own for as long as this lasts."""
    if "bootstrap" in settings.model_fields_set:
        yield settings
        return
    with ephemeral(progress=told) as cluster:
        yield settings.model_copy(update={"bootstrap": cluster.bootstrap})


@contextlib.contextmanager
def running_workers(settings: Settings, options: DemoOptions, *, told: Told) -> Iterator[Workers]:
    """Workers that have joined their group and own all partitions."""
    specs = [WorkerSpec(pipeline=options.pipeline_file, metrics_port=port) for port in options.metrics_ports]
    told(f"starting {options.workers} worker{'s' if options.workers > 1 else ''}")
    with Workers(settings, specs, folder=options.folder) as workers:
        wait_for_group(settings, members=options.workers, timeout_s=READY_S, check=workers.check)
        yield workers


def run_demo(
    source: Source,
    settings: Settings,
    options: DemoOptions,
    *,
    told: Told,
    progress: Progress,
    stop: threading.Event,
    finish: Callable[[DemoResult], None],
) -> DemoResult:
    """Run the source through broker, producer and workers until each published frame has its outcome.

    Args:
        source: Open.
        settings: Its bootstrap, if set, is used; else a broker is started for the run.
        options: What to run.
        told: Takes a line for the user.
        progress: Called often.
        stop: Set it to end early: what was published is still waited for.
        finish: Called with the result while broker and topics are still there (to read pictures back).

    Raises:
        StreamprocError: A worker died, the broker went away, or frames stay without outcome too long.
    """
    with broker_for(settings, told=told) as used:
        create_topics(used)
        partitions = require_topics(used)
        with (
            running_workers(used, options, told=told) as workers,
            EventLog(used, camera=options.camera, run=options.run) as events,
        ):
            published = publish(
                _Throttled(source, events, workers, progress=progress, stop=stop),
                used,
                camera=options.camera,
                run=options.run,
                codec=options.codec,
                grid=options.grid,
                fps="max",
                limit=options.frames,
                pipeline_halo=options.pipeline.halo,
                partitions=partitions,
                stop=stop,
                notice=told,
            )
            stall = _wait_for_outcomes(events, workers, published, used, progress=progress)
            workers.check()
            result = DemoResult(
                published=published,
                events=events.events(),
                happened=events.happened(),
                repeated=sum(times > 1 for times in events.seen.values()),
                tiles=_tiles(options.metrics_ports),
                settings=used,
                partitions=partitions,
                stall=stall,
            )
            finish(result)
            return result


def _wait_for_outcomes(
    events: EventLog, workers: Workers, published: PublishReport, settings: Settings, *, progress: Progress
) -> StreamprocError | None:
    """Wait until each published frame has its outcome, as long as there is progress."""
    wanted, last, waited_s = published.frames_published, -1, 0.0
    patience_s = settings.frame_deadline_s + settings.session_timeout_s + 20
    while not events.wait_for(wanted, timeout_s=0.25):
        workers.check()
        progress(published.frames_published, events.count)
        waited_s = waited_s + 0.25 if events.count == last else 0.0
        last = events.count
        if waited_s > patience_s:
            return StreamprocError(
                f"{wanted - last} of {wanted} frames have no outcome and nothing has moved for {patience_s:.0f} s:"
                " see the workers' logs, and streamproc doctor"
            )
    progress(published.frames_published, events.count)
    return None


def _tiles(ports: tuple[int, ...]) -> dict[str, int]:
    """Sum over all workers; one that is gone takes its counts along."""
    counts: Counter[str] = Counter()
    for port in ports:
        with contextlib.suppress(OSError):
            counts.update(tiles_by_outcome(port))
    return dict(counts)


class _Throttled(Source):
    """A source that is read no further than the workers follow."""

    def __init__(
        self, source: Source, events: EventLog, workers: Workers, *, progress: Progress, stop: threading.Event
    ) -> None:
        self._source, self._events, self._workers = source, events, workers
        self._progress, self._stop = progress, stop
        self.name, self.length, self.fps = source.name, source.length, source.fps

    def describe(self) -> str:
        return self._source.describe()

    def __iter__(self) -> Iterator[Frame]:
        frames = iter(self._source)
        for number in itertools.count():
            self._progress(number, self._events.count)
            while not self._events.wait_for(number + 1 - IN_FLIGHT_FRAMES, timeout_s=0.25):
                self._workers.check()
                if self._stop.is_set():
                    return
            frame = next(frames, None)  # read only now: its capture time is the time of reading
            if frame is None:
                return
            yield frame
