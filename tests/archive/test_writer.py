"""Writing: resumed it neither skips nor doubles, gaps are told, files end and go as the rules say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.archive import ArchiveReader
from streamproc.archive.index import Gap
from streamproc.archive.mcap_in import open_file
from streamproc.archive.storage import NewFile, Storage
from streamproc.archive.verify import verify
from streamproc.errors import ArchiveError
from streamproc.reader import Record
from tests.archive.material import BEGAN_MS, TOPIC, Log, archive, change, fresh, log_of, record, writer_on


class Killed(BaseException):
    """The process ends here."""


def everything(storage: Storage) -> dict[int, list[Record]]:
    with ArchiveReader(storage.url, TOPIC) as reader:
        ranges = {partition: reader.bounds(partition) for partition in reader.partitions()}
        found: dict[int, list[Record]] = {partition: [] for partition in ranges}
        for one in reader.read(ranges):
            found[one.partition].append(one)
    return found


class Dying:
    """Kills the writer at the n-th call of anything that touches a file, before it or after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 10**9
        self.after = False
        for kind, name in ((Storage, "_create"), (Storage, "delete"), (NewFile, "write"), (NewFile, "publish")):
            monkeypatch.setattr(kind, name, self._wrapped(getattr(kind, name)))
        monkeypatch.setattr(NewFile, "discard", lambda _self: None)  # a process that was killed tidies nothing

    def _wrapped(self, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Killed
            result = real(*arguments, **options)
            if self.left == 0:
                raise Killed
            return result

        return call


deaths = st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=6)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), deaths, st.integers(500, 6000))
def test_killed_at_any_step_and_resumed_every_record_is_there_once(
    counts: list[int], killed: list[tuple[int, bool]], rotate_bytes: int
) -> None:
    storage = fresh()
    log = log_of(dict(enumerate(counts)))
    with pytest.MonkeyPatch.context() as monkeypatch:
        dying = Dying(monkeypatch)
        for left, after in killed:
            dying.left, dying.after = left, after
            try:
                archive(storage, log, rotate_bytes=rotate_bytes)
            except Killed:
                continue
    archive(storage, log, rotate_bytes=rotate_bytes)
    assert everything(storage) == log.records
    judged = verify(storage, TOPIC)
    assert (judged.problems, judged.gaps, judged.records) == ([], [], sum(counts))


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 30)), max_size=5),
)
def test_what_retention_takes_between_runs_is_told_to_the_offset_and_nothing_else_is(
    counts: list[int], steps: list[tuple[int, int]]
) -> None:
    """The log grows and loses its beginning while nobody archives."""
    storage = fresh()
    sizes = dict.fromkeys(range(len(counts)), 0)
    kept: dict[int, list[Record]] = {partition: [] for partition in sizes}
    missing: set[tuple[int, int]] = set()
    low = dict.fromkeys(sizes, 0)
    reached = dict.fromkeys(sizes, 0)
    writer_on(storage, log_of(sizes))  # writes down where the archive begins
    for grow, lose in [*steps, (0, 0)]:
        for partition, most in enumerate(counts):
            sizes[partition] += min(grow, most)
            low[partition] = min(sizes[partition], low[partition] + lose)
        log = log_of(sizes)
        log.low = low
        archive(storage, log)
        for partition, size in sizes.items():
            missing |= {(partition, at) for at in range(reached[partition], max(reached[partition], low[partition]))}
            kept[partition] += log.records[partition][max(reached[partition], low[partition]) :]
            reached[partition] = size
    judged = verify(storage, TOPIC)
    told = {(gap.partition, at) for gap in judged.gaps for at in range(gap.first, gap.last + 1)}
    last = max((number for number, found in enumerate(kept.values()) if found), default=None)
    assert judged.problems == []
    assert told <= missing
    if last is not None and everything(storage) == kept:
        written = {key for key in missing if key[1] < open_file(storage, storage.files(TOPIC)[-1]).index.next[key[0]]}
        assert told == written
    else:
        assert last is None


def test_offsets_that_the_log_does_not_have_are_told_apart_from_lost_ones() -> None:
    storage = fresh()
    log = Log({0: [record(0, at) for at in (0, 1, 5, 6, 9)]})
    writer = archive(storage, log)
    assert writer.written.gaps == [Gap(0, 2, 4, "absent"), Gap(0, 7, 8, "absent")]
    assert verify(storage, TOPIC).problems == []
    log.records[0].append(record(0, 20))
    log.low[0] = 15
    writer = writer_on(storage, log)
    for one in log.from_(writer.positions):
        writer.add(one, 0)
    writer.publish()
    assert writer.written.gaps == [Gap(0, 10, 14, "retention"), Gap(0, 15, 19, "absent")]
    judged = verify(storage, TOPIC)
    assert (judged.problems, len(judged.gaps)) == ([], 4)


def test_it_begins_where_it_is_told_and_remembers_that_before_its_first_file() -> None:
    storage = fresh()
    log = log_of({0: 10, 1: 5})
    assert writer_on(storage, log, start="now").positions == {0: 10, 1: 5}
    later = log_of({0: 12, 1: 5})
    assert writer_on(storage, later, start="now").positions == {0: 10, 1: 5}
    later.low = {0: 11, 1: 5}
    writer = archive(storage, later)
    assert writer.written.gaps == [Gap(0, 10, 10, "retention")]
    assert everything(storage) == {0: later.records[0][11:], 1: []}


