"""The promises of every operator, and one check for each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, pairwise, product
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from streamproc.contract import following, seams
from streamproc.contract.answers import (
    Broken,
    Case,
    answer,
    frozen,
    require_pixels_as_claimed,
    require_result,
    require_told,
)
from streamproc.contract.keeping import changed, kept
from streamproc.contract.pictures import TINY, Film, film, kinds_of, of_kind
from streamproc.contract.trial import NotFor, Trial, Warned, named, pixels_of
from streamproc.errors import BadPixels, PipelineError, StreamprocError
from streamproc.model import Grid
from streamproc.operators.parameters import require_order
from streamproc.operators.plugins import halo_faults, one_line, row_faults
from streamproc.operators.table import PIXEL_KINDS, Operator, Value
from streamproc.operators.tiling import split

THREADS: Final = 4
SWITCH_S: Final = 1e-5  # how long a thread runs while threads are tried
SLOW_S: Final = 2.0

Outcome = Literal["passed", "failed", "warning", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check of one operator found.

    Attributes:
        detail: What was tried, or what is wrong and with what.
    """

    operator: str
    check: str
    outcome: Outcome
    detail: str


def check(operator: Operator, *, values: Mapping[str, Value] | None = None, rounds: int = 3) -> tuple[Verdict, ...]:
    """Try every promise of an operator; nothing is raised, whatever it does.

    Args:
        operator: A row of a table.
        values: Of parameters that must be given: files, kernels.
        rounds: How many pictures of each kind tiles are tried on.

    Returns:
        One verdict for each check that concerns such an operator, in order. A check that rests on one that failed is
        skipped.
    """
    trial = Trial(operator=operator, given=dict(values or {}), rounds=rounds)
    verdicts: list[Verdict] = []
    failed: set[str] = set()
    lacking = ""
    for name, one, rests in CHECKS:
        broken = [before for before in rests if before in failed]
        try:
            outcome, detail = _tried(one, trial, broken, lacking)
        except NotFor:
            continue
        if outcome == "failed" or broken:
            failed.add(name)
        if name == "row" and outcome != "failed":
            lacking = _lacking(trial)
        verdicts.append(Verdict(operator=str(operator.name), check=name, outcome=outcome, detail=detail))
    return tuple(verdicts)


def failures(verdicts: Sequence[Verdict]) -> list[str]:
    """One line for each check that failed; what a test asserts to be empty."""
    return [f"{one.operator}: {one.check}: {one.detail}" for one in verdicts if one.outcome == "failed"]


def _tried(one: Callable[[Trial], str], trial: Trial, broken: list[str], lacking: str) -> tuple[Outcome, str]:
    if broken or lacking:
        return "skipped", f"rests on {broken[0]}" if broken else lacking
    try:
        return "passed", one(trial)
    except Broken as error:
        return "failed", str(error)
    except Warned as warned:
        return "warning", str(warned)
    except NotFor:
        raise
    except Exception as error:  # noqa: BLE001 - whatever an operator raises is its failure
        return "failed", f"raises {one_line(error)}"


def _lacking(trial: Trial) -> str:
    """Why an operator cannot be run here."""
    if trial.missing:
        return f"needs {', '.join(trial.missing)}: give a file"
    if trial.operator.needs is not None:
        try:
            answer(trial.operator, next(iter(trial.cases)), trial.params)
        except ImportError:
            return f"needs {trial.operator.needs[0]}, which is not installed"
        except Exception:  # noqa: BLE001 - the checks will say it
            return ""
    return ""


# --- the checks ------------------------------------------------------------------------------------------------


def row(trial: Trial) -> str:
    """The row is whole."""
    if faults := row_faults(trial.operator):
        raise Broken("; ".join(faults))
    unknown = sorted(set(trial.given) - set(trial.operator.defaults()))
    if unknown:
        raise Broken(f"has no parameter {', '.join(unknown)}")
    try:
        require_order(trial.operator.parameters, trial.params)
    except PipelineError as error:
        raise Broken(str(error)) from error
    return f"{trial.operator.kind}, {len(trial.operator.parameters)} parameters, version {trial.operator.version}"


