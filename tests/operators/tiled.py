"""Transforms run on tiles and put together again, for comparison with the whole frame."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from streamproc.model import Grid, Pixels
from streamproc.operators.parameters import checked
from streamproc.operators.table import Operator, Params, Transform, Value
from streamproc.operators.tiling import join, split
from tests.operators.pictures import Cut, plane


def parameters(operator: Operator, **given: Value) -> Params:
    """All parameters of an operator; those that are given must be allowed."""
    known = {parameter.name: parameter for parameter in operator.parameters}
    return {**operator.defaults(), **{name: checked(value, known[name], name) for name, value in given.items()}}


def whole(operator: Operator, picture: Pixels, params: Params) -> NDArray[Any]:
    """What the operator makes of the whole frame."""
    return cast("Transform", operator.run)(picture, params)


def tiled(operator: Operator, picture: Pixels, params: Params, grid: Grid, halo: int) -> NDArray[Any]:
    """What it makes of tiles with `halo` pixels around them, joined."""
    parts: list[tuple[Any, NDArray[Any]]] = []
    for window in split(picture, grid, halo):
        done = whole(operator, window.pixels, params)
        parts.append((window.core, done[window.core.within(window.rect)]))
    return join(parts, picture.shape[1], picture.shape[0])


def assert_exact(operator: Operator, case: Cut, params: Params) -> None:
    """Tiles with the operator's halo, or more, join to what it makes of the whole frame, bit for bit."""
    picture = case.pixels
    if picture.ndim == 3 and "color" not in operator.accepts:
        picture = np.ascontiguousarray(picture[:, :, 0])
    expected = whole(operator, picture, params)
    found = tiled(operator, picture, params, case.grid, operator.halo(params) + case.extra_halo)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def assert_halo_is_needed(operator: Operator, params: Params) -> None:
    """One pixel of halo less gives another picture, at least of one of some pictures."""
    less = operator.halo(params) - 1
    assert less >= 0
    pictures = (plane(128, 96, kind, seed) for seed in range(5) for kind in ("noise", "smooth noise", "specks"))
    assert any(
        not np.array_equal(tiled(operator, picture, params, Grid(6, 8), less), whole(operator, picture, params))
        for picture in pictures
    )
