"""Kafka and workers: how far behind they are, what they hold, how often partitions move."""

from __future__ import annotations

from dashboards.grafana import (
    BLUE,
    GREEN,
    GREY,
    NOTHING,
    PER_SECOND,
    RED,
    YELLOW,
    ZERO_IS_GOOD,
    Dashboard,
    Panel,
    Row,
    one,
)

INSTANCE = '{instance=~"$instance"}'
OURS = "and on (instance) streamproc_build_info"
"""Other programs have `process_...` metrics, too."""
EXTRACTS = "and on (instance) streamproc_decoders_lost_total"
AGGREGATES = "and on (instance) streamproc_tiles_total"
"""Every process has these metrics, at 0: series of those that do the work alone."""

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
                    width=8,
                    queries=one("sum by (topic, reader) (streamproc_consumer_lag_records)", "{{topic}} {{reader}}"),
                    description="By who reads. worker grows: add workers, up to one for each partition. archive, sink:"
                    " what they write to is slow.",
                ),
                Panel(
                    title="Age of the oldest unread record",
                    width=8,
                    unit="s",
                    queries=one("max by (topic, reader) (streamproc_consumer_lag_seconds)", "{{topic}} {{reader}}"),
                    thresholds=((None, GREEN), (10, YELLOW), (60, RED)),
                    description="Near the topic's retention (tiles: 1 hour, or less by their bytes) records are lost"
                    " unread.",
                ),
                Panel(
                    title="Unread, share of what is kept",
                    unit="percentunit",
                    most=1,
                    width=8,
                    queries=one(
                        "max by (topic, reader) (streamproc_consumer_lag_of_kept_ratio)", "{{topic}} {{reader}}"
                    ),
                    thresholds=((None, GREEN), (0.25, YELLOW), (0.5, RED)),
                    description="At 100 % the oldest records are deleted unread, if the topic is full: add workers, or"
                    " keep more (STREAMPROC_TILES_KEPT_BYTES).",
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
                    thresholds=((None, BLUE),),
                    description="Processes of streamproc that Prometheus reaches.",
                ),
                Panel(
                    title="Versions",
                    kind="stat",
                    width=4,
                    queries=one("count(count by (version) (streamproc_build_info))"),
                    thresholds=((None, GREY), (1, GREEN), (2, YELLOW)),
                    description="More than one: a deployment is under way, or stuck.",
                ),
                Panel(
                    title="Tiles a second, by worker",
                    unit=PER_SECOND,
                    width=16,
                    queries=one(
                        f"rate(streamproc_tiles_extracted_total{INSTANCE}[$__rate_interval]) {EXTRACTS}",
                        "{{instance}}",
                    ),
                    description="One far below the others: it hangs, or its host is busy.",
                ),
                Panel(
                    title="Rebalances",
                    width=12,
                    queries=one(
                        f"increase(streamproc_rebalances_total{INSTANCE}[$__rate_interval])"
                        " and on (instance) streamproc_rebalances_total > 0",
                        "{{instance}}",
                    ),
                    description="Partitions were assigned anew: workers came, went or were too slow to answer.",
                ),
                Panel(
                    title="Length of rebalances",
                    width=12,
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
            title="Processor and memory",
            panels=(
                Panel(
                    title="Processor",
                    unit="percentunit",
                    width=12,
                    queries=one(f"rate(process_cpu_seconds_total{INSTANCE}[$__rate_interval]) {OURS}", "{{instance}}"),
                    description="1 is one core. A worker at its number of threads can do no more: add workers.",
                ),
                Panel(
                    title="Memory",
                    unit="bytes",
                    width=12,
                    queries=one(f"process_resident_memory_bytes{INSTANCE} {OURS}", "{{instance}}"),
                    description="Resident. All queues are bounded; what grows on and on is a fault: report it.",
                ),
                Panel(
                    title="Buffers, share of their bound",
                    unit="percentunit",
                    most=1,
                    width=12,
                    queries=one(
                        f"streamproc_buffer_bytes{INSTANCE} / streamproc_buffer_limit_bytes{INSTANCE}",
                        "{{instance}} {{buffer}}",
                    ),
                    thresholds=((None, GREEN), (0.8, YELLOW), (0.95, RED)),
                    description="Full: what comes next is slower than what comes before. producer: the broker; streams:"
                    " operators. references fill up and stay so, they are a cache.",
                ),
                Panel(
                    title="Waiting inside processes",
                    unit="bytes",
                    width=12,
                    queries=one('streamproc_buffer_bytes{instance=~"$instance"}', "{{instance}} {{buffer}}"),
                    description="At its bound: what comes next is slower. producer: the broker; streams: operators.",
                ),
                Panel(
                    title="Frames that wait for tiles",
                    width=8,
                    queries=one(f"streamproc_open_frames{INSTANCE} {AGGREGATES}", "{{instance}}"),
                    description="Grows: extract workers do not keep up, or one is gone.",
                ),
                Panel(
                    title="Held for them",
                    unit="bytes",
                    width=8,
                    queries=one(f"streamproc_open_frame_bytes{INSTANCE} {AGGREGATES}", "{{instance}}"),
                    description="Near STREAMPROC_MAX_OPEN_BYTES results are set aside.",
                ),
                Panel(
                    title="Results set aside and read again",
                    unit=PER_SECOND,
                    width=8,
                    queries=one(
                        f"rate(streamproc_results_read_again_total{INSTANCE}[$__rate_interval]) {AGGREGATES}",
                        "{{instance}}",
                    ),
                    description="Above 0: one extract worker is far behind another. Slower, but nothing is lost.",
                ),
            ),
        ),
        Row(
            title="Sinks",
            panels=(
                Panel(
                    title="Events into sinks",
                    unit=PER_SECOND,
                    width=12,
                    queries=one(
                        f"sum by (kind, outcome) (rate(streamproc_sink_events_total[$__rate_interval])) {NOTHING}",
                        "{{kind}} {{outcome}}",
                    ),
                    description="refused: the target will not have them; the sink's log says why.",
                ),
                Panel(
                    title="Sinks tried again",
                    width=12,
                    queries=one(
                        f"sum by (kind) (increase(streamproc_sink_retries_total[$__rate_interval])) {NOTHING}",
                        "{{kind}}",
                    ),
                    thresholds=ZERO_IS_GOOD,
                    description="The target is down or slow. Nothing is lost while the log keeps events (7 days).",
                ),
            ),
        ),
        Row(
            title="Viewer",
            panels=(
                Panel(
                    title="Browsers",
                    kind="stat",
                    width=4,
                    height=6,
                    queries=one("sum(streamproc_viewer_clients)"),
                    thresholds=((None, BLUE), (64, YELLOW)),
                    description="That watch now. At 64 of one viewer further ones are turned away.",
                ),
                Panel(
                    title="Event to browser",
                    unit="s",
                    width=7,
                    height=6,
                    queries=one(
                        "histogram_quantile(0.95, sum by (le) (rate(streamproc_viewer_event_seconds_bucket"
                        "[$__rate_interval]))) >= 0 or vector(0)",
                        "p95",
                    ),
                    thresholds=((None, GREEN), (0.3, YELLOW), (1, RED)),
                    description="From an event's emission to its sending. Above 0.3 s: its network, or the viewer.",
                ),
                Panel(
                    title="Sent to browsers, and skipped",
                    unit=PER_SECOND,
                    width=7,
                    height=6,
                    queries=(
                        *one("sum(rate(streamproc_viewer_pictures_sent_total[$__rate_interval]))", "pictures"),
                        *one(
                            "sum(rate(streamproc_viewer_pictures_skipped_total[$__rate_interval]))", "pictures skipped"
                        ),
                        *one("sum(rate(streamproc_viewer_events_skipped_total[$__rate_interval]))", "events skipped"),
                    ),
                    description="Skipped: a browser was too slow for them; nothing else is affected.",
                ),
                Panel(
                    title="Foreign and missed records",
                    width=6,
                    height=6,
                    queries=(
                        *one(
                            "sum(increase(streamproc_viewer_foreign_records_total[$__rate_interval])) or vector(0)",
                            "foreign",
                        ),
                        *one(
                            "sum(increase(streamproc_viewer_missed_records_total[$__rate_interval])) or vector(0)",
                            "missed",
                        ),
                    ),
                    thresholds=ZERO_IS_GOOD,
                    description="Foreign: something else writes to the topic. Missed after an outage: see the log.",
                ),
            ),
        ),
        Row(
            title="Disk and certificates",
            panels=(
                Panel(
                    title="Disk free",
                    unit="percentunit",
                    width=12,
                    height=6,
                    most=1,
                    queries=one(
                        "min by (instance, kind) (streamproc_disk_free_bytes / streamproc_disk_size_bytes)",
                        "{{instance}} {{kind}}",
                    ),
                    thresholds=((None, RED), (0.1, YELLOW), (0.2, GREEN)),
                    description="Where a process writes. At 0 it ends or waits: delete, or keep less.",
                ),
                Panel(
                    title="Certificates end in",
                    unit="s",
                    width=12,
                    height=6,
                    queries=one(
                        "min by (instance, kind) (streamproc_certificate_end_timestamp_seconds) - time()",
                        "{{instance}} {{kind}}",
                    ),
                    thresholds=((None, RED), (7 * 86_400, YELLOW), (30 * 86_400, GREEN)),
                    description="Of processes that have one (TLS). Then the broker is not reached: replace it before.",
                ),
            ),
        ),
    ),
)
