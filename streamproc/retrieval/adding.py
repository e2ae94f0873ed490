"""What goes into an index: frames and objects that events tell of, and picture files."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from producers.sources.picture import PICTURE_SUFFIXES, read_picture
from producers.sources.source import Notices, natural_key
from streamproc.cloudevents import decode_frame_event, emitted
from streamproc.errors import BadMessage, SourceError
from streamproc.model import FrameEvent, Pixels
from streamproc.operators.embedding import embed
from streamproc.reader import Record
from streamproc.retrieval.frames import FrameReader, WantedFrame, batches
from streamproc.retrieval.store import Box, Entry, IndexWriter, Source
from streamproc.settings import Settings

FRAMES: Final = "frames"
OBJECTS: Final = "objects"
MAX_SKIPPED: Final = 1000
KNOWN: Final = "already in the index"
GONE: Final = "frames no longer whole in the log (retention)"
NOT_COMPLETE: Final = "events of frames that are not complete"
NO_EVENT: Final = "events that cannot be read"
NO_PICTURE: Final = "files that cannot be read as pictures"

Heard: TypeAlias = Callable[["Added"], None]
"""Called now and then while something is added."""


@dataclass(slots=True, kw_only=True)
class Added:
    """What became of all that was looked at.

    Attributes:
        entries: New in the index.
        looked_at: Frame events, or picture files.
        passed_over: How many things were not added, by why.
        skipped: One line for each picture that cannot be read, at most MAX_SKIPPED.
    """

    entries: int = 0
    looked_at: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)


def add_events(
    writer: IndexWriter,
    records: Iterable[Record],
    settings: Settings,
    *,
    of: str = FRAMES,
    camera: str | None = None,
    every: int = 1,
    stop: Callable[[], bool] = lambda: False,
    heard: Heard = lambda _added: None,
) -> Added:
    """Add frames, or objects in them, that events tell of; their pixels are read from the log.

    Entries that are there already cost no reading of pixels. Frames that are not complete are passed over, so are
    those of which tiles are no longer in the log.

    Args:
        writer: The index.
        records: Of the events topic.
        settings: Where the broker is.
        of: "frames"; "objects", all that steps have found; or the label of those that are wanted.
        camera: This one alone.
        every: Frames whose sequence is a multiple of this.
        stop: Asked between frames; what was added until then stays.
        heard: Told how far it is.

    Raises:
        BrokerError: The broker does not answer.
        UsageError: The index is full or cannot be written.
    """
    added = Added()
    with FrameReader(settings) as reader:
        for batch in batches(_unknown(writer, records, added, of=of, camera=camera, every=every, stop=stop)):
            if stop():
                break
            for at, pixels in reader.read([wanted for wanted, _ in batch]):
                if pixels is None:
                    added.passed_over[GONE] += 1
                else:
                    _add_all(writer, batch[at][1], pixels, added)
                heard(added)
                if stop():
                    break
    return added


def _unknown(
    writer: IndexWriter,
    records: Iterable[Record],
    added: Added,
    *,
    of: str,
    camera: str | None,
    every: int,
    stop: Callable[[], bool],
) -> Iterator[tuple[WantedFrame, list[Entry]]]:
    """Frames that have something which the index has not."""
    for record in records:
        if stop():
            return
        about = emitted(record.headers)
        if about is None or not about.is_frame or camera not in (None, about.key.camera) or about.key.sequence % every:
            continue
        try:
            event = decode_frame_event(record.value)
        except BadMessage:
            added.passed_over[NO_EVENT] += 1
            continue
        added.looked_at += 1
        if event.outcome != "complete":
            added.passed_over[NOT_COMPLETE] += 1
            continue
        source = Source(topic=event.evidence.topic, offsets=event.evidence.offsets)
        listed = _entries(about.id, event, source, of)
        new = [entry for entry in listed if not writer.has(entry)]
        if len(new) < len(listed):
            added.passed_over[KNOWN] += len(listed) - len(new)
        if new:
            yield WantedFrame(key=event.key, width=event.width, height=event.height, source=source), new


def _entries(event_id: str, event: FrameEvent, source: Source, of: str) -> list[Entry]:
    frame = Entry(
        event=event_id,
        camera=event.camera,
        run=event.run,
        sequence=event.sequence,
        captured_ns=event.captured_ns,
        width=event.width,
        height=event.height,
        source=source,
    )
    if of == FRAMES:
        return [frame]
    return [
        _object_of(frame, found.box, found.label, found.score)
        for found in event.objects
        if of in (OBJECTS, found.label) and inside(found.box, event.width, event.height) is not None
    ]


def _object_of(frame: Entry, box: Box, label: str, score: float) -> Entry:
    return Entry(
        event=frame.event,
        box=box,
        label=label,
        score=score,
        camera=frame.camera,
        run=frame.run,
        sequence=frame.sequence,
        captured_ns=frame.captured_ns,
        width=frame.width,
        height=frame.height,
        source=frame.source,
    )


def _add_all(writer: IndexWriter, entries: Sequence[Entry], pixels: Pixels, added: Added) -> None:
    for entry in entries:
        added.entries += writer.add(entry, embed(part_of(pixels, entry.box)))


def inside(box: Box, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the whole pixels of a frame that a box touches; None if it touches none."""
    if not all(math.isfinite(side) for side in box):
        return None
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    right, bottom = min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))
    return (left, top, right, bottom) if left < right and top < bottom else None


