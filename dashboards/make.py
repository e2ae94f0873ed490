"""The Grafana dashboards, from one source: `python -m dashboards.make` writes the JSON files beside it.

A panel is a title, queries, a unit, and a description that says what to do. Grafana 11 reads the files as they are, by
provisioning or by import; the Prometheus data source is a variable. Queries use metrics of `docs/metrics.md` alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.camera import CAMERA_PAGE
from dashboards.grafana import as_json
from dashboards.overview import OVERVIEW
from dashboards.pipeline import PIPELINE
from dashboards.replay import REPLAYS
from dashboards.workers import WORKERS

FOLDER = Path(__file__).parent
DASHBOARDS = (OVERVIEW, CAMERA_PAGE, PIPELINE, WORKERS, REPLAYS)


def files() -> dict[str, str]:
    """Names and texts of the files."""
    return {f"{one.uid}.json": json.dumps(as_json(one), indent=1, ensure_ascii=False) + "\n" for one in DASHBOARDS}


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
