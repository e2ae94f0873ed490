"""A camera over HTTP in the test's own process, with every way of behaving badly that cameras have."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from producers.sources.synthetic import synthetic_frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

BOUNDARY = "frame-boundary"
USER, PASSWORD, REALM, NONCE = "anna", "ge:he@im/1", "cam", "abc123"


def jpeg(number: int, *, width: int = 128, height: int = 128) -> bytes:
    """A marked frame as JPEG."""
    done, data = cv2.imencode(".jpg", synthetic_frame(number, width=width, height=height))
    assert done
    return data.tobytes()


def claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(jpeg(0))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


class MjpegCamera:
    """Serves one behaviour; `behaviour` may be changed while it runs. Frames are numbered from 0 for each client.

    Behaviours: ok, chunked, unlengthed, quirky, stall, half-open, drip, short, resize, hostile, broken,
    garbage, endless-head, endless-part, redirect, missing, html, basic, digest, digest-sha256, picture, closing.
    """

    def __init__(self, behaviour: str = "ok", *, fps: float = 25, frames: int = 10_000, port: int = 0) -> None:
        self.behaviour = behaviour
        self.fps = fps
        self.frames = frames
        self.requests: list[bytes] = []
        self._stopping = threading.Event()
        self._clients: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Without a login."""
        return f"http://127.0.0.1:{self.port}/video.mjpg"

    def kill(self) -> None:
        """As if its power was cut, except that the kernel says goodbye."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, ValueError):
            self._answer(client, self.behaviour)
            if self.behaviour not in {"half-open", "stall", "drip"}:
                client.close()

    def _answer(self, client: socket.socket, behaviour: str) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            data = client.recv(4096)
            if not data:
                return
            asked += data
        self.requests.append(asked)
        if behaviour in {"half-open", "closing"}:
            return
        fixed = FIXED.get(behaviour)
        if fixed is not None:
            client.sendall(fixed)
            return
        if behaviour in CHALLENGES and not _proves(asked, behaviour):
            head = f"HTTP/1.1 401 No\r\nWWW-Authenticate: {CHALLENGES[behaviour]}\r\nContent-Length: 0\r\n\r\n"
            client.sendall(head.encode())
            return
        self._stream(client, behaviour)

    def _stream(self, client: socket.socket, behaviour: str) -> None:
        boundary = f'"--{BOUNDARY}"' if behaviour == "quirky" else BOUNDARY
        coding = "Transfer-Encoding: chunked\r\n" if behaviour == "chunked" else ""
        kind = f"Content-Type: multipart/x-mixed-replace; boundary={boundary}\r\n"
        client.sendall(f"HTTP/1.1 200 OK\r\n{coding}{kind}\r\n".encode())
        if behaviour == "endless-part":
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
            client.sendall(head + b"\xff\xd8\xff\xda\x00\x02" + bytes(20_000_000))
            return
        for number in range(self.frames):
            if self._stopping.is_set():
                return
            data = self._part(number, behaviour)
            if behaviour == "chunked":
                half = len(data) // 2
                for piece in (data[:half], data[half:]):
                    client.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
            elif behaviour == "drip" and number == 3:
                self._drip(client, data)
                return
            else:
                client.sendall(data)
            if behaviour == "stall" and number == 3:
                return
            self._stopping.wait(1 / self.fps)
        if behaviour != "short":
            client.sendall(f"--{BOUNDARY}--\r\n".encode())

    def _drip(self, client: socket.socket, data: bytes) -> None:
        for byte in data:
            client.sendall(bytes([byte]))
            if self._stopping.wait(0.1):
                return

    def _part(self, number: int, behaviour: str) -> bytes:
        size = 256 if behaviour == "resize" and number >= 5 else 128
        data = claiming(60_000, 60_000) if behaviour == "hostile" else jpeg(number, width=size)
        if behaviour == "broken" or (behaviour == "ok" and number == 2):
            data = data[:200]  # a single broken picture is passed over
        length = "" if behaviour == "unlengthed" else f"Content-Length: {len(data)}\r\n"
        end = "\n" if behaviour == "quirky" else "\r\n"
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{length}\r\n".replace("\r\n", end)
        return head.encode() + data + end.encode()


FIXED = {
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(1000),
    "endless-head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://anna:geheim@127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "missing": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html></html>",
    "picture": b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg(0),
}
CHALLENGES = {
    "basic": f'Basic realm="{REALM}"',
    "digest": f'Digest realm="{REALM}", nonce="{NONCE}", qop="auth", opaque="o", Basic realm="{REALM}"',
    "digest-sha256": f'Digest realm="{REALM}", nonce="{NONCE}", algorithm=SHA-256',
}


def _proves(asked: bytes, behaviour: str) -> bool:
    """Does the request hold the login that was asked for? Computed from the RFCs, apart from the code under test."""
    found = re.search(rb"\r\nAuthorization: ([^\r]*)\r\n", asked)
    if found is None:
        return False
    text = found[1].decode()
    if behaviour == "basic":
        return text == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    given = {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', text)}
    hashed = hashlib.sha256 if behaviour == "digest-sha256" else hashlib.md5
    first = hashed(f"{USER}:{REALM}:{PASSWORD}".encode()).hexdigest()
    second = hashed(f"GET:{given['uri']}".encode()).hexdigest()
    middle = f"{NONCE}:{given['nc']}:{given['cnonce']}:auth" if behaviour == "digest" else NONCE
    right = hashed(f"{first}:{middle}:{second}".encode()).hexdigest()
    return text.startswith("Digest ") and given["nonce"] == NONCE and given["response"] == right


def number_of(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    """Which frame of `MjpegCamera` this is."""
    from producers.sources import read_marks

    (number,) = read_marks(pixels).frames
    return number


@contextmanager
def silent_port() -> Iterator[int]:
    """A port whose connections are never accepted: its backlog is full, so that one more gets no answer at all."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filling = sockets.enter_context(socket.socket())
            filling.settimeout(0)
            filling.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
