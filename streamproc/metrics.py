"""Every metric, defined once: name, type, unit, labels, meaning, and what to do when it moves.

Each label is a closed set or capped (`metric_types`): no message, camera or pipeline makes more series than are
declared. Frame, tile and run numbers are never labels. `docs/metrics.md` is made from here:
`python -m tests.metrics_page`. Those of what stands around the live way of frames are in `metrics_around`.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

from streamproc import metric_types as label
from streamproc.metric_types import Capped, Definer, Definition
from streamproc.metrics_around import AroundMetrics

MAX_CAMERAS: Final = 1000
MAX_TOPICS: Final = 16
MAX_STEPS: Final = 64

# A series more for each counter, of when it began, that nobody asks for; its function has no types.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics(AroundMetrics):
    """The metrics of one process, on a registry of their own (so that tests can have many).

    The conservation law reads: tiles_total over `merged, duplicate, late, rejected, deadlettered` equals the tiles
    read by the aggregators; frames_total over its outcomes equals the frames published, and replayed into the same
    topics.

    Attributes:
        definitions: Every metric there is, but those of the operating system's process (`process_...`).
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._camera = Capped("camera", MAX_CAMERAS)
        self._topic = Capped("topic", MAX_TOPICS)
        define = Definer(self.registry)
        self._define_producers(define)
        self._define_cameras(define)
        self._define_extract(define)
        self._define_aggregate(define)
        self._define_replay(define)
        self._define_rerun(define)
        self._define_archive(define)
        self._define_sinks(define)
        self._define_viewer(define)
        self._define_process(define)
        self.definitions: tuple[Definition, ...] = tuple(define.made)

    def _define_producers(self, define: Definer) -> None:
        define.part = "producers"
        self.frames_published = define.counter(
            "frames_published",
            "Frames whose tiles were all acknowledged",
            self._camera,
            moves="Grows with the camera's speed. Stands still: look at camera_up, then at the broker.",
        )
        self.frames_failed = define.counter(
            "frames_failed",
            "Frames of which a tile was not acknowledged",
            self._camera,
            moves="Must stand still. Grows: the broker is gone, full, or refuses records; the log says which.",
        )
        self.frames_dropped = define.counter(
            "frames_dropped",
            "Frames dropped by a policy, never sent",
            self._camera,
            label.DROPPED,
            moves="Reason fps: as asked. Any other: the broker takes less than the camera gives; lower fps, send only"
            " what has changed, or give it a faster broker.",
        )
        self.publish_seconds = define.latency(
            "publish_seconds",
            "From sending a frame's first tile to the broker's word for its last",
            moves="Rises: the broker is slow or far, or its disk is busy; frames pile up in the producer then.",
        )
        self.tiles_published = define.counter(
            "tiles_published",
            "Tiles that the broker has acknowledged",
            self._camera,
            moves="With the frames. All of them end in tiles_total, or as a dead letter of the stage extract.",
        )
        self.tiles_unchanged = define.counter(
            "tiles_unchanged",
            "Tiles sent as references to earlier pixels",
            self._camera,
            moves="The more, the fewer bytes. Falls to nothing: much moves, or the light or the camera does.",
        )
        self.tiles_shed = define.counter(
            "tiles_shed",
            "Changed tiles that were sent as they were before",
            self._camera,
            label.SHED,
            moves="There is no room for all that changes: frames are dropped next. As frames_dropped.",
        )
        self.published_bytes = define.counter(
            "published_bytes",
            "Encoded tile bytes acknowledged",
            self._camera,
            moves="What a camera costs the broker's disk and network.",
        )

    def _define_cameras(self, define: Definer) -> None:
        define.part = "ingest"
        self.camera_up = define.gauge(
            "camera_up",
            "1 while a camera gives frames, 0 while it does not",
            self._camera,
            moves="0: the camera is blind; camera_lost and its offline event say why.",
        )
        self.camera_fps = define.gauge(
            "camera_fps",
            "Frames a second that a camera gave over the last seconds",
            self._camera,
            moves="Sags: look at the camera's network and at its light, many give fewer frames at night.",
        )
        self.camera_frame_time = define.gauge(
            "camera_last_frame_timestamp_seconds",
            "When a camera gave its last frame; before its first, when it was first tried",
            self._camera,
            moves="time() less this is for how long it has been blind; 0: it never gave one.",
        )
        self.camera_lost = define.counter(
            "camera_lost",
            "Times a camera was lost or could not be opened",
            self._camera,
            label.LOST,
            moves="unauthorized: its password; unreachable, timeout: its network; stalled, frozen: the camera itself.",
        )
        self.camera_reconnects = define.counter(
            "camera_reconnects",
            "Times a lost camera gave frames again",
            self._camera,
            moves="Many: a bad network or power supply.",
        )
        self.camera_gaps = define.counter(
            "camera_gaps",
            "Times without frames that were longer than they should be",
            self._camera,
            moves="Its frames stutter without a loss: network, or a camera that is overloaded.",
        )
        self.camera_gap_seconds = define.counter(
            "camera_gap_seconds", "Length of those gaps together", self._camera, moves="How long it was blind in them."
        )
        self.camera_clock_steps = define.counter(
            "camera_clock_steps",
            "Jumps of the times that a camera gives",
            self._camera,
            moves="Its clock is set, or drifts: give it NTP. Order is not affected.",
        )
        self.camera_events_lost = define.counter(
            "camera_events_lost",
            "Camera events that never reached the broker",
            moves="Must stand still. Grows: the broker was gone for longer than they are kept.",
        )

    def _define_extract(self, define: Definer) -> None:
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
            label.STAGE,
            label.REFUSED,
            moves="Must stand still. Grows: streamproc deadletters list, then show.",
        )
        self.decoders_lost = define.counter(
            "decoders_lost",
            "Decoder processes lost to a picture",
            label.ENDING,
            moves="A picture crashed or stalled a decoder; it is a dead letter of the reason decode: report it.",
        )
        self.extract_seconds = define.latency(
            "extract_seconds",
            "Decode and operators of one tile",
            moves="Rises: dearer pictures or a dearer pipeline; more workers, or less to do.",
        )

    def _define_aggregate(self, define: Definer) -> None:
        define.part = "workers that aggregate"
        self.tiles = define.counter(
            "tiles",
            "Tiles by what became of them in the aggregator",
            label.TILE_OUTCOME,
            moves="late, duplicate: workers were killed or moved. rejected, deadlettered: see deadletters.",
        )
        self.frames = define.counter(
            "frames",
            "Frames by outcome",
            self._camera,
            label.FRAME_OUTCOME,
            moves="Anything but complete: tiles were lost on the way or refused; the event's reason says which.",
        )
        self.open_frames = define.gauge(
            "open_frames", "Frames waiting for tiles", moves="Grows: extract workers do not keep up, or one is gone."
        )
        self.open_bytes = define.gauge(
            "open_frame_bytes",
            "Features held for frames that wait for tiles",
            moves="Near STREAMPROC_MAX_OPEN_BYTES: results are set aside, see results_read_again.",
        )
        self.results_read_again = define.counter(
            "results_read_again",
            "Results that were set aside for want of memory and read again when their frame was done, by tile",
            moves="One extract worker is far behind another; nothing is lost, but it is slower.",
        )
        self.assemble_seconds = define.latency(
            "assemble_seconds",
            "Seam linking and merging of one frame",
            moves="Rises: more edges, or dearer steps on frames.",
        )
        self.steps_skipped = define.counter(
            "steps_skipped",
            "Steps on whole frames that were due and gave nothing",
            Capped("step", MAX_STEPS),
            moves="Frames were not complete, or the step failed; the worker's log says which.",
        )
        self.occurrences = define.counter(
            "occurrences",
            "Events of things that happened on frames",
            label.HAPPENED,
            Capped("what", 32),
            moves="What tracks, rules and anomalies tell.",
        )
        self.stage_seconds = define.latency(
            "stage_seconds",
            "Time of a frame on each hop of its way; of runs named replay-..., only deliver",
            label.HOP,
            moves="Where it grows frames wait. publish (capture to the log): producer, broker; wait (until a worker"
            " begins): too few workers; extract: the pipeline; gather (its features wait for the frame's others): tiles"
            " come late; assemble: the aggregator; deliver (event sent to event in the log): the broker.",
        )
        self.event_seconds = define.latency(
            "event_latency_seconds",
            "Capture of a frame to its event; but of runs named replay-...",
            self._camera,
            moves="What a user waits for; stage_seconds says where.",
        )

    def _define_process(self, define: Definer) -> None:
        define.part = "every process"
        self._define_backlog(define)
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
        self._define_surroundings(define)
        self.spans_dropped = define.counter(
            "spans_dropped",
            "Spans of traces that never reached the collector",
            label.Closed("reason", ("full", "failed", "ended")),
            moves="Frames are not affected. failed: the collector is away or refuses; full: it is too slow, trace fewer"
            " frames (STREAMPROC_TRACES_SAMPLE); ended: the process ended first.",
        )
        self.build_info = define.gauge(
            "build_info", "Version of streamproc, always 1", Capped("version", 4), moves="A deployment."
        )

    def _define_backlog(self, define: Definer) -> None:
        self.lag = define.gauge(
            "consumer_lag_records",
            "Records not yet read, by topic and by what reads it",
            self._topic,
            label.READER,
            moves="Grows: of worker, add workers, up to one for each partition; archive, sink: what they write to is"
            " too slow. Stands still above 0: a partition is stuck.",
        )
        self.lag_seconds = define.gauge(
            "consumer_lag_seconds",
            "Age of the oldest unread record, by topic and by what reads it; 0 if all are read",
            self._topic,
            label.READER,
            moves="How far behind live it is, in its partition furthest behind; close to the topic's retention, records"
            " will be lost unread. After a start it counts from there until one is read.",
        )
        self.lag_of_kept = define.gauge(
            "consumer_lag_of_kept_ratio",
            "Share of the records kept that are not yet read, by topic and by what reads it (worker, archive; no sink)",
            self._topic,
            label.READER,
            moves="Of its partition that is worst off; 1: records were deleted unread. Near 1 the oldest unread record"
            " is the next to be deleted, by time or by bytes, if the topic is full: add workers, or keep more"
            " (STREAMPROC_TILES_KEPT_BYTES). A topic that is new is not full.",
        )
        self.buffer_bytes = define.gauge(
            "buffer_bytes",
            "Bytes waiting inside this process",
            label.BUFFER,
            moves="At its bound: what comes next is slower than what comes before.",
        )
        self.buffer_limit = define.gauge(
            "buffer_limit_bytes", "Bound of buffer_bytes", label.BUFFER, moves="A setting was changed."
        )

    def _define_surroundings(self, define: Definer) -> None:
        self.certificate_end = define.gauge(
            "certificate_end_timestamp_seconds",
            "When a certificate that settings name ends: of authorities (ca) the first that does, or the client's own",
            Capped("kind", 2),
            moves="Less time() it is what is left. After it the broker is not reached: replace the file before.",
        )
        self.disk_free = define.gauge(
            "disk_free_bytes",
            "Free on the disk of a place that this process writes to",
            Capped("kind", 8),
            moves="At 0 the process ends or waits: delete, or keep less (--keep-s, --keep-bytes, retention).",
        )
        self.disk_size = define.gauge(
            "disk_size_bytes", "Size of that disk", Capped("kind", 8), moves="The disk was changed."
        )

    def camera(self, name: str) -> str:
        """`name` as a label value, or `other` once `MAX_CAMERAS` different ones were seen."""
        return self._camera.of(name)
