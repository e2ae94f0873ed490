"""`streamproc sink` and `query` as a user types them, where no broker is needed: what is refused, printed, hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamproc.cli.main import app
from streamproc.errors import UsageError
from streamproc.sinks import parse_address
from streamproc.sinks.sql import SqlSink
from tests.cli import streamproc
from tests.sinks.material import TOPIC, log_of, run

CANARY = "canary-4471"


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    run(log_of(90), SqlSink(parse_address(url, visible=True), name="n", topic=TOPIC))
    return url


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sink"], "STREAMPROC_SINK_URL"),
        (["sink", "ftp://h/x"], "jsonl:PATH"),
        (["sink", f"postgresql://ann:{CANARY}@h/d"], "STREAMPROC_SINK_PASSWORD"),
        (["sink", "a.jsonl", "--type", "frames"], "--type 'frames': use frame, track"),
        (["sink", "a.jsonl", "--from", "yesterday"], "--from 'yesterday': use committed"),
        (["sink", "a.jsonl", "--name", "a b"], "--name 'a b'"),
        (["sink", "a.jsonl", "--refused", "r.jsonl"], "--refused is for webhooks"),
        (["sink", "redis://h/"], "name a stream"),
        (["query", "a.jsonl"], "is no database"),
        (["query", "sqlite:///a.db", "--from", "soon"], "--from 'soon'"),
        (["query", "sqlite:///a.db", "--from", "1h", "--to", "2h"], "--to 2h is not after --from 1h"),
    ],
)
def test_wrong_usage_is_refused_with_what_to_do(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        app(arguments, standalone_mode=False)
    assert refused.value.exit_code == 2
    assert told in str(refused.value)
    assert CANARY not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_query_prints_a_table_or_json_lines(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*arguments: str) -> tuple[list[str], str]:
        app(["query", *arguments], standalone_mode=False)
        printed = capsys.readouterr()
        return printed.out.splitlines(), printed.err

    table, _ = asked(database, "--camera", "cam1", "--label", "person", "--to", "2026-01-01T00:00:10")
    assert [line.split()[:5] for line in table[1:]] == [
        ["2026-01-01T00:00:04.000000Z", "cam1/run-1/4", "rule", "crossed,", "t1"],
        ["2026-01-01T00:00:09.000000Z", "cam1/run-1/9", "rule", "crossed,", "t1"],
    ]
    cut, told = asked(database, "--limit", "3")
    assert (len(cut), "newest 3" in told) == (4, True)
    none, told = asked(database, "--camera", "nobody")
    assert (none, "no events match" in told) == ([], True)
    monkeypatch.setenv("STREAMPROC_SINK_URL", database)
    events = [json.loads(line) for line in asked("--json", "--type", "frame", "--limit", "3")[0]]
    assert [event["data"]["sequence"] for event in events] == [24, 24, 24]
    assert all(event["type"] == "io.streamproc.frame.v1" for event in events)


def test_a_query_of_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = streamproc("query", "sqlite:///no.db", cwd=tmp_path)
    assert (done.code, "sqlite:///no.db does not exist" in done.error_line) == (1, True)
    done = streamproc("query", "postgresql://ann@127.0.0.1:1/d", STREAMPROC_SINK_PASSWORD=CANARY)
    assert (done.code, "refused" in done.error_line) == (1, True)
    assert CANARY not in done.err
