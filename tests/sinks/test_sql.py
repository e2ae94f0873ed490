"""SQLite and PostgreSQL: one transaction for events and position, an event once by its id, and queries."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from streamproc.errors import SinkError, SinkUnavailable
from streamproc.sinks import parse_address
from streamproc.sinks.event import SinkEvent, read_event
from streamproc.sinks.querying import Asked, query
from streamproc.sinks.sink import Batch, TargetMoved, Written
from streamproc.sinks.sql import SqlSink
from streamproc.sinks.tables import SCHEMA, make_engine, metadata
from tests.event_schema import check_event
from tests.sinks.material import TOPIC, batch, crossing, frame, ids_of, log_of, record, run
from tests.sinks.targets import PASSWORD, Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        (tmp_path / "a b#%20").mkdir()
        return f"sqlite:///{tmp_path / 'a b#%20' / 'events.db'}"
    database: Postgres = request.getfixturevalue("database")
    return database.fresh()


@pytest.fixture
def opened() -> Iterator[Callable[..., SqlSink]]:
    made: list[SqlSink] = []

    def make(url: str, name: str = "n") -> SqlSink:
        made.append(SqlSink(parse_address(url, visible=False), name=name, topic=TOPIC))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    engine = make_engine(parse_address(url, visible=False))
    try:
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def of(*events: SinkEvent, start: int = 0) -> Batch:
    end = max(event.offset for event in events) + 1
    return Batch(events=events, starts={0: start}, ends={0: end})


def test_events_objects_and_what_happened_are_rows(url: str, opened: Callable[..., SqlSink]) -> None:
    sink = opened(url)
    assert sink.positions() == {}
    sink.begin({0: 0})
    events = [read_event(record(frame(1, labels=("car", "cat")), 0)), read_event(crossing(frame(1), 1))]
    assert sink.write(of(*events)).new == 2
    found = rows(url, "SELECT type, camera, run, sequence, outcome, coverage FROM events ORDER BY type")
    assert found == [
        ("io.streamproc.frame.v1", "gate", "run-1", 1, "complete", 1.0),
        ("io.streamproc.rule.v1", "gate", "run-1", 1, None, None),
    ]
    found = rows(url, "SELECT event_id, number, label, score, x1, y1, x2, y2, track FROM objects ORDER BY number")
    assert found == [
        (events[0].id, 0, "car", 0.5, 1, 2, 30, 40, "t1"),
        (events[0].id, 1, "cat", 0.5, 1, 2, 30, 40, "t1"),
    ]
    found = rows(url, "SELECT event_id, kind, step, what, subject, label FROM occurrences")
    assert found == [(events[1].id, "rule", "line", "crossed", "t1", "person")]
    assert rows(url, "SELECT name, topic, partition, next_offset FROM positions") == [("n", TOPIC, 0, 2)]


def test_an_event_is_there_once_however_often_and_from_wherever_it_is_written(
    url: str, opened: Callable[..., SqlSink]
) -> None:
    for name in ("first", "second"):
        log = log_of(90)
        report = run(log, opened(url, name), start="beginning")
        assert (report.written, report.known) == ((90, 0) if name == "first" else (0, 90))
    assert run(log_of(90), opened(url, "second"), start="beginning").known == 90
    assert sorted(row[0] for row in rows(url, "SELECT id FROM events")) == ids_of(log_of(90))
    assert rows(url, "SELECT count(*) FROM objects") == rows(
        url, "SELECT count(*) FROM events WHERE type LIKE '%frame%'"
    )
    double = read_event(record(frame(500), 30))
    sink = opened(url, "third")
    sink.begin(sink.positions() | {0: 30})
    assert sink.write(of(double, read_event(record(frame(500), 31)), start=30)).new == 1


def test_a_batch_that_fails_half_way_leaves_nothing(url: str, opened: Callable[..., SqlSink]) -> None:
    sink = opened(url)
    sink.positions()
    sink.begin({0: 0})
    rows(url, "DROP TABLE occurrences")
    with pytest.raises(SinkError) as refused:
        sink.write(of(read_event(record(frame(1), 0)), read_event(crossing(frame(1), 1))))
    assert not isinstance(refused.value, SinkUnavailable)
    assert "INSERT" not in str(refused.value)
    assert rows(url, "SELECT count(*) FROM events") == [(0,)]
    assert sink.positions() == {0: 0}


def test_a_position_that_is_not_ours_is_told(url: str, opened: Callable[..., SqlSink]) -> None:
    sink = opened(url)
    sink.positions()
    sink.begin({0: 0, 1: 0})
    assert sink.write(batch((0, 0, 2))) == Written(new=2)
    assert sink.write(batch((0, 0, 2))) == Written(new=0, known=2)
    with pytest.raises(TargetMoved) as moved:
        sink.write(batch((0, 0, 2), (1, 0, 1)))
    assert moved.value.positions == {0: 2, 1: 0}
    sink.write(batch((1, 0, 1)))
    assert rows(url, "SELECT count(*) FROM events") == [(3,)]


def test_a_sink_that_dies_while_it_makes_its_tables_leaves_none(
    url: str, opened: Callable[..., SqlSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(connection: sa.Connection, **_options: Any) -> None:
        connection.execute(sa.schema.CreateTable(metadata.tables["events"]))
        raise KeyboardInterrupt

    sink = opened(url)
    with monkeypatch.context() as patched:
        patched.setattr(metadata, "create_all", die)
        with pytest.raises(KeyboardInterrupt):
            sink.positions()
    run(log_of(30), opened(url))
    assert rows(url, "SELECT count(*) FROM events") == [(30,)]


def test_tables_of_others_are_left_alone(url: str, opened: Callable[..., SqlSink]) -> None:
    rows(url, "CREATE TABLE objects (mine INTEGER)")
    with pytest.raises(SinkError, match="has a table 'objects' that is not ours"):
        opened(url).positions()
    assert rows(url, "SELECT count(*) FROM objects") == [(0,)]


def test_options_of_postgresql_are_kept(database: Postgres, opened: Callable[..., SqlSink]) -> None:
    url = database.fresh()
    rows(url, "CREATE SCHEMA cams")
    run(log_of(30), opened(f"{url}?options=-csearch_path%3Dcams"))
    assert rows(url, "SELECT count(*) FROM cams.events") == [(30,)]


def test_a_newer_schema_is_refused_in_one_line(url: str, opened: Callable[..., SqlSink]) -> None:
    opened(url).positions()
    rows(url, "UPDATE streamproc_schema SET version = 99")
    for refused in (opened(url).positions, lambda: query(parse_address(url, visible=False), Asked())):
        with pytest.raises(SinkError, match=f"has schema 99, this streamproc knows {SCHEMA}") as error:
            refused()
        assert PASSWORD not in str(error.value)


def test_any_text_of_an_event_is_stored(url: str, opened: Callable[..., SqlSink]) -> None:
    sink = opened(url)
    sink.positions()
    sink.begin({0: 0})
    labels = ["a\0b", "';DROP TABLE events;--", "\U0001f600" * 300, "ä\n\t\x1b[1m"]
    event = read_event(record(frame(1, labels=labels), 0))
    sink.write(of(event))
    (stored,) = query(parse_address(url, visible=False), Asked())
    assert stored == json.loads(event.line)
    assert [row[0] for row in rows(url, "SELECT label FROM objects ORDER BY number")] == [
        "a\ufffdb", labels[1], "\U0001f600" * 200, labels[3],
    ]  # fmt: skip


def test_queries_are_by_camera_time_label_and_kind(url: str, opened: Callable[..., SqlSink]) -> None:
    log = log_of(90)
    run(log, opened(url))
    address = parse_address(url, visible=False)

    def subjects(**asked: Any) -> list[tuple[str, str]]:
        found = query(address, Asked(**asked))
        for event in found:
            check_event(event)
        return [(event["source"].removeprefix("/cameras/"), event["subject"]) for event in found]

    def at(second: int) -> datetime:
        return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)

    assert len(subjects()) == 90
    assert subjects(camera="cam1", since=at(3), until=at(5), kind="frame") == [("cam1", "run-1/3"), ("cam1", "run-1/4")]
    assert subjects(camera="cam1", label="person") == [("cam1", f"run-1/{at}") for at in (4, 9, 14, 19, 24)]
    assert subjects(label="car", camera="cam2", since=at(20), until=at(22)) == [
        ("cam2", "run-1/20"),
        ("cam2", "run-1/21"),
    ]
    assert subjects(kind="rule", camera="cam0", limit=2) == [("cam0", "run-1/19"), ("cam0", "run-1/24")]
    assert subjects(label="' OR 1=1 --") == []
    assert subjects(camera="cam1' --") == []
    assert subjects(kind="camera") == []


def test_a_query_makes_no_database(tmp_path: Path, database: Postgres) -> None:
    with pytest.raises(SinkError, match="does not exist"):
        query(parse_address(f"sqlite:///{tmp_path / 'no.db'}", visible=True), Asked())
    assert not (tmp_path / "no.db").exists()
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(SinkError, match="holds no events"):
        query(parse_address(f"sqlite:///{tmp_path / 'other.db'}", visible=True), Asked())
    (tmp_path / "text.db").write_text("this is no database at all, but a long enough text")
    with pytest.raises(SinkError, match="not a database"):
        query(parse_address(f"sqlite:///{tmp_path / 'text.db'}", visible=True), Asked())
    with pytest.raises(SinkError, match="holds no events"):
        query(parse_address(database.fresh(), visible=False), Asked())


def test_a_locked_sqlite_is_waited_for(
    tmp_path: Path, opened: Callable[..., SqlSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamproc.sinks.tables._ANSWER_S", 0.05)
    url = f"sqlite:///{tmp_path / 'events.db'}"
    sink = opened(url)
    sink.positions()
    sink.begin({0: 0})
    engine = make_engine(parse_address(url, visible=False))
    with engine.begin(), pytest.raises(SinkUnavailable, match="locked"):
        sink.write(batch((0, 0, 1)))
    engine.dispose()
    assert sink.write(batch((0, 0, 1))).new == 1


def test_postgresql_is_waited_for_while_it_is_away(database: Postgres, opened: Callable[..., SqlSink]) -> None:
    url, lines, log = database.fresh(), list[str](), log_of(600)
    sink = opened(url)
    sink.limits = type(sink.limits)(events=20, bytes=2**20, wait_s=0.01)
    reads: list[int] = []

    def bounce() -> None:
        database.down(signal.SIGQUIT)  # as a crash: it recovers from its log
        away.wait(0.3)
        database.up()

    away, thread = threading.Event(), threading.Thread(target=bounce)

    def on_read() -> None:
        reads.append(1)
        if len(reads) == 10:
            thread.start()

    log.on_read = on_read
    report = run(log, sink, lines=lines, first_pause_s=0.1)
    thread.join()
    assert report.retries > 0
    assert any("answers again" in line for line in lines)
    assert not any(PASSWORD in line for line in lines)
    assert sorted(row[0] for row in rows(url, "SELECT id FROM events")) == ids_of(log)


def test_a_wrong_password_and_a_database_that_is_not_there_end_it_and_nothing_that_is_secret_is_told(
    database: Postgres, opened: Callable[..., SqlSink]
) -> None:
    for url in (database.url().replace(PASSWORD, "wrong-7781"), database.url() + "x", database.url(password=False)):
        with pytest.raises(SinkError) as refused:
            opened(url).positions()
        assert not isinstance(refused.value, SinkUnavailable), url
        assert "7781" not in str(refused.value)
        assert PASSWORD not in str(refused.value)


def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path, opened: Callable[..., SqlSink]) -> None:
    assert opened(f"sqlite:///{tmp_path}/a/b/events.db").positions() == {}


@pytest.mark.parametrize("place", ["file/events.db", "folder", "mine.db"])
def test_a_sqlite_file_that_can_never_be_written_is_not_waited_for(
    tmp_path: Path, opened: Callable[..., SqlSink], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine.db").write_text("")
    monkeypatch.setattr("os.access", lambda path, _mode: path.name != "mine.db")
    words = "cannot be written: (File exists|Is a directory|Permission denied): correct that"
    with pytest.raises(SinkError, match=words) as told:
        opened(f"sqlite:///{tmp_path}/{place}").positions()
    assert not isinstance(told.value, SinkUnavailable)


def test_postgresql_that_is_not_there_is_unavailable(opened: Callable[..., SqlSink]) -> None:
    with pytest.raises(SinkUnavailable, match="refused"):
        opened("postgresql://ann@127.0.0.1:1/cams").positions()
