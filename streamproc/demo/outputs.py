"""What a run leaves behind: `events.jsonl`, `report.html` and its pictures."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from streamproc import __version__
from streamproc.demo.run import DemoOptions, DemoResult
from streamproc.errors import BrokerError, StreamprocError
from streamproc.evidence import read_frame
from streamproc.model import Pixels
from streamproc.operators.pixels import decode
from streamproc.reader import TopicReader
from streamproc.report import Report, Sample, Stage, told_frames, write_report
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition
from streamproc.wire import read_picture

SAMPLES = 6
TOLD = 4  # of them, where something happened


def write_outputs(
    result: DemoResult,
    options: DemoOptions,
    *,
    folder: Path,
    source: str,
    started: datetime,
    seconds: float,
    command: str,
) -> Path:
    """Write everything; call it while the broker is there. Returns the report's path.

    Raises:
        StreamprocError: The folder cannot be written, or a library of the `demo` extra is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        events = sorted([*result.happened, *result.events], key=lambda event: int(event["data"]["sequence"]))
        lines = "".join(json.dumps(event) + "\n" for event in events)
        (folder / "events.jsonl").write_text(lines, encoding="utf-8")
    except OSError as error:
        raise StreamprocError(f"{folder} cannot be written: {error.strerror}; name another folder with --out") from None
    published = result.published
    report = Report(
        title="streamproc demo",
        source=source,
        command=command,
        started=started,
        seconds=seconds,
        grid=published.reason or str(published.grid),
        codec=options.codec,
        pipeline=options.pipeline,
        counters={
            "frames_published": published.frames_published,
            "frames_failed": published.frames_failed,
            "frames_repeated": result.repeated,
            "tiles_published": published.tiles_acked,
            "tiles_failed": published.tiles_failed,
            "bytes_published": published.bytes,
        },
        events=events,
        samples=_samples(result, options),
        stages=_stages(result, options),
        versions=_versions(),
        problems=_problems(result),
        tiles=result.tiles,
    )
    return write_report(report, folder)


def _samples(result: DemoResult, options: DemoOptions) -> list[Sample]:
    """Frames read back from the log, spread over the run: first where something happened, then with objects."""
    events = {event["data"]["sequence"]: event for event in result.events}
    pictures = _edge_pictures(result.settings, events, camera=options.camera, run=options.run)
    told = [sequence for sequence in told_frames(result.happened) if sequence in events]
    samples = []
    for sequence in choose_samples(sorted(pictures) or sorted(events), told, events):
        event = events[sequence]
        try:
            seen = read_frame(result.settings, event["data"])
        except BrokerError:
            continue  # retention was faster; the report shows what there is
        samples.append(
            Sample(
                event=event,
                pixels=seen.pixels,
                edges=pictures.get(sequence),
                cores=list(seen.cores),
                halo=seen.halo,
            )
        )
    return samples


def choose_samples(sequences: Sequence[int], told: Sequence[int], events: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """At most SAMPLES frames to show.

    Args:
        sequences: Frames to choose from, in order: those with a picture of their edges, if there are such.
        told: Frames on which something happened, in order; these are shown whether they have such a picture or not.
        events: Of each frame, by its number.
    """
    chosen = set(_spread(told, TOLD))
    with_objects = [one for one in sequences if one not in chosen and events[one]["data"]["objects"]]
    chosen |= set(_spread(with_objects, (SAMPLES - len(chosen)) // 2))
    chosen |= set(_spread([one for one in sequences if one not in chosen], SAMPLES - len(chosen)))
    return sorted(chosen)


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, evenly, the first and the last among them."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[round(index * (len(numbers) - 1) / max(1, count - 1))] for index in range(count)]


def _edge_pictures(
    settings: Settings, events: dict[int, dict[str, Any]], *, camera: str, run: str
) -> dict[int, Pixels]:
    found: dict[int, Pixels] = {}
    with TopicReader(settings, Topics(settings.prefix).edges) as reader:
        number = camera_partition(camera, len(reader.partitions()))
        for record in reader.read({number: reader.bounds(number)}):
            about = read_picture(record.headers)
            if about is None or (about[0].camera, about[0].run, about[1]) != (camera, run, "edges"):
                continue
            data = events.get(about[0].sequence, {}).get("data")
            if data is not None:
                found[about[0].sequence] = decode(
                    record.value,
                    codec="png",
                    pixel_format="gray8",
                    width=data["width"],
                    height=data["height"],
                )
    return found


def _stages(result: DemoResult, options: DemoOptions) -> list[Stage]:
    published, lanes = result.published, result.partitions
    frames, tiles = f"{published.frames_published} frames", f"{published.tiles_acked} tiles"
    each = f"{options.workers} worker processes"
    return [
        Stage(name="source", detail=_short(published.source), kind="source", count=frames),
        Stage(name="producer", detail=f"cuts {published.grid}, {options.codec}", count=frames),
        Stage(name="tiles", detail=f"{lanes} partitions", kind="topic", count=tiles, lanes=lanes),
        Stage(name=f"extract x{options.workers}", detail=each, count=tiles, lanes=options.workers),
        Stage(name="features", detail=f"{lanes} partitions", kind="topic", count=tiles, lanes=lanes),
        Stage(name=f"assemble x{options.workers}", detail=each, count=f"{len(result.events)} frames"),
        Stage(
            name="events",
            detail="one for each frame",
            kind="topic",
            count=f"{len(result.events)} events",
            lanes=lanes,
        ),
        Stage(name="edges", detail="pictures for viewers", kind="topic", lanes=lanes),
    ]


def _problems(result: DemoResult) -> list[str]:
    problems = [str(problem) for problem in (result.published.problem, result.stall) if problem is not None]
    if lost := result.outcomes.get("lost", 0):
        problems.append(f"{lost} published frames have no event")
    if result.repeated:
        problems.append(f"{result.repeated} frames have more than one event")
    return problems


def _versions() -> dict[str, str]:
    packages = ("opencv-python-headless", "numpy", "faust-streaming", "aiokafka", "confluent-kafka")
    return {
        "streamproc": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def _short(source: str) -> str:
    """What a source says of itself, short enough for a box of the drawing."""
    return source.partition(":")[0].removeprefix("video ")[:40]
