"""Operators of other packages: found by their entry points, read when an operator is asked for that is not built in.

A package names them in its `pyproject.toml`; the value is an `Operator` or a tuple of them:

    [project.entry-points."streamproc.operators"]
    own_operator = "own_operator:ROWS"

What cannot be used is left out as a whole entry point, with one line that says why; the rest works on.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, get_args

from streamproc.errors import PipelineError
from streamproc.operators.parameters import checked
from streamproc.operators.table import PIXEL_KINDS, Exactness, Operator

GROUP: Final = "streamproc.operators"
KINDS: Final = ("transform", "measure", "follower")
FINDINGS: Final = frozenset({"boxes", "tracks", "vitals"})
RESERVED: Final = frozenset({"operator", "name", "input", "every", "on"})
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PLAIN: Final = (bool, int, float, str, tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOperator(Operator):
    """A row of another package.

    Attributes:
        package: The distribution it comes from and its version, "own-operator 1.0". Its code decides results, so it is
            part of a pipeline's digest: two releases never pass for one, though their author has forgotten `version`.
    """

    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """What the packages of this installation bring.

    Attributes:
        rows: Operators by name.
        packages: By name of an operator: what `PluginOperator.package` says.
        refused: One line for each entry point that is left out.
    """

    rows: dict[str, PluginOperator]
    packages: dict[str, str]
    refused: tuple[str, ...]


class _Refused(Exception):
    """Why an entry point is left out."""


def find_plugins(taken: Collection[str]) -> Plugins:
    """Load every entry point of the group, in order of distribution and name.

    Args:
        taken: Names that no plugin may have.
    """
    rows: dict[str, PluginOperator] = {}
    packages: dict[str, str] = {}
    refused: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (package_of(point), point.name)):
        package = package_of(point)
        try:
            found = load(point)
            for row in found:
                _require_new(row.name, taken, packages)
        except _Refused as error:
            refused.append(f"operators of {package} (entry point {point.name}) are left out: {error}")
            continue
        rows |= {row.name: _with_package(row, package) for row in found}
        packages |= {row.name: package for row in found}
    return Plugins(rows=rows, packages=packages, refused=tuple(refused))


def load(point: EntryPoint) -> tuple[Operator, ...]:
    """Read the operators of one entry point.

    Raises:
        _Refused: It cannot be loaded, is no operators, or one of them is not whole.
    """
    try:
        value = point.load()
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        raise _Refused(f"{point.value} cannot be loaded: {one_line(error)}; mend or uninstall it") from error
    found = operators_in([value])
    if not found:
        raise _Refused(f"{point.value} is no Operator and no tuple of them; name one in its pyproject.toml")
    for row in found:
        try:
            faults = row_faults(row)
        except Exception as error:  # noqa: BLE001 - fields of types that are not allowed
            faults = [one_line(error)]
        if faults:
            raise _Refused(f"operator {row.name!r}: {faults[0]}; mend its row, or uninstall it")
    names = [row.name for row in found]
    if len(set(names)) < len(names):
        raise _Refused(f"{point.value} has two operators of one name; rename one")
    return found


def operators_in(values: Iterable[Any]) -> tuple[Operator, ...]:
    """The operators among values, and in the tuples and lists among them; each once."""
    found: dict[int, Operator] = {}
    for value in values:
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, Operator):
                found.setdefault(id(one), one)
    return tuple(found.values())


def package_of(point: EntryPoint) -> str:
    """Name and version of the distribution that an entry point belongs to."""
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def one_line(error: BaseException) -> str:
    """An error of somebody else's code, short."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def row_faults(row: Operator) -> list[str]:
    """Say what is wrong with a row as it stands; nothing is run but its halo.

    Its author may have passed what its types forbid.
    """
    name: Any = row.name
    run: Any = row.run
    version: Any = row.version
    faults = [f"{what} is missing" for what in ("family", "meaning") if not getattr(row, what)]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        faults.append(f"name {name!r} is not small letters, digits and _, at most 64, a letter first")
    if not callable(run):
        return [*faults, "run cannot be called"]
    faults += _scope_faults(row)
    for number, parameter in enumerate(row.parameters):
        faults += _parameter_faults(row, number)
        if parameter.name in {other.name for other in row.parameters[:number]}:
            faults.append(f"parameter {parameter.name} stands twice")
    if not faults:
        faults += halo_faults(row, row.defaults())
    if not isinstance(version, int) or version < 1:
        faults.append(f"version must be a whole number from 1, is {version!r}")
    doc = inspect.getdoc(run) or ""
    if "Raises:" not in doc:
        faults.append(f"{getattr(run, '__name__', 'run')} has no docstring with a section Raises:")
    return faults


