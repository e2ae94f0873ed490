"""A picture file to pixels, and a single picture as a source."""

from __future__ import annotations

import time
from contextlib import contextmanager
from io import SEEK_END
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np

from producers.sources.headers import BrokenPicture, PictureFacts, read_facts, whole
from producers.sources.source import Notices, Source, require_size
from streamproc.errors import SourceError
from streamproc.model import Frame, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICTURE_SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".pgm",
        ".ppm",
        ".pbm",
        ".pnm",
    }
)
# Grey stays grey, alpha is dropped, 16 bits stay 16, and EXIF orientation is applied as viewers do.
_AS_SEEN = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
_SLACK_BYTES = 64 * 2**20


def read_picture(path: Path, *, max_pixels: int, notices: Notices) -> Pixels:
    """Read one picture as 8-bit grey or BGR, turned upright by its EXIF orientation.

    Args:
        path: PNG, JPEG, WebP, BMP, TIFF (its first page) or PNM.
        max_pixels: Larger pictures are refused by their header.
        notices: Told when alpha or bits are dropped.

    Returns:
        Shape (rows, cols) or (rows, cols, 3), uint8.

    Raises:
        SourceError: Missing, unreadable, cut short, too large, or a pixel type that has no 8-bit reading.
    """
    with _named(path), path.open("rb") as file:
        facts = _facts(path, file, max_pixels=max_pixels)
        data = whole(facts, _read_all(file, most=8 * max_pixels + _SLACK_BYTES))
    return _eight_bits(path, facts, _decode(path, data), notices)


def check_picture(path: Path, *, max_pixels: int) -> None:
    """Refuse by its header what `read_picture` would refuse by its header.

    Raises:
        SourceError: Missing, unreadable, no picture, or too large.
    """
    with _named(path), path.open("rb") as file:
        _facts(path, file, max_pixels=max_pixels)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"picture {path} cannot be read: {error.strerror or error}") from None
    except BrokenPicture as error:
        raise SourceError(f"picture {path} {error}: replace or remove it") from None


def _facts(path: Path, file: BinaryIO, *, max_pixels: int) -> PictureFacts:
    facts = read_facts(file)
    require_size(f"picture {path}", facts.width, facts.height, max_pixels=max_pixels)
    return facts


def _read_all(file: BinaryIO, *, most: int) -> bytes:
    size = file.seek(0, SEEK_END)
    if size > most:
        raise BrokenPicture(f"has {size} bytes, more than a picture of the largest size can need")
    file.seek(0)
    return file.read()


def _decode(path: Path, data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_SEEN)
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error):  # OpenCV's own limit, read from the environment when cv2 is imported
            raise SourceError(f"picture {path} is above OpenCV's limit: raise OPENCV_IO_MAX_IMAGE_PIXELS too") from None
        pixels = None
    if pixels is None:
        raise SourceError(f"picture {path} cannot be decoded: it is damaged or cut short; replace or remove it")
    return np.asarray(pixels)


def _eight_bits(
    path: Path,
    facts: PictureFacts,
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    notices: Notices,
) -> Pixels:
    if pixels.dtype == np.uint16:
        notices.tell("16 bit", f"{path.name} has 16 bits a channel: the upper 8 are used (told once)")
        pixels = pixels.astype(np.uint16) >> 8
    elif pixels.dtype != np.uint8:
        raise SourceError(f"picture {path} has {pixels.dtype} pixels: save it with 8 or 16 bits a channel")
    if facts.alpha:
        notices.tell("alpha", f"{path.name} has transparency: the alpha channel is dropped (told once)")
    if facts.several:
        notices.tell("several", f"{path.name} holds several pictures: the first is used (told once)")
    if facts.gray_alpha and pixels.ndim == 3:
        pixels = pixels[:, :, 0]
    return np.ascontiguousarray(pixels, dtype=np.uint8)


class PictureSource(Source):
    """One picture, one frame."""

    length = 1

    def __init__(self, path: Path, *, max_pixels: int, notices: Notices) -> None:
        self.path = path
        self.name = path.name
        self._max_pixels = max_pixels
        self._notices = notices
        check_picture(path, max_pixels=max_pixels)

    def __iter__(self) -> Iterator[Frame]:
        pixels = read_picture(self.path, max_pixels=self._max_pixels, notices=self._notices)
        yield Frame(pixels=pixels, captured_ns=time.time_ns())

    def describe(self) -> str:
        """One line for a person."""
        return f"picture {self.path}"
