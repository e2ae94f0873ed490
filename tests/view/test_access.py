"""Who may ask: tokens, cookies, names of this machine, pages of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.errors import UsageError
from streamproc.view.access import Access, is_loopback, is_open, read_token

TOKEN = "0123456789abcdef-canary"


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True),
     ("0.0.0.0", False), ("::", False),  # noqa: S104 - it is refused
     ("192.168.1.4", False), ("camera-room", False)],
)  # fmt: skip
def test_loopback_is_known_by_its_addresses(host: str, wanted: bool) -> None:
    assert is_loopback(host) is wanted


def test_a_token_is_the_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN


@pytest.mark.parametrize(
    "text", ["", "\n", "canary", "canary-canary-canary\nsecond-line", "canary canary canary", "cänary" * 5]
)
def test_a_file_that_holds_no_token_is_refused_without_telling_what_it_holds(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read_token(file)
    assert str(file) in str(refused.value)
    assert "anary" not in str(refused.value)


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.*cannot be read"):
        read_token(tmp_path / "none")


@pytest.mark.parametrize(
    ("authorization", "cookie", "wanted"),
    [
        (None, None, False),
        (f"Bearer {TOKEN}", None, True),
        (f"bearer  {TOKEN} ", None, True),
        (f"Basic {TOKEN}", None, False),
        ("Bearer", None, False),
        (f"Bearer {TOKEN}x", None, False),
        ("Bearer ünicode", None, False),
        (None, TOKEN, False),
        (None, "SESSION", True),
        (None, "", False),
    ],
)
def test_a_token_or_its_session_lets_in(authorization: str | None, cookie: str | None, wanted: bool) -> None:
    access = Access(TOKEN, local=False)
    assert access.lets_in(authorization, access.session if cookie == "SESSION" else cookie) is wanted
    assert Access(None, local=True).lets_in(authorization, cookie)


def test_the_session_does_not_tell_the_token_and_is_of_that_token_alone() -> None:
    session = Access(TOKEN, local=True).session
    assert TOKEN not in session
    assert not Access(TOKEN + "2", local=True).lets_in(None, session)


@pytest.mark.parametrize(
    ("host", "local", "wanted"),
    [
        ("127.0.0.1:8080", True, True),
        ("localhost", True, True),
        ("127.0.0.2:8080", True, True),
        ("10.0.0.1:8080", True, False),
        ("[::1]:8080", True, True),
        ("evil.example", True, False),
        ("127.0.0.1.evil.example:8080", True, False),
        ("", True, False),
        ("[", True, False),
        ("cameras.example", False, True),
    ],
)
def test_on_loopback_a_name_of_another_machine_is_refused(host: str, local: bool, wanted: bool) -> None:
    assert Access(None, local=local).host_is_right(host) is wanted


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [(None, True), ("http://localhost:8080", True), ("https://localhost:8080", True), ("http://localhost:9999", False),
     ("http://evil.example", False), ("null", False), ("", False)],
)  # fmt: skip
def test_a_page_from_elsewhere_is_refused(origin: str | None, wanted: bool) -> None:
    assert Access(None, local=True).origin_is_right(origin, "localhost:8080") is wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/login", True), ("/healthz", True), ("/readyz", True), ("/static/login.css", True), ("/static/main.js", False),
     ("/", False), ("/api/state", False), ("/api/state.css", False), ("/login/x", False)],
)  # fmt: skip
def test_without_a_token_only_the_login_and_probes_are_served(path: str, wanted: bool) -> None:
    assert is_open(path) is wanted
