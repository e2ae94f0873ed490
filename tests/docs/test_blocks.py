"""What README.md and `docs/` tell people to type does what it says: the very blocks are run."""

from __future__ import annotations

import ast
import json
import re
import secrets
import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import confluent_kafka
import pytest
import yaml

from producers.cameras_file import parse_cameras
from streamproc.errors import StreamprocError
from streamproc.metrics import Metrics
from streamproc.operators.pipeline_file import parse
from streamproc.settings import load_settings
from tests.docs.blocks import (
    COMMAND,
    KINDS,
    LANGUAGES,
    ROOT,
    Block,
    blocks_of,
    commands_hidden,
    left,
    pages,
    runnable,
    script,
    typed,
    unfenced,
)
from tests.docs.flowcharts import drawn
from tests.docs.running import furnish, typed_into
from tests.event_schema import check_event

START = ROOT / "docs" / "getting-started.md"
RULES = yaml.safe_load((ROOT / "dashboards" / "streamproc.rules.yml").read_text(encoding="utf-8"))
BLOCKS = [block for page in pages() for block in blocks_of(page)]
RUNNING = [page for page in pages() if page != START and runnable(page)]


ALONE = ("README.md", "docs/pipelines/README.md")  # they begin anew; all others go on where getting-started ends
MADE = "docs/operators/"  # by tests/operator_pages.py, from examples that are run


def named(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks, ids=lambda block: block.place)


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and block.not_run is None]


# --- what can be said without running -----------------------------------------------------------------------------


def test_each_block_says_its_language_and_each_reason_is_one_of_the_list() -> None:
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block.place}: ```{block.language}"
        assert block.kind is None or block.kind in KINDS, f"{block.place}: not run: {block.not_run}"
        assert block.not_run is None or block.not_run.partition(",")[2].strip(), f"{block.place}: why is it not run?"
        assert block.elsewhere is None or (ROOT / block.elsewhere).is_file(), f"{block.place}: {block.elsewhere}"


def test_most_of_what_is_printed_is_run() -> None:
    shells = [block for block in BLOCKS if block.language == "sh"]
    spared = Counter(block.kind for block in shells if block.not_run)
    assert set(spared) <= set(KINDS)
    assert len(shells) >= 70
    assert spared.total() - spared["elsewhere"] <= len(shells) * 0.4, spared


def test_a_block_that_is_said_to_run_has_a_line_that_is_run() -> None:
    for block in of("sh"):
        assert left(block), f"{block.place}: nothing of it is run: say why not"


def test_no_command_is_hidden_in_a_block_of_text_nor_by_indenting() -> None:
    for block in BLOCKS:
        assert commands_hidden(block) == [], f"{block.place}: a ```sh block, which is run or says why not"
    for page in pages():
        assert list(unfenced(page)) == []


@pytest.mark.parametrize(
    ("line", "typed_by_hand"),
    [
        ("streamproc events --follow", True),
        ("$ streamproc events", True),
        ("$ anything at all", True),
        ("python -m compose sizing", True),
        ("STREAMPROC_PREFIX=a. streamproc topics create", True),
        ("docker compose ps", True),
        ("kubectl apply -k compose/kubernetes", True),
        ("curl -s http://127.0.0.1:9464/metrics", True),
        ("promtool check rules a.yml", True),
        ("streamproc events [OPTIONS]", False),
        ("  prometheus  http://127.0.0.1:9090  metrics", False),
        ("streamproc.events has eight partitions", False),
        ("20 of 20 frames published", False),
    ],
)
def test_commands_are_told_from_what_is_printed(line: str, typed_by_hand: bool) -> None:
    block = Block(page="a.md", line=1, language="text", text=f"something\n{line}\n")
    assert bool(COMMAND.match(line)) == typed_by_hand
    assert commands_hidden(block) == ([line] if typed_by_hand else [])


@named(of("sh"))
def test_shell_blocks_are_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{block.place}: {done.stderr}"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder, with a model."""
    folder = tmp_path_factory.mktemp("furnished")
    furnish(folder)
    shutil.copyfile(ROOT / "docs" / "pipelines" / "digits.onnx", folder / "model.onnx")
    return folder


@named([block for block in of("toml") if not block.page.startswith(MADE)])
def test_toml_blocks_are_taken_by_what_reads_them(block: Block, furnished: Path) -> None:
    content = tomllib.loads(block.text)
    try:
        if "step" in content:
            parse(block.text, block.place, folder=furnished)
        elif "camera" in content:
            parse_cameras(content, where=block.place, variable=lambda name: "secret")
        elif "project" not in content:
            (furnished / "settings.toml").write_text(block.text)
            load_settings(file=furnished / "settings.toml")
    except StreamprocError as error:
        pytest.fail(f"{block.place}: {error}")


