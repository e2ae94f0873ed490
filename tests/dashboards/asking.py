"""A real Prometheus over processes of this machine, and what a page of Grafana asks it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dashboards.prometheus import Timing
from dashboards.rules import text
from streamproc.broker.ports import choose_ports

READY_S = 30.0
SHORT = Timing(interval_s=1, settle_s=40, balance_s=60, scale=1 / 120)
"""The shipped rules, for runs of a minute."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One line of a panel: its labels, and (unix time, value) pairs, no NaN among them."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class Prometheus:
    """One that runs.

    Args:
        url: Without a path.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, **asked: str) -> Any:
        """The data of an answer of its API."""
        with self._direct.open(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def range(self, expr: str, *, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """What a query gives over a time; series without a number are left out."""
        found = self.ask("query_range", query=expr, start=f"{start_s}", end=f"{end_s}", step=f"{step_s}")["result"]
        series = [Series(one["metric"], _numbers(one["values"])) for one in found]
        return [one for one in series if one.points]

    def value(self, expr: str) -> float | None:
        """The one value of a query now; None if it has none."""
        found = self.ask("query", query=expr)["result"]
        return float(found[0]["value"][1]) if found else None

    def variable(self, query: str) -> list[str]:
        """Values of a variable, as `label_values(metric, label)` asks for them."""
        metric, label = query.removeprefix("label_values(").removesuffix(")").rsplit(",", 1)
        values: list[str] = self.ask(f"label/{label.strip()}/values", **{"match[]": metric.strip()})
        return values

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            self._direct.open(f"{self.url}/-/ready", timeout=2).close()
        except (urllib.error.URLError, OSError):
            return False
        return True


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, int], *, scrape: str = "1s") -> Iterator[Prometheus]:
    """Debian's Prometheus, scraping processes by name, until the block is left."""
    binary = shutil.which("prometheus")
    assert binary is not None
    (port,) = choose_ports(0, 1)
    targets = [{"targets": [f"127.0.0.1:{number}"], "labels": {"instance": name}} for name, number in ports.items()]
    (folder / "streamproc.rules.yml").write_text(text(SHORT))
    file = folder / "prometheus.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": scrape},
                "rule_files": ["streamproc.rules.yml"],
                "scrape_configs": [{"job_name": "streamproc", "static_configs": targets}],
            }
        )
    )
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            running = Prometheus(f"http://127.0.0.1:{port}")
            give_up_s = time.monotonic() + READY_S
            while not running.is_ready():
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                assert time.monotonic() < give_up_s, "Prometheus does not get ready"
                time.sleep(0.1)
            yield running
        finally:
            process.terminate()
            process.wait(10)


def filled(text: str, *, rate: str, span: str, **variables: str) -> str:
    """A query as Grafana sends it: its own variables and those of the page have values."""
    text = text.replace("$__rate_interval", rate).replace("$__range", span)
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    return text


def _numbers(values: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    numbers = [(float(at_s), float(value)) for at_s, value in values]
    return [(at_s, value) for at_s, value in numbers if math.isfinite(value)]
