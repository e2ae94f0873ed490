"""The parent's side: one child decoder, started when needed and replaced when it dies."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self

import numpy as np

from streamproc.decoding.protocol import ANSWER, CODECS, DONE, READY, REASONS, REQUEST, pixels_at
from streamproc.errors import BadMessage, DecoderError
from streamproc.model import CHANNELS, Codec, PixelFormat, Pixels
from streamproc.operators.pixels import decode, promised_shape
from streamproc.settings import child_environment

COMMAND = (sys.executable, "-P", "-m", "streamproc.decoding.child")
START_S = 60.0
ATTEMPTS = 2  # a child may also die of what is not the picture's fault
_FIRST_BYTES = 4 * 2**20

Ending = Literal["crash", "timeout"]

log = logging.getLogger(__name__)


class Decoder:
    """Decodes pictures in a child process. For one thread.

    Use as a context manager, or call `close`.

    Args:
        timeout_s: A picture that takes longer is given up and the child ended.
        ended: Told when a child was lost, and how.
        command: What runs as the child; tests give one that breaks.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        max_pixels: int,
        ended: Callable[[Ending], None] = lambda _: None,
        command: Sequence[str] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_pixels = max_pixels
        self._ended = ended
        self._command = COMMAND if command is None else command
        self._file = os.memfd_create("streamproc-pixels")
        self._shared = self._grown(_FIRST_BYTES)
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the child; None while there is none. For any thread."""
        child = self._child
        return None if child is None else child.pid

    def close(self) -> None:
        """End the child."""
        self._end_child()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def decode(self, payload: bytes, *, codec: Codec, pixel_format: PixelFormat, width: int, height: int) -> Pixels:
        """Do as `operators.pixels.decode`, without ever dying of it.

        Returns:
            Pixels that stand until the next call.

        Raises:
            BadMessage: As `operators.pixels.decode`; also "decode" if the child died of the picture twice or took
                too long.
            DecoderError: No child can be started.
        """
        if codec == "raw":
            return decode(payload, codec=codec, pixel_format=pixel_format, width=width, height=height)
        shape = promised_shape(payload, codec=codec, pixel_format=pixel_format, width=width, height=height)
        start, size = pixels_at(len(payload)), int(np.prod(shape))
        if start + size > len(self._shared):
            self._shared = self._grown(start + size)
        self._shared[: len(payload)] = payload
        request = REQUEST.pack(
            len(self._shared), len(payload), height, width, CHANNELS[pixel_format], CODECS.index(codec)
        )
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._ask(request)
            except TimeoutError:
                self._lose("timeout")
                raise BadMessage("decode", f"{codec}: not decoded within {self._timeout_s:g} s") from None
            except (EOFError, OSError):
                died = self._lose("crash")
                if attempt == ATTEMPTS:
                    raise BadMessage("decode", f"{codec}: the decoder died of it, {ATTEMPTS} times ({died})") from None
            else:
                break
        return np.frombuffer(self._shared, np.uint8, size, start).reshape(shape)

    def _ask(self, request: bytes) -> None:
        """Have the child decode what lies in the shared memory.

        Raises:
            BadMessage: The picture is broken.
            TimeoutError: The child takes too long.
            EOFError, OSError: It is gone.
        """
        connection = self._connection or self._start()
        connection.sendall(request)
        reason, length = ANSWER.unpack(_receive(connection, ANSWER.size))
        if reason != DONE:
            raise BadMessage(REASONS[reason - 1], _receive(connection, length).decode(errors="replace"))

    def _start(self) -> socket.socket:
        """Start a child and wait until it is ready.

        Raises:
            DecoderError: It does not become ready; that is no picture's fault.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [*self._command, str(theirs.fileno()), str(self._file)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._file),
                env=child_environment(
                    {"OPENCV_IO_MAX_IMAGE_PIXELS": str(self._max_pixels)}
                ),  # read when cv2 is imported
                start_new_session=True,
            )
        self._connection = ours
        ours.settimeout(START_S)
        try:
            ready = ours.recv(len(READY))
        except OSError:
            ready = b""
        if ready != READY:
            died = self._end_child()
            raise DecoderError(f"the decoder process does not start ({died}): run {' '.join(self._command)} by hand")
        ours.settimeout(self._timeout_s)
        return ours

    def _lose(self, how: Ending) -> str:
        died = self._end_child()
        log.warning("a decoder process was lost (%s, %s)", how, died, extra={"ending": how, "ended": died})
        self._ended(how)
        return died

    def _end_child(self) -> str:
        """Make sure the child is gone; says how it ended."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        child, self._child = self._child, None
        if child is None:
            return "not running"
        try:
            code = child.wait(timeout=0.2)  # it ends when its socket does, or has died already
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait(timeout=10)
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def _grown(self, size: int) -> mmap.mmap:
        """The shared memory, large enough; views of the old mapping stay good."""
        os.ftruncate(self._file, size)
        return mmap.mmap(self._file, size)


def _receive(connection: socket.socket, size: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: The other side is gone.
    """
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise EOFError
        received += part
    return received
