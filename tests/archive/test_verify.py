"""Verifying finds each thing that is wrong, names it as what it is, and finds nothing in what is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from streamproc import wire
from streamproc.archive import references
from streamproc.archive import verify as module
from streamproc.archive.index import FileIndex, Span, encode_index
from streamproc.archive.mcap_in import open_file
from streamproc.archive.mcap_out import McapOut
from streamproc.archive.storage import Storage
from streamproc.archive.verify import Judgement, verify
from streamproc.errors import StoreError
from streamproc.letterhead import deadletter_headers
from streamproc.reader import Record
from tests.archive.material import TOPIC, Log, archive, change, fresh, log_of, record, tile


def kinds(judged: Judgement) -> list[str]:
    return sorted({problem.kind for problem in judged.problems})


def rewritten(storage: Storage, number: int, records: list[Record], edit: Callable[[FileIndex], FileIndex]) -> None:
    """Replace a file by one of these records, with an index of one's own making."""
    file = storage.files(TOPIC)[number]
    index = open_file(storage, file).index

    class Buffer:
        size = 0
        data = b""

        def write(self, data: bytes) -> None:
            self.data += data
            self.size += len(data)

    buffer = Buffer()
    out = McapOut(buffer, TOPIC, sorted(index.first))
    for one in records:
        out.add(one)
    out.flush()
    out.finish(encode_index(edit(index)))
    storage._fs.pipe_file(file.path, buffer.data)


def same(index: FileIndex) -> FileIndex:
    return index


def test_what_is_whole_has_no_problem_and_every_tile_is_compared() -> None:
    storage = fresh()
    log = Log({0: [tile(at, value=bytes([at]) * 900) for at in range(20)]})
    archive(storage, log, rotate_bytes=4000)
    read: list[int] = []
    judged = verify(storage, TOPIC, read=read.append)
    assert (judged.problems, judged.records, judged.tiles, judged.more) == ([], 20, 20, 0)
    assert judged.files == len(storage.files(TOPIC)) > 4
    assert 0.9 * judged.bytes < sum(read) <= judged.bytes


