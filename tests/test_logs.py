"""Log lines as machines read them: one JSON object each, whoever wrote it, and no secret in any."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamproc import logs
from streamproc.cli import notices
from streamproc.errors import SettingError
from streamproc.foreign_lines import is_log_line
from streamproc.words import Line
from tests.cli import streamproc

ROOT = Path(__file__).parent.parent
CANARY = "canary-7781"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_secrets", "_always", "_options"):
        monkeypatch.setattr(logs, name, type(getattr(logs, name))())


def told(message: str, *args: object, **more: Any) -> dict[str, Any]:
    """A record as a JSON line."""
    record = logging.getLogger("streamproc.test").makeRecord(
        "streamproc.test", logging.WARNING, "f", 1, message, args, more.get("exc_info"), extra=more.get("extra")
    )
    line = logs.json_formatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def test_a_line_has_time_level_logger_event_and_the_facts_beside_it() -> None:
    logs.bind(role="worker-all", worker="w-1", run=None)
    line = told("partition %d of %s", 3, "tiles", extra={"topic": "tiles", "partition": 3})
    assert list(line) == ["time", "level", "logger", "event", "role", "worker", "topic", "partition"]
    assert (line["level"], line["logger"], line["event"]) == ("warning", "streamproc.test", "partition 3 of tiles")
    assert (line["topic"], line["partition"]) == ("tiles", 3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"]), "RFC 3339, UTC"
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)


def test_an_exception_is_one_field() -> None:
    error = ValueError("first\nsecond")
    line = told("it failed", exc_info=(ValueError, error, None))
    assert line["event"] == "it failed"
    assert line["exception"] == "ValueError: first\nsecond"


def test_what_is_no_json_is_told_in_words() -> None:
    line = told(
        "x", extra={"file": Path("/a/b"), "bytes": b"\xff", "records": [Path("c"), 1], "events": {1: Path("d")}}
    )
    assert (line["file"], line["records"], line["events"]) == ("/a/b", ["c", 1], {"1": "d"})
    assert isinstance(line["bytes"], str)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"rtsp://admin:{CANARY}@cam/1 is away", "rtsp://admin:***@cam/1 is away"),
        (f"postgresql+psycopg://u:{CANARY}@p@db:5432/e", "postgresql+psycopg://u:***@db:5432/e"),
        (f"redis://:{CANARY}@r", "redis://:***@r"),
        (f"http://c/s?a=1&token={CANARY}&b=2", "http://c/s?a=1&token=***&b=2"),
        (f"http://c/s?PASSWORD={CANARY}", "http://c/s?PASSWORD=***"),
        ("http://127.0.0.1:8080/path@v?x=1", "http://127.0.0.1:8080/path@v?x=1"),
        ("mail a@b.c, 10:30", "mail a@b.c, 10:30"),
    ],
)
def test_passwords_and_tokens_of_urls_are_masked(text: str, shown: str) -> None:
    assert logs.masked(text) == shown
    line = told("%s", text, extra={"url": text, "records": [{"a": text}]})
    assert (line["event"], line["url"], line["records"]) == (shown, shown, [{"a": shown}])


def test_secrets_that_were_named_are_masked_in_every_form_of_line() -> None:
    logs.hide(CANARY, None, "abc")
    line = told(f"abc {CANARY}", exc_info=(ValueError, ValueError(f"bad {CANARY}"), None))
    assert line["event"] == "abc ***", "what is too short stands in too many words"
    assert CANARY not in str(line)
    record = logging.makeLogRecord({"msg": f"{CANARY} http://u:{CANARY}@h"})
    assert CANARY not in logs._readable_formatter().format(record)


def test_facts_do_not_lengthen_the_readable_line() -> None:
    record = logging.makeLogRecord({"msg": "hello", "topic": "tiles", "name": "streamproc.x", "levelname": "INFO"})
    shown = logs._readable_formatter().format(record)
    assert "hello" in shown
    assert "tiles" not in shown


def test_every_fact_that_code_logs_has_a_name_of_the_list() -> None:
    """Who searches a log by a field must know its name."""
    import ast

    unknown = set()
    for path in [*(ROOT / "streamproc").rglob("*.py"), *(ROOT / "producers").rglob("*.py")]:
        text = path.read_text()
        if not any(word in text for word in ("extra=", "Line(", "bind(")):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in {"Line", "bind"}:
                unknown |= {keyword.arg for keyword in node.keywords if keyword.arg} - set(logs.FIELDS)
            for keyword in node.keywords:
                if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                    names = {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
                    unknown |= {str(name) for name in names} - set(logs.FIELDS)
    assert unknown == set()


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(SettingError, match="'LOUD': use one of DEBUG, INFO"):
        logs.configure_logging(level="LOUD")


def test_a_sentence_for_a_person_carries_its_facts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line("camera gate is online", camera="gate")
    assert (line, line.upper(), f"{line}") == (
        "camera gate is online",
        "CAMERA GATE IS ONLINE",
        "camera gate is online",
    )
    notices.say(line)
    assert capsys.readouterr().err == "camera gate is online\n"
    monkeypatch.setattr(notices, "as_json", lambda: True)
    with caplog.at_level(logging.INFO):
        notices.say(line)
        notices.say("100 % plain")
    assert [(one.getMessage(), getattr(one, "camera", None)) for one in caplog.records] == [
        ("camera gate is online", "gate"),
        ("100 % plain", None),
    ]
    assert capsys.readouterr().err == ""


PROGRAM = """
import logging, os, subprocess, sys, threading, time, warnings
from streamproc.logs import bind, configure_logging
configure_logging(as_json=True)
configure_logging(level="INFO", as_json=True)
bind(role="test")
logging.getLogger("streamproc.x").info("ours", extra={"camera": "gate"})
os.write(2, b"native one\\n\\nnative two\\n" + b"x" * 40000 + b"\\n")
print("python's own", file=sys.stderr)
subprocess.run([sys.executable, "-c", "import os; os.write(2, bytes([255]) + b' of a child\\\\n')"], check=True)
child = "from streamproc.logs import configure_logging as c; import logging; c(as_json=True);"
child += "logging.getLogger('streamproc.y').warning('of a child that logs as we do')"
subprocess.run([sys.executable, "-c", child], check=True)
warnings.warn("old ways")
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start(); thread.join()
class Bad:
    def __del__(self): raise OSError("cannot end")
