"""Spans handed to OpenTelemetry, in a bounded queue and from a thread of its own. The only place that imports it.

A collector that is away, slow or refuses costs spans and nothing else: `OtelTracer.end` never waits.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from streamproc import __version__
from streamproc.metrics import Metrics
from streamproc.settings import Settings
from streamproc.tracing.frames import MAX_LINKS
from streamproc.tracing.spans import Span, SpanContext, is_chosen
from streamproc.words import counted

log = logging.getLogger(__name__)

QUEUE_SPANS: Final = 4096
_BATCH_SPANS: Final = 512
_DELAY_S: Final = 1.0
_CLOSE_S: Final = 2.0
_SELDOM_S: Final = 60.0
_WHY_LENGTH: Final = 200
_SYSTEM_ERROR: Final = re.compile(r"\[Errno \d+\] [\w ]+")
_PATH: Final = "/v1/traces"
_KINDS: Final = {
    "internal": trace.SpanKind.INTERNAL,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}


class _FirstWord(logging.Handler):
    """Keeps what OpenTelemetry logs first about a batch that fails; we tell it ourselves, and seldom."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        if not self.said:
            text = " ".join(record.getMessage().split())
            system = _SYSTEM_ERROR.search(text)  # what the system said, out of the layers around it
            self.said = system[0] if system else text[:_WHY_LENGTH]


_otel_log = logging.getLogger("opentelemetry")
_first_word = _FirstWord()


def open_tracer(settings: Settings, metrics: Metrics, *, part: str) -> OtelTracer:
    """A tracer that sends where the settings say. See `traced`.

    The SDK itself reads what else there is of OTEL_EXPORTER_OTLP_* (headers, certificate, timeout, compression) and
    OTEL_RESOURCE_ATTRIBUTES.
    """
    exporter: SpanExporter
    if settings.traces == "console":
        where = "stderr"
        exporter = ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n")
    else:
        where = settings.traces_endpoint.rstrip("/").removesuffix(_PATH)
        exporter = OTLPSpanExporter(endpoint=where + _PATH)
    return OtelTracer(
        exporter,
        where=where,
        share=settings.traces_sample,
        resource=_resource(part),
        lost=lambda reason, spans: metrics.spans_dropped.labels(reason).inc(spans),
    )


def _resource(part: str) -> Resource:
    instance = f"{socket.gethostname()}-{os.getpid()}"
    found = Resource.create({"service.version": __version__, "service.instance.id": instance})
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: f"streamproc-{part}"}))
    return found


