"""URLs of cameras, and that no secret of theirs is shown."""

from __future__ import annotations

import string
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.sources.address import mask, parse_address
from streamproc.errors import UsageError

VARIABLES = {"PW": "p@ss:w/o?r#d%41", "TOKEN": "a b&c=d", "NUMBER": "42", "BAD": "x\r\nHost: y"}


def parse(spec: str) -> object:
    return parse_address(spec, variable=VARIABLES.get)


def test_a_url_is_taken_apart_and_put_together() -> None:
    found = parse_address("rtsp://anna:p%40ss@cam.local:8554/a/b?channel=1&key=xyz", variable=VARIABLES.get)
    assert (found.host, found.port, found.user, found.password) == ("cam.local", 8554, "anna", "p@ss")
    assert found.target == "/a/b?channel=1&key=xyz"
    assert found.url == "rtsp://anna:p%40ss@cam.local:8554/a/b?channel=1&key=xyz"
    assert found.masked == "rtsp://anna:***@cam.local:8554/a/b?channel=1&key=***"


@pytest.mark.parametrize(
    ("spec", "netloc", "port"),
    [
        ("rtsp://h/", "h", 554),
        ("rtsps://h/", "h", 322),
        ("http://[::1]:81/x", "[::1]:81", 81),
        ("https://H", "h", 443),
        ("http://bücher.example/", "xn--bcher-kva.example", 80),
    ],
)
def test_ports_and_hosts(spec: str, netloc: str, port: int) -> None:
    found = parse_address(spec, variable=VARIABLES.get)
    assert (found.netloc, found.port) == (netloc, port)
    assert found.target.startswith("/")


def test_variables_are_taken_as_they_are() -> None:
    found = parse_address("http://anna:${PW}@h/x?token=${TOKEN}", variable=VARIABLES.get)
    assert found.password == VARIABLES["PW"]
    assert found.target == "/x?token=a%20b%26c%3Dd"
    parts = urlsplit(found.url)
    assert parts.password == quote(VARIABLES["PW"], safe="")
    assert parts.hostname == "h"
    assert VARIABLES["PW"] not in repr(found) + found.masked
    assert "a%20b" not in repr(found) + found.masked


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("rtsp://h/${TOKEN}/live", "rtsp://h/***/live"),
        ("rtsp://h/a-${NUMBER}-b?channel=1", "rtsp://h/a-***-b?channel=1"),
        ("http://h/x?channel=${NUMBER}&size=640x480", "http://h/x?channel=***&size=640x480"),
        ("http://h/x?${NUMBER}=5&${NUMBER}", "http://h/x?***=5&***"),
        ("rtsp://cam-${NUMBER}:secret@h/x", "rtsp://cam-***:***@h/x"),
        ("rtsp://${NUMBER}@h/x", "rtsp://***@h/x"),
    ],
)
def test_what_came_out_of_a_variable_is_never_shown(spec: str, shown: str) -> None:
    found = parse_address(spec, variable=VARIABLES.get)
    assert found.masked == shown
    for value in (VARIABLES["NUMBER"], quote(VARIABLES["TOKEN"], safe="")):
        assert value not in found.masked + repr(found)
    assert (VARIABLES["NUMBER"] if "NUMBER" in spec else "a%20b%26c%3Dd") in found.url


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("http://anna:${NO_SUCH}@h/", "NO_SUCH"),
        ("http://anna:${BAD}@h/", "control characters"),
        ("rtsp://anna:secret@h/a b", "blanks"),
        ("rtsp://anna:my secret@h/a", "blanks"),
        ("rtsp://anna:secret", "no URL"),
        ("rtsp://anna:se/cret@h/", "no URL: percent-encode"),
        ("rtsp://anna:secret@:554/", "no URL"),
        ("rtsp://anna:secret@h:99999/", "no URL: its port must be 1 to 65535"),
        ("rtsp://anna:secret@h:0/", "no URL: its port must be 1 to 65535"),
        ("rtsp://anna:secret@h:x/", "no URL: its port must be 1 to 65535"),
        ("rtsp://h:99999/secret", "no URL: its port must be 1 to 65535"),
        ("rtsp://anna:99999/secret@h/", "no URL: percent-encode"),
        ("file://anna:secret@h/etc/passwd", "no URL"),
        ("concat:rtsp://anna:secret@h/", "no URL"),
        ("rtsp://anna:secret@h/" + "x" * 3000, "2000 characters"),
        ("rtsp://anna:secret@[h/", "no URL"),
    ],
)
def test_what_is_no_url_is_refused_without_its_secret(spec: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse(spec)
    assert "secret" not in str(caught.value)
    assert "se/cret" not in str(caught.value)


@given(
    password=st.text(min_size=8).filter(lambda text: not any(ord(char) < 32 or ord(char) == 127 for char in text)),
    user=st.text(alphabet=string.ascii_letters, min_size=1, max_size=5),
)
def test_any_password_is_kept_and_never_shown(password: str, user: str) -> None:
    try:
        encoded = quote(password, safe="")
    except UnicodeEncodeError:
        return
    if len(encoded) > 1500:
        return
    found = parse_address(f"rtsp://{user}:{encoded}@h/x", variable=VARIABLES.get)
    assert (found.user, found.password) == (user, password)
    assert found.masked == f"rtsp://{user}:***@h/x"
    assert found.url == f"rtsp://{user}:{encoded}@h/x"
    assert repr(found) == "Address(scheme='rtsp', host='h', port=554)"
    for text in (f"see rtsp://{user}:{encoded}@h/x?y={encoded}", f"rtsp://{user}:{password}@h/"):
        assert encoded not in mask(text)
        assert "\n" not in mask(text)
        assert password not in mask(text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        found = parse_address(f"http://{text}", variable=lambda _name: None)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - or it was read
        return
    assert found.host
    assert found.target.isascii()
    assert not any(ord(char) <= 32 for char in found.target)
