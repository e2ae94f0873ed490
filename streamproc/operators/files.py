"""Files that a pipeline names: models, templates. What is in them decides results, so it is part of the digest."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from streamproc.errors import PipelineError
from streamproc.model import Pixels

MAX_FILES: Final = 1000
MAX_BYTES: Final = 2**31
PICTURE_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_MODEL_FIELDS: Final = frozenset({*range(1, 9), 14, 20, 25, 26})
"""Numbers of the fields of an ONNX file (onnx.proto, ModelProto); 7 is the network."""
_NETWORK: Final = 7


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
    if "\0" in name:
        raise PipelineError(f"{where}: {name!r} names no file: take out its NUL character")
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError) as error:  # a ring of links, a folder that has gone
        raise PipelineError(f"{where}: {folder / name} cannot be read: {error}") from error
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise PipelineError(f"{where}: {path} is neither a file nor a folder; name one")
        files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
        if len(files) > MAX_FILES or sum(one.stat().st_size for one in files) > MAX_BYTES:
            raise PipelineError(f"{where}: {path} holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
        if path.is_file():
            return NamedFile(path=path, digest=_digest(path))
        told = "".join(f"{one.name}\0{_digest(one)}\n" for one in files)
    except OSError as error:
        raise PipelineError(f"{where}: {path} cannot be read: {error.strerror}") from error
    return NamedFile(path=path, digest=hashlib.sha256(told.encode()).hexdigest())


def read_model(path: Path, most_bytes: int = MAX_BYTES) -> bytes:
    """Read an ONNX file, and refuse what is plainly none before a library tries to run it.

    Raises:
        PipelineError: It cannot be read, is too large, empty, cut short, or no ONNX model at all.
    """
    if path.is_dir():
        raise PipelineError(f"{path}: is a folder; name the ONNX file in it")
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise PipelineError(f"{path}: is larger than {most_bytes} bytes; give a smaller model")
        content = path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}") from error
    fault = _model_fault(content)
    if fault is not None:
        raise PipelineError(f"{path}: {fault}")
    return content


def read_picture(file: Path, *, color: bool) -> Pixels:
    """Read a picture, whole or not at all.

    Returns:
        (rows, cols, 3) BGR, or (rows, cols), uint8.

    Raises:
        PipelineError: It cannot be read, is cut short or damaged, or is no picture.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PipelineError(f"{file}: cannot be read: {error.strerror}") from error
    if not content:
        raise PipelineError(f"{file}: is empty; copy the picture again")
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        decoded = None
    # OpenCV paints grey or black what is missing of a JPEG or PNG file.
    if _broken_png(content) or _broken_jpeg(content):
        raise PipelineError(f"{file}: the picture is cut short or damaged; copy it again")
    if decoded is None:
        raise PipelineError(f"{file}: is no picture that can be read; give one of {', '.join(PICTURE_ENDINGS)}")
    return np.asarray(decoded, np.uint8)


def _model_fault(content: bytes) -> str | None:
    """Say what is wrong with the outermost fields of an ONNX file; None if nothing is."""
    if not content:
        return "is empty; copy or download the model again"
    if content.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the model; fetch it with git lfs pull"
    at = 0
    seen: set[int] = set()
    while at < len(content):
        tag, at = _varint(content, at)
        number, form = tag >> 3, tag & 7
        if number not in _MODEL_FIELDS or form not in (0, 2):
            if seen:
                return "is damaged; copy, download or export the model again"
            break
        size, at = _varint(content, at)
        seen.add(number)
        at += size if form == 2 else 0
    if not seen or (at > len(content) and _NETWORK not in seen):
        return "is no ONNX model; give a file that an export to ONNX wrote"
    if at > len(content):
        return "is cut short; copy or download the model again"
    return None if _NETWORK in seen else "is cut short, or no ONNX model; copy, download or export it again"


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number in protobuf's form and where it ends; beyond the content where it is cut off."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            return value, len(content) + 1
        byte = content[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            break
    return value, at


def _broken_png(content: bytes) -> bool:
    """Whether a chunk of a PNG file is missing or has another checksum than it says."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    at, kind = 8, b""
    while kind != b"IEND":
        size = int.from_bytes(content[at : at + 4], "big")
        kind, end = content[at + 4 : at + 8], at + 8 + size
        if end + 4 > len(content) or zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return True
        at = end + 4
    return False


def _broken_jpeg(content: bytes) -> bool:
    """Whether a JPEG file has no end after its last scan has begun."""
    return content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < max(0, content.rfind(b"\xff\xda"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