def part_of(pixels: Pixels, box: Box | None) -> Pixels:
    """What is in a box of a frame; the whole frame for None, or if the box lies outside."""
    place = None if box is None else inside(box, pixels.shape[1], pixels.shape[0])
    if place is None:
        return pixels
    left, top, right, bottom = place
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def add_pictures(
    writer: IndexWriter,
    paths: Sequence[Path],
    *,
    max_pixels: int,
    every: int = 1,
    stop: Callable[[], bool] = lambda: False,
    heard: Heard = lambda _added: None,
) -> Added:
    """Add picture files. Files of the same pixels are one entry; a file that cannot be read is named and left out.

    Args:
        writer: The index.
        paths: Files, and folders that are searched at any depth; hidden files are passed over.
        max_pixels: Larger pictures are left out.
        every: Every so many of the files in their order.
        stop: Asked between pictures; what was added until then stays.
        heard: Told how far it is.

    Raises:
        SourceError: There is no such file or folder, or not one picture can be read.
        UsageError: The index is full or cannot be written.
    """
    added = Added()
    for number, file in enumerate(picture_files(paths)):
        if stop():
            return added
        if number % every:
            continue
        added.looked_at += 1
        try:
            pixels = read_picture(file, max_pixels=max_pixels, notices=Notices(_unheard))
        except SourceError as error:
            added.passed_over[NO_PICTURE] += 1
            added.skipped += [str(error)][: MAX_SKIPPED - len(added.skipped)]
            continue
        entry = Entry(event=picture_id(pixels), path=str(file.resolve()), width=pixels.shape[1], height=pixels.shape[0])
        if writer.has(entry):
            added.passed_over[KNOWN] += 1
        else:
            _add_all(writer, [entry], pixels, added)
        heard(added)
    if not added.entries and not added.passed_over[KNOWN]:
        raise SourceError(added.skipped[0] if added.skipped else f"there is no picture in {', '.join(map(str, paths))}")
    return added


def picture_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Files, and in place of each folder the picture files in it at any depth, folder by folder in natural order.

    Raises:
        SourceError: There is no such file or folder, or it cannot be read.
    """
    for path in paths:
        try:
            if not path.is_dir():
                path.stat()
                yield path
                continue
            for folder, folders, names in os.walk(path, onerror=_refuse):
                folders[:] = sorted((one for one in folders if not one.startswith(".")), key=natural_key)
                for name in sorted(names, key=natural_key):
                    if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES:
                        yield Path(folder) / name
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or error
            raise SourceError(f"{path} cannot be read: {told}: give a picture or a folder of pictures") from None


def picture_id(pixels: Pixels) -> str:
    """Which picture it is, whatever its file is called and however it is encoded."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return f"sha256:{digest.hexdigest()}"


def _refuse(error: OSError) -> None:
    raise error


def _unheard(_line: str) -> None:
    """Dropped alpha and bits do not matter here."""
