"""A sender without Kafka: keeps what it is given, and answers as a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from streamproc.errors import DeliveryError
from streamproc.model import TileHeader
from streamproc.wire import Headers, read_tile_header

Report: TypeAlias = Callable[[Exception | None, int | None], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """One record."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    header: TileHeader


@dataclass
class MemorySender:
    """Keeps records; reports at `flush`, or at once if `prompt`.

    Attributes:
        fails: True for records that the broker refuses.
        raises: True for records that cannot even be queued.
        stuck: No report ever comes.
        queued_bytes: As the publisher counts them.
    """

    prompt: bool = False
    stuck: bool = False
    fails: Callable[[TileHeader], bool] = lambda _header: False
    raises: Callable[[TileHeader], bool] = lambda _header: False
    records: list[Sent] = field(default_factory=list)
    queued_bytes: int = 0
    most_queued_bytes: int = 0
    closed: bool = False
    _waiting: list[tuple[Sent, Report | None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(
        self,
        *,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes,
        headers: Headers,
        on_delivery: Report | None = None,
        timeout_s: float = 60,
    ) -> None:
        """Queue one record."""
        record = Sent(topic, partition, key, value, read_tile_header(headers))
        if self.raises(record.header):
            raise DeliveryError("cannot be queued")
        with self._lock:
            self.records.append(record)
            self.queued_bytes += len(value)
            self.most_queued_bytes = max(self.most_queued_bytes, self.queued_bytes)
            self._waiting.append((record, on_delivery))
        if self.prompt:
            self.flush(0)

    def flush(self, timeout_s: float) -> int:
        """Report on everything that waits."""
        if self.stuck:
            return len(self._waiting)
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for record, report in waiting:
            self.queued_bytes -= len(record.value)
            if report is not None:
                failed = self.fails(record.header)
                report(DeliveryError("refused by the broker") if failed else None, None if failed else 1)
        return 0

    def close(self, *, timeout_s: float) -> int:
        """Nothing more to do."""
        self.closed = True
        return 0
