"""The list of cameras: a TOML file read strictly, what differs between two readings, and when the file has changed.

    [defaults]                      any key of a camera but name and source
    [[camera]]
    name = "gate"
    source = "rtsp://viewer:${GATE_PASSWORD}@gate.local/stream1"

Values in, values out, but for `read_cameras`. A source may hold a password; it is in no message and no `repr`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from producers.changed_only import FULL_EVERY_S, LEVEL, LONGEST_FULL_S, ChangedOnly
from producers.cutting import parse_grid
from producers.sources.address import parse_address
from producers.waiting import DropPolicy
from streamproc.errors import SettingError, UsageError
from streamproc.metrics import MAX_CAMERAS
from streamproc.model import Codec, Grid
from streamproc.settings import NAME_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

_MAX_FILE_BYTES = 4 * 2**20
_MAX_CORNERS = 256
_MAX_REGIONS = 64
_MAX_FPS = 10_000.0
CHANGED_ONLY_KEYS = ("change_level", "full_every_s")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_ROUNDING = 1e-9  # of shares that add up to 1
_LEAST_FULL_S = 0.1

_Number = Annotated[float, Field(strict=True)]  # true is none
_Share = Annotated[_Number, Field(ge=0, le=1)]
_OffOrSeconds = Annotated[_Number, Field(ge=0, le=86_400)]
_Timeout = Annotated[_Number, Field(ge=0.5, le=60)]


class Region(BaseModel):
    """A part of the picture, in shares of its width and height, so that it fits pictures of every size.

    Attributes:
        x, y, width, height: Of a rectangle: its left top corner and its size.
        polygon: Or the corners of a polygon, x and y each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    x: _Share | None = None
    y: _Share | None = None
    width: _Share | None = None
    height: _Share | None = None
    polygon: tuple[tuple[_Share, _Share], ...] | None = Field(default=None, min_length=3, max_length=_MAX_CORNERS)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        sides = [self.x, self.y, self.width, self.height]
        if (self.polygon is None) == (None in sides) or (self.polygon is not None and sides != [None] * 4):
            raise ValueError("give x, y, width and height of a rectangle, or a polygon, in shares of the picture")
        if max(max(corner) for corner in self.corners) > 1 + _ROUNDING:
            raise ValueError("the rectangle leaves the picture: x + width and y + height must be at most 1")
        return self

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Its corners, x and y each."""
        if self.polygon is not None:
            return self.polygon
        left, top = self.x or 0.0, self.y or 0.0
        right, bottom = left + (self.width or 0.0), top + (self.height or 0.0)
        return ((left, top), (right, top), (right, bottom), (left, bottom))


class CameraSpec(BaseModel):
    """One camera of the list. Times in seconds; 0 switches a detection off.

    Attributes:
        fps: Frames a second that are sent; `source` sends all a live source gives, and paces a film at its own speed.
        mask: Blacked out. include: All else is blacked out.
        changed_only: Tiles that have not changed are sent as references to their pixels; for cameras that stand still.
        change_level, full_every_s: What counts as a change, and how often all tiles are sent: see `ChangedOnly`.
        frozen_s: So long the very same picture, and a live camera counts as frozen.
        gap_s: So long without a frame is a gap that is told.
        clock_step_s: A jump of the camera's times that is told.
        fps_sag: Below this share of the expected speed a sag is told.
        fps_expected: Frames a second that the camera should give; None learns it.
        open_timeout_s, read_timeout_s: Longest wait for the first and for each next frame; None is the source's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(pattern=NAME_PATTERN)
    source: str = Field(min_length=1, max_length=2000, repr=False)
    enabled: Annotated[bool, Field(strict=True)] = True
    grid: str = "auto"
    codec: Codec = "jpeg"
    fps: Annotated[_Number, Field(gt=0, le=_MAX_FPS)] | Literal["source", "max"] = "source"
    drop: DropPolicy = "drop-oldest"
    mask: tuple[Region, ...] = Field(default=(), max_length=_MAX_REGIONS)
    include: tuple[Region, ...] = Field(default=(), max_length=_MAX_REGIONS)
    changed_only: Annotated[bool, Field(strict=True)] = False
    change_level: _Number = Field(default=LEVEL, ge=0, le=255)
    full_every_s: _Number = Field(default=FULL_EVERY_S, ge=_LEAST_FULL_S, le=LONGEST_FULL_S)
    frozen_s: _OffOrSeconds = 4.0
    gap_s: _OffOrSeconds = 2.0
    clock_step_s: _OffOrSeconds = 2.0
    fps_sag: _Share = 0.7
    fps_expected: Annotated[_Number, Field(gt=0, le=_MAX_FPS)] | None = None
    open_timeout_s: _Timeout = 4.0
    read_timeout_s: _Timeout | None = None

    @field_validator("grid")
    @classmethod
    def _is_a_grid(cls, value: str) -> str:
        try:
            parse_grid(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator(*CHANGED_ONLY_KEYS)
    @classmethod
    def _is_of_use(cls, value: float, info: ValidationInfo) -> float:
        if info.data.get("changed_only") is False:
            raise ValueError("is of use with changed_only = true alone: write that too, or leave this out")
        return value

    @property
    def changed(self) -> ChangedOnly | None:
        """How only changed tiles are sent; None sends all."""
        if not self.changed_only:
            return None
        return ChangedOnly(level=self.change_level, full_every_s=self.full_every_s)

    @property
    def cut(self) -> Grid | None:
        """Rows and columns; None chooses by the first frame."""
        return parse_grid(self.grid)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be done to get from one list to another; names, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        parts = [("added", self.added), ("removed", self.removed), ("changed", self.changed)]
        return "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names) or "no difference"


def read_cameras(path: Path, *, variable: Callable[[str], str | None]) -> dict[str, CameraSpec]:
    """The enabled cameras of a file, by name.

    Args:
        path: TOML.
        variable: Name of a variable of the environment to its value, None if unset; for `${NAME}` in sources.

    Raises:
        SettingError: The file cannot be read or says something that cannot be; names the camera and the key.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MAX_FILE_BYTES:
            raise SettingError(f"{path} has {len(data)} bytes, at most {_MAX_FILE_BYTES} are read")
        content = tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError:
        raise SettingError(f"{path} does not exist: write a list of cameras, see docs/ingest.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    except tomllib.TOMLDecodeError as error:  # its text names a place, and no content beyond a character
        raise SettingError(f"{path} is no TOML: {error}") from None
    return parse_cameras(content, where=str(path), variable=variable)


def parse_cameras(
    content: Mapping[str, Any], *, where: str, variable: Callable[[str], str | None]
) -> dict[str, CameraSpec]:
    """As `read_cameras`, from what the file holds; `where` names it in errors."""
    _require_shape(content, where)
    defaults = content.get("defaults", {})
    specs: dict[str, CameraSpec] = {}
    for number, entry in enumerate(content["camera"], start=1):
        spec = _camera(_with_defaults(entry, defaults), number=number, where=where)
        if spec.name in specs:
            raise SettingError(f"{where}: camera {spec.name!r}: name: another camera has it: choose one of its own")
        _require_source(spec, where=where, variable=variable)
        specs[spec.name] = spec
    enabled = {name: spec for name, spec in specs.items() if spec.enabled}
    at_stdin = [name for name, spec in enabled.items() if spec.source == "-" or spec.source.startswith("stdin:")]
    if len(at_stdin) > 1:
        raise SettingError(f"{where}: camera {at_stdin[1]!r}: source: {at_stdin[0]!r} reads standard input already")
    return enabled


def changes(running: Mapping[str, CameraSpec], wanted: Mapping[str, CameraSpec]) -> Changes:
    """What differs between the cameras that run and those that are wanted."""
    return Changes(
        added=tuple(sorted(wanted.keys() - running.keys())),
        removed=tuple(sorted(running.keys() - wanted.keys())),
        changed=tuple(sorted(name for name in running.keys() & wanted.keys() if running[name] != wanted[name])),
    )


def shown_source(spec: CameraSpec, *, variable: Callable[[str], str | None]) -> str:
    """A camera's source without its secrets."""
    return parse_address(spec.source, variable=variable).masked if _URL.match(spec.source) else spec.source


class FileWatch:
    """Says when a file is to be read again: it is another than last time, and has been so for two looks.

    A file that is being written is not read in its middle, unless writing takes longer than the time between looks.

    Args:
        seen: What the file looked like when it was read: anything that can be compared, None if it is not there.
    """

    def __init__(self, seen: object) -> None:
        self._read = self._last = seen

    def look(self, seen: object) -> bool:
        """Whether to read it now; then it counts as read."""
        still = seen == self._last
        self._last = seen
        if seen is None or not still or seen == self._read:
            return False
        self._read = seen
        return True


def signature(path: Path) -> object:
    """What a file looks like from outside: inode, size, time of change; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


_WORDS = {
    "missing": "is missing",
    "string_pattern_mismatch": "use letters, digits, '.', '_' and '-', at most 100, a letter or digit first",
    "string_type": "write a text in quotes",
    "string_too_short": "is empty",
    "string_too_long": "has more than {max_length} characters",
    "bool_type": "write true or false",
    "float_type": "give a number",
    "finite_number": "give a number",
    "greater_than": "give a number above {gt:g}",
    "greater_than_equal": "give a number of at least {ge:g}",
    "less_than_equal": "give a number of at most {le:g}",
    "literal_error": "use {expected}",
    "tuple_type": "write a list, [...]",
    "model_type": "write a table, {{ x = 0.0, y = 0.0, width = 0.5, height = 0.5 }} or {{ polygon = [...] }}",
}


def _require_shape(content: Mapping[str, Any], where: str) -> None:
    if unknown := sorted(content.keys() - {"camera", "defaults"}):
        raise SettingError(f"{where}: {unknown[0]}: there is no such part; write [[camera]] and [defaults]")
    defaults, entries = content.get("defaults", {}), content.get("camera", [])
    if not isinstance(defaults, dict):
        raise SettingError(f"{where}: defaults: write it as a table, [defaults]")
    if reserved := sorted(defaults.keys() & {"name", "source"}):
        raise SettingError(f"{where}: defaults: {reserved[0]}: every camera has its own")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SettingError(f"{where}: camera: write each camera as a table, [[camera]]")
    if not entries:
        raise SettingError(f"{where} names no camera: write [[camera]] tables; enabled = false switches one off")
    if len(entries) > MAX_CAMERAS:
        raise SettingError(f"{where} names {len(entries)} cameras, at most {MAX_CAMERAS} are possible")
    _require_use(defaults, entries, where)


def _require_use(defaults: Mapping[str, Any], entries: list[dict[str, Any]], where: str) -> None:
    """Defaults that no camera would take, and nobody look at."""
    changed = [entry.get("changed_only", defaults.get("changed_only")) for entry in entries]
    for key in CHANGED_ONLY_KEYS:
        if key in defaults and not any(changed):
            raise SettingError(
                f"{where}: defaults: {key}: is of use with changed_only = true alone, and no camera has it"
            )


def _with_defaults(entry: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A camera's keys: its own, and the defaults but for those of changed-only where it is not sent so."""
    if entry.get("changed_only", defaults.get("changed_only", False)):
        return {**defaults, **entry}
    return {**{key: value for key, value in defaults.items() if key not in CHANGED_ONLY_KEYS}, **entry}


def _camera(entry: Mapping[str, Any], *, number: int, where: str) -> CameraSpec:
    try:
        return CameraSpec.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = entry.get("name")
        called = repr(name) if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name) else f"number {number}"
        place = first["loc"][:1] if first["loc"][:1] == ("fps",) else first["loc"]
        key = ".".join(map(str, place)) or "camera"
        raise SettingError(f"{where}: camera {called}: {key}: {_words(first)}") from None


