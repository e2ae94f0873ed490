"""Tiles against the whole frame: is it as exact as it claims, with the halo it claims."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, cycle, product
from typing import Any, Final

from numpy.typing import NDArray

from streamproc.contract.answers import Broken, answer, close, frozen, tiled
from streamproc.contract.pictures import KINDS, TALL, WIDE, grids, kinds_of, of_kind
from streamproc.contract.trial import NotFor, Trial, Warned, named, told
from streamproc.errors import StreamprocError
from streamproc.model import Grid
from streamproc.operators.table import Operator, Value

MORE_PX: Final = 12  # of halo that are tried where the claimed halo is too small
PAST_PX: Final = 3  # more halo than is claimed must change nothing


def tiles(trial: Trial) -> str:
    """Tiles give what the whole frame gives, as exactly as the row claims."""
    operator = trial.operator
    if operator.scope == "frame":
        raise NotFor("works on the whole frame")
    count = 0
    for picture, params, grid in _cuts(trial):
        claimed = operator.halo(params)
        whole = trial.answer(picture, named(picture), params)
        found = [tiled(operator, picture.copy(), params, grid, halo) for halo in (claimed, claimed + PAST_PX)]
        count += 1
        if operator.exact == "no" or all(_same(operator, whole, one) for one in found):
            continue
        more = range(claimed + 1, claimed + MORE_PX)
        cure = next((px for px in more if _same(operator, whole, tiled(operator, picture, params, grid, px))), None)
        chosen = told({name: value for name, value in params.items() if value != trial.params[name]})
        at = f"{claimed} px with {chosen}" if chosen else f"{claimed} px"
        if cure is None:
            how = "" if operator.exact == "exact" else " beyond rounding"
            raise Broken(f"tiles of {grid} differ from the whole{how}: {named(picture)}, halo {at}")
        if cure - claimed > trial.more_px:
            trial.more_px, trial.more_of = cure - claimed, at
    if operator.exact == "no":
        return f"not promised; {count} cuts can be merged"
    return f"{count} cuts give what the whole frame gives{'' if not trial.more_px else ', with more halo'}"


def halo(trial: Trial) -> str:
    """The halo is enough, and no larger than it must be."""
    operator, claimed = trial.operator, trial.operator.halo(trial.params)
    if operator.scope == "frame":
        raise NotFor("works on the whole frame")
    if trial.more_px:
        raise Broken(f"claims {trial.more_of}, at least {trial.more_px} px more are needed")
    if operator.exact == "no":
        return f"{claimed} px; exactness is not promised"
    if claimed == 0:
        return "0 px, and none is needed"
    for seed, kind, look in product(range(2), kinds_of(operator), KINDS):
        picture = of_kind(kind, WIDE, seed, look)
        spoiled, right = (
            tiled(operator, picture.copy(), trial.params, Grid(2, 2), claimed, spoil=spoil) for spoil in (True, False)
        )
        if frozen(spoiled) != frozen(right):
            return f"{claimed} px, and no less will do"
    raise Warned(f"claims {claimed} px, the outermost pixel changed no answer: is it larger than it must be?")


def _cuts(trial: Trial) -> Iterator[tuple[NDArray[Any], dict[str, Value], Grid]]:
    """Pictures, parameters and grids: many with the trial's parameters, one for each other value, one for each draw."""
    rounds = 1 if trial.operator.exact == "no" else 2 * trial.rounds + 1
    for kind in kinds_of(trial.operator):
        for number, look in zip(range(rounds), cycle(KINDS), strict=False):
            shape = (WIDE, TALL, (18, 97))[number % 3]
            for grid in grids(*shape):
                yield of_kind(kind, shape, number, look), trial.params, grid
    others = [] if trial.operator.exact == "no" else chain(trial.settings(), trial.draws())
    for number, (_, params) in enumerate(others):
        picture = of_kind(kinds_of(trial.operator)[0], WIDE, number, KINDS[number % 3])
        try:
            trial.operator.halo(params)
            answer(trial.operator, picture, params)
        except StreamprocError:
            continue
        yield picture, params, Grid(2, 2)


def _same(operator: Operator, whole: Any, found: Any) -> bool:
    if operator.exact == "rounding":
        return close(whole, found)
    return bool(frozen(whole) == frozen(found))
