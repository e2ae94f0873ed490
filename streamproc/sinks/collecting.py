"""Records become batches: which positions a batch covers, and when it is due. Time is an argument."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.sinks.event import SinkEvent
from streamproc.sinks.sink import Batch, Limits

PASSED_OVER_S = 5.0  # positions of records that nobody wants are written down no more often


class Collecting:
    """The batch that is being collected, and where the next one begins.

    Args:
        positions: Next offset by partition.
        limits: Of a batch.
    """

    def __init__(self, positions: Mapping[int, int], limits: Limits) -> None:
        self._limits = limits
        self._taken: dict[int, int] = dict(positions)  # ends of all batches taken so far
        self._ends: dict[int, int] = {}
        self._events: list[SinkEvent] = []
        self._bytes = 0
        self._since_s: float | None = None

    def add(self, event: SinkEvent, *, now_s: float) -> bool:
        """Take an event; False if its offset was passed already.

        Args:
            event: Offsets of one partition ascend.
            now_s: Any clock that does not go back.
        """
        if not self.pass_over(event.partition, event.offset + 1, now_s=now_s):
            return False
        if not self._events:
            self._since_s = now_s
        self._events.append(event)
        self._bytes += len(event.line)
        return True

    def pass_over(self, partition: int, next_offset: int, *, now_s: float) -> bool:
        """Go on to `next_offset` without an event; False if it was passed already."""
        if next_offset <= self.at(partition):
            return False
        if not self._ends:
            self._since_s = now_s
        self._ends[partition] = next_offset
        return True

    def __len__(self) -> int:
        return len(self._events)

    @property
    def bytes(self) -> int:
        """Of the events that were read since the last batch."""
        return self._bytes

    def at(self, partition: int) -> int:
        """The next offset of a partition."""
        return self._ends.get(partition, self._taken.get(partition, 0))

    @property
    def room(self) -> int:
        """Events that may still be added; 0 if there are bytes enough."""
        return 0 if self._bytes >= self._limits.bytes else max(0, self._limits.events - len(self._events))

    @property
    def empty(self) -> bool:
        """Nothing was read since the last batch."""
        return not self._ends

    def due(self, *, now_s: float) -> bool:
        """Whether the batch is full or its first record has waited long enough."""
        if self._since_s is None:
            return False
        wait_s = self._limits.wait_s if self._events else max(PASSED_OVER_S, self._limits.wait_s)
        return self.room == 0 or now_s - self._since_s >= wait_s

    def take(self) -> Batch:
        """The batch as it is; the next one begins where it ends."""
        batch = Batch(
            events=tuple(self._events),
            starts={partition: self._taken.get(partition) for partition in self._ends},
            ends=self._ends,
        )
        self._taken |= self._ends
        self._ends, self._events, self._bytes, self._since_s = {}, [], 0, None
        return batch
