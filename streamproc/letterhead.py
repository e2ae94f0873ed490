"""Headers of dead letters: why and from where, and what of it a record keeps on its way back.

| header | says |
|---|---|
| `dl_reason`, `dl_detail` | why: one of a closed set, and one line for a person |
| `dl_stage` | where it could not be handled: `extract` or `assemble` |
| `dl_topic`, `dl_partition`, `dl_offset` | where the record stood |
| `dl_attempt` | times it could not be handled, this one included |
| `dl_first`, `dl_first_ms` | where and when (milliseconds since 1970) it stood in its topic for the first time |
| `dl_truncated` | its size in bytes, if it was too large to be kept |

All other headers are the record's own. Names that begin with `dl_` are reserved.
"""

from __future__ import annotations

from streamproc.errors import Reason
from streamproc.wire import REDRIVE_HEADERS, RawHeaders

PREFIX = "dl_"
_LINEAGE = ("dl_first", "dl_first_ms")
_KEPT_ON_REDRIVE = frozenset({"dl_attempt", *_LINEAGE})
assert len(_KEPT_ON_REDRIVE) == REDRIVE_HEADERS  # noqa: S101 - wire admits that many


def deadletter_headers(
    original: RawHeaders | None,
    *,
    reason: Reason,
    detail: str,
    stage: str,
    origin: tuple[str, int, int],
    published_ms: int = 0,
    truncated_bytes: int | None = None,
) -> list[tuple[str, bytes | None]]:
    """Headers of a dead letter: the untouched original ones, then why and from where.

    Args:
        original: Of the record that could not be handled.
        reason: One of the closed set.
        detail: One line for a person.
        stage: Where it could not be handled: `extract` or `assemble`.
        origin: Topic, partition, offset.
        published_ms: Timestamp of the record, wall clock.
        truncated_bytes: Size of a record that is too large to be kept; its letter has no value.
    """
    kept = [(name, value) for name, value in original or () if not name.startswith(PREFIX)]
    attempt = 1 + _attempts(original)
    topic, partition, offset = origin
    added: dict[str, str] = {
        "dl_reason": reason,
        "dl_detail": detail[:1000],
        "dl_stage": stage,
        "dl_topic": topic,
        "dl_partition": str(partition),
        "dl_offset": str(offset),
        "dl_attempt": str(attempt),
        "dl_first": f"{topic}:{partition}:{offset}",
        "dl_first_ms": str(published_ms),
    }
    if truncated_bytes is not None:
        added["dl_truncated"] = str(truncated_bytes)
    written = {name: value.encode(errors="backslashreplace") for name, value in added.items()}
    if attempt > 1:  # a redriven record says where it stood first, however often it comes back
        written |= {name: value for name, value in original or () if name in _LINEAGE and value is not None}
    return [*kept, *written.items()]


def redrive_headers(letter: RawHeaders) -> list[tuple[str, bytes | None]]:
    """Headers of a dead letter's record on its way back: the original ones, its attempts, and where it stood first."""
    return [(name, value) for name, value in letter if name in _KEPT_ON_REDRIVE or not name.startswith(PREFIX)]


def _attempts(original: RawHeaders | None) -> int:
    text = dict(original or ()).get("dl_attempt") or b"0"
    return int(text) if text.isdigit() and len(text) < 6 else 0