del_me = Bad(); del del_me
os.write(2, b"no end of line")
raise RuntimeError("the end\\nof it")
"""


def test_everything_on_stderr_is_a_json_line_whoever_writes_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.decode().splitlines()]
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines)
    events = [(line["logger"], line["event"]) for line in lines]
    assert events[0] == ("streamproc.x", "ours")
    assert lines[0]["camera"] == "gate"
    for one in (
        *(("stderr", "native one"), ("stderr", "native two"), ("stderr", "python's own"), ("stderr", "no end of line")),
        *(("stderr", "\\xff of a child"), ("streamproc.y", "of a child that logs as we do")),
        *(("streamproc", "thread worker ended by an unforeseen error"),),
        *(("streamproc", "ended by an unforeseen error"),),
    ):
        assert events.count(one) == 1, (one, events)
    assert sum(line["event"].count("x") for line in lines if set(line["event"]) == {"x"}) == 40_000
    assert any(line["logger"] == "py.warnings" and "old ways" in line["event"] for line in lines)
    assert any("cannot end" in line.get("exception", "") for line in lines)
    assert any(line.get("exception", "").endswith("RuntimeError: the end\nof it") for line in lines)
    assert all(line["role"] == "test" for line in lines[1:] if line["logger"] != "streamproc.y")


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ('{"time": "t", "level": "info", "event": "e"}', True),
        ('{"time": "t"}', False),
        ("{broken", False),
        ("[1]", False),
        ('"text"', False),
    ],
)
def test_a_childs_log_line_is_known(line: str, ours: bool) -> None:
    assert is_log_line(line) == ours


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--log-json", "worker", "--rolle", "x"], 2, ["--rolle"]),
        (["--log-json", "no-such-command"], 2, ["no-such-command"]),
        (["--log-json", "--log-level", "loud", "operators"], 2, ["LOUD", "DEBUG"]),
        (["--log-json", "pipeline", "check", "missing.toml"], 2, ["missing.toml"]),
    ],
)
def test_what_is_wrong_is_one_json_line_with_its_exit_status(arguments: list[str], code: int, words: list[str]) -> None:
    done = streamproc(*arguments)
    assert done.code == code
    (line,) = [json.loads(line) for line in done.err.splitlines()]
    assert (line["level"], line["exit_status"]) == ("critical", code)
    for word in words:
        assert word in line["event"]


def test_the_setting_does_as_the_option_does(tmp_path: Path) -> None:
    done = streamproc("topics", "check", STREAMPROC_LOG_JSON="true", STREAMPROC_PARTITIONS="lots")
    assert done.code == 2
    assert "STREAMPROC_PARTITIONS" in json.loads(done.err)["event"]
    file = tmp_path / "s.toml"
    file.write_text("log_json = true\n")
    done = streamproc("sink", "--settings", file)
    assert (done.code, json.loads(done.err)["exit_status"]) == (2, 2)
    assert "STREAMPROC_LOG_LEVEL" in streamproc("topics", "check", STREAMPROC_LOG_LEVEL="loud").error_line
