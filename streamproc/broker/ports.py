"""Ports of the loopback address: which are free, which to take."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Container, Sequence

from streamproc.errors import BrokerError, UsageError

HOST = "127.0.0.1"
DEFAULT_PORT = 9092
LAST_PORT = 65535
CONNECT_S = 1.0


class PortInUseError(BrokerError):
    """A port the broker needs is held by another program."""


def accepts(port: int) -> bool:
    """Whether anything accepts connections at this port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=CONNECT_S):
        return True
    return False


def is_free(port: int) -> bool:
    """Whether a server could listen at this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Like Java's server sockets: a connection of yesterday in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise BrokerError(f"this user may not listen at port {port}: choose one above 1023") from None
        except OSError:
            return False
    # macOS lets a second server bind a narrower address of a port that is taken: ask there too.
    return not accepts(port)


def require_free(port: int) -> None:
    """Refuse a port that another program holds.

    Raises:
        PortInUseError: With what to do.
    """
    if not is_free(port):
        raise PortInUseError(
            f"port {port} is in use by another program: stop that program, choose another with --port "
            "(0 takes free ones), or set STREAMPROC_BOOTSTRAP if it is the Kafka you want"
        )


def choose_ports(first: int, count: int, *, preferred: Sequence[int] = ()) -> list[int]:
    """Choose `count` different free ports.

    Args:
        first: The first one, exactly; 0 lets the system choose all of them.
        count: How many.
        preferred: Ports of the last time, the first included: each is taken again if it is free.

    Raises:
        PortInUseError: `first` is taken.
        BrokerError: There are not enough free ports above it.
    """
    if first == 0:
        return _any_ports(count)
    if not 0 < first <= LAST_PORT:
        raise UsageError(f"port {first} is out of range: 0 to {LAST_PORT}")
    require_free(first)
    chosen = [first]
    for index in range(1, count):
        last_time = preferred[index] if index < len(preferred) else 0
        taken = {*chosen, *preferred}
        if last_time and last_time not in chosen and is_free(last_time):
            chosen.append(last_time)
        else:
            chosen.append(_next_free(first, taken))
    return chosen


def _next_free(after: int, taken: Container[int]) -> int:
    for port in range(after + 1, LAST_PORT + 1):
        if port not in taken and is_free(port):
            return port
    raise BrokerError(f"no free port is left above {after}: choose a lower --port")


def _any_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        # All are held until the last is known, so that no two are the same.
        probes = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