def result(trial: Trial) -> str:
    """Shapes, types and values are those the row claims, and can be sent and told."""
    count = 0
    for case in trial.cases:
        said = trial.answer(case, named(case))
        _require(trial, case, said)
        count += 1
    return f"as the row claims, of {count} {'films' if trial.follows else 'pictures'}"


def _require(trial: Trial, case: Case, said: Any) -> None:
    operator = trial.operator
    if isinstance(case, Film):
        following.require_sightings(operator, case, said)
    elif operator.kind == "transform":
        require_pixels_as_claimed(operator, case, said)
        _require_back(trial, case, said)
    else:
        window = split(case.copy(), Grid(1, 1), 0)[0]
        run: Any = operator.run
        require_result(operator, run(window, trial.params))
        if operator.finish is not None:
            require_result(replace(operator, finish=None, scope="frame"), said)
        require_told(said, case.shape[1])


def _require_back(trial: Trial, given: NDArray[Any], made: NDArray[Any]) -> None:
    if trial.operator.back is None:
        return
    rows, cols = made.shape[:2]
    places = np.array([[0, 0], [cols - 1, rows - 1], [cols / 2, rows / 2]], np.float64)
    before = trial.operator.back(places.copy(), given.shape[1], given.shape[0], trial.params)
    if np.shape(before) != places.shape or not np.isfinite(before).all():
        raise Broken(f"back gives no {places.shape} finite points for {places.shape} points")


def sizes(trial: Trial) -> str:
    """Pictures of any size are taken, from one pixel up."""
    if trial.follows:
        shapes = [shape for shape in TINY if not PIXEL_KINDS.isdisjoint(trial.operator.accepts)]
        for shape in shapes:
            trial.answer(film(trial.operator, 0, frames=2, shape=shape), f"frames of {shape}")
        if not shapes:
            raise NotFor("takes no pixels")
    for kind, shape in product([] if trial.follows else kinds_of(trial.operator), TINY):
        given = of_kind(kind, shape, look="noise")
        said = trial.answer(given, f"{kind} pixels of {shape}")
        try:
            _require(trial, given, said)
        except Broken as error:
            raise Broken(f"{error} ({kind} pixels of {shape})") from error
    return f"{len(TINY)} sizes from 1x1"


def parameters(trial: Trial) -> str:
    """Every allowed value works, or is refused in words."""
    case: Case = film(trial.operator, 0, frames=3) if trial.follows else of_kind(kinds_of(trial.operator)[0], (33, 40))
    count = 0
    for what, params in chain(list(trial.settings()), trial.draws()):
        started_s = time.perf_counter()
        try:
            trial.operator.halo(params)
            answer(trial.operator, case, params)
        except StreamprocError:
            count += 1
            continue
        except Exception as error:
            raise Broken(f"raises {one_line(error)} with {what}, which the row allows") from error
        if faults := halo_faults(trial.operator, params):
            raise Broken(faults[0])
        count += 1
        if time.perf_counter() - started_s > SLOW_S:
            trial.slow.add(what)
    if not count:
        raise NotFor("no parameter with ends or choices")
    if trial.slow:
        raise Warned(f"a picture of 33x40 took more than {SLOW_S:g} s with {', '.join(sorted(trial.slow))}")
    return f"{count} settings: each parameter at its ends, and all drawn at once"


def refuses(trial: Trial) -> str:
    """Pixels of another shape or type are refused with BadPixels."""
    if PIXEL_KINDS.isdisjoint(trial.operator.accepts):
        raise NotFor("takes no pixels")
    wrong: list[NDArray[Any]] = [np.zeros((24, 24), np.float64), np.zeros((24, 24, 4), np.uint8)]
    for pixels in wrong:
        case: Case = following.with_pixels(film(trial.operator, 0, frames=2), pixels) if trial.follows else pixels
        what = f"{pixels.dtype} pixels of shape {pixels.shape}"
        try:
            answer(trial.operator, case, trial.params)
        except BadPixels:
            continue
        except Exception as error:
            raise Broken(f"raises {one_line(error)} on {what}, wanted BadPixels") from error
        raise Broken(f"takes {what}, wanted BadPixels")
    return f"{len(wrong)} wrong types and shapes"