@named(of("json"))
def test_json_blocks_are_json_and_events_are_events(block: Block) -> None:
    for line in block.text.splitlines() if block.text.count("\n{") else [block.text]:
        value = json.loads(line)
        if "specversion" in value:
            check_event(value)


def test_yaml_blocks_are_yaml() -> None:
    for block in of("yaml"):
        assert list(yaml.safe_load_all(block.text)), block.place


@named(of("python"))
def test_python_blocks_are_python(block: Block) -> None:
    ast.parse(block.text)


@named(of("mermaid"))
def test_flowcharts_can_be_drawn(block: Block) -> None:
    assert drawn(block.text).startswith("<svg")


def unknown_series(text: str) -> set[str]:
    """Series of streamproc in PromQL that no process has and no rule records."""
    known = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
    for one in Metrics().definitions:
        known |= {one.name, *(f"{one.name}{end}" for end in ("_bucket", "_sum", "_count") if one.kind == "histogram")}
    return set(re.findall(r"(?:\w+:)?streamproc_\w+(?::\w+)?", re.sub(r"#.*", "", text))) - known


def test_series_of_promql_exist() -> None:
    assert of("promql")
    for block in of("promql"):
        assert unknown_series(block.text) == set(), block.place
    assert unknown_series("streamproc_frames_total + streamproc_gone # streamproc_word") == {"streamproc_gone"}
    assert unknown_series("camera:streamproc_gone:sum") == {"camera:streamproc_gone:sum"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promql_is_understood_by_prometheus(tmp_path: Path) -> None:
    queries = [query for block in of("promql") for query in re.sub(r"#.*", "", block.text).split("\n\n")]
    rules = [{"record": f"docs:query:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "docs", "rules": rules}]}))
    words = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_a_line_that_installs_is_left_out_and_all_others_stay() -> None:
    block = Block(page="a.md", line=1, language="sh", text="pip install x\nmake demo\nstreamproc events\n")
    assert typed(block) == ":\n:\nstreamproc events\n"
    assert "=== a.md:1" in script([block])


def test_a_page_that_fails_is_found(tmp_path: Path) -> None:
    wrong = Block(page="a.md", line=3, language="sh", text="true\nsleep 60 &\nfalse\necho never\n")
    with typed_into(tmp_path, [wrong], {}) as session:
        with pytest.raises(AssertionError, match=r"=== a\.md:3"):
            session.finish()
        assert "never" not in session.text


# --- run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The settings of a reader who has a cluster, and a prefix of the tests' own."""
    return {
        "STREAMPROC_BOOTSTRAP": bootstrap,
        "STREAMPROC_PREFIX": f"docs-{secrets.token_hex(3)}.",
        "XDG_DATA_HOME": str(tmp_path_factory.mktemp("data")),
    }


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Make a folder for a page: the reader's files, and those that the page says to write."""

    def make(page: Path) -> Path:
        folder = tmp_path_factory.mktemp(page.stem)
        furnish(folder)
        for block in blocks_of(page):
            if block.file:
                (folder / block.file).write_text(block.text, encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="module")
def started(variables: Mapping[str, str], new_folder: Callable[[Path], Path]) -> Iterator[str]:
    """What the page that all others begin from has printed; its worker runs on for them."""
    with typed_into(new_folder(START), runnable(START), variables) as session:
        session.finish()
        _spoil(variables)
        yield session.text


def _spoil(variables: Mapping[str, str]) -> None:
    """One record that nobody can handle, so that there is a dead letter to look at."""
    producer = confluent_kafka.Producer({"bootstrap.servers": variables["STREAMPROC_BOOTSTRAP"]})
    producer.produce(f"{variables['STREAMPROC_PREFIX']}tiles", b"no picture", partition=0)
    assert producer.flush(10) == 0


@pytest.mark.kafka
def test_getting_started_gets_to_the_first_event(started: str) -> None:
    assert "complete  10" in started
    assert "20 of 20 frames published" in started
    assert started.count("  complete  edges ") >= 3


@pytest.mark.kafka
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("started")
def test_the_page_runs_as_it_is_printed(
    page: Path, variables: Mapping[str, str], new_folder: Callable[[Path], Path]
) -> None:
    name = str(page.relative_to(ROOT))
    own = {"STREAMPROC_PREFIX": f"docs-{secrets.token_hex(3)}."} if name in ALONE else {}
    with typed_into(new_folder(page), runnable(page), {**variables, **own}) as session:
        session.finish()
