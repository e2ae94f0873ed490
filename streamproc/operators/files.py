"""Files that a pipeline names: models, templates. What is in them decides results, so it is part of the digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamproc.errors import PipelineError

MAX_FILES: Final = 1000
MAX_BYTES: Final = 2**31
_CHUNK: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file, or a folder of files, and the SHA-256 of what is in it.

    Attributes:
        digest: Hex. Of a folder: over the names and contents of its files, which are looked at one level deep.
    """

    path: Path
    digest: str


def named_file(folder: Path, name: str, where: str) -> NamedFile:
    """Find a file or folder that a parameter names.

    Args:
        folder: Where relative names begin.
        name: As it was written.
        where: For messages: file, step, parameter.

    Raises:
        PipelineError: It is not there, cannot be read, or is too large.
    """
    path = (folder / name).resolve()
    try:
        files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
        if len(files) > MAX_FILES or sum(one.stat().st_size for one in files) > MAX_BYTES:
            raise PipelineError(f"{where}: {path} holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
        if path.is_file():
            return NamedFile(path=path, digest=_digest(path))
        told = "".join(f"{one.name}\0{_digest(one)}\n" for one in files)
    except OSError as error:
        raise PipelineError(f"{where}: {path} cannot be read: {error.strerror}") from error
    return NamedFile(path=path, digest=hashlib.sha256(told.encode()).hexdigest())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
