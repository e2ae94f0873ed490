"""Producer, extraction and aggregation without a broker, and the spans that they tell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from producers.publish import publish
from producers.sources import Source
from streamproc import cloudevents, wire
from streamproc.agents.assemble import Aggregation
from streamproc.agents.extract import Extractor
from streamproc.agents.lease import Lease
from streamproc.metrics import Metrics
from streamproc.model import Frame, Grid, TileHeader
from streamproc.operators.pipeline_file import parse
from streamproc.settings import load_settings
from streamproc.tracing import Tracer
from streamproc.tracing.otel import OtelTracer
from tests.agents.fakes import SentBatch, batch_of, message
from tests.collector import Seen, seen
from tests.event_schema import check_event
from tests.producers.senders import MemorySender, Report

EDGES = parse('[[step]]\noperator = "canny"\nname = "edges"\n')


@dataclass
class Wire(MemorySender):
    """A sender that keeps headers, too."""

    headers: list[wire.Headers] = field(default_factory=list)  # of each record

    def send(self, *, headers: wire.Headers, on_delivery: Report | None = None, **record: Any) -> None:
        super().send(headers=headers, on_delivery=on_delivery, **record)
        self.headers.append(headers)


class Frames(Source):
    """Small grey frames that all differ, captured as a test says."""

    name = "frames"

    def __init__(self, count: int, *, captured_ns: Callable[[], int] = time.time_ns) -> None:
        self.length = count
        self._captured_ns = captured_ns

    def describe(self) -> str:
        return "frames of a test"

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.length or 0):
            pixels = np.random.default_rng(number).integers(0, 255, (48, 64), np.uint8)
            yield Frame(pixels=pixels, captured_ns=self._captured_ns())


class System:
    """Producer, extraction and aggregation without a broker: what one sends the next one gets.

    Args:
        share: Of frames that the producer traces.
        consumers: Whether workers trace, too.
    """

    def __init__(self, *, share: float = 1.0, producer: bool = True, consumers: bool = True) -> None:
        self.exporter = InMemorySpanExporter()
        self.lost: Counter[str] = Counter()
        self.tracer = OtelTracer(
            self.exporter, where="memory", share=share, lost=lambda why, spans: self.lost.update({why: spans})
        )
        self.settings = load_settings()
        worker: Tracer | None = self.tracer if consumers else None
        self.producer: Tracer | None = self.tracer if producer else None
        metrics = Metrics()
        self.extractor = Extractor(settings=self.settings, pipeline=EDGES, partitions=8, metrics=metrics, tracer=worker)
        lease = Lease(8)
        lease.confirm(time.monotonic() + 3600)
        self.aggregation = Aggregation(
            self.settings,
            pipeline=EDGES,
            metrics=metrics,
            read_back=lambda *_at: (),
            read_again=lambda *_at: {},
            lease=lease,
            tracer=worker,
        )
        self.offset = 0

    def publish(self, count: int, sender: Wire | None = None, **options: Any) -> Wire:
        sender = sender or Wire()
        chosen: dict[str, Any] = {"camera": "gate", "run": "r1", "codec": "raw", "grid": Grid(2, 2), "fps": "max"}
        chosen["pipeline_halo"] = EDGES.halo
        source = options.pop("source", None) or Frames(count)
        publish(source, self.settings, partitions=8, sender=sender, tracer=self.producer, **{**chosen, **options})
        return sender

    def extract(self, sender: Wire, *, spoil: Callable[[TileHeader], bool] = lambda _header: False) -> SentBatch:
        messages = [
            message(
                b"spoilt" if spoil(sent.header) else sent.value,
                headers=headers,
                partition=sent.partition,
                offset=sent.offset,
            )
            for sent, headers in zip(sender.records, sender.headers, strict=True)
        ]
        batch = batch_of(*messages)
        self.extractor(batch)
        return cast("SentBatch", batch)

    def assemble(self, extracted: SentBatch, *, worked_off_until_s: float | None = None) -> SentBatch:
        messages = []
        for record in extracted.on("features"):
            messages.append(
                message(record["value"], headers=record["headers"], topic="streamproc.features", offset=self.offset)
            )
            self.offset += 1
        batch = batch_of(*messages)
        self.aggregation.worked_off_until_s = time.monotonic() if worked_off_until_s is None else worked_off_until_s
        self.aggregation(batch)
        return cast("SentBatch", batch)

    def spans(self) -> list[Seen]:
        self.extractor.close()
        self.tracer.close()
        assert not self.lost
        return [seen(span) for span in self.exporter.get_finished_spans()]


def events(batch: SentBatch) -> list[dict[str, Any]]:
    """Structured events with their trace, each checked against its schema without it."""
    found = [cloudevents.structured_event(record["headers"], record["value"]) for record in batch.on("events")]
    for event in found:
        check_event({name: value for name, value in event.items() if name != "traceparent"})
    return found
