"""Parquet files: whole or not there, named by what they stand for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet
import pytest

from streamproc.errors import SinkError, SinkUnavailable
from streamproc.sinks.parquet import ParquetSink
from tests.event_schema import check_event
from tests.sinks.material import TOPIC, batch, ids_of, log_of, run


def sink_of(folder: Path, name: str = "n") -> ParquetSink:
    return ParquetSink(folder, name=name, topic=TOPIC)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.parquet"))


def test_a_folder_is_one_table_of_all_events(tmp_path: Path) -> None:
    log = log_of(60)
    run(log, sink_of(tmp_path))
    table = pyarrow.parquet.read_table(tmp_path)
    assert sorted(table["id"].to_pylist()) == ids_of(log)
    for line in table["event"].to_pylist():
        check_event(json.loads(line))
    frames = table.filter(pyarrow.compute.equal(table["type"], "io.streamproc.frame.v1")).to_pylist()
    one = next(row for row in frames if row["camera"] == "cam1" and row["sequence"] == 3)
    assert one["time"] == datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)
    assert one["emitted"] == datetime(2026, 1, 1, 0, 0, 3, 500_000, tzinfo=UTC)
    assert (one["outcome"], one["coverage"], one["partition"]) == ("complete", 1.0, 1)
    assert one["objects"] == [
        {"label": "car", "score": 0.5, "track": "t1", "x1": 1.0, "y1": 2.0, "x2": 30.0, "y2": 40.0}
    ]


def test_files_are_named_by_the_offsets_they_stand_for(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    assert sink.positions() == {}
    sink.begin({0: 0})
    sink.write(batch((0, 0, 3), (2, 5, 7)))
    assert names(tmp_path) == [
        "events-p00000-00000000000000000000-00000000000000000003.parquet",
        "events-p00002-00000000000000000005-00000000000000000007.parquet",
    ]


def test_after_a_kill_between_two_files_of_a_batch_each_event_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_of(tmp_path)
    sink.begin(sink.positions() | {0: 0, 1: 0})
    write, written = sink._write, list[str]()

    def full(events: object, name: str) -> None:
        if written:
            (tmp_path / ".events.part").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        written.append(name)
        write(events, name)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(sink, "_write", full)
    with pytest.raises(SinkUnavailable, match="No space left"):
        sink.write(batch((0, 0, 3), (1, 0, 3)))
    sink.close()
    sink = sink_of(tmp_path)
    assert sink.positions() == {0: 3, 1: 0}
    assert not (tmp_path / ".events.part").exists()
    sink.begin({0: 3, 1: 0})
    sink.write(batch((0, 3, 4), (1, 0, 2)))
    found = pyarrow.parquet.read_table(tmp_path)["id"].to_pylist()
    assert sorted(found) == sorted(event.id for event in batch((0, 0, 4), (1, 0, 2)).events)


def test_a_batch_that_is_tried_again_replaces_its_files(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    sink.begin(sink.positions())
    sink.write(batch((0, 0, 3)))
    sink.write(batch((0, 0, 3)))
    assert len(names(tmp_path)) == 1
    assert pyarrow.parquet.read_table(tmp_path).num_rows == 3


def test_files_that_were_taken_away_are_not_written_again(tmp_path: Path) -> None:
    sink = sink_of(tmp_path)
    sink.begin(sink.positions())
    sink.write(batch((0, 0, 3)))
    sink.close()
    (tmp_path / names(tmp_path)[0]).unlink()
    assert sink_of(tmp_path).positions() == {0: 3}


def test_a_folder_of_others_a_second_process_and_another_name_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = sink_of(folder)
    first.begin(first.positions())
    first.write(batch((0, 0, 3)))
    with pytest.raises(SinkError, match="written by another process"):
        sink_of(folder).positions()
    first.close()
    with pytest.raises(SinkError, match="belongs to sink n"):
        sink_of(folder, "other").positions()
    (folder / "_position.json").unlink()
    with pytest.raises(SinkError, match=r"no _position\.json"):
        sink_of(folder).positions()


def test_a_file_where_the_folder_should_be_ends_it_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(SinkError, match="cannot be written: File exists: correct that") as told:
        sink_of(tmp_path / "x.jsonl").positions()
    assert not isinstance(told.value, SinkUnavailable)
