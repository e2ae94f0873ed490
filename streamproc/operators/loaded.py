"""What is made of the files that parameters name, once for each file and process: models, templates."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from streamproc.errors import PipelineError

MOST_LOADED: Final = 16
_Made = TypeVar("_Made")
_Stamp = tuple[tuple[str, int, int], ...]


class Loaded(Generic[_Made]):
    """Keeps what `make` makes of a path until the file changes or MOST_LOADED others were asked for since.

    Args:
        make: Reads a file or folder; raises PipelineError where it cannot. Called by one thread at a time.
    """

    def __init__(self, make: Callable[[Path], _Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: OrderedDict[str, tuple[_Stamp, _Made]] = OrderedDict()

    def get(self, name: str) -> _Made:
        """What was made of the file or folder of that name.

        Raises:
            PipelineError: It cannot be read, or is not what it should be.
        """
        path = Path(name)
        try:
            stamp = _stamp(path)
        except OSError as error:
            raise PipelineError(f"{name}: cannot be read: {error.strerror}") from error
        with self._lock:
            known = self._made.get(name)
            if known is None or known[0] != stamp:
                known = (stamp, self._make(path))
                self._made[name] = known
            self._made.move_to_end(name)
            while len(self._made) > MOST_LOADED:
                self._made.popitem(last=False)
            return known[1]


class PerThread(threading.local, Generic[_Made]):
    """A `Loaded` for each thread: of things that keep scratch space and may not be shared."""

    def __init__(self, make: Callable[[Path], _Made]) -> None:
        self._loaded = Loaded(make)

    def get(self, name: str) -> _Made:
        """As `Loaded.get`."""
        return self._loaded.get(name)


def _stamp(path: Path) -> _Stamp:
    """Changes whenever the file, or a file of the folder, does."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((one.name, found.st_mtime_ns, found.st_size) for one in files for found in [one.stat()])
