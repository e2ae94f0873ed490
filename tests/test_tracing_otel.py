"""Spans on their way out: what a collector gets, and that one that is away, slow or refuses costs spans alone."""

from __future__ import annotations

import importlib
import json
import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import streamproc.tracing
from streamproc.errors import SettingError
from streamproc.metrics import Metrics
from streamproc.model import FrameKey
from streamproc.settings import load_settings
from streamproc.tracing import Span, SpanContext, traced
from streamproc.tracing.otel import OtelTracer
from streamproc.tracing.spans import Moment, frame_context
from tests.collector import Collector, seen
from tests.waiting import wait_until

ROOT = frame_context(FrameKey("gate", "r1", 0))
OTHER = ROOT.child()


def span(**changes: object) -> Span:
    given: dict[str, object] = {
        "name": "frame",
        "kind": "internal",
        "context": ROOT.child(),
        "started_ns": 1_000,
        "ended_ns": 2_000,
        "attributes": {"streamproc.camera": "gate"},
    }
    return Span(**{**given, **changes})  # type: ignore[arg-type]  # a table of options


def lost_into(lost: Counter[str]) -> Callable[[str, int], None]:
    return lambda why, spans: lost.update({why: spans})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a user reads; OpenTelemetry's own words stay inside."""
    return [record.getMessage() for record in caplog.records if record.name == "streamproc.tracing.otel"]


def test_a_span_arrives_as_it_was_given() -> None:
    exporter, lost = InMemorySpanExporter(), Counter[str]()
    tracer = OtelTracer(exporter, where="memory", share=1, lost=lost_into(lost))
    tracer.end(span(context=ROOT))
    tracer.end(
        span(
            kind="consumer",
            context=OTHER,
            parent=ROOT,
            is_remote=True,
            links=(ROOT, OTHER),
            moments=(Moment("dead letter", 1_500, {"streamproc.reason": "decode"}),),
            error="decode: broken",
        )
    )
    tracer.close()
    first, second = (seen(one) for one in exporter.get_finished_spans())
    assert (first.trace, first.id, first.parent, first.error) == (ROOT.trace_id, ROOT.span_id, "", None)
    assert (second.trace, second.id, second.parent) == (ROOT.trace_id, OTHER.span_id, ROOT.span_id)
    assert (second.kind, second.error) == ("consumer", "decode: broken")
    assert second.links == (ROOT.span_id, OTHER.span_id)
    assert (second.started_ns, second.ended_ns) == (1_000, 2_000)
    remote = exporter.get_finished_spans()[1]
    assert remote.parent is not None
    assert remote.parent.is_remote
    assert [(event.name, event.timestamp) for event in remote.events] == [("dead letter", 1_500)]
    assert not lost


def test_a_collector_gets_spans_with_the_headers_and_the_name_that_standard_variables_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")
    metrics = Metrics()
    with Collector() as collector:
        settings = load_settings(traces="otlp", traces_endpoint=collector.url)
        with traced(settings, metrics, part="worker") as tracer:
            assert tracer is not None
            tracer.end(span(context=ROOT))
        monkeypatch.setenv("OTEL_SERVICE_NAME", "yard")
        with traced(
            load_settings(traces="otlp", traces_endpoint=f"{collector.url}/v1/traces"), metrics, part="x"
        ) as two:
            assert two is not None
            two.end(span())
    assert [(one.service, one.trace) for one in collector.spans] == [
        ("streamproc-worker", ROOT.trace_id),
        ("yard", ROOT.trace_id),
    ]
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer s3cret"}


