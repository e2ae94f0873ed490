"""Are we seeing everything? Which camera is blind, where frames wait, was anything lost."""

from __future__ import annotations

from dashboards.grafana import BLUE, GREEN, RED, YELLOW, ZERO_IS_GOOD, Dashboard, Panel, Row, one, quantiles

OVERVIEW = Dashboard(
    uid="streamproc-overview",
    title="streamproc: are we seeing everything?",
    description="Ten seconds at night: which camera is blind, where frames wait, was anything lost.",
    rows=(
        Row(
            title="Now",
            panels=(
                Panel(
                    title="Cameras online",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=one("sum(streamproc_camera_up)"),
                    description="Cameras of `streamproc ingest` that give frames.",
                    link="streamproc-camera",
                ),
                Panel(
                    title="Cameras blind",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=one("count(streamproc_camera_up == 0) or vector(0)"),
                    thresholds=ZERO_IS_GOOD,
                    description="Cameras of the list that give none. Their offline event says why.",
                    link="streamproc-camera",
                ),
                Panel(
                    title="Frames a second",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=one("sum(rate(streamproc_frames_published_total[$__rate_interval]))"),
                    thresholds=((None, BLUE),),
                    description="Frames whose tiles the broker has acknowledged.",
                ),
                Panel(
                    title="Frames behind",
                    kind="stat",
                    width=4,
                    height=5,
                    unit="s",
                    queries=one("max(streamproc_consumer_lag_seconds) or vector(0)"),
                    thresholds=((None, GREEN), (10, YELLOW), (60, RED)),
                    description="Age of the record that the slowest worker has read last. Grows: add workers.",
                    link="streamproc-workers",
                ),
                Panel(
                    title="Frames not complete, last hour",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=one('sum(increase(streamproc_frames_total{outcome!="complete"}[1h])) or vector(0)'),
                    thresholds=ZERO_IS_GOOD,
                    description="Frames that ended partial, expired or rejected. Each one's event says why.",
                    link="streamproc-pipeline",
                ),
                Panel(
                    title="Dead letters, last hour",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=one("sum(increase(streamproc_deadletters_total[1h])) or vector(0)"),
                    thresholds=ZERO_IS_GOOD,
                    description="Records that could not be handled: `streamproc deadletters list`, then `show`.",
                    link="streamproc-pipeline",
                ),
            ),
        ),
        Row(
            title="What goes in comes out",
            panels=(
                Panel(
                    title="Published, and ended by outcome",
                    width=12,
                    queries=(
                        *one("sum(rate(streamproc_frames_published_total[$__rate_interval]))", "published"),
                        *one("sum by (outcome) (rate(streamproc_frames_total[$__rate_interval]))", "{{outcome}}"),
                    ),
                    description="Published and complete lie on each other, but for what is on its way.",
                ),
                Panel(
                    title="Frames on their way",
                    width=12,
                    queries=(
                        *one(
                            "sum(increase(streamproc_frames_published_total[15m]))"
                            " - sum(increase(streamproc_frames_total[15m]))",
                            "published and not ended, 15 minutes",
                        ),
                        *one("sum(streamproc_open_frames)", "open in aggregators"),
                    ),
                    description="Near 0. Grows with the lag: workers are too slow. Grows without it: look at once.",
                ),
                Panel(
                    title="Frames dropped and failed",
                    width=12,
                    queries=(
                        *one(
                            "sum by (camera, reason) (rate(streamproc_frames_dropped_total[$__rate_interval]))",
                            "{{camera}} {{reason}}",
                        ),
                        *one("sum(rate(streamproc_frames_failed_total[$__rate_interval]))", "failed"),
                    ),
                    description="Let go by a policy, by reason; failed: the broker did not acknowledge them.",
                ),
                Panel(
                    title="Capture to event",
                    width=12,
                    unit="s",
                    queries=quantiles("streamproc_event_latency_seconds"),
                    thresholds=((None, GREEN), (1, YELLOW), (10, RED)),
                    description="What a user waits for. `Where does time go?` shows the stage.",
                    link="streamproc-pipeline",
                ),
            ),
        ),
        Row(
            title="Cameras",
            panels=(
                Panel(
                    title="Online and blind",
                    kind="state-timeline",
                    width=24,
                    height=9,
                    queries=one("streamproc_camera_up", "{{camera}}"),
                    thresholds=((None, RED), (1, GREEN)),
                    description="Each camera of `streamproc ingest`: green while it gives frames.",
                    link="streamproc-camera",
                ),
            ),
        ),
    ),
)
