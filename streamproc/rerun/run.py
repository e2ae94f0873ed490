"""One rerun: topics, a group and workers of its own, a replay into them, and what came of it in a folder."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producers.replay import Target, replay
from streamproc import __version__
from streamproc.cloudevents import event_time
from streamproc.errors import StreamprocError, UsageError
from streamproc.metrics import Metrics
from streamproc.model import FrameKey
from streamproc.provision import wait_for_group
from streamproc.rerun.collect import Outcomes, Patience
from streamproc.rerun.topics import own_topics
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics

if TYPE_CHECKING:
    from producers.replay_choice import Choice
    from producers.replay_order import Ranges, Timed
    from producers.replay_report import ReplayProgress, ReplayReport
    from streamproc.operators.pipeline import Pipeline
    from streamproc.records import RecordSource
    from streamproc.settings import Settings

READY_S = 60.0
MAX_PREFIX = 90
DEADLINE_S = 5.0
"""Longest wait for tiles of a frame, unless the settings say otherwise: all that the log has are sent at once."""

Told = Callable[[str], None]
Progress = Callable[[int, int, int | None], None]
"""(frames replayed, frames with an outcome, capture time reached in nanoseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunOptions:
    """What to run.

    Attributes:
        name: Of the rerun: part of its topics, its group and its runs.
        pipeline_file: None runs the built-in pipeline.
        archive: Where the source is, if not the log; for `run.json` alone.
        out: Folder for `events.jsonl`, `run.json` and the workers' logs.
        keep: Leave the topics.
    """

    name: str
    pipeline: Pipeline
    pipeline_file: Path | None
    workers: int
    archive: str | None
    out: Path
    keep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunResult:
    """What came of it.

    Attributes:
        outcomes: Frames by outcome; those of frames that never were in the log count too (expired).
        occurrences: Events of what happened on frames.
        unanswered: Replayed frames without an outcome.
        problem: What made it end early.
    """

    replayed: ReplayReport
    outcomes: dict[str, int]
    occurrences: int
    unanswered: int
    seconds: float
    problem: StreamprocError | None

    @property
    def is_whole(self) -> bool:
        """Whether everything was replayed and has its outcome."""
        return self.problem is None and not self.unanswered and not self.replayed.stopped

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to replay, or it was stopped before: then no file is left."""
        return self.problem is None and not self.replayed.frames


def settings_of(settings: Settings, name: str, *, partitions: int) -> Settings:
    """The settings of a rerun: topics and group of its own, as many partitions as the source.

    Raises:
        UsageError: The name makes the prefix too long.
    """
    prefix = f"{settings.prefix}rerun.{name}."
    if len(prefix) > MAX_PREFIX:
        raise UsageError(f"--name {name!r}: at most {MAX_PREFIX - len(prefix) + len(name)} characters")
    changes: dict[str, Any] = {"prefix": prefix, "partitions": partitions, "metrics_port": 0}
    if "frame_deadline_s" not in settings.model_fields_set:
        changes["frame_deadline_s"] = DEADLINE_S
    return settings.model_copy(update=changes)


def run_rerun(
    source: RecordSource,
    ranges: Ranges,
    choice: Choice,
    settings: Settings,
    options: RerunOptions,
    *,
    told: Told,
    progress: Progress,
    stop: threading.Event,
    metrics: Metrics | None = None,
) -> RerunResult:
    """Replay frames through workers of their own until each has its outcome; write what came of it.

    Args:
        source: Of the frames.
        ranges: Where to look.
        choice: Which frames.
        settings: Of the broker and the source's topics.
        options: What to run.
        told: Takes a line for the user.
        progress: Called often.
        stop: Set it to end early: what was replayed is still waited for.
        metrics: Counts there too; None keeps a registry nobody sees.

    Returns:
        What came of it. If nothing was replayed there are no events, and the folder may be used again.

    Raises:
        UsageError: Another rerun has this name.
        StreamprocError: A worker died, or the broker went away; what came until then is written.
    """
    started_s, started_ns = time.monotonic(), time.time_ns()
    partitions = max(source.partitions(), default=0) + 1
    own = settings_of(settings, options.name, partitions=partitions)
    metrics = metrics or Metrics()
    specs = [WorkerSpec(pipeline=options.pipeline_file) for _ in range(options.workers)]
    with own_topics(own, keep=options.keep):
        told(f"starting {options.workers} worker{'s' if options.workers > 1 else ''}")
        with Workers(own, specs, folder=options.out / "logs") as workers:
            wait_for_group(own, members=options.workers, timeout_s=READY_S, check=workers.check)
            with Outcomes(own, options.out / ".events", metrics) as outcomes:
                result = _Rerun(own, options, workers, outcomes, progress=progress, stop=stop, metrics=metrics).run(
                    source, ranges, choice, started_s=started_s
                )
                try:
                    if result.replayed.frames:
                        outcomes.write(options.out / "events.jsonl")
                    if not result.is_empty:
                        about = _about(result, source, choice, own, options, started_ns=started_ns)
                        (options.out / "run.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
                except OSError as error:
                    raise StreamprocError(f"{options.out} cannot be written: {error.strerror}") from None
    if result.is_empty:
        _clear(options)
    return result


def _clear(options: RerunOptions) -> None:
    """Remove the logs of workers that had nothing to do, and their folders unless something else is in them."""
    logs = options.out / "logs"
    with contextlib.suppress(OSError):
        for number in range(options.workers):
            (logs / f"worker-{number}.log").unlink(missing_ok=True)
        logs.rmdir()
        options.out.rmdir()


class _Rerun:
    """The replay and the wait for its outcomes."""

    def __init__(
        self,
        settings: Settings,
        options: RerunOptions,
        workers: Workers,
        outcomes: Outcomes,
        *,
        progress: Progress,
        stop: threading.Event,
        metrics: Metrics,
    ) -> None:
        self._settings, self._options = settings, options
        self._workers, self._outcomes = workers, outcomes
        self._progress, self._stop = progress, stop
        self._patience_s = settings.frame_deadline_s + settings.session_timeout_s + 20
        self._target = Target(
            topic=Topics(settings.prefix).tiles, partitions=settings.partitions, base=f"replay-{options.name}"
        )
        self._metrics = metrics
        self._begun = 0
        self._reached_ns: int | None = None

    def run(self, source: RecordSource, ranges: Ranges, choice: Choice, *, started_s: float) -> RerunResult:
        replayed = replay(
            source,
            ranges,
            choice,
            self._target,
            self._settings,
            speed=None,
            stop=self._stop,
            may_begin=self._may_begin,
            on_sent=self._on_sent,
            on_progress=self._show,
        )
        problem = replayed.problem
        if problem is None and not replayed.stopped:
            self._metrics.rerun_progress.set(1)
        if problem is None:
            try:
                self._wait(lambda: not self._outcomes.under_way)
            except StreamprocError as error:
                problem = error
        return RerunResult(
            replayed=replayed,
            outcomes=dict(self._outcomes.outcomes),
            occurrences=self._outcomes.occurrences,
            unanswered=self._outcomes.under_way,
            seconds=time.monotonic() - started_s,
            problem=problem,
        )

    def _may_begin(self, key: FrameKey) -> bool:
        """Wait for room."""
        self._wait(lambda: self._outcomes.has_room or self._stop.is_set())
        if self._stop.is_set():
            return False
        self._begun += 1
        self._metrics.rerun_begun.inc()
        self._outcomes.begin(self._new(key))
        return True

    def _on_sent(self, timed: Timed) -> None:
        self._reached_ns = timed.header.captured_ns
        self._outcomes.add(self._new(timed.header.key), len(timed.record.value))

    def _show(self, now: ReplayProgress) -> None:
        self._metrics.rerun_progress.set(min(1.0, now.passed / now.total) if now.total else 1.0)

    def _new(self, key: FrameKey) -> FrameKey:
        return FrameKey(key.camera, self._target.run_of(key), key.sequence)

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait as long as there is progress.

        Raises:
            StreamprocError: There is none, or a worker died.
        """
        patience = Patience(self._patience_s)
        while True:
            self._workers.check()
            self._progress(self._begun, self._outcomes.done, self._reached_ns)
            if done():
                return
            patience.look(self._outcomes.done, under_way=self._outcomes.under_way)
            self._outcomes.wait(0.25)


def _about(
    result: RerunResult,
    source: RecordSource,
    choice: Choice,
    settings: Settings,
    options: RerunOptions,
    *,
    started_ns: int,
) -> dict[str, Any]:
    """`run.json`: what was run, on what, and what came of it."""

    def moment(time_ns: int | None) -> str | None:
        return None if time_ns is None else event_time(time_ns)

    return {
        "streamproc": __version__,
        "name": options.name,
        "started": event_time(started_ns),
        "seconds": round(result.seconds, 3),
        "complete": result.is_whole,
        "cameras": sorted(choice.cameras),
        "from": moment(choice.from_ns),
        "to": moment(choice.to_ns),
        "of_runs": sorted(choice.runs),
        "source": {"kind": "archive" if options.archive else "log", "url": options.archive, "topic": source.topic},
        "prefix": settings.prefix if options.keep else None,
        "pipeline": {
            "name": options.pipeline.name,
            "digest": options.pipeline.digest,
            "file": None if options.pipeline_file is None else str(options.pipeline_file),
        },
        "settings": {
            name: getattr(settings, name)
            for name in ("frame_deadline_s", "min_coverage", "partitions", "worker_threads")
        },
        "workers": options.workers,
        "outcomes": result.outcomes,
        "occurrences": result.occurrences,
        "unanswered": result.unanswered,
        "replay": result.replayed.as_json(),
        "problem": None if result.problem is None else " ".join(str(result.problem).split()),
    }
