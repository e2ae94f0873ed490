"""The code blocks of README.md and `docs/`, and what is done with each language.

| language | is |
|---|---|
| sh | run with bash as printed, all of a page in order, in a fresh folder |
| python | run with the same Python, in its place among them |
| sql | run on `events.db` of that folder, in its place |
| toml | parsed by what reads such a file: a pipeline, a list of cameras, settings, a package |
| json | parsed; an event, by its schema |
| yaml | parsed |
| promql | its series exist; checked by `promtool` where that is installed |
| mermaid | drawn |
| text | shown only: what is printed, never what is typed (`commands_hidden`) |

In a comment right above a block, `not run: KIND, why` says that it cannot be run here; the kinds are `KINDS`.
`file: NAME` writes the block into the folder before the page is run. Lines that install or start what the tests have
are left out of a block that is run: `LEFT_OUT`. A block of which nothing else is left must say why it is not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
KINDS: Final = {
    "cluster": "needs Kubernetes or Docker",
    "camera": "needs a camera, or a host of the reader's own",
    "server": "needs a server that the tests have not: S3, PostgreSQL, Redis, a collector of traces",
    "long": "takes minutes",
    "elsewhere": "is done by a test that the reason names",
    "repository": "writes files of the repository",
    "installs": "installs packages",
    "part": "is a part of something, shown to be explained",
}
LANGUAGES: Final = frozenset({"sh", "python", "sql", "toml", "json", "yaml", "mermaid", "text", "promql"})
RUN: Final = frozenset({"sh", "python", "sql"})
COMMAND: Final = re.compile(
    r"\s*(?:\$ |(?:\w+=\S* +)*(?:sudo +)?(?:\.venv/bin/)?(?:streamproc|python3?|make|docker|kubectl|kustomize|helm|pip"
    r"|git|curl|promtool|prometheus(?= --)|export|openssl|ffmpeg|pytest|apt-get|kafka-[a-z-]+)(?: |$))"
    r"(?!.*\[OPTIONS\]$)"
)
"""A line that is typed. `streamproc events [OPTIONS]` is not: that is how a synopsis is written."""
LEFT_OUT: Final = re.compile(
    r"git clone |cd streamproc\b|\. \.venv|make\b|pip install |python3 -m venv |streamproc broker (start|stop)\b"
)
FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>[\w{}-]*)(?P<rest>.*)$")
MARK: Final = re.compile(r"^<!-- (?P<what>not run|file): (?P<told>.+?) -->$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. `line` is that of its fence, from 1."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    file: str | None = None

    @property
    def kind(self) -> str | None:
        """Why it is not run: one of `KINDS`; None if it is run."""
        return self.not_run.partition(",")[0] if self.not_run else None

    @property
    def elsewhere(self) -> str | None:
        """The file of the test that does what the block does, where there is one."""
        return self.not_run.split(", ")[1].split(";")[0] if self.not_run and self.kind == "elsewhere" else None

    @property
    def place(self) -> str:
        """For a person."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README.md and all of `docs/`."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page in order.

    Raises:
        ValueError: A fence that is not closed.
    """
    name = str(page.relative_to(ROOT))
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        opened = FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        close = next((n for n in range(number + 1, len(lines)) if lines[n].strip() == "```"), None)
        if close is None:
            raise ValueError(f"{name}:{number + 1}: a block that is not closed")
        marks = dict(_marks(lines, number))
        indent = len(opened["indent"])
        yield Block(
            page=name,
            line=number + 1,
            language=opened["language"],
            text="".join(f"{line[indent:]}\n" for line in lines[number + 1 : close]),
            not_run=marks.get("not run"),
            file=marks.get("file"),
        )
        number = close + 1


def _marks(lines: list[str], fence: int) -> Iterator[tuple[str, str]]:
    """Comments in the lines right above a fence."""
    number = fence - 1
    while number >= 0 and (match := MARK.match(lines[number].strip())):
        yield match["what"], match["told"]
        number -= 1


def typed(block: Block) -> str:
    """What is run of a shell block: a line that is left out becomes nothing."""
    lines = [":" if LEFT_OUT.match(line) else line for line in block.text.splitlines()]
    return "\n".join(lines) + "\n"


def left(block: Block) -> list[str]:
    """The lines of a shell block that are really run."""
    return [line for line in typed(block).splitlines() if line.strip() not in {"", ":"} and not line.startswith("#")]


def commands_hidden(block: Block) -> list[str]:
    """Lines of a block of text that a reader would type, so that it should be a shell block."""
    return [line for line in block.text.splitlines() if COMMAND.match(line)] if block.language == "text" else []


def unfenced(page: Path) -> Iterator[str]:
    """Commands that stand in a block made by indenting, which has no language and no reason."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside and line.startswith("    ") and COMMAND.match(line):
            yield f"{page.name}:{number}: {line.strip()}"


def script(blocks: list[Block]) -> str:
    """A page as one bash script; before each block it says where it stands."""
    parts = ["set -e"]
    for block in blocks:
        parts.append(f"echo '=== {block.place}'")
        match block.language:
            case "sh":
                parts.append(typed(block))
            case "python":
                parts.append(f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK")
            case _:
                reading = (
                    "import sqlite3, sys; print(*sqlite3.connect('events.db').execute(sys.stdin.read()), sep='\\n')"
                )
                parts.append(f"python -c \"{reading}\" <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK")
    return "\n".join(parts) + "\n"


def runnable(page: Path) -> list[Block]:
    """The blocks of a page that are run."""
    return [block for block in blocks_of(page) if block.language in RUN and not block.not_run]
