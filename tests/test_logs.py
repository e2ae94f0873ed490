"""Log lines as machines read them: one JSON object each, whoever wrote it, and no secret in any."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
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
        (f"rtsp://u:pa/{CANARY}@h/1 is away", "rtsp://u:***@h/1 is away"),
        (f"rtsp://u:a/{CANARY}@h/1,rtsp://v:b/{CANARY}@h/2", "rtsp://u:***@h/1,rtsp://v:***@h/2"),
        (f"sent Authorization: Basic {CANARY} to h", "sent Authorization: Basic *** to h"),
        (f"{{'authorization': 'Bearer {CANARY}'}}", "{'authorization': 'Bearer ***'}"),
        (f"authorization={CANARY} h", "authorization=*** h"),
        (f'Authorization: Digest username="u", response="{CANARY}"', "Authorization: ***"),
        (f"password={CANARY} was refused", "password=*** was refused"),
        (f"user=u password='{CANARY} x' host=h", "user=u password=*** host=h"),
        (f"STREAMPROC_SINK_PASSWORD={CANARY}", "STREAMPROC_SINK_PASSWORD=***"),
        (f"http://c/s?key={CANARY}&auth={CANARY}", "http://c/s?key=***&auth=***"),
        ("key=frame-1, tokens=5, no authorization", "key=frame-1, tokens=5, no authorization"),
        ("http://[::1]:80/path@v", "http://[::1]:80/path@v"),
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


def test_of_two_secrets_the_longer_one_leaves_nothing_behind() -> None:
    logs.hide("canary", CANARY)
    assert logs.masked(f"{CANARY} canary") == "*** ***"


def test_the_secrets_named_last_are_masked_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.hide(*(f"secret-{number:04d}" for number in range(1000)))
    assert logs.masked("secret-0000 secret-0064 secret-0999") == "*** *** ***"
    monkeypatch.setattr(logs, "_MOST_SECRETS", 2)
    logs.hide("secret-0005")
    assert logs.masked("secret-0005 secret-0999 secret-0998") == "*** *** secret-0998"


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


@pytest.fixture
def client_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float, str], str]]:
    """Says what a person sees of an error of the Kafka client, told at a time; "" for nothing."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    agents = [f"streamproc.agents.{name}" for name in ("transport", "thread")]
    names = ("root", "streamproc", "producers", "streamproc.notice", *agents, *logs.CLIENTS)
    levels = {name: logging.getLogger(name).level for name in names}
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure_logging(level="INFO")
    (handler,) = root.handlers

    def shown(at_s: float, message: str) -> str:
        record = logging.LogRecord(
            "aiokafka.consumer.group_coordinator", logging.ERROR, "f", 1, "Request failed: %s", (message,), None
        )
        record.created = at_s
        stream.seek(0)
        stream.truncate()
        handler.handle(record)
        return stream.getvalue()

    yield shown
    root.handlers[:] = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_new_broker_that_has_no_coordinator_yet_is_no_error_unless_it_lasts(
    client_lines: Callable[[float, str], str],
) -> None:
    away, other = "[Error 15] GroupCoordinatorNotAvailableError", "[Error 16] NotCoordinatorForGroupError"
    first = client_lines(100.0, away)
    assert "[info" in first
    assert "coordinator of groups is not ready" in first
    assert "rror" not in first
    assert [client_lines(100 + tenths / 10, away) for tenths in range(1, 100)] == [""] * 99, "told once"
    dead = "Marking the coordinator dead (node 1)"
    assert client_lines(109.91, dead) == client_lines(109.92, "Broker: Coordinator load in progress") == ""
    assert "[error" in client_lines(109.93, other), "what else is wrong is told meanwhile"
    assert [client_lines(at_s, away) for at_s in (112.0, 116.0)] == ["", ""], "errors are told once in ten seconds"
    assert away in client_lines(120.0, away), "what lasts is an error"
    assert "[info" in client_lines(200.0, away), "another outage"
    assert dead in client_lines(250.0, dead), "the broker has gone"
    logging.getLogger("streamproc").setLevel(logging.WARNING)
    assert client_lines(300.0, away) == ""


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


def test_lines_that_a_command_prints_for_a_person_are_log_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    notices.err.print("[red]stopping[/] at 12:00")
    assert capsys.readouterr().err == "stopping at 12:00\n"
    monkeypatch.setattr(notices, "as_json", lambda: True)
    with caplog.at_level(logging.INFO):
        notices.err.print("[red]stopping[/] at 12:00")
        notices.err.print("[not markup]\n\n100 %", markup=False)
    assert [(one.name, one.levelname, one.getMessage()) for one in caplog.records] == [
        ("streamproc.notice", "INFO", line) for line in ("stopping at 12:00", "[not markup]", "100 %")
    ]
    assert capsys.readouterr().err == ""


def test_no_command_has_a_stderr_console_of_its_own() -> None:
    """What it prints would be a warning of `stderr` where the log is JSON."""
    own = [
        path.name
        for path in (ROOT / "streamproc" / "cli").glob("*.py")
        if path.name not in {"notices.py", "main.py", "verify.py"} and "stderr=True" in path.read_text()
    ]  # main prints errors where there is no JSON, verify a bar on terminals
    assert own == []


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


UNREAD = """
import json, subprocess, sys
from streamproc.logs import configure_logging
configure_logging(as_json=True)
line = json.dumps({"time": 1, "level": 1, "event": "x" * 8000})
child = f"import os\\nfor _ in range(40): os.write(2, {line + chr(10)!a}.encode())"
sys.stdin.read(1)
done = subprocess.run([sys.executable, "-c", child], timeout=50)
sys.stdout.write(str(done.returncode))
"""


def test_a_child_is_read_on_when_nobody_reads_what_is_logged() -> None:
    command = [sys.executable, "-c", UNREAD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as running:  # type: ignore[call-overload]
        running.stderr.close()
        running.stderr = None
        out, _ = running.communicate(b"x", timeout=60)
    assert out == b"0", "the child has ended, and was not left before a full pipe"


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
