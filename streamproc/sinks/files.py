"""Files that last: written beside their place, synced, and moved there; locked against a second writer."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from streamproc.errors import SinkError, SinkUnavailable

SCHEMA = 1
_LASTING: Final = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sink of files has come; stands beside them.

    Attributes:
        schema: Of this file.
        name: Of the sink it belongs to.
        topic: Whose offsets these are.
        positions: Next offset by partition.
        bytes: Length of the file of lines that these positions belong to; 0 elsewhere.
    """

    schema: int = SCHEMA
    name: str
    topic: str
    positions: dict[int, int]
    bytes: int = 0


_read = msgspec.json.Decoder(Position)


def read_position(file: Path, *, name: str, topic: str) -> Position | None:
    """What a file of positions says; None if there is none.

    Raises:
        SinkError: It cannot be understood, or belongs to another sink.
    """
    try:
        found = _read.decode(file.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SinkError(f"{file} cannot be understood ({error}): move it and its events away to begin anew") from None
    if found.schema > SCHEMA:
        raise SinkError(f"{file} has schema {found.schema}, this streamproc knows {SCHEMA}: use a newer one")
    if (found.name, found.topic) != (name, topic):
        raise SinkError(
            f"{file} belongs to sink {found.name} of topic {found.topic}, not to {name} of {topic}:"
            f" use another target, or --name {found.name}"
        )
    return found


def write_position(file: Path, position: Position) -> None:
    """Replace a file of positions in one step that lasts."""
    beside = file.with_name(f".{file.name}.part")
    with beside.open("wb") as out:
        out.write(msgspec.json.encode(position))
        out.flush()
        os.fsync(out.fileno())
    move(beside, file)


def move(beside: Path, file: Path) -> None:
    """Give a synced file its name, so that it lasts."""
    beside.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int, shown: str) -> None:
    """Hold an open file against other sinks until it is closed; the kernel frees it when the process ends.

    Raises:
        SinkError: Another process holds it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SinkError(f"{shown} is written by another process: stop it, or use another target") from None


def disk_error(shown: str, error: OSError) -> SinkError:
    """An error of a disk in one line: `SinkUnavailable` if it may pass, as a full disk is emptied or a mount returns.

    What lies in the path or in its rights does not pass: a folder where a file should be or the other way round, no
    right to write, a name that is too long.
    """
    why = f"{shown} cannot be written: {error.strerror or error}"
    if error.errno in _LASTING:
        return SinkError(f"{why}: correct that, or use another target")
    return SinkUnavailable(why)


def missing_library(error: ImportError, doing: str) -> SinkError:
    """One line for a library that is not installed."""
    name: Any = error.name or "a library"
    return SinkError(f"{doing} needs {name}: pip install 'streamproc[sinks]'")
