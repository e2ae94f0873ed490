"""Files are MCAP as others read it, and are read a piece at a time."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import NonSeekingReader, SeekingReader

from streamproc import wire
from streamproc.archive import envelope, mcap_in
from streamproc.archive.index import file_name, order_of
from streamproc.archive.mcap_in import open_file
from streamproc.archive.storage import Storage
from streamproc.errors import ArchiveError
from streamproc.reader import Record
from tests.archive.material import TOPIC, Log, archive, change, fresh, log_of, record, tile
from tests.golden import FOLDER

GOLDEN = FOLDER / "archive-v1.mcap"


LATER = ("clock", "first", "base", "same_as", "held")  # fields of a tile's header that came after the format


def golden_tile(offset: int) -> Record:
    """A tile as it was when the format was released."""
    made = tile(offset)
    header = wire.read_tile_header(made.headers)
    fields = msgspec.to_builtins(msgspec.structs.replace(header, schema=1), builtin_types=(bytes,))
    packed = msgspec.msgpack.encode({name: value for name, value in fields.items() if name not in LATER})
    return replace(made, headers=[(wire.TILE_HEADER, packed), *made.headers[1:]])


def golden_log() -> Log:
    odd = record(1, 0, key=b"", value=b"", headers=[("x", b""), ("x", b"2")], nulls=frozenset({"key", "value", 0}))
    return Log({0: [golden_tile(at) for at in (0, 1, 2**33)], 1: [odd], 2: []})


def bytes_of(storage: Storage) -> bytes:
    file = storage.files(TOPIC)[-1]
    return storage.read(file.path, 0, file.size)


def test_the_golden_file_is_written_to_the_byte() -> None:
    """What these records give today is what they gave when the format was released."""
    storage = fresh()
    archive(storage, golden_log())
    assert bytes_of(storage) == GOLDEN.read_bytes()


def test_the_library_reads_every_record_with_its_checksums_in_order_and_by_time() -> None:
    storage = fresh()
    log = log_of({0: 400, 1: 300, 2: 0})
    archive(storage, log)
    whole = bytes_of(storage)
    for reader in (SeekingReader(io.BytesIO(whole), validate_crcs=True), NonSeekingReader(io.BytesIO(whole))):
        seen: dict[int, list[Any]] = {0: [], 1: []}
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            assert schema.data == envelope.LAYOUT
            partition = int(channel.metadata["partition"])
            assert (channel.topic, channel.message_encoding) == (f"{TOPIC}/{partition}", envelope.ENCODING)
            one = envelope.decode(memoryview(message.data), topic=TOPIC, partition=partition)
            assert (message.sequence, message.log_time) == (one.offset, one.timestamp_ms * 10**6)
            seen[partition].append(one)
        assert seen == {0: log.records[0], 1: log.records[1]}
    summary = SeekingReader(io.BytesIO(whole)).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    assert (summary.statistics.message_count, summary.statistics.channel_count) == (700, 3)
    (attachment,) = SeekingReader(io.BytesIO(whole)).iter_attachments()
    assert (attachment.name, attachment.media_type) == ("streamproc.index", "application/msgpack")


def test_publish_time_is_capture_time_and_the_sequence_is_the_low_end_of_the_offset() -> None:
    storage = fresh()
    archive(storage, golden_log())
    messages = [one for _, _, one in SeekingReader(io.BytesIO(bytes_of(storage))).iter_messages(log_time_order=False)]
    assert {one.publish_time for one in messages if one.channel_id == 1} == {1_700_000_000_000_000_000}
    assert [one.publish_time == one.log_time for one in messages if one.channel_id == 2] == [True]
    assert sorted(one.sequence for one in messages if one.channel_id == 1) == [0, 0, 1]


def test_a_file_tells_what_it_holds_from_its_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = fresh()
    archive(
        storage, log_of({0: 3000, 1: 1}, make=lambda partition, offset: record(partition, offset, value=bytes(5000)))
    )
    file = storage.files(TOPIC)[-1]
    for tail in (mcap_in._TAIL_BYTES, 64, 600):  # the whole end, footer alone, part of the summary
        monkeypatch.setattr(mcap_in, "_TAIL_BYTES", tail)
        index = open_file(storage, file).index
        assert (index.first, index.next, index.records) == ({0: 0, 1: 0}, {0: 3000, 1: 1}, 3001)
        assert (index.cameras, index.more_cameras, index.captured_ns) == (["gate-0", "gate-1"], False, None)
        assert index.times_ms() == (record(0, 0).timestamp_ms, record(0, 2999).timestamp_ms)
        assert len(index.chunks) == 4


@settings(max_examples=40)
@given(st.data())
def test_a_file_cut_off_anywhere_is_refused_by_name(data: st.DataObject) -> None:
    storage = fresh()
    archive(storage, log_of({0: 5}))
    file = storage.files(TOPIC)[-1]
    at = data.draw(st.integers(0, file.size - 1))
    change(storage, file, lambda content: content.__delitem__(slice(at, None)))
    with pytest.raises(ArchiveError, match=rf"^{TOPIC}/{file.name}: "):
        open_file(storage, storage.files(TOPIC)[-1])


def test_another_mcap_file_is_no_archive_file() -> None:
    from mcap.writer import Writer

    stream = io.BytesIO()
    other = Writer(stream)
    other.start()
    other.finish()  # type: ignore[no-untyped-call] # the library leaves it without types
    storage = fresh()
    archive(storage, log_of({0: 5}))
    file = storage.files(TOPIC)[-1]
    storage._fs.pipe_file(file.path, stream.getvalue())
    with pytest.raises(ArchiveError, match="not of this archive"):
        open_file(storage, storage.files(TOPIC)[-1])


@given(st.dictionaries(st.integers(0, 40), st.tuples(st.integers(0, 2**40), st.integers(0, 1000)), min_size=1))
def test_names_sort_as_the_files_follow_each_other(positions: dict[int, tuple[int, int]]) -> None:
    first = {partition: at for partition, (at, _) in positions.items()}
    later = {partition: at + more for partition, (at, more) in positions.items()}
    mark, name, after = file_name(first, start=True), file_name(first), file_name(later)
    orders = [order_of(one) for one in (mark, name, after)]
    assert None not in orders
    assert orders[0] < orders[1]  # type: ignore[operator] # not None
    if later != first:
        assert orders[1] < orders[2]  # type: ignore[operator]
    assert name == file_name(dict(reversed(first.items())))
    assert order_of(name + ".partial") is None


def test_what_a_writer_says_it_wrote_is_what_is_stored() -> None:
    storage = fresh()
    written = archive(storage, log_of({0: 40}), rotate_bytes=2000).written
    files = storage.files(TOPIC)[1:]
    assert (written.files, written.records, written.taken) == (len(files), 40, 40)
    assert written.file_bytes == sum(file.size for file in files)
    payload = sum(len(one.key) + len(one.value) for one in log_of({0: 40}).records[0])
    assert written.payload_bytes == written.taken_bytes == payload
