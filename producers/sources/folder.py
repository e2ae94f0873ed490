"""A folder or a list of picture files: one frame each, in natural order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers.sources.picture import PICTURE_SUFFIXES, read_picture
from producers.sources.source import Notices, Source, natural_key
from streamproc.errors import SourceError
from streamproc.model import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class FolderSource(Source):
    """Pictures as frames, one after the other; they may differ in size.

    Attributes:
        files: In the order they are read.
    """

    def __init__(self, files: Sequence[Path], *, name: str, max_pixels: int, notices: Notices) -> None:
        self.files = tuple(files)
        self.name = name
        self.length = len(self.files)
        self._max_pixels = max_pixels
        self._notices = notices

    def __iter__(self) -> Iterator[Frame]:
        for file in self.files:
            pixels = read_picture(file, max_pixels=self._max_pixels, notices=self._notices)
            yield Frame(pixels=pixels, captured_ns=time.time_ns())

    def describe(self) -> str:
        """One line for a person."""
        return f"{len(self.files)} pictures of {self.name}, {self.files[0].name} first"


def pictures_among(files: Sequence[Path], *, where: str, notices: Notices) -> list[Path]:
    """Keep the picture files, in natural order; sub-folders are not entered.

    Args:
        files: Anything found at `where`.
        where: Named in messages.
        notices: Told how many files are left out.

    Raises:
        SourceError: There is no picture.
    """
    kept = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES and not file.is_dir()]
    others = sum(1 for file in files if file.is_file()) - sum(1 for file in kept if file.is_file())
    if not kept:
        known = ", ".join(sorted(PICTURE_SUFFIXES))
        found = f"{others} other files" if others else "nothing"
        raise SourceError(f"{where} has no pictures ({found} there; sub-folders are not searched): expected {known}")
    if others:
        notices.tell("left out", f"{where}: {others} files that are no pictures are left out")
    return sorted(kept, key=lambda file: natural_key(str(file)))
