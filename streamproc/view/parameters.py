"""Parameters of requests: what is wrong is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from streamproc.errors import UsageError
from streamproc.model import OUTCOMES
from streamproc.settings import NAME_PATTERN
from streamproc.view.past import MAX_EVENTS, Query

MAX_MS: Final = 253_402_300_799_000  # the year 9999
_MAX_TEXT: Final = 100
_ID: Final = re.compile(r"[0-9A-Za-z._:-]{1,100}")
_TYPE: Final = re.compile(r"[a-z][a-z-]{0,39}")


class Wrong(UsageError):
    """A parameter that cannot be; the message names it."""


def camera(query: Mapping[str, str]) -> str:
    """Name of a camera.

    Raises:
        Wrong: It is missing, or no name.
    """
    found = _optional_camera(query)
    if found is None:
        raise Wrong("camera: name one")
    return found


def _optional_camera(query: Mapping[str, str]) -> str | None:
    found = query.get("camera") or None
    if found is not None and not re.fullmatch(NAME_PATTERN, found):
        raise Wrong("camera: letters, digits, '.', '_' and '-', at most 100")
    return found


def whole(query: Mapping[str, str], name: str, *, least: int, most: int, default: int) -> int:
    """A whole number within bounds.

    Raises:
        Wrong: It is none.
    """
    given = query.get(name) or ""
    if not given:
        return default
    if not re.fullmatch(r"-?[0-9]{1,18}", given) or not least <= int(given) <= most:
        raise Wrong(f"{name}: a whole number from {least} to {most}")
    return int(given)


def moment(query: Mapping[str, str], name: str) -> int:
    """A time in milliseconds since 1970.

    Raises:
        Wrong: It is missing, or none.
    """
    found = whole(query, name, least=0, most=MAX_MS, default=-1)
    if found < 0:
        raise Wrong(f"{name}: milliseconds since 1970")
    return found


def choice(query: Mapping[str, str], name: str, of: tuple[str, ...], *, default: str) -> str:
    """One of some words.

    Raises:
        Wrong: Another.
    """
    found = query.get(name) or default
    if found not in of:
        raise Wrong(f"{name}: one of {', '.join(of)}")
    return found


def query(given: Mapping[str, str]) -> Query:
    """Which events are asked for.

    Raises:
        Wrong: A parameter cannot be.
    """
    kind, outcome = given.get("type") or None, given.get("outcome") or None
    if kind is not None and not _TYPE.fullmatch(kind):
        raise Wrong("type: frame, track, rule, anomaly, camera, notable, or an operator's own")
    if outcome is not None and outcome not in OUTCOMES:
        raise Wrong(f"outcome: one of {', '.join(OUTCOMES)}")
    for name in ("label", "text"):
        if len(given.get(name, "")) > _MAX_TEXT:
            raise Wrong(f"{name}: at most {_MAX_TEXT} characters")
    from_ms = moment(given, "from_ms") if given.get("from_ms") else None
    to_ms = moment(given, "to_ms") if given.get("to_ms") else None
    if from_ms is not None and to_ms is not None and to_ms < from_ms:
        raise Wrong("to_ms: is before from_ms")
    return Query(
        camera=_optional_camera(given),
        kind=kind,
        label=given.get("label") or None,
        text=given.get("text") or None,
        outcome=outcome,
        from_ms=from_ms,
        to_ms=to_ms,
        limit=whole(given, "limit", least=1, most=MAX_EVENTS, default=100),
    )


def event(request: web.Request) -> tuple[str, str | None, int | None]:
    """Id of an event, its camera and about when it was emitted (`ms`), if they are told.

    Raises:
        Wrong: A parameter cannot be.
    """
    identity = request.match_info["id"]
    if not _ID.fullmatch(identity):
        raise Wrong("id: as the event's `id` has it")
    near_ms = moment(request.query, "ms") if request.query.get("ms") else None
    return identity, _optional_camera(request.query), near_ms
