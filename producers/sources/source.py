"""What every source is: frames one after the other, a length if it is known, a speed if it has one."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self, TypeAlias

from streamproc.errors import SourceError

if TYPE_CHECKING:
    from types import TracebackType

    from streamproc.model import Frame

MAX_SIDE_PX = 65_535  # of a frame on the wire

Notice: TypeAlias = Callable[[str], None]
"""Takes one line for the user about something that was decided for them."""

log = logging.getLogger(__name__)


class Source(ABC):
    """Frames of one camera, film, folder or picture. Iterate to read them; use as a context manager.

    Attributes:
        name: Short, for progress bars and messages.
        length: Frames it will give, None if endless or unknown. For films the container's word, maybe an
            estimate.
        fps: Frames a second of its own time, None if it has none.
    """

    name: str
    length: int | None = None
    fps: float | None = None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Read from the first frame on.

        Raises:
            SourceError: A frame cannot be read.
            SourceEnded: The source stopped before its promised end; all readable frames were given.
        """

    @abstractmethod
    def describe(self) -> str:
        """One line for a person: what, how large, how many, how fast."""

    def interrupt(self) -> None:  # noqa: B027 - most sources never wait
        """End the iteration under way soon, from any thread; live sources do so within 1 s."""

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Let go of files; harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Notices:
    """Tells each kind of notice once, however many pictures it concerns."""

    def __init__(self, notice: Notice | None = None) -> None:
        self._notice = notice or log.warning
        self._told: set[str] = set()

    def tell(self, kind: str, line: str) -> None:
        """Pass `line` on unless one of the same `kind` was told before."""
        if kind not in self._told:
            self._told.add(kind)
            self._notice(line)


def require_size(what: str, width: int, height: int, *, max_pixels: int) -> None:
    """Refuse a size no worker would take.

    Args:
        what: Named in the message.
        width: Pixels.
        height: Pixels.
        max_pixels: `Settings.max_frame_pixels`.

    Raises:
        SourceError: Too many pixels, or a side that is 0 or above 65535.
    """
    if width < 1 or height < 1:
        raise SourceError(f"{what} claims a size of {width}x{height} px: the file is broken")
    if width * height > max_pixels:
        raise SourceError(
            f"{what} is {width}x{height} px = {width * height} pixels, the limit is {max_pixels}: make it"
            " smaller or cut it with an image tool, or raise STREAMPROC_MAX_FRAME_PIXELS (for workers too)"
        )
    if max(width, height) > MAX_SIDE_PX:
        raise SourceError(f"{what} is {width}x{height} px, no side may exceed {MAX_SIDE_PX}: cut it with an image tool")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts frame2 before frame10; names equal but for case or zeros keep a fixed order."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name
