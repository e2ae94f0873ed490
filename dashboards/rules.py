"""Recording and alerting rules of Prometheus, from one source: `python -m dashboards.rules` writes the file beside it.

What is recorded stands in `recording.py`, the alerts in `alerts.py`. `docs/alerts.md` has a section for each alert,
which its `runbook_url` names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dashboards.alerts import alerts
from dashboards.prometheus import REAL, Group, Timing, as_yaml
from dashboards.recording import records

FILE: Final = Path(__file__).parent / "streamproc.rules.yml"
_HEAD: Final = "# Made by `python -m dashboards.rules`; do not edit it here.\n"


def rules(timing: Timing = REAL) -> tuple[Group, ...]:
    """All groups."""
    return (
        *(Group(name=f"streamproc-{name}", rules=made) for name, made in records(timing).items()),
        *(Group(name=f"streamproc-{name}-alerts", rules=made) for name, made in alerts(timing).items()),
    )


def text(timing: Timing = REAL) -> str:
    """The rules file."""
    return _HEAD + as_yaml(rules(timing), interval_s=timing.interval_s)


def main() -> None:
    """Write it."""
    FILE.write_text(text())


if __name__ == "__main__":
    main()
