"""An archive is read like the log: the same offsets, the same times, and no more bytes than are needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.archive import ArchiveReader, mcap_out, reader
from streamproc.archive.mcap_in import open_file
from streamproc.errors import ArchiveError
from streamproc.records import RecordSource
from tests.archive.material import (
    BEGAN_MS,
    TOPIC,
    Log,
    archive,
    change,
    counted_reads,
    fresh,
    log_of,
    record,
    writer_on,
)

logs = st.lists(st.lists(st.integers(0, 400), max_size=30), min_size=1, max_size=3)


def log_at(times: list[list[int]]) -> Log:
    """Records with these times, which need not grow."""
    return Log(
        {
            partition: [record(partition, offset, timestamp_ms=BEGAN_MS + at) for offset, at in enumerate(found)]
            for partition, found in enumerate(times)
        }
    )


@settings(max_examples=80)
@given(logs, st.integers(300, 6000), st.data())
def test_ranges_and_times_are_answered_as_the_log_answers_them(
    times: list[list[int]], rotate_bytes: int, data: st.DataObject
) -> None:
    storage = fresh()
    log = log_at(times)
    archive(storage, log, rotate_bytes=rotate_bytes)
    source: RecordSource = ArchiveReader(storage.url, TOPIC)
    assert source.partitions() == list(log.records)
    assert {partition: source.bounds(partition) for partition in log.records} == log.bounds()
    since_ms = BEGAN_MS + data.draw(st.integers(-5, 405))
    for partition, found in log.records.items():
        expected = next((one.offset for one in found if one.timestamp_ms >= since_ms), len(found))
        assert source.offset_at(partition, since_ms=since_ms) == expected
    ranges = data.draw(
        st.dictionaries(st.sampled_from(list(log.records)), st.tuples(st.integers(0, 35), st.integers(0, 35)))
    )
    read = list(source.read(ranges))
    for partition, (first, end) in ranges.items():
        assert [one for one in read if one.partition == partition] == log.records[partition][first:end]
    assert len(read) == sum(len(log.records[partition][first:end]) for partition, (first, end) in ranges.items())


def test_times_are_answered_when_the_oldest_files_are_gone() -> None:
    storage = fresh()
    times = [500, 1, 2, 3, 4, 5, 6, 7, 8, 9]  # the latest record is in a file that goes
    log = log_at([times])
    archive(storage, log, rotate_bytes=300)
    files = storage.files(TOPIC)
    assert len(files) == 11  # the mark of the start, and one for each record
    for file in files[:3]:
        storage.delete(file.path)
    with ArchiveReader(storage.url, TOPIC) as source:
        assert source.bounds(0) == (2, 10)
        assert source.offset_at(0, since_ms=BEGAN_MS + 6) == 6
        assert source.offset_at(0, since_ms=BEGAN_MS + 600) == 10
        assert source.offset_at(0, since_ms=0) == 2


def test_a_range_of_a_large_archive_is_found_and_read_without_reading_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = fresh()
    log = log_of({0: 2000, 1: 2000}, make=lambda partition, offset: record(partition, offset, value=bytes(20_000)))
    archive(storage, log, rotate_bytes=2**20)
    files = storage.files(TOPIC)
    whole = sum(file.size for file in files)
    assert (len(files) > 60, whole > 80_000_000) == (True, True)
    monkeypatch.setattr(reader, "_KEPT", 4)
    source = ArchiveReader(storage.url, TOPIC)
    with counted_reads(source._storage) as sizes:
        start = source.offset_at(1, since_ms=record(1, 1500).timestamp_ms)
        assert start == 1500
        assert [one.offset for one in source.read({1: (start, start + 20)})] == list(range(1500, 1520))
    assert sum(sizes) < 0.12 * whole
    assert len(source._opened) <= 4


def test_files_that_overlap_are_read_without_doubles() -> None:
    """Two writers that kept no lock: nothing is read twice, and verify tells."""
    storage, other = fresh(), fresh()
    log = log_of({0: 30})
    archive(storage, log, rotate_bytes=1500)
    archive(other, log, rotate_bytes=2300)
    for file in other.files(TOPIC):
        path = file.path.replace(other._root, storage._root)
        storage._fs.pipe_file(path, other.read(file.path, 0, file.size))
    with ArchiveReader(storage.url, TOPIC) as source:
        assert list(source.read({0: (0, 99)})) == log.records[0]


def test_nulls_and_empty_values_stay_apart() -> None:
    storage = fresh()
    null = record(0, 0, key=b"", value=b"", headers=[("x", b"")], nulls=frozenset({"key", "value", 0}))
    empty = replace(null, offset=1, nulls=frozenset())
    archive(storage, Log({0: [null, empty]}))
    with ArchiveReader(storage.url, TOPIC) as source:
        assert list(source.read({0: (0, 2)})) == [null, empty]


def test_a_topic_that_is_not_there_is_named_with_what_is() -> None:
    storage = fresh()
    with pytest.raises(ArchiveError, match=r"holds no files of topic other; it holds nothing$"):
        ArchiveReader(storage.url, "other")
    archive(storage, log_of({0: 1}))
    with pytest.raises(ArchiveError, match=rf"holds no files of topic other; it holds {TOPIC}$"):
        ArchiveReader(storage.url, "other")


def test_an_archive_of_nothing_but_its_start_is_empty() -> None:
    storage = fresh()
    writer_on(storage, log_of({0: 7}), start="now")
    with ArchiveReader(storage.url, TOPIC) as source:
        assert (source.bounds(0), source.offset_at(0, since_ms=0), list(source.read({0: (0, 9)}))) == ((7, 7), 7, [])
        with pytest.raises(ArchiveError, match=f"topic {TOPIC} has no partition 3"):
            source.bounds(3)


@settings(max_examples=60)
@given(st.data())
def test_a_flipped_bit_among_the_records_is_never_read_as_if_nothing_were_wrong(data: st.DataObject) -> None:
    storage = fresh()
    log = log_of({0: 6, 1: 3})
    archive(storage, log)
    file = storage.files(TOPIC)[-1]
    at, bit = data.draw(st.integers(0, file.size - 1)), data.draw(st.integers(0, 7))
    change(storage, file, lambda content: content.__setitem__(at, content[at] ^ (1 << bit)))
    with ArchiveReader(storage.url, TOPIC) as source:
        found = list(source.read({0: (0, 6), 1: (0, 3)}))
    assert all(line.startswith(f"{TOPIC}/{file.name}: ") for line in source.damaged)
    assert len(found) == 9 or source.damaged
    assert all(one in log.records[one.partition] for one in found)


@settings(max_examples=80)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=3), st.data())
def test_damaged_files_anywhere_are_passed_over_and_all_others_are_read(counts: list[int], data: st.DataObject) -> None:
    storage = fresh()
    log = log_of(dict(enumerate(counts)))
    archive(storage, log, rotate_bytes=1500)
    files = storage.files(TOPIC)
    bad = data.draw(st.sets(st.sampled_from(range(len(files))), max_size=len(files) - 1))
    lost: set[tuple[int, int]] = set()
    for number in bad:
        index = open_file(storage, files[number]).index
        lost |= {(one, at) for one, first in index.first.items() for at in range(first, index.next[one])}
        change(storage, files[number], lambda content: content.__delitem__(slice(-9, None)))
    left = [one for found in log.records.values() for one in found if (one.partition, one.offset) not in lost]
    with ArchiveReader(storage.url, TOPIC) as source:
        bounds = {number: source.bounds(number) for number in source.partitions()}
        found = list(source.read(bounds))
        since_ms = BEGAN_MS + 10 * data.draw(st.integers(0, 40))
        at = source.offset_at(0, since_ms=since_ms)
    assert sorted(found, key=lambda one: (one.partition, one.offset)) == left
    after = [one.offset for one in left if one.partition == 0 and one.timestamp_ms >= since_ms]
    assert at == (after[0] if after else bounds[0][1])
    assert len(source.damaged) <= len(bad)
    assert {line.split(": ")[0] for line in source.damaged} <= {f"{TOPIC}/{files[number].name}" for number in bad}


def test_a_damaged_chunk_is_left_out_alone_and_told_once_with_its_offsets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mcap_out, "CHUNK_BYTES", 1000)
    storage = fresh()
    log = log_of({0: 40})
    archive(storage, log)
    file = storage.files(TOPIC)[-1]
    opened = open_file(storage, file)
    (span,) = opened.index.chunks[3]
    change(storage, file, lambda content: content.__setitem__(opened.chunks[3][0] + 100, 255))
    with ArchiveReader(storage.url, TOPIC) as source:
        for _ in range(2):
            found = list(source.read({0: (0, 40)}))
    assert found == log.records[0][: span.first] + log.records[0][span.last + 1 :]
    (line,) = source.damaged
    assert line.startswith(f"{TOPIC}/{file.name}: chunk 3 at byte {opened.chunks[3][0]}: the chunk is damaged (CRC)")
    assert line.endswith(f": offsets {span.first} to {span.last} of 0 (partition) are left out")
    assert [one.getMessage() for one in caplog.records] == [
        f"{line}; the rest is read. streamproc archive verify tells all that is wrong"
    ]


def test_an_archive_of_damaged_files_alone_says_so() -> None:
    storage = fresh()
    archive(storage, log_of({0: 3}))
    for file in storage.files(TOPIC):
        change(storage, file, lambda content: content.__delitem__(slice(-9, None)))
    with ArchiveReader(storage.url, TOPIC) as source, pytest.raises(ArchiveError, match=r"no file of topic .* can be"):
        source.partitions()


def test_later_topics_of_the_same_name_are_told_and_read_by_their_own_url(caplog: pytest.LogCaptureFixture) -> None:
    storage = fresh()
    archive(storage, log_of({0: 3}), topic_id="one")
    archive(storage, log_of({0: 2}), topic_id="two")
    second = f"{storage.url}/epoch-2"
    with ArchiveReader(storage.url, TOPIC) as source:
        assert source.bounds(0) == (0, 3)
    told = f"{storage.url}: topic {TOPIC} was made anew while it was archived: what came later is in {second}"
    assert [one.getMessage() for one in caplog.records] == [told]
    with ArchiveReader(second, TOPIC) as source:
        assert list(source.read({0: (0, 9)})) == log_of({0: 2}).records[0]
    for file in storage.files(TOPIC):
        storage.delete(file.path)
    with pytest.raises(ArchiveError, match=f"holds no files of topic {TOPIC} any more, .*: read {second}$"):
        ArchiveReader(storage.url, TOPIC)
