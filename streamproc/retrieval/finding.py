"""From a match back to its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from producers.sources.picture import read_picture
from producers.sources.source import Notices
from streamproc.errors import StreamprocError
from streamproc.model import FrameKey, Pixels
from streamproc.retrieval.adding import part_of, picture_id
from streamproc.retrieval.frames import FrameReader, WantedFrame, batches
from streamproc.retrieval.store import Entry
from streamproc.settings import Settings


def pixels_of(settings: Settings, entries: Sequence[Entry]) -> Iterator[tuple[int, Pixels | str]]:
    """What entries show: each one's position, and its pixels or why there are none. In any order.

    Args:
        settings: Where the broker is; it is asked only if there are entries of frames.
        entries: Of an index.
    """
    wanted = []
    for at, entry in enumerate(entries):
        if entry.source is None:
            yield at, _from_file(settings, entry)
        else:
            key = FrameKey(entry.camera, entry.run, entry.sequence)
            frame = WantedFrame(key=key, width=entry.width, height=entry.height, source=entry.source)
            wanted.append((frame, at))
    left = {at for _, at in wanted}
    try:
        with FrameReader(settings) as reader:
            for batch in batches(wanted):
                for place, pixels in reader.read([frame for frame, _ in batch]):
                    at = batch[place][1]
                    left.discard(at)
                    yield at, _gone(entries[at]) if pixels is None else part_of(pixels, entries[at].box)
    except StreamprocError as error:
        yield from ((at, str(error)) for at in sorted(left))


def _gone(entry: Entry) -> str:
    topic = entry.source.topic if entry.source else ""
    return f"the frame's tiles are no longer whole in {topic} (retention)"


def _from_file(settings: Settings, entry: Entry) -> Pixels | str:
    try:
        pixels = read_picture(Path(entry.path), max_pixels=settings.max_frame_pixels, notices=Notices(_unheard))
    except StreamprocError as error:
        return str(error)
    return pixels if picture_id(pixels) == entry.event else f"picture {entry.path} was changed since it was indexed"


def _unheard(_line: str) -> None:
    """Dropped alpha and bits do not matter here."""
