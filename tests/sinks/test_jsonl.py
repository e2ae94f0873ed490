"""Lines of JSON: what a kill, a full disk, a rotation or a second process leaves."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import SinkError, SinkUnavailable
from streamproc.sinks import jsonl
from streamproc.sinks.files import Position, write_position
from streamproc.sinks.jsonl import JsonlSink
from streamproc.sinks.sink import Written
from tests.event_schema import check_event
from tests.sinks.material import TOPIC, batch, ids_of, log_of, run


def sink_of(file: Path, name: str = "n") -> JsonlSink:
    return JsonlSink(file, name=name, topic=TOPIC)


def opened(file: Path) -> JsonlSink:
    sink = sink_of(file)
    sink.begin(sink.positions())
    return sink


def ids(file: Path) -> list[str]:
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]


def expected(*stretches: tuple[int, int, int]) -> list[str]:
    return [event.id for event in batch(*stretches).events]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "out" / "events.jsonl"


def test_lines_are_events_as_their_schema_promises(file: Path) -> None:
    log = log_of(30)
    run(log, sink_of(file))
    for line in file.read_text().splitlines():
        check_event(json.loads(line))
    assert sorted(ids(file)) == ids_of(log)


@settings(max_examples=25)  # each syncs files a few times
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.floats(0, 1), st.booleans()), max_size=6))
def test_whatever_parts_of_batches_kills_leave_each_event_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, int, float, bool]]
) -> None:
    file = tmp_path_factory.mktemp("jsonl") / "events.jsonl"
    beside = file.with_name("events.jsonl.position")
    for first, second, share, begun_again in kills:
        sink = opened(file)
        at = sink.positions() or {0: 0, 1: 0}
        sink.begin(at)
        before, noted = file.stat().st_size, beside.read_bytes()
        sink.write(batch((0, at[0], at[0] + first), (1, at[1], at[1] + second)))
        sink.close()
        if share < 1:  # killed before the position was noted: any number of the batch's bytes may be there
            os.truncate(file, before + int(share * (file.stat().st_size - before)))
            beside.write_bytes(noted)
        if begun_again:  # and killed again before anything was written
            opened(file).close()
    sink = opened(file)
    at = sink.positions() or {0: 0, 1: 0}
    sink.begin(at)
    sink.write(batch((0, at[0], 30), (1, at[1], 30)))
    sink.close()
    assert sorted(ids(file)) == sorted(expected((0, 0, 30), (1, 0, 30)))


def test_what_retention_took_after_a_kill_stays_and_the_rest_is_not_written_twice(file: Path) -> None:
    sink = opened(file)
    sink.write(batch((0, 0, 3)))
    beside = file.with_name("events.jsonl.position")
    noted = beside.read_bytes()
    sink.write(batch((0, 3, 6), (1, 0, 2)))
    sink.close()
    beside.write_bytes(noted)
    with file.open("ab") as out:
        out.write(b'{"half')
    sink = sink_of(file)
    assert sink.positions() == {0: 3}
    sink.begin({0: 5, 1: 0})
    assert sink.write(batch((0, 5, 7), (1, 0, 3))) == Written(new=2, known=3)
    assert sorted(ids(file)) == sorted(expected((0, 0, 7), (1, 0, 3)))


@pytest.mark.parametrize("where", ["append", "sync", "note"])
def test_a_full_disk_is_waited_for_and_leaves_no_half_batch(
    file: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    sink = opened(file)
    sink.write(batch((0, 0, 3)))

    def full(*arguments: object, **_named: object) -> None:
        if where == "append":
            os.pwrite(sink._descriptor, b'{"half', file.stat().st_size)
        raise OSError(28, "No space left on device")

    name = {
        "append": "streamproc.sinks.jsonl._append",
        "sync": "os.fsync",
        "note": "streamproc.sinks.jsonl.write_position",
    }
    with monkeypatch.context() as patched:
        patched.setattr(name[where], full)
        with pytest.raises(SinkUnavailable, match="No space left"):
            sink.write(batch((0, 3, 6)))
    sink.write(batch((0, 3, 6)))
    assert ids(file) == expected((0, 0, 6))
    sink.close()
    assert sink_of(file).positions() == {0: 6}


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(file: Path) -> None:
    sink = opened(file)
    sink.write(batch((0, 0, 3)))
    file.rename(file.with_name("events.1.jsonl"))
    sink.write(batch((0, 3, 5)))
    sink.write(batch((0, 5, 6)))
    sink.close()
    file.rename(file.with_name("events.2.jsonl"))
    sink = sink_of(file)
    assert sink.positions() == {0: 6}
    sink.begin({0: 6})
    sink.write(batch((0, 6, 7)))
    parts = [file.with_name("events.1.jsonl"), file.with_name("events.2.jsonl"), file]
    assert [ids(part) for part in parts] == [expected((0, 0, 3)), expected((0, 3, 6)), expected((0, 6, 7))]


def test_a_kill_right_after_a_rotation_is_recovered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = opened(file)
    sink.write(batch((0, 0, 30)))
    file.rename(file.with_name("events.1.jsonl"))
    noted: list[int] = []

    def killed_at_the_second(beside: Path, position: Position) -> None:
        noted.append(position.bytes)
        if len(noted) == 2:
            raise OSError(5, "killed")
        write_position(beside, position)

    with monkeypatch.context() as patched:
        patched.setattr(jsonl, "write_position", killed_at_the_second)
        with pytest.raises(SinkUnavailable):
            sink.write(batch((0, 30, 33)))
    sink.close()
    assert (ids(file), noted[0]) == (expected((0, 30, 33)), 0)
    sink = opened(file)
    assert sink.write(batch((0, 30, 34))) == Written(new=4)
    assert ids(file) == expected((0, 30, 34))


def test_a_file_that_others_have_changed_is_refused(file: Path) -> None:
    sink = opened(file)
    sink.write(batch((0, 0, 3)))
    os.truncate(file, 10)
    with pytest.raises(SinkError, match="has become shorter"):
        sink.write(batch((0, 3, 4)))
    sink.close()
    with pytest.raises(SinkError, match="something has cut it"):
        sink_of(file).positions()
    file.write_text("")
    sink = opened(file)
    sink.write(batch((0, 3, 4)))
    file.unlink()
    file.write_text("mine\n")
    with pytest.raises(SinkError, match="replaced by a file that is not empty"):
        sink.write(batch((0, 4, 5)))
    sink.close()
    ours = file.with_name("events.jsonl.position").read_text()
    for other in ("x" * 5000, "x\n" * 5000):
        file.write_text(other)
        with pytest.raises(SinkError, match=r"is not the file that this sink wrote|did not write"):
            sink_of(file).positions()
        assert file.read_text() == other
    assert file.with_name("events.jsonl.position").read_text() == ours


def test_lines_of_others_behind_ours_are_refused(file: Path) -> None:
    sink = opened(file)
    sink.write(batch((0, 0, 3)))
    sink.close()
    before = file.read_text()
    for more in ("not an event\n", "not an event", '{"id": 3}\n', "{}\n"):
        file.write_text(before + more)
        with pytest.raises(SinkError, match="did not write"):
            sink_of(file).positions()
        assert file.read_text() == before + more


def test_a_file_without_a_position_and_a_position_of_another_sink_are_refused(file: Path) -> None:
    file.parent.mkdir()
    file.write_text('{"id": "a"}\n')
    with pytest.raises(SinkError, match=r"no events\.jsonl\.position"):
        sink_of(file).positions()
    file.write_text("")
    sink = opened(file)
    sink.close()
    with pytest.raises(SinkError, match=r"belongs to sink n of topic t\.events, not to other"):
        sink_of(file, "other").positions()
    beside = file.with_name("events.jsonl.position")
    beside.write_text(beside.read_text().replace('"schema":1', '"schema":2'))
    with pytest.raises(SinkError, match="has schema 2, this streamproc knows 1"):
        sink_of(file).positions()
    beside.write_text("{")
    with pytest.raises(SinkError, match="cannot be understood"):
        sink_of(file).positions()


def test_a_second_process_is_refused_while_the_first_writes(file: Path) -> None:
    first = opened(file)
    with pytest.raises(SinkError, match="written by another process"):
        sink_of(file).positions()
    first.close()
    assert sink_of(file).positions() == {}


@pytest.mark.parametrize("place", ["file/events.jsonl", "file/a/events.jsonl", "folder", "x" * 300 + ".jsonl"])
def test_what_waiting_cannot_mend_ends_it_with_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    words = r"cannot be written: (Not a directory|File exists|Is a directory|File name too long): correct that"
    with pytest.raises(SinkError, match=words) as told:
        sink_of(tmp_path / place).positions()
    assert not isinstance(told.value, SinkUnavailable)


@pytest.mark.parametrize(
    ("number", "passes"),
    [("EACCES", False), ("EPERM", False), ("EROFS", False), ("EIO", True), ("ESTALE", True), ("ETIMEDOUT", True)],
)
def test_errors_of_a_disk_are_waited_for_if_they_may_pass(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: str, passes: bool
) -> None:
    sink = opened(file)

    def fails(*_arguments: object) -> None:
        raise OSError(getattr(errno, number), "no")

    with monkeypatch.context() as patched:
        patched.setattr("os.ftruncate", fails)
        with pytest.raises(SinkError, match="cannot be written: no") as told:
            sink.write(batch((0, 0, 3)))
    assert isinstance(told.value, SinkUnavailable) == passes
    sink.close()
