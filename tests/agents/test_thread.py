"""A connection that the broker has just reset is no connection, on uvloop as well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from streamproc.agents.thread import ConsumerThread, use_no_broken_connection

HOST = "127.0.0.1"
TURNS = 2000


async def _just_reset(use: Callable[[AIOKafkaConnection], Awaitable[None]]) -> None:
    """Call `use` with a connection that was reset, in the moment before its reader has noticed."""
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: accepted.append(writer), HOST, 0)
    port = server.sockets[0].getsockname()[1]
    connection: Any = AIOKafkaConnection(host=HOST, port=port)
    connection._do_version_lookup = lambda: asyncio.sleep(0)
    await connection.connect()
    connection._versions = {3: (0, 9)}  # of metadata requests
    while not accepted:
        await asyncio.sleep(0)
    accepted[0].write(b"\0")  # unread when the connection is closed: that resets it
    connection._writer.write(b"x")
    accepted[0].transport.abort()
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if connection._writer is None or connection._writer.transport.is_closing():
            break
    assert connection._writer is not None
    assert connection.connected()
    await use(connection)
    connection.close()
    with suppress(OSError):
        await connection._closed_fut
    server.close()
    await server.wait_closed()


def test_aiokafka_still_answers_a_connection_that_was_reset_with_an_error_that_nobody_expects() -> None:
    async def send(connection: AIOKafkaConnection) -> None:
        with pytest.raises(RuntimeError, match="closed"):
            await connection.send(MetadataRequest([]))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_just_reset(send))


def test_a_connection_that_was_reset_is_closed_and_none_is_given() -> None:
    async def ask(connection: AIOKafkaConnection) -> None:
        async def get(_node: int, *, group: int = 0) -> AIOKafkaConnection:
            assert group == 1
            return connection

        client = SimpleNamespace(_get_conn=get)
        use_no_broken_connection(client)
        assert await client._get_conn(1, group=1) is None
        assert not connection.connected()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_just_reset(ask))


def test_a_sound_connection_is_given_as_it_is() -> None:
    async def main() -> None:
        sound = SimpleNamespace(_writer=SimpleNamespace(transport=SimpleNamespace(is_closing=lambda: False)))
        for found in (sound, None):
            client = SimpleNamespace(_get_conn=lambda _node, found=found: asyncio.sleep(0, found))
            use_no_broken_connection(client)
            assert await client._get_conn(1) is found

    asyncio.run(main())


def test_the_consumer_of_a_worker_takes_none_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("streamproc.agents.thread.use_no_broken_connection", asked.append)
    consumer = SimpleNamespace(_client=object())
    monkeypatch.setattr(ConsumerThread.__base__, "_create_worker_consumer", lambda *_a: consumer)
    thread = object.__new__(ConsumerThread)
    assert thread._create_worker_consumer(None) is consumer
    assert asked == [consumer._client]
