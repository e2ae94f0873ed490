"""The pictures of the pages: `python -m tests.dashboards.pictures` runs a system for some minutes and draws them.

Needs Prometheus (Debian's package), and matplotlib. A camera goes dark for a while, a record is written that is no
tile, frames are replayed and run again, so that the pages have something to show.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from dashboards.drawing import Line, draw
from dashboards.grafana import as_json
from dashboards.make import DASHBOARDS
from streamproc.provision import create_topics
from streamproc.settings import load_settings
from tests.dashboards.asking import Prometheus, filled
from tests.dashboards.live_system import LiveSystem, live_system
from tests.kafka_broker import broker_for_tests

FOLDER = Path(__file__).parents[2] / "docs" / "dashboards"


def named(legend: str, labels: Mapping[str, str], number: int) -> str:
    """A series' name, as Grafana makes it of a legend."""
    if legend == "__auto":
        return labels.get("__name__", f"series {number + 1}")
    return re.sub(r"{{([a-z_]+)}}", lambda found: labels.get(found[1], ""), legend).strip() or "none"


def draw_all(asked: Prometheus, *, start_s: float, end_s: float, folder: Path) -> None:
    """Draw each page of what a Prometheus has of a time."""
    step_s = max(1.0, (end_s - start_s) / 300)

    def ask(expr: str, legend: str) -> list[Line]:
        filled_in = filled(expr, rate="15s", span=f"{end_s - start_s:.0f}s", camera=".*", instance=".*")
        found = asked.range(filled_in, start_s=start_s, end_s=end_s, step_s=step_s)
        return [Line(named(legend, one.labels, number), one.points) for number, one in enumerate(found)]

    for page in DASHBOARDS:
        draw(as_json(page), ask, start_s=start_s, end_s=end_s, file=folder / f"{page.uid}.png")


def play(system: LiveSystem, seconds: float) -> None:
    """What happens in that time."""
    begin_s = time.time()

    def at(share: float) -> None:
        time.sleep(max(0.0, begin_s + share * seconds - time.time()))

    at(0.25)
    system.make_dark()
    system.spoil()
    at(0.3)
    system.replay(limit=int(0.2 * seconds * 6))
    at(0.55)
    system.make_light()
    with system.rerunning("again"):
        at(0.6)
    at(0.85)
    system.make_dark()  # it ends as somebody on call sees it
    at(1.0)


def main() -> None:
    """Run, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240, help="how long the system runs")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="streamproc-pictures-") as folder, broker_for_tests() as bootstrap:
        settings = load_settings(bootstrap=bootstrap, prefix=f"pictures{os.getpid()}.", partitions=4)
        create_topics(settings)
        with live_system(settings, Path(folder)) as system:
            begin_s = time.time()
            play(system, options.seconds)
            draw_all(system.asked, start_s=begin_s, end_s=time.time(), folder=options.out)


if __name__ == "__main__":
    main()
