"""A viewer on a free port without a broker: its state is fed by the test, its log is a stand-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from streamproc.metrics import Metrics
from streamproc.settings import load_settings
from streamproc.view.access import Access
from streamproc.view.bounded import Desk
from streamproc.view.server import Viewer, serve
from streamproc.view.state import State


class Serving:
    """A viewer that listens."""

    def __init__(self, state: State, url: str) -> None:
        self.state = state
        self.url = url

    def healthy(self) -> None:
        """The broker has just answered."""
        self.state.pulse.answered({"events": 8, "edges": 8}, time.monotonic())

    def count(self, name: str) -> float:
        """A metric's value now."""
        return self.state.metrics.registry.get_sample_value(f"streamproc_{name}") or 0.0


@asynccontextmanager
async def serving(past: Any = None, *, token: str | None = None, desk: Desk | None = None) -> AsyncIterator[Serving]:
    """Serve on loopback."""
    state = State(load_settings(), Metrics())
    viewer = Viewer(state, past, desk or Desk(), Access(token, local=True))
    runner, port = await serve(viewer.application(), host="127.0.0.1", port=0)
    made = Serving(state, f"http://127.0.0.1:{port}")
    made.healthy()
    try:
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(
    past: Any = None, *, token: str | None = None, desk: Desk | None = None
) -> AsyncIterator[tuple[Serving, aiohttp.ClientSession]]:
    """A viewer, and a client of it that keeps cookies."""
    async with (
        serving(past, token=token, desk=desk) as served,
        aiohttp.ClientSession(
            served.url, cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=20)
        ) as client,
    ):
        yield served, client


def run(test: Callable[[], Awaitable[None]], *, limit_s: float = 30) -> None:
    """Run a test of coroutines, for so long at most."""

    async def bounded() -> None:
        async with asyncio.timeout(limit_s):
            await test()

    asyncio.run(bounded())


async def until(true: Callable[[], bool], what: str, *, timeout_s: float = 10) -> None:
    """Wait until it is true."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.01)
