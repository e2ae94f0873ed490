"""`streamproc archive` as a user runs it, without a broker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamproc.archive import run as archive_run
from streamproc.archive.run import ArchiveRun
from streamproc.archive.storage import Storage
from streamproc.cli.archive import export, full_names, run, verify
from streamproc.errors import BrokerError, CannotJudge, UsageError
from streamproc.topics import Topics
from tests.archive.material import TOPIC, Log, archive, change, log_of, tile
from tests.cli import streamproc


@pytest.fixture
def held(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path / "archive"))
    log = log_of({0: 0, 1: 20})
    archive(storage, Log({**log.records, 0: [tile(at) for at in range(10)]}), rotate_bytes=4000, topic_id="one")
    return storage


def test_ls_tells_files_partitions_offsets_times_cameras_and_bytes(held: Storage) -> None:
    done = streamproc("archive", "ls", held.url, "--json")
    assert done.code == 0, done.err
    (facts,) = json.loads(done.out)
    files = held.files(TOPIC)
    assert (facts["files"], facts["bytes"]) == (len(files), sum(file.size for file in files))
    assert (facts["records"], facts["cameras"], facts["gaps"], facts["problems"]) == (30, ["gate", "gate-1"], [], [])
    found = [(one["partition"], one["records"], one["first"], one["last"]) for one in facts["partitions"]]
    assert found == [(0, 10, 0, 9), (1, 20, 0, 19)]
    assert facts["captured_ns"] == [1_700_000_000_000_000_000] * 2
    assert [one["file"] for one in facts["each"]] == [file.name for file in files]
    shown = streamproc("archive", "ls", held.url, "--files")
    for word in (TOPIC, "0 to 9", "0 to 19", "gate, gate-1", "2026-01-01 00:00:00", files[-1].name):
        assert word in shown.out


def test_verify_ends_with_0_when_all_is_well_and_with_1_and_the_place_when_not(held: Storage) -> None:
    well = streamproc("archive", "verify", held.url)
    assert (well.code, "30 records, 10 digests of tiles compared: all well" in well.out) == (0, True)
    file = held.files(TOPIC)[1]
    change(held, file, lambda content: content.__setitem__(700, content[700] ^ 1))
    ill = streamproc("archive", "verify", held.url)
    assert (ill.code, f"damaged: {TOPIC}/{file.name}: chunk 0 at byte" in ill.out) == (1, True)
    as_json = streamproc("archive", "verify", held.url, "--topic", TOPIC, "--json")
    told = json.loads(as_json.out)
    assert (as_json.code, told["ok"], told["topics"][0]["problems"][0]["kind"]) == (1, False, "damaged")


@pytest.mark.parametrize(
    ("url", "topic", "words"),
    [
        ("nothing", "t.tiles", "holds no archive files"),
        ("file", "t.tiles", "holds no archive files"),
        ("archive", "events", "holds no files of topic streamproc.events"),
    ],
)
def test_verify_cannot_judge_what_is_not_there(held: Storage, tmp_path: Path, url: str, topic: str, words: str) -> None:
    (tmp_path / "file").write_text("no archive")
    with pytest.raises(CannotJudge, match=words) as told:
        verify(str(tmp_path / url), topic=topic)
    assert told.value.exit_code == 2


@pytest.mark.parametrize("kind", ["bogus", "Frame", ""])
def test_export_refuses_a_type_that_no_event_has(held: Storage, tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match=f"^--type '{kind}': use frame, track, rule, anomaly, camera or all$"):
        export(held.url, str(tmp_path / "a.parquet"), kind=kind)


def test_export_refuses_a_folder_before_it_writes(held: Storage, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"/folder is a folder: name a file$"):
        export(held.url, str(tmp_path / "folder"), topic=TOPIC)
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_that_fails_before_it_begins_tells_its_error_alone(
    tmp_path: Path, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_arguments: object, **_options: object) -> None:
        raise BrokerError("topic t.tiles does not exist")

    monkeypatch.setattr(archive_run, "TopicReader", gone)
    with pytest.raises(BrokerError):
        run(str(tmp_path), topics=TOPIC, until_end=True, bootstrap="127.0.0.1:9", as_json=as_json)
    for url, words in (("hdfs://ann:geheim@host/x", "a password in the URL"), ("", "the URL of the archive is empty")):
        with pytest.raises(UsageError, match=words):
            run(url, topics=TOPIC, bootstrap="127.0.0.1:9", as_json=as_json)
    assert capsys.readouterr() == ("", "")


def test_a_run_that_fails_later_tells_what_it_has_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(run: ArchiveRun, **_options: object) -> None:
        run.topics[0].ends = {0: 9}
        run.topics[0].written.records = 7
        raise BrokerError("no broker answers")

    monkeypatch.setattr(ArchiveRun, "run", fails)
    with pytest.raises(BrokerError):
        run(str(tmp_path), topics=f"{TOPIC},other.topic", bootstrap="127.0.0.1:9")
    assert capsys.readouterr().out == f"{TOPIC}: 7 records, 0 B, in 0 files\n"


def test_a_file_that_cannot_be_read_is_shown_and_named(held: Storage) -> None:
    file = held.files(TOPIC)[1]
    change(held, file, lambda content: content.__delitem__(slice(-9, None)))
    done = streamproc("archive", "ls", held.url, "--files")
    assert done.code == 1
    assert "unreadable" in done.out
    assert f"1 file cannot be read, the first: {TOPIC}/{file.name}: it has no end" in done.error_line


def test_gaps_and_the_parts_of_a_topic_made_anew_are_listed_and_verified(held: Storage) -> None:
    new = log_of({0: 9})
    new.low = {0: 4}
    archive(held, new, topic_id="two")
    listed = json.loads(streamproc("archive", "ls", held.url, "--json").out)
    assert [(one["topic"], one["epoch"], one["url"], one["records"]) for one in listed] == [
        (TOPIC, 1, held.url, 30),
        (TOPIC, 2, f"{held.url}/epoch-2", 5),
    ]
    assert listed[1]["gaps"] == [{"partition": 0, "first": 0, "last": 3, "why": "retention"}]
    assert listed[1]["each"][-1]["epoch"] == 2
    assert f"epoch-2/{TOPIC}" in streamproc("archive", "ls", held.url, "--files").out
    done = streamproc("archive", "verify", held.url)
    assert done.code == 0, done.err
    assert f"gap: epoch-2/{TOPIC}[0] offsets 0 to 3: retention removed them before they were archived" in done.out
    assert f"epoch-2/{TOPIC}: 2 files" in done.out
    change(held.at_epoch(2), held.at_epoch(2).files(TOPIC)[1], lambda content: content.__delitem__(slice(-9, None)))
    done = streamproc("archive", "verify", held.url, "--topic", TOPIC)
    assert (done.code, f"damaged: epoch-2/{TOPIC}/" in done.out) == (1, True)


def test_mistakes_are_one_line(tmp_path: Path, held: Storage) -> None:
    for arguments, code, words in (
        (("ls", tmp_path / "nothing"), 1, "holds no archive files: streamproc archive run writes them"),
        (("ls", held.url, "--topic", "events"), 1, f"holds no files of topic streamproc.events; it holds {TOPIC}"),
        (("ls", "hdfs://ann:geheim@host/x"), 2, "hdfs://ann:***@host/x: a password in the URL"),
        (("run", tmp_path, "--topics", "tile"), 2, "there is no topic 'tile': use tiles, features, events"),
        (("export", held.url, "--out", f"{tmp_path}/"), 2, "expected the name of a file"),
    ):
        done = streamproc("archive", *arguments)
        assert (done.code, words in done.error_line) == (code, True), done.err
        assert "geheim" not in done.out + done.err
        assert done.out == ""
    assert not list(tmp_path.glob("*/*.partial"))


def test_without_its_libraries_it_names_the_extra(tmp_path: Path) -> None:
    for missing in ("mcap", "fsspec"):
        code = f"import sys; sys.modules[{missing!r}] = None; from streamproc.__main__ import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "archive", "ls", str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.strip() == f"error: an archive needs {missing}: pip install 'streamproc[archive]'"


def test_topics_are_named_shortly_or_fully_and_once() -> None:
    topics = Topics("p.")
    assert full_names("tiles, events,tiles,other.topic", topics) == ["p.tiles", "p.events", "other.topic"]
    assert full_names("p.tiles,tiles", topics) == ["p.tiles"]
    with pytest.raises(UsageError, match="name at least one topic"):
        full_names(" , ", topics)
