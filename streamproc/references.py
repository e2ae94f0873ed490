"""Tiles without pixels of their own: the record that has them, found again.

Where only changed tiles are sent, a tile that has not changed is a record without a value; its header names the offset,
in the same partition, of the record whose picture is also its own, and that picture's digest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from streamproc import wire
from streamproc.errors import BadMessage
from streamproc.model import TileHeader
from streamproc.records import Record, RecordSource, rounds

Fetch: TypeAlias = Callable[[int, int], Record | None]
"""The record at a partition and an offset; None if it is not kept any more. May raise a BrokerError."""

HELD_BYTES = 64 * 2**20
_OVERHEAD_BYTES = 256  # of a payload that is held
_SAME = ("camera", "run", "row", "col", "core", "halo", "frame_width", "frame_height", "codec", "pixel_format")


def fetch_from(source: RecordSource) -> Fetch:
    """Fetch from a source that nobody else reads meanwhile."""

    def fetch(partition: int, offset: int) -> Record | None:
        found = list(source.read({partition: (offset, offset + 1)}))
        return found[0] if found else None

    return fetch


def payloads_of(
    source: RecordSource, tiles: Sequence[tuple[TileHeader, int, int]]
) -> Iterator[tuple[TileHeader, bytes | BadMessage]]:
    """The pictures of tiles that name others for theirs, read from a source together.

    Args:
        source: Nobody else may read it meanwhile.
        tiles: Header, partition and offset of each.

    Yields:
        The header of each, in their order, and its encoded picture, or why it has none.
    """
    places = {(partition, header.same_as) for header, partition, _ in tiles if header.same_as is not None}
    found: dict[tuple[int, int], Record] = {}
    for ranges in rounds([{partition: (offset, offset + 1)} for partition, offset in places], source):
        for record in source.read(ranges):
            if (record.partition, record.offset) in places:
                found[record.partition, record.offset] = record
    references = References(lambda partition, offset: found.get((partition, offset)))
    for header, partition, offset in tiles:
        try:
            yield header, references.payload(header, partition=partition, offset=offset, value=b"")
        except BadMessage as bad:
            yield header, bad


def require_same_place(header: TileHeader, base: TileHeader) -> None:
    """Refuse a tile that names a record which is not meant for it.

    Raises:
        BadMessage: `base`.
    """
    different = [name for name in _SAME if getattr(base, name) != getattr(header, name)]
    if not base.base or different:
        what = f"its {different[0]} differs" if different else "nothing may refer to that"
        raise BadMessage("base", f"the tile names offset {header.same_as} for its pixels: {what}")


class References:
    """Finds payloads; those seen last are held, others are fetched. Thread-safe.

    Args:
        fetch: Asked one at a time.
        bound_bytes: Of payloads held.
    """

    def __init__(self, fetch: Fetch, *, bound_bytes: int = HELD_BYTES) -> None:
        self._fetch, self._bound = fetch, bound_bytes
        self._lock, self._fetching = threading.Lock(), threading.Lock()
        self._held: OrderedDict[tuple[int, int], tuple[TileHeader, bytes]] = OrderedDict()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Of payloads held."""
        return self._held_bytes

    def payload(self, header: TileHeader, *, partition: int, offset: int, value: bytes) -> bytes:
        """The encoded picture of a tile that `wire.check_tile` has judged: its own, or that of the tile it names.

        Args:
            header: Of the tile.
            partition: Where its record stands.
            offset: And where there.
            value: Of its record.

        Raises:
            BadMessage: `base`: the record it names is gone, or is not one that may be named; `checksum` or `length`:
                it has another picture than was meant.
            BrokerError: It could not be looked for.
        """
        if header.same_as is None:
            if header.base:
                self._hold((partition, offset), header, value)
            return value
        if header.same_as >= offset:  # nobody waits for what may never come
            raise BadMessage("base", f"the tile at offset {offset} names offset {header.same_as} for its pixels")
        base, payload = self._find(partition, header.same_as)
        require_same_place(header, base)
        wire.check_payload(header, payload)
        return payload

    def _find(self, partition: int, offset: int) -> tuple[TileHeader, bytes]:
        place = (partition, offset)
        with self._lock:
            if (found := self._held.get(place)) is not None:
                self._held.move_to_end(place)
                return found
        with self._fetching:
            record = self._fetch(partition, offset)
        if record is None:
            raise BadMessage("base", f"the tile's pixels stood at offset {offset}, which is no longer kept")
        try:
            header = wire.read_tile_header(record.headers)
        except BadMessage as bad:
            raise BadMessage("base", f"the tile names offset {offset} for its pixels: {bad}") from None
        self._hold(place, header, record.value)
        return header, record.value

    def _hold(self, place: tuple[int, int], header: TileHeader, payload: bytes) -> None:
        with self._lock:
            if place in self._held:
                return
            self._held[place] = (header, payload)
            self._held_bytes += len(payload) + _OVERHEAD_BYTES
            while self._held_bytes > self._bound and len(self._held) > 1:
                _, (_, oldest) = self._held.popitem(last=False)
                self._held_bytes -= len(oldest) + _OVERHEAD_BYTES
