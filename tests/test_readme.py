"""What the README tells people to type does what it says."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from streamproc.broker import LocalCluster
from streamproc.broker.ports import is_free
from streamproc.cli.main import app
from tests.cli import started, streamproc
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = TEXT) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed(block: str) -> list[list[str]]:
    """The commands of a shell block as words, without comments; a last word `&` is kept."""
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [words for words in lines if words]


def commands_in_table() -> Iterator[list[str]]:
    """The rows of the README's table of commands as words: `broker start`, `stop` is broker start and broker stop."""
    for row in re.findall(r"^\| (`.*?) \| ", TEXT, re.MULTILINE):
        first, *others = [part.replace("\\|", "|") for part in re.findall(r"`([^`]+)`", row)]
        yield first.split()
        for other in others:
            yield [*first.split()[:1], *other.split()] if " " in first else other.split()


SHELL = [words for block in blocks("sh") for words in typed(block)]
OURS = [words[1:] for words in SHELL if Path(words[0]).name == "streamproc"]
ALL_OURS = [*OURS, *commands_in_table()]


def test_the_readme_has_commands_to_check() -> None:
    assert len(OURS) >= 6
    assert len(ALL_OURS) - len(OURS) >= 12
    assert ["broker", "stop"] in ALL_OURS


@pytest.mark.parametrize("words", ALL_OURS, ids=" ".join)
def test_each_command_and_option_of_the_readme_exists(words: list[str]) -> None:
    command: Any = get_command(app)
    path: list[str] = []
    while words[len(path) :] and words[len(path)] in getattr(command, "commands", {}):
        command = command.commands[words[len(path)]]
        path.append(words[len(path)])
    assert path, f"streamproc {' '.join(words)}"
    runs = not hasattr(command, "commands") or command.invoke_without_command
    assert runs, f"streamproc {' '.join(path)} needs a command"
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*path, "--help"])
    assert (shown.exit_code, "Usage: " in shown.stdout) == (0, True)
    for option in (word.partition("=")[0] for word in words if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown.stdout), f"streamproc {' '.join(path)} {option}"


def test_each_make_target_and_each_extra_of_the_readme_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = [words[1] for words in SHELL if words[0] == "make"]
    assert asked
    assert set(asked) <= set(targets)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [words[2] for words in SHELL if words[:2] == ["pip", "install"]]
    assert wanted
    for requirement in wanted:
        name, _, extras = requirement.rstrip("]").partition("[")
        assert name in {".", project["name"]}  # a clone, or what is installed already
        assert {extra for extra in extras.split(",") if extra} <= set(project["optional-dependencies"]), requirement


def test_the_pipelines_of_the_readme_are_accepted(tmp_path: Path) -> None:
    assert "streamproc pipeline check night.toml" in TEXT
    texts = blocks("toml")
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "night.toml").write_text(text)
        done = streamproc("pipeline", "check", "night.toml", cwd=tmp_path)
        assert (done.code, done.err) == (0, "")


@pytest.mark.kafka
def test_the_parts_run_by_themselves_as_the_readme_says(tmp_path: Path) -> None:
    section = TEXT.split("## Run the parts by themselves")[1]
    steps = [words[1:] for words in typed(blocks("sh", section)[0])]
    assert [words[0] for words in steps] == ["broker", "topics", "worker", "produce", "events"]
    start, create, worker, produce, events = steps
    if not is_free(9092):
        start = [*start, "--port", "0"]
    assert worker[-1] == "&"
    produce[produce.index("--limit") + 1] = "10"
    data: dict[str, Any] = {"XDG_DATA_HOME": str(tmp_path / "data")}
    with ExitStack() as stack:
        stack.callback(LocalCluster(tmp_path / "data" / "streamproc" / "broker").stop, graceful_s=0, delete_data=True)
        for words in (start, create):
            done = streamproc(*words, cwd=tmp_path, **data)
            assert done.code == 0, done.err
        running = stack.enter_context(started(*worker[:-1], cwd=tmp_path, **data))
        done = streamproc(*produce, cwd=tmp_path, **data)
        assert done.code == 0, done.err
        assert "10 of 10 frames published" in done.out

        def ten_lines() -> bool:
            running.check()
            return len(streamproc(*events, cwd=tmp_path, **data).out.splitlines()) == 10

        wait_until(ten_lines, "an event for each of the 10 frames", timeout_s=60)
        done = streamproc(*events, cwd=tmp_path, **data)
        assert all(re.search(r"gate/file-\S+/\d+  complete", line) for line in done.out.splitlines())
        running.interrupt()
        assert running.ended(timeout_s=20)[0].code == 0
        stopped = streamproc("broker", "stop", cwd=tmp_path, **data)
        assert (stopped.code, "stopped" in stopped.out) == (0, True)
