"""Events into SQLite or PostgreSQL: a batch and its position in one transaction, an event once by its id."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from streamproc.sinks import tables
from streamproc.sinks.address import Address
from streamproc.sinks.event import SinkEvent
from streamproc.sinks.files import disk_error
from streamproc.sinks.rows import event_row, found_objects, happened
from streamproc.sinks.sink import Batch, Limits, TargetMoved, Written


class SqlSink:
    """Writes the tables of `tables`; made if they are missing.

    Args:
        address: SQLite's file, or PostgreSQL's URL.
        name: Of the sink.
        topic: Of the events.
    """

    limits = Limits(events=1000, bytes=4 * 2**20, wait_s=0.5)
    keeps_positions = True
    can_rewind = True

    def __init__(self, address: Address, *, name: str, topic: str) -> None:
        self._address, self._name, self._topic = address, name, topic
        self._engine = tables.make_engine(address)

    def positions(self) -> dict[int, int]:
        """Connect, make the tables if they are missing, and read where this sink is."""
        if self._address.path is not None:
            self._require_file(self._address.path.absolute())
        with tables.told(self._address), self._engine.begin() as connection:
            tables.prepare(connection, self._address.shown)
            return self._stored(connection)

    def begin(self, positions: Mapping[int, int]) -> None:
        """Store where the first batch begins."""
        with tables.told(self._address), self._engine.begin() as connection:
            self._store(connection, positions)

    def write(self, batch: Batch) -> Written:
        """Write events, objects, occurrences and positions in one transaction.

        Raises:
            TargetMoved: The stored positions are not where the batch begins; nothing is written.
        """
        with tables.told(self._address), self._engine.begin() as connection:
            stored = self._stored(connection)
            if all(stored.get(partition) == end for partition, end in batch.ends.items()):
                return Written(new=0, known=len(batch.events))  # the answer to an earlier try was lost
            if any(stored.get(partition) != start for partition, start in batch.starts.items()):
                raise TargetMoved(stored)
            new = _insert(connection, batch.events) if batch.events else 0
            self._store(connection, batch.ends)
        return Written(new=new, known=len(batch.events) - new)

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def _require_file(self, path: Path) -> None:
        """Make its folder, and say what SQLite would call "unable to open" whether it may pass or not."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if any(place.exists() and not os.access(place, os.R_OK | os.W_OK) for place in (path.parent, path)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise disk_error(self._address.shown, error) from None

    def _stored(self, connection: sa.Connection) -> dict[int, int]:
        table = tables.positions
        ours = (table.c.name == self._name) & (table.c.topic == self._topic)
        asked = sa.select(table.c.partition, table.c.next_offset).where(ours).with_for_update()
        return {row.partition: row.next_offset for row in connection.execute(asked)}

    def _store(self, connection: sa.Connection, positions: Mapping[int, int]) -> None:
        rows = [
            {"name": self._name, "topic": self._topic, "partition": partition, "next_offset": offset}
            for partition, offset in positions.items()
        ]
        if rows:
            insert = _insert_into(connection, tables.positions)
            replaced = insert.on_conflict_do_update(
                index_elements=["name", "topic", "partition"], set_={"next_offset": insert.excluded.next_offset}
            )
            connection.execute(replaced, rows)


def _insert(connection: sa.Connection, events: Sequence[SinkEvent]) -> int:
    """Insert the events that are not there; how many."""
    unique = {event.id: event for event in events}
    insert = _insert_into(connection, tables.events).on_conflict_do_nothing(index_elements=["id"])
    returned = connection.execute(insert.returning(tables.events.c.id), [_row(event) for event in unique.values()])
    new = [unique[one] for one in returned.scalars()]
    _insert_all(connection, tables.objects, (row for event in new for row in _objects(event)))
    _insert_all(connection, tables.occurrences, (row for event in new for row in _occurrences(event)))
    return len(new)


def _insert_all(connection: sa.Connection, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    if found := list(rows):
        connection.execute(sa.insert(table), found)


def _insert_into(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _row(event: SinkEvent) -> dict[str, Any]:
    return {**event_row(event), "data": event.event}


def _objects(event: SinkEvent) -> list[dict[str, Any]]:
    return [
        {"event_id": event.id, "number": number, **found._asdict()} for number, found in enumerate(found_objects(event))
    ]


def _occurrences(event: SinkEvent) -> list[dict[str, Any]]:
    found = happened(event)
    return [] if found is None else [{"event_id": event.id, **found._asdict()}]
