from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamproc.errors import PipelineError
from streamproc.model import Grid
from streamproc.operators import pipeline_file
from streamproc.operators.catalogue import BUILT_IN, Catalogue
from streamproc.operators.pipeline_file import parse
from streamproc.operators.plugins import find_plugins, row_faults
from streamproc.operators.table import Operator
from streamproc.operators.tiling import split
from tests.operators.plugged import EXAMPLE, RIGHT, install, install_example, site

__all__ = ["site"]

FOUR_STEPS = """
[[step]]
operator = "posterize"
levels = 8
[[step]]
operator = "sharpness"
[[step]]
operator = "sudden_change"
[[step]]
operator = "statistics"
"""


def right(name: str) -> str:
    return RIGHT.replace("{name}", name)


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """A catalogue that has not looked for plugins yet, for pipelines too."""
    fresh = Catalogue(BUILT_IN)
    monkeypatch.setattr(pipeline_file, "OPERATORS", fresh)
    return fresh


def test_operators_of_a_package_stand_behind_the_built_in_ones(site: Path, catalogue: Catalogue) -> None:
    install(site, "my-negative", right("negative"), version="2.5")
    assert list(catalogue) == [*BUILT_IN, "negative"]
    assert len(catalogue) == len(BUILT_IN) + 1
    assert catalogue["negative"].meaning == "negative"
    assert catalogue.package("negative") == "my-negative 2.5"
    assert catalogue.package("gray") is None
    assert catalogue.package("nothing") is None
    assert "nothing" not in catalogue


def test_an_entry_point_may_name_one_operator(site: Path) -> None:
    install(site, "one", right("negative") + "ONE = ROWS[0]\n", value="one:ONE")
    assert list(find_plugins(BUILT_IN).rows) == ["negative"]


@pytest.mark.usefixtures("site")
def test_without_plugins_there_are_the_built_in_operators(catalogue: Catalogue) -> None:
    assert dict(catalogue) == dict(BUILT_IN)


def test_built_in_operators_are_had_without_looking_for_plugins(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_taken: object) -> None:
        raise AssertionError("plugins were looked for")

    monkeypatch.setattr("streamproc.operators.catalogue.find_plugins", refuse)
    assert "gray" in catalogue
    pipeline_file.default_pipeline()
    with pytest.raises(AssertionError, match="looked for"):
        parse('[[step]]\noperator = "negative"')


BROKEN = {
    "raises": ("1 / 0", None, "cannot be loaded: ZeroDivisionError"),
    "exits": ("raise SystemExit(3)", None, "cannot be loaded: SystemExit: 3"),
    "odd-row": (right("odd") + "object.__setattr__(ROWS[0], 'parameters', None)", None, "operator 'odd': TypeError"),
    "needs-more": ("import no_such_module", None, "cannot be loaded: ModuleNotFoundError"),
    "no-attribute": ("", None, "cannot be loaded: AttributeError"),
    "no-operators": ("ROWS = (1, 2)", None, "is no Operator and no tuple of them"),
    "built-in": (right("canny"), None, "'canny' is built in; its author must give it another name"),
    "twice": (right("twin") + "ROWS = ROWS + (row('twin'),)", None, "two operators of one name"),
    "unnamed": (right("Not A Name"), None, "name 'Not A Name' is not small letters"),
    "no-docstring": (right("bare") + "run.__doc__ = None", None, "no docstring with a section Raises"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_left_out_in_one_line_and_the_rest_works(
    name: str, site: Path, catalogue: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    code, value, why = BROKEN[name]
    install(site, name, code, value=value)
    install(site, "works", right("negative"))
    with caplog.at_level(logging.WARNING):
        pipeline = parse('[[step]]\noperator = "negative"\n[[step]]\noperator = "statistics"')
        assert set(catalogue) == {*BUILT_IN, "negative"}
    assert [step.operator.name for step in pipeline.steps] == ["negative", "statistics"]
    (line,) = caplog.messages
    assert line.startswith(f"operators of {name} 1.0 (entry point ")
    assert why in line
    assert "\n" not in line
    assert catalogue.plugins.refused == (line,)


def test_of_two_packages_with_one_name_the_second_is_left_out(site: Path) -> None:
    install(site, "alpha", right("negative"))
    install(site, "beta", right("negative"))
    found = find_plugins(BUILT_IN)
    assert found.packages == {"negative": "alpha 1.0"}
    (line,) = found.refused
    assert line.startswith("operators of beta 1.0")
    assert line.endswith("alpha 1.0 has an operator 'negative' too; uninstall one of the two")


def test_an_operator_of_a_broken_plugin_is_unknown_to_pipelines(site: Path, catalogue: Catalogue) -> None:
    install(site, "broken", "raise RuntimeError('no model\\nhere')")
    with pytest.raises(PipelineError, match="unknown operator 'negative'"):
        parse('[[step]]\noperator = "negative"')
    assert "RuntimeError: no model here" in catalogue.plugins.refused[0]


def test_versions_of_plugin_operators_are_part_of_the_digest(site: Path, catalogue: Catalogue) -> None:
    install(site, "versioned", right("negative"))
    text = '[[step]]\noperator = "negative"\n[[step]]\noperator = "statistics"'
    first = parse(text).digest
    object.__setattr__(catalogue["negative"], "version", 2)
    assert parse(text).digest != first


def test_releases_of_a_package_have_digests_of_their_own_though_its_rows_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[[step]]\noperator = "negative"\n[[step]]\noperator = "statistics"'
    digests = []
    for number, (name, version) in enumerate([("mine", "1.0"), ("mine", "1.0.1"), ("theirs", "1.0"), ("mine", "1.0")]):
        site = tmp_path / str(number)
        site.mkdir()
        install(site, name, right("negative"), version=version)
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(site))
            patched.setattr(pipeline_file, "OPERATORS", Catalogue(BUILT_IN))
            digests.append(parse(text).digest)
            sys.modules.pop(name)
    assert digests[3] == digests[0]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("operator", BUILT_IN.values(), ids=lambda operator: operator.name)
def test_built_in_rows_have_no_fault(operator: Operator) -> None:
    assert row_faults(operator) == []


@pytest.mark.usefixtures("catalogue")
def test_the_example_of_the_documentation_works_in_a_pipeline(site: Path) -> None:
    install_example(site)
    pipeline = parse(FOUR_STEPS)
    assert pipeline.halo == 1
    assert [step.name for step in pipeline.whole] == ["sudden_change"]
    picture = np.random.default_rng(5).integers(0, 256, (48, 64), np.uint8)
    (window,) = split(picture, Grid(1, 1), 0)
    assert set(pipeline.run(window, 0)) == {"sharpness", "statistics", "@posterize"}


def test_the_example_passes_its_own_tests(site: Path) -> None:
    install_example(site)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", EXAMPLE, EXAMPLE / "tests"],
        cwd=site,
        env={"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
