"""The page of metrics, made from the code: `python -m tests.metrics_page` writes docs/metrics.md."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from streamproc.metric_types import Closed, Definition, Label
from streamproc.metrics import MAX_CAMERAS, MAX_STEPS, MAX_TOPICS, Metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
HEAD = """# Metrics

Made from `streamproc/metrics.py` by `python -m tests.metrics_page`; do not edit it here.

Each process has one Prometheus exporter, off unless `STREAMPROC_METRICS_PORT` (or `--metrics-port`) names a port; it
listens on loopback unless `STREAMPROC_METRICS_HOST` says otherwise. Faust's own exporter is not used.

The exporter ends with its process. What a process that ends by itself counts after the last scrape - a `produce` whose
broker is gone, the last frames of a `replay` - no scrape sees: it is in the command's exit status, its last line, its
`--json` and, for frames, in `produce --ledger`.

Labels are closed sets or capped: what is beyond shares the label value `other`, so nothing that comes in can make more
series than this page says. At most {most} cameras, {topics} topics and {steps} steps of a pipeline are named by one
process. Frames, tiles and runs are never labels. Values of a closed last label are shown at 0 from the start.

Units are Prometheus' base units: seconds, bytes, ratios from 0 to 1. Histograms have the series `_bucket`, `_sum` and
`_count`. Each process also has the standard `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_start_time_seconds`, `process_open_fds` and `process_max_fds` of its operating system's process.

The books balance when all is quiet, over all processes that have run since all counters began:

- frames: `streamproc_frames_published_total`, and `streamproc_replay_frames_total{{target="same"}}`, equal
  `streamproc_frames_total` over its outcomes (complete, partial, expired, rejected);
- tiles: `streamproc_tiles_published_total`, and `streamproc_replay_tiles_total{{target="same"}}`, equal
  `streamproc_tiles_total` over its outcomes (merged, duplicate, late, rejected, deadlettered), but for tiles whose
  header could not be read: those are in `streamproc_deadletters_total{{stage="extract"}}` alone;
- workers that were killed, and came back, count some tiles twice (duplicate, late), and take their counters with them.

A frame's time, hop by hop, is `streamproc_stage_seconds`: `publish` from capture to the log, `wait` until a worker
begins with the tile that is finished last, `extract` its decoding and operators, `gather` its features' way and wait
for those of the other tiles, `assemble` merging them, `deliver` from the event's sending to the broker's word for it.
The first five add up to `streamproc_event_latency_seconds`. Frames that are replayed were captured long ago: those of
runs named `replay-...`, as replays name them unless told otherwise, are left out of both.
"""


def metrics_page() -> str:
    """The whole page."""
    parts = [HEAD.format(most=MAX_CAMERAS, topics=MAX_TOPICS, steps=MAX_STEPS)]
    for part, group in groupby(Metrics().definitions, key=lambda one: one.part):
        parts.append(f"\n## {part[0].upper()}{part[1:]}\n")
        parts += [_entry(one) for one in group]
    return "\n".join(parts) + "\n"


def _entry(one: Definition) -> str:
    """A metric as an item of a list: what it is, then what to think and do."""
    facts = ", ".join(filter(None, [one.kind, one.unit]))
    by = f", by {', '.join(_label(label) for label in one.labels)}" if one.labels else ""
    meaning = one.meaning if one.meaning.endswith(".") else f"{one.meaning}."
    return f"- `{one.name}` ({facts}{by})\\\n  {meaning}\\\n  *When it moves:* {one.moves}"


def _label(label: Label) -> str:
    """A label, and its values if they are a closed set."""
    return f"`{label.name}` of {', '.join(label.values)}" if isinstance(label, Closed) else f"`{label.name}`"


if __name__ == "__main__":
    PAGE.write_text(metrics_page())
