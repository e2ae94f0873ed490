"""Connections whose every step has a deadline."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from producers.sources.address import parse_address
from producers.sources.connection import Connection, DeadlinePassed, Resolver, Stopped, alternating
from streamproc.errors import CameraLost


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[str]]]:
    """Look-ups hang until the event is set; the list holds the names that were looked up."""
    go_on, asked = threading.Event(), []

    def slow(host: str, port: int, **_options: Any) -> list[Any]:
        asked.append(host)
        go_on.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield go_on, asked
    go_on.set()


def test_a_name_that_is_not_found_in_time_is_given_up_and_asked_for_once(
    slow_names: tuple[threading.Event, list[str]],
) -> None:
    go_on, asked = slow_names
    resolver = Resolver()
    for _ in range(3):
        started_s = time.monotonic()
        with pytest.raises(DeadlinePassed):
            resolver.resolve("cam", 80, deadline_s=started_s + 0.2, stopped=lambda: False)
        assert time.monotonic() - started_s < 1
    assert asked == ["cam"]
    go_on.set()
    found = resolver.resolve("cam", 80, deadline_s=time.monotonic() + 5, stopped=lambda: False)
    assert found[0][4] == ("127.0.0.1", 80)


def test_a_look_up_can_be_stopped(slow_names: tuple[threading.Event, list[str]]) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started_s = time.monotonic()
    address = parse_address("http://cam/", variable=lambda _name: None)
    with pytest.raises(Stopped):
        Connection(address, name="cam", deadline_s=started_s + 30, stopped=stop.is_set)
    assert time.monotonic() - started_s < 1.2


def test_a_server_that_takes_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = parse_address(f"http://127.0.0.1:{listener.getsockname()[1]}/", variable=lambda _name: None)
        started_s = time.monotonic()
        connection = Connection(address, name="cam", deadline_s=started_s + 5, stopped=lambda: False)
        with pytest.raises(DeadlinePassed):
            connection.send(bytes(100_000_000), deadline_s=started_s + 0.5)
        with pytest.raises(DeadlinePassed):
            connection.receive(deadline_s=time.monotonic() + 0.3)
        assert time.monotonic() - started_s < 2
        connection.close()
        connection.close()


DEAD = "203.0.113.1", 80


class Silent(socket.socket):
    """A socket that is never answered at `DEAD`: it waits for connections itself, and so is never ready to write."""

    def connect_ex(self, place: Any, /) -> int:
        if place != DEAD:
            return super().connect_ex(place)
        self.bind(("127.0.0.1", 0))
        self.listen()
        return errno.EINPROGRESS


def named(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: found)
    monkeypatch.setattr(socket, "socket", Silent)


def test_a_dead_address_costs_a_quarter_of_a_second_and_not_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        named(monkeypatch, DEAD, listener.getsockname())
        address = parse_address("http://cam/", variable=lambda _name: None)
        started_s = time.monotonic()
        connection = Connection(address, name="cam", deadline_s=started_s + 4, stopped=lambda: False)
        assert 0.2 < time.monotonic() - started_s < 1.2
        connection.close()


def test_an_address_that_refuses_costs_nothing_and_is_told_where_no_other_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refusing = gone.getsockname()
    address = parse_address("http://cam/", variable=lambda _name: None)
    monkeypatch.setattr("producers.sources.connection._NEXT_ADDRESS_S", 20.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        named(monkeypatch, refusing, listener.getsockname())
        started_s = time.monotonic()
        Connection(address, name="cam", deadline_s=started_s + 30, stopped=lambda: False).close()
        assert time.monotonic() - started_s < 5
    named(monkeypatch, refusing, refusing)
    with pytest.raises(CameraLost, match="Connection refused") as caught:
        Connection(address, name="cam", deadline_s=time.monotonic() + 4, stopped=lambda: False)
    assert caught.value.reason == "refused"
    named(monkeypatch, refusing, DEAD)
    with pytest.raises(DeadlinePassed):
        Connection(address, name="cam", deadline_s=time.monotonic() + 0.3, stopped=lambda: False)


def test_families_take_turns_so_that_one_without_a_route_does_not_come_first_four_times() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    found = [(six, 1), (six, 2), (six, 3), (four, 4), (six, 1), (four, 5)]
    assert alternating(found) == [(six, 1), (four, 4), (six, 2), (four, 5), (six, 3)]
    assert alternating([(four, 1), (four, 1)]) == [(four, 1)]
    assert alternating([]) == []
