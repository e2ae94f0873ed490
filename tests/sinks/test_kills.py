"""kill -9 at random moments, again and again: then exactly the events of the log."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet
import sqlalchemy as sa

from streamproc.sinks import parse_address
from streamproc.sinks.tables import make_engine
from tests.sinks.killed import BATCH
from tests.sinks.material import ids_of, log_of
from tests.sinks.targets import Postgres, Redis, webhook

EVENTS = 4000
KILLS = 12
ROOT = Path(__file__).parent.parent.parent


def kill_again_and_again(url: str, folder: Path, *, events: int = EVENTS) -> None:
    """Fails unless several children were killed at work."""
    arguments = [url, "sink-1", str(events), str(KILLS), "7", str(folder / "group")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.sinks.killed", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) >= 4, done.stdout


def ids_in_sql(url: str) -> list[str]:
    engine = make_engine(parse_address(url, visible=False))
    try:
        with engine.connect() as connection:
            objects = connection.execute(sa.text("SELECT count(*), count(DISTINCT event_id) FROM objects")).one()
            frames = connection.execute(sa.text("SELECT count(*) FROM events WHERE type LIKE '%frame%'")).scalar()
            assert tuple(objects) == (frames, frames)
            return sorted(connection.execute(sa.text("SELECT id FROM events")).scalars())
    finally:
        engine.dispose()


def test_a_killed_sink_of_lines_neither_loses_nor_doubles(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    kill_again_and_again(f"jsonl:{file}", tmp_path)
    assert sorted(json.loads(line)["id"] for line in file.read_text().splitlines()) == ids_of(log_of(EVENTS))


def test_a_killed_sink_of_parquet_files_neither_loses_nor_doubles(tmp_path: Path) -> None:
    folder, events = tmp_path / "out", 1500  # each batch makes files
    kill_again_and_again(f"parquet:{folder}", tmp_path, events=events)
    assert sorted(pyarrow.parquet.read_table(folder)["id"].to_pylist()) == ids_of(log_of(events))


def test_a_killed_sink_of_sqlite_neither_loses_nor_doubles(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    kill_again_and_again(url, tmp_path)
    assert ids_in_sql(url) == ids_of(log_of(EVENTS))


def test_a_killed_sink_of_postgresql_neither_loses_nor_doubles(tmp_path: Path, database: Postgres) -> None:
    url = database.fresh()
    kill_again_and_again(url, tmp_path)
    assert ids_in_sql(url) == ids_of(log_of(EVENTS))


def test_a_killed_sink_of_redis_neither_loses_nor_doubles(tmp_path: Path, redis: Redis) -> None:
    kill_again_and_again(redis.url("killed"), tmp_path)
    entries = redis.client().xrange("killed")
    assert sorted(fields[b"id"].decode() for _, fields in entries) == ids_of(log_of(EVENTS))


def test_a_killed_webhook_gets_each_event_and_no_more_than_a_batch_twice_for_each_kill(tmp_path: Path) -> None:
    with webhook() as server:
        kill_again_and_again(server.url, tmp_path, events=1500)
        taken = Counter(server.taken())
    assert sorted(taken) == ids_of(log_of(1500))
    assert sum(taken.values()) - len(taken) <= KILLS * BATCH
