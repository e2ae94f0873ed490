"""Frames of the past: how far replays and reruns are, and whether the archive keeps up."""

from __future__ import annotations

from dashboards.grafana import (
    BLUE,
    GREEN,
    GREY,
    PER_SECOND,
    RED,
    YELLOW,
    ZERO_IS_GOOD,
    Dashboard,
    Panel,
    Query,
    Row,
    one,
)

REPLAYS_HERE = "and on (instance) streamproc_replay_frames_total"
RERUNS_HERE = "and on (instance) streamproc_rerun_frames_total"
"""Every process has these metrics, at 0: series of those that do it alone."""


def _how_far(expr: str, more: str = "") -> Panel:
    return Panel(
        title="How far",
        kind="bargauge",
        width=6,
        height=6,
        unit="percentunit",
        most=1,
        queries=one(expr, "{{instance}}"),
        thresholds=((None, BLUE),),
        description=f"Share of the asked part of the log or archive that is passed.{more}",
    )


REPLAY = Row(
    title="Replay",
    panels=(
        _how_far(f"streamproc_replay_progress_ratio {REPLAYS_HERE}", " Stands still: paused, or waits."),
        Panel(
            title="Behind its pace",
            kind="stat",
            width=6,
            height=6,
            unit="s",
            queries=one(f"max(streamproc_replay_behind_seconds {REPLAYS_HERE})"),
            thresholds=((None, GREY), (0, GREEN), (1, YELLOW), (10, RED)),
            description="Later than --speed asks for. Grows: reading or the broker is too slow for that speed.",
        ),
        Panel(
            title="Paused",
            kind="stat",
            width=6,
            height=6,
            queries=one(f"sum(streamproc_replay_paused {REPLAYS_HERE})"),
            thresholds=((None, GREY), (0, GREEN), (1, YELLOW)),
            description="Replays that stand still because somebody pressed space, or sent SIGUSR1.",
        ),
        Panel(
            title="Age of what is sent",
            kind="stat",
            width=6,
            height=6,
            unit="s",
            queries=one("min(time() - (streamproc_replay_captured_timestamp_seconds > 0))"),
            thresholds=((None, BLUE),),
            description="How long ago the frame was captured that was sent again last.",
        ),
        Panel(
            title="Frames sent again",
            unit=PER_SECOND,
            queries=one(
                "sum by (source, target) (rate(streamproc_replay_frames_total[$__rate_interval]))",
                "from the {{source}}, {{target}} topics",
            ),
            description="same: into the topics of its own prefix, whose workers count these frames, too.",
        ),
        Panel(
            title="Tiles sent again",
            unit=PER_SECOND,
            queries=one(
                "sum by (source) (rate(streamproc_replay_tiles_total[$__rate_interval]))", "from the {{source}}"
            ),
            description="What replays ask of broker and workers, beside the live cameras.",
        ),
        Panel(
            title="Bytes sent again",
            unit="Bps",
            queries=one(
                "sum by (source) (rate(streamproc_replay_bytes_total[$__rate_interval]))", "from the {{source}}"
            ),
            description="What they cost the broker's disk and network.",
        ),
    ),
)
RERUN = Row(
    title="Rerun",
    panels=(
        _how_far(f"streamproc_rerun_progress_ratio {RERUNS_HERE}"),
        Panel(
            title="Frames begun, and with an outcome",
            width=9,
            height=6,
            unit=PER_SECOND,
            queries=(
                Query(
                    expr=f"sum(rate(streamproc_rerun_frames_begun_total[$__rate_interval]) {RERUNS_HERE})",
                    legend="begun",
                ),
                Query(
                    expr="sum by (outcome) (rate(streamproc_rerun_frames_total[$__rate_interval]))",
                    legend="{{outcome}}",
                ),
            ),
            description="A rerun goes as fast as its own workers can. All should be complete.",
        ),
        Panel(
            title="Frames under way",
            width=9,
            height=6,
            queries=one(f"streamproc_rerun_open_frames {RERUNS_HERE}", "{{instance}}"),
            thresholds=((None, GREEN), (256, YELLOW)),
            description="Begun and without an outcome, at most 256 of one rerun. At that: more --workers.",
        ),
    ),
)
ARCHIVE = Row(
    title="Archive",
    panels=(
        Panel(
            title="Records taken",
            unit=PER_SECOND,
            queries=one("sum by (topic) (rate(streamproc_archive_records_total[$__rate_interval]))", "{{topic}}"),
            description="As fast as they come, unless it catches up.",
        ),
        Panel(
            title="Bytes taken",
            unit="Bps",
            queries=one("sum by (topic) (rate(streamproc_archive_bytes_total[$__rate_interval]))", "{{topic}}"),
            description="What it will cost to keep.",
        ),
        Panel(
            title="Files completed",
            queries=one("sum by (topic) (increase(streamproc_archive_files_total[5m]))", "{{topic}}"),
            description="In five minutes. None while records come: the store does not take them.",
        ),
        Panel(
            title="Not yet in a complete file",
            unit="s",
            queries=one("max by (topic) (streamproc_archive_unfinished_seconds)", "{{topic}}"),
            thresholds=((None, GREEN), (600, YELLOW), (1800, RED)),
            description="Age of the position that is safe. Up to --rotate-s (300 s) in health; tiles stay for 1 hour at"
            " most.",
        ),
        Panel(
            title="Missed",
            queries=one(
                "sum by (topic) (increase(streamproc_archive_missing_records_total[$__rate_interval]))", "{{topic}}"
            ),
            thresholds=ZERO_IS_GOOD,
            description="Records that retention had taken before they were archived: lost to the archive.",
        ),
        Panel(
            title="Behind the log",
            unit="s",
            queries=one(
                'max by (topic) (streamproc_consumer_lag_seconds{reader="archive"})',
                "{{topic}}",
            ),
            thresholds=((None, GREEN), (60, YELLOW), (600, RED)),
            description="Age of the oldest record that the archive has not read; 0 if it has read all.",
        ),
    ),
)
REPLAYS = Dashboard(
    uid="streamproc-replay",
    title="streamproc: replay, rerun and archive",
    description="Frames of the past: how far replays and reruns are, and whether the archive keeps up.",
    rows=(REPLAY, RERUN, ARCHIVE),
)
