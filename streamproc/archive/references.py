"""Tiles without a payload, whose pixels are those of an earlier record: is that record here, and is it the one?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Literal

from streamproc import wire
from streamproc.archive.index import FileIndex, Gap
from streamproc.archive.reader import ArchiveReader
from streamproc.model import TileHeader

_KEPT: Final = 100_000  # digests of records that may be referred to; others are read again
_GAPS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a reference leads nowhere.

    Attributes:
        what: In words.
        cause: Equal for all references with one cause: the record that they name, or the file it is lost with.
    """

    what: str
    cause: Hashable


@dataclass(frozen=True, slots=True)
class _Lost:
    """Offsets that should be in the archive, `last` included, and with what they are lost."""

    partition: int
    first: int
    last: int
    where: str


class References:
    """Judges the references of one topic, whose files it is told of in their order.

    Args:
        reader: Opens the same files, to look for a record that lies too far back to be remembered.
    """

    def __init__(self, reader: Callable[[], ArchiveReader]) -> None:
        self._reader = reader
        self._opened: ArchiveReader | None = None
        self._digests: OrderedDict[tuple[int, int], bytes | None] = OrderedDict()
        self._first: dict[int, int] = {}
        self._gaps: list[Gap] = []
        self._lost: list[_Lost] = []

    def file(self, index: FileIndex) -> None:
        """The next file."""
        for partition, first in index.first.items():
            self._first.setdefault(partition, first)
        self._gaps += index.gaps[: max(0, _GAPS - len(self._gaps))]

    def lost(self, partition: int, first: int, last: int, where: str) -> None:
        """Records of these offsets, `last` included, cannot be read; `where` says with what they are lost."""
        if len(self._lost) < _GAPS:
            self._lost.append(_Lost(partition, first, last, where))

    def held(self, partition: int, offset: int, digest: bytes) -> None:
        """A record that may be referred to is there, with a payload of this digest."""
        self._remember(partition, offset, digest)

    def judge(self, partition: int, offset: int, header: TileHeader) -> Wrong | Literal["here", "outside"]:
        """Judge a tile without a payload.

        Args:
            partition: Of the record.
            offset: Of the record.
            header: Of the tile; has `same_as`.

        Returns:
            What is wrong; `here` if the earlier record is there; `outside` if it is from before the archive, or in a
            gap that the archive tells of.
        """
        at = header.same_as
        if at is None or not 0 <= at < offset:
            return Wrong("which is no earlier one", ("later", partition, at))
        if at < self._first.get(partition, 0):
            return "outside"
        digest = self._digest(partition, at)
        if digest is None:
            return "outside" if any(_covers(gap, partition, at) for gap in self._gaps) else self._missing(partition, at)
        if digest == header.payload_digest:
            return "here"
        return Wrong("which holds another payload", ("other", partition, at))

    def _missing(self, partition: int, offset: int) -> Wrong:
        where = next((one.where for one in self._lost if _covers(one, partition, offset)), None)
        if where is None:
            return Wrong("which is not in the archive", ("missing", partition, offset))
        return Wrong(f"which is lost with {where}", where)

    def _digest(self, partition: int, offset: int) -> bytes | None:
        """Of the record at an offset; None if it is not there or has no payload."""
        if (partition, offset) in self._digests:
            return self._digests[partition, offset]
        self._opened = self._opened or self._reader()
        found = next(self._opened.read({partition: (offset, offset + 1)}), None)
        digest = wire.digest_payload(found.value) if found is not None and found.value else None
        return self._remember(partition, offset, digest)

    def _remember(self, partition: int, offset: int, digest: bytes | None) -> bytes | None:
        self._digests[partition, offset] = digest
        if len(self._digests) > _KEPT:
            self._digests.popitem(last=False)
        return digest


def _covers(span: Gap | _Lost, partition: int, offset: int) -> bool:
    return span.partition == partition and span.first <= offset <= span.last
