"""Tiles that have no pixels of their own, given those of the record they name: on their way into another log.

Where only changed tiles are sent, a record may name another one of its partition by its offset
(`streamproc.references`). In another place of the log that offset is another record's, and the record that is named may
lie before all that is replayed. So a replay sends each tile with its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from msgspec.structs import replace as replace_struct

from producers.replay_order import Timed, Window
from streamproc.errors import BadMessage
from streamproc.records import RecordSource
from streamproc.references import References, fetch_from
from streamproc.wire import TILE_SCHEMA


class OwnPixels:
    """Windows in which each tile has its own pixels; those whose pixels are not kept any more are left out.

    Args:
        source: Where the windows are read; asked for single records between two windows.

    Attributes:
        left_out: Tiles so far whose pixels could not be had.
    """

    def __init__(self, source: RecordSource) -> None:
        self._references = References(fetch_from(source))
        self.left_out = 0

    def of(self, windows: Iterator[Window]) -> Iterator[Window]:
        """The same windows, one by one."""
        for window in windows:
            yield replace(window, records=[own for timed in window.records if (own := self._own(timed)) is not None])

    def _own(self, timed: Timed) -> Timed | None:
        record, header = timed.record, timed.header
        if header.same_as is None and not header.base:
            return timed
        try:
            value = self._references.payload(
                header, partition=record.partition, offset=record.offset, value=record.value
            )
        except BadMessage:
            self.left_out += 1
            return None
        if header.same_as is None:
            return timed
        record = replace(record, value=value, nulls=record.nulls - {"value"})
        header = replace_struct(header, schema=TILE_SCHEMA, base=True, same_as=None)
        return replace(timed, record=record, header=header)
