from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.errors import PipelineError
from streamproc.operators.pipeline import FRAME
from streamproc.operators.pipeline_file import DEFAULT_PIPELINE, default_pipeline, load, parse


def test_the_default_pipeline_is_that_of_the_design() -> None:
    pipeline = default_pipeline()
    assert pipeline.name == "default"
    assert [step.operator.name for step in pipeline.steps] == [
        "gray",
        "canny",
        "orb",
        "statistics",
        "gray_histogram",
        "faces",
    ]
    assert pipeline["edges"].parameters == {"low": 50.0, "high": 150.0, "l2": False}
    assert pipeline["orb"].parameters["limit"] == 500
    assert pipeline["faces"].every == 5
    assert all(step.input == "gray" for step in pipeline.steps[1:])


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(DEFAULT_PIPELINE, encoding="utf-8")
    assert load(file).digest == default_pipeline().digest


def test_the_input_is_the_transform_above_or_the_frame() -> None:
    pipeline = parse(
        """
        step = [
            {operator = "color_histogram"},
            {operator = "gaussian"},
            {operator = "canny"},
            {operator = "fast", input = "frame"},
            {operator = "threshold"},
            {operator = "statistics"},
            {operator = "canny", name = "second", input = "gaussian"},
        ]
        """
    )
    assert [step.input for step in pipeline.steps] == [
        FRAME,
        FRAME,
        "gaussian",
        FRAME,
        "gaussian",
        "threshold",
        "gaussian",
    ]


def test_whole_numbers_do_where_numbers_are_wanted() -> None:
    assert type(parse('[[step]]\noperator = "canny"\nlow = 7')["canny"].parameters["low"]) is float


CANNY = '[[step]]\noperator = "canny"\n'
GRAY = '[[step]]\noperator = "gray"\n'
SOBEL = '[[step]]\noperator = "sobel"\n'
REFUSED = [
    ("", r"no step gives a result; add a measure, such as canny"),
    (GRAY, r"no step gives a result"),
    ("name = ", r"not TOML: "),
    ("nam = 'x'", r"unknown key 'nam'; did you mean \"name\"\? \(allowed: name, step\)"),
    ("name = 3", r"name must be text of 1 to 64 printable characters, got 3"),
    (f"name = '{'x' * 65}'", r"name must be text of 1 to 64"),
    ("step = 3", r"steps are written as \[\[step\]\] tables"),
    ("step = [1]", r"steps are written as \[\[step\]\] tables"),
    (CANNY * 65, r"65 steps, at most 64 are allowed"),
    ("[[step]]\nname = 'x'", r"step 1: operator is missing \(streamproc operators lists them\)"),
    (
        "[[step]]\noperator = 'cany'",
        r"step 1: unknown operator 'cany'; did you mean \"canny\"\? \(streamproc operators lists",
    ),
    ("[[step]]\noperator = 'zzz'", r"step 1: unknown operator 'zzz' \(streamproc operators lists"),
    ("[[step]]\noperator = 7", r"step 1: unknown operator 7"),
    (
        GRAY + CANNY + "lo = 3",
        r"step 2 \"canny\": unknown key 'lo'; did you mean \"low\"\? \(allowed: operator, name, input, ",
    ),
    (CANNY + CANNY, r"step 2 \"canny\": the name is taken.*taken: frame, canny"),
    (CANNY + "name = 'frame'", r"step 1 \"frame\": the name is taken"),
    (CANNY + "name = ''", r"step 1: name must be text"),
    (CANNY + "name = 'a/b'", r"step 1: name must be letters, digits, _ or -, got 'a/b'"),
    (CANNY + "low = 'a'", r"step 1 \"canny\": low must be a number from 0 to 4096, got 'a'"),
    (CANNY + "low = true", r"low must be a number from 0 to 4096, got True"),
    (CANNY + "low = -1", r"low must be a number from 0 to 4096, got -1"),
    (CANNY + "low = nan", r"low must be a number from 0 to 4096, got nan"),
    (CANNY + "low = inf", r"got inf"),
    (CANNY + f"low = 1{'0' * 400}", r"low must be a number from 0 to 4096"),
    (CANNY + "l2 = 1", r"l2 must be true or false, got 1"),
    ("[[step]]\noperator = 'gaussian'\nksize = 4", r"ksize must be an odd whole number from 1 to 63, got 4"),
    (
        "[[step]]\noperator = 'fast'\nthreshold = 3.5",
        r"threshold must be a whole number from 1 to 255, got 3.5",
    ),
    (
        "[[step]]\noperator = 'gray_histogram'\nbins = 100",
        r"bins must be one of 4, 8, 16, 32, 64, 128, 256, got 100",
    ),
    (CANNY + "every = 0", r"step 1 \"canny\": every must be a whole number from 1 to 1000000, got 0"),
    (CANNY + "every = true", r"every must be a whole number"),
    (GRAY + "every = 2\n" + CANNY, r"step 1 \"gray\": every is not for transforms"),
    (
        CANNY + "input = 'gray'",
        r"step 1 \"canny\": input 'gray' is no transform above this step \(allowed: frame\)",
    ),
    (
        GRAY + "[[step]]\noperator = 'statistics'\n[[step]]\noperator = 'fast'\ninput = 'statistics'",
        r"input 'statistics' is a measure, it has no pixels \(allowed: frame, gray\)",
    ),
    (
        GRAY + CANNY + "input = 'grey'",
        r"input 'grey' is no transform above this step; did you mean \"gray\"\?",
    ),
    (CANNY + "input = 3", r"input 3 is no transform above this step"),
    (
        GRAY + SOBEL + CANNY,
        r"step 3 \"canny\": takes gray pixels, input \"sobel\" gives float; other inputs: frame, gray",
    ),
    (
        SOBEL + "[[step]]\noperator = 'color_histogram'",
        r"takes color or gray pixels, input \"sobel\" gives float",
    ),
    (CANNY + "on = 'gpu'", r"step 1 \"canny\": on must be \"tile\" or \"frame\", got 'gpu'"),
    (
        CANNY + "[[step]]\noperator = 'statistics'\ninput = 'canny'\non = 'tile'",
        r"on = \"tile\" cannot be: its input \"canny\" is known of the whole frame only",
    ),
    (SOBEL + GRAY + CANNY, r"step 2 \"gray\": takes color or gray pixels, input \"sobel\" gives float"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_wrong_is_said_in_one_line_with_file_step_value_and_what_is_right(text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message) as refused:
        parse(text, "my.toml")
    line = str(refused.value)
    assert line.startswith("my.toml: ")
    assert "\n" not in line


def test_files_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PipelineError, match=r"nowhere.toml: cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")
    with pytest.raises(PipelineError, match=r"cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(PipelineError, match=r"binary.toml: cannot be read: not UTF-8 text"):
        load(binary)
