"""One run of a camera, what all cameras share on the way to Kafka, and the counts of what became of frames."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from producers.cutting import PATIENCE_S, Cutter
from producers.deliveries import Deliveries
from producers.pacing import PreviewChoice
from streamproc.topics import Topics
from streamproc.tracing import FrameTraces

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.cameras_file import CameraSpec
    from producers.ingest_crew import Crew
    from producers.publish import Sender
    from streamproc.ledger import LedgerWriter
    from streamproc.metrics import Metrics
    from streamproc.settings import Settings
    from streamproc.tracing import Tracer


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of a camera's frames; when all is settled, read = published + failed + dropped."""

    frames_read: int = 0
    frames_published: int = 0
    frames_failed: int = 0
    frames_unknown: int = 0
    frames_dropped: int = 0
    tiles_acked: int = 0
    tiles_failed: int = 0
    tiles_unchanged: int = 0
    tiles_shed: int = 0
    bytes: int = 0
    runs: int = 0

    def add(self, other: Counts) -> None:
        """Count what another counts, too."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def balanced(self) -> bool:
        """Each frame that was read has ended."""
        return self.frames_read == self.frames_published + self.frames_failed + self.frames_dropped


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlet:
    """What all cameras share.

    Attributes:
        sender: Where records go.
        partitions: Of the tiles topic.
        pipeline_halo: Pixels around a tile that the pipeline's operators need.
        notice: Takes one line for the user.
        stop: Set when all is to end: waits become short.
        tracer: Where the spans of frames that are traced go; None is nowhere.
    """

    settings: Settings
    sender: Sender
    metrics: Metrics
    partitions: int
    crew: Crew
    ledger: LedgerWriter | None = None
    pipeline_halo: int = 0
    notice: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)
    tracer: Tracer | None = None


class Run:
    """One run of a camera: what lasts from its first frame to its last."""

    def __init__(
        self,
        spec: CameraSpec,
        outlet: Outlet,
        *,
        run: str,
        form: tuple[int, ...],
        stream_fps: float | None,
        notice: Callable[[str], None],
    ) -> None:
        self.id = run
        self.form = form
        self.numbered = 0
        self.held = 0  # frames that may still be counted here; guarded by the lane
        self.previews = PreviewChoice(outlet.settings.preview_per_s, stream_fps=stream_fps)
        self.deliveries = Deliveries(outlet.metrics, camera=spec.name, run=run, ledger=outlet.ledger)
        topic = Topics(outlet.settings.prefix).tiles
        self.traces = FrameTraces(outlet.tracer, topic=topic)
        self.cutter = Cutter(
            outlet.settings,
            codec=spec.codec,
            grid=spec.cut,
            pipeline_halo=outlet.pipeline_halo,
            partitions=outlet.partitions,
            notice=notice,
            changed=spec.changed,
            patience_s=PATIENCE_S if spec.drop == "block" else 0.0,
        )

    def counts(self) -> Counts:
        """What became of its frames so far."""
        made = self.deliveries
        return Counts(
            frames_published=made.frames_published,
            frames_failed=made.frames_failed,
            frames_unknown=made.frames_unknown,
            frames_dropped=made.frames_dropped,
            tiles_acked=made.tiles_acked,
            tiles_failed=made.tiles_failed,
            tiles_unchanged=made.tiles_unchanged,
            tiles_shed=made.tiles_shed,
            bytes=made.bytes_acked,
            runs=1,
        )
