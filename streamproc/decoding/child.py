"""The child: decodes one picture after another until its parent is gone. Run by `decoder.py`."""

from __future__ import annotations

import mmap
import resource
import socket
import sys

import cv2
import numpy as np

from streamproc.decoding.protocol import ANSWER, CODECS, DONE, READY, REASONS, REQUEST, pixels_at, shape_of
from streamproc.errors import BadMessage
from streamproc.memory import keep_freed_memory
from streamproc.operators.pixels import decode_picture

ADDRESS_SPACE_BYTES = 4 * 2**30
_DETAIL_BYTES = 500


def main() -> None:
    """Serve the socket and the memory whose descriptors are the two arguments."""
    connection, memory = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    cv2.setNumThreads(1)
    keep_freed_memory()
    connection.sendall(READY)
    shared: mmap.mmap | None = None
    while request := _receive(connection, REQUEST.size):
        size, length, rows, columns, channels, codec = REQUEST.unpack(request)
        if shared is None or len(shared) != size:
            shared = mmap.mmap(memory, size)
        try:
            shape = shape_of(rows, columns, channels)
            pixels = decode_picture(memoryview(shared)[:length], CODECS[codec], shape)
            target = np.frombuffer(shared, np.uint8, pixels.size, pixels_at(length))
            target.reshape(shape)[...] = pixels
            connection.sendall(ANSWER.pack(DONE, 0))
        except BadMessage as error:
            detail = error.detail.encode()[:_DETAIL_BYTES]
            connection.sendall(ANSWER.pack(1 + REASONS.index(error.reason), len(detail)) + detail)


def _receive(connection: socket.socket, size: int) -> bytes:
    """So many bytes; none when the parent is gone."""
    return connection.recv(size, socket.MSG_WAITALL)


if __name__ == "__main__":
    main()
