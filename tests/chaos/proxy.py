"""A small TCP proxy between clients and a broker that can be told to behave like a bad network.

It runs on a thread of its own and may be told from any other. Modes hold for connections that stand and for new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

HOST = "127.0.0.1"
CHUNK_BYTES = 16_384
_IN_FLIGHT_CHUNKS = 64
_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How the network behaves.

    Attributes:
        kind: `pass`; `half-open`: accept and swallow everything; `drop`: refuse, and cut what stands.
        delay_s: One way.
        bits_per_s: Of all connections together, each way; 0 is no limit.
        cut_after_bytes: A connection is cut after so many bytes, both ways together; 0 is never.
    """

    kind: Literal["pass", "half-open", "drop"] = "pass"
    delay_s: float = 0.0
    bits_per_s: float = 0.0
    cut_after_bytes: int = 0


GOOD = Link()


class Proxy:
    """Listens on a port of its own and passes bytes to `target_port`; a context manager.

    Attributes:
        port: Where clients connect.
        connections: Accepted so far.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.connections = 0
        self._target = target_port
        self._link = GOOD
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._free_at_s = [0.0, 0.0]
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.set(GOOD)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_ANSWER_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        self._loop.close()

    def set(self, link: Link) -> None:
        """Behave so from now on. Leaving `half-open` cuts the connections that lost bytes."""
        asyncio.run_coroutine_threadsafe(self._apply(link), self._loop).result(_ANSWER_S)

    async def _apply(self, link: Link) -> None:
        cut = link.kind == "drop" or self._link.kind == "half-open"
        self._link = link
        if cut:
            self._cut_all()
        if link.kind == "drop" and self._server is not None:
            self._server.close()
            self._server = None
        elif link.kind != "drop" and self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._cut_all()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            back, onward = await asyncio.open_connection(HOST, self._target)
            self._writers.add(onward)
            passed = [0]
            ways = [(reader, onward, 0), (back, writer, 1)]
            tasks = [asyncio.ensure_future(self._pump(*way, passed)) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass  # the broker is not there: the client sees its connection end
        finally:
            for one in (writer, onward):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: int, passed: list[int]
    ) -> None:
        """Pass one direction on; reading runs ahead of writing, so that a delay does not limit the rate."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT_CHUNKS)
        sender = asyncio.ensure_future(self._send(line, writer))
        try:
            while not sender.done() and (chunk := await reader.read(CHUNK_BYTES)):
                passed[0] += len(chunk)
                link = self._link
                if link.kind == "half-open":
                    continue
                await line.put((self._due(len(chunk), way, link), chunk))
                if 0 < link.cut_after_bytes <= passed[0]:
                    return
            await asyncio.wait_for(line.join(), _ANSWER_S)
        except (OSError, TimeoutError):
            return
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    def _due(self, size: int, way: int, link: Link) -> float:
        now_s = self._loop.time()
        if link.bits_per_s:
            self._free_at_s[way] = max(now_s, self._free_at_s[way]) + 8 * size / link.bits_per_s
            return self._free_at_s[way] + link.delay_s
        return now_s + link.delay_s

    async def _send(self, line: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due_s, chunk = await line.get()
                if (wait_s := due_s - self._loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                writer.write(chunk)
                await writer.drain()
                line.task_done()
