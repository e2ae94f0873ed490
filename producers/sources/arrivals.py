"""Which files of a watched folder are new, and which are to be given again. No I/O; time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.sources.source import natural_key

if TYPE_CHECKING:
    import os

MOST_TRIES = 10
"""A picture that does not get into Kafka is given so often: over five minutes, and the time that each try takes."""
_AGAIN_S, _MOST_AGAIN_S = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file changed."""

    mtime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, state: os.stat_result) -> Stamp:
        """Of a file that was asked for its state."""
        return cls(mtime_ns=state.st_mtime_ns, size=state.st_size, inode=state.st_ino)


@dataclass(frozen=True, slots=True)
class _Again:
    stamp: Stamp
    tries: int
    due_s: float


class Arrivals:
    """Which files are new and no longer being written.

    A file counts as written when two listings in a row show it alike. Remembers the files that the last listing shows,
    and a bounded number of others.

    Args:
        known: Files that are not new.
        absent: So many files that a listing does not show are still known when they are there again, as after a folder
            was away; when there are more, all of them are forgotten.
    """

    def __init__(self, known: dict[str, Stamp], *, absent: int = 0) -> None:
        self._taken = dict(known)
        self._absent = absent
        self._last: dict[str, Stamp] = {}
        self._again: dict[str, _Again] = {}

    def ready(self, listing: dict[str, Stamp], *, now_s: float) -> list[str]:
        """Names of files to take now, oldest first, and by name among equals; the same again until they are `given`."""
        if len(self._taken) > len(listing) + self._absent or not self._absent:
            self._taken = {name: stamp for name, stamp in self._taken.items() if name in listing}
        self._again = {name: again for name, again in self._again.items() if listing.get(name) == again.stamp}
        still = [
            name
            for name, stamp in listing.items()
            if stamp.size and self._last.get(name) == stamp and self._taken.get(name) != stamp
        ]
        self._last = dict(listing)
        still = [name for name in still if name not in self._again or now_s >= self._again[name].due_s]
        still.sort(key=lambda name: (listing[name].mtime_ns, natural_key(name)))
        return still

    def given(self, name: str, stamp: Stamp) -> None:
        """The file was taken; it comes no more, unless its content changes or it `failed`."""
        self._taken[name] = stamp

    def failed(self, name: str, stamp: Stamp, *, now_s: float) -> bool:
        """What was given did not arrive: it is given again, later and later. False where it was given often enough."""
        if self._taken.get(name) != stamp:
            return True
        before = self._again.get(name)
        tries = 1 + (before.tries if before is not None and before.stamp == stamp else 0)
        if tries >= MOST_TRIES:
            return False
        due_s = now_s + min(_AGAIN_S * 2 ** (tries - 1), _MOST_AGAIN_S)
        self._again[name] = _Again(stamp, tries, due_s)
        del self._taken[name]
        return True
