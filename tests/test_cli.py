"""The command line without a broker: help for everything, one clear line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli import streamproc

NOWHERE = "127.0.0.1:1"
COMMANDS = [
    "demo",
    "broker",
    "topics",
    "produce",
    "split",
    "worker",
    "operators",
    "pipeline",
    "events",
    "deadletters",
    "verify",
    "bench",
    "doctor",
]


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS], ["broker", "start"], ["pipeline", "check"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    done = streamproc(*command, "--help")
    assert done.code == 0
    assert "Usage" in done.out
    assert all(name in done.out for name in (COMMANDS if not command else []))


def test_the_version_is_told() -> None:
    assert streamproc("--version").out.startswith("streamproc 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--source", "missing.mp4"], ["missing.mp4"]),
        (["demo", "--codec", "tiff"], ["tiff", "jpeg", "png", "raw"]),
        (["demo", "--grid", "2by3"], ["2by3"]),
        (["demo", "--pipeline", "missing.toml"], ["missing.toml"]),
        (["demo", "--bootstrap", NOWHERE], [NOWHERE, "broker start"]),
        (["produce", "builtin", "--camera", "gate", "--bootstrap", NOWHERE], [NOWHERE, "broker start"]),
        (["produce", "builtin", "--camera", "a b"], ["a b", "letters"]),
        (["produce", "builtin", "--camera", "gate", "--full-every", "2"], ["--full-every", "--changed-only"]),
        (["produce", "builtin", "--camera", "gate", "--fps", "fast"], ["fast", "max", "source"]),
        (["worker", "--bootstrap", NOWHERE], [NOWHERE]),
        (["worker", "--role", "boss"], ["boss", "extract", "aggregate", "all"]),
        (["topics", "create", "--bootstrap", NOWHERE], [NOWHERE]),
        (["topics", "check", "--bootstrap", "nonsense"], ["nonsense", "host:port"]),
        (["events", "--bootstrap", NOWHERE], [NOWHERE]),
        (["events", "--from", "yesterday", "--bootstrap", NOWHERE], ["yesterday", "--from", "15m"]),
        (["events", "--from", "1m", "--to", "2m", "--bootstrap", NOWHERE], ["--to", "--from"]),
        (["pipeline", "check", "missing.toml"], ["missing.toml"]),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = streamproc(*arguments, cwd=tmp_path, timeout_s=60)
    assert done.code in {1, 2}
    for word in words:
        assert word in done.error_line


@pytest.mark.parametrize(
    "arguments", [["demo", "--frames", "0"], ["demo", "--workers", "no"], ["produce"], ["no-such-command"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = streamproc(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_refused_setting_is_named_wherever_it_comes_from() -> None:
    done = streamproc("topics", "check", STREAMPROC_PARTITIONS="lots")
    assert done.code == 2
    assert "STREAMPROC_PARTITIONS" in done.error_line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[step]]\noperator = "cany"\n', ["cany", "canny", "streamproc operators"]),
        ('[[step]]\noperator = "canny"\nlow = "much"\n', ["low", "much"]),
        ('[[step]]\noperator = "canny"\nwidth = 3\n', ["width", "low", "high"]),
        ('[[step]]\noperator = "gaussian"\nksize = 4\n', ["ksize", "odd"]),
        ("not toml at all", ["bad.toml"]),
        ("", ["step"]),
    ],
)
def test_a_wrong_pipeline_file_is_one_line_with_what_is_right(text: str, words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    for arguments in (["pipeline", "check", str(file)], ["demo", "--pipeline", str(file)]):
        done = streamproc(*arguments)
        assert done.code == 2
        for word in words:
            assert word in done.error_line


def test_operators_and_pipelines_are_told_to_machines_too(tmp_path: Path) -> None:
    table = json.loads(streamproc("operators", "--json").out)
    assert {"canny", "sobel", "harris", "fast", "orb", "faces", "people"} <= {row["name"] for row in table}
    file = tmp_path / "p.toml"
    file.write_text('[[step]]\noperator = "canny"\n')
    checked = json.loads(streamproc("pipeline", "check", file, "--json").out)
    assert checked["halo_px"] == 2


def test_a_picture_is_split_into_tiles_that_are_the_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (70, 90, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "p.png"), pixels)
    done = streamproc("split", tmp_path / "p.png", "--grid", "2x3", "--out", tmp_path / "tiles")
    assert done.code == 0
    assert len(list((tmp_path / "tiles").glob("p_*_*.png"))) == 6
    again = streamproc("split", tmp_path / "p.png", "--grid", "2x3", "--out", tmp_path / "tiles")
    assert "tiles" in again.error_line


def test_help_comes_quickly_because_heavy_libraries_are_not_loaded_for_it() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import streamproc.cli.main;"
        "print([name for name in ('faust', 'cv2', 'scipy', 'matplotlib', 'skimage') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_ctrl_c_while_libraries_are_still_loaded_leaves_no_traceback() -> None:
    import subprocess
    import sys

    code = """
import sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC())
from streamproc.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False)
