from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from streamproc.broker.ports import HOST, PortInUseError, accepts, choose_ports, is_free, require_free
from streamproc.errors import UsageError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_port_somebody_listens_at_is_not_free(taken: int) -> None:
    assert not is_free(taken)
    assert accepts(taken)


def test_a_port_is_free_again_after_its_server_has_gone() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        # A connection that the server ends first stays in TIME_WAIT at the server's port.
        with socket.create_connection((HOST, port)) as client:
            server.accept()[0].close()
            client.recv(1)
    assert is_free(port)
    assert not accepts(port)


def test_a_taken_first_port_is_refused_with_what_to_do(taken: int) -> None:
    with pytest.raises(PortInUseError, match=rf"port {taken} is in use .* --port .* STREAMPROC_BOOTSTRAP"):
        choose_ports(taken, 2)
    with pytest.raises(PortInUseError):
        require_free(taken)


def test_the_others_are_the_next_free_ones(taken: int) -> None:
    first = next(port for port in range(taken - 1, 1024, -1) if is_free(port))
    chosen = choose_ports(first, 4)
    assert chosen[0] == first
    assert taken not in chosen
    assert chosen == sorted(set(chosen))


def test_zero_takes_any_free_ports_all_different() -> None:
    chosen = choose_ports(0, 6)
    assert len(set(chosen)) == 6
    assert all(is_free(port) for port in chosen)


def test_ports_of_the_last_time_are_taken_again_where_they_are_free(taken: int) -> None:
    first, other = choose_ports(0, 2)
    chosen = choose_ports(first, 3, preferred=[first, taken, other])
    assert chosen[0] == first
    assert chosen[2] == other
    assert chosen[1] not in (first, taken, other)


def test_a_port_out_of_range_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="70000"):
        choose_ports(70000, 1)
