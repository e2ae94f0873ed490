"""Are we seeing everything? Which camera is blind, where frames wait, was anything lost."""

from __future__ import annotations

from typing import Any

from dashboards.grafana import (
    BLUE,
    GREEN,
    GREY,
    OVERVIEW_UID,
    PER_SECOND,
    RED,
    YELLOW,
    ZERO_IF_TOLD,
    ZERO_IS_GOOD,
    Dashboard,
    Panel,
    Query,
    Row,
    grown,
    mean_of_hops,
    one,
    quantiles,
    told,
)
from dashboards.recording import CAMERAS, LOST

# Counters are read at different moments, so that it may come out a few frames too low.
ON_THE_WAY = " ".join(
    (
        "clamp_min(",
        grown("streamproc_frames_published_total", "15m"),
        "+",
        grown('streamproc_replay_frames_total{target="same"}', "15m"),
        "-",
        grown("streamproc_frames_total", "15m"),
        ", 0)",
    )
)
BLIND_FOR = "time() - streamproc_camera_last_frame_timestamp_seconds > 0"

EXTRACTS = 'streamproc_consumer_lag_records{reader="worker",topic=~".*tiles"}'
AGGREGATES = 'streamproc_consumer_lag_records{reader="worker",topic=~".*features"}'
ARCHIVES = 'streamproc_consumer_lag_records{reader="archive"}'
SENDS = '(streamproc_camera_up or streamproc_buffer_bytes{buffer="producer"})'
"""Series that are there while somebody does that: without them a count of nothing says nothing."""

NEVER_ENDED = told(
    f"sum(max_over_time({LOST}[1h]) and on (camera)"
    ' max_over_time(ALERTS{alertname="StreamprocFramesLost",alertstate="firing"}[1h]))',
    f"global:streamproc_frames_unaccounted:sum and on () {AGGREGATES}",
)
FAILED = "sum(increase(streamproc_frames_failed_total[1h]))"
DROPPED = 'increase(streamproc_frames_dropped_total{reason!="fps"}[1h])'


def _number(title: str, expr: str, description: str, *, link: str | None = None, **more: Any) -> Panel:
    return Panel(
        title=title,
        kind="stat",
        height=4,
        queries=one(expr),
        description=description,
        link=link,
        **{"thresholds": ZERO_IF_TOLD, "width": 4, **more},
    )