class OtelTracer:
    """Hands spans to an exporter of OpenTelemetry. For any number of threads.

    Args:
        exporter: Called on a thread of its own, a batch at a time.
        where: Shown to the user when spans are lost.
        share: Of frames that a producer traces, 0..1.
        resource: Says whose spans they are.
        lost: Told why (`full`, `failed`, `ended`) and how many.
        queue: Spans that may wait, those being sent included.
        delay_s: Longest time a span waits for others.
        now_s: A monotonic clock, for warnings that come seldom.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        where: str,
        share: float,
        resource: Resource | None = None,
        lost: Callable[[str, int], None],
        queue: int = QUEUE_SPANS,
        delay_s: float = _DELAY_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where, self._share, self._lost, self._queue, self._now_s = where, share, lost, queue, now_s
        self._lock = threading.Lock()
        self._waiting = 0
        self._is_over = False
        self._untold = 0
        self._tell_next_s = float("-inf")
        self._exporter = _Counted(exporter, self)
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            resource=resource,
            sampler=ALWAYS_ON,  # the decision stands in the context
            id_generator=self._ids,
            span_limits=SpanLimits(max_links=MAX_LINKS),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=queue,
                max_export_batch_size=min(_BATCH_SPANS, queue),
                schedule_delay_millis=delay_s * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("streamproc", __version__)
        _otel_log.propagate = False
        if _first_word not in _otel_log.handlers:
            _otel_log.addHandler(_first_word)

    def chooses(self, trace_id: str) -> bool:
        """Whether this producer traces the frame whose trace this is."""
        return is_chosen(trace_id, self._share)

    def end(self, span: Span) -> None:
        """Take a span; it is dropped and counted when too many wait."""
        with self._lock:
            has_room = self._waiting < self._queue and not self._is_over
            self._waiting += has_room
        if not has_room:
            self._lose("full", 1, "they come faster than they can be sent")
            return
        self._ids.give(span.context)
        made = self._tracer.start_span(
            span.name,
            context=_above(span),
            kind=_KINDS[span.kind],
            attributes=span.attributes,
            links=[trace.Link(_otel(one, is_remote=True)) for one in span.links],
            start_time=span.started_ns,
        )
        for moment in span.moments:
            made.add_event(moment.name, moment.attributes, timestamp=moment.at_ns)
        if span.error is not None:
            made.set_status(trace.Status(trace.StatusCode.ERROR, span.error))
        made.end(span.ended_ns)

    def close(self, *, timeout_s: float = _CLOSE_S) -> None:
        """Send what waits, for so long; what is left then is lost, and counted."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(timeout_s)
        with self._lock:
            left, self._waiting, self._is_over = self._waiting, 0, True
        if closing.is_alive():
            self._exporter.stop()  # a try that waits for the next one ends
        if left:
            self._lose("ended", left, _first_word.said or f"it did not take them within {timeout_s:g} s", now=True)

    def _sent(self, spans: int, *, why: str | None) -> None:
        """A batch has left the queue; `why` it failed, None if it did not."""
        with self._lock:
            if self._is_over:
                return
            self._waiting -= spans
        if why is not None:
            self._lose("failed", spans, why)

    def _lose(self, reason: str, spans: int, why: str, *, now: bool = False) -> None:
        self._lost(reason, spans)
        with self._lock:
            self._untold += spans
            now_s = self._now_s()
            if now_s < self._tell_next_s and not now:
                return
            untold, self._untold, self._tell_next_s = self._untold, 0, now_s + _SELDOM_S
        log.warning(
            "traces: %s could not be sent to %s (%s): is the collector up? frames are not affected",
            counted(untold, "span"),
            self._where,
            why,
        )


class _Counted(SpanExporter):
    """An exporter that tells what became of each batch, and never raises."""

    def __init__(self, exporter: SpanExporter, tracer: OtelTracer) -> None:
        self._exporter, self._tracer = exporter, tracer
        self._stopped = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        _first_word.said = ""
        why: str | None = "unforeseen error"
        try:
            result = self._exporter.export(spans)
            why = None if result is SpanExportResult.SUCCESS else _first_word.said or "no reason given"
        except Exception as error:  # noqa: BLE001 - whatever an exporter does, frames go on
            why = f"{type(error).__name__}: {error}"[:_WHY_LENGTH]
        finally:
            self._tracer._sent(len(spans), why=why)
        return SpanExportResult.SUCCESS if why is None else SpanExportResult.FAILURE

    def stop(self) -> None:
        """End the exporter; once."""
        if self._stopped.acquire(blocking=False):
            self._exporter.shutdown()

    def shutdown(self) -> None:
        self.stop()


class _GivenIds(IdGenerator):
    """Ids that were made before: of each thread, those of the span that it begins next."""

    def __init__(self) -> None:
        self._next = threading.local()

    def give(self, context: SpanContext) -> None:
        """The ids of the span that this thread begins next."""
        self._next.context = context

    def generate_span_id(self) -> int:
        return int(self._next.context.span_id, 16)

    def generate_trace_id(self) -> int:
        return int(self._next.context.trace_id, 16)


def _above(span: Span) -> otel_context.Context:
    """Where a span hangs."""
    nothing = otel_context.Context()
    if span.parent is None:
        return nothing
    parent = trace.NonRecordingSpan(_otel(span.parent, is_remote=span.is_remote))
    return trace.set_span_in_context(parent, nothing)


def _otel(context: SpanContext, *, is_remote: bool) -> trace.SpanContext:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if context.sampled else trace.TraceFlags.DEFAULT)
    return trace.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote, flags)
