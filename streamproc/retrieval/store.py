"""An index on disk: vectors in a usearch file, and what each belongs to in an SQLite table.

A folder holds `entries.sqlite`, one `vectors-N.usearch`, and `lock`. The table names the file of vectors that belongs
to it. New vectors go into a new file; then one transaction adds their entries and names that file. So whatever stops
a run, table and vectors fit together, and the file that is not named is swept away by the next run.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from streamproc.broker.exclusive import exclusive
from streamproc.errors import UsageError
from streamproc.operators.embedding import DIMENSIONS, EMBEDDING

SCHEMA: Final = "1"
MAX_ENTRIES: Final = 1_000_000  # 1.7 kB of memory each while adding
CHECKPOINT: Final = 5_000  # entries after which all that was added is made to last
CONNECTIVITY: Final = 16
EXPANSION_ADD: Final = 128
EXPANSION_SEARCH: Final = 256
_WAIT_S: Final = 5.0
_BUSY_S: Final = 10.0
_CHUNK: Final = 2**22
_TABLES: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (
    key INTEGER PRIMARY KEY, event TEXT NOT NULL, box TEXT NOT NULL, label TEXT NOT NULL, entry BLOB NOT NULL,
    UNIQUE (event, box, label)
);
"""

Box: TypeAlias = tuple[float, float, float, float]
Vector: TypeAlias = NDArray[np.float32]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pixels of a frame stand in the log: offsets (first, last) by partition of a topic."""

    topic: str
    offsets: dict[str, tuple[int, int]]

    @property
    def spans(self) -> dict[int, tuple[int, int]]:
        """The same as (first, one after the last)."""
        return {int(partition): (first, last + 1) for partition, (first, last) in self.offsets.items()}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a vector belongs to.

    Attributes:
        event: Id of the frame's event; of a picture file "sha256:" and the digest of its pixels.
        box: Left, top, right, bottom in the frame; None for all of it.
        label, score: Of the object in the box; empty and None for a frame.
        camera, run, sequence, captured_ns: Of the frame; empty and 0 for a picture file.
        width, height: Of the frame, pixels.
        source: Of the frame's tiles; None for a picture file.
        path: Of a picture file, else empty.
    """

    event: str
    box: Box | None = None
    label: str = ""
    score: float | None = None
    camera: str = ""
    run: str = ""
    sequence: int = 0
    captured_ns: int = 0
    width: int
    height: int
    source: Source | None = None
    path: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Event, box and label as text: no two entries of an index have the same."""
        box = "" if self.box is None else ",".join(f"{side:.9g}" for side in self.box)
        return self.event, box, self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An entry and how much it looks like what was asked for: the cosine of the angle, at most 1."""

    entry: Entry
    similarity: float


class IndexWriter:
    """Adds to an index; made by `writing`. Entries last from `commit` on, which `add` calls now and then."""

    def __init__(self, folder: Path, table: sqlite3.Connection) -> None:
        self._folder, self._table = folder, table
        about = _about(folder, table)
        self._number = int(about.get("number", "0"))
        self._vectors = _usearch_index() if not self._number else _restored(folder, table, about, view=False)
        self._next = int(table.execute("SELECT coalesce(max(key), 0) + 1 FROM entries").fetchone()[0])
        self._pending: dict[tuple[str, str, str], tuple[Entry, Vector]] = {}
        self._sweep()

    def __len__(self) -> int:
        return self._next - 1 + len(self._pending)

    def has(self, entry: Entry) -> bool:
        """Whether an entry of the same event, box and label is there."""
        if entry.identity in self._pending:
            return True
        asked = "SELECT 1 FROM entries WHERE event = ? AND box = ? AND label = ?"
        return self._table.execute(asked, entry.identity).fetchone() is not None

    def add(self, entry: Entry, vector: Vector) -> bool:
        """Add an entry; False if it is there already.

        Raises:
            UsageError: The index is full, or its folder cannot be written.
        """
        if self.has(entry):
            return False
        if len(self) >= MAX_ENTRIES:
            raise UsageError(f"{self._folder} holds {MAX_ENTRIES} entries: begin another folder (--out)")
        self._pending[entry.identity] = (entry, vector)
        if len(self._pending) >= CHECKPOINT:
            self.commit()
        return True

    def commit(self) -> None:
        """Make all that was added last.

        Raises:
            UsageError: The folder cannot be written.
        """
        if not self._pending and self._number:
            return
        added = list(self._pending.values())
        keys = np.arange(self._next, self._next + len(added), dtype=np.uint64)
        if added:
            # One thread: the same entries in the same order make the same graph.
            self._vectors.add(keys, np.array([vector for _, vector in added], np.float32), threads=1)
        number = self._number + 1
        with _written(self._folder):
            file = _vectors_file(self._folder, number)
            self._vectors.save(str(file))
            _flush(file)
            _flush(self._folder)
            rows = [(int(key), *entry.identity, _packed(entry)) for key, (entry, _) in zip(keys, added, strict=True)]
            about = {"schema": SCHEMA, "embedding": EMBEDDING, "number": str(number), "digest": _digest(file)}
            with self._table:
                self._table.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)
                self._table.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())
        self._number, self._next = number, self._next + len(added)
        self._pending.clear()
        self._sweep()

    def _sweep(self) -> None:
        """Delete files of vectors that the table does not name."""
        with _written(self._folder):
            for file in self._folder.glob("vectors-*"):
                if file != _vectors_file(self._folder, self._number):
                    file.unlink(missing_ok=True)