NOW = Row(
    title="Are we seeing everything?",
    panels=(
        _number(
            "Alerts",
            told(
                'count(ALERTS{alertname=~"Streamproc.+",alertstate="firing"})',
                "global:streamproc_counts_interrupted:count",
            ),
            "That fire now, see Prometheus' page of alerts. No data: Prometheus has not the rules of docs/alerts.md.",
        ),
        _number(
            "Processes that answer",
            "count(streamproc_build_info)",
            "Processes of streamproc that Prometheus reaches. None: it is cut off, or nothing runs.",
            thresholds=((None, RED), (1, GREEN)),
            link="streamproc-workers",
        ),
        _number(
            "Cameras online",
            "sum(streamproc_camera_up)",
            "Cameras of `streamproc ingest` that give frames.",
            thresholds=((None, RED), (1, GREEN)),
            link="streamproc-camera",
        ),
        _number(
            "Cameras blind",
            told(
                "count((max by (camera) (streamproc_camera_up) == 0)"
                f" or (max by (camera) ({CAMERAS}) unless on (camera) streamproc_camera_up))",
                "streamproc_camera_up",
            ),
            "Cameras of the list that give no frames, or whose process is gone. Below stands which; its offline event"
            " says why.",
            link="streamproc-camera",
        ),
        _number(
            "Frames behind",
            f'max(streamproc_consumer_lag_seconds{{reader="worker"}}) and on () {EXTRACTS} and on () {AGGREGATES}',
            "How far the slowest worker is behind. Grows: add workers. No data: one of the roles has none.",
            unit="s",
            thresholds=((None, GREY), (0, GREEN), (10, YELLOW), (60, RED)),
            link="streamproc-workers",
        ),
        Panel(
            title="Capture to event, p95",
            kind="stat",
            width=4,
            height=4,
            unit="s",
            queries=quantiles("streamproc_event_latency_seconds")[1:2],
            thresholds=((None, GREY), (0, GREEN), (1, YELLOW), (10, RED)),
            description="What a user waits for, for all but the slowest twentieth. Below stands where frames wait.",
            link="streamproc-pipeline",
        ),
        _number(
            "Never ended, last hour",
            NEVER_ENDED,
            "Published, and no event tells what became of them: see StreamprocFramesLost in docs/alerts.md.",
            width=6,
            link="streamproc-pipeline",
        ),
        _number(
            "Not complete, last hour",
            told('sum(increase(streamproc_frames_total{outcome!="complete"}[1h]))', AGGREGATES),
            "Frames that ended partial, expired or rejected. Each one's event says why.",
            width=6,
            link="streamproc-pipeline",
        ),
        _number(
            "Never sent, last hour",
            told(f"({FAILED} or vector(0)) + (sum({DROPPED}) or vector(0))", SENDS),
            "Frames that producers let go, or the broker did not take. By reason below.",
            width=6,
            link="streamproc-camera",
        ),
        _number(
            "Dead letters, last hour",
            told("sum(increase(streamproc_deadletters_total[1h]))", f"{EXTRACTS} and on () {AGGREGATES}"),
            "Records that could not be handled: `streamproc deadletters list`, then `show`.",
            width=6,
            link="streamproc-pipeline",
        ),
    ),
)
WHERE = Row(
    title="Which camera, which hop, which frames?",
    panels=(
        Panel(
            title="Which camera is blind: since its last frame",
            kind="bargauge",
            instant=True,
            height=8,
            unit="s",
            queries=one(f"topk(12, {BLIND_FOR})", "{{camera}}"),
            thresholds=((None, GREEN), (5, YELLOW), (15, RED)),
            description="The twelve cameras of `streamproc ingest` whose last frame is the oldest.",
            link="streamproc-camera",
            by="camera",
        ),
        Panel(
            title="Where frames wait: mean time on each hop",
            kind="bargauge",
            instant=True,
            height=8,
            unit="s",
            queries=mean_of_hops(),
            thresholds=((None, GREEN), (0.5, YELLOW), (5, RED)),
            description="publish: producer and broker. wait: too few workers. extract: the pipeline. gather: tiles come"
            " late. assemble: the aggregator. deliver: the broker.",
            link="streamproc-pipeline",
        ),
        Panel(
            title="What was lost, last hour",
            kind="bargauge",
            instant=True,
            height=8,
            queries=(
                Query(
                    expr='sum by (outcome) (increase(streamproc_frames_total{outcome!="complete"}[1h]))',
                    legend="frames {{outcome}}",
                ),
                Query(expr=NEVER_ENDED, legend="never ended"),
                Query(expr=told(FAILED, SENDS), legend="failed to send"),
                Query(expr=told(f"sum by (reason) ({DROPPED})", SENDS), legend="dropped {{reason}}"),
                Query(
                    expr=told("sum(increase(streamproc_archive_missing_records_total[1h]))", ARCHIVES),
                    legend="missed by the archive",
                ),
            ),
            thresholds=ZERO_IS_GOOD,
            description="Frames by how they were lost. expired: no worker had their tiles in time. dropped: by policy."
            " No bar: nobody is there who would tell.",
            link="streamproc-pipeline",
        ),
    ),
)
OVERVIEW = Dashboard(
    uid=OVERVIEW_UID,
    title="streamproc: are we seeing everything?",
    description="Ten seconds at night: which camera is blind, where frames wait, was anything lost.",
    rows=(
        NOW,
        WHERE,
        Row(
            title="Cameras",
            panels=(
                Panel(
                    title="Cameras that were blind in this time",
                    kind="state-timeline",
                    width=24,
                    height=6,
                    queries=one(
                        "min by (camera) (streamproc_camera_up) and on (camera)"
                        " (min_over_time(streamproc_camera_up[$__range] @ end()) == 0)",
                        "{{camera}}",
                    ),
                    thresholds=((None, RED), (1, GREEN)),
                    description="Green while the camera gives frames; cameras that always did are not here.",
                    link="streamproc-camera",
                    by="camera",
                ),
            ),
        ),
        Row(
            title="What goes in comes out",
            panels=(
                Panel(
                    title="Published, and ended by outcome",
                    unit=PER_SECOND,
                    width=12,
                    queries=(
                        *one("sum(rate(streamproc_frames_published_total[$__rate_interval]))", "published"),
                        *one("sum by (outcome) (rate(streamproc_frames_total[$__rate_interval]))", "{{outcome}}"),
                        *one(
                            'sum(rate(streamproc_replay_frames_total{target="same"}[$__rate_interval])) or vector(0)',
                            "replayed",
                        ),
                    ),
                    description="complete lies on published (and replayed), but for what is on its way.",
                ),
                Panel(
                    title="Frames on their way",
                    width=12,
                    queries=(
                        *one(ON_THE_WAY, "sent and not ended, 15 minutes"),
                        *one("sum(streamproc_open_frames)", "open in aggregators"),
                    ),
                    description="Near 0. Grows with the lag: workers are too slow. Grows without it: look at once.",
                    link="streamproc-workers",
                ),
                Panel(
                    title="Capture to event",
                    width=12,
                    unit="s",
                    queries=quantiles("streamproc_event_latency_seconds"),
                    thresholds=((None, GREEN), (1, YELLOW), (10, RED)),
                    description="What a user waits for. The page of the pipeline shows the hop.",
                    link="streamproc-pipeline",
                ),
                Panel(
                    title="Tiles sent, and what became of them",
                    unit=PER_SECOND,
                    width=12,
                    queries=(
                        *one("sum(rate(streamproc_tiles_published_total[$__rate_interval]))", "sent"),
                        *one("sum by (outcome) (rate(streamproc_tiles_total[$__rate_interval]))", "{{outcome}}"),
                        *one(
                            'sum(rate(streamproc_replay_tiles_total{target="same"}[$__rate_interval])) or vector(0)',
                            "replayed",
                        ),
                    ),
                    thresholds=((None, BLUE),),
                    description="merged lies on sent and replayed. duplicate, late: workers moved; nothing is lost.",
                    link="streamproc-pipeline",
                ),
            ),
        ),
    ),
)
