"""`streamproc view` without a broker: what is refused, what is told, how it ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import typer

from streamproc.cli import view as command
from streamproc.errors import UsageError

NOWHERE = "127.0.0.1:1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - it is refused


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    return file


def test_the_network_is_served_with_a_token_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--host 0\.0\.0\.0 .*--token-file"):
        command.view(host=EVERYWHERE, port=0, open_browser=False, bootstrap=NOWHERE)
    with pytest.raises(UsageError, match=r"none.*cannot be read"):
        command.view(host=EVERYWHERE, port=0, token_file=tmp_path / "none", bootstrap=NOWHERE)


def test_a_port_that_is_taken_is_one_line_that_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as refused:
            command.view(port=port, open_browser=False, bootstrap=NOWHERE)
    assert f"127.0.0.1:{port}" in str(refused.value)
    assert "--port" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_address_that_is_not_of_this_machine_is_named(token: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--host 192\.0\.2\.1: this machine has no such address"
    ):  # kept for documentation by RFC 5737
        command.view(host="192.0.2.1", port=0, token_file=token, open_browser=False, bootstrap=NOWHERE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_without_a_broker_says_so_and_ends_within_two_seconds(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, str]] = []
    signalled_s: list[float] = []

    def visit() -> None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        out = ""
        while "url" not in out:
            time.sleep(0.02)
            out += capsys.readouterr().out
        url = json.loads(out)["url"]
        for path in ("healthz", "readyz"):
            try:
                with direct.open(url + path, timeout=5) as answer:
                    told.append((answer.status, answer.read().decode()))
            except urllib.error.HTTPError as error:
                told.append((error.code, error.read().decode()))
        signalled_s.append(time.monotonic())
        os.kill(os.getpid(), number)

    visitor = threading.Thread(target=visit, daemon=True)
    visitor.start()
    with pytest.raises(typer.Exit) as ended:
        command.view(port=0, open_browser=False, bootstrap=NOWHERE, as_json=True)
    assert time.monotonic() - signalled_s[0] < 2
    assert ended.value.exit_code == 128 + number
    assert told[0] == (200, "ok")
    assert told[1][0] == 503
    assert NOWHERE in told[1][1]


def test_what_the_client_says_of_passwords_and_certificates_is_heard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bool] = []
    client = logging.getLogger("streamproc.librdkafka")
    caplog.set_level(logging.CRITICAL, logger=client.name)  # as every command sets it first

    def run(*_args: object, **_options: object) -> None:
        heard.append(client.isEnabledFor(logging.ERROR))

    monkeypatch.setattr("streamproc.view.run_viewer", run)
    command.view(bootstrap=NOWHERE, port=0)
    assert heard == [True]


@pytest.mark.parametrize(
    ("screen", "opens", "words"), [(":0", True, ""), (":0", False, "go to http://x/"), (None, True, "go to http://x/")]
)
def test_a_browser_is_opened_where_there_is_a_screen(
    monkeypatch: pytest.MonkeyPatch, screen: str | None, opens: bool, words: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if screen is not None:
        monkeypatch.setenv("DISPLAY", screen)

    def open_page(url: str) -> bool:
        asked.append(url)
        return opens

    monkeypatch.setattr("webbrowser.open", open_page)
    said: list[str] = []
    command._open("http://x/", said.append)
    assert asked == ([] if screen is None else ["http://x/"])
    assert words in "".join(said)
    assert bool(said) is bool(words)
