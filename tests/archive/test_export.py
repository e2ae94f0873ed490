"""Events in Parquet: typed columns that anything reads, the whole event beside them, nothing that is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc import cloudevents
from streamproc.archive import export as module
from streamproc.archive.export import event_row, export
from streamproc.archive.mcap_in import open_file
from streamproc.archive.storage import Storage
from streamproc.archive.writer import Rules, TopicWriter
from streamproc.errors import BadMessage
from streamproc.model import DetectedObject, EdgeSummary, Evidence, FrameEvent, Occurrence
from streamproc.reader import Record
from tests.archive.material import change, record
from tests.cli import streamproc

CAPTURED_NS = 1_767_225_600_123_456_789
EVENTS = "streamproc.events"


def frame_event(sequence: int = 0, **changes: Any) -> FrameEvent:
    made = FrameEvent(
        camera="gate",
        run="live-1",
        sequence=sequence,
        captured_ns=CAPTURED_NS + sequence * 10**9,
        emitted_ns=CAPTURED_NS + 10**6,
        width=1280,
        height=720,
        outcome="partial",
        coverage=0.75,
        missing_tiles=[(0, 1)],
        edges=EdgeSummary(operator="canny", pixels=5, density=0.25, digest="a" * 64),
        features={},
        objects=[DetectedObject(label="face", score=2.5, box=(1.0, 2.0, 3.0, 4.0), track="t1", source="faces")],
        evidence=Evidence(topic="streamproc.tiles", offsets={"0": (1, 2)}, pipeline="p1", operators={}),
        latency_ms={"total": 12.5},
    )
    return msgspec.structs.replace(made, **changes)


def event_record(offset: int, event: FrameEvent, **changes: Any) -> Record:
    headers, value = cloudevents.encode_frame_event(event)
    return record(0, offset, topic=EVENTS, key=b"gate", headers=headers, value=value, **changes)


def written(tmp_path: Path, records: list[Record]) -> tuple[Any, module.Exported]:
    file = Storage(str(tmp_path)).create_beside("events.parquet")
    done = export(records, file, wanted=lambda _row: True)
    file.publish()
    return pq.read_table(tmp_path / "events.parquet"), done


def test_an_event_is_a_row_of_typed_columns_and_its_whole_json(tmp_path: Path) -> None:
    one = event_record(7, frame_event())
    table, done = written(tmp_path, [one])
    (row,) = table.to_pylist()
    assert (done.events, done.skipped) == (1, 0)
    whole = cloudevents.structured_event(one.headers, one.value)
    assert json.loads(row.pop("json")) == json.loads(json.dumps(whole))
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=123_456)
    sides = {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}
    assert row == {
        "id": whole["id"],
        "type": "io.streamproc.frame.v1",
        "source": "/cameras/gate",
        "subject": "live-1/0",
        "time": moment,
        "camera": "gate",
        "run": "live-1",
        "sequence": 0,
        "captured_ns": CAPTURED_NS,
        "emitted_ns": CAPTURED_NS + 10**6,
        "width": 1280,
        "height": 720,
        "outcome": "partial",
        "coverage": 0.75,
        "missing_tiles": 1,
        "edge_density": 0.25,
        "edge_digest": "a" * 64,
        "objects": [{**sides, "label": "face", "score": 2.5, "track": "t1", "source": "faces"}],
        "pipeline": "p1",
        "step": None,
        "what": None,
        "latency_ms": 12.5,
        "partition": 0,
        "offset": 7,
        "published": datetime.fromtimestamp(one.timestamp_ms / 1000, tz=UTC),
    }


def test_what_happens_on_a_frame_has_its_step_and_what_it_was() -> None:
    occurrence = Occurrence(kind="track", what="new", subject="t1", data={"label": "face"})
    headers, value = cloudevents.encode_occurrence(frame_event(), "faces", occurrence)
    row = event_row(record(0, 0, headers=headers, value=value))
    found = (row["type"], row["camera"], row["step"], row["what"], row["pipeline"], row["outcome"])
    assert found == ("io.streamproc.track.v1", "gate", "faces", "new", "p1", None)


def test_many_events_are_written_in_groups_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    table, done = written(tmp_path, [event_record(at, frame_event(at)) for at in range(35)])
    assert done.events == 35
    assert table.column("sequence").to_pylist() == list(range(35))
    assert pq.ParquetFile(tmp_path / "events.parquet").num_row_groups == 4


def test_no_events_are_a_file_with_all_columns(tmp_path: Path) -> None:
    table, done = written(tmp_path, [record()])
    assert (table.num_rows, done.skipped, "json" in table.column_names) == (0, 1, True)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["box", "label", "total"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["objects", "edges", "sequence", "coverage", "latency_ms", "width"]), anything))
def test_events_of_any_shape_fit_the_columns(data: dict[str, Any]) -> None:
    import pyarrow as pa

    headers, _ = cloudevents.encode_frame_event(frame_event())
    row = event_row(record(0, 0, headers=headers, value=json.dumps(data).encode()))
    assert pa.Table.from_pylist([row], schema=module._schema(pa)).num_rows == 1


@pytest.mark.parametrize("value", [b"", b"[]", b"no json", b"3"])
def test_what_is_no_event_is_skipped(value: bytes) -> None:
    headers, _ = cloudevents.encode_frame_event(frame_event())
    with pytest.raises(BadMessage):
        event_row(record(0, 0, headers=headers, value=value))
    with pytest.raises(BadMessage):
        event_row(record(0, 0, headers=[], value=b"{}"))


def keep(url: str, events: list[Record], **rules: Any) -> None:
    """Archive all events of a log."""
    topic_id = rules.pop("topic_id", "one")
    writer = TopicWriter(Storage(url), EVENTS, Rules(**rules), low=lambda _partition: 0)
    writer.begin({0: (0, len(events))}, topic_id=topic_id)
    for one in events:
        writer.add(one, 0)
    writer.publish()


def test_all_parts_of_an_archive_are_written_and_what_is_damaged_is_left_out_and_told(tmp_path: Path) -> None:
    url = str(tmp_path / "archive")
    keep(url, [event_record(at, frame_event(at)) for at in range(9)], rotate_bytes=4000)
    keep(url, [event_record(at, frame_event(100 + at)) for at in range(3)], topic_id="two")
    storage = Storage(url)
    file = storage.files(EVENTS)[2]
    index = open_file(storage, file).index
    change(storage, file, lambda content: content.__delitem__(slice(-9, None)))
    out = tmp_path / "all.parquet"
    done = streamproc("archive", "export", url, "--out", out, "--json")
    assert done.code == 0, done.err
    left = [at for at in range(9) if not index.first[0] <= at < index.next[0]]
    assert pq.read_table(out).column("sequence").to_pylist() == [*left, 100, 101, 102]
    line = f"{EVENTS}/{file.name}: it has no end: it is cut off, or no MCAP file: all its records are left out"
    assert json.loads(done.out)["damaged"] == [line]
    assert f"{line}; the rest is read. streamproc archive verify tells all that is wrong" in done.err


def test_the_command_writes_what_was_asked_for(tmp_path: Path) -> None:
    url = str(tmp_path / "archive")
    keep(url, [event_record(at, frame_event(at, camera="gate" if at % 2 else "hall")) for at in range(20)])
    out = tmp_path / "gate.parquet"
    options = ("--camera", "gate", "--type", "frame", "--from", "2026-01-01T00:00:05", "--json")
    done = streamproc("archive", "export", url, "--out", out, *options)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    table = pq.read_table(out)
    assert table.column("sequence").to_pylist() == [5, 7, 9, 11, 13, 15, 17, 19]
    assert (told["events"], told["passed_over"], told["bytes"]) == (8, 12, out.stat().st_size)
    assert not list(tmp_path.glob("*.partial"))
    missing = streamproc("archive", "export", url, "--out", out, "--topic", "edges")
    assert (missing.code, "it holds streamproc.events" in missing.error_line) == (1, True)
