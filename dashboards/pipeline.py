"""Where does time go? The stages of a frame, and what became of its tiles."""

from __future__ import annotations

from dashboards.grafana import ZERO_IS_GOOD, Dashboard, Panel, Row, one, quantiles

PIPELINE = Dashboard(
    uid="streamproc-pipeline",
    title="streamproc: where does time go?",
    description="The way of a frame through the stages, what became of tiles, what was refused.",
    rows=(
        Row(
            title="Time",
            panels=(
                Panel(
                    title="Mean time in each stage",
                    width=12,
                    unit="s",
                    queries=one(
                        "sum by (stage) (rate(streamproc_stage_seconds_sum[$__rate_interval]))"
                        " / sum by (stage) (rate(streamproc_stage_seconds_count[$__rate_interval]))",
                        "{{stage}}",
                    ),
                    options={"stacking": "normal"},
                    description="publish: producer and broker. wait: for a worker. extract: the pipeline. gather: for a"
                    " frame's other tiles. assemble: the aggregator. What grows is where frames wait.",
                ),
                Panel(
                    title="95th percentile of each stage",
                    width=12,
                    unit="s",
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
                    title="Steps without a result",
                    queries=one("sum by (step) (rate(streamproc_steps_skipped_total[$__rate_interval]))", "{{step}}"),
                    description="Due and gave nothing: the frame was not complete, or the step failed (see the log).",
                ),
            ),
        ),
        Row(
            title="What became of it",
            panels=(
                Panel(
                    title="Tiles by outcome",
                    queries=one("sum by (outcome) (rate(streamproc_tiles_total[$__rate_interval]))", "{{outcome}}"),
                    description="All merged. duplicate and late come with killed or moved workers and cost nothing.",
                ),
                Panel(
                    title="Dead letters",
                    queries=one(
                        "sum by (stage, reason) (increase(streamproc_deadletters_total[$__rate_interval]))",
                        "{{stage}} {{reason}}",
                    ),
                    description="`streamproc deadletters list`, then `show ID`.",
                ),
                Panel(
                    title="What happened on frames",
                    queries=one(
                        "sum by (kind, what) (rate(streamproc_occurrences_total[$__rate_interval]))",
                        "{{kind}} {{what}}",
                    ),
                    description="Events of tracks, rules and anomalies.",
                ),
                Panel(
                    title="Tiles worked out and known",
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
                        "sum by (ending) (increase(streamproc_decoders_lost_total[1h])) or vector(0)", "{{ending}}"
                    ),
                    thresholds=ZERO_IS_GOOD,
                    description="Pictures that crashed or stalled a decoder; each is one dead letter.",
                ),
            ),
        ),
    ),
)