def test_a_flipped_bit_is_found_wherever_it_is() -> None:
    storage = fresh()
    archive(storage, Log({0: [tile(0), tile(1)], 1: [record(1, 0)]}))
    for file in storage.files(TOPIC):
        whole = storage.read(file.path, 0, file.size)
        for at in range(file.size):
            storage._fs.pipe_file(file.path, whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
            problems = verify(storage, TOPIC).problems
            assert problems, f"byte {at} of {file.name}"
            assert all(problem.file == file.name for problem in problems)
        storage._fs.pipe_file(file.path, whole)
    assert verify(storage, TOPIC).problems == []


def test_a_tile_whose_payload_is_not_what_its_header_says_is_named() -> None:
    storage = fresh()
    wrong = tile(1)
    wrong = record(0, 1, headers=wrong.headers, key=wrong.key, value=b"other")
    archive(storage, Log({0: [tile(0), wrong]}))
    (problem,) = verify(storage, TOPIC).problems
    assert problem.kind == "digest"
    assert "partition 0 offset 1: the payload of tile 0,0 of gate/run-1/1 differs" in problem.what


def test_a_dead_letter_an_empty_tile_and_a_header_of_garbage_are_not_judged() -> None:
    storage = fresh()
    bad = tile(0)
    letter = deadletter_headers(
        bad.headers, reason="checksum", detail="x", stage="extract", origin=("t", 0, 0), published_ms=1
    )
    records = [
        record(0, 0, headers=letter, value=b"other"),
        record(0, 1, headers=bad.headers, value=b""),
        record(0, 2, headers=[(wire.TILE_HEADER, b"garbage")]),
    ]
    archive(storage, Log({0: records}))
    judged = verify(storage, TOPIC)
    assert (judged.problems, judged.records, judged.tiles) == ([], 3, 0)


# The tests of references use a disk: a file in memory has one position for all who read it.


def referring(offset: int, to: Record, **changes: object) -> Record:
    """A tile whose pixels are those of an earlier one."""
    header = wire.read_tile_header(to.headers)
    header = msgspec.structs.replace(
        header, schema=wire.REFERENCE_SCHEMA, sequence=offset, base=False, same_as=to.offset, **changes
    )
    return record(0, offset, key=to.key, value=b"", headers=wire.tile_headers(header), timestamp_ms=to.timestamp_ms)


def base(offset: int, value: bytes) -> Record:
    """A tile that later ones may refer to."""
    one = tile(offset, value=value)
    header = msgspec.structs.replace(wire.read_tile_header(one.headers), base=True)
    return record(0, offset, key=one.key, value=value, headers=wire.tile_headers(header))


def references_told(judged: Judgement) -> list[str]:
    return [one.what.split(" is that of ")[1] for one in judged.problems if one.kind == "reference"]


@pytest.mark.parametrize("kept", [100_000, 1, 0])
def test_a_tile_that_refers_to_an_earlier_one_is_well_if_that_is_there_with_its_digest(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_KEPT", kept)
    storage = Storage(str(tmp_path))
    first, other = base(0, b"a" * 900), base(1, b"b" * 900)
    records = [first, other, *[referring(at, first if at % 2 else other) for at in range(2, 20)]]
    archive(storage, Log({0: records}), rotate_bytes=3000)
    assert len(storage.files(TOPIC)) > 3
    judged = verify(storage, TOPIC)
    assert (judged.problems, judged.tiles, judged.references, judged.outside) == ([], 2, 18, 0)


def test_a_reference_to_what_is_not_there_or_is_another_one_is_told(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    first = base(0, b"a")
    wrong = referring(2, first, payload_digest=b"12345678")
    forward = referring(3, base(7, b"a"))
    to_empty = referring(4, tile(2, value=b"a"))
    archive(storage, Log({0: [first, record(0, 1), wrong, forward, to_empty, referring(6, base(1, b"a"))]}))
    told = [(problem.kind, problem.what.split(" is that of offset ")[1]) for problem in verify(storage, TOPIC).problems]
    assert told == [
        ("reference", "0, which holds another payload"),
        ("reference", "7, which is no earlier one"),
        ("reference", "2, which is not in the archive"),
        ("reference", "1, which holds another payload"),
    ]


def test_a_reference_to_a_record_in_a_damaged_file_is_told_and_one_to_before_the_archive_is_counted(
    tmp_path: Path,
) -> None:
    storage = Storage(str(tmp_path))
    first = base(0, b"a" * 3000)
    archive(
        storage, Log({0: [first, referring(1, first), base(2, b"b" * 3000), referring(3, first)]}), rotate_bytes=3000
    )
    files = storage.files(TOPIC)
    assert len(files) == 4
    data = storage.read(files[1].path, 0, files[1].size)
    storage._fs.pipe_file(files[1].path, data.replace(b"aaaa", b"axaa", 1))
    judged = verify(storage, TOPIC)
    assert kinds(judged) == ["damaged", "reference"]
    assert references_told(judged) == [f"offset 0, which is lost with the damaged file {files[1].name}; 2 tiles in all"]
    for file in files[:2]:
        storage.delete(file.path)
    judged = verify(storage, TOPIC)
    assert (judged.problems, judged.references, judged.outside) == ([], 0, 2)


def test_many_tiles_that_refer_to_one_wrong_record_are_one_line_with_their_number(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    first = base(0, b"a")
    records = [first, record(0, 1), *[referring(at, tile(1)) for at in range(2, 6)]]
    records += [referring(at, first, payload_digest=b"12345678") for at in (6, 7)] + [referring(8, first)]
    archive(storage, Log({0: records}))
    judged = verify(storage, TOPIC)
    assert references_told(judged) == [
        "offset 1, which holds another payload; 4 tiles in all",
        "offset 0, which holds another payload; 2 tiles in all",
    ]
    assert "partition 0 offset 2: the payload of tile 0,0 of gate/run-1/2 is" in judged.problems[0].what
    assert judged.references == 1


@pytest.mark.parametrize("harm", ["cut off", "chunk", "length", "missing"])
def test_tiles_that_refer_to_what_a_file_lost_are_one_line_that_names_it(
    harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path))
    log = log_of({0: 3})
    archive(storage, log)
    bases = [base(at, bytes([at]) * 3000) for at in range(3, 6)]
    log.records[0].extend(bases)
    archive(storage, log)
    log.records[0].extend(referring(6 + at, bases[at % 3]) for at in range(9))
    archive(storage, log)
    file, last = storage.files(TOPIC)[-2:]
    harms: dict[str, Callable[[bytearray], None]] = {
        "chunk": lambda content: content.__setitem__(7000, content[7000] ^ 1),
        "length": lambda content: content.__setitem__(open_file(storage, file).chunks[0][0] + 7, 0xFF),
        "cut off": lambda content: content.__delitem__(slice(-9, None)),
    }
    if harm == "missing":
        storage.delete(file.path)
    else:
        change(storage, file, harms[harm])
    judged = verify(storage, TOPIC)
    where = f"a file missing before {last.name}" if harm == "missing" else f"the damaged file {file.name}"
    assert references_told(judged) == [f"offset 3, which is lost with {where}; 9 tiles in all"]
    assert [problem.kind for problem in judged.problems] == ["gap" if harm == "missing" else "damaged", "reference"]
    assert file.name not in judged.problems[0].what
    assert caplog.text == ""


def test_a_reference_into_a_gap_that_the_archive_tells_of_is_no_problem(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    log = Log({0: [base(at, b"a") for at in range(3)]})
    archive(storage, log)
    log.records[0] += [base(at, b"a") for at in range(3, 6)]
    log.records[0].append(referring(6, log.records[0][3]))
    log.low = {0: 5}
    archive(storage, log)
    judged = verify(storage, TOPIC)
    assert (judged.problems, judged.outside, len(judged.gaps)) == ([], 1, 1)


def test_a_missing_file_in_the_middle_is_a_gap_and_one_that_is_twice_a_double() -> None:
    storage = fresh()
    archive(storage, log_of({0: 30}), rotate_bytes=1500)
    files = storage.files(TOPIC)
    gone = open_file(storage, files[3]).index
    storage.delete(files[3].path)
    (problem,) = verify(storage, TOPIC).problems
    assert (problem.kind, problem.file) == ("gap", files[4].name)
    assert f"partition 0: offsets {gone.first[0]} to {gone.next[0] - 1}" in problem.what
    storage.delete(files[1].path)
    storage.delete(files[2].path)
    storage.delete(files[0].path)
    assert verify(storage, TOPIC).problems == []

    other = fresh()
    archive(other, log_of({0: 30}), rotate_bytes=2300)
    last = other.files(TOPIC)[-1]
    storage._fs.pipe_file(last.path.replace(other._root, storage._root), other.read(last.path, 0, last.size))
    assert "double" in kinds(verify(storage, TOPIC))


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [([0, 1, 3], {"gap", "index"}), ([0, 1, 1, 2, 3], {"double", "index"}), ([0, 1], {"gap", "index"})],
)
def test_records_that_do_not_follow_each_other_inside_a_file_are_told(offsets: list[int], expected: set[str]) -> None:
    storage = fresh()
    archive(storage, log_of({0: 4}))
    rewritten(storage, 1, [record(0, at) for at in offsets], same)
    assert set(kinds(verify(storage, TOPIC))) == expected


def test_an_index_that_tells_other_offsets_or_times_than_its_chunks_is_told() -> None:
    storage = fresh()
    log = log_of({0: 4})
    archive(storage, log)

    def later(index: FileIndex) -> FileIndex:
        (span,) = index.chunks[0]
        wrong = Span(0, span.first, span.last, span.count, span.low_ms, span.high_ms + 1)
        return FileIndex(**{**{name: getattr(index, name) for name in index.__struct_fields__}, "chunks": [[wrong]]})

    rewritten(storage, 1, log.records[0], later)
    (problem,) = verify(storage, TOPIC).problems
    assert (problem.kind, problem.what) == ("index", "chunk 0 holds other records than its index says")


def test_a_store_that_fails_is_no_damage() -> None:
    storage = fresh()
    archive(storage, log_of({0: 4}))

    def fail(*_arguments: object, **_options: object) -> bytes:
        raise ConnectionError("no route to host")

    for kind, name in ((MemoryFileSystem, "_open"), (MemoryFile, "read")):
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(kind, name, fail)
            with pytest.raises(StoreError, match=rf"^memory://.*{TOPIC}/.*: no route to host$"):
                verify(storage, TOPIC)
    assert verify(storage, TOPIC).problems == []


def test_problems_beyond_a_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROBLEMS", 3)
    storage = fresh()
    archive(storage, Log({0: [record(0, at, headers=tile(at).headers) for at in range(10)]}))
    judged = verify(storage, TOPIC)
    assert (len(judged.problems), judged.more, kinds(judged)) == (3, 7, ["digest"])
