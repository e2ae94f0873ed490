"""A folder watched for new pictures: what cameras and other programs drop there."""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from producers.sources.live import LiveSource
from producers.sources.picture import PICTURE_SUFFIXES, read_picture
from producers.sources.source import Notices, natural_key
from streamproc.errors import CameraLost, SourceError, UsageError
from streamproc.model import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

After = Literal["keep", "delete", "move"]

POLL_S = 0.25
DONE = "done"  # sub-folder that taken pictures are moved to
_MAX_FILES = 100_000
_OPTIONS = {"": "keep", "after=keep": "keep", "after=delete": "delete", "after=move": "move"}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file changed."""

    mtime_ns: int
    size: int
    inode: int


class Arrivals:
    """Which files are new and no longer being written; no I/O.

    A file counts as written when two listings in a row show it alike. Remembers only files that the last listing
    shows, so its memory is bounded by the folder's.

    Args:
        known: Files that are not new.
    """

    def __init__(self, known: dict[str, Stamp]) -> None:
        self._taken = dict(known)
        self._last: dict[str, Stamp] = {}

    def ready(self, listing: dict[str, Stamp]) -> list[str]:
        """Names of files to take now, oldest first, and by name among equals; each is given once for each content."""
        self._taken = {name: stamp for name, stamp in self._taken.items() if name in listing}
        still = [
            name
            for name, stamp in listing.items()
            if stamp.size and self._last.get(name) == stamp and self._taken.get(name) != stamp
        ]
        self._last = dict(listing)
        still.sort(key=lambda name: (listing[name].mtime_ns, natural_key(name)))
        self._taken.update({name: listing[name] for name in still})
        return still


class WatchedSource(LiveSource):
    """Pictures that appear in a folder, one frame each; they may differ in size. Silence is normal and has no limit.

    Pictures that are there at the start are taken only where they are deleted or moved afterwards. That happens when
    the next frame is asked for. A file that is no picture is left alone; a broken one is named in the log and left.

    Args:
        folder: Sub-folders and hidden files are not looked at.
        after: What becomes of a picture that was read: nothing, deleted, or moved into `done/`.
        notices: Told of what was decided for the user.
    """

    def __init__(self, folder: Path, *, after: After, max_pixels: int, notices: Notices) -> None:
        super().__init__(f"watch:{folder}", max_pixels=max_pixels, open_timeout_s=math.inf, read_timeout_s=math.inf)
        self.folder = folder
        self.after: After = after
        self._notices = notices

    def describe(self) -> str:
        """One line for a person."""
        fate = {"keep": "kept", "delete": "deleted afterwards", "move": f"moved to {DONE}/ afterwards"}[self.after]
        return f"folder {self.folder}, watched for new pictures, {fate}"

    def __iter__(self) -> Iterator[Frame]:
        listing = self._listing()
        arrivals = Arrivals(listing if self.after == "keep" else {})
        while not self._is_stopped():
            for name in arrivals.ready(self._listing()):
                if self._is_stopped():
                    return
                frame = self._frame(self.folder / name)
                if frame is not None:
                    yield frame
                    self._put_away(self.folder / name)
            with self._changed:
                if not self._is_stopped():
                    self._changed.wait(POLL_S)

    def _listing(self) -> dict[str, Stamp]:
        """Pictures in the folder by name.

        Raises:
            CameraLost: The folder is gone, or holds more than 100,000 pictures.
        """
        found: dict[str, Stamp] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    stamp = _stamp_of(entry)
                    if stamp is not None:
                        found[entry.name] = stamp
                    if len(found) > _MAX_FILES:
                        raise CameraLost(
                            "malformed",
                            f"folder {self.folder} holds more than {_MAX_FILES} pictures: remove old ones,"
                            f" or give watch:{self.folder}?after=delete",
                        )
        except OSError as error:
            message = f"folder {self.folder} cannot be read: {error.strerror or error}"
            raise CameraLost("unreachable", message) from None
        return found

    def _frame(self, file: Path) -> Frame | None:
        try:
            pixels = read_picture(file, max_pixels=self._max_pixels, notices=self._notices)
        except SourceError as error:
            log.warning("%s (left out)", error)
            return None
        return Frame(pixels=pixels, captured_ns=time.time_ns())

    def _put_away(self, file: Path) -> None:
        try:
            if self.after == "delete":
                file.unlink(missing_ok=True)
            elif self.after == "move":
                done = file.parent / DONE
                done.mkdir(exist_ok=True)
                file.replace(done / file.name)
        except OSError as error:
            message = f"{file} cannot be put away ({error.strerror or error}): give this user the right to"
            raise CameraLost("refused", message) from None


def parse_watch(spec: str) -> tuple[Path, After]:
    """Read `watch:FOLDER`, with `?after=keep`, `?after=delete` or `?after=move` behind it.

    Raises:
        UsageError: No folder, or another option.
    """
    folder, _, option = spec.removeprefix("watch:").partition("?")
    if not folder or option not in _OPTIONS or "\0" in folder:
        raise UsageError(f"{spec!r} is not watch:FOLDER, watch:FOLDER?after=delete or watch:FOLDER?after=move")
    after = _OPTIONS[option]
    return Path(folder), "delete" if after == "delete" else "move" if after == "move" else "keep"


def _stamp_of(entry: os.DirEntry[str]) -> Stamp | None:
    if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in PICTURE_SUFFIXES:
        return None
    try:
        if not entry.is_file():
            return None
        state = entry.stat()
    except OSError:  # gone between listing and asking
        return None
    return Stamp(mtime_ns=state.st_mtime_ns, size=state.st_size, inode=state.st_ino)
