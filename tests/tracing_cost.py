"""What traces cost: `python -m tests.tracing_cost` prints CPU time for each tile with none, some and all frames traced.

Producer, extraction and aggregation run in this process without a broker, one after the other, on the same frames;
spans go by OTLP to a collector in another process that throws them away. The variants take turns within each round;
ratios are those to `off` in the same round: first quartile, median, third. Decoding in its child process is not in it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from typing import Any, cast

import numpy as np

from producers.publish import publish
from producers.sources import Source
from streamproc.agents.assemble import Aggregation
from streamproc.agents.extract import Extractor
from streamproc.agents.lease import Lease
from streamproc.metrics import Metrics
from streamproc.model import Frame, FrameKey, Grid
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.settings import load_settings
from streamproc.tracing import Place, Tracer, context_of, tile_span, traced
from streamproc.tracing.spans import send_context
from streamproc.wire import Headers, tile_headers
from tests.agents.fakes import SentBatch, batch_of, message
from tests.features import tile_header
from tests.producers.senders import MemorySender, Report

SHARES: dict[str, float | None] = {"off": None, "0 %": 0.0, "1 %": 0.01, "100 %": 1.0}
GRID = Grid(3, 4)
WIDTH, HEIGHT = 1280, 720


class Sink(BaseHTTPRequestHandler):
    """A collector that keeps nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_told: object) -> None:
        """Say nothing."""


def collect(pipe: Connection) -> None:
    """Runs in a process of its own."""
    server = HTTPServer(("127.0.0.1", 0), Sink)
    pipe.send(server.server_port)
    server.serve_forever()


class Keeping(MemorySender):
    """A sender that keeps headers, too."""

    def __init__(self) -> None:
        super().__init__(prompt=True)
        self.headers: list[Headers] = []

    def send(self, *, headers: Headers, on_delivery: Report | None = None, **record: Any) -> None:
        self.headers.append(headers)
        super().send(headers=headers, on_delivery=on_delivery, **record)


class Frames(Source):
    """The same pictures again and again."""

    name = "frames"

    def __init__(self, pictures: list[Any], count: int) -> None:
        self._pictures, self.length = pictures, count

    def describe(self) -> str:
        return self.name

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.length or 0):
            yield Frame(pixels=self._pictures[number % len(self._pictures)], captured_ns=time.time_ns())


