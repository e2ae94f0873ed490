"""How long files stay: by the age of their newest record, by the bytes of all. Time is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from streamproc.archive.index import FileIndex
from streamproc.archive.mcap_in import open_file
from streamproc.archive.storage import Storage, StoredFile
from streamproc.errors import ArchiveError, StoreError


class Retention:
    """Says which files of a topic may go.

    Args:
        storage: Where they lie.
        keep_s: Files whose newest record is older may go; None keeps them.
        keep_bytes: The oldest files may go while all take more; None keeps them.
        told: Told in one line of a file that cannot be read, once.
    """

    def __init__(
        self, storage: Storage, *, keep_s: float | None, keep_bytes: int | None, told: Callable[[str], None]
    ) -> None:
        self._storage = storage
        self._keep_s = keep_s
        self._keep_bytes = keep_bytes
        self._told = told
        self._known: set[str] = set()

    def due(self, files: Sequence[StoredFile], now_ms: int) -> Iterator[StoredFile]:
        """The oldest of these files that may go; never the last, which says where writing goes on.

        Args:
            files: Of one topic, as they follow each other.
            now_ms: Wall clock.

        Raises:
            StoreError: Files could not be looked at.
        """
        size = sum(file.size for file in files)
        for at, file in enumerate(files[:-1]):
            too_much = self._keep_bytes is not None and size > self._keep_bytes
            if not too_much and not self._is_old(files[at:], now_ms):
                return
            size -= file.size
            yield file

    def _is_old(self, files: Sequence[StoredFile], now_ms: int) -> bool:
        """Whether the first of these files is.

        One that cannot be read is as old as the file behind it at least: its records were written before.
        """
        if self._keep_s is None:
            return False
        index = self._index(files[0])
        before_ms = now_ms - self._keep_s * 1000
        if index is not None:
            times = index.times_ms()
            return times is None or times[1] < before_ms
        following = (self._index(file) for file in files[1:])
        earliest_ms = next((times[0] for one in following if one is not None and (times := one.times_ms())), None)
        return earliest_ms is not None and earliest_ms < before_ms

    def _index(self, file: StoredFile) -> FileIndex | None:
        try:
            return open_file(self._storage, file).index
        except StoreError:
            raise
        except ArchiveError as error:
            if file.path not in self._known:
                self._known.add(file.path)
                self._told(
                    f"{error}; it is deleted when the files behind it are old enough, or move it away"
                    " (streamproc archive verify tells all that is wrong)"
                )
            return None