def halo_faults(row: Operator, params: Any) -> list[str]:
    """Say what is wrong with the halo that a row gives for these parameters."""
    try:
        halo = row.halo(params)
    except Exception as error:  # noqa: BLE001 - it is not ours
        return [f"halo fails with {dict(params)}: {type(error).__name__}: {error}"]
    if type(halo) is not int or halo < 0:
        return [f"halo must be a whole number of pixels, 0 or more, is {halo!r} with {dict(params)}"]
    return []


def _scope_faults(row: Operator) -> list[str]:
    faults: list[str] = []
    for what, allowed in (("kind", KINDS), ("scope", ("tile", "frame")), ("exact", get_args(Exactness))):
        if getattr(row, what) not in allowed:
            faults.append(f"{what} {getattr(row, what)!r} is none of {', '.join(allowed)}")
    accepts = set(row.accepts)
    if not accepts or accepts - PIXEL_KINDS - FINDINGS:
        faults.append(f"accepts {row.accepts!r} is not of {', '.join(sorted(PIXEL_KINDS | FINDINGS))}")
    elif accepts & PIXEL_KINDS and "gray" not in accepts:
        faults.append("accepts has no gray, and cameras send it")
    elif accepts & FINDINGS and row.kind != "follower":
        faults.append(f"only a follower may accept {', '.join(sorted(accepts & FINDINGS))}")
    if row.gives is not None and row.gives not in PIXEL_KINDS | FINDINGS:
        faults.append(f"gives {row.gives!r} is no kind")
    return faults + _kind_faults(row)


def _kind_faults(row: Operator) -> list[str]:
    follower = row.kind == "follower"
    misplaced = (
        (follower and row.scope != "frame", 'a follower has scope "frame"'),
        (row.durable and not follower, "durable is for followers"),
        (row.check is not None and not callable(row.check), "check cannot be called"),
        (row.finish is not None and (row.kind, row.scope) != ("measure", "tile"), "finish is for measures of tiles"),
        (row.back is not None and (row.kind, row.scope) != ("transform", "frame"), "back is for transforms of frames"),
    )
    return [why for wrong, why in misplaced if wrong]


def _parameter_faults(row: Operator, number: int) -> list[str]:
    parameter = row.parameters[number]
    if not parameter.name.isidentifier() or parameter.name in RESERVED:
        return [f"parameter {parameter.name!r}: the name is not allowed"]
    if not parameter.meaning:
        return [f"parameter {parameter.name}: meaning is missing"]
    if type(parameter.default) not in _PLAIN:
        return [f"parameter {parameter.name}: a default of type {type(parameter.default).__name__} is not allowed"]
    numbers = {other.name for other in row.parameters if type(other.default) in (int, float)}
    if parameter.below and not {parameter.name, parameter.below} <= numbers:
        return [f"parameter {parameter.name}: below must name a number of the same row, is {parameter.below!r}"]
    if parameter.file and parameter.default == "":
        return []
    try:
        checked(parameter.default, parameter, f"parameter {parameter.name}: its default")
    except PipelineError as error:
        return [str(error)]
    return []


def _with_package(row: Operator, package: str) -> PluginOperator:
    return PluginOperator(**{one.name: getattr(row, one.name) for one in fields(Operator)}, package=package)


def _require_new(name: str, taken: Collection[str], packages: dict[str, str]) -> None:
    if name in taken:
        raise _Refused(f"the operator {name!r} is built in; its author must give it another name")
    if name in packages:
        raise _Refused(f"{packages[name]} has an operator {name!r} too; uninstall one of the two")
