"""Targets from text; no secret in what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.errors import UsageError
from streamproc.sinks import parse_address

CANARY = "canary-4471"


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("jsonl:out/events", "jsonl", "jsonl:out/events"),
        ("/data/events.jsonl", "jsonl", "jsonl:/data/events.jsonl"),
        ("parquet:out", "parquet", "parquet:out"),
        ("sqlite:///events.db", "sql", "sqlite:///events.db"),
        ("postgresql://ann@db:5433/cams", "sql", "postgresql://ann@db:5433/cams"),
        ("postgresql:///cams?host=/run/pg", "sql", "postgresql:///cams"),
        ("redis://[::1]:6380/events?db=2", "redis", "redis://[::1]:6380/events"),
        ("rediss://host/events", "redis", "rediss://host/events"),
        ("https://hooks.example.org/T0/B1/abc", "webhook", "https://hooks.example.org/..."),
        ("http://127.0.0.1:80", "webhook", "http://127.0.0.1:80"),
    ],
)
def test_each_kind_of_target_is_known_by_its_form(text: str, kind: str, shown: str) -> None:
    address = parse_address(text, visible=True)
    assert (address.kind, address.shown) == (kind, shown)


@pytest.mark.parametrize(
    "text",
    [
        "", "events", "jsonl:", "ftp://host/x", "mysql://h/d", "sqlite://", "sqlite:///", "sqlite:///:memory:",
        "sqlite:///a?mode=rw", "redis:///events", "http://", "https:host", "http://host:99999/", "http://h/a b",
        "redis://h:0/events", "redis://h/a\nb",
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="use "):
        parse_address(text, visible=True)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://ann:{CANARY}@db/cams",
        f"postgresql://db/cams?password={CANARY}",
        f"redis://:{CANARY}@h/events",
        f"https://ann:{CANARY}@h/",
        f"https://h/in?access_token={CANARY}",
        f"https://h/in?api-KEY={CANARY}",
    ],
)
def test_a_secret_in_an_argument_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="STREAMPROC_SINK_") as refused:
        parse_address(text, visible=True)
    assert CANARY not in str(refused.value)
    hidden = parse_address(text, visible=False)
    assert CANARY not in repr(hidden)
    assert CANARY not in hidden.shown
    assert CANARY not in hidden.clean(f"connection to {text} failed: {CANARY}")


@pytest.mark.parametrize("text", [f"bad://ann:{CANARY}@h/x", f"{CANARY}@h?password={CANARY}"])
def test_a_target_that_is_not_understood_is_not_repeated_if_it_may_hold_a_secret(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(text, visible=True)
    assert CANARY not in str(refused.value)


def test_a_password_comes_from_the_url_or_apart_and_masks_its_place() -> None:
    assert parse_address("postgresql://ann@db/c", password=CANARY, visible=True).password == CANARY
    address = parse_address("postgresql://ann:p%40w@db/c", password=CANARY, visible=False)
    assert (address.password, address.shown) == ("p@w", "postgresql://ann:***@db/c")


def test_a_default_name_is_that_of_target_choice_and_topics_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(text: str, choice: str = "/", prefix: str = "p.") -> str:
        return parse_address(text, visible=False).default_name(choice, prefix)

    monkeypatch.chdir(tmp_path)
    assert name("a.jsonl") == name(f"jsonl:{tmp_path}/a.jsonl")
    assert name("redis://u:one@h/s") == name("redis://u:two@h/s")
    different = {
        name("a.jsonl"),
        name("b.jsonl"),
        name("parquet:a.jsonl"),
        name("a.jsonl", choice="gate/"),
        name("a.jsonl", prefix="q."),
        name("https://h/one"),
        name("https://h/two"),
        name("redis://h/s?db=1"),
        name("redis://h/s"),
    }
    assert len(different) == 9