class Variant:
    """Producer, extraction and aggregation of one process, that traces a share of frames; None is off."""

    def __init__(self, share: float | None, url: str, ending: ExitStack) -> None:
        asked = load_settings(traces="off" if share is None else "otlp", traces_endpoint=url, traces_sample=share or 0)
        self.tracer = ending.enter_context(traced(asked, Metrics(), part="cost"))
        self._settings, self._pipeline = load_settings(), default_pipeline()
        self._extractor = Extractor(
            settings=self._settings, pipeline=self._pipeline, partitions=8, metrics=Metrics(), tracer=self.tracer
        )
        ending.callback(self._extractor.close)
        lease = Lease(8)
        lease.confirm(time.monotonic() + 3600)
        self._aggregation = Aggregation(
            self._settings,
            pipeline=self._pipeline,
            metrics=Metrics(),
            read_back=lambda *_: (),
            read_again=lambda *_: {},
            lease=lease,
            tracer=self.tracer,
        )
        self.taken: list[dict[str, float]] = []

    def round(self, pictures: list[Any], run: str) -> dict[str, float]:
        """CPU milliseconds for each tile: of all threads for publishing, of the one that works for the rest."""
        tiles, sender = len(pictures) * GRID.count, Keeping()
        began = time.process_time()
        publish(
            Frames(pictures, len(pictures)),
            self._settings,
            camera="gate",
            run=run,
            partitions=8,
            codec="jpeg",
            grid=GRID,
            fps="max",
            pipeline_halo=self._pipeline.halo,
            sender=sender,
            tracer=self.tracer,
        )
        marks = [time.process_time() - began]
        records = zip(sender.records, sender.headers, strict=True)
        batches = [batch_of(message(one.value, headers=headers)) for one, headers in records]
        began = time.thread_time()
        for batch in batches:
            self._extractor(batch)
        marks.append(time.thread_time() - began)
        sent = [record for batch in batches for record in cast("SentBatch", batch).on("features")]
        features = [batch_of(message(one["value"], headers=one["headers"], offset=at)) for at, one in enumerate(sent)]
        began = time.thread_time()
        for batch in features:
            self._aggregation(batch)
        marks.append(time.thread_time() - began)
        return dict(zip(("publish", "extract", "assemble"), (mark * 1000 / tiles for mark in marks), strict=True))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=60)
    asked = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    collector = multiprocessing.get_context("spawn").Process(target=collect, args=(theirs,), daemon=True)
    collector.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    chance = np.random.default_rng(1)
    ramp = np.add.outer(np.arange(HEIGHT) // 8, np.arange(WIDTH) // 8).astype(np.uint8) % 200
    pictures = [ramp + chance.integers(0, 40, (HEIGHT, WIDTH), np.uint8) for _ in range(asked.frames)]
    with ExitStack() as ending:
        variants = {name: Variant(share, url, ending) for name, share in SHARES.items()}
        for number in range(asked.rounds + 1):
            names = list(variants)
            for name in [*names[number % len(names) :], *names[: number % len(names)]]:
                taken = variants[name].round(pictures, f"r{number}")
                if number:  # the first round warms up
                    variants[name].taken.append(taken)
        found = {name: variant.taken for name, variant in variants.items()}
        span = span_us(variants["100 %"].tracer)
    print(json.dumps({**compared(found), "microseconds": span}, indent=2))
    collector.terminate()


def compared(found: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Medians of the first variant in milliseconds; of the others their ratios to it round by round, as quartiles."""
    first, *others = found
    told: dict[str, dict[str, Any]] = {
        f"{first}, ms for each tile": {
            part: round(statistics.median(one[part] for one in found[first]), 4) for part in found[first][0]
        }
    }
    for name in others:
        told[f"{name}, ratio"] = {
            part: " ".join(f"{quartile:.3f}" for quartile in quartiles(found[name], found[first], part))
            for part in found[name][0]
        }
    return told


def quartiles(taken: list[dict[str, float]], base: list[dict[str, float]], part: str) -> list[float]:
    """Of the ratios of two variants in the same round."""
    return statistics.quantiles((one[part] / other[part] for one, other in zip(taken, base, strict=True)), n=4)


def span_us(tracer: Tracer | None, *, spans: int = 4000) -> dict[str, float]:
    """CPU microseconds: to pass over a tile that is not traced; to end a span; and until the collector has it."""
    assert tracer is not None
    key = FrameKey("gate", "r1", 0)
    parent, place = send_context(key), Place("streamproc.tiles", 3, 1000, "streamproc.workers", 50_000)
    header = tile_header(grid=GRID, width=WIDTH, height=HEIGHT)
    headers = tile_headers(header)
    began_s = time.thread_time()
    for _ in range(spans):
        context_of(headers)
    passing_s = time.thread_time() - began_s
    time.sleep(2)  # what is left of the frames goes out
    began_s, own_s = time.process_time(), time.thread_time()
    for at_ns in range(spans):
        one = tile_span(parent, parent.child(), place, header=header, started_ns=at_ns, ended_ns=at_ns + 1, bad=None)
        tracer.end(one)
    own_s = time.thread_time() - own_s
    time.sleep(3)
    return {
        "passing over": round(passing_s / spans * 1e6, 2),
        "ending a span": round(own_s / spans * 1e6, 1),
        "a span in all": round((time.process_time() - began_s) / spans * 1e6, 1),
    }


if __name__ == "__main__":
    main()
