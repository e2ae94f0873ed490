"""Metrics and health of a process served on one port, and metrics read back from there."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from streamproc import __version__
from streamproc.broker_watch import BrokerWatch
from streamproc.errors import SettingError
from streamproc.metrics import Metrics
from streamproc.settings import Settings
from streamproc.status_server import StatusServer
from streamproc.vitals import Vitals

_MAX_METRICS_BYTES: Final = 64 * 2**20


class Sample(NamedTuple):
    """One value of a counter."""

    name: str
    labels: dict[str, str]
    value: float


def read_counters(url: str, *, timeout_s: float = 5) -> list[Sample]:
    """The counters of a process, from its exporter.

    Args:
        url: Of the exporter, http or https; `/metrics` is added if it names no path.
        timeout_s: Longest wait for an answer.

    Raises:
        SettingError: No such URL, or it does not answer with metrics.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingError(f"metrics URL {url!r}: use http://HOST:PORT/metrics")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before our own processes
    try:
        with direct.open(parts._replace(path=parts.path.strip("/") or "metrics").geturl(), timeout=timeout_s) as answer:
            text = answer.read(_MAX_METRICS_BYTES).decode()
        families = list(text_string_to_metric_families(text))
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise SettingError(f"metrics URL {url} does not answer with metrics ({why}): is the process running?") from None
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in families
        if family.type == "counter"
        for sample in family.samples
        if sample.name.endswith("_total")
    ]


def tiles_by_outcome(port: int, *, host: str = "127.0.0.1", timeout_s: float = 5) -> dict[str, int]:
    """What became of the tiles that the aggregator of a process has seen, from its exporter.

    Raises:
        OSError: The exporter does not answer.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before our own processes
    with direct.open(f"http://{host}:{port}/metrics", timeout=timeout_s) as answer:
        text = answer.read().decode()
    return {
        sample.labels["outcome"]: int(sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == "streamproc_tiles"
        for sample in family.samples
        if sample.name == "streamproc_tiles_total"
    }


@contextmanager
def exported(settings: Settings, vitals: Vitals | None = None) -> Iterator[Metrics]:
    """A process's metrics and health, served for as long as this lasts if a port is set.

    Args:
        settings: Names the port.
        vitals: What the process notes of itself; None for one that notes nothing. The broker is asked on its behalf.

    Raises:
        SettingError: The port is taken.
    """
    metrics = Metrics()
    metrics.build_info.labels(__version__).set(1)
    vitals = vitals or Vitals("process")
    exporter = watch = None
    if settings.metrics_port:
        if vitals.wanted is not None:
            vitals.asks(settings.bootstrap)
        exporter = Exporter(metrics, host=settings.metrics_host, port=settings.metrics_port, vitals=vitals)
        if vitals.wanted is not None:
            watch = BrokerWatch(settings, vitals, vitals.wanted)
    try:
        yield metrics
    finally:
        if watch is not None:
            watch.close()
        if exporter is not None:
            exporter.close()


class Exporter:
    """Serves a registry at /metrics, and health at /healthz and /readyz, from threads of its own, until closed.

    Raises:
        SettingError: The port is taken.
    """

    def __init__(self, metrics: Metrics, *, host: str, port: int, vitals: Vitals | None = None) -> None:
        try:
            self._server = StatusServer(metrics.registry, vitals or Vitals("process"), host=host, port=port)
        except OSError as error:
            raise SettingError(
                f"metrics port {host}:{port} cannot be opened ({error.strerror}): choose another with --metrics-port"
            ) from None
        self.port: int = self._server.port

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
