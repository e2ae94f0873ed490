"""What an archive holds, from the ends of its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamproc.archive.index import FileIndex, Gap
from streamproc.archive.mcap_in import open_file
from streamproc.archive.storage import Storage, StoredFile
from streamproc.errors import ArchiveError, StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One file: its index, or why it cannot be read."""

    file: StoredFile
    index: FileIndex | None
    problem: str = ""


def look(storage: Storage, topic: str, *, seen: Callable[[], None] = lambda: None) -> list[Look]:
    """Read the ends of all files of a topic, in their order; `seen` is called after each."""
    looks = []
    for file in storage.files(topic):
        try:
            looks.append(Look(file=file, index=open_file(storage, file).index))
        except StoreError:
            raise
        except ArchiveError as error:
            looks.append(Look(file=file, index=None, problem=str(error)))
        seen()
    return looks


def file_facts(one: Look) -> dict[str, Any]:
    """A file as JSON has it; times are milliseconds since 1970, offsets inclusive."""
    facts: dict[str, Any] = {"topic": one.file.topic, "file": one.file.name, "bytes": one.file.size}
    if one.index is None:
        return {**facts, "problem": one.problem}
    index, times = one.index, one.index.times_ms()
    return {
        **facts,
        "records": index.records,
        "payload_bytes": index.payload_bytes,
        "from_ms": times[0] if times else None,
        "to_ms": times[1] if times else None,
        "captured_ns": index.captured_ns,
        "cameras": index.cameras,
        "more_cameras": index.more_cameras,
        "partitions": partition_facts([one]),
        "gaps": gap_facts([one]),
    }


def partition_facts(looks: list[Look]) -> list[dict[str, Any]]:
    """Of each partition that has records in these files: how many, which offsets, which times."""
    found: dict[int, dict[str, Any]] = {}
    for one in looks:
        for span in (span for chunk in (one.index.chunks if one.index else ()) for span in chunk):
            facts = found.setdefault(
                span.partition,
                {
                    "partition": span.partition,
                    "records": 0,
                    "first": span.first,
                    "last": span.last,
                    "from_ms": span.low_ms,
                    "to_ms": span.high_ms,
                },
            )
            facts["records"] += span.count
            facts["last"] = max(facts["last"], span.last)
            facts["from_ms"] = min(facts["from_ms"], span.low_ms)
            facts["to_ms"] = max(facts["to_ms"], span.high_ms)
    return [found[partition] for partition in sorted(found)]


def gap_facts(looks: list[Look]) -> list[dict[str, Any]]:
    """Offsets that the log did not hold when they were due."""
    gaps = [gap for one in looks if one.index for gap in one.index.gaps]
    return [{"partition": gap.partition, "first": gap.first, "last": gap.last, "why": gap.why} for gap in gaps]


def topic_facts(topic: str, looks: list[Look]) -> dict[str, Any]:
    """A topic as JSON has it."""
    indexes = [one.index for one in looks if one.index is not None]
    partitions = partition_facts(looks)
    cameras = sorted({camera for index in indexes for camera in index.cameras})
    captured = [index.captured_ns for index in indexes if index.captured_ns is not None]
    return {
        "topic": topic,
        "files": len(looks),
        "bytes": sum(one.file.size for one in looks),
        "records": sum(index.records for index in indexes),
        "from_ms": min((one["from_ms"] for one in partitions), default=None),
        "to_ms": max((one["to_ms"] for one in partitions), default=None),
        "captured_ns": [min(low for low, _ in captured), max(high for _, high in captured)] if captured else None,
        "cameras": cameras,
        "more_cameras": any(index.more_cameras for index in indexes),
        "partitions": partitions,
        "gaps": gap_facts(looks),
        "problems": [one.problem for one in looks if one.problem],
    }


def gap_text(topic: str, gap: Gap) -> str:
    """A gap in one line."""
    why = (
        "retention removed them before they were archived"
        if gap.why == "retention"
        else "the log has no records there (compacted, or marks of transactions)"
    )
    return f"gap: {topic}[{gap.partition}] offsets {gap.first} to {gap.last}: {why}"
