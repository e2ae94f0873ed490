"""Where files lie: S3 (moto's server), HDFS (Arrow's file system, standing on a local folder), a local disk, memory."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.registry import _registry
from fsspec.spec import AbstractBufferedFile
from moto.server import ThreadedMotoServer
from pyarrow.fs import LocalFileSystem

from streamproc.archive import ArchiveReader
from streamproc.archive import storage as module
from streamproc.archive.storage import Storage, masked
from streamproc.archive.verify import verify
from streamproc.archive.writer import TopicWriter
from streamproc.errors import ArchiveError, StoreError, UsageError
from tests.archive.material import TOPIC, archive, fresh, log_of, record, writer_on
from tests.cli import streamproc

BUCKET = "frames"


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str) -> dict[str, Any]:
    """Options of an empty bucket."""
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/moto-api/reset", method="POST")).close()  # noqa: S310
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{BUCKET}", method="PUT")).close()  # noqa: S310
    return {"endpoint_url": s3_endpoint, "key": "test", "secret": "secret-of-s3"}


class StandIn(ArrowFSWrapper):  # type: ignore[misc] # ships no types
    """HDFS as fsspec has it, but for the cluster: fsspec's wrapper around one of Arrow's file systems.

    As HDFS does, it refuses to rename over a file that is there.
    """

    protocol = "hdfs"

    def __init__(self, host: str = "default", port: int = 0, user: str | None = None, **options: Any) -> None:
        self.asked = {"host": host, "port": port, "user": user}
        super().__init__(LocalFileSystem(), **options)

    @property
    def fsid(self) -> str:
        return "stand-in"

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self.exists(path2):
            raise FileExistsError(path2)
        super().mv(path1, path2, **options)

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        from fsspec.utils import infer_storage_options

        options = infer_storage_options(path)
        return {
            name: options[key]
            for key, name in (("host", "host"), ("port", "port"), ("username", "user"))
            if key in options
        }


@pytest.fixture
def hdfs() -> Iterator[None]:
    before = fsspec.get_filesystem_class("hdfs")
    fsspec.register_implementation("hdfs", StandIn, clobber=True)
    yield
    fsspec.register_implementation("hdfs", before, clobber=True)


def end_at_once(writer: TopicWriter) -> None:
    """What a kill does: nothing is completed, nothing tidied."""
    assert writer._open is not None
    stream = writer._open.file._stream
    if isinstance(stream, AbstractBufferedFile):
        stream.closed = True  # what would upload it when it is collected
    stream.close()


def whole_life(storage: Storage, **options: Any) -> None:
    """Begun, killed, resumed, retained, read and verified."""
    assert storage.topics() == []
    log = log_of({0: 40, 1: 30})
    killed = writer_on(storage, log, rotate_bytes=2500)
    for one in log.from_(killed.positions)[:47]:
        killed.add(one, 0)
    end_at_once(killed)
    assert [file.name for file in storage.files(TOPIC)] == [file.name for file in killed._files]
    archive(storage, log, rotate_bytes=2500)
    files = storage.files(TOPIC)
    assert len(files) > 4
    assert storage.topics() == [TOPIC]
    judged = verify(storage, TOPIC)
    assert (judged.problems, judged.records, judged.files) == ([], 70, len(files))
    writer = writer_on(storage, log, keep_bytes=files[-1].size + files[-2].size)
    writer.expire(0)
    assert storage.files(TOPIC) == files[-2:]
    with ArchiveReader(storage.url, TOPIC, **options) as reader:
        ranges = {partition: reader.bounds(partition) for partition in reader.partitions()}
        read = list(reader.read(ranges))
    for partition, (low, high) in ranges.items():
        assert [one for one in read if one.partition == partition] == log.records[partition][low:high]
    assert ranges[0][1] == 40


def test_s3_holds_an_archive(s3: dict[str, Any]) -> None:
    whole_life(Storage(f"s3://{BUCKET}/some/folder", **s3), **s3)


def test_an_upload_in_parts_is_seen_when_it_is_whole_and_not_when_it_is_discarded(
    s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 5 * 2**20)  # the least S3 takes
    storage = Storage(f"s3://{BUCKET}/archive", **s3)
    log = log_of({0: 60}, make=lambda partition, offset: record(partition, offset, value=bytes(400_000)))
    writer = writer_on(storage, log)
    for one in log.records[0]:
        writer.add(one, 0)
    assert writer._open is not None
    assert writer._open.file.size > 10 * 2**20  # two parts are there
    assert len(storage.files(TOPIC)) == 1
    writer.abandon()
    storage._fs.invalidate_cache()
    assert len(storage.files(TOPIC)) == 1
    assert storage._fs.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", []) == []
    archive(storage, log)
    assert [file.size > 24_000_000 for file in storage.files(TOPIC)] == [False, True]
    assert verify(storage, TOPIC).problems == []


def test_an_upload_that_is_only_closed_or_collected_is_never_seen(s3: dict[str, Any]) -> None:
    """As when the process ends by an exception: the library would complete the upload of half a file."""
    storage = Storage(f"s3://{BUCKET}/archive", **s3)
    writer = writer_on(storage, log_of({0: 3}))
    writer.add(record(0, 0), 0)
    assert writer._open is not None
    writer._open.out.flush()
    writer._open.file._stream.close()
    assert len(storage.files(TOPIC)) == 1


def test_the_command_line_finds_s3_by_fsspecs_own_variables_and_shows_no_secret(s3: dict[str, Any]) -> None:
    archive(Storage(f"s3://{BUCKET}/archive", **s3), log_of({0: 5}))
    variables = {
        "FSSPEC_S3_ENDPOINT_URL": s3["endpoint_url"],
        "FSSPEC_S3_KEY": "test",
        "FSSPEC_S3_SECRET": "secret-of-s3",
    }
    done = streamproc("archive", "ls", f"s3://{BUCKET}/archive", "--json", **variables)
    assert done.code == 0, done.err
    (facts,) = json.loads(done.out)
    assert (facts["topic"], facts["records"], facts["files"]) == (TOPIC, 5, 2)
    wrong = streamproc("archive", "ls", "s3://no-such-bucket/archive", **variables)
    assert (wrong.code, "archive files" in wrong.error_line) == (1, True)
    assert "secret-of-s3" not in done.out + done.err + wrong.out + wrong.err


def test_no_such_bucket_and_wrong_credentials_are_told_apart_from_a_store_that_is_away(
    s3: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says no will say no again; what is away may come back."""
    nowhere = Storage("s3://no-such-bucket/archive", **s3)
    with pytest.raises(StoreError, match="no-such-bucket") as refused:
        writer_on(nowhere, log_of({0: 3}))
    assert nowhere.refuses(refused.value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    unknown = Storage(f"s3://{BUCKET}/archive", endpoint_url=s3["endpoint_url"], anon=False)
    with pytest.raises(StoreError, match="credentials") as refused:
        unknown.topics()
    assert unknown.refuses(refused.value)

    disk = Storage(str(tmp_path))
    for cause, no in (
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (FileNotFoundError("a disk that is not mounted"), False),
    ):
        error = StoreError("x")
        error.__cause__ = cause
        assert disk.refuses(error) is no
        assert Storage(f"s3://{BUCKET}/archive", **s3).refuses(error) is (no or isinstance(cause, FileNotFoundError))
    assert not disk.refuses(StoreError("x"))


def test_a_store_that_does_not_answer_is_one_line(s3_endpoint: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        options = {"endpoint_url": nowhere, "key": "k", "secret": "secret-of-s3"}
        config = {"connect_timeout": 1, "retries": {"max_attempts": 0}}
        storage = Storage(f"s3://{BUCKET}/archive", config_kwargs=config, **options)
        storage._fs.retries = 1
        with pytest.raises(ArchiveError, match=r"^s3(a)?://frames/archive[^\n]*: [^\n]+$") as failed:
            storage.topics()
    assert "secret-of-s3" not in str(failed.value)


@pytest.mark.usefixtures("hdfs")
def test_hdfs_holds_an_archive_and_is_told_host_port_and_user(tmp_path: Path) -> None:
    storage = Storage(f"hdfs://archivist@namenode:8020{tmp_path}/archive")
    assert storage._fs.asked == {"host": "namenode", "port": 8020, "user": "archivist"}
    whole_life(storage)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_local_folder_holds_an_archive_by_path_and_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_life(Storage(str(tmp_path / "one")))
    whole_life(Storage(f"file://{tmp_path}/two"))
    monkeypatch.chdir(tmp_path)
    whole_life(Storage("three"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "three", "two"]


def test_memory_holds_an_archive() -> None:
    whole_life(fresh())


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that power can fail too."""
    storage = Storage(str(tmp_path))
    writer = writer_on(storage, log_of({0: 1}))
    writer.add(record(0, 0), 0)
    named: list[tuple[bool, int]] = []
    real = os.fsync

    def fsync(number: int) -> None:
        named.append((stat.S_ISDIR(os.fstat(number).st_mode), len(storage.files(TOPIC))))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    writer.publish()
    assert named == [(False, 1), (True, 2)]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system has no posix_fadvise")
def test_the_disk_begins_to_write_before_a_file_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advised: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda number, _at, _length, advice: advised.append((os.fstat(number).st_size, advice))
    )
    file = Storage(str(tmp_path)).create(TOPIC, "big.mcap")
    for _ in range(5):
        file.write(bytes(8 * 2**20))
    file.publish()
    assert advised == [(16 * 2**20, os.POSIX_FADV_DONTNEED), (32 * 2**20, os.POSIX_FADV_DONTNEED)]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    writer = writer_on(storage, log_of({0: 3}))
    writer.add(record(0, 0), 0)
    assert len(list(tmp_path.rglob("*.partial"))) == 1
    writer_on(storage, log_of({0: 3}))
    assert not list(tmp_path.rglob("*.partial"))


def test_one_writer_at_a_time_on_a_local_disk(tmp_path: Path) -> None:
    storage, other = Storage(str(tmp_path)), Storage(str(tmp_path))
    with storage.lock(TOPIC):
        with pytest.raises(ArchiveError, match="another process archives this topic there"), other.lock(TOPIC):
            raise AssertionError
        with other.lock("another.topic"):
            pass
    with other.lock(TOPIC):
        pass


def test_passwords_are_refused_in_urls_and_never_shown() -> None:
    assert masked("hdfs://ann:geheim@host:8020/x") == "hdfs://ann:***@host:8020/x"
    assert masked("s3://bucket/a:b@c") == "s3://bucket/a:b@c"
    assert masked("/data/a:b@c") == "/data/a:b@c"
    with pytest.raises(UsageError, match=r"hdfs://ann:\*\*\*@host/x: a password in the URL") as refused:
        Storage("hdfs://ann:geheim@host/x")
    assert "geheim" not in str(refused.value)


def test_a_wrong_url_or_a_missing_library_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^nothing://x: Protocol not known: nothing$"):
        Storage("nothing://x")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # a class that was loaded before
    with pytest.raises(ArchiveError, match=r"^s3://bucket/x: .*pip install 'streamproc\[archive\]'$"):
        Storage("s3://bucket/x")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    storage = Storage(str(tmp_path / "file"))
    with pytest.raises(ArchiveError, match=f"^{tmp_path}/file/{TOPIC}"):
        writer_on(storage, log_of({0: 1}))
    with pytest.raises(ArchiveError, match=f"^{tmp_path}/file/{TOPIC} cannot be written: "), storage.lock(TOPIC):
        pass


def test_a_file_beside_is_not_begun_where_a_folder_stands_or_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match=f"^{tmp_path}/folder is a folder: name a file$"):
        Storage(str(tmp_path)).create_beside("folder")
    for parent in ("file", "file/deeper"):
        with pytest.raises(ArchiveError, match=f"^{tmp_path}/{parent} cannot be made a folder: a file is in the way$"):
            Storage(str(tmp_path / parent)).create_beside("a.parquet")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_file_that_cannot_be_begun_is_told_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))

    def refuse(path: str, *_arguments: object, **_options: object) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(storage._fs, "open", refuse)
    with pytest.raises(StoreError, match=f"^{tmp_path}/a.parquet: Permission denied$"):
        storage.create_beside("a.parquet")


def test_an_empty_url_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("", "  "):
        with pytest.raises(UsageError, match=r"^the URL of the archive is empty: name a folder \(\. is this one\)$"):
            Storage(url)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "x" * 250, "ü"])
def test_names_that_no_topic_can_have_lead_nowhere(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a topic"):
        fresh().files(name)
