"""The cameras of a list are traced as a source that is produced is."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from producers.ingest_crew import Crew
from producers.ingest_lane import Lane
from producers.ingest_run import Outlet
from streamproc.metrics import Metrics
from streamproc.model import Frame, TileHeader
from streamproc.tracing.otel import OtelTracer
from streamproc.wire import Headers
from tests.collector import Seen, seen
from tests.producers.material import picture
from tests.producers.senders import MemorySender, Report
from tests.producers.staged import SETTINGS, spec


class Wire(MemorySender):
    """A sender that keeps headers, too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parents: list[bytes] = []

    def send(self, *, headers: Headers, on_delivery: Report | None = None, **record: Any) -> None:
        self.parents.append(dict(headers)["traceparent"])
        super().send(headers=headers, on_delivery=on_delivery, **record)


def traced(sender: Wire, frames: int) -> list[Seen]:
    """The spans of some frames that a lane sends."""
    exporter, lost = InMemorySpanExporter(), Counter[str]()
    tracer = OtelTracer(exporter, where="memory", share=1, lost=lambda why, spans: lost.update({why: spans}))
    crew = Crew(1)
    outlet = Outlet(
        settings=SETTINGS,
        sender=sender,
        metrics=Metrics(),
        partitions=8,
        crew=crew,
        notice=lambda _line: None,
        stop=threading.Event(),
        tracer=tracer,
    )
    lane = Lane(spec("cam", drop="block"), outlet)
    lane.begin(live=True, stream_fps=None)
    lane.share(1)
    crew.start()
    for number in range(frames):
        lane.offer(Frame(pixels=picture(64, 48, seed=number), captured_ns=10**18))
    lane.close()
    lane.finish(timeout_s=10)
    sender.flush(0)
    lane.give_up()
    crew.close(timeout_s=5)
    tracer.close()
    assert not lost
    return [seen(span) for span in exporter.get_finished_spans()]


def test_each_frame_of_a_camera_is_traced_and_its_tiles_carry_that() -> None:
    sender = Wire()
    spans = traced(sender, 3)
    assert Counter(span.name for span in spans) == {"frame": 3, "encode": 3, f"send {SETTINGS.prefix}tiles": 3}
    assert {span.error for span in spans} == {None}
    sending = {f"00-{span.trace}-{span.id}-01".encode() for span in spans if span.name.startswith("send")}
    assert set(sender.parents) == sending
    assert len(sender.parents) == len(sender.records) >= 3


def test_a_frame_that_the_broker_never_acknowledges_or_refuses_is_an_error() -> None:
    stuck = [span for span in traced(Wire(stuck=True), 1) if span.name == "frame"]
    assert [(span.error or "").endswith("not acknowledged when the run ended") for span in stuck] == [True]

    def first(header: TileHeader) -> bool:
        return header.index == 0

    for sender in (Wire(raises=first), Wire(fails=first)):
        (frame,) = [span for span in traced(sender, 1) if span.name == "frame"]
        assert frame.error in {"cannot be queued", "refused by the broker"}
