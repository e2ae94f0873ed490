"""How fast and how evenly frames are replayed. `python -m tests.producers.replay_speed [--json]`.

On a broker of its own, in one run:

- `bench`: tiles/s through workers with a pipeline of edges, published as `streamproc bench` publishes them; and the
  same tiles replayed at full speed from the log into the same topics, for the same workers. In turns; medians count.
- `alone`: tiles/s that a replay at full speed sends where nobody works on them.
- `pace`: at speed 1, how far the distances in time between records are from those they had in the log, and how late
  records were sent.

Exit status 0 if replay reaches 0.9 of the bench and the 95th percentiles of the pace are within 5 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from producers.replay import Target, replay
from producers.replay_choice import Choice
from producers.replay_report import ReplayReport
from producers.replay_span import everything
from streamproc import wire
from streamproc.bench.kafka_runs import CAMERAS, FROM, TO, PipelineBench, wait_for_records
from streamproc.bench.material import SHAPES, Material, as_frame, make_material
from streamproc.bench.measure import EDGES
from streamproc.broker import ephemeral
from streamproc.operators.pipeline_file import load
from streamproc.provision import create_topics, wait_for_group
from streamproc.publisher import Publisher
from streamproc.reader import TopicReader
from streamproc.settings import Settings, load_settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics, tile_key, tile_partition

LEAST_RATIO = 0.9
MOST_MS = 5.0
FPS = 5  # of each camera, at speed 1
_FRAMES_PER_S = 60.0  # about what two cores do, for the length of the measurement alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Topics on the broker."""

    settings: Settings

    @classmethod
    def made(cls, bootstrap: str | None, prefix: str) -> Place:
        """Topics that are made."""
        settings = load_settings(bootstrap=bootstrap, prefix=prefix)
        create_topics(settings)
        return cls(settings=settings)

    @property
    def tiles(self) -> str:
        """The tiles topic."""
        return Topics(self.settings.prefix).tiles

    def replayed(self, to: Place, *, run: str, base: str, speed: float | None) -> ReplayReport:
        """Replay a run from here."""
        target = Target(topic=to.tiles, partitions=to.settings.partitions, base=base)
        with TopicReader(self.settings, self.tiles) as source:
            report = replay(source, everything(source), Choice(runs=[run]), target, self.settings, speed=speed)
        report.raise_for_problem()
        return report


def bench(place: Place, material: Material, *, seconds: float, rounds: int, workers: int) -> dict[str, Any]:
    """Tiles/s through workers: published, and replayed."""
    published, replayed = [], []
    frames = max(8 * CAMERAS, int(seconds * _FRAMES_PER_S))
    with tempfile.TemporaryDirectory(prefix="replay-speed-") as name:
        file = Path(name) / "edges.toml"
        file.write_text(EDGES, encoding="utf-8")
        specs = [WorkerSpec(pipeline=file)] * workers
        with (
            Workers(place.settings, specs, folder=Path(name) / "logs") as running,
            Publisher(place.settings, client_id="replay-speed") as publisher,
        ):
            wait_for_group(place.settings, members=workers, timeout_s=60, check=running.check)
            load_ = PipelineBench(place.settings, material, broker_pids=[], workers=running, publisher=publisher)
            load_.full_load(8 * CAMERAS, run="warm")
            for number in range(rounds):
                rate, _ = load_.full_load(frames, run=f"bench-{number}")
                published.append(rate.tiles_per_s)
                replayed.append(_replay_rate(place, frames, number, tiles=material.shape.grid.count))
                print(
                    f"published {published[-1]:.0f}, replayed {replayed[-1]:.0f} tiles/s", file=sys.stderr, flush=True
                )
    medians = [statistics.median(rates) for rates in (published, replayed)]
    return {
        "frames": frames,
        "published_tiles_per_s": [round(rate, 1) for rate in published],
        "replayed_tiles_per_s": [round(rate, 1) for rate in replayed],
        "ratio": round(medians[1] / medians[0], 3),
    }


