"""A folder watched for new pictures: what cameras and other programs drop there."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from producers.sources.arrivals import Stamp
from producers.sources.live import LiveSource
from producers.sources.picture import PICTURE_SUFFIXES, read_picture
from producers.sources.put_away import DONE, Progress
from producers.sources.source import Notices
from streamproc.errors import CameraLost, SourceError, UsageError
from streamproc.model import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.sources.put_away import After

log = logging.getLogger(__name__)

POLL_S = 0.25
RESUME_S = 900.0
"""So long after a folder was last looked at, reading it again goes on where it was; tries are at most 30 s apart."""
_MAX_FILES = 100_000
_ABSENT = 10_000  # files of a folder that is kept, known though it does not show them now: about 3 MB
_MOST_FOLDERS = 256
_OPTIONS = {"": "keep", "after=keep": "keep", "after=delete": "delete", "after=move": "move"}


class _Resumed:
    """How far folders were read whose reading has ended for now; each is taken up by one reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[tuple[object, float, Progress]] = []

    def keep(self, key: object, progress: Progress, *, now_s: float) -> None:
        """Of a reading that ends."""
        with self._lock:
            self._kept = [*self._kept[1 - _MOST_FOLDERS :], (key, now_s, progress)]

    def take(self, key: object, *, now_s: float) -> Progress | None:
        """For a reading that begins; None if none has ended lately."""
        with self._lock:
            self._kept = [kept for kept in self._kept if now_s - kept[1] < RESUME_S]
            for kept in self._kept:
                if kept[0] == key:
                    self._kept.remove(kept)
                    return kept[2]
        return None


_resumed = _Resumed()


class WatchedSource(LiveSource):
    """Pictures that appear in a folder, one frame each; they may differ in size. Silence is normal and has no limit.

    Pictures that are there at the start are taken only where they are deleted or moved afterwards. That happens when
    the frame's receipt says that it is in Kafka, and only if the file is still the one that was read; else it is given
    again, a bounded number of times. A file that is no picture is left alone; a broken one is named in the log and
    left. Reading a folder again, by the same process within 15 minutes, goes on where it was.

    Args:
        folder: Sub-folders and hidden files are not looked at.
        after: What becomes of a picture that is in Kafka: nothing, deleted, or moved into `done/`.
        notices: Told of what was decided for the user.
    """

    steady = False

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
        if self._is_stopped():
            return
        key = self.folder.absolute(), self.after
        progress = _resumed.take(key, now_s=time.monotonic()) or self._begin()
        try:
            while not self._is_stopped():
                yield from self._new(progress)
                with self._changed:
                    if not self._is_stopped():
                        self._changed.wait(POLL_S)
        finally:
            _resumed.keep(key, progress, now_s=time.monotonic())

    def _begin(self) -> Progress:
        keep = self.after == "keep"
        known = self._listing() if keep else {}
        return Progress(self.folder.absolute(), after=self.after, known=known, absent=_ABSENT if keep else 0)

    def _new(self, progress: Progress) -> Iterator[Frame]:
        listing = self._listing()
        for name in progress.ready(listing, now_s=time.monotonic()):
            if self._is_stopped():
                return
            frame = self._frame(name, listing[name], progress)
            if frame is not None:
                yield frame

    def _listing(self) -> dict[str, Stamp]:
        """Pictures in the folder by name.

        Raises:
            CameraLost: The folder is gone, or holds more than 100,000 pictures.
        """
        found: dict[str, Stamp] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    stamp = _stamp_of(entry) if _may_be_picture(entry.name) else None
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

    def _frame(self, name: str, stamp: Stamp, progress: Progress) -> Frame | None:
        file, problem, pixels = self.folder / name, None, None
        try:
            pixels = read_picture(file, max_pixels=self._max_pixels, notices=self._notices)
        except SourceError as error:
            problem = error
        if _stamp_of(file) not in (stamp, None):
            return None  # it is being written again: its turn comes when it stands still
        receipt = progress.given(name, stamp)
        if pixels is None:
            log.warning("%s (left out)", problem, extra={"file": str(file)})
            return None
        return Frame(pixels=pixels, captured_ns=time.time_ns(), receipt=receipt)


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


def _may_be_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES


def _stamp_of(file: os.DirEntry[str] | Path) -> Stamp | None:
    """None for what is no file, or not there any more."""
    try:
        return Stamp.of(file.stat()) if file.is_file() else None
    except OSError:
        return None
