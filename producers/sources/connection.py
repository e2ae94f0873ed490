"""A TCP or TLS connection whose every step has a deadline and can be stopped from another thread."""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from concurrent.futures import Future, wait
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from streamproc.errors import CameraLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.sources.address import Address
    from streamproc.errors import LostReason

_SLICE_S = 0.25  # how soon a wait sees that it is no longer wanted
_NEXT_ADDRESS_S = 0.25  # RFC 8305, 8: "Connection Attempt Delay"
_MAX_ADDRESSES = 4
_RECEIVE_BYTES = 65_536


class Stopped(Exception):
    """The caller no longer wants it."""


class DeadlinePassed(Exception):
    """It was not done in time."""


class Resolver:
    """Names to addresses; one thread for each name being looked up, because a look-up cannot be interrupted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[list[Any]]] = {}

    def resolve(self, host: str, port: int, *, deadline_s: float, stopped: Callable[[], bool]) -> list[Any]:
        """As `socket.getaddrinfo`, at most 4.

        Raises:
            DeadlinePassed, Stopped: Before there was an answer.
            OSError: There is no such host.
        """
        with self._lock:
            future = self._running.get((host, port))
            if future is None:
                future = self._running[host, port] = Future()
                threading.Thread(target=self._look_up, args=(host, port, future), name="resolve", daemon=True).start()
        while not future.done():
            _check(deadline_s, stopped)
            wait([future], timeout=_SLICE_S)
        return alternating(future.result())[:_MAX_ADDRESSES]

    def _look_up(self, host: str, port: int, future: Future[list[Any]]) -> None:
        found: list[Any] | OSError
        try:
            found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found = OSError(str(error))
        with self._lock:  # before anybody has the answer, so that who asks after that asks anew
            self._running.pop((host, port), None)
        if isinstance(found, OSError):
            future.set_exception(found)
        else:
            future.set_result(found)


_RESOLVER = Resolver()


def alternating(found: list[Any]) -> list[Any]:
    """The same without repetitions, families (of each one the first part) taking turns, else in order (RFC 8305, 4)."""
    families: dict[Any, list[Any]] = {}
    for one in found:
        of_family = families.setdefault(one[0], [])
        if one not in of_family:
            of_family.append(one)
    return [one for turn in zip_longest(*families.values()) for one in turn if one is not None]


class _Race:
    """Connections to all addresses of a host, the first one that stands wins (RFC 8305, 5, "Happy Eyeballs").

    The next address is tried when all before have failed, or have not answered for 0.25 s, and those go on.

    Args:
        places: As `socket.getaddrinfo` gives them.

    Attributes:
        problem: Number of the last failure, 0 for none.
    """

    def __init__(self, places: list[Any]) -> None:
        self._waiting = deque(places)
        self._running: list[socket.socket] = []
        self._next_s = time.monotonic()
        self.problem = 0

    @property
    def lost(self) -> bool:
        """No address is left."""
        return not (self._waiting or self._running)

    def step(self, deadline_s: float) -> socket.socket | None:
        """Begin with an address, or wait a while for those begun with; the connection once there is one."""
        now_s = time.monotonic()
        if self._waiting and (now_s >= self._next_s or not self._running):
            self._next_s = now_s + _NEXT_ADDRESS_S
            return self._begin(*self._waiting.popleft())
        wait_s = min(_SLICE_S, deadline_s - now_s, self._next_s - now_s if self._waiting else _SLICE_S)
        for made in _ready(self._running, max(0.0, wait_s), writing=True):
            self._running.remove(made)
            number = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not number:
                return made
            self._failed(made, number)
        return None

    def close(self) -> None:
        """Let go of all that did not win."""
        for made in self._running:
            made.close()

    def _begin(self, family: int, kind: int, protocol: int, _canonical: str, place: Any) -> socket.socket | None:
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:  # no such family on this machine
            self.problem = error.errno or 0
            return None
        made.setblocking(False)  # noqa: FBT003 - the name says it
        number = made.connect_ex(place)
        if not number:
            return made
        if number in {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}:
            self._running.append(made)
        else:
            self._failed(made, number)
        return None

    def _failed(self, made: socket.socket, number: int) -> None:
        made.close()
        self.problem = number
        self._next_s = time.monotonic()


class Connection:
    """One connection to a camera.

    Args:
        address: Where to.
        name: Of the camera, in messages.
        deadline_s: Of `time.monotonic`, for name, connection and TLS together.
        stopped: Asked at least four times a second.

    Raises:
        CameraLost: `unreachable`, `refused`, or `malformed` where TLS fails.
        DeadlinePassed, Stopped: Before it was there.
    """

    def __init__(self, address: Address, *, name: str, deadline_s: float, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._name = name
        self._socket: socket.socket = self._connect(address, deadline_s)
        if address.scheme == "https":
            try:
                self._socket = self._secured(self._socket, address.host, deadline_s)
            except BaseException:
                self._socket.close()
                raise

    def close(self) -> None:
        """Harmless when repeated."""
        self._socket.close()

    def send(self, data: bytes, *, deadline_s: float) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            sent = self._step(lambda rest=view: self._socket.send(rest), deadline_s, writing=True)  # type: ignore[misc]
            view = view[sent:]

    def receive(self, *, deadline_s: float) -> bytes:
        """What is there, 64 KiB at most; b"" at the end of the stream, or when it was broken off.

        Raises:
            DeadlinePassed, Stopped: Before there was anything.
        """
        try:
            return bytes(self._step(lambda: self._socket.recv(_RECEIVE_BYTES), deadline_s))
        except OSError:
            return b""

    def _step(self, act: Callable[[], Any], deadline_s: float, *, writing: bool = False) -> Any:
        while True:
            _check(deadline_s, self._stopped)
            try:
                return act()
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
                self._await(deadline_s, writing=writing)
            except ssl.SSLWantWriteError:
                self._await(deadline_s, writing=True)

    def _await(self, deadline_s: float, *, writing: bool) -> None:
        _ready([self._socket], min(_SLICE_S, max(0.0, deadline_s - time.monotonic())), writing=writing)

    def _connect(self, address: Address, deadline_s: float) -> socket.socket:
        race = _Race(self._places(address, deadline_s))
        try:
            while not race.lost:
                _check(deadline_s, self._stopped)
                if (made := race.step(deadline_s)) is not None:
                    return made
        finally:
            race.close()
        reason: LostReason = "refused" if race.problem in {errno.ECONNREFUSED, errno.ECONNRESET} else "unreachable"
        words = os.strerror(race.problem) if race.problem else "no address"
        raise CameraLost(reason, f"{self._name} cannot be connected to ({words}): check host and port")

    def _places(self, address: Address, deadline_s: float) -> list[Any]:
        with suppress(ValueError):
            family = socket.AF_INET6 if ipaddress.ip_address(address.host).version == 6 else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 0, "", (address.host, address.port))]
        try:
            return _RESOLVER.resolve(address.host, address.port, deadline_s=deadline_s, stopped=self._stopped)
        except OSError:
            message = f"{self._name}: there is no host {address.host}: check the name and the network"
            raise CameraLost("unreachable", message) from None

    def _secured(self, plain: socket.socket, host: str, deadline_s: float) -> socket.socket:
        context = ssl.create_default_context()
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._socket = secured
        try:
            self._step(secured.do_handshake, deadline_s)
        except ssl.SSLCertVerificationError as error:
            message = f"{self._name} shows a certificate that is not trusted ({error.verify_message})"
            raise CameraLost("unauthorized", f"{message}: name its authority's file in SSL_CERT_FILE") from None
        except OSError:
            raise CameraLost("malformed", f"{self._name} does not speak TLS: try http://") from None
        return secured


def _check(deadline_s: float, stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Stopped
    if time.monotonic() >= deadline_s:
        raise DeadlinePassed


def _ready(waiting: list[socket.socket], timeout_s: float, *, writing: bool) -> list[socket.socket]:
    poll = select.poll()
    for one in waiting:
        poll.register(one, select.POLLOUT if writing else select.POLLIN)
    ready = {handle for handle, _event in poll.poll(timeout_s * 1000)}
    return [one for one in waiting if one.fileno() in ready]
