"""What an operator says of a picture or a film, in forms that can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TypeAlias, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamproc.aggregator.merging import merge_step, summarise, summarise_edges
from streamproc.contract.pictures import Film, spoiled
from streamproc.model import Boxes, EdgeMap, Figures, Grid, Labels, Patch, Points, Result
from streamproc.operators.boxes import unpack_boxes
from streamproc.operators.parameters import require_order
from streamproc.operators.points import unpack_points
from streamproc.operators.table import Follower, Measure, Memory, Operator, Params, Scene, Sighting, Transform
from streamproc.operators.tiling import join, split

Case: TypeAlias = NDArray[Any] | Film
Frozen: TypeAlias = Any
"""Compared by ==."""

RESULTS: Final = get_args(Result)
ROUNDING_LEVELS: Final = 1  # grey levels of uint8 pixels
ROUNDING: Final = 1e-4  # of floats, and of 1 where they are smaller
PLACES_PX: Final = 0.01
_pack: Final = msgspec.msgpack.Encoder()
_result: Final = msgspec.msgpack.Decoder(Result)


class Broken(Exception):
    """A promise that does not hold; the text says which."""


def require_together(operator: Operator, params: Params) -> None:
    """Hold parameters that are allowed one by one against each other, as a pipeline does.

    Raises:
        PipelineError: They do not go together, or what they name cannot be used.
    """
    require_order(operator.parameters, params)
    if operator.check is not None:
        operator.check(params)


def answer(operator: Operator, case: Case, params: Params) -> Any:
    """What the operator says of a whole picture, finished, or of each frame of a film; the case is not touched."""
    require_together(operator, params)
    if isinstance(case, Film):
        return follow(operator, case, params, {})
    return tiled(operator, case.copy(), params, Grid(1, 1), 0)


def tiled(
    operator: Operator, picture: NDArray[Any], params: Params, grid: Grid, halo: int, *, spoil: bool = False
) -> Any:
    """What it says of tiles with `halo` pixels around them, put together: pixels, or a finished result."""
    height, width = picture.shape[:2]
    windows = split(picture, grid, halo)
    if spoil:
        windows = [spoiled(window) for window in windows]
    if operator.kind == "transform":
        transform = cast("Transform", operator.run)
        if grid == Grid(1, 1):
            return transform(windows[0].pixels, params)
        done = [(window, transform(window.pixels, params)) for window in windows]
        return join([(one.core, pixels[one.core.within(one.rect)]) for one, pixels in done], width, height)
    measure = cast("Measure", operator.run)
    merged = merge_step([measure(window, params) for window in windows], width, height)
    return merged if operator.finish is None else operator.finish(merged, params)


def follow(operator: Operator, film: Film, params: Params, memory: Memory) -> list[Sighting]:
    """What a follower says of each frame."""
    return [seen(operator, scene, memory, params) for scene in film.scenes]


def seen(operator: Operator, scene: Scene, memory: Memory, params: Params) -> Sighting:
    """What a follower says of one frame."""
    return cast("Follower", operator.run)(scene, memory, params)


def frozen(said: Any) -> Frozen:
    """A copy that later runs cannot change."""
    if isinstance(said, np.ndarray):
        return (said.shape, said.dtype.str, said.tobytes())
    if isinstance(said, list):
        return tuple(frozen(one) for one in said)
    if isinstance(said, Sighting):
        return (frozen(said.result), tuple(_pack.encode(one) for one in said.occurrences))
    return _pack.encode(said)


def close(first: Any, second: Any) -> bool:
    """Whether two answers are the same up to rounding."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        if first.shape != second.shape or first.dtype != second.dtype:
            return False
        most = ROUNDING_LEVELS if first.dtype == np.uint8 else ROUNDING
        return bool(np.abs(first.astype(np.float64) - second.astype(np.float64)).max(initial=0) <= most)
    if type(first) is not type(second):
        return False
    if isinstance(first, Boxes | Points):
        unpack: Any = unpack_boxes if isinstance(first, Boxes) else unpack_points
        pairs = list(zip(unpack(first), unpack(second), strict=True))
        return all(one.shape == other.shape for one, other in pairs) and all(
            np.allclose(one, other, rtol=ROUNDING, atol=PLACES_PX) for one, other in pairs
        )
    left, right = (list(_leaves(msgspec.to_builtins(one))) for one in (first, second))
    return len(left) == len(right) and all(map(_alike, left, right))


