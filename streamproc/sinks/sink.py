"""What every sink is: takes batches of events, and knows how far it has come or leaves that to Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from streamproc.errors import SinkError
from streamproc.sinks.event import SinkEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a batch may get.

    Attributes:
        events: Most events of one batch.
        bytes: Of their lines; a batch may exceed it by its last event (at most 2 MiB).
        wait_s: Longest time that an event waits for others.
    """

    events: int
    bytes: int
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Events of some stretches of the log, one stretch for each partition.

    Attributes:
        events: In log order within a partition; those that are not wanted are left out.
        starts: Offset at which each partition's stretch begins: where the batch before it ended. None: nothing was
            known of the partition before.
        ends: The one after the last of each.
    """

    events: tuple[SinkEvent, ...]
    starts: Mapping[int, int | None]
    ends: Mapping[int, int]

    def of(self, partition: int) -> list[SinkEvent]:
        """The events of one partition."""
        return [event for event in self.events if event.partition == partition]

    def first(self, number: int) -> Batch:
        """Its first events; each partition ends before the first of the others."""
        left = {event.partition: event.offset for event in reversed(self.events[number:])}
        return Batch(events=self.events[:number], starts=self.starts, ends={**self.ends, **left})


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of the events of a batch: new at the target, known there already, or refused by it."""

    new: int
    known: int = 0
    refused: int = 0


class TargetMoved(SinkError):
    """The target stands somewhere else than where this sink left it: it was set back, or another process writes.

    Attributes:
        positions: Where it stands: next offset by partition.
    """

    def __init__(self, positions: Mapping[int, int]) -> None:
        super().__init__("the target does not stand where this sink left it")
        self.positions = positions


class Sink(Protocol):
    """A target of events. All calls come from one thread, one after another.

    Every call may raise `SinkUnavailable`: it did not answer, the call is repeated later with the same arguments; or
    another `SinkError`: it will not work, however often it is tried.

    Attributes:
        limits: Of the batches that it wants.
        keeps_positions: The position stands in the target itself, changed together with the events. Otherwise Kafka
            keeps it, and is told after each batch.
        can_rewind: What is written again changes nothing, so it may begin anywhere.
    """

    limits: Limits
    keeps_positions: bool
    can_rewind: bool

    def positions(self) -> dict[int, int]:
        """Open the target; next offset by partition as it stands there, empty if it has none."""

    def begin(self, positions: Mapping[int, int]) -> None:
        """Note where the first batch will begin; called once after `positions`."""

    def write(self, batch: Batch) -> Written:
        """Write a batch so that it lasts, and its ends as the new position, all or nothing.

        Raises:
            TargetMoved: The target's position is not where the batch begins.
        """

    def close(self) -> None:
        """Let go of the target; nothing is waited for."""
