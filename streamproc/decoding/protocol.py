"""What parent and child say to each other: fixed-size requests and answers over a socket, pixels in shared memory.

The memory holds the encoded picture from 0 and the pixels from `pixels_at(length)` on.
"""

from __future__ import annotations

import struct
from typing import Final, get_args

from streamproc.errors import Reason
from streamproc.model import Codec

REQUEST: Final = struct.Struct("<QIIIBB")  # size of the memory, length, rows, columns, channels, codec
ANSWER: Final = struct.Struct("<BH")  # reason, length of the detail that follows
READY: Final = b"r"
DONE: Final = 0
CODECS: Final[tuple[Codec, ...]] = ("jpeg", "png")
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)  # an answer's reason is 1 + its place here
_ALIGNED: Final = 4096


def pixels_at(length: int) -> int:
    """Where the pixels begin behind an encoded picture of so many bytes."""
    return -(-length // _ALIGNED) * _ALIGNED


def shape_of(rows: int, columns: int, channels: int) -> tuple[int, ...]:
    """Of the pixels: (rows, columns) or (rows, columns, 3)."""
    return (rows, columns) if channels == 1 else (rows, columns, channels)
