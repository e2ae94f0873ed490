"""Values of parameters: is this one allowed, and what is, in words."""

from __future__ import annotations

import math
from typing import cast

from streamproc.errors import PipelineError
from streamproc.operators.table import Parameter, Value


def checked(value: object, parameter: Parameter, where: str) -> Value:
    """Give back a value of the parameter's type, in its range.

    Raises:
        PipelineError: Wrong type or range.
    """
    wanted = type(parameter.default)
    whole = type(value) is int and abs(value) < 2**53
    given_value = float(cast(int, value)) if wanted is float and whole else value
    if not _fits(given_value, wanted, parameter):
        raise PipelineError(f"{where} must be {described(parameter)}, got {value!r}")
    return cast(Value, given_value)


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


def described(parameter: Parameter) -> str:
    """Say in words what values a parameter takes."""
    if parameter.choices:
        return "one of " + ", ".join(str(choice) for choice in parameter.choices)
    if isinstance(parameter.default, bool):
        return "true or false"
    if isinstance(parameter.default, str):
        return "text"
    noun = "a whole number" if isinstance(parameter.default, int) else "a number"
    noun = noun.replace("whole", "odd whole") if parameter.odd else noun
    if parameter.low is not None and parameter.high is not None:
        return f"{noun} from {parameter.low:g} to {parameter.high:g}".replace("a odd", "an odd")
    return noun