def test_a_record_that_comes_twice_is_kept_once() -> None:
    storage = fresh()
    log = log_of({0: 3})
    writer = writer_on(storage, log)
    for one in [*log.records[0], log.records[0][1]]:
        writer.add(one, 0)
    writer.publish()
    assert everything(storage) == log.records


def test_a_new_partition_is_taken_in_from_its_beginning_while_a_file_is_open() -> None:
    storage = fresh()
    writer = writer_on(storage, log_of({0: 3}))
    writer.add(record(0, 0), 0)
    grown = log_of({0: 3, 1: 4})
    writer.widen(grown.bounds())
    for one in grown.from_(writer.positions):
        writer.add(one, 0)
    writer.publish()
    assert everything(storage) == grown.records
    assert verify(storage, TOPIC).problems == []
    with pytest.raises(ArchiveError, match=f"topic {TOPIC} has no partition 1 any more"):
        writer.widen({0: (0, 3)})


def test_a_log_that_ends_before_the_archive_was_made_anew() -> None:
    storage = fresh()
    archive(storage, log_of({0: 9}))
    with pytest.raises(ArchiveError, match="archived up to offset 8, but the log ends at 4: the topic was made anew"):
        writer_on(storage, log_of({0: 4}))


def test_a_last_file_that_is_damaged_is_not_written_behind() -> None:
    storage = fresh()
    archive(storage, log_of({0: 9}))
    file = storage.files(TOPIC)[-1]
    change(storage, file, lambda content: content.__delitem__(slice(-3, None)))
    with pytest.raises(ArchiveError, match=f"{TOPIC}/{file.name}: it has no end.*; it says where to go on: move it"):
        writer_on(storage, log_of({0: 12}))
    storage.delete(file.path)
    archive(storage, log_of({0: 12}))
    assert everything(storage) == log_of({0: 12}).records


def test_files_end_by_size_and_by_age() -> None:
    storage = fresh()
    writer = archive(storage, log_of({0: 50}), rotate_bytes=2000)
    sizes = [file.size for file in storage.files(TOPIC)[1:-1]]
    assert writer.written.files > 3
    assert all(2000 <= size < 5000 for size in sizes)
    writer = writer_on(storage, log_of({0: 60}), rotate_s=5)
    assert not writer.is_due(10**9)
    writer.add(record(0, 50), 100.0)
    writer.add(record(0, 51), 104.0)
    assert [writer.is_due(now_s) for now_s in (100.0, 104.9, 105.0)] == [False, False, True]


def test_retention_deletes_the_oldest_whole_files_and_never_the_last() -> None:
    storage = fresh()
    archive(storage, log_of({0: 50}), rotate_bytes=2000)
    files = storage.files(TOPIC)
    keep = sum(file.size for file in files[-3:])
    writer = writer_on(storage, log_of({0: 50}), keep_bytes=keep)
    assert writer.expire(BEGAN_MS) == files[:-3]
    assert storage.files(TOPIC) == files[-3:]
    times = open_file(storage, files[-3]).index.times_ms()
    assert times is not None
    writer = writer_on(storage, log_of({0: 50}), keep_s=60)
    assert writer.expire(times[1] + 60_000) == []
    assert writer.expire(times[1] + 60_001) == [files[-3]]
    assert writer.expire(BEGAN_MS + 10**12) == [files[-2]]
    assert (storage.files(TOPIC), writer.written.deleted) == (files[-1:], 2)
    assert verify(storage, TOPIC).problems == []
    assert archive(storage, log_of({0: 55})).written.records == 5
    with ArchiveReader(storage.url, TOPIC) as reader:
        low, high = reader.bounds(0)
        assert (low > 40, high) == (True, 55)
        assert [one.offset for one in reader.read({0: (0, 99)})] == list(range(low, 55))


def test_a_second_writer_ends_the_first_or_itself_and_doubles_nothing() -> None:
    storage = fresh()
    log = log_of({0: 6})
    one, other = writer_on(storage, log), writer_on(storage, log)
    for writer in (one, other):
        writer.add(record(0, 0), 0)
    one.publish()
    with pytest.raises(ArchiveError, match="was written by another process: one writer for a topic at a time"):
        other.publish()
    assert everything(storage) == {0: [record(0, 0)]}
    one.add(record(0, 1), 0)
    third = writer_on(storage, log)
    with pytest.raises(ArchiveError):
        one.publish()
    third.add(record(0, 1), 0)
    third.publish()
    assert everything(storage) == {0: [record(0, 0), record(0, 1)]}


def test_cameras_and_capture_times_are_noted_within_bounds() -> None:
    storage = fresh()
    log = log_of({0: 1005}, make=lambda partition, offset: record(partition, offset, key=f"cam{offset}/r".encode()))
    archive(storage, log)
    index = open_file(storage, storage.files(TOPIC)[-1]).index
    assert (len(index.cameras), index.more_cameras) == (1000, True)
