"""Every metric, defined once: name, type, labels, meaning. One registry and one exporter for each process.

Labels are closed sets (outcomes, reasons, stages, topics) or the camera; cameras are bounded by `MAX_CAMERAS`, later
ones share the label `other`. Frame, tile and run numbers are never labels.
"""

from __future__ import annotations

import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from streamproc import __version__
from streamproc.errors import SettingError
from streamproc.settings import Settings

MAX_CAMERAS: Final = 1000
_MAX_METRICS_BYTES: Final = 64 * 2**20
_LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one process, on a registry of their own (so that tests can have many).

    The conservation law reads: tiles_total over `merged, duplicate, late, rejected, deadlettered` equals the tiles
    read by the aggregators; frames_total over its outcomes equals the frames published.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._cameras: set[str] = set()
        self._lock = threading.Lock()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"streamproc_{name}", meaning, labels, registry=self.registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"streamproc_{name}", meaning, labels, registry=self.registry)

        def latency(name: str, meaning: str, *labels: str) -> Histogram:
            return Histogram(f"streamproc_{name}", meaning, labels, buckets=_LATENCY_S, registry=self.registry)

        # producers
        self.frames_published = counter("frames_published", "Frames whose tiles were all acknowledged", "camera")
        self.frames_failed = counter("frames_failed", "Frames of which a tile was not acknowledged", "camera")
        self.frames_dropped = counter("frames_dropped", "Frames dropped by a policy, never sent", "camera", "reason")
        self.tiles_unchanged = counter("tiles_unchanged", "Tiles sent as references to earlier pixels", "camera")
        self.tiles_shed = counter("tiles_shed", "Changed tiles that were sent as they were before", "camera", "reason")
        self.published_bytes = counter("published_bytes", "Encoded tile bytes acknowledged", "camera")
        self._define_cameras(counter, gauge)
        # extract agents
        self.tiles_extracted = counter("tiles_extracted", "Tiles whose features were acknowledged")
        self.tiles_recalled = counter("tiles_recalled", "Tiles whose results were known from the one they refer to")
        self.tile_bytes = counter("tile_bytes", "Encoded tile bytes read by extract agents")
        self.deadletters = counter("deadletters", "Messages sent to dead letters", "stage", "reason")
        self.decoders_lost = counter("decoders_lost", "Decoder processes lost to a picture", "ending")
        self.extract_seconds = latency("extract_seconds", "Decode and operators of one tile")
        # aggregator
        self.tiles = counter("tiles", "Tiles by what became of them in the aggregator", "outcome")
        self.frames = counter("frames", "Frames by outcome", "camera", "outcome")
        self.open_frames = gauge("open_frames", "Frames waiting for tiles")
        self.open_bytes = gauge("open_frame_bytes", "Features held for frames that wait for tiles")
        self.assemble_seconds = latency("assemble_seconds", "Seam linking and merging of one frame")
        self.steps_skipped = counter("steps_skipped", "Steps on whole frames that were due and gave nothing", "step")
        self.occurrences = counter("occurrences", "Events of things that happened on frames", "kind", "what")
        self.stage_seconds = latency("stage_seconds", "Time of a frame in each stage", "stage")
        self.event_seconds = latency("event_latency_seconds", "Capture of a frame to its event", "camera")
        # sinks
        self.sink_events = counter("sink_events", "Events by what became of them at a sink", "kind", "outcome")
        self.sink_retries = counter("sink_retries", "Times the target of a sink had to be tried again", "kind")
        # the process
        self.lag = gauge("consumer_lag_records", "Records not yet read, by topic", "topic")
        self.buffer_bytes = gauge("buffer_bytes", "Bytes waiting inside this process", "buffer")
        self.rebalances = counter("rebalances", "Times this worker's partitions were assigned anew")
        self.build_info = gauge("build_info", "Version of streamproc, always 1", "version")

    def _define_cameras(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self.camera_up = gauge("camera_up", "1 while a camera gives frames, 0 while it does not", "camera")
        self.camera_fps = gauge("camera_fps", "Frames a second that a camera gave over the last seconds", "camera")
        self.camera_lost = counter("camera_lost", "Times a camera was lost or could not be opened", "camera", "reason")
        self.camera_reconnects = counter("camera_reconnects", "Times a lost camera gave frames again", "camera")
        self.camera_gaps = counter("camera_gaps", "Times without frames that were longer than they should be", "camera")
        self.camera_gap_seconds = counter("camera_gap_seconds", "Length of those gaps together", "camera")
        self.camera_clock_steps = counter("camera_clock_steps", "Jumps of the times that a camera gives", "camera")
        self.camera_events_lost = counter("camera_events_lost", "Camera events that never reached the broker")

    def camera(self, name: str) -> str:
        """`name` as a label value, or `other` once `MAX_CAMERAS` different ones were seen."""
        if name in self._cameras:
            return name
        with self._lock:
            if len(self._cameras) >= MAX_CAMERAS:
                return "other"
            self._cameras.add(name)
        return name


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
def exported(settings: Settings) -> Iterator[Metrics]:
    """A process's metrics, served for as long as this lasts if a port is set.

    Raises:
        SettingError: The port is taken.
    """
    metrics = Metrics()
    metrics.build_info.labels(__version__).set(1)
    exporter = None
    if settings.metrics_port:
        exporter = Exporter(metrics, host=settings.metrics_host, port=settings.metrics_port)
    try:
        yield metrics
    finally:
        if exporter is not None:
            exporter.close()


class Exporter:
    """Serves a registry at /metrics on one port, from a thread of its own, until closed.

    Raises:
        SettingError: The port is taken.
    """

    def __init__(self, metrics: Metrics, *, host: str, port: int) -> None:
        self._server: WSGIServer
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=metrics.registry)
        except OSError as error:
            raise SettingError(
                f"metrics port {host}:{port} cannot be opened ({error.strerror}): choose another with --metrics-port"
            ) from None
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving; waits for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
