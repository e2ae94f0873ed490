"""Where archive files lie, through fsspec: a local folder, S3, HDFS, memory. The only module that knows fsspec.

`ROOT/TOPIC/NAME.mcap`, and `ROOT/epoch-N/TOPIC/NAME.mcap` for the N-th topic of a name. A file appears under its name
only when it is complete: object stores show an upload when it is closed, everywhere else it is written as
`NAME.mcap.*.partial` and renamed (on a local disk after fsync, and its folder is synced after that).

References:
    https://filesystem-spec.readthedocs.io: URLs, and credentials from FSSPEC_* variables or ~/.config/fsspec
"""

from __future__ import annotations

import copy
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamproc.archive.behind import Behind
from streamproc.archive.index import PARTIAL, SUFFIX, order_of
from streamproc.errors import ArchiveError, StoreError, UsageError

log = logging.getLogger(__name__)

INSTALL = "pip install 'streamproc[archive]'"
_UPLOADS_AT_CLOSE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
_BLOCK_BYTES = 8 * 2**20  # of one part of an upload: 10,000 parts, S3's limit, are 80 GiB
_CACHED_BYTES = 16 * 2**20  # after so many the disk begins to write: less to sync at the end, no cache of others lost
_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_EPOCH = re.compile(r"epoch-([2-9]|[1-9]\d{1,5})")
_USER = re.compile(r"^([A-Za-z0-9+.-]+://[^/@:]*):[^/]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One complete file of the archive."""

    topic: str
    name: str
    path: str
    size: int


def masked(url: str) -> str:
    """The URL as it may be shown: without a password."""
    return _USER.sub(r"\1:***@", url)


class Storage:
    """One archive's files.

    Args:
        url: A path, or what fsspec takes: `s3://bucket/folder`, `hdfs://host:8020/folder`, `memory://folder`.
        **options: Of fsspec's file system; they override its configuration.

    Raises:
        UsageError: No such kind of URL, an empty one, or a password stands in it.
        ArchiveError: A library is missing, or nothing answers.

    Attributes:
        url: As it may be shown; what `Storage` takes.
        epoch: 1, or the number of the part that `epochs` gave.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url = masked(url)
        self.epoch = 1
        if not url.strip():
            raise UsageError("the URL of the archive is empty: name a folder (. is this one)")
        if self.url != url:
            raise UsageError(
                f"{self.url}: a password in the URL can be read by every process on the machine;"
                " give it in FSSPEC_* variables or ~/.config/fsspec (docs/archive.md)"
            )
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ArchiveError(f"an archive needs fsspec: {INSTALL}") from None
        try:
            self._fs, self._root = url_to_fs(url, **options)
        except ImportError as error:
            raise ArchiveError(f"{self.url}: {_one_line(error)}: {INSTALL}") from None
        except ValueError as error:
            raise UsageError(f"{self.url}: {_one_line(error)}") from None
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            raise StoreError(f"{self.url}: {_one_line(error)}") from None
        protocol = self._fs.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self._root = self._root.rstrip("/") or self._root

    @property
    def is_local(self) -> bool:
        """It is a folder of this machine."""
        return bool(self._protocols & {"file", "local"})

    @property
    def _uploads(self) -> bool:
        """A file appears when it is closed, without a rename."""
        return bool(self._protocols & _UPLOADS_AT_CLOSE)

    def topics(self) -> list[str]:
        """Topics that have files here, sorted."""
        return sorted(name for name in self._folders() if _TOPIC.fullmatch(name) and self.files(name))

    def epochs(self, topic: str | None = None) -> list[Storage]:
        """The parts of this archive, oldest first: itself, then one for each time that a topic was made anew.

        Args:
            topic: Only parts that hold files of it.
        """
        numbers = sorted(int(found[1]) for name in self._folders() if (found := _EPOCH.fullmatch(name)))
        parts = [self, *(self.at_epoch(number) for number in numbers)]
        return [part for part in parts if topic is None or part.files(topic)]

    def at_epoch(self, number: int) -> Storage:
        """The part with this number, whether it holds anything or not; 1 is the archive itself."""
        if number == 1:
            return self
        part = copy.copy(self)
        part.epoch = number
        part._root = f"{self._root.rstrip('/')}/epoch-{number}"
        plain, mark, query = self.url.partition("?")
        part.url = f"{plain.rstrip('/')}/epoch-{number}{mark}{query}"
        return part

    def refuses(self, error: StoreError) -> bool:
        """Whether the store said no (credentials, rights, no such bucket), so that waiting would not help."""
        cause = error.__cause__ or error.__context__
        if isinstance(cause, PermissionError | NotADirectoryError):
            return True
        if isinstance(cause, FileNotFoundError):  # of a folder that is gone the disk may come back, of a bucket not
            return bool(self._protocols & _UPLOADS_AT_CLOSE)
        kind = type(cause)
        return kind.__module__.startswith("botocore") and "Credentials" in kind.__name__

    def _folders(self) -> set[str]:
        entries = [entry for entry in self._list(self._root) if entry["type"] == "directory"]
        return {entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries}

    def files(self, topic: str) -> list[StoredFile]:
        """A topic's complete files, as they follow each other."""
        found = []
        for entry in self._list(self._folder(topic)):
            name = entry["name"].rsplit("/", 1)[-1]
            order = order_of(name)
            if order is not None and entry["type"] == "file":
                path = f"{self._folder(topic)}/{name}"
                found.append((order, StoredFile(topic=topic, name=name, path=path, size=int(entry["size"]))))
        return [file for _, file in sorted(found, key=lambda one: one[0])]

    def read(self, path: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (exclusive) of a file; fewer if it is shorter."""
        with self._named(path):
            if start:
                return bytes(self._fs.cat_file(path, start=start, end=end))
            with self._fs.open(path, "rb") as stream:  # Arrow's file systems have no cat_file with an end alone
                return bytes(stream.read(end))

    @contextmanager
    def reading(self, path: str) -> Iterator[_Reading]:
        """A file to be read from its beginning to its end: what it yields has `read(size)`."""
        with self._named(path):
            stream = self._fs.open(path, "rb", block_size=_BLOCK_BYTES)
        with stream:
            yield _Reading(self, stream, path)

    def create(self, topic: str, name: str) -> NewFile:
        """Begin a file; it can be seen under its name once `publish` returns."""
        return self._create(self._folder(topic), name)

    def create_beside(self, name: str) -> NewFile:
        """The same for a file that is no part of an archive, in the URL's folder itself.

        Raises:
            UsageError: There is a folder of this name; a file that is renamed to it would end up inside.
            StoreError: It cannot be written there.
        """
        folder = self._root.rstrip("/")
        path = f"{folder}/{name}"
        with self._named(path):
            if not self._uploads and self._fs.isdir(path):
                raise UsageError(f"{self._show(path)} is a folder: name a file")
        return self._create(folder, name)

    def _create(self, folder: str, name: str) -> NewFile:
        path = f"{folder}/{name}"
        written = path if self._uploads else f"{path}.{secrets.token_hex(4)}{PARTIAL}"
        with self._named(path):
            if not self._uploads:
                self._make(folder or "/")
            try:
                stream = self._fs.open(written, "wb", block_size=_BLOCK_BYTES)
            except OSError as error:  # its own words may name the unfinished file
                raise StoreError(f"{self._show(path)}: {error.strerror or _one_line(error)}") from error
            if self._uploads:
                stream.autocommit = False  # or whatever closes it, the end of the process too, would make it appear
        return NewFile(self, stream, written=written, path=path)

    def _make(self, folder: str) -> None:
        try:
            self._fs.makedirs(folder, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreError(f"{self._show(folder)} cannot be made a folder: a file is in the way") from error

    def tidy(self, topic: str) -> None:
        """Remove what writers that were killed have left of files they never completed."""
        for entry in self._list(self._folder(topic)):
            if entry["name"].endswith(PARTIAL):
                self.delete(f"{self._folder(topic)}/{entry['name'].rsplit('/', 1)[-1]}")

    def delete(self, path: str) -> None:
        """Remove a file; one that is gone already is no error."""
        with self._named(path), suppress(FileNotFoundError):
            self._fs.rm_file(path)

    @contextmanager
    def lock(self, topic: str) -> Iterator[None]:
        """Keep other writers of this topic out, where a lock can be had: in a local folder.

        Raises:
            ArchiveError: Another writer is at work.
        """
        if not self.is_local:
            yield
            return
        import fcntl

        folder = Path(self._folder(topic))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / ".lock").open("ab")
        except OSError as error:
            raise StoreError(f"{folder} cannot be written: {error.strerror}") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ArchiveError(f"{folder}: another process archives this topic there") from None
            yield

    def _folder(self, topic: str) -> str:
        if not _TOPIC.fullmatch(topic):
            raise UsageError(f"{topic!r} is no name of a topic")
        return f"{self._root.rstrip('/')}/{topic}"

    def _list(self, folder: str) -> list[dict[str, Any]]:
        with self._named(folder):
            self._fs.invalidate_cache()  # object stores keep listings
            try:
                entries: list[dict[str, Any]] = self._fs.ls(folder, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
            return entries

    def _publish(self, stream: Any, *, written: str, path: str) -> None:
        with self._named(path):
            if self.is_local:
                stream.flush()
                os.fsync(stream.fileno())
            stream.close()
            if written == path:
                stream.commit()
            else:
                self._fs.mv(written, path)
            if self.is_local:
                _sync_folder(Path(path).parent)

    def _discard(self, stream: Any, *, written: str, path: str) -> None:
        try:
            if written == path:
                stream.discard()
            else:
                stream.close()
                self._fs.rm_file(written)
        except Exception as error:  # noqa: BLE001 - it is given up because of another error, which is told
            log.info(
                "%s: what was written could not be removed: %s",
                *(self._show(written), _one_line(error)),
                extra={"file": self._show(written)},
            )
        finally:
            if written == path:
                stream.closed = True  # so that nothing flushes it later

    @contextmanager
    def _named(self, path: str) -> Iterator[None]:
        try:
            yield
        except (ArchiveError, UsageError):
            raise
        except Exception as error:  # each driver has errors of its own
            raise StoreError(f"{self._show(path)}: {_one_line(error)}") from error

    def _show(self, path: str) -> str:
        return path if self.is_local else f"{min(self._protocols)}://{path.lstrip('/')}"


class _Reading:
    """A file that is being read; what fails is told with its name."""

    def __init__(self, storage: Storage, stream: Any, path: str) -> None:
        self._storage = storage
        self._stream = stream
        self._path = path

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end."""
        with self._storage._named(self._path):
            data: bytes = self._stream.read(size)
            return data


class NewFile:
    """A file that is being written, on a thread of its own; what fails there is raised by the next call.

    Attributes:
        path: Where it will be.
        size: Bytes written.
    """

    def __init__(self, storage: Storage, stream: Any, *, written: str, path: str) -> None:
        self._storage = storage
        self._stream = stream
        self._written = written
        self._behind = Behind(self._write)
        self._cached = 0
        self.path = path
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            ArchiveError: It cannot be written.
        """
        self._behind.put(data)
        self.size += len(data)

    def _write(self, data: bytes) -> None:
        with self._storage._named(self.path):
            self._stream.write(data)
            self._cached += len(data)
            if self._cached >= _CACHED_BYTES and self._storage.is_local and hasattr(os, "posix_fadvise"):
                self._cached = 0
                self._stream.flush()
                os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def publish(self) -> None:
        """Make it appear under its name.

        Raises:
            ArchiveError: It could not be made to.
        """
        self._behind.drain()
        self._storage._publish(self._stream, written=self._written, path=self.path)

    def discard(self) -> None:
        """Forget it."""
        self._behind.abandon()
        self._storage._discard(self._stream, written=self._written, path=self.path)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return re.sub(r"(\w+://[^/@:\s]*):[^/\s]*@", r"\1:***@", text) or type(error).__name__


__all__ = ["INSTALL", "SUFFIX", "NewFile", "Storage", "StoredFile", "masked"]
