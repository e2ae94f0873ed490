"""Which operators stand under a name: of an installed package, or of a module."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from streamproc.errors import UsageError
from streamproc.operators.plugins import GROUP, one_line, operators_in, package_of
from streamproc.operators.table import Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Operators to be tried.

    Attributes:
        source: Where they come from, in words.
    """

    source: str
    rows: tuple[Operator, ...]


def subjects_of(name: str) -> Subjects:
    """Find operators: by the entry points of an installed package of that name, else in a module of that name.

    Args:
        name: As pip names the package, or as Python imports the module.

    Raises:
        UsageError: There is neither, it cannot be imported, or there are no operators in it.
    """
    points = [
        point
        for point in entry_points(group=GROUP)
        if point.dist is not None and _plain(point.dist.name) == _plain(name)
    ]
    if points:
        rows = operators_in(_loaded(point) for point in sorted(points, key=lambda point: point.name))
        source = f"package {package_of(points[0])}"
    else:
        module = _imported(name)
        rows = operators_in([getattr(module, "ROWS", ()), *vars(module).values()])
        source = f"module {name}"
    if not rows:
        raise UsageError(f"{source} has no operators: put them in a tuple ROWS, and name it as an entry point {GROUP}")
    return Subjects(source=source, rows=rows)


def _plain(name: str) -> str:
    """As packages are compared: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _loaded(point: EntryPoint) -> object:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{package_of(point)}: {point.value} cannot be loaded: {one_line(error)}") from error


def _imported(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"there is no package and no module {name}; install it: pip install -e FOLDER") from error
        raise UsageError(f"module {name} cannot be imported: {one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"module {name} cannot be imported: {one_line(error)}") from error
