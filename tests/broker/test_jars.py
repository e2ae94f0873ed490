from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from streamproc.broker.jars import KAFKA_VERSION, Jar, check_jars, jar_folder, parse_lock, pinned_jars
from streamproc.errors import BrokerError


def jar(name: str, content: bytes) -> Jar:
    return Jar(name=name, sha256=hashlib.sha256(content).hexdigest(), coordinate=f"group:{name}:1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a-1.jar").write_bytes(b"a")
    (tmp_path / "b-1.jar").write_bytes(b"b")
    return tmp_path


PINNED = (jar("a-1.jar", b"a"), jar("b-1.jar", b"b"))


def test_the_lock_in_the_package_pins_kafka_and_its_clients_at_one_version() -> None:
    names = {jar.name for jar in pinned_jars()}
    assert {f"kafka_2.13-{KAFKA_VERSION}.jar", f"kafka-clients-{KAFKA_VERSION}.jar"} <= names
    assert {name for name in names if name.startswith("kafka")} == {
        name for name in names if name.startswith("kafka") and name.endswith(f"-{KAFKA_VERSION}.jar")
    }


def test_every_pinned_name_follows_from_its_coordinate() -> None:
    for pinned in pinned_jars():
        _, artifact, version, *classifier = pinned.coordinate.split(":")
        assert pinned.name == "-".join([artifact, version, *classifier]) + ".jar"


def test_the_right_jars_pass(folder: Path) -> None:
    check_jars(folder, PINNED)


def test_an_altered_jar_is_refused_by_name(folder: Path) -> None:
    (folder / "b-1.jar").write_bytes(b"B")
    with pytest.raises(BrokerError, match=r"b-1\.jar is not the one .* delete the folder .* and run again"):
        check_jars(folder, PINNED)


def test_half_a_jar_is_refused_by_name(folder: Path) -> None:
    (folder / "a-1.jar").write_bytes(b"")
    with pytest.raises(BrokerError, match=r"a-1\.jar is not the one"):
        check_jars(folder, PINNED)


def test_a_missing_jar_is_refused_by_name(folder: Path) -> None:
    (folder / "a-1.jar").unlink()
    with pytest.raises(BrokerError, match=r"a-1\.jar is missing .* delete the folder .* and run again"):
        check_jars(folder, PINNED)


def test_a_jar_too_many_is_refused_by_name(folder: Path) -> None:
    (folder / "c-1.jar").write_bytes(b"c")
    with pytest.raises(BrokerError, match=r"c-1\.jar does not belong .* delete the folder .* and run again"):
        check_jars(folder, PINNED)


@pytest.mark.parametrize(
    "line",
    [
        "abc  a.jar  g:a:1",
        f"{'0' * 64} a.jar  g:a:1",
        f"{'0' * 64}  ../a.jar  g:a:1",
        f"{'0' * 64}  a.jar",
        f"{'0' * 64}  a.jar  g:a:1\n{'1' * 64}  a.jar  g:a:1",
    ],
)
def test_a_lock_that_is_not_as_it_must_be_is_refused(line: str) -> None:
    with pytest.raises(BrokerError, match="reinstall streamproc"):
        parse_lock(f"# comment\n{line}\n")


def test_an_empty_lock_is_refused() -> None:
    with pytest.raises(BrokerError, match="names no jar"):
        parse_lock("# nothing\n")


def test_another_lock_has_another_folder(tmp_path: Path) -> None:
    assert jar_folder(PINNED, tmp_path) != jar_folder(PINNED[:1], tmp_path)


def test_a_cache_path_that_java_would_cut_in_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"':'.*class path"):
        jar_folder(PINNED, tmp_path / "a:b")
