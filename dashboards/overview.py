"""Are we seeing everything? Which camera is blind, where frames wait, was anything lost."""

from __future__ import annotations

from dashboards.grafana import (
    BLUE,
    GREEN,
    NOTHING,
    OVERVIEW_UID,
    PER_SECOND,
    RED,
    YELLOW,
    ZERO_IS_GOOD,
    Dashboard,
    Panel,
    Query,
    Row,
    grown,
    mean_of_hops,
    one,
    quantiles,
)

ON_THE_WAY = " ".join(
    (
        grown("streamproc_frames_published_total", "15m"),
        "+",
        grown('streamproc_replay_frames_total{target="same"}', "15m"),
        "-",
        grown("streamproc_frames_total", "15m"),
    )
)
BLIND_FOR = "time() - streamproc_camera_last_frame_timestamp_seconds > 0"

NOW = Row(
    title="Are we seeing everything?",
    panels=(
        Panel(
            title="Cameras online",
            kind="stat",
            width=3,
            height=4,
            queries=one("sum(streamproc_camera_up)"),
            thresholds=((None, RED), (1, GREEN)),
            description="Cameras of `streamproc ingest` that give frames.",
            link="streamproc-camera",
        ),
        Panel(
            title="Cameras blind",
            kind="stat",
            width=3,
            height=4,
            queries=one("count(streamproc_camera_up == 0) or vector(0)"),
            thresholds=ZERO_IS_GOOD,
            description="Cameras of the list that give no frames. Below stands which; its offline event says why.",
            link="streamproc-camera",
        ),
        Panel(
            title="Frames behind",
            kind="stat",
            width=3,
            height=4,
            unit="s",
            queries=one("max(streamproc_consumer_lag_seconds) or vector(0)"),
            thresholds=((None, GREEN), (10, YELLOW), (60, RED)),
            description="Age of the record that the slowest reader has read last. Grows: add workers.",
            link="streamproc-workers",
        ),
        Panel(
            title="Capture to event, p95",
            kind="stat",
            width=3,
            height=4,
            unit="s",
            queries=quantiles("streamproc_event_latency_seconds")[1:2],
            thresholds=((None, GREEN), (1, YELLOW), (10, RED)),
            description="What a user waits for, for all but the slowest twentieth. Below stands where frames wait.",
            link="streamproc-pipeline",
        ),
        Panel(
            title="Not complete, last hour",
            kind="stat",
            width=4,
            height=4,
            queries=one('sum(increase(streamproc_frames_total{outcome!="complete"}[1h])) or vector(0)'),
            thresholds=ZERO_IS_GOOD,
            description="Frames that ended partial, expired or rejected. Each one's event says why.",
            link="streamproc-pipeline",
        ),
        Panel(
            title="Never sent, last hour",
            kind="stat",
            width=4,
            height=4,
            queries=one(
                "(sum(increase(streamproc_frames_failed_total[1h])) or vector(0))"
                ' + (sum(increase(streamproc_frames_dropped_total{reason!="fps"}[1h])) or vector(0))'
            ),
            thresholds=ZERO_IS_GOOD,
            description="Frames that producers let go, or the broker did not take. By reason below.",
            link="streamproc-camera",
        ),
        Panel(
            title="Dead letters, last hour",
            kind="stat",
            width=4,
            height=4,
            queries=one("sum(increase(streamproc_deadletters_total[1h])) or vector(0)"),
            thresholds=ZERO_IS_GOOD,
            description="Records that could not be handled: `streamproc deadletters list`, then `show`.",
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
                Query(expr="sum(increase(streamproc_frames_failed_total[1h])) or vector(0)", legend="failed to send"),
                Query(
                    expr='sum by (reason) (increase(streamproc_frames_dropped_total{reason!="fps"}[1h])) > 0 '
                    + NOTHING,
                    legend="dropped {{reason}}",
                ),
                Query(
                    expr="sum(increase(streamproc_archive_missing_records_total[1h])) or vector(0)",
                    legend="missed by the archive",
                ),
            ),
            thresholds=ZERO_IS_GOOD,
            description="Frames by how they were lost. expired: no worker had their tiles in time. dropped: by policy.",
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
                    title="Online and blind",
                    kind="state-timeline",
                    width=24,
                    height=6,
                    queries=one("min by (camera) (streamproc_camera_up)", "{{camera}}"),
                    thresholds=((None, RED), (1, GREEN)),
                    description="Each camera of `streamproc ingest`: green while it gives frames.",
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
