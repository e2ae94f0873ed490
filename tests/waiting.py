"""Waiting in tests: for a fact, as short as can be, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool], what: str, *, timeout_s: float) -> None:
    """Ask again and again until it is true; fail with `what` when time is up."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)
