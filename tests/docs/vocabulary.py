"""The reference page of words: outcomes, reasons, errors and exit codes, each closed set as the code has it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Final

from producers.keeping import OfflineReason
from producers.waiting import DropPolicy
from streamproc import errors
from streamproc.aggregator.assembly import TileOutcome
from streamproc.cloudevents import CameraEventKind
from streamproc.errors import LostReason, Reason, StreamprocError
from streamproc.ledger import Status
from streamproc.model import Clock, Outcome
from streamproc.verify.verdict import Kind as Finding

SETS: Final[tuple[tuple[str, object, str], ...]] = (
    (
        "Outcome of a frame",
        Outcome,
        "What each means: [architecture](../architecture.md#guarantees-and-how-they-are-kept).",
    ),
    ("Outcome of a tile", TileOutcome, "In the aggregator; the sums balance, see [metrics](../metrics.md)."),
    ("Status of a frame in a ledger", Status, "What each means: [sources](../sources.md#the-ledger)."),
    ("Reason of a dead letter", Reason, "What each means: [dead letters](../deadletters.md)."),
    (
        "Policy for a frame that finds no room",
        DropPolicy,
        "[Sources](../sources.md#when-the-broker-takes-less-than-the-source-gives).",
    ),
    ("Reason of a lost camera", LostReason, "What each means: [live cameras](../cameras.md)."),
    ("Reason of an offline event", OfflineReason, "[Ingest](../ingest.md#camera-events)."),
    ("What a camera event tells", CameraEventKind, "[Ingest](../ingest.md#camera-events)."),
    ("Clock of a capture time", Clock, "[Live cameras](../cameras.md#times)."),
    ("Finding of verify", Finding, "What each means: [verify](../verify.md)."),
)
INTRODUCTION: Final = """\
Words that events, metrics, dead letters and messages are made of. Each is a closed set: it may be a label of a metric
and a case of a program of yours."""


def words_page() -> str:
    """All closed sets, and the tree of errors."""
    parts = ["# Words", "<!-- made by `python -m tests.docs.reference`; do not edit it here -->", INTRODUCTION]
    for title, words, where in SETS:
        parts += [f"## {title}", f"{', '.join(f'`{word}`' for word in members(words))}. {where}"]
    parts += [
        "## Errors",
        "Every error that streamproc raises on purpose is a `StreamprocError`. The command line prints it as one line "
        "and ends with its exit code.",
        "\n".join(["| error | exit code | meaning |", "| --- | --- | --- |", *_errors(StreamprocError, 0)]),
    ]
    return "\n\n".join(parts) + "\n"


def members(words: object) -> list[str]:
    """The words of a Literal, and of a union of such, in order and each once."""
    found: list[str] = []
    for one in typing.get_args(words):
        found += [one] if isinstance(one, str) else members(one)
    return list(dict.fromkeys(found))


def _errors(error: type[StreamprocError], depth: int) -> Iterator[str]:
    first = str(inspect.getdoc(error)).split("\n\n")[0]
    indent = "&nbsp;&nbsp;" * 2 * depth
    yield f"| {indent}`{error.__name__}` | {error.exit_code} | {' '.join(first.split())} |"
    below = [one for one in vars(errors).values() if isinstance(one, type) and error in one.__bases__]
    for one in below:
        yield from _errors(one, depth + 1)