def _words(error: ErrorDetails) -> str:
    """What is wrong with one key, in our words; no value is shown."""
    kind, place, limits = error["type"], error["loc"], error.get("ctx", {})
    if place[:1] == ("fps",):
        return f"give a number above 0 and up to {_MAX_FPS:g}, max, or source"
    if kind == "extra_forbidden":
        keys = Region.model_fields if len(place) > 1 else CameraSpec.model_fields
        return f"there is no such key; the keys are {', '.join(keys)}"
    if kind in ("too_short", "too_long"):
        things = "corners" if place[-1] == "polygon" else "regions" if len(place) == 1 else "numbers"
        least, most = limits.get("min_length"), limits.get("max_length")
        return f"give at least {least} {things}" if kind == "too_short" else f"give at most {most} {things}"
    words = _WORDS.get(kind)
    return words.format(**limits) if words is not None else error["msg"].removeprefix("Value error, ")


def _require_source(spec: CameraSpec, *, where: str, variable: Callable[[str], str | None]) -> None:
    """Read a URL now, so that a wrong one is refused with the file; nothing is connected to."""
    if not spec.enabled or not _URL.match(spec.source):
        return
    try:
        parse_address(spec.source, variable=variable)
    except UsageError as error:
        raise SettingError(f"{where}: camera {spec.name!r}: source: {error}") from None