def require_pixels_as_claimed(operator: Operator, given: NDArray[Any], made: Any) -> None:
    """Hold what a transform made against its row.

    Raises:
        Broken: Another type or shape.
    """
    if not isinstance(made, np.ndarray):
        raise Broken(f"gives a {type(made).__name__}, not an array")
    depth = (
        "float32" if operator.gives == "float" or (operator.gives is None and given.dtype == np.float32) else "uint8"
    )
    if made.dtype != np.dtype(depth):
        raise Broken(f"gives {made.dtype} pixels of {given.dtype} {given.shape}, the row says {depth}")
    channels = {"gray": (), "float": (), "color": (3,), None: given.shape[2:]}[cast(Any, operator.gives)]
    if made.ndim < 2 or made.shape[2:] != channels:
        raise Broken(f"gives shape {made.shape} of {given.shape}, the row says (rows, cols{', 3' * len(channels)})")
    if made.shape[:2] != given.shape[:2] and operator.scope == "tile":
        raise Broken(f"gives {made.shape[:2]} rows and cols of {given.shape[:2]}; on tiles the size must stay")
    if made.shape[:2] != given.shape[:2] and operator.back is None:
        raise Broken(f"gives {made.shape[:2]} rows and cols of {given.shape[:2]}, and no `back` says where they were")
    if depth == "float32" and not (np.isfinite(made).all() and made.min() >= 0 and made.max() <= 1):
        raise Broken("gives floats outside 0..1")


def require_result(operator: Operator, found: Any) -> None:
    """Hold what a measure or follower found against its row, and try to send it.

    Raises:
        Broken: A type that cannot travel, or not the kind that is claimed.
    """
    if not isinstance(found, RESULTS) or isinstance(found, Patch):
        raise Broken(f"gives a {type(found).__name__}, which is no result (streamproc.model.Result)")
    wanted = {"boxes": Boxes, "tracks": Boxes, "gray": EdgeMap}.get(operator.gives or "")
    if wanted is not None and not isinstance(found, wanted):
        raise Broken(f"gives a {type(found).__name__}, the row says {operator.gives}")
    if operator.kind == "measure" and operator.scope == "tile" and isinstance(found, Figures | Labels):
        raise Broken(f"gives {type(found).__name__} of a tile, which cannot be merged; see `finish`, or scope frame")
    try:
        packed = _pack.encode(found)
        again = _pack.encode(_result.decode(packed))
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise Broken(f"its {type(found).__name__} cannot be packed: {error}") from error
    if packed != again:
        raise Broken(f"its {type(found).__name__} is another one when it is unpacked")


def require_told(found: Any, width: int) -> None:
    """Try to tell a frame's result in an event.

    Raises:
        Broken: JSON does not know its values.
    """
    try:
        told = summarise_edges(found, width) if isinstance(found, np.ndarray) else summarise(found)
        json.dumps(msgspec.to_builtins(told), allow_nan=False)
        msgspec.json.encode(told)
    except (TypeError, ValueError, OverflowError) as error:
        raise Broken(f"its {type(found).__name__} cannot be told in JSON: {error}") from error


def require_occurrences(sighting: Sighting) -> None:
    """Try to tell what happened on a frame in events.

    Raises:
        Broken: JSON does not know their values, or two are one.
    """
    for one in sighting.occurrences:
        try:
            json.dumps(one.data, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Broken(f"occurrence {one.kind}/{one.what} cannot be told in JSON: {error}") from error
        if not one.kind or not one.what:
            raise Broken("an occurrence has no kind or no what")
    named = [(one.kind, one.what, one.subject) for one in sighting.occurrences]
    if len(set(named)) < len(named):
        raise Broken("two occurrences of one frame have the same kind, what and subject")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield key
            yield from _leaves(value[key])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _alike(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return abs(first - second) <= ROUNDING * max(1.0, abs(first), abs(second))
    return bool(first == second)
