"""What is recorded: exact counts for each interval, the balance of frames, speeds, latencies, and the latency budget.

`increase()` is no good for counting things that must not happen: it extrapolates (7.3 frames lost), and it does not see
a series that begins above 0. So each interval's growth is recorded, in whole numbers:

- a series that was there an interval ago: what it grew by; one that went down began anew at 0;
- one that was not: all of it, if its process was being scraped before, or began within the last minutes. A process that
  Prometheus meets late (or again, after a long gap) has counted before; where it stands then is where counting begins.

Gaps of up to five minutes are bridged: what was counted in them counts when they are over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dashboards.prometheus import Record, Timing, duration

OBJECTIVE: Final = 0.99
"""Share of frames whose event is out in time (`Timing.within_s` after their capture)."""
BURN_WINDOWS_S: Final = (300, 1800, 3600, 7200, 21_600, 86_400, 259_200)
_BRIDGE_S: Final = 300

COUNTED: Final[Mapping[str, tuple[str, ...]]] = {
    "frames_published": ("camera",),
    "frames_failed": ("camera",),
    "frames_dropped": ("camera", "reason"),
    "frames": ("camera", "outcome"),
    "replay_frames": ("target",),
    "deadletters": ("stage", "reason"),
    "camera_lost": ("camera",),
    "camera_events_lost": (),
    "archive_missing_records": ("topic",),
    "sink_events": ("kind", "outcome"),
    "sink_retries": ("kind",),
}
"""Counters whose growth is recorded, and by which labels."""


def grown(metric: str) -> str:
    """Name of the series that has a counter's growth in each interval."""
    return f"{'_'.join(COUNTED[metric]) or 'global'}:streamproc_{metric}:grown"


def records(timing: Timing) -> Mapping[str, Sequence[Record]]:
    """Recording rules, by group."""
    return {
        "frames": (*(_growth(metric, by, timing) for metric, by in COUNTED.items()), *_balance(timing)),
        "speed": _speeds(timing),
        "latency": _budget(timing),
    }


def _growth(metric: str, by: Sequence[str], timing: Timing) -> Record:
    series, bridge, step = f"streamproc_{metric}_total", f"[{duration(_BRIDGE_S)}]", f"{timing.interval_s}s"
    now = f"last_over_time({series}{bridge})"
    before = f"last_over_time({series}{bridge} offset {step})"
    grouped = f" by ({', '.join(by)})" if by else ""
    expr = (
        f"sum{grouped} (\n"
        f"  ({now} - {before}) >= 0\n"
        f"or\n"
        f"  {now}\n"
        f"    and on (job, instance)\n"
        f"  (streamproc_build_info offset {step} or (time() - process_start_time_seconds < {_BRIDGE_S}))\n"
        f")"
    )
    return Record(name=grown(metric), expr=expr)


def _balance(timing: Timing) -> tuple[Record, ...]:
    """Frames published a while ago, less all outcomes since: what is left of that when all is well is nothing."""
    window, settle = duration(timing.balance_s), duration(timing.settle_s)
    both = duration(timing.balance_s + timing.settle_s)
    published = f"sum_over_time({grown('frames_published')}[{window}] offset {settle})"
    replayed = f'sum(sum_over_time({grown("replay_frames")}{{target="same"}}[{window}] offset {settle}))'
    ended = f"sum_over_time({grown('frames')}[{both}])"
    by_instance = "on (job, instance)"
    counted = f"last_over_time(streamproc_frames_total[{both}])"
    return (
        Record(
            name="camera:streamproc_frames_unaccounted:sum",
            expr=f"{published}\n- on (camera)\n(sum by (camera) ({ended}) or on (camera) 0 * {published})",
        ),
        Record(
            name="global:streamproc_frames_unaccounted:sum",
            expr=(
                f"(sum({published}) or vector(0))\n+ ({replayed} or vector(0))\n- (sum({ended}) or vector(0))\n"
                "- (sum(streamproc_open_frames) or vector(0))"
            ),
        ),
        Record(  # processes whose last counts were never scraped, or came late
            name="global:streamproc_counts_interrupted:count",
            expr=(
                f"(sum(changes(process_start_time_seconds[{both}]) and {by_instance} {counted}) or vector(0))\n"
                f"+ (count(count by (job, instance) ({counted}) unless {by_instance} streamproc_build_info)"
                " or vector(0))\n"
                f"+ (count((min_over_time(up[{both}]) == 0)"
                f" and {by_instance} last_over_time(streamproc_frames_published_total[{both}])) or vector(0))"
            ),
        ),
        Record(  # processes that count outcomes, and cannot be asked
            name="global:streamproc_outcomes_unseen:count",
            expr=f"count((min_over_time(up[{settle}]) == 0) and {by_instance} {counted}) or vector(0)",
        ),
    )


def _speeds(timing: Timing) -> tuple[Record, ...]:
    window = timing.window(300)
    latency = "streamproc_event_latency_seconds_bucket"
    return (
        Record(
            name="camera:streamproc_frames_published:rate5m",
            expr=f"sum by (camera) (rate(streamproc_frames_published_total[{window}]))",
        ),
        Record(
            name="camera_outcome:streamproc_frames:rate5m",
            expr=f"sum by (camera, outcome) (rate(streamproc_frames_total[{window}]))",
        ),
        *(
            Record(
                name=f"global:streamproc_event_latency_seconds:p{share}",
                expr=f"histogram_quantile({share / 100:g}, sum by (le) (rate({latency}[{window}])))",
            )
            for share in (50, 95, 99)
        ),
        *(
            Record(
                name=f"stage:streamproc_stage_seconds:p{share}",
                expr=(
                    f"histogram_quantile({share / 100:g},"
                    f" sum by (stage, le) (rate(streamproc_stage_seconds_bucket[{window}])))"
                ),
            )
            for share in (50, 95)
        ),
        Record(
            name="topic:streamproc_consumer_lag_seconds:max", expr="max by (topic) (streamproc_consumer_lag_seconds)"
        ),
        Record(
            name="topic:streamproc_consumer_lag_records:sum", expr="sum by (topic) (streamproc_consumer_lag_records)"
        ),
    )


def burn(seconds: int) -> str:
    """Name of the series that has the share of slow frames over a window."""
    return f"global:streamproc_event_latency_slow:ratio_rate{duration(seconds)}"


def _budget(timing: Timing) -> tuple[Record, ...]:
    """Share of frames whose event came late, without replayed ones: their capture lies in the past on purpose."""
    made = []
    for seconds in BURN_WINDOWS_S:
        window = timing.window(seconds)
        events = f"sum(rate(streamproc_event_latency_seconds_count[{window}]))"
        fast = f'sum(rate(streamproc_event_latency_seconds_bucket{{le="{timing.within_s}"}}[{window}]))'
        replayed = f'(sum(rate(streamproc_replay_frames_total{{target="same"}}[{window}])) or vector(0))'
        made.append(
            Record(
                name=burn(seconds),
                expr=f"clamp_min({events} - {fast} - {replayed}, 0)\n/\n(({events} - {replayed}) > 0)",
            )
        )
    return tuple(made)
