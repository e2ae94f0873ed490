"""The rules for the Prometheus operator, of `dashboards/streamproc.rules.yml`: `python -m compose.kubernetes_rules`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).parent.parent
RULES: Final = ROOT / "dashboards" / "streamproc.rules.yml"
OUT: Final = Path(__file__).parent / "kubernetes" / "monitoring" / "prometheus-rule.yaml"
_LABELS: Final = {"app.kubernetes.io/part-of": "streamproc", "app.kubernetes.io/name": "streamproc"}


def manifest(rules: str) -> str:
    """A PrometheusRule with these groups of rules.

    Args:
        rules: YAML, as Prometheus reads it.
    """
    groups = yaml.safe_load(rules)["groups"]
    for group in groups:
        for rule in group["rules"]:
            rule["expr"] = " ".join(rule["expr"].split())  # one line reads better in YAML than escapes
    content = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "streamproc", "labels": _LABELS},
        "spec": {"groups": groups},
    }
    head = "# Made by: python -m compose.kubernetes_rules\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def main() -> None:
    """Write it."""
    OUT.write_text(manifest(RULES.read_text()))


if __name__ == "__main__":
    main()
