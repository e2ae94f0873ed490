"""The tables of events in SQL, and how a database is opened.

| table | a row for each |
|---|---|
| `events` | event, by its id; `data` is its CloudEvent as JSON |
| `objects` | object of a frame event; its box in pixels of the frame |
| `occurrences` | event of something that happened: a track, a rule, an anomaly, a camera |
| `positions` | sink, topic and partition: the next offset to be read |
| `streamproc_schema` | the one version of all this |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event as sa_event
from sqlalchemy import exc

from streamproc.errors import SinkError, SinkUnavailable
from streamproc.sinks.address import Address

SCHEMA: Final = 1
_ANSWER_S: Final = 10
_SQLITE_PASSING: Final = ("locked", "busy", "full", "disk i/o", "unable to open", "readonly")
_PG_PASSING: Final = (
    "08",
    "25006",
    "40",
    "53",
    "55P03",
    "57",
    "58",
)  # classes and codes of SQLSTATE: see `unavailable`


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which has no time zones, keeps it without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """On the way in."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """On the way out."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


metadata = sa.MetaData()
versions = sa.Table(
    "streamproc_schema",
    metadata,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("camera", sa.Text, nullable=False),
    sa.Column("run", sa.Text),
    sa.Column("sequence", sa.BigInteger),
    sa.Column("time", UtcTime),
    sa.Column("emitted", UtcTime),
    sa.Column("outcome", sa.Text),
    sa.Column("coverage", sa.Double),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index("events_by_camera_and_time", "camera", "time"),
    sa.Index("events_by_time", "time"),
)
_EVENT: Final = ("event_id", sa.Text)
objects = sa.Table(
    "objects",
    metadata,
    sa.Column(*_EVENT, sa.ForeignKey("events.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("score", sa.Double),
    *(sa.Column(side, sa.Double) for side in ("x1", "y1", "x2", "y2")),
    sa.Column("track", sa.Text),
    sa.Index("objects_by_label", "label"),
)
occurrences = sa.Table(
    "occurrences",
    metadata,
    sa.Column(*_EVENT, sa.ForeignKey("events.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("what", sa.Text),
    sa.Column("subject", sa.Text),
    sa.Column("label", sa.Text),
    sa.Index("occurrences_by_label", "label"),
)
positions = sa.Table(
    "positions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)


def make_engine(address: Address, *, read_only: bool = False) -> sa.Engine:
    """An engine with one connection, waits bounded; nothing is connected yet.

    Raises:
        SinkError: The address cannot be used, or its driver is not installed.
    """
    try:
        if address.path is not None:
            return _sqlite(address.path, read_only=read_only)
        url = sa.make_url(address.url).set(drivername="postgresql+psycopg", password=address.password)
        waits = {"connect_timeout": _ANSWER_S, "tcp_user_timeout": _ANSWER_S * 1000, "keepalives_idle": _ANSWER_S}
        session = f"-c statement_timeout={6 * _ANSWER_S * 1000} -c lock_timeout={_ANSWER_S * 1000}"
        own = url.query.get("options", "")  # such as a search_path
        asked = {"options": f"{session} {own if isinstance(own, str) else ' '.join(own)}"}
        return sa.create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=waits | asked)
    except ImportError as error:
        raise SinkError(f"{address.shown} needs {error.name}: pip install 'streamproc[sinks]'") from None
    except (exc.ArgumentError, ValueError) as error:
        raise SinkError(f"{address.shown} cannot be used: {address.clean(error)}") from None


def _sqlite(file: Path, *, read_only: bool) -> sa.Engine:
    mode = "ro" if read_only else "rwc"
    place = file.absolute().as_uri()  # escapes what has a meaning in a URI
    url = sa.URL.create("sqlite", database=place, query={"uri": "true", "mode": mode})
    engine = sa.create_engine(url, connect_args={"timeout": _ANSWER_S}, poolclass=sa.pool.StaticPool)

    # Python's sqlite3 begins a transaction before the first row only: tables would be there although the rest is not.
    @sa_event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")  # waits for another writer here

    @sa_event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # see `_begin`
        cursor = connection.cursor()
        if not read_only:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")  # a committed batch outlives a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


def prepare(connection: sa.Connection, shown: str) -> None:
    """Make the tables if they are missing.

    Raises:
        SinkError: They are of a newer schema, or tables of others have these names.
    """
    if connection.dialect.name == "postgresql":  # two sinks that make tables at once would meet in the catalogue
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7238514)"))
    if not check_schema(connection, shown):
        others = sorted(set(metadata.tables) & set(sa.inspect(connection).get_table_names()) - {versions.name})
        if others:
            raise SinkError(f"{shown} has a table {others[0]!r} that is not ours: use another database or schema")
        metadata.create_all(connection)
        connection.execute(sa.insert(versions).values(id=1, version=SCHEMA))


def check_schema(connection: sa.Connection, shown: str) -> bool:
    """Whether our tables are there.

    Raises:
        SinkError: They are of a newer schema.
    """
    if not sa.inspect(connection).has_table(versions.name):
        return False
    version = connection.execute(sa.select(versions.c.version)).scalar()
    if version is None:
        return False
    if version > SCHEMA:
        raise SinkError(f"{shown} has schema {version}, this streamproc knows {SCHEMA}: use a newer streamproc")
    return True


@contextlib.contextmanager
def told(address: Address) -> Iterator[None]:
    """Errors of a database as one line that shows no event and no password."""
    try:
        yield
    except exc.DBAPIError as error:
        kind = SinkUnavailable if unavailable(error) else SinkError
        raise kind(f"{address.shown}: {address.clean(_first_line(error.orig))}") from None
    except exc.TimeoutError:
        raise SinkUnavailable(f"{address.shown}: no connection is free") from None
    except exc.SQLAlchemyError as error:
        raise SinkError(f"{address.shown}: {address.clean(_first_line(error))}") from None


def _first_line(error: object) -> str:
    """Further lines show the statement and its values."""
    return str(error).partition("\n")[0]


def unavailable(error: exc.DBAPIError) -> bool:
    """Whether another try may help.

    PostgreSQL: connections (08), read-only after a failover (25006), deadlocks (40), no space or memory (53), locks
    (55P03), shutting down (57), disk errors (58), and a server that does not answer at all. A wrong password or a
    database that does not exist are not among them.

    References:
        PostgreSQL manual, appendix A, Error Codes.
    """
    text = str(error.orig).lower()
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PG_PASSING)
    if type(error.orig).__module__.startswith("sqlite3"):
        return isinstance(error, exc.OperationalError) and any(word in text for word in _SQLITE_PASSING)
    refused = "authentication failed" in text or "does not exist" in text or "no password supplied" in text
    return isinstance(error, exc.OperationalError | exc.InterfaceError) and not (refused or "no pg_hba.conf" in text)
