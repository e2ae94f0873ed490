"""Live connections on real sockets: browsers that read nothing, acknowledge nothing, talk nonsense or go away."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from typing import Any

import aiohttp
import psutil
import pytest

from streamproc.view import live as live_module
from tests.view.material import frame_record, frame_shown, picture, picture_record
from tests.view.serving import Serving, asking, run, until

SIZE = 40_000


async def told(socket_: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next message of a kind; others are passed over."""
    while True:
        message = await socket_.receive(timeout=10)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.TEXT and (found := json.loads(message.data))["type"] == kind:
            return dict(found)


async def shown(socket_: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """What the next picture says of itself; it is acknowledged."""
    while True:
        message = await socket_.receive(timeout=10)
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket_.send_json({"type": "got", "n": 1})
            return dict(json.loads(message.data[4 : 4 + int.from_bytes(message.data[:4], "big")]))


def test_a_browser_is_told_the_state_then_events_and_pictures() -> None:
    async def test() -> None:
        async with asking() as (served, client):
            served.state.event(frame_shown(1), frame_record(1))
            served.state.picture(picture(1), picture_record(1))
            async with client.ws_connect("/api/live") as one:
                assert (await told(one, "hello"))["state"]["cameras"][0]["name"] == "gate"
                assert (await shown(one))["sequence"] == 1
                served.state.event(frame_shown(2, outcome="partial"), frame_record(2))
                assert (await told(one, "event"))["event"]["sequence"] == 2
                served.state.picture(picture(2), picture_record(2))
                assert (await shown(one))["sequence"] == 2
                served.state.tick(1)
                assert (await told(one, "broker"))["ok"] is True
                assert (await told(one, "cameras"))["cameras"][0]["outcomes"] == {"complete": 1, "partial": 1}
                assert served.count("viewer_clients") == 1
            await until(lambda: served.count("viewer_clients") == 0, "the browser is gone")
            assert served.count("viewer_pictures_sent_total") == 2
            assert served.count("viewer_event_seconds_count") == 1

    run(test)


def test_a_plain_event_that_had_to_wait_is_sent_without_another_one() -> None:
    async def test() -> None:
        async with asking() as (served, client), client.ws_connect("/api/live") as one:
            await told(one, "hello")
            last = 0
            for sequence in range(8):  # a burst, then silence
                served.state.event(frame_shown(sequence), frame_record(sequence))
                await asyncio.sleep(0)
            while last < 7:
                last = (await told(one, "event"))["event"]["sequence"]

    run(test)


async def stuck_browser(served: Serving) -> socket.socket:
    """It asks for the live connection and never reads a byte of it."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = served.url.removeprefix("http://").split(":")
    one.connect((host, int(port)))
    key = base64.b64encode(os.urandom(16)).decode()
    words = ("GET /api/live HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")  # fmt: skip
    one.sendall(("\r\n".join(words) + "\r\n\r\n").encode())
    return one


def test_browsers_that_read_or_acknowledge_nothing_cost_bounded_memory_and_harm_nobody() -> None:
    async def test() -> None:
        async with asking() as (served, client):
            stuck = [await stuck_browser(served) for _ in range(3)]
            async with client.ws_connect("/api/live") as silent, client.ws_connect("/api/live") as good:
                await until(lambda: served.count("viewer_clients") == 5, "all are there")
                process, before, got, longest_s = psutil.Process(), 0, 0, 0.0
                for sequence in range(2000):
                    record = picture_record(sequence, camera=f"c{sequence % 4}", size=SIZE)
                    started_s = time.monotonic()
                    served.state.picture(picture(sequence, camera=f"c{sequence % 4}", size=SIZE), record)
                    served.state.event(frame_shown(sequence, outcome="partial"), frame_record(sequence))
                    if sequence % 10 == 0:
                        assert (await shown(good))["sequence"] <= sequence
                        got += 1
                        longest_s = max(longest_s, time.monotonic() - started_s)
                    if sequence == 300:
                        before = process.memory_info().rss
                assert got == 200
                assert longest_s < 1.0
                grown = process.memory_info().rss - before  # 80 MB of pictures went by for each
                assert grown < 30 * 2**20, grown
                assert served.state.hub.waiting_bytes < 20 * 2**20
                await until(lambda: served.count("viewer_pictures_skipped_total") > 1000, "skipped are counted")
                assert silent.closed is False
            for one in stuck:
                one.close()

    run(test)


def test_a_browser_that_takes_nothing_for_too_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "SEND_S", 0.1)

    async def test() -> None:
        async with asking() as (served, _):
            stuck = await stuck_browser(served)
            await until(lambda: served.count("viewer_clients") == 1, "it is there")
            for sequence in range(8):
                one = picture(sequence, camera=f"c{sequence}", size=2**20)
                served.state.picture(one, picture_record(sequence))
            await until(lambda: served.count("viewer_clients") == 0, "it is let go")
            stuck.close()

    run(test)


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "hello",
        "{}",
        '{"type":"delete"}',
        '{"type":"got","n":-1}',
        '{"type":"got","n":1e99}',
        '{"type":"watch","cameras":"all"}',
        '{"type":"watch","cameras":["<b>"]}',
        '{"type":"watch","kinds":["x"]}',
        '{"type":"watch","cameras":[' + ",".join(['"a"'] * 1001) + "]}",
        '{"a":' * 10_000,
        b"\x00\x01",
    ],
)
def test_nonsense_ends_that_connection_alone(nonsense: str | bytes) -> None:
    async def test() -> None:
        async with (
            asking() as (served, client),
            client.ws_connect("/api/live") as one,
            client.ws_connect("/api/live") as other,
        ):
            await told(one, "hello")
            if isinstance(nonsense, bytes):
                await one.send_bytes(nonsense)
            else:
                await one.send_str(nonsense)
            assert (await one.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            assert one.close_code in {1003, 1008}
            await until(lambda: served.count("viewer_clients") == 1, "it is gone")
            served.state.picture(picture(1), picture_record(1))
            assert (await shown(other))["sequence"] == 1

    run(test)


def test_a_browser_that_goes_in_the_middle_of_anything_leaves_nothing() -> None:
    async def test() -> None:
        async with asking() as (served, _):
            for number in range(10):
                stuck = await stuck_browser(served)
                await until(lambda: served.count("viewer_clients") == 1, "it is there")
                served.state.picture(picture(number, size=2**20), picture_record(number))
                await asyncio.sleep(0.001 * number)
                stuck.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset, no farewell
                stuck.close()
                served.state.event(frame_shown(number, outcome="partial"), frame_record(number))
                await until(lambda: served.count("viewer_clients") == 0, "it is gone")

    run(test)


def test_watching_others_brings_their_newest_pictures_at_once() -> None:
    async def test() -> None:
        async with asking() as (served, client):
            for camera in ("a", "b"):
                served.state.picture(picture(1, camera=camera), picture_record(1, camera=camera))
            async with client.ws_connect("/api/live") as one:
                await one.send_json({"type": "watch", "cameras": [], "kinds": ["preview", "edges"]})
                await one.send_json({"type": "watch", "cameras": ["b"], "kinds": ["preview"]})
                found = {(await shown(one))["camera"] for _ in range(1)}
                while "b" not in found:
                    found.add((await shown(one))["camera"])

    run(test)


def test_there_are_so_many_browsers_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.view.server.MAX_BROWSERS", 2)

    async def test() -> None:
        async with asking() as (_, client), client.ws_connect("/api/live"), client.ws_connect("/api/live"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await client.ws_connect("/api/live")

    run(test)


def test_the_end_comes_quickly_with_browsers_that_do_not_listen() -> None:
    async def test() -> None:
        async with asking() as (served, client):
            stuck = await stuck_browser(served)
            one = await client.ws_connect("/api/live")
            await told(one, "hello")
            await until(lambda: served.count("viewer_clients") == 2, "both are there")
            for sequence in range(8):
                served.state.picture(picture(sequence, camera=f"c{sequence}", size=2**20), picture_record(sequence))
            await asyncio.sleep(0.05)
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 1.9
        stuck.close()

    run(test)
