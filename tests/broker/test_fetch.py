from __future__ import annotations

import hashlib
import importlib.util
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from streamproc.broker import fetch
from streamproc.broker.fetch import ensure_jars
from streamproc.broker.jars import Jar
from streamproc.errors import BrokerError

NAMES = ("a-1.jar", "b-1.jar", "c-1.jar")
PINNED = tuple(
    Jar(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), coordinate=f"group:{name[0]}:1") for name in NAMES
)


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "pinned_jars", lambda: PINNED)
    monkeypatch.setattr(fetch, "RETRY_S", 0.0)


class FakeRepository:
    """Gives each jar its own name as content, unless told otherwise."""

    def __init__(self, **content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, jar: Jar, folder: Path) -> Path:
        self.asked.append(jar.name)
        folder.mkdir(parents=True)
        file = folder / jar.name
        file.write_bytes(self.content.get(jar.name[0], jar.name.encode()))
        return file


def left_in(cache: Path) -> set[str]:
    return {entry.name for entry in cache.iterdir()} - {".fetch.lock"}


def test_jars_are_fetched_once_and_said_to_be(tmp_path: Path) -> None:
    repository, told = FakeRepository(), list[str]()
    cache = tmp_path / "cache with spaces and ü"
    first = ensure_jars(told.append, cache=cache, download=repository)
    assert first == ensure_jars(told.append, cache=cache, download=repository)
    assert [jar.name for jar in first] == list(NAMES)
    assert sorted(repository.asked) == list(NAMES)
    assert len(told) == 1
    assert told[0].startswith("fetching Apache Kafka 4.3.0")


def test_two_that_start_at_once_fetch_once(tmp_path: Path) -> None:
    repository = FakeRepository()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: ensure_jars(cache=tmp_path, download=repository), range(2)))
    assert both[0] == both[1]
    assert sorted(repository.asked) == list(NAMES)


def test_a_jar_with_other_bytes_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"b-1\.jar is not the one"):
        ensure_jars(cache=tmp_path, download=FakeRepository(b=b"half"))
    assert left_in(tmp_path) == set()


def test_a_download_that_fails_names_the_jar_and_leaves_nothing(tmp_path: Path) -> None:
    def offline(jar: Jar, folder: Path) -> Path:
        if jar.name == "b-1.jar":
            raise ConnectionError("no route")
        return FakeRepository()(jar, folder)

    with pytest.raises(BrokerError, match=r"cannot fetch b-1\.jar \(ConnectionError\): is this machine online\?"):
        ensure_jars(cache=tmp_path, download=offline)
    assert left_in(tmp_path) == set()


def test_a_download_that_fails_at_first_is_tried_again(tmp_path: Path) -> None:
    repository = FakeRepository()

    def at_the_second_time(jar: Jar, folder: Path) -> Path:
        if folder.name == "0":
            raise ConnectionError
        return repository(jar, folder)

    assert len(ensure_jars(cache=tmp_path, download=at_the_second_time)) == len(NAMES)


def test_a_download_that_hangs_ends_in_time_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FETCH_S", 0.2)
    monkeypatch.setattr(fetch, "GIVE_UP_S", 0.1)
    released = threading.Event()

    def hanging(jar: Jar, folder: Path) -> Path:
        released.wait(30)
        return FakeRepository()(jar, folder)

    begin_s = time.monotonic()
    try:
        with pytest.raises(BrokerError, match="took longer"):
            ensure_jars(cache=tmp_path, download=hanging)
    finally:
        released.set()
    assert time.monotonic() - begin_s < 10


def test_what_a_killed_fetch_left_behind_is_cleared_away(tmp_path: Path) -> None:
    folder = ensure_jars(cache=tmp_path, download=FakeRepository())[0].parent
    left = tmp_path / f".{folder.name}.left"
    folder.rename(left)
    ensure_jars(cache=tmp_path, download=FakeRepository())
    assert left_in(tmp_path) == {folder.name}


def test_jars_that_are_here_need_no_jgo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_jars(cache=tmp_path, download=FakeRepository())
    hide("jgo", monkeypatch)
    assert len(ensure_jars(cache=tmp_path)) == len(NAMES)


def test_without_jgo_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide("jgo", monkeypatch)
    with pytest.raises(BrokerError, match=r"pip install 'streamproc\[broker\]'"):
        ensure_jars(cache=tmp_path)


def test_jgo_offline_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def refuse(*_: object, **__: object) -> requests.Response:
        raise requests.ConnectionError("name resolution failed")

    monkeypatch.setattr("requests.request", refuse)
    with pytest.raises(BrokerError, match=r"cannot fetch \w-1\.jar \(ConnectionError\): is this machine online\?"):
        ensure_jars(cache=tmp_path)


def test_the_users_own_mirror_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    asked = list[str]()

    def answer(_: str, url: str, **__: object) -> requests.Response:
        asked.append(url)
        response = requests.Response()
        response.status_code = 404
        return response

    settings = tmp_path / "jgo.conf"
    settings.write_text("[repositories]\nours = http://mirror.invalid/jars\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setattr("requests.request", answer)
    with pytest.raises(BrokerError, match="cannot fetch"):
        ensure_jars(cache=tmp_path)
    first, second = [url for url in asked if "/group/a/" in url][:2]
    assert first.startswith("http://mirror.invalid/jars/group/a/")
    assert "mirror.invalid" not in second


def test_a_settings_file_of_jgo_that_is_broken_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jgo.conf").write_text("no section\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    with pytest.raises(BrokerError, match="settings file of jgo cannot be read"):
        ensure_jars(cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match="cannot keep the jars"):
        ensure_jars(cache=tmp_path / "file", download=FakeRepository())


def hide(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def find_others(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == module else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_others)
