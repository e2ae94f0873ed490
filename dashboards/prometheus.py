"""Rules of Prometheus as values, how long their windows are, and the YAML that Prometheus 2 and 3 read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

RUNBOOK: Final = "docs/alerts.md"
CRITICAL: Final = "critical"
WARNING: Final = "warning"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long windows are. Tests make all of them shorter; the expressions stay the same.

    Attributes:
        interval_s: Between two evaluations, and (at most) between two scrapes.
        settle_s: After so long each published frame has its outcome, if nothing lags: the frame deadline
            (STREAMPROC_FRAME_DEADLINE_S, 30 s), a session timeout, and two scrapes. A longer deadline needs more.
        balance_s: Over so long frames are balanced, and what must not happen is told.
        scale: Of all other windows and waits.
        storm: Rebalances of one worker in a quarter of an hour that are too many.
        within_s: Capture to event, at most; a bound of the histogram's buckets.
        behind_s: Readers that far behind are looked at; four times as far is too far.
        few: Events in a long window below which no share of slow ones is judged.
    """

    interval_s: int = 15
    settle_s: int = 120
    balance_s: int = 900
    scale: float = 1.0
    storm: int = 10
    within_s: float = 1.0
    behind_s: float = 15.0
    few: int = 100

    def seconds(self, seconds: float) -> float:
        """A wait or limit, scaled; at least one interval."""
        return max(float(self.interval_s), seconds * self.scale)

    def window(self, seconds: float) -> str:
        """A range, scaled; long enough for four samples."""
        return duration(max(4.0 * self.interval_s, seconds * self.scale))

    def wait(self, seconds: float) -> str:
        """A `for`, scaled; nothing stays nothing."""
        return duration(self.seconds(seconds)) if seconds else "0s"


REAL: Final = Timing()
"""What is shipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A recording rule; named level:metric:operation, as Prometheus' manual asks."""

    name: str
    expr: str

    def as_yaml(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert.

    Attributes:
        severity: critical (somebody has to get up: frames are lost or not seen) or warning (in working hours).
        wait: How long it has to hold.
        summary: What happened, to what; one line.
        description: With figures, and what to do.
    """

    name: str
    expr: str
    severity: str
    wait: str = "0s"
    summary: str
    description: str
    labels: dict[str, str] = field(default_factory=dict)

    def as_yaml(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.wait != "0s":
            rule["for"] = self.wait
        rule["labels"] = {"severity": self.severity, **self.labels}
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{RUNBOOK}#{self.name.lower()}",
        }
        return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated one after another, at the same moment."""

    name: str
    rules: Sequence[Record | Alert]


def duration(seconds: float) -> str:
    """A length of time as Prometheus writes it, in whole seconds: 90s, 15m, 6h, 3d."""
    whole = max(1, round(seconds))
    for unit, length in (("d", _DAY_S), ("h", _HOUR_S), ("m", _MINUTE_S)):
        if whole % length == 0:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def as_yaml(groups: Sequence[Group], *, interval_s: int) -> str:
    """A rules file."""
    made = [
        {"name": group.name, "interval": f"{interval_s}s", "rules": [rule.as_yaml() for rule in group.rules]}
        for group in groups
    ]
    return yaml.dump({"groups": made}, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, so that expressions can be read."""


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent)
