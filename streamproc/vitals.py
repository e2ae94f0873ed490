"""What a process notes of itself, from any thread, for its health to be judged by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from streamproc.health import Facts, Hearing, Membership, Trouble, Turn


class Wanted(NamedTuple):
    """Topics that must be there, and how many partitions each of them; None for any number."""

    topics: tuple[str, ...]
    partitions: int | None = None


class Vitals:
    """The facts of one process. For any number of threads; every call is short.

    Args:
        role: What the process is.
        wanted: Topics without which it cannot work: the broker is then asked for them now and again. None: it needs no
            broker.
        stopping: Asked whether it was told to stop.
        clock: Monotonic seconds.

    Attributes:
        wanted: As above.
    """

    def __init__(
        self,
        role: str,
        *,
        wanted: Wanted | None = None,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wanted = wanted
        self._stopping, self._clock = stopping, clock
        self._lock = threading.Lock()
        self._facts = Facts(role=role)
        self._turns: dict[str, Turn] = {}
        self._troubles: dict[str, Trouble] = {}

    def turn(self, name: str, *, limit_s: float) -> None:
        """Note that something has come round; it has to come round again within `limit_s`."""
        with self._lock:
            self._turns[name] = Turn(name=name, last_s=self._clock(), limit_s=limit_s)

    def forget(self, name: str) -> None:
        """Note that something is over, and need not come round any more."""
        with self._lock:
            self._turns.pop(name, None)

    def trouble(self, about: str, what: str | None, *, fatal: bool = False) -> None:
        """Note what is wrong about something, or (None) that nothing is any more; its time runs from the first note."""
        with self._lock:
            known = self._troubles.pop(about, None)
            if what is not None:
                since_s = self._clock() if known is None else known.since_s
                self._troubles[about] = Trouble(what=what, since_s=since_s, fatal=fatal)

    def asks(self, address: str) -> None:
        """Note that the broker at an address is asked from now on."""
        with self._lock:
            self._facts = replace(self._facts, hearing=Hearing(address=address, since_s=self._clock()))

    def heard(self, words: str = "") -> None:
        """Note an answer of the broker, or, with words, that none came and why."""
        with self._lock:
            hearing = self._facts.hearing
            if hearing is not None:
                last_s = hearing.last_s if words else self._clock()
                self._facts = replace(self._facts, hearing=replace(hearing, last_s=last_s, words=words))

    def joins(self, group: str) -> None:
        """Note that a group is being joined."""
        with self._lock:
            self._facts = replace(self._facts, membership=Membership(group=group, since_s=self._clock()))

    def holds(self, partitions: int | None) -> None:
        """Note how many partitions were assigned; None: they are being shared out anew."""
        with self._lock:
            member = self._facts.membership
            if member is not None:
                joined = member.joined or partitions is not None
                member = replace(member, since_s=self._clock(), partitions=partitions, joined=joined)
                self._facts = replace(self._facts, membership=member)

    def stop(self) -> None:
        """Note that the process was told to stop."""
        with self._lock:
            if self._facts.stopping_s is None:
                self._facts = replace(self._facts, stopping_s=self._clock())

    def facts(self) -> Facts:
        """All that is known now."""
        if self._stopping():
            self.stop()
        with self._lock:
            return replace(self._facts, turns=tuple(self._turns.values()), troubles=tuple(self._troubles.values()))

    @property
    def now_s(self) -> float:
        """The time by the clock that all of this was noted by."""
        return self._clock()


def topics_problem(found: dict[str, int], wanted: Wanted) -> str | None:
    """What is wrong with the topics of a cluster, with what to do; None if nothing.

    Args:
        found: Partitions by name, of all topics there are.
        wanted: What must be there.
    """
    missing: Sequence[str] = [name for name in wanted.topics if name not in found]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        return f"{', '.join(missing)} {are} missing: run streamproc topics create, or see STREAMPROC_PREFIX"
    for name in wanted.topics:
        if wanted.partitions is not None and found[name] != wanted.partitions:
            return (
                f"topic {name} has {found[name]} partitions, it had {wanted.partitions} when the process started:"
                " create topics anew with another STREAMPROC_PREFIX"
            )
    return None
