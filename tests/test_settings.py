"""Settings: environment, file, options, in that order of growing force; a refused value is named with its origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamproc.client import client_config
from streamproc.errors import SettingError
from streamproc.settings import child_environment, load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "streamproc.toml"
    path.write_text('partitions = 5\nprefix = "from-file."\n')
    return path


def test_options_override_the_file_which_overrides_the_environment(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("STREAMPROC_PARTITIONS", "3")
    monkeypatch.setenv("STREAMPROC_REPLICATION", "2")
    settings = load_settings(file=file, prefix="from-option.")
    assert (settings.replication, settings.partitions, settings.prefix) == (2, 5, "from-option.")
    assert load_settings().partitions == 3
    assert load_settings(file=file, partitions=None).partitions == 5


def test_a_variable_can_name_the_file(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("STREAMPROC_SETTINGS", str(file))
    assert load_settings().partitions == 5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"partitions": 0}, ["--partitions", "0"]),
        ({"bootstrap": "localhost"}, ["--bootstrap", "host:port"]),
        ({"bootstrap": "a:1,b:99999"}, ["b:99999"]),
        ({"prefix": "a b"}, ["--prefix", "letters"]),
        ({"jpeg_quality": 101}, ["--jpeg-quality", "100", "101"]),
        ({"no_such": 1}, ["no_such", "bootstrap", "partitions"]),
        ({"security_protocol": "SASL_SSL"}, ["security_username"]),
        ({"security_cert_file": "/a"}, ["security_key_file"]),
        ({"security_protocol": "FTP"}, ["--security-protocol", "PLAINTEXT"]),
    ],
)
def test_a_refused_option_is_named_with_what_is_allowed(options: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(SettingError) as refused:
        load_settings(**options)
    for word in told:
        assert word in str(refused.value).replace("no-such", "no_such")


def test_a_refused_variable_or_line_of_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMPROC_PARTITIONS", "many")
    with pytest.raises(SettingError, match=r"STREAMPROC_PARTITIONS: .*'many'"):
        load_settings()
    monkeypatch.delenv("STREAMPROC_PARTITIONS")
    path = tmp_path / "s.toml"
    path.write_text("partitions = -1\n")
    with pytest.raises(SettingError, match=r"partitions in .*s\.toml"):
        load_settings(file=path)


@pytest.mark.parametrize(("text", "told"), [("partitions =", "cannot be read"), (None, "does not exist")])
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "s.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingError, match=told):
        load_settings(file=path)


def test_a_password_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMPROC_SECURITY_PASSWORD", "canary-7781")
    settings = load_settings(security_protocol="SASL_PLAINTEXT", security_username="u")
    assert "canary" not in repr(settings)
    assert "canary" not in str(settings.model_dump())
    assert client_config(settings, client_id="t")["sasl.password"] == "canary-7781"
    with pytest.raises(SettingError) as refused:
        load_settings(security_password=["canary-7781"])
    assert "canary" not in str(refused.value)


def test_a_child_gets_our_environment_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMETHING", "1")
    assert child_environment({"OTHER": "2"}).items() >= {"SOMETHING": "1", "OTHER": "2"}.items()
    assert "SOMETHING" not in child_environment(without=("SOMETHING",))
