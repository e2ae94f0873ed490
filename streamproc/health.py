"""Whether a process lives, and whether it can do its work: judged from facts and the time, never asked of anybody here.

Two questions, as a kubelet asks them (Kubernetes, "Configure Liveness, Readiness and Startup Probes"):

- *alive*: it turns, and does not stand still for longer than its bound. Who hears no may kill it. So nothing that lies
  outside counts here: a broker that is away is no reason to kill a worker that waits for it.
- *ready*: it can take work and do it now. Who hears no sends it nothing, and tells somebody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Status = Literal["ok", "standby", "starting", "failing", "stopping"]

BROKER_S: Final = 6.0
"""Longest silence of the broker of a process that is ready, seconds; it is asked every two."""
REBALANCE_S: Final = 10.0
"""Longest rebalance of a worker that is ready, seconds; shorter ones belong to every deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Something that has to come round again and again: a loop, a thread.

    Attributes:
        name: For people.
        last_s: When it last came round, monotonic seconds.
        limit_s: The longest it may take.
    """

    name: str
    last_s: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps a process from its work.

    Attributes:
        what: What is wrong, with what, and what to do; one line.
        since_s: Since when, monotonic seconds.
        fatal: The process cannot get over it by itself: it is not alive either.
    """

    what: str
    since_s: float
    fatal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What was heard of the broker.

    Attributes:
        address: Where it is.
        since_s: Since when it is asked, monotonic seconds.
        last_s: When it last answered; None if never.
        words: Of its last refusal; empty if it answered last.
    """

    address: str
    since_s: float
    last_s: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A worker in its consumer group.

    Attributes:
        group: Its name.
        since_s: When it last joined, lost its partitions or began to join, monotonic seconds.
        partitions: How many it holds; None while they are being shared out.
        joined: It has held its share at least once.
    """

    group: str
    since_s: float
    partitions: int | None = None
    joined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a process.

    Attributes:
        role: What it is: `worker-extract`, `ingest`, `sink`, …
        stopping_s: Since when it is told to stop, monotonic seconds; None if it is not.
        turns: What has to come round.
        hearing: Of the broker; None for a process that asks none.
        membership: Of workers; None for others.
        troubles: That it knows of.
    """

    role: str
    stopping_s: float | None = None
    turns: tuple[Turn, ...] = ()
    hearing: Hearing | None = None
    membership: Membership | None = None
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer to a probe.

    Attributes:
        good: Yes or no.
        status: `ok`; `standby`, ready and without partitions; `starting`, `failing` or `stopping`, not ready.
        role: Of the process.
        reasons: A line each: what is wrong (or worth knowing, where all is well), for how long, what to do.
    """

    good: bool
    status: Status
    role: str
    reasons: tuple[str, ...] = ()


def alive(facts: Facts, now_s: float) -> Verdict:
    """Whether a process turns; no says that it may be killed."""
    reasons = tuple(_still(facts, now_s))
    return Verdict(good=not reasons, status="failing" if reasons else "ok", role=facts.role, reasons=reasons)


def ready(facts: Facts, now_s: float) -> Verdict:
    """Whether a process can do its work now."""
    failing = [*_still(facts, now_s), *_deaf(facts.hearing, now_s)]
    failing += [_with_time(one, now_s) for one in facts.troubles if not one.fatal]
    starting: list[str] = []
    standby: list[str] = []
    if (member := facts.membership) is not None:
        outside = _outside(member, now_s)
        (failing if member.joined else starting).extend(outside)
        if member.partitions == 0:
            standby.append(
                f"holds no partition of group {member.group} for {_span(now_s - member.since_s)}: it has more workers"
                " than partitions, this one waits to take over"
            )
    if (hearing := facts.hearing) is not None and hearing.last_s is None and not hearing.words:
        starting.append(f"has not asked the broker at {hearing.address} yet")
    status: Status = "failing" if failing else "starting" if starting else "standby" if standby else "ok"
    reasons = [*failing, *starting]
    if facts.stopping_s is not None:
        status = "stopping"
        reasons.insert(
            0, f"told to stop {_span(now_s - facts.stopping_s)} ago: finishes what is under way, takes nothing new"
        )
    return Verdict(good=status in {"ok", "standby"}, status=status, role=facts.role, reasons=tuple(reasons or standby))


def _still(facts: Facts, now_s: float) -> Iterator[str]:
    for turn in facts.turns if facts.stopping_s is None else ():  # what is left to do then has bounds of its own
        if (late_s := now_s - turn.last_s) > turn.limit_s:
            yield (
                f"the {turn.name} has not come round for {_span(late_s)} (limit {turn.limit_s:g} s,"
                " STREAMPROC_STALL_TIMEOUT_S): the process hangs; kill it, what is not acknowledged is read again"
            )
    yield from (_with_time(one, now_s) for one in facts.troubles if one.fatal)


def _deaf(hearing: Hearing | None, now_s: float) -> Iterator[str]:
    if hearing is None:
        return
    silent_s = now_s - (hearing.since_s if hearing.last_s is None else hearing.last_s)
    if silent_s > BROKER_S:
        why = f" ({hearing.words})" if hearing.words else ""
        yield (
            f"no answer from the Kafka broker at {hearing.address} for {_span(silent_s)}{why}: it is waited for; see"
            " that it runs, streamproc doctor says more"
        )


def _outside(member: Membership, now_s: float) -> Iterator[str]:
    if member.partitions is not None:
        return
    waits_s = now_s - member.since_s
    if not member.joined:
        yield (
            f"has no share of group {member.group} yet, for {_span(waits_s)}: it joins; if it lasts, see that the"
            " broker's advertised.listeners can be reached (streamproc doctor)"
        )
    elif waits_s > REBALANCE_S:
        yield (
            f"partitions of group {member.group} are being shared out anew for {_span(waits_s)}: a member may hang or"
            " come and go; streamproc doctor tells more"
        )


def _with_time(trouble: Trouble, now_s: float) -> str:
    return f"{trouble.what} (for {_span(now_s - trouble.since_s)})"


def _span(seconds: float) -> str:
    """A length of time, as exact as people want it: `3.2 s`, `4 min 5 s`, `2 h 3 min`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
