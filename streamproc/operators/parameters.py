"""Values of parameters: is this one allowed, do they go together, and what is allowed, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from streamproc.errors import PipelineError
from streamproc.operators.table import Parameter, Params, Path2D, Value


def checked(value: object, parameter: Parameter, where: str) -> Value:
    """Give back a value of the parameter's type, in its range.

    Raises:
        PipelineError: Wrong type or range.
    """
    wanted = type(parameter.default)
    if wanted is tuple:
        return _path(value, parameter, where)
    whole = type(value) is int and abs(value) < 2**53
    given_value = float(cast(int, value)) if wanted is float and whole else value
    if not _fits(given_value, wanted, parameter):
        raise PipelineError(f"{where} must be {described(parameter)}, got {value!r}")
    return cast(Value, given_value)


def _path(value: object, parameter: Parameter, where: str) -> Path2D:
    """Corners as TOML gives them, lists of two numbers, to pairs of floats."""
    rows = value if isinstance(value, list | tuple) else []
    path = tuple((float(row[0]), float(row[1])) for row in rows if _is_point(row))
    least = 0 if parameter.low is None else parameter.low
    most = math.inf if parameter.high is None else parameter.high
    if not rows or len(path) != len(rows) or not least <= len(path) <= most:
        raise PipelineError(f"{where} must be {described(parameter)}, got {value!r}")
    return path


def _is_point(row: object) -> bool:
    if not isinstance(row, list | tuple) or len(row) != 2:
        return False
    return all(type(number) in {int, float} and abs(number) < 2**31 for number in row)


def _fits(value: object, wanted: type, parameter: Parameter) -> bool:
    if type(value) is not wanted:
        return False
    if parameter.choices:
        return value in parameter.choices
    if isinstance(value, bool | str):
        return True
    number = cast(float, value)
    low = -math.inf if parameter.low is None else parameter.low
    high = math.inf if parameter.high is None else parameter.high
    return math.isfinite(number) and low <= number <= high and not (parameter.odd and number % 2 == 0)


def require_order(parameters: Sequence[Parameter], values: Params) -> None:
    """Refuse numbers that exceed those they may not exceed.

    Args:
        parameters: Of one operator.
        values: Of all of them.

    Raises:
        PipelineError: Names both parameters and their values.
    """
    limitless = {one.name for one in parameters if one.zero_is_no_limit and not values[one.name]}
    for one in parameters:
        if one.below and one.below not in limitless:
            require_at_most(values, one.name, one.below)


def require_at_most(values: Params, low: str, high: str) -> None:
    """Refuse a number that exceeds another.

    Raises:
        PipelineError: Names both parameters and their values.
    """
    if values[low] > values[high]:
        raise PipelineError(f"{low} must be at most {high}, got {low} = {values[low]:g} and {high} = {values[high]:g}")


def described(parameter: Parameter) -> str:
    """Say in words what values a parameter takes."""
    if parameter.choices:
        return "one of " + ", ".join(str(choice) for choice in parameter.choices)
    if isinstance(parameter.default, bool):
        return "true or false"
    if isinstance(parameter.default, str):
        return "the name of a file" if parameter.file else "text"
    if isinstance(parameter.default, tuple):
        return f"{_count(parameter)} corners, [[x, y], ...]"
    noun = "a whole number" if isinstance(parameter.default, int) else "a number"
    noun = noun.replace("whole", "odd whole") if parameter.odd else noun
    if parameter.low is not None and parameter.high is not None:
        noun = f"{noun} from {_number(parameter.low)} to {_number(parameter.high)}".replace("a odd", "an odd")
    return f"{noun}, at most {parameter.below}" if parameter.below else noun


def _count(parameter: Parameter) -> str:
    if parameter.low == parameter.high and parameter.low is not None:
        return f"{parameter.low:g}"
    least = f"{parameter.low or 0:g}"
    return f"{least} or more" if parameter.high is None else f"{least} to {parameter.high:g}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"
