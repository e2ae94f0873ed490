"""Kafka and workers: how far behind they are, what they hold, how often partitions move."""

from __future__ import annotations

from dashboards.grafana import GREEN, RED, YELLOW, Dashboard, Panel, Row, one

WORKERS = Dashboard(
    uid="streamproc-workers",
    title="streamproc: Kafka and workers",
    description="How far behind workers are, what they hold, how often partitions move.",
    variables=(("instance", "label_values(streamproc_build_info, instance)"),),
    rows=(
        Row(
            title="Lag",
            panels=(
                Panel(
                    title="Records not yet read",
                    width=12,
                    queries=one("sum by (topic) (streamproc_consumer_lag_records)", "{{topic}}"),
                    description="Over all workers. Grows: add workers, up to one for each partition.",
                ),
                Panel(
                    title="Age of the record read last",
                    width=12,
                    unit="s",
                    queries=one("max by (topic) (streamproc_consumer_lag_seconds)", "{{topic}}"),
                    thresholds=((None, GREEN), (10, YELLOW), (60, RED)),
                    description="Near the topic's retention (tiles: 1 hour) records are lost unread.",
                ),
            ),
        ),
        Row(
            title="Workers",
            panels=(
                Panel(
                    title="Processes",
                    kind="stat",
                    width=4,
                    queries=one("count(streamproc_build_info)"),
                    description="Processes of streamproc that Prometheus reaches.",
                ),
                Panel(
                    title="Versions",
                    kind="stat",
                    width=4,
                    queries=one("count by (version) (streamproc_build_info)", "{{version}}"),
                    description="More than one: a deployment is under way, or stuck.",
                ),
                Panel(
                    title="Tiles a second, by worker",
                    width=16,
                    queries=one(
                        'rate(streamproc_tiles_extracted_total{instance=~"$instance"}[$__rate_interval])',
                        "{{instance}}",
                    ),
                    description="One far below the others: it hangs, or its host is busy.",
                ),
                Panel(
                    title="Rebalances",
                    queries=one(
                        'increase(streamproc_rebalances_total{instance=~"$instance"}[$__rate_interval])', "{{instance}}"
                    ),
                    description="Partitions were assigned anew: workers came, went or were too slow to answer.",
                ),
                Panel(
                    title="Length of rebalances",
                    unit="s",
                    queries=one(
                        "sum(rate(streamproc_rebalance_seconds_sum[5m])) / clamp_min(sum(rate("
                        "streamproc_rebalance_seconds_count[5m])), 1e-9)",
                        "mean",
                    ),
                    description="From the loss of partitions to their assignment; nothing of them is done meanwhile.",
                ),
            ),
        ),
        Row(
            title="Memory",
            panels=(
                Panel(
                    title="Waiting inside processes",
                    unit="bytes",
                    queries=one('streamproc_buffer_bytes{instance=~"$instance"}', "{{instance}} {{buffer}}"),
                    description="At its bound: what comes next is slower. producer: the broker; streams: operators.",
                ),
                Panel(
                    title="Frames that wait for tiles",
                    queries=one('streamproc_open_frames{instance=~"$instance"}', "{{instance}}"),
                    description="Grows: extract workers do not keep up, or one is gone.",
                ),
                Panel(
                    title="Held for them",
                    unit="bytes",
                    queries=one('streamproc_open_frame_bytes{instance=~"$instance"}', "{{instance}}"),
                    description="Near STREAMPROC_MAX_OPEN_BYTES frames are closed early.",
                ),
            ),
        ),
        Row(
            title="Sinks",
            panels=(
                Panel(
                    title="Events into sinks",
                    width=12,
                    queries=one(
                        "sum by (kind, outcome) (rate(streamproc_sink_events_total[$__rate_interval]))",
                        "{{kind}} {{outcome}}",
                    ),
                    description="refused: the target will not have them; the sink's log says why.",
                ),
                Panel(
                    title="Sinks tried again",
                    width=12,
                    queries=one(
                        "sum by (kind) (increase(streamproc_sink_retries_total[$__rate_interval]))", "{{kind}}"
                    ),
                    description="The target is down or slow. Nothing is lost while the log keeps events (7 days).",
                ),
            ),
        ),
    ),
)
