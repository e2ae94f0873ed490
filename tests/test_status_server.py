"""Probes and metrics over HTTP, from a real socket: answered whatever other clients do."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from streamproc.metrics import Metrics
from streamproc.status_server import MAX_CONNECTIONS, StatusServer
from streamproc.vitals import Vitals, Wanted

HOST = "127.0.0.1"


@pytest.fixture
def vitals() -> Vitals:
    return Vitals("sink", wanted=Wanted(()))


@pytest.fixture
def server(vitals: Vitals) -> Iterator[StatusServer]:
    metrics = Metrics()
    metrics.tiles_extracted.inc(3)
    served = StatusServer(metrics.registry, vitals, host=HOST, port=0, life_s=0.4)
    yield served
    served.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=3)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def body(port: int, path: str) -> tuple[int, Any]:
    status, headers, content = ask(port, path)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    return status, json.loads(content)


def test_a_probe_is_answered_with_status_role_and_reasons(server: StatusServer, vitals: Vitals) -> None:
    well = {"status": "ok", "role": "sink", "reasons": []}
    assert body(server.port, "/healthz") == body(server.port, "/readyz?verbose") == (200, well)
    vitals.trouble("target", "redis://r does not answer")
    status, told = body(server.port, "/readyz")
    assert (status, told["status"], len(told["reasons"])) == (503, "failing", 1)
    assert told["reasons"][0].startswith("redis://r does not answer (for 0.")
    assert body(server.port, "/healthz") == (200, well)
    vitals.turn("loop", limit_s=-1)
    assert body(server.port, "/healthz")[0] == 503
    vitals.stop()
    assert body(server.port, "/readyz")[1]["status"] == "stopping"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_head_is_answered_as_get_without_a_body(server: StatusServer, path: str) -> None:
    status, headers, content = ask(server.port, path, "HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/", "/metric", "/healthz/", "/favicon.ico", "/../etc/passwd"])
def test_an_unknown_path_is_404_and_says_what_there_is(server: StatusServer, path: str) -> None:
    status, _, content = ask(server.port, path)
    assert (status, content) == (404, b"404 Not Found: there is /metrics, /healthz, /readyz\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_405(server: StatusServer, method: str) -> None:
    status, headers, _ = ask(server.port, "/healthz", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_metrics_are_given_in_the_form_and_compression_that_is_asked_for(server: StatusServer) -> None:
    status, headers, content = ask(server.port, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"streamproc_tiles_extracted_total 3.0" in content
    _, headers, content = ask(server.port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")
    _, headers, content = ask(server.port, "/metrics", Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"streamproc_tiles_extracted_total 3.0" in gzip.decompress(content)
    _, _, content = ask(server.port, "/metrics?name[]=streamproc_tiles_extracted_total")
    assert {line.split()[2] for line in content.decode().splitlines() if line.startswith("# TYPE")} == {
        "streamproc_tiles_extracted_total"
    }


def test_clients_that_never_end_their_request_stop_nobody_and_are_put_out(server: StatusServer) -> None:
    """Slowloris, with more connections than there may be; one of them sends a byte again and again."""
    slow = [socket.create_connection((HOST, server.port), timeout=3) for _ in range(MAX_CONNECTIONS + 8)]
    try:
        for one in slow:
            one.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        started_s = time.monotonic()
        assert body(server.port, "/healthz")[0] == 200
        assert time.monotonic() - started_s < 0.3
        dripping = slow[-1]
        while time.monotonic() - started_s < 0.9:
            try:
                dripping.sendall(b"x")
                dripping.settimeout(0.05)
                if dripping.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("a connection outlived its limit")
    finally:
        for one in slow:
            one.close()


def test_many_probes_at_a_time_are_all_answered(server: StatusServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert {status for status, *_ in pool.map(lambda _: ask(server.port, "/readyz"), range(64))} == {200}


@pytest.mark.parametrize(
    "sent", [b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", b"A" * 70_000 + b"\r\n"]
)
def test_what_is_no_request_harms_nobody(server: StatusServer, sent: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection((HOST, server.port), timeout=3) as connection:
        connection.sendall(sent)
    assert body(server.port, "/healthz")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_gauge_that_fails_spoils_one_answer_and_no_probe(vitals: Vitals) -> None:
    registry = CollectorRegistry()
    Gauge("broken", "Fails", registry=registry).set_function(lambda: 1 / 0)
    server = StatusServer(registry, vitals, host=HOST, port=0)
    try:
        assert ask(server.port, "/metrics")[0] == 500
        assert ask(server.port, "/healthz")[0] == 200
    finally:
        server.close()


def test_nothing_listens_any_more_once_it_is_closed(vitals: Vitals) -> None:
    server = StatusServer(CollectorRegistry(), vitals, host=HOST, port=0)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        ask(server.port, "/healthz")


def test_two_cannot_listen_on_one_port(server: StatusServer, vitals: Vitals) -> None:
    with pytest.raises(OSError, match="in use"):
        StatusServer(CollectorRegistry(), vitals, host=HOST, port=server.port)
