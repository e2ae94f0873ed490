from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from streamproc.errors import PipelineError
from streamproc.operators import pipeline_file
from streamproc.operators.catalogue import BUILT_IN
from streamproc.operators.pipeline import FRAME
from streamproc.operators.pipeline_file import DEFAULT_PIPELINE, default_pipeline, load, parse
from streamproc.operators.plugins import PluginOperator
from streamproc.operators.table import Operator


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


CROSSED = [
    ("sliding_window", {"window_px": 100}, "window_px must be at most max_size_px, got {} = 100 and {} = 64"),
    ("faces", {"min_size_px": 200, "max_size_px": 100}, "min_size_px must be at most max_size_px, got {} = 200"),
    ("eyes", {"max_size_px": 19}, "min_size_px must be at most max_size_px, got {} = 20 and {} = 19"),
    ("face_tag", {"max_size_px": 30}, "min_size_px must be at most max_size_px, got {} = 48 and {} = 30"),
    ("grabcut", {"left": 0.8, "right": 0.2}, "left must be at most right, got {} = 0.8 and {} = 0.2"),
    ("grabcut", {"bottom": 0.05}, "top must be at most bottom, got {} = 0.1 and {} = 0.05"),
    ("grabcut", {"right": 0.0}, "left must be at most right, got {} = 0.1 and {} = 0"),
    ("compression_report", {"lowest": 95}, "lowest must be at most highest, got {} = 95 and {} = 90"),
    ("normalize", {"low": 200, "high": 100}, "low must be at most high, got {} = 200 and {} = 100"),
    ("inpaint", {"high": 10}, "low must be at most high, got {} = 250 and {} = 10"),
    ("hough_circles", {"min_radius": 9, "max_radius": 8}, "min_radius must be at most max_radius, got {} = 9 and"),
]
TOGETHER = [
    ("faces", {"min_size_px": 200}),
    ("faces", {"min_size_px": 100, "max_size_px": 100}),
    ("hough_circles", {"min_radius": 9}),
    ("grabcut", {"left": 0.0, "right": 0.0}),
    ("canny", {"low": 150, "high": 50}),
]


def step_of(operator: str, values: dict[str, float], folder: Path) -> str:
    (folder / "model.onnx").write_bytes(b"not looked into by parse")
    files = {"sliding_window": 'model = "model.onnx"\n', "face_tag": 'examples = "model.onnx"\n'}
    told = "".join(f"{name} = {value}\n" for name, value in values.items())
    first = f'[[step]]\noperator = "{operator}"\n{files.get(operator, "")}{told}\n'
    return first + '[[step]]\noperator = "statistics"\ninput = "frame"'


def test_a_band_that_is_crossed_is_refused_and_other_filters_need_no_band() -> None:
    step = '[[step]]\noperator = "frequency_filter"\npasses = "{}"\nlow = 0.5\nhigh = 0.1\n'
    step += '[[step]]\noperator = "statistics"'
    parse(step.format("low_pass")).check()
    with pytest.raises(PipelineError, match=r"low must be at most high, got low = 0\.5 and high = 0\.1"):
        parse(step.format("band_pass")).check()


@pytest.mark.parametrize(("operator", "values", "words"), CROSSED, ids=str)
def test_ranges_that_are_crossed_are_refused_with_both_values(
    operator: str, values: dict[str, float], words: str, tmp_path: Path
) -> None:
    low, _, _, _, _, high = words.replace(",", "").split()[:6]
    with pytest.raises(PipelineError) as refused:
        parse(step_of(operator, values, tmp_path), "my.toml", folder=tmp_path)
    assert str(refused.value).startswith(f'my.toml: step 1 "{operator}": {words.format(low, high)}')
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("operator", "values"), TOGETHER, ids=str)
def test_ranges_without_a_limit_or_of_one_value_are_taken(
    operator: str, values: dict[str, float], tmp_path: Path
) -> None:
    assert parse(step_of(operator, values, tmp_path), folder=tmp_path).steps


COUNTED = '[[step]]\noperator = "track"\n[[step]]\noperator = "{}"\nlabel = "{}"\n{}'
LINE = "line = [[0, 0], [9, 9]]"
ZONE = "polygon = [[0, 0], [9, 0], [9, 9]]"
PEOPLE, FACES = '[[step]]\noperator = "people"\n', '[[step]]\noperator = "faces"\n'
CODES = '[[step]]\noperator = "qr_codes"\n'


@pytest.mark.parametrize(("rule", "more"), [("count", ""), ("line_crossing", LINE), ("zone", ZONE)])
@pytest.mark.parametrize(("finder", "label"), [("people", "person"), ("faces", "face"), ("eyes", "eye")])
def test_a_label_that_can_never_come_is_refused(rule: str, more: str, finder: str, label: str) -> None:
    found = f'[[step]]\noperator = "{finder}"\nname = "finder"\n'
    with pytest.raises(PipelineError) as refused:
        parse(found + COUNTED.format(rule, "giraffe", more), "my.toml")
    wanted = f'my.toml: step 3 "{rule}": label must be "{label}" or empty, step "finder" finds no \'giraffe\''
    assert str(refused.value) == wanted
    for right in (label, ""):
        assert parse(found + COUNTED.format(rule, right, more)).steps


def test_labels_are_those_of_the_finder_that_is_tracked() -> None:
    assert parse(PEOPLE + FACES + COUNTED.format("count", "face", "")).steps
    tracked = COUNTED.replace('"track"', '"track"\ninput = "people"').format("count", "face", "")
    with pytest.raises(PipelineError, match="step \"people\" finds no 'face'"):
        parse(PEOPLE + FACES + tracked)


def test_a_tracker_of_another_package_may_give_other_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    row = BUILT_IN["track"]
    tracker = PluginOperator(**{one.name: getattr(row, one.name) for one in fields(Operator)}, package="herd 1.0")
    text = PEOPLE + COUNTED.format("count", "giraffe", "")
    with pytest.raises(PipelineError, match="finds no 'giraffe'"):
        parse(text)
    monkeypatch.setattr(pipeline_file, "OPERATORS", {**BUILT_IN, "track": tracker})
    assert parse(text).steps


def test_any_label_is_taken_of_a_finder_whose_labels_are_not_known() -> None:
    assert parse(CODES + COUNTED.format("count", "giraffe", "")).steps


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
