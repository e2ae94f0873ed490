"""What was worked out for a tile that others refer to: they show the same pixels, so it holds for them, too."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from streamproc import wire
from streamproc.errors import BadMessage
from streamproc.model import Result, TileHeader
from streamproc.references import require_same_place

_OVERHEAD_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What a tile gave.

    Attributes:
        header: Of the tile that was worked on.
        results: By step name; plain values, shared by all tiles that refer to it.
        thumbnail: Empty where none was asked for.
    """

    header: TileHeader
    results: Mapping[str, Result]
    thumbnail: bytes


class Recall:
    """Results held within bounds; those used last stay. Thread-safe.

    Args:
        bound_bytes: Of results, encoded.
    """

    def __init__(self, *, bound_bytes: int) -> None:
        self._bound = bound_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[object, ...], tuple[Known, int]] = OrderedDict()
        self.held_bytes = 0

    def find(self, header: TileHeader, *, partition: int, due: tuple[str, ...]) -> Known | None:
        """What is known of the tile that this one refers to; None if that has to be worked out.

        Args:
            header: Judged by `wire.check_tile`.
            partition: Where its record stands.
            due: Names of the results that are wanted.

        Raises:
            BadMessage: `base`: it refers to a tile of another place; `checksum`: to other pixels than it means.
        """
        if header.same_as is None:
            return None
        key = (partition, header.same_as, due, header.preview)
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            known, _ = self._held[key]
        require_same_place(header, known.header)
        if header.payload_digest != known.header.payload_digest:
            raise BadMessage("checksum", f"offset {header.same_as} has another picture than the tile means")
        return known

    def keep(self, known: Known, *, partition: int, offset: int, due: tuple[str, ...]) -> None:
        """Hold what a tile gave, if others may refer to it; `offset` is that of the tile with the pixels."""
        key = (partition, offset, due, known.header.preview)
        size = len(wire.encode_results(known.results)) + len(known.thumbnail) + _OVERHEAD_BYTES
        with self._lock:
            if key in self._held or size > self._bound:
                return
            self._held[key] = known, size
            self.held_bytes += size
            while self.held_bytes > self._bound:
                _, (_, oldest) = self._held.popitem(last=False)
                self.held_bytes -= oldest