@pytest.mark.parametrize("reachable", [True, False])
def test_a_collector_that_is_slow_or_away_is_never_waited_for(
    reachable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    with Collector() as collector, socket.socket() as nobody:
        collector.answers.clear()
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = collector.url if reachable else f"http://127.0.0.1:{nobody.getsockname()[1]}"
        tracer = OtelTracer(
            OTLPSpanExporter(endpoint=f"{url}/v1/traces"),
            where=url,
            share=1,
            lost=lambda why, spans: metrics.spans_dropped.labels(why).inc(spans),
            queue=100,
            delay_s=0.01,
        )
        began_s = time.monotonic()
        for _ in range(500):
            tracer.end(span())
        taken_s = time.monotonic() - began_s
        tracer.close(timeout_s=0.2)
        assert time.monotonic() - began_s < 8  # nobody ever answers, and the exporter itself waits for 10 s
    assert taken_s < 4
    counts = {
        why: metrics.registry.get_sample_value("streamproc_spans_dropped_total", {"reason": why})
        for why in ("full", "failed", "ended")
    }
    assert counts == {"full": 400, "failed": 0, "ended": 100}
    lines = told(caplog)
    assert len(lines) == 2
    assert all(f"could not be sent to {url}" in line and "frames are not affected" in line for line in lines)
    assert sum(int(line.split()[1]) for line in lines) == 500
    if not reachable:
        assert "([Errno 111] Connection refused)" in lines[1] or sys.platform != "linux"


class Refusing(SpanExporter):
    """Takes nothing; raises, or says why in OpenTelemetry's log."""

    def __init__(self, why: str, *, raises: bool) -> None:
        self._why, self._raises, self.asked = why, raises, 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked += 1
        if self._raises:
            raise ValueError(self._why)
        logging.getLogger("opentelemetry.exporter").error("batch %d: %s", self.asked, self._why)
        return SpanExportResult.FAILURE


@pytest.mark.parametrize("raises", [True, False])
def test_a_collector_that_refuses_is_told_of_in_one_seldom_line(raises: bool, caplog: pytest.LogCaptureFixture) -> None:
    exporter, lost, now_s = Refusing("no such tenant", raises=raises), Counter[str](), 0.0
    tracer = OtelTracer(
        exporter, where="there", share=1, lost=lost_into(lost), queue=4, delay_s=0.001, now_s=lambda: now_s
    )
    for asked in range(1, 6):
        tracer.end(span())
        wait_until(lambda: lost["failed"] == asked, "the span is counted", timeout_s=5)  # noqa: B023 - ends before
    assert len(told(caplog)) == 1
    now_s = 61.0
    tracer.end(span())
    tracer.close()
    assert lost == {"failed": 6}
    first, second = told(caplog)
    assert first.startswith("traces: 1 span could not be sent to there (")
    assert "no such tenant" in first
    assert second.startswith("traces: 5 spans could not be sent to there (")


def test_a_token_for_the_collector_is_in_no_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")
    with Collector(status=401) as collector:
        metrics = Metrics()
        with traced(load_settings(traces="otlp", traces_endpoint=collector.url), metrics, part="x") as tracer:
            assert tracer is not None
            tracer.end(span())
    assert collector.headers
    assert metrics.registry.get_sample_value("streamproc_spans_dropped_total", {"reason": "failed"}) == 1
    assert "401" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@collector:4318",
        "http://user:s3/cret@collector:4318",
        "http://collector:4318?token=s3cret",
        "http://collector:4318/#s3cret",
        "collector:4318",
        "grpc://collector:4317",
        "http://",
        "http://collector:s3cret",
        "http://collector:0",
    ],
)
def test_an_endpoint_that_is_no_plain_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingError, match="traces-endpoint") as caught:
        load_settings(traces_endpoint=url)
    assert "s3cret" not in str(caught.value)


def test_the_console_gets_one_line_of_json_for_each_span(capsys: pytest.CaptureFixture[str]) -> None:
    with traced(load_settings(traces="console"), Metrics(), part="producer") as tracer:
        assert tracer is not None
        tracer.end(span(context=ROOT))
        tracer.end(span())
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert [line["context"]["trace_id"] for line in lines] == [f"0x{ROOT.trace_id}"] * 2


def test_nothing_is_opened_when_it_is_off_or_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(load_settings(), Metrics(), part="x") as tracer:
        assert tracer is None
    exporter, lost = InMemorySpanExporter(), Counter[str]()
    own = OtelTracer(exporter, where="memory", share=1, lost=lost_into(lost))
    with traced(load_settings(traces="otlp"), Metrics(), part="x", given=own) as tracer:
        assert tracer is own
    own.end(span())
    own.close()
    assert len(exporter.get_finished_spans()) == 1
    own.end(span())
    assert lost == {"full": 1}
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with traced(load_settings(traces="otlp"), Metrics(), part="x") as tracer:
        assert tracer is None


def test_nothing_of_opentelemetry_is_imported_when_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamproc, "tracing", streamproc.tracing)
    for name in [name for name in sys.modules if name.startswith("streamproc.tracing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # whoever imports it fails
    anew = importlib.import_module("streamproc.tracing")
    with anew.traced(load_settings(), Metrics(), part="x") as tracer:
        assert tracer is None
    assert "streamproc.tracing.otel" not in sys.modules


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "streamproc.tracing.otel")
    monkeypatch.delattr(streamproc.tracing, "otel")
    with (
        pytest.raises(SettingError, match=r"^STREAMPROC_TRACES=otlp needs opentelemetry: pip install 'streamproc\[tr"),
        traced(load_settings(traces="otlp"), Metrics(), part="x"),
    ):
        pytest.fail("it was opened")


def test_contexts_of_many_threads_do_not_mix() -> None:
    from concurrent.futures import ThreadPoolExecutor

    exporter, lost = InMemorySpanExporter(), Counter[str]()
    tracer = OtelTracer(exporter, where="memory", share=1, lost=lost_into(lost))
    given = [SpanContext(f"{number:032x}", f"{number + 10_000:016x}") for number in range(1, 1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda context: tracer.end(span(context=context, attributes={"own": context.span_id})), given))
    tracer.close()
    found = [seen(one) for one in exporter.get_finished_spans()]
    assert {(one.trace, one.id) for one in found} == {(one.trace_id, one.span_id) for one in given}
    assert all(one.attributes["own"] == one.id for one in found)
    assert not lost
