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
    with ArchiveReader(storage, TOPIC) as reader:
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
    assert (judged.problems, told) == ([], missing)
    assert everything(storage) == kept


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


def test_a_topic_made_anew_goes_on_in_a_part_of_its_own_and_mixes_with_nothing() -> None:
    """Even when its log has grown beyond what is archived of the old one: the broker's id of it is another."""
    storage = fresh()
    old, new = log_of({0: 9, 1: 2}), log_of({0: 30}, make=lambda partition, at: record(partition, at, value=b"new"))
    writer = writer_on(storage, old, topic_id="one")
    for one in old.from_(writer.positions)[:6]:
        writer.add(one, 0)
    assert writer.widen(old.bounds(), topic_id="one") is None
    assert writer.widen(new.bounds(), topic_id="two") == "it was deleted and made anew"
    assert (writer.ended, writer.positions, writer.url) == ({0: 4, 1: 2}, {0: 0}, f"{storage.url}/epoch-2")
    for one in new.from_(writer.positions):
        writer.add(one, 0)
    writer.publish()
    first, second = storage.epochs(TOPIC)
    assert everything(first) == {0: old.records[0][:4], 1: old.records[1]}
    assert everything(second) == new.records
    assert [verify(part, TOPIC).problems for part in (first, second)] == [[], []]
    resumed = writer_on(storage, new, topic_id="two")
    assert (resumed.positions, resumed.url) == ({0: 30}, second.url)
    again = writer_on(storage, log_of({0: 3}), topic_id="three")
    assert (again.positions, again.url) == ({0: 0}, f"{storage.url}/epoch-3")
    assert [part.epoch for part in storage.epochs(TOPIC)] == [1, 2, 3]


def test_what_retention_took_of_a_topic_made_anew_is_told_from_its_first_offset() -> None:
    storage = fresh()
    archive(storage, log_of({0: 9}), topic_id="one")
    new = log_of({0: 9})
    new.low = {0: 5}
    writer = archive(storage, new, topic_id="two")
    assert writer.written.gaps == [Gap(0, 0, 4, "retention")]
    assert everything(storage.epochs(TOPIC)[1]) == {0: new.records[0][5:]}


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        ({0: (2, 4), 1: (0, 9)}, "partition 0 ends at offset 4, though it is archived up to 8"),
        ({0: (0, 9)}, "it has no partition 1 any more, so it was made anew"),
    ],
)
def test_a_broker_without_ids_is_known_by_offsets_that_went_back(bounds: dict[int, tuple[int, int]], why: str) -> None:
    storage = fresh()
    archive(storage, log_of({0: 9, 1: 9}))
    writer = writer_on(storage, log_of({0: 9, 1: 9}))
    told = writer.widen(bounds)
    assert told is not None
    assert why in told
    assert writer.positions == {partition: low for partition, (low, _) in bounds.items()}
    assert writer.url == f"{storage.url}/epoch-2"


def test_an_archive_without_ids_goes_on_when_the_broker_tells_them() -> None:
    storage = fresh()
    archive(storage, log_of({0: 3}))
    writer = archive(storage, log_of({0: 9}), topic_id="one")
    assert (writer.url, open_file(storage, storage.files(TOPIC)[-1]).topic_id) == (storage.url, "one")
    assert everything(storage) == log_of({0: 9}).records
    assert writer_on(storage, log_of({0: 9}), topic_id="").url == storage.url


def test_a_new_writer_that_finds_a_kill_while_the_next_part_was_begun_begins_it_again() -> None:
    storage = fresh()
    archive(storage, log_of({0: 9}), topic_id="one")
    with pytest.MonkeyPatch.context() as monkeypatch:
        dying = Dying(monkeypatch)
        dying.left = 2
        with pytest.raises(Killed):
            archive(storage, log_of({0: 4}), topic_id="two")
    assert [part.epoch for part in storage.epochs(TOPIC)] == [1]
    archive(storage, log_of({0: 4}), topic_id="two")
    assert [everything(part) for part in storage.epochs(TOPIC)] == [log_of({0: 9}).records, log_of({0: 4}).records]


def test_gaps_stand_in_a_file_though_no_record_follows() -> None:
    storage = fresh()
    log = log_of({0: 9})
    archive(storage, log)
    log.low = {0: 20}
    log.records[0].append(record(0, 19))
    told: list[str] = []
    writer = writer_on(storage, log, told=told.append)
    assert (writer.is_due(0), told) == (True, [])
    writer.publish()
    assert writer.written.gaps == verify(storage, TOPIC).gaps == [Gap(0, 9, 19, "retention")]
    assert told == [f"gap: {TOPIC}[0] offsets 9 to 19: retention removed them before they were archived"]
    assert verify(storage, TOPIC).problems == []
    assert not writer.is_due(10**9)


def test_what_was_abandoned_counts_as_not_taken_and_its_gaps_are_told_when_they_are_written() -> None:
    storage = fresh()
    log = Log({0: [record(0, 0), record(0, 5)]})
    told: list[str] = []
    writer = writer_on(storage, log, told=told.append)
    for one in log.records[0]:
        writer.add(one, 0)
    assert writer.written.taken == 2
    writer.abandon()
    assert (writer.written.taken, writer.written.taken_bytes, writer.written.gaps, told) == (0, 0, [], [])
    after = writer_on(storage, log, told=told.append, written=writer.written)
    for one in log.from_(after.positions):
        after.add(one, 0)
    after.publish()
    assert (after.written.taken, after.written.records, after.written.gaps) == (2, 2, [Gap(0, 1, 4, "absent")])
    assert len(told) == 1


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


def test_a_damaged_old_file_stops_neither_writing_nor_retention_and_is_told_once() -> None:
    storage = fresh()
    archive(storage, log_of({0: 50}), rotate_bytes=2000)
    files = storage.files(TOPIC)
    change(storage, files[2], lambda content: content.__delitem__(slice(-9, None)))
    told: list[str] = []
    writer = writer_on(storage, log_of({0: 52}), keep_s=60, told=told.append)
    behind = open_file(storage, files[3]).index.times_ms()
    assert behind is not None
    assert writer.expire(behind[0] + 60_000) == files[:2]  # what stands behind it is not old enough
    assert writer.expire(behind[0] + 60_000) == []
    assert told == [told[0]]
    assert f"{TOPIC}/{files[2].name}: it has no end" in told[0]
    assert "move it away (streamproc archive verify tells all that is wrong)" in told[0]
    for one in log_of({0: 52}).from_(writer.positions):
        writer.add(one, 0)
    writer.publish()
    assert [file.name for file in writer.expire(behind[0] + 60_001)] == [files[2].name]
    assert writer.expire(BEGAN_MS + 10**12) == files[3:]
    assert verify(storage, TOPIC).problems == []


def test_retention_takes_the_parts_of_topics_that_are_no_more_first() -> None:
    storage = fresh()
    archive(storage, log_of({0: 30}), rotate_bytes=2000, topic_id="one")
    old = storage.files(TOPIC)
    writer = archive(storage, log_of({0: 4}), topic_id="two", keep_bytes=1)
    assert writer.expire(0)[: len(old)] == old
    (left,) = storage.epochs(TOPIC)
    assert (left.epoch, everything(left)) == (2, log_of({0: 4}).records)
    resumed = writer_on(storage, log_of({0: 6}), topic_id="two")
    assert (resumed.positions, resumed.url) == ({0: 4}, left.url)


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
