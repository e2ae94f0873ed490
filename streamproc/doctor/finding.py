"""What the doctor says of one thing."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["ok", "warning", "wrong"]


class Finding(NamedTuple):
    """One thing looked at.

    Attributes:
        what: Of a closed set of words, see docs/health.md.
        verdict: `warning` works now and will not always; `wrong` does not work.
        told: One line: what is so; where it is not well also what to do, with the command.
    """

    what: str
    verdict: Verdict
    told: str


def ok(what: str, told: str) -> Finding:
    """A thing that is well."""
    return Finding(what, "ok", told)


def warning(what: str, told: str) -> Finding:
    """A thing that works now and will not always."""
    return Finding(what, "warning", told)


def wrong(what: str, told: str) -> Finding:
    """A thing that does not work."""
    return Finding(what, "wrong", told)
