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


PROCESSES: Final = "job_instance:streamproc_process:known"
"""Processes that answer; and those that have answered, and stand among the targets and do not."""
CAMERAS: Final = "camera_job_instance:streamproc_camera:seen_seconds"
"""When a camera was last told of: now; or, if its process is gone since, the time of its end, for a day."""
LOST: Final = "camera:streamproc_frames_lost:sum"
"""Frames that were published and never ended; camera="any": of all cameras, where they cannot be told apart."""
TIMED: Final = "global:streamproc_event_latency_seconds_count:grown"
IN_TIME: Final = "global:streamproc_event_latency_seconds_bucket:grown"
"""Events that came in each interval, and those of them that came in time."""


def records(timing: Timing) -> Mapping[str, Sequence[Record]]:
    """Recording rules, by group."""
    return {
        "processes": _processes(timing),
        "frames": (
            *(_growth(grown(metric), f"streamproc_{metric}_total", by, timing) for metric, by in COUNTED.items()),
            *_balance(timing),
            _lost(timing),
        ),
        "speed": _speeds(timing),
        "latency": _budget(timing),
    }


def _processes(timing: Timing) -> tuple[Record, ...]:
    """Who was there: each rule asks for what it recorded itself an interval ago."""
    by_instance = "on (job, instance)"
    day_s = timing.seconds(86_400)
    return (
        Record(
            name=PROCESSES,
            expr=(
                f"max by (job, instance) (streamproc_build_info)\nor\n"
                f"({PROCESSES} and {by_instance} (max by (job, instance) (up) == 0))"
            ),
        ),
        Record(  # a camera that is gone, while its process is there, was taken from the list
            name=CAMERAS,
            expr=(
                f"(max by (camera, job, instance) (streamproc_camera_up) >= bool 0) * time()\nor\n"
                f"(({CAMERAS} unless {by_instance} streamproc_build_info) > time() - {day_s:g})"
            ),
        ),
    )


def _growth(name: str, series: str, by: Sequence[str], timing: Timing) -> Record:
    bridge, step = f"[{duration(_BRIDGE_S)}]", f"{timing.interval_s}s"
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
    return Record(name=name, expr=expr)


def _balance(timing: Timing) -> tuple[Record, ...]:
    """Frames published a while ago, less all outcomes since: what is left of that when all is well is nothing."""
    window, settle = duration(timing.balance_s), duration(timing.settle_s)
    both = duration(timing.balance_s + timing.settle_s)
    published = f"sum_over_time({grown('frames_published')}[{window}] offset {settle})"
    replayed = f'sum(sum_over_time({grown("replay_frames")}{{target="same"}}[{window}] offset {settle}))'
    ended = f"sum_over_time({grown('frames')}[{both}])"
    by_instance = "on (job, instance)"
    counted = f"last_over_time(streamproc_frames_total[{both}])"
    was_known = f"last_over_time(streamproc_build_info[{duration(_BRIDGE_S)}] offset {timing.interval_s}s)"
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
        Record(  # processes that had counted outcomes before they were asked for the first time
            name="global:streamproc_outcomes_met:count",
            expr=(
                f"count(count by (job, instance) (streamproc_frames_total) unless {by_instance} {was_known}\n"
                f"  unless {by_instance} (time() - process_start_time_seconds < {_BRIDGE_S})) or vector(0)"
            ),
        ),
        Record(  # processes that count outcomes, and cannot be asked, or could not when the balance began
            name="global:streamproc_outcomes_unseen:count",
            expr=(
                f"(count((min_over_time(up[{settle}]) == 0) and {by_instance} {counted}) or vector(0))\n"
                f"+ sum_over_time(global:streamproc_outcomes_met:count[{both}])"
            ),
        ),
    )


