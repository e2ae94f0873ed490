"""Every metric, defined once: name, type, unit, labels, meaning, and what to do when it moves.

Labels are closed sets (outcomes, reasons, stages, topics) or the camera; cameras are bounded by `MAX_CAMERAS`, later
ones share the label `other`. Frame, tile and run numbers are never labels. `docs/metrics.md` is made from here:
`python -m tests.metrics_page`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX: Final = "streamproc_"
UNITS: Final = ("seconds", "bytes", "records")
MAX_CAMERAS: Final = 1000
_LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One metric, as its page has it.

    Attributes:
        name: As it is scraped, `_total` of counters included.
        kind: counter, gauge or histogram.
        unit: Of its values, in Prometheus' base units; empty for a plain number of things.
        labels: Their names.
        meaning: What it counts or measures.
        moves: What to think and do when it moves.
        part: Which processes have it.
    """

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    meaning: str
    moves: str
    part: str


class _Definer:
    """Makes metrics on a registry, and notes what they are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.made: list[Definition] = []
        self.part = ""

    def counter(self, name: str, meaning: str, *labels: str, moves: str) -> Counter:
        self._note(f"{name}_total", "counter", labels, meaning, moves)
        return Counter(f"{PREFIX}{name}", meaning, labels, registry=self._registry)

    def gauge(self, name: str, meaning: str, *labels: str, moves: str) -> Gauge:
        self._note(name, "gauge", labels, meaning, moves)
        return Gauge(f"{PREFIX}{name}", meaning, labels, registry=self._registry)

    def latency(self, name: str, meaning: str, *labels: str, moves: str) -> Histogram:
        self._note(name, "histogram", labels, meaning, moves)
        return Histogram(f"{PREFIX}{name}", meaning, labels, buckets=_LATENCY_S, registry=self._registry)

    def _note(self, name: str, kind: str, labels: tuple[str, ...], meaning: str, moves: str) -> None:
        unit = next((unit for unit in UNITS if unit in name.split("_")), "")
        one = Definition(
            name=PREFIX + name, kind=kind, unit=unit, labels=labels, meaning=meaning, moves=moves, part=self.part
        )
        self.made.append(one)


class Metrics:
    """The metrics of one process, on a registry of their own (so that tests can have many).

    The conservation law reads: tiles_total over `merged, duplicate, late, rejected, deadlettered` equals the tiles
    read by the aggregators; frames_total over its outcomes equals the frames published.

    Attributes:
        definitions: Every metric there is.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._cameras: set[str] = set()
        self._lock = threading.Lock()
        define = _Definer(self.registry)
        self._define_producers(define)
        self._define_cameras(define)
        self._define_extract(define)
        self._define_aggregate(define)
        self._define_sinks(define)
        self._define_process(define)
        self.definitions: tuple[Definition, ...] = tuple(define.made)

    def _define_producers(self, define: _Definer) -> None:
        define.part = "producers"
        self.frames_published = define.counter(
            "frames_published",
            "Frames whose tiles were all acknowledged",
            "camera",
            moves="Grows with the camera's speed. Stands still: look at camera_up, then at the broker.",
        )
        self.frames_failed = define.counter(
            "frames_failed",
            "Frames of which a tile was not acknowledged",
            "camera",
            moves="Must stand still. Grows: the broker is gone, full, or refuses records; the log says which.",
        )
        self.frames_dropped = define.counter(
            "frames_dropped",
            "Frames dropped by a policy, never sent",
            "camera",
            "reason",
            moves="Reason fps: as asked. Any other: the broker takes less than the camera gives; lower fps, send only"
            " what has changed, or give it a faster broker.",
        )
        self.tiles_unchanged = define.counter(
            "tiles_unchanged",
            "Tiles sent as references to earlier pixels",
            "camera",
            moves="The more, the fewer bytes. Falls to nothing: much moves, or the light or the camera does.",
        )
        self.tiles_shed = define.counter(
            "tiles_shed",
            "Changed tiles that were sent as they were before",
            "camera",
            "reason",
            moves="There is no room for all that changes: frames are dropped next. As frames_dropped.",
        )
        self.published_bytes = define.counter(
            "published_bytes",
            "Encoded tile bytes acknowledged",
            "camera",
            moves="What a camera costs the broker's disk and network.",
        )

    def _define_cameras(self, define: _Definer) -> None:
        define.part = "ingest"
        self.camera_up = define.gauge(
            "camera_up",
            "1 while a camera gives frames, 0 while it does not",
            "camera",
            moves="0: the camera is blind; camera_lost and its offline event say why.",
        )
        self.camera_fps = define.gauge(
            "camera_fps",
            "Frames a second that a camera gave over the last seconds",
            "camera",
            moves="Sags: look at the camera's network and at its light, many give fewer frames at night.",
        )
        self.camera_lost = define.counter(
            "camera_lost",
            "Times a camera was lost or could not be opened",
            "camera",
            "reason",
            moves="unauthorized: its password; unreachable, timeout: its network; stalled, frozen: the camera itself.",
        )
        self.camera_reconnects = define.counter(
            "camera_reconnects",
            "Times a lost camera gave frames again",
            "camera",
            moves="Many: a bad network or power supply.",
        )
        self.camera_gaps = define.counter(
            "camera_gaps",
            "Times without frames that were longer than they should be",
            "camera",
            moves="Its frames stutter without a loss: network, or a camera that is overloaded.",
        )
        self.camera_gap_seconds = define.counter(
            "camera_gap_seconds", "Length of those gaps together", "camera", moves="How long it was blind in them."
        )
        self.camera_clock_steps = define.counter(
            "camera_clock_steps",
            "Jumps of the times that a camera gives",
            "camera",
            moves="Its clock is set, or drifts: give it NTP. Order is not affected.",
        )
        self.camera_events_lost = define.counter(
            "camera_events_lost",
            "Camera events that never reached the broker",
            moves="Must stand still. Grows: the broker was gone for longer than they are kept.",
        )

    def _define_extract(self, define: _Definer) -> None:
        define.part = "workers that extract"
        self.tiles_extracted = define.counter(
            "tiles_extracted",
            "Tiles whose features were acknowledged",
            moves="Stands still while lag grows: the worker hangs or waits for the broker; it ends itself after"
            " STREAMPROC_STALL_TIMEOUT_S.",
        )
        self.tiles_recalled = define.counter(
            "tiles_recalled",
            "Tiles whose results were known from the one they refer to",
            moves="Far below tiles_unchanged: STREAMPROC_REFERENCES_BYTES is too small.",
        )
        self.tile_bytes = define.counter(
            "tile_bytes", "Encoded tile bytes read by extract agents", moves="What decoding has to cope with."
        )
        self.deadletters = define.counter(
            "deadletters",
            "Messages sent to dead letters",
            "stage",
            "reason",
            moves="Must stand still. Grows: streamproc deadletters list, then show.",
        )
        self.decoders_lost = define.counter(
            "decoders_lost",
            "Decoder processes lost to a picture",
            "ending",
            moves="A picture crashed or stalled a decoder; it is a dead letter of the reason decode: report it.",
        )
        self.extract_seconds = define.latency(
            "extract_seconds",
            "Decode and operators of one tile",
            moves="Rises: dearer pictures or a dearer pipeline; more workers, or less to do.",
        )

    def _define_aggregate(self, define: _Definer) -> None:
        define.part = "workers that aggregate"
        self.tiles = define.counter(
            "tiles",
            "Tiles by what became of them in the aggregator",
            "outcome",
            moves="late, duplicate: workers were killed or moved. rejected, deadlettered: see deadletters.",
        )
        self.frames = define.counter(
            "frames",
            "Frames by outcome",
            "camera",
            "outcome",
            moves="Anything but complete: tiles were lost on the way or refused; the event's reason says which.",
        )
        self.open_frames = define.gauge(
            "open_frames", "Frames waiting for tiles", moves="Grows: extract workers do not keep up, or one is gone."
        )
        self.open_bytes = define.gauge(
            "open_frame_bytes",
            "Features held for frames that wait for tiles",
            moves="Near STREAMPROC_MAX_OPEN_BYTES: frames are closed early soon.",
        )
        self.assemble_seconds = define.latency(
            "assemble_seconds",
            "Seam linking and merging of one frame",
            moves="Rises: more edges, or dearer steps on frames.",
        )
        self.steps_skipped = define.counter(
            "steps_skipped",
            "Steps on whole frames that were due and gave nothing",
            "step",
            moves="Frames were not complete, or the step failed; the worker's log says which.",
        )
        self.occurrences = define.counter(
            "occurrences",
            "Events of things that happened on frames",
            "kind",
            "what",
            moves="What tracks, rules and anomalies tell.",
        )
        self.stage_seconds = define.latency(
            "stage_seconds",
            "Time of a frame in each stage",
            "stage",
            moves="Where it grows frames wait. publish: producer and broker; wait: too few workers; extract: the"
            " pipeline; gather: tiles of a frame come late; assemble: the aggregator.",
        )
        self.event_seconds = define.latency(
            "event_latency_seconds",
            "Capture of a frame to its event",
            "camera",
            moves="What a user waits for; stage_seconds says where.",
        )

    def _define_sinks(self, define: _Definer) -> None:
        define.part = "sinks"
        self.sink_events = define.counter(
            "sink_events",
            "Events by what became of them at a sink",
            "kind",
            "outcome",
            moves="refused: the target will not have them; the sink's log says why.",
        )
        self.sink_retries = define.counter(
            "sink_retries",
            "Times the target of a sink had to be tried again",
            "kind",
            moves="Grows: the target is down or slow; nothing is lost while the log keeps events.",
        )

    def _define_process(self, define: _Definer) -> None:
        define.part = "every process"
        self.lag = define.gauge(
            "consumer_lag_records",
            "Records not yet read, by topic",
            "topic",
            moves="Grows: add workers, up to one for each partition. Stands still above 0: a partition is stuck.",
        )
        self.lag_seconds = define.gauge(
            "consumer_lag_seconds",
            "Age of the record read last, by topic; 0 if all are read",
            "topic",
            moves="How far behind live the worker is; close to the topic's retention, records will be lost unread.",
        )
        self.buffer_bytes = define.gauge(
            "buffer_bytes",
            "Bytes waiting inside this process",
            "buffer",
            moves="At its bound: what comes next is slower than what comes before.",
        )
        self.rebalances = define.counter(
            "rebalances",
            "Times this worker's partitions were assigned anew",
            moves="Workers come and go: deployments, crashes, or a session timeout that is too short for their pauses.",
        )
        self.rebalance_seconds = define.latency(
            "rebalance_seconds",
            "From the loss of partitions to their assignment anew",
            moves="Nothing of them is worked on in that time.",
        )
        self.build_info = define.gauge(
            "build_info", "Version of streamproc, always 1", "version", moves="A deployment."
        )

    def camera(self, name: str) -> str:
        """`name` as a label value, or `other` once `MAX_CAMERAS` different ones were seen."""
        if name in self._cameras:
            return name
        with self._lock:
            if len(self._cameras) >= MAX_CAMERAS:
                return "other"
            self._cameras.add(name)
        return name
