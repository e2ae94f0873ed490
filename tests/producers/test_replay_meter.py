"""What a replay tells Prometheus."""

from __future__ import annotations

from producers.replay_meter import ReplayMeter
from producers.replay_report import ReplayProgress
from streamproc.metrics import Metrics

LOG = {"source": "log", "target": "same"}


def progress(passed: float, total: int, *, paused: bool = False, frames: int = 0) -> ReplayProgress:
    return ReplayProgress(
        passed=passed, total=total, captured_ns=None, frames=frames, tiles=0, bytes=0, speed=1.0, paused=paused
    )


def test_frames_tiles_and_bytes_are_counted_by_where_from_and_where_to() -> None:
    metrics = Metrics()
    told = metrics.registry.get_sample_value
    meter = ReplayMeter(metrics, source="log", target="same", limit_bytes=1000)
    assert told("streamproc_replay_frames_total", LOG) == 0
    for number in range(4):
        meter.sent(250, begins=number == 0, captured_ns=5_000_000_000, waiting_bytes=500)
    assert told("streamproc_replay_frames_total", LOG) == 1
    assert told("streamproc_replay_tiles_total", LOG) == 4
    assert told("streamproc_replay_bytes_total", LOG) == 1000
    assert told("streamproc_replay_captured_timestamp_seconds") == 5
    assert told("streamproc_buffer_bytes", {"buffer": "producer"}) == 500
    assert told("streamproc_buffer_limit_bytes", {"buffer": "producer"}) == 1000


def test_progress_pauses_and_the_end_are_shown() -> None:
    metrics = Metrics()
    told = metrics.registry.get_sample_value
    meter = ReplayMeter(metrics, source="archive", target="other", limit_bytes=1000)
    meter.progress(progress(25, 100, paused=True))
    assert (told("streamproc_replay_progress_ratio"), told("streamproc_replay_paused")) == (0.25, 1)
    meter.progress(progress(101, 100))
    assert (told("streamproc_replay_progress_ratio"), told("streamproc_replay_paused")) == (1, 0)
    meter.progress(progress(50, 100))
    meter.ended(whole=False)
    assert told("streamproc_replay_progress_ratio") == 0.5
    meter.ended(whole=True)
    assert told("streamproc_replay_progress_ratio") == 1
    assert told("streamproc_buffer_bytes", {"buffer": "producer"}) == 0


def test_with_a_limit_progress_goes_by_frames() -> None:
    metrics = Metrics()
    meter = ReplayMeter(metrics, source="log", target="same", limit_bytes=1, limit=20)
    meter.progress(progress(10, 1000, frames=5))
    assert metrics.registry.get_sample_value("streamproc_replay_progress_ratio") == 0.25


def test_falling_behind_is_told_in_seconds() -> None:
    metrics = Metrics()
    ReplayMeter(metrics, source="log", target="same", limit_bytes=1).behind(2.5)
    assert metrics.registry.get_sample_value("streamproc_replay_behind_seconds") == 2.5