def untouched(trial: Trial) -> str:
    """Pixels and parameters are not written to; pixels that cannot be written to do as well."""
    run: Any = trial.operator.run
    for case in trial.cases:
        pixels, params = pixels_of(case), trial.params
        before, values = np.copy(pixels) if pixels is not None else np.zeros(0), dict(params)
        if isinstance(case, Film):
            answer(trial.operator, case, params)
        else:
            window = split(case, Grid(1, 1), 0)[0]
            run(case if trial.operator.kind == "transform" else window, params)
        if pixels is not None and not np.array_equal(pixels, before):
            raise Broken(f"writes into its input, {named(case)}")
        if params != values:
            raise Broken("writes into its parameters")
        if pixels is not None:
            pixels.setflags(write=False)
            trial.answer(case, f"{named(case)} that cannot be written to")
            if not isinstance(case, Film):
                run(pixels if trial.operator.kind == "transform" else split(pixels, Grid(1, 1), 0)[0], params)
    return "neither pixels nor parameters are written to"


def repeatable(trial: Trial) -> str:
    """The same picture gives the same answer."""
    for case in trial.cases:
        trial.answer(case, named(case))
        said = [frozen(trial.answer(case, named(case))) for _ in range(3)]
        if said[0] != said[1] or said[0] != said[2]:
            raise Broken(f"says something else each time of the same {named(case)}")
    return "the same answer each time"


def state(trial: Trial) -> str:
    """Nothing is kept between pictures, nor shared by threads; followers keep all in their memory."""
    cases = list(trial.cases)
    said = [trial.answer(case, named(case)) for case in cases]
    first = [frozen(one) for one in said]
    for case in reversed(cases):
        trial.answer(case, named(case))
    if [frozen(one) for one in said] != first:
        raise Broken("an answer changed when later pictures came: it is a view of something that is kept")
    order = np.random.default_rng(0).integers(len(cases), size=3 * len(cases)).tolist()
    for before, number in pairwise(order):
        if frozen(trial.answer(cases[number], named(cases[number]))) != first[number]:
            raise Broken(f"says something else of {named(cases[number])} after {named(cases[before])}")
    for what, params in list(trial.settings())[:: max(1, len(list(trial.settings())) // 4)]:
        _ignored(trial, cases[0], params)
        if frozen(trial.answer(cases[0], named(cases[0]))) != first[0]:
            raise Broken(f"says something else of {named(cases[0])} after a step with {what}")
    if trial.follows:
        following.require_own_memory(trial)
    _require_nothing_kept(trial)
    with _many_switches(), ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(lambda number: frozen(trial.answer(cases[number], named(cases[number]))), order))
    for number, one in zip(order, found, strict=True):
        if one != first[number]:
            raise Broken(f"says something else of {named(cases[number])} when {THREADS} threads run it")
    return f"the same in any order, after other parameters, and in {THREADS} threads; nothing kept"


def _require_nothing_kept(trial: Trial) -> None:
    """Look at what the operator's code keeps, after pictures that are new but of the shapes it has seen.

    Raises:
        Broken: It changes from picture to picture; what was filled before, once and for all, does not.
    """
    looks = []
    for turn in (0, 1, 0):
        for case in trial.fresh(turn):
            trial.answer(case, named(case))
        looks.append(kept(trial.operator))
    if places := [place for before, after in pairwise(looks) for place in changed(before, after)]:
        raise Broken(
            f"keeps something from picture to picture in {places[0]}: keep nothing there, followers have their memory,"
            " and a cache is functools.lru_cache or threading.local"
        )


CHECKS: Final[tuple[tuple[str, Callable[[Trial], str], tuple[str, ...]], ...]] = (
    ("row", row, ()),
    ("result", result, ("row",)),
    ("sizes", sizes, ("result",)),
    ("parameters", parameters, ("result",)),
    ("refuses", refuses, ("result",)),
    ("untouched", untouched, ("result",)),
    ("repeatable", repeatable, ("result",)),
    ("state", state, ("repeatable",)),
    ("tiles", seams.tiles, ("sizes", "parameters", "untouched", "state")),
    ("halo", seams.halo, ("tiles",)),
    ("memory", following.memory, ("state",)),
    ("missing", following.missing, ("result", "sizes")),
)


def _ignored(trial: Trial, case: Case, params: Mapping[str, Value]) -> None:
    try:
        answer(trial.operator, case, params)
    except Exception:  # noqa: BLE001 - `parameters` says it
        return


@contextmanager
def _many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