def _replay_rate(place: Place, frames: int, number: int, *, tiles: int) -> float:
    """Tiles/s of a run that is replayed, by the times of its events, as `PipelineBench.full_load` has it."""
    topic = Topics(place.settings.prefix).events
    with TopicReader(place.settings, topic) as reader:
        starts = {partition: reader.bounds(partition)[1] for partition in reader.partitions()}
    place.replayed(place, run=f"bench-{number}", base=f"again-{number}", speed=None)
    stamps = sorted(one.timestamp_ms for one in wait_for_records(place.settings, topic, starts, frames))
    first, last = int(FROM * frames), int(TO * frames)
    return 1000 * (last - first) * tiles / max(1, stamps[last] - stamps[first])


def alone(source: Place, to: Place) -> dict[str, Any]:
    """A replay at full speed that nobody works on."""
    report = source.replayed(to, run="bench-0", base="alone", speed=None)
    return {"tiles": report.tiles, "tiles_per_s": round(report.tiles_acked / report.seconds, 1)}


def pace(place: Place, to: Place, material: Material, *, seconds: float) -> dict[str, Any]:
    """Record some cameras at their pace, and replay them at speed 1."""
    _record(place, material, frames=int(seconds * FPS * CAMERAS))
    report = place.replayed(to, run="paced", base="again", speed=1.0)
    with TopicReader(to.settings, to.tiles) as reader:
        shifts = [
            one.timestamp_ms - int(dict(one.headers)["origin_timestamp_ms"])
            for one in reader.read(everything(reader))
            if dict(one.headers)["origin_run"] == b"paced"
        ]
    middle = statistics.median(shifts)
    errors = sorted(abs(shift - middle) for shift in shifts)
    return {
        "tiles": report.tiles,
        "distance_error_ms": {f"p{share}": errors[int(share / 100 * len(errors))] for share in (50, 95, 99)},
        "late_ms": {"p50": report.late_ms[0], "p95": report.late_ms[1]},
        "slipped_s": round(report.slipped_s, 3),
    }


def _record(place: Place, material: Material, *, frames: int) -> None:
    started_s = time.monotonic()
    with Publisher(place.settings, client_id="replay-speed") as publisher:
        for number in range(frames):
            time.sleep(max(0.0, started_s + number / (FPS * CAMERAS) - time.monotonic()))
            tiles = material.frames[number % len(material.frames)]
            about = {"camera": f"cam-{number % CAMERAS}", "sequence": number // CAMERAS}
            for header, payload in as_frame(tiles, run="paced", captured_ns=time.time_ns(), **about):  # type: ignore[arg-type]
                publisher.send(
                    topic=place.tiles,
                    partition=tile_partition(header.camera, header.index, place.settings.partitions),
                    key=tile_key(header),
                    value=payload,
                    headers=wire.tile_headers(header),
                )


def lines(*, bench: dict[str, Any], alone: dict[str, Any], pace: dict[str, Any]) -> str:
    """The same for a person."""
    published, replayed = (" ".join(map(str, bench[f"{way}_tiles_per_s"])) for way in ("published", "replayed"))
    errors = ", ".join(f"{share} {ms:g} ms" for share, ms in pace["distance_error_ms"].items())
    return (
        f"published: {published} tiles/s; replayed at full speed: {replayed} tiles/s; ratio {bench['ratio']}\n"
        f"replayed at full speed, nobody works on it: {alone['tiles_per_s']} tiles/s\n"
        f"at speed 1, {pace['tiles']} tiles: error of the distances {errors}; late by {pace['late_ms']['p95']} ms (p95)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement, about")
    parser.add_argument("--rounds", type=int, default=3, help="of published and replayed, in turns")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one object instead of lines")
    options = parser.parse_args()
    with ephemeral() as cluster, tempfile.TemporaryDirectory() as name:
        place, lab = (Place.made(cluster.bootstrap, prefix) for prefix in ("speed.", "lab."))
        file = Path(name) / "edges.toml"
        file.write_text(EDGES, encoding="utf-8")
        material = make_material(SHAPES[0], load(file), place.settings)
        found = {
            "bench": bench(place, material, seconds=options.seconds, rounds=options.rounds, workers=options.workers),
            "alone": alone(place, lab),
            "pace": pace(place, lab, material, seconds=options.seconds),
        }
    print(json.dumps(found) if options.json else lines(**found))
    worst_ms = max(found["pace"]["distance_error_ms"]["p95"], found["pace"]["late_ms"]["p95"])
    sys.exit(0 if found["bench"]["ratio"] >= LEAST_RATIO and worst_ms <= MOST_MS else 1)


if __name__ == "__main__":
    main()