class Index:
    """An index to search; made by `reading`."""

    def __init__(self, folder: Path, table: sqlite3.Connection) -> None:
        self._folder, self._table = folder, table
        self._vectors = _restored(folder, table, _about(folder, table), view=True)

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, vector: Vector, top: int) -> list[Match]:
        """The `top` entries that look most like a vector of `embed`, best first; fewer if there are not as many.

        The search follows a graph, so an entry may be missed: of the very best on real pictures fewer than 1 in 50.
        """
        if not len(self):
            return []
        found = self._vectors.search(vector, min(top, len(self)), threads=1)
        return [
            Match(entry=self._entry(key), similarity=max(-1.0, min(1.0, 1 - distance)))
            for key, distance in zip(found.keys.tolist(), found.distances.tolist(), strict=True)
        ]

    def _entry(self, key: int) -> Entry:
        row = self._table.execute("SELECT entry FROM entries WHERE key = ?", (key,)).fetchone()
        try:
            return msgspec.msgpack.decode(row[0] if row else b"", type=Entry)
        except msgspec.DecodeError as error:
            raise _damaged(self._folder, f"entry {key}: {error}") from None


@contextmanager
def writing(folder: Path) -> Iterator[IndexWriter]:
    """Open an index to add to it; it is made if need be. What was added lasts when the block is left without an error.

    Raises:
        UsageError: usearch is not installed, the folder cannot be written or holds something else, or an index of
            another embedding.
        BrokerError: Another run is writing to it.
    """
    _require_usearch()
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / "lock").exists():
            raise UsageError(f"{folder} is no index and not empty: name another folder")
    with exclusive(folder / "lock", wait_s=_WAIT_S, doing="writing this index"), _sqlite(folder, make=True) as table:
        writer = IndexWriter(folder, table)
        yield writer
        writer.commit()


@contextmanager
def reading(folder: Path) -> Iterator[Index]:
    """Open an index to search it, also while it is being written.

    Raises:
        UsageError: There is none, it is damaged or of another embedding, or usearch is not installed.
    """
    _require_usearch()
    if not (folder / "entries.sqlite").is_file():
        raise UsageError(f"there is no index in {folder}: make one with streamproc index --out {folder}")
    with _sqlite(folder, make=False) as table:
        yield _retried(lambda: Index(folder, table))


def _retried(make: Callable[[], Index]) -> Index:
    """Once more: a run that adds may have put new vectors in place of those that the table named a moment ago."""
    try:
        return make()
    except UsageError:
        return make()


@contextmanager
def _sqlite(folder: Path, *, make: bool) -> Iterator[sqlite3.Connection]:
    mode = "rwc" if make else "rw"  # to undo what a killed run left half done; a folder of another owner is only read
    try:
        uri = f"{(folder / 'entries.sqlite').resolve().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as table:
            if make and not table.execute("SELECT 1 FROM sqlite_master").fetchone():
                table.executescript(f"BEGIN;{_TABLES}COMMIT;")
            yield table
    except sqlite3.OperationalError as error:  # locked, full, not writable: the content may be sound
        raise UsageError(f"the index in {folder} cannot be used: entries.sqlite: {error}") from error
    except sqlite3.Error as error:
        raise _damaged(folder, f"entries.sqlite: {error}") from error


def _about(folder: Path, table: sqlite3.Connection) -> dict[str, str]:
    """What the table says of the index; empty if nothing was ever added."""
    about = dict(table.execute("SELECT name, value FROM about").fetchall())
    if about.get("schema", SCHEMA) != SCHEMA:
        raise UsageError(f"{folder} is an index of form {about['schema']}, this version writes {SCHEMA}: make it anew")
    if about.get("embedding", EMBEDDING) != EMBEDDING:
        raise UsageError(
            f"{folder} holds embeddings {about['embedding']}, this version makes {EMBEDDING}: make the index anew"
        )
    return about


def _restored(folder: Path, table: sqlite3.Connection, about: dict[str, str], *, view: bool) -> Any:
    """The vectors that the table names."""
    number = int(about.get("number", "0"))
    if not number:
        return _usearch_index()
    file = _vectors_file(folder, number)
    try:
        if _digest(file) != about["digest"]:  # before usearch follows links that lead out of its memory
            raise _damaged(folder, f"{file.name} is not as it was written")
    except OSError as error:
        raise _damaged(folder, f"{file.name}: {error.strerror}") from error
    index = _usearch_index()
    index.view(str(file)) if view else index.load(str(file))
    index.expansion_search, index.expansion_add = EXPANSION_SEARCH, EXPANSION_ADD
    (count,) = table.execute("SELECT count(*) FROM entries").fetchone()
    if len(index) != count or index.ndim != DIMENSIONS:
        raise _damaged(folder, f"{len(index)} vectors of {index.ndim} values, {count} entries")
    return index


def _usearch_index() -> Any:
    from usearch.index import Index as Vectors

    return Vectors(
        ndim=DIMENSIONS,
        metric="cos",
        dtype="f16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def _require_usearch() -> None:
    try:
        import usearch.index  # noqa: F401
    except ImportError:
        raise UsageError("an index needs usearch: pip install 'streamproc[recognition]'") from None


def _vectors_file(folder: Path, number: int) -> Path:
    return folder / f"vectors-{number:06d}.usearch"


def _packed(entry: Entry) -> bytes:
    return msgspec.msgpack.encode(entry)


def _digest(file: Path) -> str:
    digest = xxhash.xxh3_128()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # the latter from usearch
        raise UsageError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _damaged(folder: Path, why: str) -> UsageError:
    return UsageError(f"the index in {folder} is damaged ({why}): delete it and make it anew")
