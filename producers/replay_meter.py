"""What a replay tells Prometheus."""

from __future__ import annotations

from typing import Literal, TypeAlias

from producers.replay_report import ReplayProgress
from streamproc.metrics import Metrics

From: TypeAlias = Literal["log", "archive"]
To: TypeAlias = Literal["same", "other"]


class ReplayMeter:
    """Counts what is sent again, and shows how far a replay is.

    Args:
        metrics: Of the process.
        source: What it reads from.
        target: `same` if it sends into the topic of its own prefix, whose workers count its frames' outcomes.
        limit_bytes: Most bytes that wait to be sent.
        limit: Frames after which it ends, if it does.
    """

    def __init__(
        self, metrics: Metrics, *, source: From, target: To, limit_bytes: int, limit: int | None = None
    ) -> None:
        self._metrics, self._limit = metrics, limit
        self._frames = metrics.replay_frames.labels(source, target)
        self._tiles = metrics.replay_tiles.labels(source, target)
        self._bytes = metrics.replay_bytes.labels(source, target)
        self._waiting = metrics.buffer_bytes.labels("producer")
        metrics.buffer_limit.labels("producer").set(limit_bytes)

    def sent(self, size: int, *, begins: bool, captured_ns: int, waiting_bytes: int) -> None:
        """One tile was handed over.

        Args:
            size: Of its value, bytes.
            begins: It is the first of its frame.
            captured_ns: Of its frame.
            waiting_bytes: Sent and not yet acknowledged.
        """
        self._frames.inc(begins)
        self._tiles.inc()
        self._bytes.inc(size)
        self._waiting.set(waiting_bytes)
        self._metrics.replay_captured.set(captured_ns / 1e9)

    def behind(self, seconds: float) -> None:
        """So far it is behind the pace it was asked for."""
        self._metrics.replay_behind.set(seconds)

    def progress(self, now: ReplayProgress) -> None:
        """How far it is."""
        share = now.passed / now.total if now.total else 1.0
        if self._limit is not None:
            share = max(share, now.frames / self._limit)
        self._metrics.replay_progress.set(min(1.0, share))
        self._metrics.replay_paused.set(now.paused)

    def ended(self, *, whole: bool) -> None:
        """Nothing more is sent; `whole`: it came to the end of what was asked for."""
        self._waiting.set(0)
        if whole:
            self._metrics.replay_progress.set(1)
