"""Named failpoints and planted bugs, applied to a worker from outside, before its program runs.

No hook of a test stands in production code. Each patch names what it replaces and refuses to start if that is gone,
so that none can silently replace nothing.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from weakref import WeakSet

Function: TypeAlias = Callable[..., Any]

STALE = 78  # exit status of a worker whose patch has nothing to replace


def _replace(owner: Any, name: str, make: Callable[[Function], Function]) -> None:
    original = getattr(owner, name, None)
    if not callable(original):
        where = getattr(owner, "__qualname__", None) or owner.__name__
        print(f"{where}.{name} is gone: bring tests/chaos/patches.py up to date", file=sys.stderr)
        sys.exit(STALE)
    setattr(owner, name, make(original))


# --- failpoints ----------------------------------------------------------------------------------------------------


class Failpoint:
    """Kills the worker with SIGKILL at its n-th passing; says so first."""

    def __init__(self, name: str, nth: int) -> None:
        self._name, self._left = name, nth
        self._lock = threading.Lock()
        self._worker = os.getpid()  # not a child that decodes for it

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.write(2, f"failpoint {self._name} reached\n".encode())
                os.kill(self._worker, signal.SIGKILL)


def _before(hit: Failpoint, original: Function, when: Callable[..., bool] = lambda *_a, **_k: True) -> Function:
    @functools.wraps(original)
    def patched(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            hit()
        return original(*args, **kwargs)

    return patched


def _after(hit: Failpoint, original: Function, when: Callable[..., bool] = lambda *_a, **_k: True) -> Function:
    @functools.wraps(original)
    def patched(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if when(*args, **kwargs):
            hit()
        return result

    return patched


def _after_await(hit: Failpoint, original: Function, when: Callable[..., bool] = lambda *_a, **_k: True) -> Function:
    @functools.wraps(original)
    async def patched(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        if when(*args, **kwargs):
            hit()
        return result

    return patched


def _after_poll(hit: Failpoint) -> None:
    from streamproc.agents.batches import Window

    _replace(Window, "submit", lambda old: _before(hit, old, lambda _self, events: len(events) > 0))


def _after_decode(hit: Failpoint) -> None:
    from streamproc.operators.pipeline import Pipeline

    _replace(Pipeline, "run", lambda old: _before(hit, old))


def _after_send(hit: Failpoint) -> None:
    from streamproc.agents.batches import Batch

    _replace(Batch, "send", lambda old: _after(hit, old))


def _before_ack(hit: Failpoint) -> None:
    from streamproc.agents.batches import Batch

    _replace(Batch, "wait", lambda old: _after_await(hit, old, lambda batch: len(batch.events) > 0))


def _after_event(hit: Failpoint) -> None:
    """An event is delivered, its input neither acknowledged nor committed."""
    from streamproc.agents.batches import Batch

    telling: WeakSet[Any] = WeakSet()

    def note(old: Function) -> Function:
        @functools.wraps(old)
        def send(batch: Any, *, topic: str, **rest: Any) -> Any:
            if topic.endswith("events"):
                telling.add(batch)
            return old(batch, topic=topic, **rest)

        return send

    _replace(Batch, "send", note)
    _replace(Batch, "wait", lambda old: _after_await(hit, old, lambda batch: batch in telling))


def _after_commit(hit: Failpoint) -> None:
    from streamproc.agents.transport import Consumer

    _replace(Consumer, "_commit", lambda old: _after_await(hit, old, lambda _self, offsets: bool(offsets)))


def _in_read_back(hit: Failpoint) -> None:
    from streamproc import app

    _replace(app, "read_back", lambda old: _after(hit, old))


def _frames_open(hit: Failpoint) -> None:
    """The aggregator holds frames that wait for tiles."""
    from streamproc.agents.assemble import Aggregation

    _replace(Aggregation, "__call__", lambda old: _after(hit, old, lambda own, _batch: own.open_frames > 0))


FAILPOINTS: Mapping[str, Callable[[Failpoint], None]] = {
    "after-poll": _after_poll,
    "after-decode": _after_decode,
    "after-send": _after_send,
    "before-ack": _before_ack,
    "after-event": _after_event,
    "after-commit": _after_commit,
    "in-read-back": _in_read_back,
    "frames-open": _frames_open,
}


def arm(name: str, nth: int) -> None:
    """Set a failpoint in this process.

    Raises:
        SystemExit: What it patches is gone.
    """
    FAILPOINTS[name](Failpoint(name, nth))


# --- planted bugs --------------------------------------------------------------------------------------------------


def _ack_before_delivery() -> None:
    from streamproc.agents.batches import Batch

    async def at_once(_batch: Any) -> None:
        return

    _replace(Batch, "wait", lambda _old: at_once)


def _no_dedupe() -> None:
    from streamproc import app
    from streamproc.aggregator.assembly import Assembler

    _replace(app, "read_back", lambda _old: lambda *_args, **_kwargs: [])
    _replace(Assembler, "resume", lambda _old: lambda *_args, **_kwargs: None)


def _no_digest_check() -> None:
    from streamproc import wire

    _replace(wire, "check_payload", lambda _old: lambda *_args, **_kwargs: None)


def _commit_above_open() -> None:
    from streamproc.aggregator.assembly import Assembler

    _replace(Assembler, "needed_offset", lambda _old: lambda _self: None)


def _swallowed_send_error() -> None:
    from streamproc.agents.batches import Batch

    _replace(Batch, "_settle", lambda old: lambda batch, _error: old(batch, None))


BUGS: Mapping[str, Callable[[], None]] = {
    "ack-before-delivery": _ack_before_delivery,
    "no-dedupe": _no_dedupe,
    "no-digest-check": _no_digest_check,
    "commit-above-open": _commit_above_open,
    "swallowed-send-error": _swallowed_send_error,
}


def plant(name: str) -> None:
    """Put a bug into this process.

    Raises:
        SystemExit: What it patches is gone.
    """
    BUGS[name]()
