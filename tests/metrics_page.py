"""The page of metrics, made from the code: `python -m tests.metrics_page` writes docs/metrics.md."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from streamproc.metrics import MAX_CAMERAS, Metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
HEAD = """# Metrics

Made from `streamproc/metrics.py` by `python -m tests.metrics_page`; do not edit it here.

Each process has one Prometheus exporter, off unless `STREAMPROC_METRICS_PORT` (or `--metrics-port`) names a port; it
listens on loopback unless `STREAMPROC_METRICS_HOST` says otherwise. Faust's own exporter is not used.

Labels are closed sets, except `camera`: after {most} different cameras further ones share the label `other`. Frames,
tiles and runs are never labels. Units are Prometheus' base units: seconds, bytes. Histograms have the series `_bucket`,
`_sum` and `_count`.

The books balance when all is quiet, over all workers:

- `streamproc_tiles_total` over its outcomes (merged, duplicate, late, rejected, deadlettered) equals the features that
  were read;
- `streamproc_frames_total` over its outcomes (complete, partial, expired, rejected) equals the frames published.
"""


def metrics_page() -> str:
    """The whole page."""
    parts = [HEAD.format(most=MAX_CAMERAS)]
    for part, group in groupby(Metrics().definitions, key=lambda one: one.part):
        parts.append(f"\n## {part[0].upper()}{part[1:]}\n")
        parts.append("| metric | type | labels | unit | meaning | when it moves |\n|---|---|---|---|---|---|")
        for one in group:
            labels = ", ".join(f"`{label}`" for label in one.labels)
            parts.append(f"| `{one.name}` | {one.kind} | {labels} | {one.unit} | {one.meaning} | {one.moves} |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(metrics_page())
