"""An operator on trial: its parameters, and what it is tried on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from streamproc.contract.answers import Broken, Case, answer, require_together
from streamproc.contract.pictures import TALL, WIDE, Film, film, kinds_of, of_kind
from streamproc.errors import StreamprocError
from streamproc.operators.parameters import checked
from streamproc.operators.plugins import one_line
from streamproc.operators.table import Operator, Parameter, Value

MAX_SETTINGS: Final = 40
DRAWS: Final = 20
MAX_REDRAWN: Final = 200
MAX_DRAWS_S: Final = 20.0
OPEN_REACH: Final = 10.0  # times the default, from the default, where a range has no end


class Warned(Exception):
    """Something that may stay but should not."""


class NotFor(Exception):
    """The check does not concern this operator."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """Everything a check needs.

    Attributes:
        given: Values of parameters that have no sensible default, files among them.
        rounds: How many pictures of each kind; more find more and take longer.
        slow: Settings that took too long to be tried again.
        more_px: Halo beyond the claimed one that tiles needed to give what the whole frame gives.
        more_of: With which parameters that was, in words.
    """

    operator: Operator
    given: Mapping[str, Value] = field(default_factory=dict)
    rounds: int = 3
    slow: set[str] = field(default_factory=set)
    more_px: int = 0
    more_of: str = ""

    @property
    def params(self) -> dict[str, Value]:
        """All parameters, as a pipeline that names only the given ones has them."""
        known = {parameter.name: parameter for parameter in self.operator.parameters}
        return {
            **self.operator.defaults(),
            **{name: checked(value, known[name], name) for name, value in self.given.items()},
        }

    @property
    def missing(self) -> list[str]:
        """Files that must be named and are not."""
        return [
            parameter.name
            for parameter in self.operator.parameters
            if parameter.file and parameter.required and not self.params[parameter.name]
        ]

    @property
    def follows(self) -> bool:
        """Whether films are what it takes."""
        return self.operator.kind == "follower"

    @property
    def cases(self) -> Iterator[Case]:
        """Ordinary pictures of every kind it takes, or films."""
        if self.follows:
            yield from (film(self.operator, seed) for seed in range(2))
            return
        for kind in kinds_of(self.operator):
            yield of_kind(kind, WIDE)
            yield of_kind(kind, TALL, 1, "noise")

    def fresh(self, turn: int) -> Iterator[Case]:
        """Other pictures of the same kinds and shapes, or another film, for each turn."""
        if self.follows:
            yield film(self.operator, 2 + turn)
            return
        for kind in kinds_of(self.operator):
            yield of_kind(kind, WIDE, 10 + turn)
            yield of_kind(kind, TALL, 20 + turn, "noise")

    def settings(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """Each parameter at its ends and at each of its choices, the others as they are: what it is, and all values."""
        params, count = self.params, 0
        for parameter in self.operator.parameters:
            for value in _ends(parameter):
                what = f"{parameter.name} = {value}"
                if value != params[parameter.name] and count < MAX_SETTINGS and what not in self.slow:
                    count += 1
                    yield what, {**params, parameter.name: value}

    def draws(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """All parameters at once, each anywhere in its range or near its default: what they are, and all values.

        What the operator refuses is drawn again. The draws are the same each time; they end early after MAX_DRAWS_S.
        """
        random, before, count = np.random.default_rng(0), set(self.slow), 0
        ends_s = time.perf_counter() + MAX_DRAWS_S
        for _ in range(MAX_REDRAWN):
            drawn = {one.name: _drawn(one, random) for one in self.operator.parameters if _has_range(one)}
            what = told(drawn)
            if not drawn or count == DRAWS or time.perf_counter() > ends_s:
                return
            if what in before or self._refused({**self.params, **drawn}):
                continue
            before.add(what)
            count += 1
            yield what, {**self.params, **drawn}

    def _refused(self, params: Mapping[str, Value]) -> bool:
        try:
            require_together(self.operator, params)
            self.operator.halo(params)
        except StreamprocError:
            return True
        except Exception:  # noqa: BLE001 - `parameters` says it
            return False
        return False

    def answer(self, case: Case, what: str, params: Mapping[str, Value] | None = None) -> Any:
        """What the operator says.

        Args:
            case: A picture or a film.
            what: Of it, for messages.
            params: Other than those of the trial.

        Raises:
            Broken: It raised something.
        """
        try:
            return answer(self.operator, case, dict(self.params if params is None else params))
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"raises {one_line(error)} on {what}") from error


def told(values: Mapping[str, Value]) -> str:
    """Values in words."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def named(case: Case) -> str:
    """A case in words."""
    if isinstance(case, Film):
        return f"a film of {len(case.scenes)} frames"
    return f"{'float ' if case.dtype == np.float32 else ''}pixels of shape {case.shape}"


def pixels_of(case: Case) -> NDArray[Any] | None:
    """The pixels of a picture, or of a film's first frame that has some."""
    if not isinstance(case, Film):
        return case
    return next((scene.window.pixels for scene in case.scenes if scene.window is not None), None)


def _ends(parameter: Parameter) -> tuple[Value, ...]:
    if parameter.choices:
        return parameter.choices
    if isinstance(parameter.default, bool):
        return (True, False)
    if parameter.file or isinstance(parameter.default, str | tuple):
        return ()
    kind = type(parameter.default)
    ends = [kind(end) for end in (parameter.low, parameter.high) if end is not None]
    if parameter.odd:
        ends = [end + (1 if end == parameter.low else -1) if end % 2 == 0 else end for end in ends]
    return tuple(ends)


def _has_range(parameter: Parameter) -> bool:
    return bool(parameter.choices) or not (parameter.file or isinstance(parameter.default, str | tuple))


def _drawn(parameter: Parameter, random: np.random.Generator) -> Value:
    if parameter.choices:
        return parameter.choices[int(random.integers(len(parameter.choices)))]
    default = parameter.default
    if isinstance(default, bool):
        return bool(random.integers(2))
    middle = float(cast(float, default))
    reach = OPEN_REACH * max(1.0, abs(middle))
    low = middle - reach if parameter.low is None else parameter.low
    high = middle + reach if parameter.high is None else parameter.high
    if random.random() < 0.5:
        number = random.uniform(low, high)
    else:
        side = (high if random.random() < 0.5 else low) - middle
        number = middle + math.copysign(math.expm1(random.random() * math.log1p(abs(side))), side)
    number = min(max(float(f"{number:.4g}"), low), high)
    if isinstance(default, float):
        return float(number)
    whole = min(max(round(number), math.ceil(low)), math.floor(high))
    return whole + (1 if whole < high else -1) if parameter.odd and whole % 2 == 0 else whole
