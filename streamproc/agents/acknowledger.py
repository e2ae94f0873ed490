"""Acknowledges records of features once no open frame needs them."""

from __future__ import annotations

from collections import deque
from typing import Any

from faust.types import EventT

from streamproc.agents.batches import Batch


class Acknowledger:
    """Holds read records until no open frame needs them, then acknowledges them in order."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[EventT[Any]]] = {}
        self._tenure = -1

    def settled(self, batch: Batch) -> None:
        """Take the records of a delivered batch, and acknowledge all that lie below their partition's floor."""
        if batch.tenure != self._tenure:
            self._waiting, self._tenure = {}, batch.tenure
        for event in batch.events:
            message = event.message
            message.value = b""  # the bytes are not needed any more, the record is until it is acknowledged
            event.value = b""
            self._waiting.setdefault(message.partition, deque()).append(event)
        for number, floor in batch.floors.items():
            waiting = self._waiting.get(number, deque())
            while waiting and (floor is None or waiting[0].message.offset < floor):
                waiting.popleft().ack()
