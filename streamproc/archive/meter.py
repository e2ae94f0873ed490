"""What an archive run tells Prometheus: read from its topics a few times a second. The clock is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamproc.archive.session import HELD_BYTES, TopicRun
from streamproc.lag import Lag, most_of_kept
from streamproc.metrics import Metrics


@dataclass(slots=True)
class _Shown:
    """What was counted of a topic; `safe_s`: when nothing waited to be in a complete file, or one was completed."""

    safe_s: float
    taken: int = 0
    taken_bytes: int = 0
    files: int = 0
    gaps: int = 0
    lag: Lag[int] = field(default_factory=Lag)


class ArchiveMeter:
    """Counts records and files, and shows how far behind and how unsafe an archive is.

    Args:
        metrics: Of the process.
        topics: Written by other threads.
        now_s: Monotonic clock.
    """

    def __init__(self, metrics: Metrics, topics: Sequence[TopicRun], *, now_s: float) -> None:
        self._metrics, self._topics = metrics, topics
        self._shown = {one.topic: _Shown(now_s) for one in topics}
        metrics.buffer_limit.labels("archive").set(HELD_BYTES * len(topics))
        for one in topics:
            metrics.archive_missing.labels(one.topic)

    def show(self, *, now_s: float, wall_s: float) -> None:
        """Bring all up to date.

        Args:
            now_s: Monotonic clock.
            wall_s: Unix time, seconds.
        """
        self._metrics.buffer_bytes.labels("archive").set(sum(one.held_bytes for one in self._topics))
        for one in self._topics:
            self._show(one, self._shown[one.topic], now_s=now_s, wall_s=wall_s)

    def _show(self, one: TopicRun, shown: _Shown, *, now_s: float, wall_s: float) -> None:
        metrics, topic, written = self._metrics, one.topic, one.written
        taken, taken_bytes, files = written.taken, written.taken_bytes, written.files
        # what was forgotten with a file that could not be completed is taken again, and counted once
        metrics.archive_records.labels(topic).inc(max(0, taken - shown.taken))
        metrics.archive_bytes.labels(topic).inc(max(0, taken_bytes - shown.taken_bytes))
        metrics.archive_files.labels(topic).inc(files - shown.files)
        gaps = written.gaps[shown.gaps :]
        lost = sum(gap.last - gap.first + 1 for gap in gaps if gap.why == "retention")
        metrics.archive_missing.labels(topic).inc(lost)
        waits = not one.reading or one.behind or one.held_bytes or taken > written.records
        if not waits or files > shown.files:
            shown.safe_s = now_s
        metrics.archive_unfinished.labels(topic).set(now_s - shown.safe_s)
        metrics.lag.labels(topic, "archive").set(one.behind)
        late_s = shown.lag.look(one.standings, wall_s)
        metrics.lag_seconds.labels(topic, "archive").set(max(late_s.values(), default=0.0))
        metrics.lag_of_kept.labels(topic, "archive").set(most_of_kept(one.standings.values()))
        shown.taken, shown.taken_bytes = max(shown.taken, taken), max(shown.taken_bytes, taken_bytes)
        shown.files, shown.gaps = files, shown.gaps + len(gaps)
