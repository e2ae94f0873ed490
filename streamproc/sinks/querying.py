"""Events out of SQL again: by camera, time, label and kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamproc.errors import SinkError
from streamproc.sinks import tables
from streamproc.sinks.address import Address
from streamproc.sinks.event import event_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which events; None is all.

    Attributes:
        camera, kind: Exactly.
        since, until: Of their time, UTC; `until` is exclusive.
        label: Exactly; of one of a frame's objects, or of what happened.
        limit: At most so many, the newest.
    """

    camera: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    label: str | None = None
    limit: int = 100


def query(address: Address, asked: Asked) -> list[dict[str, Any]]:
    """The newest events that match, oldest first, as CloudEvents in structured mode. Nothing is changed.

    Raises:
        SinkError: There is no such database, or it has no events of ours.
    """
    if address.path is not None and not address.path.is_file():
        raise SinkError(f"{address.shown} does not exist: write events into it with streamproc sink")
    engine = tables.make_engine(address, read_only=True)
    try:
        with tables.told(address), engine.connect() as connection:
            if not tables.check_schema(connection, address.shown):
                raise SinkError(f"{address.shown} holds no events: write some into it with streamproc sink")
            found = connection.execute(_statement(asked)).scalars().all()
    finally:
        engine.dispose()
    return list(reversed(found))


def _statement(asked: Asked) -> sa.Select[tuple[Any]]:
    """All values are bound as parameters."""
    events, objects, occurrences = tables.events, tables.objects, tables.occurrences
    statement = sa.select(events.c.data)
    if asked.camera is not None:
        statement = statement.where(events.c.camera == asked.camera)
    if asked.kind is not None:
        statement = statement.where(events.c.type == event_type(asked.kind))
    if asked.since is not None:
        statement = statement.where(events.c.time >= asked.since)
    if asked.until is not None:
        statement = statement.where(events.c.time < asked.until)
    if asked.label is not None:
        labelled = [sa.select(table.c.event_id).where(table.c.label == asked.label) for table in (objects, occurrences)]
        statement = statement.where(events.c.id.in_(sa.union_all(*labelled)))
    newest = (events.c.time.desc().nulls_last(), events.c.camera, events.c.sequence.desc(), events.c.id)
    return statement.order_by(*newest).limit(asked.limit)
