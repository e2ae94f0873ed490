from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from streamproc.cli.operators import console, operators_app, pipeline_app
from streamproc.errors import PipelineError, UsageError
from streamproc.operators import catalogue, pipeline_file
from streamproc.operators.catalogue import BUILT_IN, OPERATORS, Catalogue
from streamproc.operators.pipeline_file import default_pipeline, parse
from tests.cli import streamproc
from tests.operators.plugged import RIGHT, install, install_example, site

__all__ = ["site"]

app = typer.Typer()
app.add_typer(operators_app, name="operators")
app.add_typer(pipeline_app, name="pipeline")


def output(*arguments: str, columns: int = 200, code: int = 0) -> str:
    console.width = columns
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError), result.output
    return str(result.exception)


def values(*arguments: str) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(output("operators", *arguments, "--json"))}


@pytest.fixture
def fresh(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, and commands that look for plugins anew."""
    new = Catalogue(BUILT_IN)
    monkeypatch.setattr(catalogue, "OPERATORS", new)
    monkeypatch.setattr(pipeline_file, "OPERATORS", new)
    return site


def test_all_operators_are_shown_under_their_family() -> None:
    lines = output("operators").splitlines()
    family = ""
    shown: dict[str, str] = {}
    for line in lines:
        if line.startswith("  "):
            shown[line.split()[0]] = family
        else:
            family = line.strip()
    assert shown == {operator.name: operator.family for operator in OPERATORS.values()}


def test_the_table_fits_a_narrow_screen_and_says_what_tiles_give() -> None:
    shown = output("operators", columns=80)
    assert max(map(len, shown.splitlines())) <= 80
    assert "\n  gaussian                transform  exact 2    blur" in shown
    assert "\n  bilateral               transform  ~ 4 " in shown
    assert "\n  orb                     measure    no 32 " in shown
    assert "\n  dft                     measure    frame " in shown


def test_one_family_can_be_asked_for() -> None:
    assert set(values("--family", "morphology")) == {
        operator.name for operator in OPERATORS.values() if operator.family == "morphology"
    }
    assert output("operators", "--family", "rules").splitlines()[0] == "rules"
    assert "there are: preprocess, filters" in refusal("operators", "--family", "cooking")


def test_all_operators_are_given_to_machines() -> None:
    rows = values()
    assert list(rows) == list(OPERATORS)
    assert rows["canny"]["halo_px"] == 2
    assert rows["canny"]["exact"] == "exact"
    assert (rows["canny"]["family"], rows["canny"]["scope"], rows["canny"]["package"]) == ("edges", "tile", None)
    assert rows["gaussian"]["parameters"][0] == {
        "name": "ksize",
        "default": 5,
        "low": 1,
        "high": 63,
        "choices": [],
        "odd": True,
        "below": None,
        "allowed": "an odd whole number from 1 to 63",
        "meaning": "width of the kernel, pixels",
    }


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_is_shown_in_full(name: str) -> None:
    shown = output("operators", "show", name)
    operator = OPERATORS[name]
    assert operator.meaning in shown
    assert "Raises:" in shown
    for parameter in operator.parameters:
        assert f"    {parameter.name} = " in shown
        assert parameter.meaning in shown


def test_an_operator_is_shown_with_what_it_needs() -> None:
    shown = output("operators", "show", "wavelet")
    assert "needs PyWavelets: pip install 'streamproc[recognition]'" in shown
    assert "works on the whole frame" in shown
    assert "tiles with a halo of 2 px, exact" in output("operators", "show", "gaussian")
    told = json.loads(output("operators", "show", "gaussian", "--json"))
    assert told["documentation"].startswith("Blur by a Gaussian")


def test_an_operator_that_does_not_exist_is_refused_with_its_like() -> None:
    assert refusal("operators", "show", "gausian") == "no operator 'gausian'; did you mean gaussian?"
    assert "stand after the command" in refusal("operators", "--json", "show", "gaussian")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("canny", "no command 'canny'; did you mean streamproc operators show canny?"),
        ("cany", "no command 'cany'; did you mean streamproc operators show canny?"),
        ("shw", "no command 'shw'; did you mean streamproc operators show?"),
        ("xyzzy", "no command 'xyzzy'; there are show and test, and streamproc operators alone lists all"),
    ],
)
def test_an_operator_in_place_of_a_command_is_refused_with_what_was_meant(wrong: str, words: str) -> None:
    assert refusal("operators", wrong) == words
    assert refusal("operators", wrong, "--json") == words


def test_an_operator_in_place_of_a_command_is_one_line_for_the_user() -> None:
    done = streamproc("operators", "canny")
    assert (done.code, done.out) == (2, "")
    assert done.error_line == "error: no command 'canny'; did you mean streamproc operators show canny?"


def test_operators_of_packages_are_shown_with_where_they_come_from(fresh: Path) -> None:
    install_example(fresh)
    assert "few grey levels or colours (own-operator 1.0.0)" in output("operators", "--family", "preprocess")
    assert "from own-operator 1.0.0" in output("operators", "show", "sharpness")
    assert values()["sharpness"]["package"] == "own-operator 1.0.0"
    file = fresh / "mine.toml"
    file.write_text('[[step]]\noperator = "sharpness"\n', encoding="utf-8")
    assert "sharpness (own-operator 1.0.0) of frame" in output("pipeline", "check", str(file))
    (step,) = json.loads(output("pipeline", "check", str(file), "--json"))["steps"]
    assert step["package"] == "own-operator 1.0.0"


@pytest.mark.parametrize("name", ["own-operator", "own_operator", "Own.Operator"])
def test_a_package_is_tested_by_its_name(fresh: Path, name: str) -> None:
    install_example(fresh)
    shown = output("operators", "test", name, "--rounds", "1")
    assert shown.startswith("package own-operator 1.0.0: 3 operators\nposterize\n  passed  row ")
    assert shown.endswith("29 passed, 0 failed, 0 warnings, 0 skipped\n")


def test_an_operator_that_breaks_a_promise_ends_the_test_with_status_one(fresh: Path) -> None:
    code = RIGHT.replace("{name}", "negative").replace("return 255 - pixels", "pixels[0] = 0; return 255 - pixels")
    install(fresh, "careless", code)
    shown = output("operators", "test", "careless", code=1)
    assert "failed  untouched   writes into its input" in shown
    assert "skipped tiles       rests on untouched" in shown
    told = json.loads(output("operators", "test", "careless", "--json", code=1))
    assert (told["source"], told["passed"]) == ("package careless 1.0", False)
    assert [one["check"] for one in told["checks"] if one["outcome"] == "failed"] == ["untouched"]


def test_one_operator_and_one_warning_are_told_as_one(fresh: Path) -> None:
    code = RIGHT.replace("{name}", "negative").replace('kind="transform"', 'kind="transform", halo=lambda params: 1')
    install(fresh, "single", code)
    shown = output("operators", "test", "single", "--rounds", "1")
    assert shown.startswith("package single 1.0: 1 operator\n")
    assert ", 0 failed, 1 warning, 0 skipped\n" in shown


def test_values_of_parameters_can_be_set(fresh: Path) -> None:
    code = RIGHT.replace("{name}", "negative").replace("import Operator", "import Operator, Parameter")
    code = code.replace(
        'kind="transform"',
        'kind="transform", parameters=(Parameter(name="model", default="", meaning="m", file=True, required=True),)',
    )
    install(fresh, "filed", code)
    assert "skipped result      needs model: give a file" in output("operators", "test", "filed")
    for value in ("x.bin", '"x.bin"'):
        shown = output("operators", "test", "filed", "--set", f"negative.model={value}")
        assert "0 failed, 0 warnings, 0 skipped" in shown
    assert "write OPERATOR.PARAMETER=VALUE" in refusal("operators", "test", "filed", "--set", "model=x")
    assert "has no operator positive" in refusal("operators", "test", "filed", "--set", "positive.model=x")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_thing", "cannot be imported: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("raise ValueError('bad')", "cannot be imported: ValueError: bad"),
        ("ROWS = ()", "has no operators"),
    ],
)
def test_a_module_that_cannot_be_tested_is_refused_in_one_line(fresh: Path, code: str, words: str) -> None:
    (fresh / "plain_module.py").write_text(code, encoding="utf-8")
    assert words in refusal("operators", "test", "plain_module")


def test_a_package_that_is_not_there_is_refused() -> None:
    done = streamproc("operators", "test", "no-such-package")
    assert done.code == 2
    assert "no package and no module no-such-package; install it" in done.error_line


def test_a_broken_package_is_warned_of_and_the_table_shown(site: Path) -> None:
    install(site, "broken", "1 / 0")
    done = streamproc("operators", "--family", "rules", PYTHONPATH=str(site))
    assert done.code == 0
    assert "line_crossing" in done.out
    assert done.err.count("operators of broken 1.0 (entry point broken) are left out") == 1
    assert "Traceback" not in done.err
    # a pipeline that does not need it is not disturbed by it
    file = site / "plain.toml"
    file.write_text('[[step]]\noperator = "statistics"\n', encoding="utf-8")
    assert streamproc("pipeline", "check", file, PYTHONPATH=str(site)).err == ""


def test_the_built_in_pipeline_is_printed_as_a_file_that_is_right(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(output("pipeline", "default"), encoding="utf-8")
    assert parse(file.read_text(encoding="utf-8")).digest == default_pipeline().digest
    shown = output("pipeline", "check", str(file))
    assert f"a halo of {default_pipeline().halo} px" in shown
    assert default_pipeline().digest in shown
    told = json.loads(output("pipeline", "check", str(file), "--json"))
    assert told["digest"] == default_pipeline().digest
    assert [step["name"] for step in told["steps"]] == [step.name for step in default_pipeline().steps]


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[[step]]\noperator = 'cany'", encoding="utf-8")
    result = CliRunner().invoke(app, ["pipeline", "check", str(file)])
    assert isinstance(result.exception, PipelineError)
    with pytest.raises(PipelineError, match="did you mean"):
        raise result.exception
