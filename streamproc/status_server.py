"""One small HTTP server for what a process tells of itself: /metrics, /healthz, /readyz.

Its clients are kubelets and Prometheus; it must answer them whatever others do to it. So each connection has a thread
and an end (`LIFE_S`, however slowly it talks), and of more than `MAX_CONNECTIONS` the oldest has to go.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry, make_wsgi_app

from streamproc.health import Verdict, alive, ready
from streamproc.vitals import Vitals

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 32
LIFE_S: Final = 10.0
"""Longest life of a connection, seconds: Prometheus gives up after ten."""
PATHS: Final = ("/metrics", "/healthz", "/readyz")
_LOOK_S: Final = 0.25
_METHODS: Final = ("GET", "HEAD")


class StatusServer:
    """Serves until closed.

    Args:
        registry: Of /metrics.
        vitals: Of /healthz and /readyz.
        host: Address to listen on.
        port: 0 for any free one.
        life_s: Longest life of a connection, seconds.

    Raises:
        OSError: It cannot listen there.

    Attributes:
        port: Where it listens.
    """

    def __init__(
        self, registry: CollectorRegistry, vitals: Vitals, *, host: str, port: int, life_s: float = LIFE_S
    ) -> None:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self._server = _Server(family, address, registry, vitals, life_s=life_s)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _LOOK_S}, name="status", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    status: HTTPStatus = HTTPStatus.OK


class _Handler(BaseHTTPRequestHandler):
    """One request on one connection; HTTP/1.0, so that none stays."""

    server: _Server
    server_version = "streamproc"
    sys_version = ""
    timeout = LIFE_S

    def parse_request(self) -> bool:
        """Do as the library's, and refuse methods that change things."""
        if not super().parse_request():
            return False
        if self.command not in _METHODS:
            self._send(_told(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD", Allow=", ".join(_METHODS)))
            return False
        return True

    def do_GET(self) -> None:
        """Answer."""
        parts = urllib.parse.urlsplit(self.path)
        try:
            if parts.path == "/metrics":
                answer = self._metrics(parts.query)
            elif parts.path == "/healthz":
                answer = _judged(alive(self.server.vitals.facts(), self.server.vitals.now_s))
            elif parts.path == "/readyz":
                answer = _judged(ready(self.server.vitals.facts(), self.server.vitals.now_s))
            else:
                answer = _told(HTTPStatus.NOT_FOUND, f"there is {', '.join(PATHS)}")
        except Exception:  # a gauge that asks somebody may fail; the next question is another one
            log.exception("%s could not be answered", parts.path)
            answer = _told(HTTPStatus.INTERNAL_SERVER_ERROR, "failed: the process's log says why")
        self._send(answer)

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def _metrics(self, query: str) -> _Answer:
        """Let Prometheus' own application choose form and compression."""
        told: list[Any] = []
        environment = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/metrics",
            "QUERY_STRING": query,
            "HTTP_ACCEPT": self.headers.get("Accept", ""),
            "HTTP_ACCEPT_ENCODING": self.headers.get("Accept-Encoding", ""),
        }
        body = b"".join(self.server.metrics(environment, lambda *start: told.extend(start)))
        return _Answer(body, told[1], HTTPStatus(int(told[0].split()[0])))

    def _send(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        for name, value in (*answer.headers, ("Content-Length", str(len(answer.body))), ("Cache-Control", "no-store")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: probes come every few seconds."""


class _Server(ThreadingHTTPServer):
    """Threads and connections within bounds."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * MAX_CONNECTIONS
    allow_reuse_port = False  # two processes on one port would each see half of the probes

    def __init__(
        self, family: int, address: Any, registry: CollectorRegistry, vitals: Vitals, *, life_s: float
    ) -> None:
        self.address_family = family
        self.vitals = vitals
        self.metrics = make_wsgi_app(registry)
        self._life_s = life_s
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}  # and since when, oldest first
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking the name service what this host is called, as the library's does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "streamproc", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection; the oldest one goes if there are too many."""
        with self._lock:
            self._open[request] = time.monotonic()
            oldest = next(iter(self._open)) if len(self._open) > MAX_CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
        if oldest is not None:
            _cut(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that last too long: one that sends a byte now and again breaks no timeout of a socket."""
        now_s = time.monotonic()
        with self._lock:
            late = [one for one, since_s in self._open.items() if now_s - since_s > self._life_s]
            for one in late:
                del self._open[one]
        for one in late:
            _cut(one)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's names
        """Say nothing of clients that go away."""
        log.debug("a connection from %s ended early: %s", client_address, sys.exception())


def _cut(connection: socket.socket) -> None:
    """Wake the thread that reads from it or writes to it; that one closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # gone by itself
        return


def _judged(verdict: Verdict) -> _Answer:
    body = {"status": verdict.status, "role": verdict.role, "reasons": list(verdict.reasons)}
    return _Answer(
        json.dumps(body).encode() + b"\n",
        [("Content-Type", "application/json; charset=utf-8")],
        HTTPStatus.OK if verdict.good else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _told(status: HTTPStatus, line: str, **headers: str) -> _Answer:
    return _Answer(
        f"{status.value} {status.phrase}: {line}\n".encode(),
        [("Content-Type", "text/plain; charset=utf-8"), *headers.items()],
        status,
    )
