"""Packages as pip leaves them behind: a module, and the folder that says what it is and which entry points it has."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own-operator"
RIGHT = '''
from streamproc.operators.pixels import require_pixels
from streamproc.operators.table import Operator

def run(pixels, params):
    """Turn around.

    Raises:
        BadPixels: Another shape or type.
    """
    require_pixels(pixels)
    return 255 - pixels

def row(name):
    return Operator(
        name=name, kind="transform", run=run, family="preprocess", accepts=("color", "gray"), meaning="negative"
    )

ROWS = (row("{name}"),)
'''


def install(site: Path, name: str, code: str, *, value: str | None = None, version: str = "1.0") -> None:
    """Put a package with one module, of the same name, into a folder of packages."""
    module = re.sub(r"\W", "_", name)
    (site / f"{module}.py").write_text(code, encoding="utf-8")
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    point = f"[streamproc.operators]\n{module} = {value or f'{module}:ROWS'}\n"
    (info / "entry_points.txt").write_text(point, encoding="utf-8")


def install_example(site: Path) -> None:
    """Put the example of the documentation there, as its `pyproject.toml` says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    about, (only,) = project["project"], project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    ((module, value),) = about["entry-points"]["streamproc.operators"].items()
    assert only == f"{module}.py"
    code = (EXAMPLE / only).read_text(encoding="utf-8")
    install(site, about["name"], code, value=value, version=about["version"])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of packages, in which Python looks first; modules imported from it are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
