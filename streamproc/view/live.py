"""One WebSocket: what the hub has for a browser goes out as fast as it takes it; what it says is judged."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from streamproc.settings import NAME_PATTERN
from streamproc.view.cameras import MAX_CAMERAS
from streamproc.view.hub import Browser, Message, news
from streamproc.view.state import State

MAX_BROWSERS: Final = 64
HEARTBEAT_S: Final = 20.0
SEND_S: Final = 30.0  # a browser that takes nothing for so long is let go; it comes again when it can
_MAX_SAID_BYTES: Final = 256 * 1024
_WRITE_BYTES: Final = 128 * 1024
_Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]


class _Watch(msgspec.Struct, tag="watch"):
    kinds: Annotated[list[Literal["preview", "edges"]], msgspec.Meta(max_length=2)] = msgspec.field(
        default_factory=lambda: ["preview", "edges"]
    )
    cameras: Annotated[list[_Name], msgspec.Meta(max_length=MAX_CAMERAS)] | None = None


class _Got(msgspec.Struct, tag="got"):
    n: Annotated[int, msgspec.Meta(ge=0, le=MAX_CAMERAS)] = 1


_said = msgspec.json.Decoder(_Watch | _Got)


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """One browser's socket, and the way to end it when it takes nothing: a farewell would wait like what is before."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport | None

    def abort(self) -> None:
        """End it now; what is unsent is lost."""
        if self.transport is not None:
            self.transport.abort()

    async def say_goodbye(self, *, within_s: float) -> None:
        """End it in order, or after some time without."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(within_s):
                await self.socket.close(code=WSCloseCode.GOING_AWAY, message=b"the viewer stops")
        self.abort()


async def live(request: web.Request, state: State, connections: set[Connection]) -> web.StreamResponse:
    """Serve one browser until it or the server goes."""
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, timeout=1.0, compress=False, max_msg_size=_MAX_SAID_BYTES, writer_limit=_WRITE_BYTES
    )
    await socket.prepare(request)
    connection = Connection(socket, request.transport)
    wake = asyncio.Event()
    browser = Browser(wake=wake.set)
    browser.tell("hello", news("hello", state=state.told()))
    connections.add(connection)
    state.hub.join(browser)
    state.metrics.viewer_clients.set(len(state.hub))
    sender = asyncio.create_task(_send(connection, browser, wake, state))
    try:
        await _listen(socket, browser, state)
    finally:
        sender.cancel()
        state.hub.leave(browser)
        connections.discard(connection)
        state.metrics.viewer_clients.set(len(state.hub))
        with contextlib.suppress(asyncio.CancelledError):
            await sender
        if socket.close_code in (None, WSCloseCode.ABNORMAL_CLOSURE):
            connection.abort()  # what it never took would keep the socket open
    return socket


async def _listen(socket: web.WebSocketResponse, browser: Browser, state: State) -> None:
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text alone is read here")
            return
        try:
            said = _said.decode(message.data)
        except (msgspec.DecodeError, RecursionError) as error:
            word = re.sub(r"[^ -~]", "?", str(error))[:100].encode()
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=word)
            return
        if isinstance(said, _Got):
            browser.got(said.n)
        else:
            browser.watch(said.cameras, said.kinds)
            state.hub.resend(browser)


async def _send(connection: Connection, browser: Browser, wake: asyncio.Event, state: State) -> None:
    """Send what is there, wait for more, until the connection is gone or takes nothing any more."""
    socket, counted = connection.socket, (0, 0)
    try:
        while not socket.closed:
            wake.clear()
            while (message := browser.next(time.monotonic())) is not None:
                async with asyncio.timeout(SEND_S):
                    await _pass_on(socket, message)
                _count_sent(message, state)
            skipped = (browser.events_skipped, browser.pictures_skipped)
            state.metrics.viewer_events_skipped.inc(skipped[0] - counted[0])
            state.metrics.viewer_pictures_skipped.inc(skipped[1] - counted[1])
            counted = skipped
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(browser.wait_s(time.monotonic())):
                    await wake.wait()
    except (TimeoutError, ConnectionError):
        connection.abort()


async def _pass_on(socket: web.WebSocketResponse, message: Message) -> None:
    if message.kind == "picture":
        await socket.send_bytes(message.data)
    else:
        await socket.send_str(message.data.decode())


def _count_sent(message: Message, state: State) -> None:
    if message.kind == "picture":
        state.metrics.viewer_pictures_sent.inc()
    elif message.kind == "event":
        state.metrics.viewer_event_seconds.observe(max(0.0, time.time() - message.emitted_ms / 1000))
