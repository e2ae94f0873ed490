"""Where does time go? The stages of a frame, and what became of its tiles."""

from __future__ import annotations

from dashboards.grafana import (
    GREEN,
    NOTHING,
    PER_SECOND,
    RED,
    YELLOW,
    ZERO_IS_GOOD,
    Dashboard,
    Panel,
    Row,
    mean_of_hops,
    one,
    quantiles,
)

PIPELINE = Dashboard(
    uid="streamproc-pipeline",
    title="streamproc: where does time go?",
    description="The way of a frame through the stages, what became of tiles, what was refused.",
    rows=(
        Row(
            title="Time",
            panels=(
                Panel(
                    title="Mean time on each hop",
                    width=12,
                    height=9,
                    unit="s",
                    queries=mean_of_hops(),
                    options={"stacking": "normal"},
                    description="publish: producer and broker. wait: for a worker. extract: the pipeline. gather: for a"
                    " frame's other tiles. assemble: the aggregator. deliver: the broker. Frames wait where it grows.",
                ),
                Panel(
                    title="95th percentile of each hop",
                    width=12,
                    height=9,
                    unit="s",
                    thresholds=((None, GREEN), (1, YELLOW), (10, RED)),
                    queries=one(
                        "histogram_quantile(0.95, sum by (le, stage) (rate(streamproc_stage_seconds_bucket"
                        "[$__rate_interval])))",
                        "{{stage}}",
                    ),
                    description="The same for the slowest twentieth.",
                ),
                Panel(
                    title="One tile: decode and operators",
                    unit="s",
                    queries=quantiles("streamproc_extract_seconds"),
                    description="Rises: dearer pictures, or a dearer pipeline.",
                ),
                Panel(
                    title="One frame: merging",
                    unit="s",
                    queries=quantiles("streamproc_assemble_seconds"),
                    description="Seams linked, results merged, steps on whole frames.",
                ),
                Panel(
                    title="One frame: sending it",
                    unit="s",
                    queries=quantiles("streamproc_publish_seconds"),
                    description="At the producer: from a frame's first tile sent to the broker's word for its last.",
                ),
            ),
        ),
        Row(
            title="What became of it",
            panels=(
                Panel(
                    title="Tiles by outcome",
                    unit=PER_SECOND,
                    queries=one("sum by (outcome) (rate(streamproc_tiles_total[$__rate_interval]))", "{{outcome}}"),
                    description="All merged. duplicate and late come with killed or moved workers and cost nothing.",
                ),
                Panel(
                    title="Dead letters",
                    queries=one(
                        "sum by (stage, reason) (increase(streamproc_deadletters_total[$__rate_interval])) > 0"
                        " or on (stage) sum by (stage) (increase(streamproc_deadletters_total[$__rate_interval]))",
                        "{{stage}} {{reason}}",
                    ),
                    thresholds=ZERO_IS_GOOD,
                    description="`streamproc deadletters list`, then `show ID`.",
                ),
                Panel(
                    title="What happened on frames",
                    unit=PER_SECOND,
                    queries=one(
                        f"sum by (kind, what) (rate(streamproc_occurrences_total[$__rate_interval])) {NOTHING}",
                        "{{kind}} {{what}}",
                    ),
                    description="Events of tracks, rules and anomalies.",
                ),
                Panel(
                    title="Tiles worked out and known",
                    unit=PER_SECOND,
                    queries=(
                        *one("sum(rate(streamproc_tiles_extracted_total[$__rate_interval]))", "tiles"),
                        *one("sum(rate(streamproc_tiles_recalled_total[$__rate_interval]))", "known already"),
                    ),
                    description="Known: unchanged tiles, whose results cost nothing.",
                ),
                Panel(
                    title="Bytes decoded",
                    unit="Bps",
                    queries=one("sum(rate(streamproc_tile_bytes_total[$__rate_interval]))", "decoded"),
                    description="What workers read and decode.",
                ),
                Panel(
                    title="Decoders lost",
                    queries=one(
                        f"sum by (ending) (increase(streamproc_decoders_lost_total[1h])) {NOTHING}", "{{ending}}"
                    ),
                    thresholds=ZERO_IS_GOOD,
                    description="Pictures that crashed or stalled a decoder; each is one dead letter.",
                ),
                Panel(
                    title="Steps without a result",
                    unit=PER_SECOND,
                    width=12,
                    queries=one(
                        f"sum by (step) (rate(streamproc_steps_skipped_total[$__rate_interval])) {NOTHING}", "{{step}}"
                    ),
                    description="Due and gave nothing: the frame was not complete, or the step failed (see the log).",
                ),
                Panel(
                    title="Spans of traces that were lost",
                    width=12,
                    queries=one(
                        f"sum by (reason) (increase(streamproc_spans_dropped_total[$__rate_interval])) {NOTHING}",
                        "{{reason}}",
                    ),
                    thresholds=ZERO_IS_GOOD,
                    description="Frames are not affected. failed: the collector is away; full: it is too slow.",
                ),
            ),
        ),
    ),
)
