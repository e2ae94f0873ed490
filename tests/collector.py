"""An OTLP/HTTP collector for tests, and spans as tests look at them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan


@dataclass(frozen=True, slots=True)
class Seen:
    """One span that arrived; ids in hexadecimal, `parent` empty for a root."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    moments: tuple[str, ...]
    started_ns: int
    ended_ns: int
    error: str | None
    service: str


def seen(span: ReadableSpan) -> Seen:
    """A span as an exporter is given it."""
    context, links = span.context, span.links or ()
    assert context is not None
    assert all(link.context.trace_id == context.trace_id for link in links)
    return Seen(
        name=span.name,
        kind=span.kind.name.lower(),
        trace=f"{context.trace_id:032x}",
        id=f"{context.span_id:016x}",
        parent=f"{span.parent.span_id:016x}" if span.parent else "",
        links=tuple(f"{link.context.span_id:016x}" for link in links),
        attributes=dict(span.attributes or {}),
        moments=tuple(event.name for event in span.events),
        started_ns=span.start_time or 0,
        ended_ns=span.end_time or 0,
        error=span.status.description if not span.status.is_ok and span.status.is_unset is False else None,
        service=str(span.resource.attributes.get("service.name")),
    )


def _read(request: ExportTraceServiceRequest) -> Iterable[Seen]:
    for resource in request.resource_spans:
        about = {one.key: one.value.string_value for one in resource.resource.attributes}
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            values = ((one.key, one.value, one.value.WhichOneof("value")) for one in span.attributes)
            assert all(link.trace_id == span.trace_id for link in span.links)
            yield Seen(
                name=span.name,
                kind={1: "internal", 4: "producer", 5: "consumer"}[span.kind],
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                links=tuple(link.span_id.hex() for link in span.links),
                attributes={key: getattr(value, str(kind)) for key, value, kind in values},
                moments=tuple(event.name for event in span.events),
                started_ns=span.start_time_unix_nano,
                ended_ns=span.end_time_unix_nano,
                error=span.status.message if span.status.code == 2 else None,
                service=about.get("service.name", ""),
            )


class Collector:
    """Takes spans over HTTP on a free port of loopback.

    Args:
        status: What it answers.
        answers: Cleared, it takes a request and never answers it until it ends.

    Attributes:
        url: Where it is.
        spans: What arrived.
        headers: Of each request.
    """

    def __init__(self, *, status: int = 200) -> None:
        self.spans: list[Seen] = []
        self.headers: list[dict[str, str]] = []
        self.answers = threading.Event()
        self.answers.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.answers.wait()
                if status == 200:
                    assert self.path == "/v1/traces"
                    plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                    collector.spans += _read(ExportTraceServiceRequest.FromString(plain))
                try:
                    self.send_response(status)
                    self.end_headers()
                except OSError:
                    return  # the sender did not wait

            def log_message(self, *_told: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def check_traces(spans: Iterable[Seen], *, tiles: int, prefix: str) -> dict[str, Seen]:
    """Fail unless each trace has exactly the spans of a frame of so many tiles; returns the assembling span of each."""
    traces: dict[str, list[Seen]] = {}
    for span in spans:
        traces.setdefault(span.trace, []).append(span)
    told: dict[str, Seen] = {}
    for trace, found in traces.items():
        (root,) = (span for span in found if span.name == "frame")
        (encode,) = (span for span in found if span.name == "encode")
        (send,) = (span for span in found if span.name == f"send {prefix}tiles")
        extracted = [span for span in found if span.name == f"process {prefix}tiles"]
        (assembled,) = (span for span in found if span.name == f"process {prefix}features")
        assert len(found) == 4 + tiles
        assert len(extracted) == tiles
        assert len({span.id for span in found}) == len(found)
        assert [one.kind for one in (root, encode, send, assembled)] == ["internal", "internal", "producer", "consumer"]
        assert root.parent == ""
        assert (encode.parent, send.parent, assembled.parent) == (root.id, root.id, root.id)
        assert {(span.kind, span.parent) for span in extracted} == {("consumer", send.id)}
        in_order = sorted(extracted, key=lambda span: (span.attributes["streamproc.tile.row"], _col(span)))
        assert assembled.links == tuple(span.id for span in in_order)
        assert {span.error for span in found} == {None}
        assert len({span.attributes["streamproc.sequence"] for span in (root, assembled, *extracted)}) == 1
        assert all(span.started_ns <= span.ended_ns for span in found)
        told[trace] = assembled
    return told


def _col(span: Seen) -> int:
    return int(span.attributes["streamproc.tile.col"])
