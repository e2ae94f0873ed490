"""A sender without Kafka: keeps what it is given, and answers as a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeAlias

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
    offset: int = 0


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
    _ends: dict[tuple[str, int], int] = field(default_factory=dict)
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
        header = read_tile_header(headers)
        if self.raises(header):
            raise DeliveryError("cannot be queued")
        with self._lock:
            offset = self._ends.get((topic, partition), 0)
            self._ends[topic, partition] = offset + 1
            record = Sent(topic, partition, key, value, header, offset)
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
                report(DeliveryError("refused by the broker") if failed else None, None if failed else record.offset)
        return 0

    def close(self, *, timeout_s: float) -> int:
        """Nothing more to do."""
        self.closed = True
        return 0


class StallingSender(MemorySender):
    """Reports from a thread of its own, as long as it is not stalled. Use as a context manager.

    Args:
        pattern: Stalls to begin with: after so many reports, none for so many seconds.
    """

    def __init__(self, pattern: Sequence[tuple[int, float]] = ()) -> None:
        super().__init__()
        self.stalled = threading.Event()
        self._pattern = pattern
        self._reported = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reports")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def flush(self, timeout_s: float) -> int:
        """Wait a little; the thread reports."""
        self._ended.wait(min(timeout_s, 0.01))
        return self._unreported

    @property
    def _unreported(self) -> int:
        return len(self.records) - self._reported

    def _work(self) -> None:
        for reports, pause_s in self._pattern:
            left = reports
            while left > 0 and not self._ended.is_set():
                left -= self._report(left)
            self._ended.wait(pause_s)
        while not self._ended.is_set():
            self._report(100)

    def _report(self, most: int) -> int:
        """Report on the oldest; how many."""
        with self._lock:
            ready = [] if self.stalled.is_set() else self._waiting[:most]
            del self._waiting[: len(ready)]
            self.queued_bytes -= sum(len(record.value) for record, _ in ready)
        for record, report in ready:
            assert report is not None
            failed = self.fails(record.header)
            report(DeliveryError("refused by the broker") if failed else None, None if failed else record.offset)
            self._reported += 1
        if not ready:
            self._ended.wait(0.002)
        return len(ready)
