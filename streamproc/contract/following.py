"""What followers promise beyond what all operators do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec
from numpy.typing import NDArray

from streamproc.contract.answers import (
    Broken,
    follow,
    frozen,
    require_occurrences,
    require_result,
    require_told,
    seen,
)
from streamproc.contract.pictures import Film, broken_film, film
from streamproc.contract.trial import NotFor, Trial
from streamproc.model import Grid
from streamproc.operators.plugins import one_line
from streamproc.operators.table import Memory, Operator, Sighting
from streamproc.operators.tiling import split

MAX_MEMORY_BYTES: Final = 64 * 2**10
LONG: Final = 60  # frames


def require_sightings(operator: Operator, watched: Film, said: Any) -> None:
    """Hold what was said of each frame of a film against the row.

    Raises:
        Broken: No Sighting, or one that cannot be sent or told.
    """
    for scene, one in zip(watched.scenes, said, strict=True):
        if not isinstance(one, Sighting):
            raise Broken(f"gives a {type(one).__name__}, not a Sighting")
        if one.result is not None:
            require_result(operator, one.result)
            require_told(one.result, scene.width)
        require_occurrences(one)


def require_own_memory(trial: Trial) -> None:
    """Two cameras that send by turns are seen as each alone.

    Raises:
        Broken: They are not: something is kept outside of the memory.
    """
    films = [film(trial.operator, seed) for seed in (0, 1)]
    alone = [[frozen(one) for one in follow(trial.operator, watched, trial.params, {})] for watched in films]
    memories: list[Memory] = [{}, {}]
    together: list[list[Any]] = [[], []]
    for scenes in zip(*(watched.scenes for watched in films), strict=True):
        for number, scene in enumerate(scenes):
            together[number].append(frozen(seen(trial.operator, scene, memories[number], trial.params)))
    if together != alone:
        raise Broken("two cameras by turns are not seen as each alone: something is kept outside of the memory")


def memory(trial: Trial) -> str:
    """A durable memory can be sent to another worker, which goes on where this one stopped."""
    if not trial.follows:
        raise NotFor("no follower")
    operator, params = trial.operator, trial.params
    watched = film(operator, 0, frames=LONG)
    kept: Memory = {}
    sent: Memory = {}
    most = 0
    for scene in watched.scenes:
        stays = frozen(seen(operator, scene, kept, params))
        if not operator.durable:
            continue
        goes = frozen(seen(operator, scene, sent, params))
        if goes != stays:
            raise Broken(f"says something else of frame {scene.sequence} after its memory was sent to another worker")
        try:
            packed = msgspec.msgpack.encode(sent)
        except (TypeError, ValueError, OverflowError) as error:
            raise Broken(f"durable, and its memory cannot be packed: {error}") from error
        sent = msgspec.msgpack.decode(packed, type=dict[str, Any])
        most = max(most, len(packed))
    if most > MAX_MEMORY_BYTES:
        raise Broken(f"durable, and its memory takes {most} bytes, at most {MAX_MEMORY_BYTES} are allowed")
    return f"{most} bytes after {LONG} frames" if operator.durable else "begins anew with a new worker"


def missing(trial: Trial) -> str:
    """Frames may be missing, partial or of another size, and times may be wrong."""
    if not trial.follows:
        raise NotFor("no follower")
    count = 0
    for seed in range(2):
        watched = broken_film(trial.operator, seed)
        kept: Memory = {}
        for scene in watched.scenes:
            try:
                one = seen(trial.operator, scene, kept, trial.params)
            except Exception as error:
                nothing = ", of which nothing was found" if scene.window is None and scene.found is None else ""
                raise Broken(
                    f"raises {one_line(error)} on frame {scene.sequence} of a film with holes{nothing}"
                ) from error
            require_sightings(trial.operator, Film(scenes=(scene,)), [one])
            count += 1
    return f"{count} frames with holes, without findings, of other sizes, at wrong times"


def with_pixels(watched: Film, pixels: NDArray[Any]) -> Film:
    """The same film with other pixels in every frame."""
    window = split(pixels, Grid(1, 1), 0)[0]
    return Film(
        scenes=tuple(
            replace(scene, window=window, width=window.width, height=window.height) for scene in watched.scenes
        )
    )