def _lost(timing: Timing) -> Record:
    """By camera; and over all, where cameras cannot be told apart, or frames are replayed."""
    settle, both = duration(timing.settle_s), duration(timing.balance_s + timing.settle_s)
    # cameras beyond what one process names: each process has others under `other`
    nameless = f'(sum(sum_over_time({grown("frames")}{{camera="other"}}[{both}])) > 0)'
    replayed = f'(sum(sum_over_time({grown("replay_frames")}{{target="same"}}[{both}])) > 0)'
    # a few counts of a process that ended or hid are never seen: twice what an interval has, for each of those
    unseen = "2 * scalar(global:streamproc_counts_interrupted:count)"
    most = f"max_over_time({grown('frames_published')}[{both}])"
    by_camera = (
        "(\n"
        "  camera:streamproc_frames_unaccounted:sum\n"
        f"  - scalar(sum(min_over_time(streamproc_open_frames[{settle}])) or vector(0))\n"
        f"  - {unseen} * {most}\n"
        f") > 0\nunless on ()\n{nameless}"
    )
    over_all = (
        f"(global:streamproc_frames_unaccounted:sum - {unseen} * scalar(sum({most}) or vector(0))) > 0\n"
        f"and on ()\n({nameless} or {replayed})"
    )
    return Record(
        name=LOST,
        expr=f'(\n{by_camera}\nor\nlabel_replace({over_all}, "camera", "any", "", "")\n)\n{_all_is_seen(timing)}',
    )


def _all_is_seen(timing: Timing) -> str:
    """That no worker lags behind and every outcome is counted: only then is what is missing lost."""
    lag = 'streamproc_consumer_lag_seconds{{reader="worker",topic=~".*{}"}}'
    settle = duration(timing.settle_s)
    return (
        "unless on ()\n"
        f"(max(max_over_time({lag.format('(tiles|features)')}[{settle}])) > {timing.behind_s:g})\n"
        "unless on ()\n"
        "(global:streamproc_outcomes_unseen:count > 0)\n"
        "and on ()\n"
        f"(count({lag.format('tiles')}) > 0)\n"
        "and on ()\n"
        f"(count({lag.format('features')}) > 0)"
    )


def _speeds(timing: Timing) -> tuple[Record, ...]:
    window = timing.window(300)
    latency = "global:streamproc_event_latency_seconds_bucket:rate5m"
    stages = "stage:streamproc_stage_seconds_bucket:rate5m"
    return (
        Record(
            name="camera:streamproc_frames_published:rate5m",
            expr=f"sum by (camera) (rate(streamproc_frames_published_total[{window}]))",
        ),
        Record(
            name="camera_outcome:streamproc_frames:rate5m",
            expr=f"sum by (camera, outcome) (rate(streamproc_frames_total[{window}]))",
        ),
        Record(name=latency, expr=f"sum by (le) (rate(streamproc_event_latency_seconds_bucket[{window}]))"),
        *(
            Record(
                name=f"global:streamproc_event_latency_seconds:p{share}",
                expr=f"histogram_quantile({share / 100:g}, {latency})",
            )
            for share in (50, 95, 99)
        ),
        Record(name=stages, expr=f"sum by (stage, le) (rate(streamproc_stage_seconds_bucket[{window}]))"),
        *(
            Record(
                name=f"stage:streamproc_stage_seconds:p{share}", expr=f"histogram_quantile({share / 100:g}, {stages})"
            )
            for share in (50, 95)
        ),
        Record(
            name="topic_reader:streamproc_consumer_lag_seconds:max",
            expr="max by (topic, reader) (streamproc_consumer_lag_seconds)",
        ),
        Record(
            name="topic_reader:streamproc_consumer_lag_records:sum",
            expr="sum by (topic, reader) (streamproc_consumer_lag_records)",
        ),
        Record(
            name="topic_reader:streamproc_consumer_lag_of_kept_ratio:max",
            expr="max by (topic, reader) (streamproc_consumer_lag_of_kept_ratio)",
        ),
    )


def burn(seconds: int) -> str:
    """Name of the series that has the share of slow frames over a window."""
    return f"global:streamproc_event_latency_slow:ratio_rate{duration(seconds)}"


def _budget(timing: Timing) -> tuple[Record, ...]:
    """Share of frames whose event came late. Cameras are summed once, whatever the number of windows and their length.

    Frames of runs named replay-... are not in the histogram: their capture lies in the past on purpose.
    """
    series = "streamproc_event_latency_seconds"
    return (
        _growth(TIMED, f"{series}_count", (), timing),
        _growth(IN_TIME, f'{series}_bucket{{le="{timing.within_s}"}}', (), timing),
        *(Record(name=burn(seconds), expr=_late(timing.window(seconds))) for seconds in BURN_WINDOWS_S),
    )


def _late(window: str) -> str:
    events, fast = f"sum_over_time({TIMED}[{window}])", f"sum_over_time({IN_TIME}[{window}])"
    return f"clamp_min({events} - {fast}, 0)\n/\n({events} > 0)"
