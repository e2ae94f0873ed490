"""A record that cannot be handled goes to dead letters with its reason; nothing is raised out of an agent."""

from __future__ import annotations

import logging
from typing import Any

from faust.types import Message

from streamproc import wire
from streamproc.agents.batches import Batch
from streamproc.errors import BadMessage
from streamproc.letterhead import deadletter_headers
from streamproc.metrics import Metrics
from streamproc.topics import MAX_DEADLETTER_BYTES, Topics

log = logging.getLogger(__name__)

_OWN_HEADERS_BYTES = 16_384  # reason, detail and origin, and framing


def value_bytes(message: Message) -> bytes:
    """The record's value as bytes; empty for a record without one."""
    return message.value if isinstance(message.value, bytes) else b""


def header_list(message: Message) -> wire.Headers:
    """The record's headers with repeats, as the broker gave them; a null one is empty."""
    return [(name, value or b"") for name, value in _raw_headers(message)]


def _raw_headers(message: Message) -> list[tuple[str, bytes | None]]:
    headers: Any = message.headers or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(str(name), None if value is None else bytes(value)) for name, value in pairs]


def as_bad_message(error: Exception, message: Message | None = None) -> BadMessage:
    """An error as the reason of a dead letter; one that was not foreseen is `internal`, with its traceback logged."""
    if isinstance(error, BadMessage):
        return error
    at: dict[str, object] = {}
    if message is not None:
        at = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
    log.error("unforeseen error, the record goes to dead letters", exc_info=error, extra=at)
    return BadMessage("internal", f"{type(error).__name__}: {error}")


def dead_letter(
    batch: Batch, message: Message, bad: BadMessage, *, stage: str, topics: Topics, metrics: Metrics
) -> None:
    """Send the untouched record to dead letters, with why and from where; one that is too large without its value."""
    value: bytes | None = message.value if isinstance(message.value, bytes) else None
    key: bytes | None = message.key if isinstance(message.key, bytes) else None
    headers = _raw_headers(message)
    around = len(key or b"") + sum(len(name) + len(content or b"") for name, content in headers)
    size, most = around + len(value or b""), MAX_DEADLETTER_BYTES - _OWN_HEADERS_BYTES
    if size > most:
        value = None
    if around > most:
        key, headers = None, []
    told = deadletter_headers(
        headers,
        reason=bad.reason,
        detail=bad.detail,
        stage=stage,
        origin=(message.topic, message.partition, message.offset),
        published_ms=int(message.timestamp * 1000),
        truncated_bytes=size if size > most else None,
    )
    batch.send(topic=topics.deadletters, partition=message.partition, key=key, value=value, headers=told)
    metrics.deadletters.labels(stage, bad.reason).inc()
